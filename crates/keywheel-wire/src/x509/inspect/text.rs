//! The long text, in the layout that `openssl x509 -text` made usual.

use jiff::Timestamp;
use keywheel_core::fingerprint::hex;

use super::field::{self, Key, distinguished_name, visible};
use crate::x509::Malformed;
use crate::x509::certificate::Certificate;
use crate::x509::extension::alt_name::{self, GeneralName};
use crate::x509::extension::constraints::{BasicConstraints, NameConstraints, Subtrees};
use crate::x509::extension::provisioner::ProvisionerExtension;
use crate::x509::extension::usage::{self, KeyUsage};
use crate::x509::extension::{Extension, crl_distribution, key_identifier};
use crate::x509::name::Name;
use crate::x509::oid::{self, Oid};
use crate::x509::request::Request;

/// A certificate as text.
pub fn certificate(certificate: &Certificate) -> String {
    let mut page = Page::default();
    let (algorithm, _) = field::algorithm(certificate.algorithm());
    let version = certificate.parts().version();
    page.line(0, "Certificate:");
    page.line(4, "Data:");
    page.line(8, &format!("Version: {version} (0x{:x})", version.saturating_sub(1)));
    let serial = certificate.serial();
    page.line(8, &format!("Serial Number: {serial} (0x{})", hex(serial.as_bytes())));
    page.line(8, &format!("Signature Algorithm: {algorithm}"));
    page.line(8, &format!("Issuer: {}", distinguished_name(certificate.issuer(), ",")));
    page.line(8, "Validity");
    page.line(12, &format!("Not Before: {}", time(certificate.not_before())));
    page.line(12, &format!("Not After : {}", time(certificate.not_after())));
    page.line(8, &format!("Subject: {}", distinguished_name(certificate.subject(), ",")));
    page.key(certificate.spki());
    if !certificate.extensions().is_empty() {
        page.line(8, "X509v3 extensions:");
    }
    for extension in certificate.extensions() {
        page.extension(extension);
    }
    page.signature(&algorithm, certificate.signature());
    page.text
}

/// A certificate signing request as text.
pub fn request(request: &Request) -> String {
    let mut page = Page::default();
    let (algorithm, _) = field::algorithm(request.algorithm());
    page.line(0, "Certificate Request:");
    page.line(4, "Data:");
    page.line(8, "Version: 0 (0x0)");
    page.line(8, &format!("Subject: {}", distinguished_name(request.subject(), ",")));
    page.key(request.spki());
    if !request.extensions().is_empty() {
        page.line(8, "Requested Extensions:");
    }
    for extension in request.extensions() {
        page.extension(extension);
    }
    page.signature(&algorithm, request.signature());
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Octets in hexadecimal with colons, so many to a line.
    fn octets(&mut self, indent: usize, octets: &[u8], width: usize) {
        let lines = octets.len().div_ceil(width);
        for (index, chunk) in octets.chunks(width).enumerate() {
            let pairs: Vec<String> = chunk.iter().map(|octet| format!("{octet:02x}")).collect();
            let end = if index + 1 < lines { ":" } else { "" };
            self.line(indent, &format!("{}{end}", pairs.join(":")));
        }
    }

    fn key(&mut self, spki: &[u8]) {
        let key = Key::read(spki);
        self.line(8, "Subject Public Key Info:");
        self.line(12, &format!("Public Key Algorithm: {}", key.algorithm()));
        match &key {
            Key::Ec { curve, bits, x, y, .. } => {
                self.line(16, &format!("Public-Key: ({bits} bit)"));
                self.line(16, "X:");
                self.octets(20, x, 15);
                self.line(16, "Y:");
                self.octets(20, y, 15);
                self.line(16, &format!("Curve: {curve}"));
            }
            Key::Ed25519 { octets } => {
                self.line(16, "Public-Key: (256 bit)");
                self.octets(20, octets, 15);
            }
            Key::Rsa { bits, modulus, exponent } => {
                self.line(16, &format!("Public-Key: ({bits} bit)"));
                self.line(16, "Modulus:");
                self.octets(20, modulus, 15);
                match field::exponent(exponent) {
                    Some(number) => self.line(16, &format!("Exponent: {number} (0x{number:x})")),
                    None => self.line(16, &format!("Exponent: 0x{}", hex(exponent))),
                }
            }
            Key::Other { .. } => self.octets(16, spki, 15),
        }
    }

    fn signature(&mut self, algorithm: &str, signature: &[u8]) {
        self.line(4, &format!("Signature Algorithm: {algorithm}"));
        self.octets(9, signature, 18);
    }

    fn extension(&mut self, extension: &Extension) {
        let lines = match lines(extension) {
            Ok(lines) => lines,
            Err(malformed) => {
                let mut lines = vec![format!("({malformed})")];
                lines.extend(dump(extension.value()));
                lines
            }
        };
        let critical = if extension.critical() { " critical" } else { "" };
        self.line(12, &format!("{}:{critical}", title(extension.oid())));
        for line in lines {
            self.line(16, &line);
        }
    }
}

fn title(oid: &Oid) -> String {
    const TITLES: [(Oid, &str); 11] = [
        (oid::SUBJECT_KEY_IDENTIFIER, "X509v3 Subject Key Identifier"),
        (oid::AUTHORITY_KEY_IDENTIFIER, "X509v3 Authority Key Identifier"),
        (oid::KEY_USAGE, "X509v3 Key Usage"),
        (oid::EXTENDED_KEY_USAGE, "X509v3 Extended Key Usage"),
        (oid::BASIC_CONSTRAINTS, "X509v3 Basic Constraints"),
        (oid::SUBJECT_ALT_NAME, "X509v3 Subject Alternative Name"),
        (oid::NAME_CONSTRAINTS, "X509v3 Name Constraints"),
        (oid::CRL_DISTRIBUTION_POINTS, "X509v3 CRL Distribution Points"),
        (oid::CERTIFICATE_POLICIES, "X509v3 Certificate Policies"),
        (oid::AUTHORITY_INFORMATION_ACCESS, "Authority Information Access"),
        (oid::PROVISIONER, "X509v3 Step Provisioner"),
    ];
    TITLES.iter().find(|(known, _)| known == oid).map_or_else(|| oid.to_string(), |(_, title)| (*title).to_owned())
}

fn lines(extension: &Extension) -> Result<Vec<String>, Malformed> {
    let value = extension.value();
    let oid = extension.oid();
    Ok(if *oid == oid::SUBJECT_KEY_IDENTIFIER {
        vec![colons(&key_identifier::read_subject(value)?)]
    } else if *oid == oid::AUTHORITY_KEY_IDENTIFIER {
        key_identifier::read_authority(value)?.map(|identifier| colons(&identifier)).into_iter().collect()
    } else if *oid == oid::KEY_USAGE {
        vec![key_usage(KeyUsage::read(value)?)]
    } else if *oid == oid::EXTENDED_KEY_USAGE {
        let usages: Vec<String> = usage::read_extended(value)?.iter().map(extended_key_usage).collect();
        vec![usages.join(", ")]
    } else if *oid == oid::BASIC_CONSTRAINTS {
        vec![basic_constraints(&BasicConstraints::read(value)?)]
    } else if *oid == oid::SUBJECT_ALT_NAME {
        alternative_names(&alt_name::read(value)?)
    } else if *oid == oid::NAME_CONSTRAINTS {
        let constraints = NameConstraints::read(value)?;
        let mut lines = subtrees("Permitted:", &constraints.permitted);
        lines.extend(subtrees("Excluded:", &constraints.excluded));
        lines
    } else if *oid == oid::CRL_DISTRIBUTION_POINTS {
        let uris = crl_distribution::read(value)?;
        uris.iter().flat_map(|uri| ["Full Name:".to_owned(), format!("  URI:{}", visible(uri))]).collect()
    } else if *oid == oid::CERTIFICATE_POLICIES {
        field::policies(value)?.iter().map(|policy| format!("Policy: {policy}")).collect()
    } else if *oid == oid::AUTHORITY_INFORMATION_ACCESS {
        field::authority_information(value)?
            .iter()
            .map(|(method, place)| {
                let method = match method.as_str() {
                    field::OCSP => "OCSP",
                    field::CA_ISSUERS => "CA Issuers",
                    other => other,
                };
                format!("{method} - {}", general_name(place))
            })
            .collect()
    } else if *oid == oid::PROVISIONER {
        provisioner(&ProvisionerExtension::read(value)?)
    } else {
        dump(value)
    })
}

fn key_usage(usage: KeyUsage) -> String {
    const NAMES: [(KeyUsage, &str); 9] = [
        (KeyUsage::DIGITAL_SIGNATURE, "Digital Signature"),
        (KeyUsage::CONTENT_COMMITMENT, "Content Commitment"),
        (KeyUsage::KEY_ENCIPHERMENT, "Key Encipherment"),
        (KeyUsage::DATA_ENCIPHERMENT, "Data Encipherment"),
        (KeyUsage::KEY_AGREEMENT, "Key Agreement"),
        (KeyUsage::CERT_SIGN, "Certificate Sign"),
        (KeyUsage::CRL_SIGN, "CRL Sign"),
        (KeyUsage::ENCIPHER_ONLY, "Encipher Only"),
        (KeyUsage::DECIPHER_ONLY, "Decipher Only"),
    ];
    let names: Vec<&str> = NAMES.iter().filter(|(one, _)| usage.contains(*one)).map(|(_, name)| *name).collect();
    names.join(", ")
}

fn extended_key_usage(usage: &Oid) -> String {
    const NAMES: [(Oid, &str); 10] = [
        (oid::ANY_EXTENDED_KEY_USAGE, "Any Usage"),
        (oid::SERVER_AUTH, "Server Authentication"),
        (oid::CLIENT_AUTH, "Client Authentication"),
        (oid::CODE_SIGNING, "Code Signing"),
        (oid::EMAIL_PROTECTION, "Email Protection"),
        (oid::IPSEC_END_SYSTEM, "IPSec End System"),
        (oid::IPSEC_TUNNEL, "IPSec Tunnel"),
        (oid::IPSEC_USER, "IPSec User"),
        (oid::TIME_STAMPING, "Time Stamping"),
        (oid::OCSP_SIGNING, "OCSP Signing"),
    ];
    NAMES.iter().find(|(known, _)| known == usage).map_or_else(|| usage.to_string(), |(_, name)| (*name).to_owned())
}

fn basic_constraints(constraints: &BasicConstraints) -> String {
    let ca = if constraints.ca { "CA:TRUE" } else { "CA:FALSE" };
    match constraints.path_len {
        Some(length) => format!("{ca}, pathlen:{length}"),
        None => ca.to_owned(),
    }
}

/// One line for each kind of name.
fn alternative_names(names: &[GeneralName]) -> Vec<String> {
    let kinds: [fn(&GeneralName) -> bool; 5] = [
        |name| matches!(name, GeneralName::Dns(_)),
        |name| matches!(name, GeneralName::Email(_)),
        |name| matches!(name, GeneralName::Ip(_)),
        |name| matches!(name, GeneralName::Uri(_)),
        |name| name.as_text().is_none(),
    ];
    kinds
        .iter()
        .map(|is_kind| names.iter().filter(|name| is_kind(name)).map(general_name).collect::<Vec<_>>().join(", "))
        .filter(|line| !line.is_empty())
        .collect()
}

fn general_name(name: &GeneralName) -> String {
    match name {
        GeneralName::Dns(text) => format!("DNS:{}", visible(text)),
        GeneralName::Email(text) => format!("email:{}", visible(text)),
        GeneralName::Uri(text) => format!("URI:{}", visible(text)),
        GeneralName::Ip(ip) => format!("IP Address:{ip}"),
        GeneralName::Directory(der) => match Name::from_der(der) {
            Ok(name) => format!("DirName:{}", distinguished_name(&name, ",")),
            Err(_) => format!("DirName: 0x{}", hex(der)),
        },
        GeneralName::RegisteredId(oid) => format!("Registered ID:{oid}"),
        GeneralName::Other { oid, value } => format!("OtherName: Type: {oid}, Value: 0x{}", hex(value)),
        GeneralName::Raw(whole) => format!("Other: 0x{}", hex(whole)),
    }
}

fn subtrees(title: &str, subtrees: &Subtrees) -> Vec<String> {
    let Subtrees { dns, ip, email, uri, directory, unknown } = subtrees;
    let mut lines: Vec<String> = dns.iter().map(|text| format!("  DNS: {}", visible(text))).collect();
    lines.extend(ip.iter().map(|(address, mask)| format!("  IP Range: {}", field::network(*address, *mask))));
    lines.extend(email.iter().map(|text| format!("  Email: {}", visible(text))));
    lines.extend(uri.iter().map(|text| format!("  URI: {}", visible(text))));
    lines.extend(directory.iter().map(|der| format!("  {}", general_name(&GeneralName::Directory(der.clone())))));
    lines.extend(unknown.iter().map(|whole| format!("  Other: 0x{}", hex(whole))));
    if !lines.is_empty() {
        lines.insert(0, title.to_owned());
    }
    lines
}

fn provisioner(extension: &ProvisionerExtension) -> Vec<String> {
    let mut lines = vec![
        format!("Type: {}", field::provisioner_type(extension.kind)),
        format!("Name: {}", visible(&extension.name)),
    ];
    if !extension.credential_id.is_empty() {
        lines.push(format!("CredentialID: {}", visible(&extension.credential_id)));
    }
    for pair in extension.key_value_pairs.chunks(2) {
        let value = pair.get(1).map_or("", String::as_str);
        lines.push(format!("{}: {}", visible(&pair[0]), visible(value)));
    }
    lines
}

fn colons(octets: &[u8]) -> String {
    let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    pairs.join(":")
}

/// Octets of an extension that nobody here can read.
fn dump(octets: &[u8]) -> Vec<String> {
    octets
        .chunks(16)
        .map(|chunk| chunk.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
        .collect()
}

fn time(time: Timestamp) -> String {
    time.strftime("%b %-d %H:%M:%S %Y UTC").to_string()
}
