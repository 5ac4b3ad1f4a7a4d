//! The short text: what a person wants to know first.

use super::field::{Key, visible};
use crate::x509::certificate::Certificate;
use crate::x509::extension::alt_name::GeneralName;
use crate::x509::name::Name;
use crate::x509::request::Request;

/// A certificate in a few lines.
pub fn certificate(certificate: &Certificate) -> String {
    let role = match (certificate.is_ca(), certificate.is_self_issued()) {
        (true, true) => "Root CA",
        (true, false) => "Intermediate CA",
        (false, _) => "TLS",
    };
    let serial = certificate.serial().to_string();
    let serial = match (serial.get(..4), serial.len().checked_sub(4).and_then(|from| serial.get(from..))) {
        (Some(start), Some(end)) if serial.len() > 9 => format!("{start}...{end}"),
        _ => serial,
    };
    let version = certificate.parts().version();
    let mut text = format!("X.509v{version} {role} Certificate ({}) [Serial: {serial}]\n", key(certificate.spki()));
    let names = certificate.subject_alt_names().unwrap_or_default();
    text.push_str(&subject(certificate.subject(), &names));
    text.push_str(&format!("  Issuer:      {}\n", visible(&shown(certificate.issuer()))));
    if let Ok(Some(provisioner)) = certificate.provisioner() {
        text.push_str(&format!("  Provisioner: {}", visible(&provisioner.name)));
        if !provisioner.credential_id.is_empty() {
            text.push_str(&format!(" [ID: {}]", abbreviated(&visible(&provisioner.credential_id))));
        }
        text.push('\n');
    }
    text.push_str(&format!("  Valid from:  {}\n", certificate.not_before()));
    text.push_str(&format!("          to:  {}\n", certificate.not_after()));
    text
}

/// A certificate signing request in a few lines.
pub fn request(request: &Request) -> String {
    let names = request.subject_alt_names().unwrap_or_default();
    format!("X.509v3 Certificate Signing Request ({})\n{}", key(request.spki()), subject(request.subject(), &names))
}

fn key(spki: &[u8]) -> String {
    match Key::read(spki) {
        Key::Ec { curve, .. } => format!("ECDSA {curve}"),
        Key::Ed25519 { .. } => "Ed25519 256".to_owned(),
        Key::Rsa { bits, .. } => format!("RSA {bits}"),
        Key::Other { algorithm } => algorithm,
    }
}

/// The common name, then every alternative name that is another.
fn subject(subject: &Name, names: &[GeneralName]) -> String {
    let mut all: Vec<String> = Vec::new();
    if !subject.is_empty() {
        all.push(shown(subject));
    }
    let kinds: [fn(&GeneralName) -> bool; 4] = [
        |name| matches!(name, GeneralName::Dns(_)),
        |name| matches!(name, GeneralName::Ip(_)),
        |name| matches!(name, GeneralName::Email(_)),
        |name| matches!(name, GeneralName::Uri(_)),
    ];
    for is_kind in kinds {
        for name in names.iter().filter(|name| is_kind(name)).filter_map(GeneralName::as_text) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    let mut text = String::new();
    for (index, name) in all.iter().enumerate() {
        let label = if index == 0 { "Subject:" } else { "" };
        text.push_str(&format!("  {label:<12} {}\n", visible(name)));
    }
    text
}

fn shown(name: &Name) -> String {
    name.common_name().filter(|common_name| !common_name.is_empty()).unwrap_or_else(|| name.to_string())
}

/// A key id is long; its ends tell it apart.
fn abbreviated(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    if chars.len() <= 9 {
        return id.to_owned();
    }
    let (start, end) = (&chars[..4], &chars[chars.len() - 4..]);
    format!("{}...{}", start.iter().collect::<String>(), end.iter().collect::<String>())
}
