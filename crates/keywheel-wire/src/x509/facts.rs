//! What core needs to know of certificates, revocation lists and keys before it lets anything be signed.

use super::Malformed;
use super::certificate::Certificate;
use super::crl::TbsCrl;
use super::extension::alt_name::GeneralName;
use super::extension::constraints::Subtrees;
use super::extension::{Extension, constraints};
use super::name::Name;
use super::oid::{self, Oid};
use super::tbs::TbsCertificate;
use super::tlv::{self, Element};
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey};
use keywheel_core::key_strength::{Curve, PublicKeyFacts};
use keywheel_core::lint::{
    AlternativeName, AttributeFacts, BasicConstraints, CertificateFacts, CrlEntryFacts, CrlFacts, ExtensionFacts,
    KeyUsage, NameFacts, TimeEncoding,
};
use keywheel_core::names::{NameConstraints, Names, Subtree};
use keywheel_core::validity::Validity;
use std::net::IpAddr;

/// What is known of a certificate to sign, read from the very bytes that will be signed.
pub fn certificate_facts(tbs: Vec<u8>) -> Result<CertificateFacts, Malformed> {
    facts_of(&TbsCertificate::from_der(&tbs)?)
}

/// The same of bytes that were taken apart already, and are kept beside.
pub fn facts_of(parts: &TbsCertificate) -> Result<CertificateFacts, Malformed> {
    let (start, end) = parts.generalized_times();
    let alternative_names = match parts.extension(&oid::SUBJECT_ALT_NAME) {
        None => None,
        Some(_) => {
            Some(parts.subject_alt_names()?.iter().map(alternative_name).collect::<Result<Vec<_>, Malformed>>()?)
        }
    };
    let basic_constraints =
        parts.basic_constraints()?.map(|found| BasicConstraints { ca: found.ca, path_length: found.path_len });
    Ok(CertificateFacts {
        version: parts.version(),
        serial_octets: parts.serial_octets().to_vec(),
        signature_algorithm: parts.algorithm().to_vec(),
        issuer: name_facts(parts.issuer()),
        subject: name_facts(parts.subject()),
        validity: Validity { not_before: parts.not_before(), not_after: parts.not_after() },
        not_before_encoding: encoding(start),
        not_after_encoding: encoding(end),
        key: public_key_facts(parts.spki())?,
        key_digest: parts.key_digest(),
        has_unique_id: parts.has_unique_id(),
        extensions: parts.extensions().iter().map(extension_facts).collect(),
        alternative_names,
        basic_constraints,
        key_usage: parts.key_usage()?.map(|usage| KeyUsage(usage.bits())),
        extended_key_usage: parts.extended_key_usage()?.map(|usages| usages.iter().map(Oid::to_string).collect()),
        subject_key_id: parts.subject_key_id()?,
        authority_key_id: parts.authority_key_id()?,
        tbs: parts.der().to_vec(),
    })
}

/// What is known of a revocation list to sign, read from the very bytes that will be signed.
pub fn crl_facts(tbs: Vec<u8>) -> Result<CrlFacts, Malformed> {
    let parts = TbsCrl::from_der(&tbs)?;
    let (this, next) = parts.generalized_times();
    let entries = parts.revoked().iter().zip(parts.generalized_entries());
    let number_octets = match parts.extension(&oid::CRL_NUMBER) {
        None => None,
        Some(extension) => Some(Element::only_tagged(extension.value(), tlv::INTEGER, "CRL number")?.content.to_vec()),
    };
    Ok(CrlFacts {
        version: parts.version(),
        signature_algorithm: parts.algorithm().to_vec(),
        issuer: parts.issuer().as_der().to_vec(),
        this_update: parts.this_update(),
        this_update_encoding: encoding(this),
        next_update: parts.next_update(),
        next_update_encoding: parts.next_update().map(|_| encoding(next)),
        extensions: parts.extensions().iter().map(extension_facts).collect(),
        number_octets,
        authority_key_id: parts.authority_key_id()?,
        entries: entries
            .map(|(entry, generalized)| CrlEntryFacts {
                serial: entry.serial,
                revoked_at: entry.revoked_at,
                revoked_at_encoding: encoding(*generalized),
                reason: entry.reason.map(|reason| reason.code()),
            })
            .collect(),
        tbs,
    })
}

/// What is known of a public key, a whole SubjectPublicKeyInfo.
///
/// A key in another than its one usual encoding (a compressed point, RSA without the NULL) is
/// [`PublicKeyFacts::Other`]: the same key would have several digests, and could pass as new when it is not.
pub fn public_key_facts(spki: &[u8]) -> Result<PublicKeyFacts, Malformed> {
    const WHAT: &str = "public key";
    let mut reader = Element::only_tagged(spki, tlv::SEQUENCE, WHAT)?.read(WHAT);
    let algorithm = reader.expect(tlv::SEQUENCE)?;
    let bits = tlv::whole_bytes(reader.expect(tlv::BIT_STRING)?.content, WHAT)?;
    reader.end()?;
    let mut parts = algorithm.read(WHAT);
    let oid = Oid::from_content(parts.expect(tlv::OID)?.content)?;
    let parameters = if parts.is_empty() { None } else { Some(parts.element()?) };
    parts.end()?;
    let other = |algorithm: String| Ok(PublicKeyFacts::Other { algorithm });
    if oid == oid::RSA {
        if parameters.is_none_or(|parameters| parameters.whole != [5, 0]) {
            return other("RSA in an unusual encoding".to_owned());
        }
        return rsa(bits).map_or_else(|| Err(Malformed::new(WHAT, "its RSA numbers are unreadable")), Ok);
    }
    if oid == oid::ED25519 {
        if parameters.is_some() {
            return other("Ed25519 in an unusual encoding".to_owned());
        }
        return if bits.len() == 32 {
            Ok(PublicKeyFacts::Ed25519)
        } else {
            Err(Malformed::new(WHAT, "an Ed25519 key has not 32 octets"))
        };
    }
    if oid != oid::EC_PUBLIC_KEY {
        return other(oid.to_string());
    }
    let Some(curve) = parameters.filter(|parameters| parameters.tag == tlv::OID) else {
        return other("EC with explicit parameters".to_owned());
    };
    let curve = Oid::from_content(curve.content)?;
    let Some((_, known, algorithm)) = CURVES.iter().find(|(oid, ..)| *oid == curve) else {
        return other(format!("EC on the curve {curve}"));
    };
    if bits.first() != Some(&4) {
        return other("EC with a compressed point".to_owned());
    }
    match ParsedPublicKey::new(*algorithm, bits) {
        Ok(_) => Ok(PublicKeyFacts::Ec { curve: *known }),
        Err(_) => Err(Malformed::new(WHAT, "its point is not on its curve")),
    }
}

/// The names that a subject and alternative names carry, for the policy to judge.
pub fn names(subject: &Name, alternative_names: &[GeneralName]) -> Names {
    let mut names = Names { common_name: subject.common_name().filter(|name| !name.is_empty()), ..Names::default() };
    for name in alternative_names {
        match name {
            GeneralName::Dns(text) => names.dns.push(text.clone()),
            GeneralName::Ip(ip) => names.ip.push(*ip),
            GeneralName::Email(text) => names.email.push(text.clone()),
            GeneralName::Uri(text) => names.uri.push(text.clone()),
            GeneralName::Directory(_)
            | GeneralName::RegisteredId(_)
            | GeneralName::Other { .. }
            | GeneralName::Raw(_) => {}
        }
    }
    names
}

/// The name constraints of a CA certificate; `None` where it has none.
pub fn name_constraints(certificate: &Certificate) -> Result<Option<NameConstraints>, Malformed> {
    let constraints = certificate.parts().name_constraints()?;
    Ok(constraints.map(|constraints: constraints::NameConstraints| NameConstraints {
        permitted: subtrees(constraints.permitted),
        excluded: subtrees(constraints.excluded),
    }))
}

/// The validity of a certificate.
pub fn validity(certificate: &Certificate) -> Validity {
    Validity { not_before: certificate.not_before(), not_after: certificate.not_after() }
}

static CURVES: [(Oid, Curve, &EcdsaVerificationAlgorithm); 3] = [
    (oid::P256, Curve::P256, &signature::ECDSA_P256_SHA256_ASN1),
    (oid::P384, Curve::P384, &signature::ECDSA_P384_SHA384_ASN1),
    (oid::P521, Curve::P521, &signature::ECDSA_P521_SHA512_ASN1),
];

const fn encoding(generalized: bool) -> TimeEncoding {
    if generalized { TimeEncoding::Generalized } else { TimeEncoding::Utc }
}

fn extension_facts(extension: &Extension) -> ExtensionFacts {
    ExtensionFacts { oid: extension.oid().to_string(), critical: extension.critical() }
}

fn name_facts(name: &Name) -> NameFacts {
    let attributes = name.attributes().into_iter().map(|attribute| AttributeFacts {
        oid: attribute.oid.to_string(),
        tag: attribute.tag,
        value: attribute.is_text.then_some(attribute.value),
    });
    NameFacts { der: name.as_der().to_vec(), attributes: attributes.collect() }
}

fn alternative_name(name: &GeneralName) -> Result<AlternativeName, Malformed> {
    Ok(match name {
        GeneralName::Dns(text) => AlternativeName::Dns(text.clone()),
        GeneralName::Email(text) => AlternativeName::Email(text.clone()),
        GeneralName::Uri(text) => AlternativeName::Uri(text.clone()),
        GeneralName::Ip(IpAddr::V4(ip)) => AlternativeName::Ip(ip.octets().to_vec()),
        GeneralName::Ip(IpAddr::V6(ip)) => AlternativeName::Ip(ip.octets().to_vec()),
        other => {
            let tag = other.to_der()?.first().copied().unwrap_or(0);
            AlternativeName::Other(tag & 0x1f)
        }
    })
}

fn rsa(bits: &[u8]) -> Option<PublicKeyFacts> {
    const WHAT: &str = "RSA key";
    let mut reader = Element::only_tagged(bits, tlv::SEQUENCE, WHAT).ok()?.read(WHAT);
    let modulus = positive(reader.expect(tlv::INTEGER).ok()?.content)?;
    let exponent = positive(reader.expect(tlv::INTEGER).ok()?.content)?;
    reader.end().ok()?;
    Some(PublicKeyFacts::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

/// The magnitude of an INTEGER that is minimal and not negative.
fn positive(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
        [0, rest @ ..] if !rest.is_empty() => Some(rest),
        _ => Some(content),
    }
}

fn subtrees(subtrees: Subtrees) -> Vec<Subtree> {
    let Subtrees { dns, ip, email, uri, directory, unknown } = subtrees;
    let mut all: Vec<Subtree> = dns.into_iter().map(Subtree::Dns).collect();
    all.extend(ip.into_iter().map(|(address, mask)| Subtree::Ip { address, mask }));
    all.extend(email.into_iter().map(Subtree::Email));
    all.extend(uri.into_iter().map(Subtree::Uri));
    all.extend(directory.iter().map(|_| Subtree::Other("directory name".to_owned())));
    all.extend(unknown.iter().map(|_| Subtree::Other("other".to_owned())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_key::KeyKind;
    use crate::signer::{SignatureScheme, Signer};
    use crate::x509::crl::{CrlBuilder, RevokedCertificate};
    use crate::x509::openssl::{Judge, KINDS, at, issue, leaf_extensions};
    use keywheel_core::revocation::ReasonCode;
    use keywheel_core::serial::Serial;
    use proptest::prelude::*;

    #[test]
    fn the_facts_of_a_certificate_are_those_of_its_bytes() {
        let judge = Judge::new();
        let (ca, root) = judge.root("root", KINDS[0], &[]);
        let key = judge.key("leaf", KINDS[4]);
        let extensions = leaf_extensions(&key, &ca, &[oid::CLIENT_AUTH], &["svc.lab", "10.0.0.1"]);
        let leaf = issue(&ca, root.subject(), &Name::with_common_name("svc"), key.public_key(), extensions);
        let facts = certificate_facts(leaf.tbs().to_vec()).unwrap();
        assert_eq!(facts.tbs, leaf.tbs());
        assert_eq!((facts.version, facts.has_unique_id), (3, false));
        assert_eq!(facts.serial_octets, leaf.serial().as_bytes());
        assert_eq!(facts.signature_algorithm, leaf.algorithm());
        assert_eq!(facts.issuer.der, root.subject().as_der());
        let name = &facts.subject.attributes[0];
        assert_eq!((name.oid.as_str(), name.value.as_deref(), name.tag), ("2.5.4.3", Some("svc"), 0x13));
        assert_eq!(facts.key_digest, leaf.key_digest());
        assert_eq!(facts.key_usage, Some(KeyUsage::DIGITAL_SIGNATURE));
        assert_eq!(facts.extended_key_usage.unwrap(), ["1.3.6.1.5.5.7.3.2"]);
        assert_eq!(facts.not_after_encoding, TimeEncoding::Utc);
        let names = [AlternativeName::Dns("svc.lab".into()), AlternativeName::Ip(vec![10, 0, 0, 1])];
        assert_eq!(facts.alternative_names.unwrap(), names);
        assert_eq!(facts.authority_key_id, root.parts().subject_key_id().unwrap());
        assert!(facts.extensions.iter().any(|one| one.oid == "2.5.29.15" && one.critical));
        let root_facts = certificate_facts(root.tbs().to_vec()).unwrap();
        assert_eq!(root_facts.basic_constraints, Some(BasicConstraints { ca: true, path_length: Some(1) }));
    }

    #[test]
    fn the_facts_of_a_list_are_those_of_its_bytes() {
        let revoked = RevokedCertificate {
            serial: Serial::from_random([5; 16]),
            revoked_at: at("2050-01-01T00:00:00Z"),
            reason: Some(ReasonCode::from_code(4).unwrap()),
        };
        let tbs = CrlBuilder {
            scheme: SignatureScheme::Ed25519,
            issuer: Name::with_common_name("ca"),
            this_update: at("2049-01-01T00:00:00.5Z"),
            next_update: at("2051-01-01T00:00:00Z"),
            number: 0x80,
            authority_key_id: vec![1, 2, 3],
            distribution_point: None,
            revoked: vec![revoked],
        }
        .build()
        .unwrap();
        let facts = crl_facts(tbs.clone()).unwrap();
        assert_eq!((facts.tbs, facts.version), (tbs, 2));
        assert_eq!(facts.issuer, Name::with_common_name("ca").as_der());
        assert_eq!(facts.this_update, at("2049-01-01T00:00:00Z"));
        assert_eq!(facts.this_update_encoding, TimeEncoding::Utc);
        assert_eq!(facts.next_update_encoding, Some(TimeEncoding::Generalized));
        assert_eq!(facts.number_octets, Some(vec![0, 0x80]));
        assert_eq!(facts.authority_key_id, Some(vec![1, 2, 3]));
        assert_eq!((facts.entries.len(), facts.entries[0].reason), (1, Some(4)));
        assert_eq!(facts.entries[0].revoked_at_encoding, TimeEncoding::Generalized);
    }

    #[test]
    fn keys_are_known_by_their_numbers() {
        let judge = Judge::new();
        for (kind, facts) in [
            (KeyKind::EcP256, PublicKeyFacts::Ec { curve: Curve::P256 }),
            (KeyKind::EcP384, PublicKeyFacts::Ec { curve: Curve::P384 }),
            (KeyKind::EcP521, PublicKeyFacts::Ec { curve: Curve::P521 }),
            (KeyKind::Ed25519, PublicKeyFacts::Ed25519),
        ] {
            assert_eq!(public_key_facts(judge.key("k", kind).public_key()).unwrap(), facts);
        }
        let rsa = judge.key("rsa", KeyKind::Rsa(1024));
        let Ok(PublicKeyFacts::Rsa { modulus, exponent }) = public_key_facts(rsa.public_key()) else { panic!() };
        let said = judge.accepts("rsa -in rsa.key -noout -modulus").to_lowercase();
        let hex: String = modulus.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(said.trim(), format!("modulus={hex}"));
        assert_eq!(exponent, [1, 0, 1]);
    }

    #[test]
    fn a_key_in_another_encoding_is_another_kind_of_key() {
        let judge = Judge::new();
        judge.key("k", KeyKind::EcP256);
        for (options, algorithm) in [
            ("-ec_conv_form compressed", "EC with a compressed point"),
            ("-ec_param_enc explicit", "EC with explicit parameters"),
        ] {
            judge.accepts(&format!("pkey -in k.key -pubout -outform DER {options} -out odd.pub"));
            let facts = public_key_facts(&judge.read("odd.pub")).unwrap();
            assert_eq!(facts, PublicKeyFacts::Other { algorithm: algorithm.into() });
        }
        let rsa = judge.key("rsa", KeyKind::Rsa(2048));
        let outer = Element::only(rsa.public_key(), "key").unwrap();
        let mut reader = outer.read("key");
        let (_, bits) = (reader.element().unwrap(), reader.element().unwrap());
        let bare = tlv::sequence(&[tlv::sequence(&[oid::RSA.to_der()]), bits.whole.to_vec()]);
        assert!(matches!(public_key_facts(&bare), Ok(PublicKeyFacts::Other { .. })));
        judge.accepts("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out k1.key");
        judge.accepts("pkey -in k1.key -pubout -outform DER -out k1.pub");
        let facts = public_key_facts(&judge.read("k1.pub")).unwrap();
        assert_eq!(facts, PublicKeyFacts::Other { algorithm: "EC on the curve 1.3.132.0.10".into() });
    }

    #[test]
    fn a_point_beside_its_curve_is_refused() {
        let mut spki = Judge::new().key("k", KeyKind::EcP256).public_key().to_vec();
        *spki.last_mut().unwrap() ^= 1;
        assert_eq!(public_key_facts(&spki).unwrap_err().problem, "its point is not on its curve");
    }

    #[test]
    fn names_are_sorted_for_the_policy() {
        let texts = ["a.lab", "10.0.0.1", "a@b.c", "https://x"];
        let names = names(&Name::with_common_name("cn"), &texts.map(GeneralName::from_text));
        assert_eq!(names.common_name.as_deref(), Some("cn"));
        assert_eq!((names.dns.len(), names.ip.len(), names.email.len(), names.uri.len()), (1, 1, 1, 1));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = public_key_facts(&bytes);
            let _ = public_key_facts(&tlv::sequence(&[&bytes]));
            let _ = crl_facts(tlv::sequence(&[&bytes]));
            let key = tlv::bit_string(&bytes);
            let rsa = tlv::sequence(&[oid::RSA.to_der(), vec![5, 0]]);
            let _ = public_key_facts(&tlv::sequence(&[rsa, key]));
        }
    }
}
