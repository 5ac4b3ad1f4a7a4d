//! Private keys into DER: canonical SEC1 and PKCS#8, and what encrypts them.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use der::Encode;
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

use super::{Encryption, PrivateKeyError};

/// Iterations of PBKDF2-HMAC-SHA256 for new files, as OWASP advises.
const ITERATIONS: u32 = 600_000;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const NULL: &[u8] = &[0x05, 0x00];

/// PBES2, PBKDF2, HMAC-SHA256 and AES-256-CBC, as the contents of their OIDs.
const OID_PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const OID_PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const OID_HMAC_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const OID_AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";

/// One DER element around parts that are concatenated. Its buffer is allocated once, so that no copy of a key stays behind.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Zeroizing::new(Vec::with_capacity(length + 6));
    der.push(tag);
    let octets = length.to_be_bytes();
    let significant = &octets[octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1)..];
    if length >= 0x80 {
        // `significant` has at most eight octets.
        der.push(0x80 | significant.len() as u8);
    }
    der.extend_from_slice(significant);
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

/// A PKCS#8 PrivateKeyInfo, version 1. `algorithm` is the DER of the AlgorithmIdentifier.
pub(super) fn pkcs8(algorithm: &[u8], private_key: &[u8]) -> Zeroizing<Vec<u8>> {
    element(SEQUENCE, &[&element(INTEGER, &[&[0]]), algorithm, &element(OCTET_STRING, &[private_key])])
}

/// A SubjectPublicKeyInfo.
pub(crate) fn spki(algorithm: &[u8], bits: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[algorithm, &element(BIT_STRING, &[&[0], bits])]).to_vec()
}

/// An AlgorithmIdentifier; `parameters` is DER, empty for none.
pub(crate) fn algorithm(oid: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&element(OID, &[oid.as_bytes()]), parameters]).to_vec()
}

/// The AlgorithmIdentifier of RSA keys.
pub(crate) fn rsa_algorithm() -> Vec<u8> {
    algorithm(crate::signer::OID_RSA, NULL)
}

/// The DER of an OID.
pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(OID, &[oid.as_bytes()]).to_vec()
}

/// A SEC1 ECPrivateKey. Inside PKCS#8 the curve is left out, as openssl and Go do.
pub(super) fn sec1(scalar: &[u8], curve: Option<ObjectIdentifier>, point: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let curve = curve.map(|curve| element(0xa0, &[&oid(curve)])).unwrap_or_default();
    let point = point.map(|point| element(0xa1, &[&element(BIT_STRING, &[&[0], point])])).unwrap_or_default();
    element(SEQUENCE, &[&element(INTEGER, &[&[1]]), &element(OCTET_STRING, &[scalar]), &curve, &point])
}

/// An EncryptedPrivateKeyInfo around a PKCS#8 key.
pub(super) fn encrypted_pkcs8(
    pkcs8: &[u8],
    encryption: &Encryption<'_>,
) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let (scheme, encrypted) = pbes2(pkcs8, encryption, ITERATIONS)?;
    Ok(element(SEQUENCE, &[&scheme, &element(OCTET_STRING, &[&encrypted])]))
}

/// The AlgorithmIdentifier of PBES2 with AES-256-CBC and so many iterations, and what it makes of the plain bytes.
pub(crate) fn pbes2(
    plain: &[u8],
    encryption: &Encryption<'_>,
    iterations: u32,
) -> Result<(Vec<u8>, Vec<u8>), PrivateKeyError> {
    let Some(rounds) = std::num::NonZeroU32::new(iterations) else { return Err(PrivateKeyError::Encrypt) };
    let mut key = Zeroizing::new([0_u8; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &encryption.salt, encryption.password, key.as_mut_slice());
    let padding = 16 - plain.len() % 16;
    let mut data = Zeroizing::new(Vec::with_capacity(plain.len() + padding));
    data.extend_from_slice(plain);
    data.resize(plain.len() + padding, padding as u8);
    UnboundCipherKey::new(&AES_256, key.as_slice())
        .and_then(EncryptingKey::cbc)
        .and_then(|key| key.less_safe_encrypt(&mut data, EncryptionContext::Iv128(FixedLength::from(encryption.iv))))
        .map_err(|_| PrivateKeyError::Encrypt)?;

    let iterations = iterations.to_der().map_err(|_| PrivateKeyError::Encrypt)?;
    let prf = element(SEQUENCE, &[&element(OID, &[OID_HMAC_SHA256]), NULL]);
    let kdf_parameters = element(SEQUENCE, &[&element(OCTET_STRING, &[&encryption.salt]), &iterations, &prf]);
    let kdf = element(SEQUENCE, &[&element(OID, &[OID_PBKDF2]), &kdf_parameters]);
    let cipher = element(SEQUENCE, &[&element(OID, &[OID_AES_256_CBC]), &element(OCTET_STRING, &[&encryption.iv])]);
    let scheme = element(SEQUENCE, &[&element(OID, &[OID_PBES2]), &element(SEQUENCE, &[&kdf, &cipher])]);
    // What is encrypted is no secret any more.
    Ok((scheme.to_vec(), std::mem::take(&mut *data)))
}
