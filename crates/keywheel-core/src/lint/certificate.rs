//! The rules for certificates, mostly from RFC 5280.

use alloc::format;
use alloc::string::{String, ToString};

use super::{AlternativeName, CertificateFacts, Findings, KeyUsage, NameFacts, Profile, Role};
use crate::key_strength::{self, PublicKeyFacts};

const SUBJECT_KEY_ID: &str = "2.5.29.14";
const KEY_USAGE: &str = "2.5.29.15";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const NAME_CONSTRAINTS: &str = "2.5.29.30";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const AUTHORITY_INFO_ACCESS: &str = "1.3.6.1.5.5.7.1.1";

/// Upper bounds of RFC 5280, appendix A.1, in characters.
const ATTRIBUTE_BOUNDS: [(&str, &str, usize); 9] = [
    ("2.5.4.3", "common name", 64),
    ("2.5.4.5", "serial number attribute", 64),
    ("2.5.4.7", "locality", 128),
    ("2.5.4.8", "state or province", 128),
    ("2.5.4.10", "organisation", 64),
    ("2.5.4.11", "organisational unit", 64),
    ("2.5.4.12", "title", 64),
    ("2.5.4.17", "postal code", 40),
    ("1.2.840.113549.1.9.1", "e-mail address", 255),
];
const COUNTRY: &str = "2.5.4.6";
const PRINTABLE_STRING: u8 = 19;

pub(super) fn lint(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    header(facts, profile, findings);
    names(facts, profile, findings);
    validity(facts, profile, findings);
    key(facts, findings);
    extensions(facts, profile, findings);
    authority(facts, profile, findings);
}

fn header(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    findings.require(!facts.tbs.is_empty(), "tbs", || "there is nothing to sign".into());
    findings.require(facts.version == 3, "version", || format!("the version is {}, not 3", facts.version));
    findings.require_number("serial", &facts.serial_octets);
    findings
        .require(facts.serial_octets.iter().any(|octet| *octet != 0), "serial", || "the serial number is zero".into());
    findings.require(facts.signature_algorithm == profile.signature_algorithm, "signature_algorithm", || {
        "the algorithm inside is not the one that signs".into()
    });
    findings.require(!facts.has_unique_id, "unique_id", || "a unique identifier is present".into());
}

fn names(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    findings.require(!facts.issuer.attributes.is_empty(), "issuer", || "the issuer is empty".into());
    findings.require(facts.issuer.der == profile.issuer.name, "issuer", || {
        "the issuer is not the subject of the issuing certificate".into()
    });
    if profile.role == Role::Root {
        findings.require(facts.issuer.der == facts.subject.der, "issuer", || "a root must be its own issuer".into());
    }
    let subject_is_empty = facts.subject.attributes.is_empty();
    if profile.role != Role::Leaf {
        findings.require(!subject_is_empty, "subject", || "the subject of a CA is empty".into());
    }
    attributes(&facts.subject, findings);
    let alternative_names_critical =
        facts.extensions.iter().any(|extension| extension.oid == SUBJECT_ALT_NAME && extension.critical);
    findings.require(!subject_is_empty || alternative_names_critical, "subject", || {
        "the subject is empty and there are no critical alternative names instead".into()
    });
    if let Some(names) = &facts.alternative_names {
        findings.require(!names.is_empty(), "san", || "the list of alternative names is empty".into());
        for name in names {
            findings.require(is_sound(name), "san", || format!("{} is no valid alternative name", shown(name)));
        }
    }
}

fn attributes(name: &NameFacts, findings: &mut Findings) {
    for attribute in &name.attributes {
        let Some(value) = &attribute.value else { continue };
        let length = value.chars().count();
        findings.require(length > 0, "subject", || format!("the attribute {} is empty", attribute.oid));
        if let Some((_, label, bound)) = ATTRIBUTE_BOUNDS.iter().find(|(oid, ..)| *oid == attribute.oid) {
            findings.require(length <= *bound, "subject", || {
                format!("the {label} has {length} characters; {bound} are allowed")
            });
        }
        if attribute.oid == COUNTRY {
            let sound = attribute.tag == PRINTABLE_STRING
                && value.len() == 2
                && value.bytes().all(|octet| octet.is_ascii_alphabetic());
            findings.require(sound, "subject", || format!("{value:?} is no country code of two letters"));
        }
    }
}

/// The name as a person writes it.
fn shown(name: &AlternativeName) -> String {
    match name {
        AlternativeName::Dns(text) => format!("the DNS name '{text}'"),
        AlternativeName::Email(text) => format!("the e-mail address '{text}'"),
        AlternativeName::Uri(text) => format!("the URI '{text}'"),
        AlternativeName::Ip(octets) => format!("an IP address of {} octets", octets.len()),
        AlternativeName::Other(_) => "another kind of name".into(),
    }
}

/// The shape that verifiers need, not what a policy likes.
fn is_sound(name: &AlternativeName) -> bool {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
    match name {
        AlternativeName::Dns(name) => {
            let rest = name.strip_prefix("*.").unwrap_or(name);
            let label_is_sound = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
            };
            name.len() <= 253 && rest.split('.').all(label_is_sound)
        }
        AlternativeName::Ip(octets) => matches!(octets.len(), 4 | 16),
        AlternativeName::Email(address) => {
            visible(address)
                && matches!(address.rsplit_once('@'), Some((local, host)) if !local.is_empty() && !host.is_empty())
        }
        AlternativeName::Uri(uri) => {
            let scheme_is_sound = |scheme: &str| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            };
            visible(uri)
                && matches!(uri.split_once(':'), Some((scheme, rest)) if scheme_is_sound(scheme) && !rest.is_empty())
        }
        AlternativeName::Other(_) => true,
    }
}

fn validity(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    let validity = facts.validity;
    findings.require(validity.not_before < validity.not_after, "validity", || {
        format!("it ends at {}, before it starts at {}", validity.not_after, validity.not_before)
    });
    findings.require_time_encoding("notBefore", validity.not_before, facts.not_before_encoding);
    findings.require_time_encoding("notAfter", validity.not_after, facts.not_after_encoding);
    if let Some(issuer_not_after) = profile.issuer.not_after {
        findings.require(validity.not_after <= issuer_not_after, "validity", || {
            format!("it ends at {}, after its issuer at {issuer_not_after}", validity.not_after)
        });
    }
}

fn key(facts: &CertificateFacts, findings: &mut Findings) {
    if let Err(weakness) = key_strength::check(&facts.key) {
        findings.require(false, "key", || weakness.to_string());
    }
    let Some(usage) = facts.key_usage else { return };
    findings.require(usage.0 != 0, "key_usage", || "no bit of the key usage is set".into());
    let enciphering = KeyUsage::KEY_ENCIPHERMENT.union(KeyUsage::DATA_ENCIPHERMENT);
    let agreement_only = KeyUsage::ENCIPHER_ONLY.union(KeyUsage::DECIPHER_ONLY);
    let agreeing = KeyUsage::KEY_AGREEMENT.union(agreement_only);
    let (forbidden, kind) = match facts.key {
        PublicKeyFacts::Rsa { .. } => (agreeing, "RSA"),
        PublicKeyFacts::Ec { .. } => (enciphering, "EC"),
        PublicKeyFacts::Ed25519 => (enciphering.union(agreeing), "Ed25519"),
        PublicKeyFacts::Other { .. } => return,
    };
    findings.require(!usage.intersects(forbidden), "key_usage", || format!("the key usage does not fit an {kind} key"));
    findings.require(!usage.intersects(agreement_only) || usage.contains(KeyUsage::KEY_AGREEMENT), "key_usage", || {
        "encipherOnly and decipherOnly mean nothing without keyAgreement".into()
    });
}

fn extensions(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    findings.require_unique_extensions(&facts.extensions);
    for oid in [SUBJECT_KEY_ID, AUTHORITY_KEY_ID, AUTHORITY_INFO_ACCESS] {
        findings.require_criticality(&facts.extensions, oid, false);
    }
    findings.require_criticality(&facts.extensions, NAME_CONSTRAINTS, true);
    if profile.role == Role::Leaf {
        let constrains = facts.extensions.iter().any(|extension| extension.oid == NAME_CONSTRAINTS);
        findings.require(!constrains, "name_constraints", || "only a CA may carry name constraints".into());
    }
    findings.require(facts.subject_key_id.as_ref().is_some_and(|id| !id.is_empty()), "subject_key_id", || {
        "the subject key identifier is missing".into()
    });
    match (&facts.authority_key_id, profile.issuer.key_id) {
        (None, _) => findings.require(profile.role == Role::Root, "authority_key_id", || {
            "the authority key identifier is missing".into()
        }),
        (Some(found), Some(wanted)) => findings.require(found == wanted, "authority_key_id", || {
            "the authority key identifier is not that of the issuing key".into()
        }),
        (Some(_), None) => {}
    }
    if let Some(purposes) = &facts.extended_key_usage {
        findings.require(!purposes.is_empty(), "extended_key_usage", || "the extended key usage is empty".into());
        for (index, purpose) in purposes.iter().enumerate() {
            findings.require(!purposes[..index].contains(purpose), "extended_key_usage", || {
                format!("the extended key usage {purpose} appears twice")
            });
        }
    }
}

fn authority(facts: &CertificateFacts, profile: &Profile<'_>, findings: &mut Findings) {
    let constraints = facts.basic_constraints.unwrap_or_default();
    let usage = facts.key_usage.unwrap_or_default();
    let signs = usage.contains(KeyUsage::CERT_SIGN);
    findings.require(constraints.ca || constraints.path_length.is_none(), "basic_constraints", || {
        "a path length is given for what is no CA".into()
    });
    if profile.role == Role::Leaf {
        findings.require(!constraints.ca, "basic_constraints", || "a leaf must not be a CA".into());
        findings.require(!signs, "key_usage", || "a leaf must not sign certificates".into());
        return;
    }
    findings.require(constraints.ca, "basic_constraints", || "a CA must say that it is one".into());
    findings.require_criticality(&facts.extensions, BASIC_CONSTRAINTS, true);
    findings.require_criticality(&facts.extensions, KEY_USAGE, true);
    findings.require(signs, "key_usage", || "a CA must be allowed to sign certificates".into());
    if let Some(above) = profile.issuer.path_length.filter(|_| profile.role == Role::Intermediate) {
        let fits = constraints.path_length.is_some_and(|below| below < above);
        findings.require(fits, "basic_constraints", || {
            format!("the path length does not fit below an issuer that allows {above}")
        });
    }
}
