//! JSON for scripts, with the field names that `step certificate inspect --format json` has.

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding as _};
use keywheel_core::fingerprint::hex;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use super::field::{self, Key, distinguished_name};
use crate::x509::certificate::Certificate;
use crate::x509::extension::alt_name::{self, GeneralName};
use crate::x509::extension::constraints::{BasicConstraints, NameConstraints, Subtrees};
use crate::x509::extension::provisioner::ProvisionerExtension;
use crate::x509::extension::usage::{self, KeyUsage};
use crate::x509::extension::{Extension, crl_distribution, key_identifier};
use crate::x509::name::Name;
use crate::x509::oid::{self, Oid};
use crate::x509::request::Request;

/// A certificate as JSON.
pub fn certificate(certificate: &Certificate) -> Value {
    let parts = certificate.parts();
    let self_signed = certificate.is_self_issued() && certificate.verify_signed_by(certificate.spki()).is_ok();
    let length = certificate.not_after().duration_since(certificate.not_before()).as_secs();
    let (extensions, unknown) = extensions(certificate.extensions());
    let names = certificate.subject_alt_names().unwrap_or_default();

    let mut out = Map::new();
    put(&mut out, "version", parts.version());
    put(&mut out, "serial_number", certificate.serial().to_string());
    put(&mut out, "signature_algorithm", algorithm(parts.algorithm()));
    put(&mut out, "issuer", distinguished(certificate.issuer()));
    put(&mut out, "issuer_dn", distinguished_name(certificate.issuer(), ", "));
    let (start, end) = (certificate.not_before().to_string(), certificate.not_after().to_string());
    put(&mut out, "validity", json!({"start": start, "end": end, "length": length}));
    put(&mut out, "subject", distinguished(certificate.subject()));
    put(&mut out, "subject_dn", distinguished_name(certificate.subject(), ", "));
    put(&mut out, "subject_key_info", key(certificate.spki()));
    put(&mut out, "extensions", extensions);
    put_list(&mut out, "unknown_extensions", unknown);
    put(
        &mut out,
        "signature",
        json!({
            "signature_algorithm": algorithm(certificate.algorithm()),
            "value": base64(certificate.signature()),
            // Whether it is a self-signed certificate whose signature verifies: nothing else is checked here.
            "valid": self_signed,
            "self_signed": self_signed,
        }),
    );
    put(&mut out, "fingerprint_md5", hex(&Md5::digest(certificate.der())));
    put(&mut out, "fingerprint_sha1", digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der()));
    put(&mut out, "fingerprint_sha256", sha256(certificate.der()));
    let spki_subject = [certificate.spki(), certificate.subject().as_der()].concat();
    put(&mut out, "spki_subject_fingerprint", sha256(&spki_subject));
    put(&mut out, "tbs_fingerprint", sha256(certificate.tbs()));
    put(&mut out, "validation_level", "unknown");
    put_list(&mut out, "names", all_names(certificate.subject(), &names));
    put(&mut out, "redacted", false);
    Value::Object(out)
}

/// A certificate signing request as JSON.
pub fn request(request: &Request) -> Value {
    let names = request.subject_alt_names().unwrap_or_default();
    let texts = |is_kind: fn(&GeneralName) -> bool| -> Value {
        let found: Vec<String> = names.iter().filter(|name| is_kind(name)).filter_map(GeneralName::as_text).collect();
        if found.is_empty() { Value::Null } else { json!(found) }
    };
    let key_algorithm = Key::read(request.spki()).algorithm().to_owned();
    let extensions: Vec<Value> = request.extensions().iter().map(raw_extension).collect();
    json!({
        "Raw": base64(request.der()),
        "RawTBSCertificateRequest": base64(request.info()),
        "RawSubjectPublicKeyInfo": base64(request.spki()),
        "RawSubject": base64(request.subject().as_der()),
        "Version": 0,
        "Signature": base64(request.signature()),
        "SignatureAlgorithm": algorithm(request.algorithm()),
        "SignatureValid": request.verify().is_ok(),
        "PublicKeyAlgorithm": {"name": key_algorithm},
        "PublicKey": key(request.spki()),
        "Subject": distinguished(request.subject()),
        "SubjectDN": distinguished_name(request.subject(), ", "),
        "Extensions": extensions,
        "DNSNames": texts(|name| matches!(name, GeneralName::Dns(_))),
        "EmailAddresses": texts(|name| matches!(name, GeneralName::Email(_))),
        "IPAddresses": texts(|name| matches!(name, GeneralName::Ip(_))),
        "URIs": texts(|name| matches!(name, GeneralName::Uri(_))),
        "fingerprint_sha256": sha256(request.der()),
    })
}

fn put(out: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    out.insert(name.to_owned(), value.into());
}

fn put_list<T: Into<Value>>(out: &mut Map<String, Value>, name: &str, list: Vec<T>) {
    if !list.is_empty() {
        put(out, name, list);
    }
}

fn base64(octets: &[u8]) -> String {
    Base64::encode_string(octets)
}

fn sha256(octets: &[u8]) -> String {
    digest_of(&digest::SHA256, octets)
}

fn digest_of(algorithm: &'static digest::Algorithm, octets: &[u8]) -> String {
    hex(digest::digest(algorithm, octets).as_ref())
}

fn algorithm(der: &[u8]) -> Value {
    let (name, oid) = field::algorithm(der);
    json!({"name": name, "oid": oid})
}

/// A name as lists of values by the kind of attribute.
fn distinguished(name: &Name) -> Value {
    const FIELDS: [(Oid, &str); 13] = [
        (oid::COMMON_NAME, "common_name"),
        (oid::SERIAL_NUMBER, "serial_number"),
        (oid::COUNTRY, "country"),
        (oid::LOCALITY, "locality"),
        (oid::STATE, "province"),
        (oid::STREET, "street_address"),
        (oid::ORGANIZATION, "organization"),
        (oid::ORGANIZATIONAL_UNIT, "organizational_unit"),
        (oid::POSTAL_CODE, "postal_code"),
        (oid::DOMAIN_COMPONENT, "domain_component"),
        (oid::EMAIL_ADDRESS, "email_address"),
        (oid::GIVEN_NAME, "given_name"),
        (oid::SURNAME, "surname"),
    ];
    let mut out = Map::new();
    for (oid, name_of_field) in &FIELDS {
        put_list(&mut out, name_of_field, name.values(oid));
    }
    Value::Object(out)
}

fn key(spki: &[u8]) -> Value {
    let key = Key::read(spki);
    let mut out = Map::new();
    put(&mut out, "key_algorithm", json!({"name": key.algorithm()}));
    match &key {
        Key::Ec { curve, bits, point, x, y } => {
            let value = json!({
                "curve": curve, "length": bits, "pub": base64(point), "x": base64(x), "y": base64(y),
            });
            put(&mut out, "ecdsa_public_key", value);
        }
        Key::Rsa { bits, modulus, exponent } => {
            let exponent = field::exponent(exponent).map_or_else(|| json!(hex(exponent)), |number| json!(number));
            let value = json!({"exponent": exponent, "modulus": base64(modulus), "length": bits});
            put(&mut out, "rsa_public_key", value);
        }
        Key::Ed25519 { .. } | Key::Other { .. } => {}
    }
    put(&mut out, "fingerprint_sha256", sha256(spki));
    Value::Object(out)
}

/// What is understood, by name, and what is not, as it was encoded.
fn extensions(all: &[Extension]) -> (Value, Vec<Value>) {
    let mut known = Map::new();
    let mut unknown = Vec::new();
    for extension in all {
        if read_extension(extension, &mut known).is_none() {
            unknown.push(raw_extension(extension));
        }
    }
    (Value::Object(known), unknown)
}

fn raw_extension(extension: &Extension) -> Value {
    json!({
        "id": extension.oid().to_string(),
        "critical": extension.critical(),
        "value": base64(extension.value()),
    })
}

/// `None` where the extension is of an unknown type or cannot be read.
fn read_extension(extension: &Extension, out: &mut Map<String, Value>) -> Option<()> {
    let value = extension.value();
    let oid = extension.oid();
    if *oid == oid::KEY_USAGE {
        put(out, "key_usage", key_usage(KeyUsage::read(value).ok()?));
    } else if *oid == oid::BASIC_CONSTRAINTS {
        let constraints = BasicConstraints::read(value).ok()?;
        let mut fields = Map::new();
        put(&mut fields, "is_ca", constraints.ca);
        if let Some(length) = constraints.path_len {
            put(&mut fields, "max_path_len", length);
        }
        put(out, "basic_constraints", fields);
    } else if *oid == oid::SUBJECT_ALT_NAME {
        put(out, "subject_alt_name", general_names(&alt_name::read(value).ok()?));
    } else if *oid == oid::NAME_CONSTRAINTS {
        put(out, "name_constraints", name_constraints(&NameConstraints::read(value).ok()?, extension.critical()));
    } else if *oid == oid::CRL_DISTRIBUTION_POINTS {
        put(out, "crl_distribution_points", crl_distribution::read(value).ok()?);
    } else if *oid == oid::AUTHORITY_KEY_IDENTIFIER {
        if let Some(identifier) = key_identifier::read_authority(value).ok()? {
            put(out, "authority_key_id", hex(&identifier));
        }
    } else if *oid == oid::SUBJECT_KEY_IDENTIFIER {
        put(out, "subject_key_id", hex(&key_identifier::read_subject(value).ok()?));
    } else if *oid == oid::EXTENDED_KEY_USAGE {
        put(out, "extended_key_usage", extended_key_usage(&usage::read_extended(value).ok()?));
    } else if *oid == oid::CERTIFICATE_POLICIES {
        let policies = field::policies(value).ok()?;
        put(out, "certificate_policies", policies.iter().map(|id| json!({"id": id})).collect::<Vec<_>>());
    } else if *oid == oid::AUTHORITY_INFORMATION_ACCESS {
        let places = field::authority_information(value).ok()?;
        let of = |method: &str| -> Vec<String> {
            places.iter().filter(|(own, _)| own == method).filter_map(|(_, place)| place.as_text()).collect()
        };
        let mut fields = Map::new();
        put_list(&mut fields, "ocsp_urls", of(field::OCSP));
        put_list(&mut fields, "issuer_urls", of(field::CA_ISSUERS));
        put(out, "authority_info_access", fields);
    } else if *oid == oid::PROVISIONER {
        put(out, "step_provisioner", provisioner(&ProvisionerExtension::read(value).ok()?));
    } else {
        return None;
    }
    Some(())
}

fn key_usage(usage: KeyUsage) -> Value {
    const FIELDS: [(KeyUsage, &str); 9] = [
        (KeyUsage::DIGITAL_SIGNATURE, "digital_signature"),
        (KeyUsage::CONTENT_COMMITMENT, "content_commitment"),
        (KeyUsage::KEY_ENCIPHERMENT, "key_encipherment"),
        (KeyUsage::DATA_ENCIPHERMENT, "data_encipherment"),
        (KeyUsage::KEY_AGREEMENT, "key_agreement"),
        (KeyUsage::CERT_SIGN, "certificate_sign"),
        (KeyUsage::CRL_SIGN, "crl_sign"),
        (KeyUsage::ENCIPHER_ONLY, "encipher_only"),
        (KeyUsage::DECIPHER_ONLY, "decipher_only"),
    ];
    let mut out = Map::new();
    for (_, name) in FIELDS.iter().filter(|(one, _)| usage.contains(*one)) {
        put(&mut out, name, true);
    }
    put(&mut out, "value", usage.bits());
    Value::Object(out)
}

fn extended_key_usage(usages: &[Oid]) -> Value {
    const FIELDS: [(Oid, &str); 10] = [
        (oid::ANY_EXTENDED_KEY_USAGE, "any"),
        (oid::SERVER_AUTH, "server_auth"),
        (oid::CLIENT_AUTH, "client_auth"),
        (oid::CODE_SIGNING, "code_signing"),
        (oid::EMAIL_PROTECTION, "email_protection"),
        (oid::IPSEC_END_SYSTEM, "ipsec_end_system"),
        (oid::IPSEC_TUNNEL, "ipsec_tunnel"),
        (oid::IPSEC_USER, "ipsec_user"),
        (oid::TIME_STAMPING, "time_stamping"),
        (oid::OCSP_SIGNING, "ocsp_signing"),
    ];
    let mut out = Map::new();
    let mut unknown = Vec::new();
    for usage in usages {
        match FIELDS.iter().find(|(known, _)| known == usage) {
            Some((_, name)) => put(&mut out, name, true),
            None => unknown.push(usage.to_string()),
        }
    }
    put_list(&mut out, "unknown", unknown);
    Value::Object(out)
}

fn general_names(names: &[GeneralName]) -> Value {
    let mut out = Map::new();
    let texts = |is_kind: fn(&GeneralName) -> bool| -> Vec<String> {
        names.iter().filter(|name| is_kind(name)).filter_map(GeneralName::as_text).collect()
    };
    let directories = names.iter().filter_map(|name| match name {
        GeneralName::Directory(der) => Name::from_der(der).ok().map(|name| distinguished(&name)),
        _ => None,
    });
    put_list(&mut out, "directory_names", directories.collect());
    put_list(&mut out, "dns_names", texts(|name| matches!(name, GeneralName::Dns(_))));
    put_list(&mut out, "email_addresses", texts(|name| matches!(name, GeneralName::Email(_))));
    put_list(&mut out, "ip_addresses", texts(|name| matches!(name, GeneralName::Ip(_))));
    let others = names.iter().filter_map(|name| match name {
        GeneralName::Other { oid, value } => Some(json!({"id": oid.to_string(), "value": base64(value)})),
        _ => None,
    });
    put_list(&mut out, "other_names", others.collect());
    let registered = names.iter().filter_map(|name| match name {
        GeneralName::RegisteredId(oid) => Some(oid.to_string()),
        _ => None,
    });
    put_list(&mut out, "registered_ids", registered.collect());
    put_list(&mut out, "uniform_resource_identifiers", texts(|name| matches!(name, GeneralName::Uri(_))));
    Value::Object(out)
}

fn name_constraints(constraints: &NameConstraints, critical: bool) -> Value {
    let mut out = Map::new();
    put(&mut out, "critical", critical);
    for (prefix, subtrees) in [("permitted", &constraints.permitted), ("excluded", &constraints.excluded)] {
        let Subtrees { dns, ip, email, uri, directory, unknown } = subtrees;
        let named = |kind: &str| format!("{prefix}_{kind}");
        put_list(&mut out, &named("names"), dns.clone());
        put_list(&mut out, &named("email_addresses"), email.clone());
        put_list(&mut out, &named("uris"), uri.clone());
        let networks = ip.iter().map(|(address, mask)| {
            json!({
                "cidr": field::network(*address, *mask),
                "begin": address.to_string(),
                "end": field::last_address(*address, *mask).to_string(),
                "mask": mask.to_string(),
            })
        });
        put_list(&mut out, &named("ip_addresses"), networks.collect());
        let directories = directory.iter().filter_map(|der| Name::from_der(der).ok());
        put_list(&mut out, &named("directory_names"), directories.map(|name| distinguished(&name)).collect());
        put_list(&mut out, &named("other_names"), unknown.iter().map(|whole| base64(whole)).collect());
    }
    Value::Object(out)
}

fn provisioner(extension: &ProvisionerExtension) -> Value {
    let mut out = Map::new();
    for pair in extension.key_value_pairs.chunks(2) {
        put(&mut out, &pair[0], pair.get(1).map_or("", String::as_str));
    }
    put(&mut out, "type", field::provisioner_type(extension.kind));
    put(&mut out, "name", extension.name.clone());
    if !extension.credential_id.is_empty() {
        put(&mut out, "credentialID", extension.credential_id.clone());
    }
    Value::Object(out)
}

/// Every name that a peer might be reached by: the common name where it looks like a host, DNS names, URIs, addresses.
fn all_names(subject: &Name, names: &[GeneralName]) -> Vec<String> {
    let host = subject.common_name().filter(|name| name.contains('.') && !name.contains(char::is_whitespace));
    let mut all: Vec<String> = host.into_iter().collect();
    let kinds: [fn(&GeneralName) -> bool; 3] = [
        |name| matches!(name, GeneralName::Dns(_)),
        |name| matches!(name, GeneralName::Uri(_)),
        |name| matches!(name, GeneralName::Ip(_)),
    ];
    for is_kind in kinds {
        for name in names.iter().filter(|name| is_kind(name)).filter_map(GeneralName::as_text) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    all
}
