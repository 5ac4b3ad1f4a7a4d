//! The extension that says which provisioner vouched for a certificate (1.3.6.1.4.1.37476.9000.64.1).

use super::Extension;
use crate::x509::Malformed;
use crate::x509::oid;
use crate::x509::tlv;

/// Which provisioner vouched for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionerExtension {
    /// The number of its type: 1 is JWK, 7 is X5C.
    pub kind: u64,
    /// Its name.
    pub name: String,
    /// What was presented to it: of a JWK provisioner the id of its key.
    pub credential_id: String,
    /// Further pairs: key, value, key, value.
    pub key_value_pairs: Vec<String>,
}

impl ProvisionerExtension {
    /// Reads the value of the extension.
    pub fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = super::value_sequence(value, WHAT)?;
        let kind = tlv::small_unsigned(reader.expect(tlv::INTEGER)?.content, WHAT)?;
        let name = text(reader.expect(tlv::OCTET_STRING)?.content)?;
        let credential_id = text(reader.expect(tlv::OCTET_STRING)?.content)?;
        let mut key_value_pairs = Vec::new();
        if let Some(pairs) = reader.optional(tlv::SEQUENCE)? {
            let mut pairs = pairs.read(WHAT);
            while !pairs.is_empty() {
                key_value_pairs.push(text(pairs.element()?.content)?);
            }
        }
        reader.end()?;
        Ok(Self { kind, name, credential_id, key_value_pairs })
    }

    /// The extension, not critical.
    pub fn extension(&self) -> Extension {
        let mut parts = vec![
            tlv::unsigned_integer(&self.kind.to_be_bytes()),
            tlv::tlv(tlv::OCTET_STRING, self.name.as_bytes()),
            tlv::tlv(tlv::OCTET_STRING, self.credential_id.as_bytes()),
        ];
        if !self.key_value_pairs.is_empty() {
            let pairs: Vec<Vec<u8>> = self.key_value_pairs.iter().map(|pair| string(pair)).collect();
            parts.push(tlv::sequence(&pairs));
        }
        Extension::new(oid::PROVISIONER, false, tlv::sequence(&parts))
    }
}

const WHAT: &str = "provisioner extension";

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::new(WHAT, "a text is not UTF-8"))
}

/// Go writes a string as PrintableString where it can, else as UTF8String.
fn string(text: &str) -> Vec<u8> {
    let printable = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let tag = if printable { tlv::PRINTABLE_STRING } else { tlv::UTF8_STRING };
    tlv::tlv(tag, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reference_writes_the_same_bytes() {
        let kid = "0123456789012345678901234567890123456789012";
        let extension = ProvisionerExtension {
            kind: 1,
            name: "admin@lab".into(),
            credential_id: kid.into(),
            key_value_pairs: Vec::new(),
        }
        .extension();
        let mut expected = b"\x30\x3b\x02\x01\x01\x04\x09admin@lab\x04\x2b".to_vec();
        expected.extend_from_slice(kid.as_bytes());
        assert_eq!(extension.value(), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(kind in 0u64..100, name in ".{0,20}", credential_id in ".{0,20}", key_value_pairs in proptest::collection::vec(".{0,9}", 0..4)) {
            let one = ProvisionerExtension { kind, name, credential_id, key_value_pairs };
            prop_assert_eq!(ProvisionerExtension::read(one.extension().value()).unwrap(), one);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = ProvisionerExtension::read(&tlv::sequence(&[bytes]));
        }
    }
}
