//! Subject alternative names.

use super::Extension;
use crate::x509::Malformed;
use crate::x509::oid::{self, Oid};
use crate::x509::tlv::{self, Element};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One alternative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GeneralName {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
    /// A distinguished name, its whole encoding.
    Directory(Vec<u8>),
    /// A registered identifier.
    RegisteredId(Oid),
    /// A name of a type of its own.
    Other {
        /// The type.
        oid: Oid,
        /// The value's whole encoding.
        value: Vec<u8>,
    },
    /// Any other kind, the whole element.
    Raw(Vec<u8>),
}

impl GeneralName {
    /// The kind of name that a text is, judged as the reference does: IP address, then URI, then e-mail address, else DNS name.
    pub fn from_text(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            Self::Ip(ip)
        } else if has_scheme(text) {
            Self::Uri(text.to_owned())
        } else if text.contains('@') {
            Self::Email(text.to_owned())
        } else {
            Self::Dns(text.to_owned())
        }
    }

    /// The name as text, for the kinds that are text; else `None`.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) => Some(text.clone()),
            Self::Ip(ip) => Some(ip.to_string()),
            Self::Directory(_) | Self::RegisteredId(_) | Self::Other { .. } | Self::Raw(_) => None,
        }
    }

    /// Its encoding; fails on text that cannot be one, such as a DNS name with non-ASCII letters.
    pub fn to_der(&self) -> Result<Vec<u8>, Malformed> {
        Ok(match self {
            Self::Email(text) => tlv::tlv(tlv::context(1), ascii(text)?),
            Self::Dns(text) => tlv::tlv(tlv::context(2), ascii(text)?),
            Self::Uri(text) => tlv::tlv(tlv::context(6), ascii(text)?),
            Self::Ip(IpAddr::V4(ip)) => tlv::tlv(tlv::context(7), &ip.octets()),
            Self::Ip(IpAddr::V6(ip)) => tlv::tlv(tlv::context(7), &ip.octets()),
            Self::Directory(name) => tlv::tlv(tlv::context_constructed(4), name),
            Self::RegisteredId(oid) => tlv::tlv(tlv::context(8), oid.content()),
            Self::Other { oid, value } => tlv::constructed(
                tlv::context_constructed(0),
                &[oid.to_der(), tlv::tlv(tlv::context_constructed(0), value)],
            ),
            Self::Raw(whole) => whole.clone(),
        })
    }

    pub(crate) fn read(element: &Element<'_>) -> Result<Self, Malformed> {
        const TAG_OTHER: u8 = tlv::context_constructed(0);
        const TAG_EMAIL: u8 = tlv::context(1);
        const TAG_DNS: u8 = tlv::context(2);
        const TAG_DIRECTORY: u8 = tlv::context_constructed(4);
        const TAG_URI: u8 = tlv::context(6);
        const TAG_IP: u8 = tlv::context(7);
        const TAG_REGISTERED: u8 = tlv::context(8);
        Ok(match element.tag {
            TAG_EMAIL => Self::Email(ia5(element.content)?),
            TAG_DNS => Self::Dns(ia5(element.content)?),
            TAG_URI => Self::Uri(ia5(element.content)?),
            TAG_IP => Self::Ip(ip(element.content)?),
            TAG_DIRECTORY => Self::Directory(element.content.to_vec()),
            TAG_REGISTERED => Self::RegisteredId(Oid::from_content(element.content)?),
            TAG_OTHER => {
                let mut reader = element.read(WHAT);
                let oid = Oid::from_content(reader.expect(tlv::OID)?.content)?;
                let value = reader.expect(tlv::context_constructed(0))?.content.to_vec();
                reader.end()?;
                Self::Other { oid, value }
            }
            _ => Self::Raw(element.whole.to_vec()),
        })
    }
}

/// Reads the value of a subject alternative name extension.
pub fn read(value: &[u8]) -> Result<Vec<GeneralName>, Malformed> {
    let mut reader = super::value_sequence(value, WHAT)?;
    let mut names = Vec::new();
    while !reader.is_empty() {
        if names.len() == MAX_NAMES {
            return Err(reader.malformed("there are too many names"));
        }
        names.push(GeneralName::read(&reader.element()?)?);
    }
    Ok(names)
}

/// The subject alternative name extension with these names; critical must be true where the subject is empty.
pub fn extension(names: &[GeneralName], critical: bool) -> Result<Extension, Malformed> {
    let names: Vec<Vec<u8>> = names.iter().map(GeneralName::to_der).collect::<Result<_, _>>()?;
    Ok(Extension::new(oid::SUBJECT_ALT_NAME, critical, tlv::sequence(&names)))
}

const WHAT: &str = "subject alternative name";

/// A certificate with more names serves nobody and costs everybody.
const MAX_NAMES: usize = 1000;

fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
}

fn ascii(text: &str) -> Result<&[u8], Malformed> {
    if text.is_ascii() && !text.is_empty() {
        Ok(text.as_bytes())
    } else {
        Err(Malformed::new(WHAT, "a name is empty or has letters outside ASCII"))
    }
}

fn ia5(bytes: &[u8]) -> Result<String, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(Malformed::new(WHAT, "a name has letters outside ASCII")),
    }
}

fn ip(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        Ok(IpAddr::V4(Ipv4Addr::from(four)))
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::V6(Ipv6Addr::from(sixteen)))
    } else {
        Err(Malformed::new(WHAT, "an IP address has neither 4 nor 16 octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_sorted_into_kinds() {
        for (text, name) in [
            ("svc.internal", GeneralName::Dns("svc.internal".into())),
            ("127.0.0.1", GeneralName::Ip("127.0.0.1".parse().unwrap())),
            ("::1", GeneralName::Ip("::1".parse().unwrap())),
            ("[::1]", GeneralName::Ip("::1".parse().unwrap())),
            ("a@b.c", GeneralName::Email("a@b.c".into())),
            ("spiffe://td/x", GeneralName::Uri("spiffe://td/x".into())),
            ("urn:uuid:1", GeneralName::Uri("urn:uuid:1".into())),
            ("localhost", GeneralName::Dns("localhost".into())),
            ("mailto:a@b", GeneralName::Uri("mailto:a@b".into())),
            ("*.a.b", GeneralName::Dns("*.a.b".into())),
        ] {
            assert_eq!(GeneralName::from_text(text), name, "{text}");
        }
    }

    #[test]
    fn every_kind_survives_writing_and_reading() {
        let names = vec![
            GeneralName::Dns("a.b".into()),
            GeneralName::Ip("1.2.3.4".parse().unwrap()),
            GeneralName::Ip("fe80::1".parse().unwrap()),
            GeneralName::Email("a@b".into()),
            GeneralName::Uri("https://x".into()),
            GeneralName::Directory(vec![0x30, 0]),
            GeneralName::RegisteredId(oid::P256),
            GeneralName::Other { oid: oid::USER_ID, value: vec![0x0c, 1, b'u'] },
            GeneralName::Raw(vec![0xa3, 0]),
        ];
        let extension = extension(&names, true).unwrap();
        assert_eq!(read(extension.value()).unwrap(), names);
    }

    #[test]
    fn names_that_ascii_cannot_hold_are_refused() {
        assert!(extension(&[GeneralName::Dns("bücher.de".into())], false).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
            let _ = read(&tlv::sequence(&[bytes]));
        }
    }
}
