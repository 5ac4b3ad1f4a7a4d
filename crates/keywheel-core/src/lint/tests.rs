//! One good certificate and one good list, and every way to spoil them.

use alloc::borrow::ToOwned;
use std::vec;

use super::*;
use crate::key_strength::Curve;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn cn(value: &str) -> NameFacts {
    let attribute = AttributeFacts { oid: "2.5.4.3".to_owned(), tag: 12, value: Some(value.to_owned()) };
    NameFacts { der: value.as_bytes().to_vec(), attributes: vec![attribute] }
}

fn extension(oid: &str, critical: bool) -> ExtensionFacts {
    ExtensionFacts { oid: oid.to_owned(), critical }
}

fn leaf() -> CertificateFacts {
    CertificateFacts {
        tbs: b"tbs".to_vec(),
        version: 3,
        serial_octets: vec![0x41, 2, 3],
        signature_algorithm: b"ecdsa".to_vec(),
        issuer: cn("Issuing CA"),
        subject: cn("svc.local"),
        validity: Validity { not_before: at(1_000), not_after: at(2_000) },
        not_before_encoding: TimeEncoding::Utc,
        not_after_encoding: TimeEncoding::Utc,
        key: PublicKeyFacts::Ec { curve: Curve::P256 },
        key_digest: KeyDigest([7; 32]),
        has_unique_id: false,
        extensions: vec![
            extension("2.5.29.15", true),
            extension("2.5.29.37", false),
            extension("2.5.29.14", false),
            extension("2.5.29.35", false),
            extension("2.5.29.17", false),
            extension("1.3.6.1.4.1.37476.9000.64.1", false),
        ],
        alternative_names: Some(vec![AlternativeName::Dns("svc.local".to_owned())]),
        basic_constraints: None,
        key_usage: Some(KeyUsage::DIGITAL_SIGNATURE),
        extended_key_usage: Some(vec!["1.3.6.1.5.5.7.3.1".to_owned(), "1.3.6.1.5.5.7.3.2".to_owned()]),
        subject_key_id: Some(vec![5; 20]),
        authority_key_id: Some(vec![9; 20]),
    }
}

fn intermediate() -> CertificateFacts {
    CertificateFacts {
        subject: cn("Second CA"),
        extensions: vec![
            extension("2.5.29.15", true),
            extension("2.5.29.19", true),
            extension("2.5.29.14", false),
            extension("2.5.29.35", false),
        ],
        alternative_names: None,
        basic_constraints: Some(BasicConstraints { ca: true, path_length: Some(0) }),
        key_usage: Some(KeyUsage::CERT_SIGN.union(KeyUsage::CRL_SIGN)),
        extended_key_usage: None,
        ..leaf()
    }
}

fn root() -> CertificateFacts {
    CertificateFacts {
        issuer: cn("Second CA"),
        authority_key_id: None,
        basic_constraints: Some(BasicConstraints { ca: true, path_length: Some(1) }),
        ..intermediate()
    }
}

fn judge(role: Role, facts: CertificateFacts) -> Result<Approved, Vec<LintFinding>> {
    let issuer = match role {
        Role::Root => Issuer { name: b"Second CA", key_id: Some(&[5; 20]), not_after: None, path_length: None },
        _ => Issuer { name: b"Issuing CA", key_id: Some(&[9; 20]), not_after: Some(at(2_000)), path_length: Some(1) },
    };
    approve(facts, &Profile { role, issuer, signature_algorithm: b"ecdsa" })
}

fn rules_broken(role: Role, facts: CertificateFacts) -> Vec<&'static str> {
    judge(role, facts).err().unwrap_or_default().iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_good_certificate_is_approved_with_exactly_its_bytes() {
    let approved = judge(Role::Leaf, leaf()).unwrap();
    assert_eq!(approved.tbs(), b"tbs");
    assert_eq!(approved.signature_algorithm(), b"ecdsa");
    assert_eq!(approved.serial().to_hex(), "410203");
    assert_eq!(approved.key_digest(), KeyDigest([7; 32]));
    assert_eq!(approved.validity(), leaf().validity);
    assert_eq!(rules_broken(Role::Intermediate, intermediate()), [""; 0]);
    assert_eq!(rules_broken(Role::Root, root()), [""; 0]);
}

type Spoil = fn(&mut CertificateFacts);

#[test]
fn each_spoilt_leaf_breaks_exactly_its_rule() {
    let table: &[(&str, Spoil)] = &[
        ("tbs", |c| c.tbs.clear()),
        ("version", |c| c.version = 1),
        ("serial", |c| c.serial_octets = vec![0]),
        ("serial", |c| c.serial_octets = vec![0x80]),
        ("serial", |c| c.serial_octets = vec![0, 0x7f]),
        ("serial", |c| c.serial_octets = vec![1; 21]),
        ("signature_algorithm", |c| c.signature_algorithm = b"rsa".to_vec()),
        ("unique_id", |c| c.has_unique_id = true),
        ("issuer", |c| c.issuer = cn("Other CA")),
        ("issuer", |c| c.issuer.attributes.clear()),
        ("subject", |c| c.subject = NameFacts::default()),
        ("subject", |c| c.subject = cn("")),
        ("subject", |c| c.subject = cn(&"x".repeat(65))),
        ("subject", |c| {
            c.subject.attributes.push(AttributeFacts {
                oid: "2.5.4.6".to_owned(),
                tag: 12,
                value: Some("DE".to_owned()),
            });
        }),
        ("subject", |c| {
            c.subject.attributes.push(AttributeFacts {
                oid: "2.5.4.6".to_owned(),
                tag: 19,
                value: Some("DEU".to_owned()),
            });
        }),
        ("san", |c| c.alternative_names = Some(vec![])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns(String::new())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns("a..b".to_owned())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns("a b".to_owned())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns("x".repeat(64))])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns("*".to_owned())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Dns("müller.de".to_owned())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Ip(vec![1; 5])])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Email("jane".to_owned())])),
        ("san", |c| c.alternative_names = Some(vec![AlternativeName::Uri("/path".to_owned())])),
        ("validity", |c| c.validity.not_after = at(1_000)),
        ("validity", |c| c.validity.not_after = at(2_001)),
        ("time_encoding", |c| c.not_before_encoding = TimeEncoding::Generalized),
        ("time_encoding", |c| c.not_after_encoding = TimeEncoding::Generalized),
        ("time_encoding", |c| c.validity.not_before = Timestamp::from_millisecond(1_000_500).unwrap()),
        ("key", |c| c.key = PublicKeyFacts::Rsa { modulus: vec![0xff; 128], exponent: vec![1, 0, 1] }),
        ("key", |c| c.key = PublicKeyFacts::Other { algorithm: "1.2.840.10040.4.1".to_owned() }),
        ("key_usage", |c| c.key_usage = Some(KeyUsage(0))),
        ("key_usage", |c| c.key_usage = Some(KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT))),
        ("key_usage", |c| c.key_usage = Some(KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::ENCIPHER_ONLY))),
        ("key_usage", |c| {
            c.key = PublicKeyFacts::Ed25519;
            c.key_usage = Some(KeyUsage::KEY_AGREEMENT);
        }),
        ("key_usage", |c| c.key_usage = Some(KeyUsage::CERT_SIGN)),
        ("basic_constraints", |c| c.basic_constraints = Some(BasicConstraints { ca: true, path_length: None })),
        ("basic_constraints", |c| c.basic_constraints = Some(BasicConstraints { ca: false, path_length: Some(0) })),
        ("extension_duplicate", |c| c.extensions.push(extension("2.5.29.37", false))),
        ("extension_criticality", |c| c.extensions[2].critical = true),
        ("extension_criticality", |c| c.extensions[3].critical = true),
        ("name_constraints", |c| c.extensions.push(extension("2.5.29.30", true))),
        ("subject_key_id", |c| c.subject_key_id = None),
        ("authority_key_id", |c| c.authority_key_id = None),
        ("authority_key_id", |c| c.authority_key_id = Some(vec![8; 20])),
        ("extended_key_usage", |c| c.extended_key_usage = Some(vec![])),
        ("extended_key_usage", |c| c.extended_key_usage = Some(vec!["1.2.3".to_owned(), "1.2.3".to_owned()])),
    ];
    for (number, (rule, spoil)) in table.iter().enumerate() {
        let mut facts = leaf();
        spoil(&mut facts);
        assert_eq!(rules_broken(Role::Leaf, facts), [*rule], "line {number}");
    }
}

#[test]
fn each_spoilt_authority_breaks_exactly_its_rule() {
    let table: &[(&str, Role, Spoil)] = &[
        ("subject", Role::Intermediate, |c| {
            c.subject = NameFacts::default();
            c.extensions.push(extension("2.5.29.17", true));
        }),
        ("basic_constraints", Role::Intermediate, |c| {
            c.basic_constraints = Some(BasicConstraints { ca: true, path_length: Some(1) })
        }),
        ("basic_constraints", Role::Intermediate, |c| {
            c.basic_constraints = Some(BasicConstraints { ca: true, path_length: None })
        }),
        ("key_usage", Role::Intermediate, |c| c.key_usage = Some(KeyUsage::DIGITAL_SIGNATURE)),
        ("key_usage", Role::Intermediate, |c| c.key_usage = None),
        ("extension_criticality", Role::Intermediate, |c| c.extensions[0].critical = false),
        ("extension_criticality", Role::Intermediate, |c| c.extensions[1].critical = false),
        ("extension_criticality", Role::Intermediate, |c| c.extensions.push(extension("2.5.29.30", false))),
        ("authority_key_id", Role::Intermediate, |c| c.authority_key_id = None),
        ("authority_key_id", Role::Root, |c| c.authority_key_id = Some(vec![1])),
        ("issuer", Role::Root, |c| c.subject = cn("Another")),
    ];
    for (number, (rule, role, spoil)) in table.iter().enumerate() {
        let mut facts = if *role == Role::Root { root() } else { intermediate() };
        spoil(&mut facts);
        assert_eq!(rules_broken(*role, facts), [*rule], "line {number}");
    }
}

#[test]
fn an_empty_subject_is_right_with_critical_alternative_names() {
    let mut facts = leaf();
    facts.subject = NameFacts { der: vec![0x30, 0], attributes: vec![] };
    facts.extensions[4].critical = true;
    assert_eq!(rules_broken(Role::Leaf, facts), [""; 0]);
}

#[test]
fn usual_names_are_sound() {
    let names = [
        AlternativeName::Dns("*.example.com".to_owned()),
        AlternativeName::Dns("_service.example".to_owned()),
        AlternativeName::Dns("localhost".to_owned()),
        AlternativeName::Ip(vec![127, 0, 0, 1]),
        AlternativeName::Ip(vec![0; 16]),
        AlternativeName::Email("jane@example.com".to_owned()),
        AlternativeName::Uri("spiffe://lab/svc".to_owned()),
        AlternativeName::Uri("urn:uuid:1".to_owned()),
        AlternativeName::Other(0),
    ];
    let facts = CertificateFacts { alternative_names: Some(names.to_vec()), ..leaf() };
    assert_eq!(rules_broken(Role::Leaf, facts), [""; 0]);
}

#[test]
fn times_change_their_encoding_with_the_year_2050() {
    let facts = |not_after: i64, not_after_encoding| CertificateFacts {
        validity: Validity { not_before: at(1_000), not_after: at(not_after) },
        not_after_encoding,
        ..root()
    };
    let (last, first) = (2_524_607_999, 2_524_608_000);
    assert_eq!(rules_broken(Role::Root, facts(last, TimeEncoding::Utc)), [""; 0]);
    assert_eq!(rules_broken(Role::Root, facts(last, TimeEncoding::Generalized)), ["time_encoding"]);
    assert_eq!(rules_broken(Role::Root, facts(first, TimeEncoding::Generalized)), [""; 0]);
    assert_eq!(rules_broken(Role::Root, facts(first, TimeEncoding::Utc)), ["time_encoding"]);
}

#[test]
fn several_faults_are_all_told_in_one_sentence() {
    let facts = CertificateFacts { version: 1, has_unique_id: true, ..leaf() };
    let findings = judge(Role::Leaf, facts).unwrap_err();
    assert_eq!(summary(&findings), "version: the version is 1, not 3; unique_id: a unique identifier is present");
}

#[test]
fn a_usage_made_to_fit_a_key_passes_for_it() {
    let keys = [
        PublicKeyFacts::Ec { curve: Curve::P384 },
        PublicKeyFacts::Ed25519,
        PublicKeyFacts::Rsa { modulus: vec![0xff; 256], exponent: vec![1, 0, 1] },
    ];
    // Every leaf usage, whichever key it was made for.
    for bits in (0..512_u16).filter(|bits| bits & KeyUsage::CERT_SIGN.0 == 0) {
        for key in &keys {
            let usage = KeyUsage(bits).for_key(key);
            assert!(bits & 1 == 0 || usage.contains(KeyUsage::DIGITAL_SIGNATURE));
            let facts = CertificateFacts { key: key.clone(), key_usage: Some(usage), ..leaf() };
            assert!(!rules_broken(Role::Leaf, facts).contains(&"key_usage"), "{bits:b} {key:?} {usage:?}");
        }
    }
    let tls = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT);
    assert_eq!(KeyUsage::DIGITAL_SIGNATURE.for_key(&keys[2]), tls);
    assert_eq!(tls.for_key(&keys[0]), KeyUsage::DIGITAL_SIGNATURE);
    assert_eq!(KeyUsage::KEY_ENCIPHERMENT.for_key(&keys[1]), KeyUsage::DIGITAL_SIGNATURE);
}

type SpoilCrl = fn(&mut CrlFacts);

fn crl() -> CrlFacts {
    let entry = |serial: u8, reason| CrlEntryFacts {
        serial: Serial::from_bytes(&[serial]).unwrap(),
        revoked_at: at(900),
        revoked_at_encoding: TimeEncoding::Utc,
        reason,
    };
    CrlFacts {
        tbs: b"tbs".to_vec(),
        version: 2,
        signature_algorithm: b"ecdsa".to_vec(),
        issuer: b"Issuing CA".to_vec(),
        this_update: at(1_000),
        this_update_encoding: TimeEncoding::Utc,
        next_update: Some(at(2_000)),
        next_update_encoding: Some(TimeEncoding::Utc),
        extensions: vec![extension("2.5.29.20", false), extension("2.5.29.35", false)],
        number_octets: Some(vec![7]),
        authority_key_id: Some(vec![9; 20]),
        entries: vec![entry(1, None), entry(2, Some(4))],
    }
}

fn judge_crl(facts: CrlFacts) -> Result<ApprovedCrl, Vec<LintFinding>> {
    let issuer = Issuer { name: b"Issuing CA", key_id: Some(&[9; 20]), not_after: None, path_length: None };
    approve_crl(facts, &issuer, b"ecdsa")
}

#[test]
fn a_good_list_is_approved_with_exactly_its_bytes() {
    let approved = judge_crl(crl()).unwrap();
    assert_eq!((approved.tbs(), approved.signature_algorithm()), (&b"tbs"[..], &b"ecdsa"[..]));
    assert!(judge_crl(CrlFacts { entries: vec![], ..crl() }).is_ok());
}

#[test]
fn each_spoilt_list_breaks_exactly_its_rule() {
    let table: &[(&str, SpoilCrl)] = &[
        ("tbs", |c| c.tbs.clear()),
        ("version", |c| c.version = 1),
        ("signature_algorithm", |c| c.signature_algorithm.clear()),
        ("issuer", |c| c.issuer.clear()),
        ("next_update", |c| c.next_update = None),
        ("next_update", |c| c.next_update = Some(at(1_000))),
        ("time_encoding", |c| c.this_update_encoding = TimeEncoding::Generalized),
        ("time_encoding", |c| c.next_update_encoding = Some(TimeEncoding::Generalized)),
        ("time_encoding", |c| c.entries[0].revoked_at_encoding = TimeEncoding::Generalized),
        ("crl_number", |c| c.number_octets = None),
        ("crl_number", |c| c.number_octets = Some(vec![0x80])),
        ("crl_number", |c| c.number_octets = Some(vec![1; 21])),
        ("authority_key_id", |c| c.authority_key_id = None),
        ("authority_key_id", |c| c.authority_key_id = Some(vec![1])),
        ("extension_duplicate", |c| c.extensions.push(extension("2.5.29.20", false))),
        ("extension_criticality", |c| c.extensions[0].critical = true),
        ("extension_criticality", |c| c.extensions.push(extension("2.5.29.28", false))),
        ("entry", |c| c.entries[1].serial = c.entries[0].serial),
        ("entry", |c| c.entries[0].revoked_at = at(1_001)),
        ("entry", |c| c.entries[0].reason = Some(0)),
        ("entry", |c| c.entries[0].reason = Some(7)),
        ("entry", |c| c.entries[0].reason = Some(8)),
    ];
    for (number, (rule, spoil)) in table.iter().enumerate() {
        let mut facts = crl();
        spoil(&mut facts);
        let findings = judge_crl(facts).unwrap_err();
        assert_eq!(findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [*rule], "line {number}");
    }
}
