//! The parts of a certificate that text and JSON show alike.

use std::net::IpAddr;

use crate::private_key::KeyKind;
use crate::signer::{self, SignatureScheme};
use crate::x509::Malformed;
use crate::x509::extension::alt_name::GeneralName;
use crate::x509::name::{self, Attribute, Name};
use crate::x509::oid::Oid;
use crate::x509::tlv::{self, Element};

/// A text with everything escaped that a terminal might obey, or that would make one line look like two.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let is_direction = matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || is_direction {
            out.extend(char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}

/// A distinguished name in the order of its encoding, `separator` between its relative names.
pub(super) fn distinguished_name(name: &Name, separator: &str) -> String {
    let mut out = String::new();
    let mut last: Option<usize> = None;
    for attribute in name.attributes() {
        match last {
            None => {}
            Some(set) if set == attribute.set => out.push('+'),
            Some(_) => out.push_str(separator),
        }
        last = Some(attribute.set);
        out.push_str(&label(&attribute));
        out.push('=');
        for char in visible(&attribute.value).chars() {
            if attribute.is_text && matches!(char, ',' | '+' | '=') {
                out.push('\\');
            }
            out.push(char);
        }
    }
    out
}

fn label(attribute: &Attribute) -> String {
    name::short_name(&attribute.oid).map_or_else(|| attribute.oid.to_string(), str::to_owned)
}

/// An AlgorithmIdentifier's usual name, or its numbers, and its numbers.
pub(super) fn algorithm(der: &[u8]) -> (String, String) {
    let oid = algorithm_oid(der).map_or_else(|| "unknown".to_owned(), |oid| oid.to_string());
    let name = SignatureScheme::from_algorithm_identifier(der).map(|scheme| scheme.name().to_owned());
    (name.unwrap_or_else(|| oid.clone()), oid)
}

fn algorithm_oid(der: &[u8]) -> Option<Oid> {
    let mut reader = Element::only_tagged(der, tlv::SEQUENCE, "algorithm").ok()?.read("algorithm");
    Oid::from_content(reader.expect(tlv::OID).ok()?.content).ok()
}

/// A public key taken apart as far as it is shown.
pub(super) enum Key<'a> {
    /// An elliptic curve point.
    Ec { curve: &'static str, bits: u32, point: &'a [u8], x: &'a [u8], y: &'a [u8] },
    /// An Ed25519 key.
    Ed25519 { octets: &'a [u8] },
    /// RSA numbers.
    Rsa { bits: u32, modulus: Vec<u8>, exponent: Vec<u8> },
    /// Any other: the numbers of its algorithm.
    Other { algorithm: String },
}

impl<'a> Key<'a> {
    pub(super) fn read(spki: &'a [u8]) -> Self {
        Self::known(spki).unwrap_or_else(|| {
            let algorithm = (|| {
                let mut reader = Element::only_tagged(spki, tlv::SEQUENCE, "key").ok()?.read("key");
                algorithm_oid(reader.expect(tlv::SEQUENCE).ok()?.whole)
            })();
            Self::Other { algorithm: algorithm.map_or_else(|| "unknown".to_owned(), |oid| oid.to_string()) }
        })
    }

    fn known(spki: &'a [u8]) -> Option<Self> {
        let (kind, octets) = signer::public_key_bits(spki)?;
        let (curve, bits) = match kind {
            KeyKind::EcP256 => ("P-256", 256),
            KeyKind::EcP384 => ("P-384", 384),
            KeyKind::EcP521 => ("P-521", 521),
            KeyKind::Ed25519 => return Some(Self::Ed25519 { octets }),
            KeyKind::Rsa(bits) => {
                let key = pkcs1::RsaPublicKeyRef::try_from(octets).ok()?;
                let (modulus, exponent) = (key.modulus.as_bytes().to_vec(), key.public_exponent.as_bytes().to_vec());
                return Some(Self::Rsa { bits, modulus, exponent });
            }
        };
        let coordinates = octets.strip_prefix(&[4])?;
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let (x, y) = (significant(x), significant(y));
        Some(Self::Ec { curve, bits, point: octets, x, y })
    }

    /// The name of the algorithm.
    pub(super) fn algorithm(&self) -> &str {
        match self {
            Self::Ec { .. } => "ECDSA",
            Self::Ed25519 { .. } => "Ed25519",
            Self::Rsa { .. } => "RSA",
            Self::Other { algorithm } => algorithm,
        }
    }
}

/// A number without its leading zeros, as the reference shows coordinates.
fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|octet| **octet == 0).count()..]
}

/// An IP network: `10.0.0.0/8`, with its mask spelt out where that is no prefix.
pub(super) fn network(address: IpAddr, mask: IpAddr) -> String {
    match prefix_length(mask) {
        Some(length) => format!("{address}/{length}"),
        None => format!("{address}/{mask}"),
    }
}

/// The last address of a network.
pub(super) fn last_address(address: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::V4((address.to_bits() | !mask.to_bits()).into()),
        (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::V6((address.to_bits() | !mask.to_bits()).into()),
        _ => address,
    }
}

fn prefix_length(mask: IpAddr) -> Option<u32> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    (ones == all).then_some(ones)
}

/// The value of a small RSA exponent; larger ones are not worth a number.
pub(super) fn exponent(octets: &[u8]) -> Option<u64> {
    (octets.len() <= 8).then(|| octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

/// The name of a provisioner's type, by its number in the extension.
pub(super) fn provisioner_type(number: u64) -> String {
    const NAMES: [&str; 11] =
        ["JWK", "OIDC", "GCP", "AWS", "Azure", "ACME", "X5C", "K8sSA", "SSHPOP", "SCEP", "Nebula"];
    usize::try_from(number)
        .ok()
        .and_then(|number| NAMES.get(number.checked_sub(1)?))
        .map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// Where an issuer serves more: the numbers of the method, and the place.
pub(super) fn authority_information(value: &[u8]) -> Result<Vec<(String, GeneralName)>, Malformed> {
    const WHAT: &str = "authority information access";
    let mut list = Element::only_tagged(value, tlv::SEQUENCE, WHAT)?.read(WHAT);
    let mut found = Vec::new();
    while !list.is_empty() {
        let mut description = list.expect(tlv::SEQUENCE)?.read(WHAT);
        let method = Oid::from_content(description.expect(tlv::OID)?.content)?;
        found.push((method.to_string(), GeneralName::read(&description.element()?)?));
    }
    Ok(found)
}

/// The identifiers of certificate policies.
pub(super) fn policies(value: &[u8]) -> Result<Vec<String>, Malformed> {
    const WHAT: &str = "certificate policies";
    let mut list = Element::only_tagged(value, tlv::SEQUENCE, WHAT)?.read(WHAT);
    let mut found = Vec::new();
    while !list.is_empty() {
        let mut policy = list.expect(tlv::SEQUENCE)?.read(WHAT);
        found.push(Oid::from_content(policy.expect(tlv::OID)?.content)?.to_string());
    }
    Ok(found)
}

/// OCSP, as a method of [`authority_information`].
pub(super) const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// CA issuers, as a method of [`authority_information`].
pub(super) const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
