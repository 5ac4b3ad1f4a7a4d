//! Subject and authority key identifiers.

use super::Extension;
use crate::x509::Malformed;
use crate::x509::oid;
use crate::x509::tlv::{self, Element};
use aws_lc_rs::digest;

/// Reads the value of a subject key identifier extension.
pub fn read_subject(value: &[u8]) -> Result<Vec<u8>, Malformed> {
    Ok(Element::only_tagged(value, tlv::OCTET_STRING, "subject key identifier")?.content.to_vec())
}

/// The key identifier in the value of an authority key identifier extension, if it has one.
pub fn read_authority(value: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut reader = super::value_sequence(value, "authority key identifier")?;
    let identifier = reader.optional(tlv::context(0))?;
    while !reader.is_empty() {
        reader.element()?;
    }
    Ok(identifier.map(|identifier| identifier.content.to_vec()))
}

/// The subject key identifier extension with this identifier.
pub fn subject(identifier: &[u8]) -> Extension {
    Extension::new(oid::SUBJECT_KEY_IDENTIFIER, false, tlv::tlv(tlv::OCTET_STRING, identifier))
}

/// The authority key identifier extension with this identifier.
pub fn authority(identifier: &[u8]) -> Extension {
    Extension::new(oid::AUTHORITY_KEY_IDENTIFIER, false, tlv::sequence(&[tlv::tlv(tlv::context(0), identifier)]))
}

/// The usual identifier of a key: the SHA-1 of its bits (RFC 5280, 4.2.1.2, method 1), as the reference makes it.
pub fn of_key(spki: &[u8]) -> Result<Vec<u8>, Malformed> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key_bits(spki)?);
    Ok(digest.as_ref().to_vec())
}

/// The identifier of RFC 7093, method 1: the first 160 bits of the SHA-256 of the key's bits.
pub fn of_key_sha256(spki: &[u8]) -> Result<Vec<u8>, Malformed> {
    let digest = digest::digest(&digest::SHA256, key_bits(spki)?);
    Ok(digest.as_ref()[..20].to_vec())
}

fn key_bits(spki: &[u8]) -> Result<&[u8], Malformed> {
    const WHAT: &str = "public key";
    let mut reader = Element::only_tagged(spki, tlv::SEQUENCE, WHAT)?.read(WHAT);
    reader.expect(tlv::SEQUENCE)?;
    let bits = reader.expect(tlv::BIT_STRING)?;
    reader.end()?;
    tlv::whole_bytes(bits.content, WHAT)
}
