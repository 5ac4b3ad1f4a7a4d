//! Basic constraints and name constraints.

use super::Extension;
use crate::x509::Malformed;
use crate::x509::oid;
use crate::x509::tlv::{self, Element, Reader};
use std::net::IpAddr;

/// Whether a certificate may certify others, and how deep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it is a CA.
    pub ca: bool,
    /// How many CAs may follow.
    pub path_len: Option<u32>,
}

impl BasicConstraints {
    /// Reads the value of a basic constraints extension.
    pub fn read(value: &[u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "basic constraints";
        let mut reader = super::value_sequence(value, WHAT)?;
        let ca = match reader.optional(tlv::BOOLEAN)? {
            None => false,
            Some(Element { content: [value], .. }) => *value != 0,
            Some(_) => return Err(reader.malformed("its CA flag is no boolean")),
        };
        let path_len = match reader.optional(tlv::INTEGER)? {
            None => None,
            Some(element) => Some(
                u32::try_from(tlv::small_unsigned(element.content, WHAT)?)
                    .map_err(|_| reader.malformed("its path length is out of range"))?,
            ),
        };
        reader.end()?;
        Ok(Self { ca, path_len })
    }

    /// The extension, critical as RFC 5280 wants it of CAs.
    pub fn extension(&self) -> Extension {
        let mut parts = Vec::new();
        if self.ca {
            parts.push(tlv::tlv(tlv::BOOLEAN, &[0xff]));
        }
        if let Some(path_len) = self.path_len {
            parts.push(tlv::unsigned_integer(&path_len.to_be_bytes()));
        }
        Extension::new(oid::BASIC_CONSTRAINTS, true, tlv::sequence(&parts))
    }
}

/// Which names a CA may certify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Names must be in one of these, where one of their kind is here.
    pub permitted: Subtrees,
    /// Names must be in none of these.
    pub excluded: Subtrees,
}

/// Sets of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtrees {
    /// DNS domains.
    pub dns: Vec<String>,
    /// IP networks: address and mask of the same length.
    pub ip: Vec<(IpAddr, IpAddr)>,
    /// E-mail addresses or their domains.
    pub email: Vec<String>,
    /// Domains of URIs.
    pub uri: Vec<String>,
    /// Distinguished names, their encodings.
    pub directory: Vec<Vec<u8>>,
    /// Kinds that are not read: who meets one in `permitted` must not believe that there is no constraint.
    pub unknown: Vec<Vec<u8>>,
}

impl Subtrees {
    /// Whether nothing is in here.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl NameConstraints {
    /// Reads the value of a name constraints extension.
    pub fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = super::value_sequence(value, WHAT)?;
        let mut subtrees = |number| match reader.optional(tlv::context_constructed(number))? {
            Some(element) => read_subtrees(element.read(WHAT)),
            None => Ok(Subtrees::default()),
        };
        let permitted = subtrees(0)?;
        let excluded = subtrees(1)?;
        reader.end()?;
        Ok(Self { permitted, excluded })
    }

    /// The extension, critical as RFC 5280 wants it.
    pub fn extension(&self) -> Result<Extension, Malformed> {
        let mut parts = Vec::new();
        for (number, subtrees) in [(0, &self.permitted), (1, &self.excluded)] {
            if !subtrees.is_empty() {
                let list = write_subtrees(subtrees)?;
                parts.push(tlv::constructed(tlv::context_constructed(number), &list));
            }
        }
        Ok(Extension::new(oid::NAME_CONSTRAINTS, true, tlv::sequence(&parts)))
    }
}

const WHAT: &str = "name constraints";
const MAX_SUBTREES: usize = 1000;
const EMAIL: u8 = tlv::context(1);
const DNS: u8 = tlv::context(2);
const DIRECTORY: u8 = tlv::context_constructed(4);
const URI: u8 = tlv::context(6);
const IP: u8 = tlv::context(7);

fn read_subtrees(mut reader: Reader<'_>) -> Result<Subtrees, Malformed> {
    let mut subtrees = Subtrees::default();
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        if count > MAX_SUBTREES {
            return Err(reader.malformed("there are too many names"));
        }
        let mut subtree = reader.expect(tlv::SEQUENCE)?.read(WHAT);
        let base = subtree.element()?;
        // minimum and maximum may only be 0 and absent, which DER does not write.
        subtree.end()?;
        match base.tag {
            DNS => subtrees.dns.push(ia5(&base)?),
            EMAIL => subtrees.email.push(ia5(&base)?),
            URI => subtrees.uri.push(ia5(&base)?),
            DIRECTORY => subtrees.directory.push(base.content.to_vec()),
            IP => subtrees.ip.push(network(base.content)?),
            _ => subtrees.unknown.push(base.whole.to_vec()),
        }
    }
    Ok(subtrees)
}

fn write_subtrees(subtrees: &Subtrees) -> Result<Vec<Vec<u8>>, Malformed> {
    let texts = [(DNS, &subtrees.dns), (EMAIL, &subtrees.email), (URI, &subtrees.uri)];
    let mut bases = Vec::new();
    for (tag, list) in texts {
        for text in list {
            if !text.is_ascii() {
                return Err(Malformed::new(WHAT, "a name has letters outside ASCII"));
            }
            bases.push(tlv::tlv(tag, text.as_bytes()));
        }
    }
    for network in &subtrees.ip {
        let octets = match network {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => [ip.octets(), mask.octets()].concat(),
            (IpAddr::V6(ip), IpAddr::V6(mask)) => [ip.octets(), mask.octets()].concat(),
            _ => return Err(Malformed::new(WHAT, "an address and its mask differ in length")),
        };
        bases.push(tlv::tlv(IP, &octets));
    }
    for name in &subtrees.directory {
        bases.push(tlv::tlv(DIRECTORY, name));
    }
    bases.extend(subtrees.unknown.iter().cloned());
    Ok(bases.iter().map(|base| tlv::sequence(&[base])).collect())
}

fn ia5(element: &Element<'_>) -> Result<String, Malformed> {
    match std::str::from_utf8(element.content) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(Malformed::new(WHAT, "a name has letters outside ASCII")),
    }
}

fn network(bytes: &[u8]) -> Result<(IpAddr, IpAddr), Malformed> {
    let (ip, mask) = bytes.split_at(bytes.len() / 2);
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            return Some(four.into());
        }
        <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
    };
    address(ip).zip(address(mask)).ok_or(Malformed::new(WHAT, "an IP network has neither 8 nor 32 octets"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn basic_constraints_survive_writing_and_reading() {
        for one in [
            BasicConstraints { ca: false, path_len: None },
            BasicConstraints { ca: true, path_len: None },
            BasicConstraints { ca: true, path_len: Some(0) },
            BasicConstraints { ca: true, path_len: Some(300) },
        ] {
            assert_eq!(BasicConstraints::read(one.extension().value()).unwrap(), one);
        }
    }

    #[test]
    fn name_constraints_survive_writing_and_reading() {
        let constraints = NameConstraints {
            permitted: Subtrees {
                dns: vec!["internal".into(), ".lab".into()],
                ip: vec![("10.0.0.0".parse().unwrap(), "255.0.0.0".parse().unwrap())],
                email: vec!["lab".into()],
                ..Subtrees::default()
            },
            excluded: Subtrees {
                uri: vec!["bad.lab".into()],
                ip: vec![("fe80::".parse().unwrap(), "ffc0::".parse().unwrap())],
                directory: vec![vec![0x30, 0]],
                ..Subtrees::default()
            },
        };
        let extension = constraints.extension().unwrap();
        assert_eq!(NameConstraints::read(extension.value()).unwrap(), constraints);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = BasicConstraints::read(&tlv::sequence(&[&bytes]));
            let subtree = tlv::sequence(&[&bytes]);
            let subtrees = tlv::tlv(tlv::context_constructed(0), &subtree);
            let _ = NameConstraints::read(&tlv::sequence(&[subtrees]));
            let _ = NameConstraints::read(&bytes);
        }
    }
}
