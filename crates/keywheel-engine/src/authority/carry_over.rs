//! What a new certificate takes over from the one that it follows: everything byte for byte, but what belongs to the key and the issuer.

use std::mem::discriminant;

use keywheel_core::key_strength::PublicKeyFacts;
use keywheel_core::lint;
use keywheel_wire::signer;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::extension::usage::KeyUsage;
use keywheel_wire::x509::extension::{Extension, key_identifier};
use keywheel_wire::x509::facts::public_key_facts;
use keywheel_wire::x509::{Malformed, oid};

/// The extensions of the successor of `old` with the key `spki`, signed by `issuer`.
pub(super) fn extensions(old: &Certificate, issuer: &Certificate, spki: &[u8]) -> Result<Vec<Extension>, Malformed> {
    let subject = key_identifier::subject(&key_identifier::of_key(spki)?);
    let authority = authority_key_identifier(issuer)?;
    let mut extensions = Vec::with_capacity(old.extensions().len() + 2);
    if old.extension(&oid::SUBJECT_KEY_IDENTIFIER).is_none() {
        extensions.push(subject.clone());
    }
    if old.extension(&oid::AUTHORITY_KEY_IDENTIFIER).is_none() {
        extensions.push(authority.clone());
    }
    for extension in old.extensions() {
        let found = extension.oid();
        extensions.push(if *found == oid::SUBJECT_KEY_IDENTIFIER {
            subject.clone()
        } else if *found == oid::AUTHORITY_KEY_IDENTIFIER {
            authority.clone()
        } else if *found == oid::KEY_USAGE && signer::public_key_kind(old.spki()) != signer::public_key_kind(spki) {
            key_usage(extension, &public_key_facts(old.spki())?, &public_key_facts(spki)?)?
        } else {
            extension.clone()
        });
    }
    Ok(extensions)
}

/// The identifier of the issuer's key: the one that it states, since that is what a verifier compares.
pub(crate) fn authority_key_identifier(issuer: &Certificate) -> Result<Extension, Malformed> {
    let identifier = match issuer.parts().subject_key_id()? {
        Some(identifier) => identifier,
        None => key_identifier::of_key(issuer.spki())?,
    };
    Ok(key_identifier::authority(&identifier))
}

/// The usages that fit the new key. The reference keeps an RSA key's usages for an elliptic curve key and the other way round.
fn key_usage(extension: &Extension, old: &PublicKeyFacts, new: &PublicKeyFacts) -> Result<Extension, Malformed> {
    if discriminant(old) == discriminant(new) {
        return Ok(extension.clone());
    }
    let had = KeyUsage::read(extension.value())?;
    let mut usage = KeyUsage::from_bits(lint::KeyUsage(had.bits()).for_key(new).0);
    if usage.is_empty() {
        usage = KeyUsage::DIGITAL_SIGNATURE;
    }
    Ok(if usage == had { extension.clone() } else { usage.extension() })
}
