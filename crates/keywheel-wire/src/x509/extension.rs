//! Certificate extensions: the exact bytes that were found, and typed values that read from and write to them.

pub mod alt_name;
pub mod constraints;
pub mod crl_distribution;
pub mod key_identifier;
pub mod provisioner;
pub mod usage;

use super::Malformed;
use super::oid::Oid;
use super::tlv::{self, Element, Reader};

/// One extension exactly as it was encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    oid: Oid,
    critical: bool,
    value: Vec<u8>,
    tlv: Vec<u8>,
}

impl Extension {
    /// A new extension; `value` is the content of its octet string.
    pub fn new(oid: Oid, critical: bool, value: Vec<u8>) -> Self {
        let mut parts = vec![oid.to_der()];
        if critical {
            parts.push(tlv::tlv(tlv::BOOLEAN, &[0xff]));
        }
        parts.push(tlv::tlv(tlv::OCTET_STRING, &value));
        Self { oid, critical, value, tlv: tlv::sequence(&parts) }
    }

    /// From its whole encoding, which is kept.
    pub fn from_tlv(whole: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Element::only_tagged(whole, tlv::SEQUENCE, "extension")?.read("extension");
        let oid = Oid::from_content(reader.expect(tlv::OID)?.content)?;
        let critical = match reader.optional(tlv::BOOLEAN)? {
            None => false,
            // An explicit FALSE and a TRUE that is not 0xff are seen in the wild.
            Some(Element { content: [value], .. }) => *value != 0,
            Some(_) => return Err(reader.malformed("its critical flag is no boolean")),
        };
        let value = reader.expect(tlv::OCTET_STRING)?.content.to_vec();
        reader.end()?;
        Ok(Self { oid, critical, value, tlv: whole.to_vec() })
    }

    /// Its type.
    pub fn oid(&self) -> &Oid {
        &self.oid
    }

    /// Whether who does not understand it must refuse the certificate.
    pub fn critical(&self) -> bool {
        self.critical
    }

    /// The content of its octet string.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The whole of it as it was encoded.
    pub fn tlv(&self) -> &[u8] {
        &self.tlv
    }
}

/// The extension of this type, if there is one.
pub fn find<'a>(extensions: &'a [Extension], oid: &Oid) -> Option<&'a Extension> {
    extensions.iter().find(|extension| extension.oid == *oid)
}

/// Whether one type is there more than once, which RFC 5280 forbids.
pub fn has_duplicates(extensions: &[Extension]) -> bool {
    extensions.iter().enumerate().any(|(index, one)| find(&extensions[..index], one.oid()).is_some())
}

/// Reads `Extensions`, a SEQUENCE of at least one.
pub(crate) fn read_all(extensions: &Element<'_>, what: &'static str) -> Result<Vec<Extension>, Malformed> {
    let mut reader = extensions.read(what);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() == MAX_EXTENSIONS {
            return Err(reader.malformed("it has too many extensions"));
        }
        found.push(Extension::from_tlv(reader.expect(tlv::SEQUENCE)?.whole)?);
    }
    Ok(found)
}

/// Writes `Extensions` from the exact bytes of each.
pub(crate) fn write_all(extensions: &[Extension]) -> Vec<u8> {
    let parts: Vec<&[u8]> = extensions.iter().map(Extension::tlv).collect();
    tlv::sequence(&parts)
}

/// A reader over the one SEQUENCE that most extension values are.
pub(crate) fn value_sequence<'a>(value: &'a [u8], what: &'static str) -> Result<Reader<'a>, Malformed> {
    Ok(Element::only_tagged(value, tlv::SEQUENCE, what)?.read(what))
}

/// More than anybody needs, and few enough to compare each with each.
const MAX_EXTENSIONS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::oid;
    use proptest::prelude::*;

    #[test]
    fn explicit_false_and_odd_true_are_read_and_kept() {
        let odd = |flag: u8| {
            tlv::sequence(&[
                oid::KEY_USAGE.to_der(),
                tlv::tlv(tlv::BOOLEAN, &[flag]),
                tlv::tlv(tlv::OCTET_STRING, b"x"),
            ])
        };
        for (flag, critical) in [(0, false), (1, true), (0xff, true)] {
            let extension = Extension::from_tlv(&odd(flag)).unwrap();
            assert_eq!(extension.critical(), critical);
            assert_eq!(extension.tlv(), odd(flag));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(critical: bool, value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let extension = Extension::new(oid::KEY_USAGE, critical, value);
            prop_assert_eq!(Extension::from_tlv(extension.tlv()).unwrap(), extension);
        }
    }
}
