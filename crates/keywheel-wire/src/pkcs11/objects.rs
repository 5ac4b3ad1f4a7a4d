//! Public keys and signatures as a token keeps and makes them, to and from the forms of X.509.

use der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};

use crate::jose::bytes;
use crate::private_key::{KeyKind, encode};
use crate::signer::{self, OID_EC_PUBLIC_KEY, OID_ED25519, SignatureScheme};

/// How older tokens name the curve of an Ed25519 key: a PrintableString in place of an OID.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// `CKA_EC_PARAMS` for a new key of this kind; `None` for RSA, which has none.
#[must_use]
pub fn ec_parameters(kind: KeyKind) -> Option<Vec<u8>> {
    match kind {
        KeyKind::Ed25519 => Some(encode::oid(OID_ED25519)),
        kind => signer::curve_of_kind(kind).map(encode::oid),
    }
}

/// The SubjectPublicKeyInfo of a key with these `CKA_EC_PARAMS` and `CKA_EC_POINT`; `None` where they are of a curve that is
/// not supported, or malformed.
///
/// PKCS#11 wants the point in an OCTET STRING; some tokens give it bare.
#[must_use]
pub fn ec_public_key(parameters: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    let curve = ObjectIdentifier::from_der(parameters).ok();
    let wrapped = <&OctetStringRef>::from_der(point).ok().map(OctetStringRef::as_bytes);
    let (algorithm, length) = match curve {
        Some(OID_ED25519) => (encode::algorithm(OID_ED25519, &[]), 32),
        None if parameters == EDWARDS25519 => (encode::algorithm(OID_ED25519, &[]), 32),
        Some(curve) => {
            let width = width(signer::kind_of_curve(curve)?)?;
            (encode::algorithm(OID_EC_PUBLIC_KEY, parameters), 2 * width + 1)
        }
        None => return None,
    };
    let bits = [wrapped, Some(point)].into_iter().flatten().find(|bits| bits.len() == length)?;
    let spki = encode::spki(&algorithm, bits);
    signer::public_key_kind(&spki).map(|_| spki)
}

/// The SubjectPublicKeyInfo of a key with these `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`.
#[must_use]
pub fn rsa_public_key(modulus: &[u8], public_exponent: &[u8]) -> Option<Vec<u8>> {
    let key = pkcs1::RsaPublicKey {
        modulus: UintRef::new(modulus).ok()?,
        public_exponent: UintRef::new(public_exponent).ok()?,
    };
    let spki = encode::spki(&encode::rsa_algorithm(), &key.to_der().ok()?);
    signer::public_key_kind(&spki).map(|_| spki)
}

/// A token's ECDSA signature, `r || s`, as the DER that X.509 and TLS carry.
#[must_use]
pub fn ecdsa_signature(raw: &[u8], kind: KeyKind) -> Option<Vec<u8>> {
    // PKCS#11 wants both halves as long as the order of the curve; some tokens leave out zeros in front of both.
    let width = raw.len() / 2;
    (width > 0 && width <= self::width(kind)?).then(|| bytes::fixed_to_der(raw, width)).flatten()
}

/// What a token must sign with plain PKCS#1 v1.5 padding: the hash with its name before it; `None` for other schemes.
#[must_use]
pub fn digest_info(scheme: SignatureScheme, digest: &[u8]) -> Option<Vec<u8>> {
    let sha2 = match scheme {
        SignatureScheme::RsaPkcs1Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        SignatureScheme::RsaPkcs1Sha384 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
        SignatureScheme::RsaPkcs1Sha512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        _ => return None,
    };
    let digest = OctetStringRef::new(digest).ok()?.to_der().ok()?;
    Some(encode::element(0x30, &[&encode::algorithm(sha2, &[0x05, 0x00]), &digest]).to_vec())
}

/// How many octets a coordinate of a point has.
fn width(kind: KeyKind) -> Option<usize> {
    match kind {
        KeyKind::EcP256 => Some(32),
        KeyKind::EcP384 => Some(48),
        KeyKind::EcP521 => Some(66),
        KeyKind::Ed25519 | KeyKind::Rsa(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signer::{public_key_bits, public_key_kind};

    #[test]
    fn points_are_read_wrapped_and_bare() {
        for (kind, length) in
            [(KeyKind::EcP256, 65), (KeyKind::EcP384, 97), (KeyKind::EcP521, 133), (KeyKind::Ed25519, 32)]
        {
            let parameters = ec_parameters(kind).unwrap();
            let mut point = vec![7; length];
            point[0] = 4;
            let wrapped = OctetStringRef::new(&point).unwrap().to_der().unwrap();
            let spki = ec_public_key(&parameters, &wrapped).unwrap();
            assert_eq!(public_key_bits(&spki), Some((kind, point.as_slice())));
            assert_eq!(ec_public_key(&parameters, &point), Some(spki));
            assert_eq!(ec_public_key(&parameters, &point[1..]), None, "{kind}: too short");
        }
        let spki = ec_public_key(EDWARDS25519, &[9; 32]).unwrap();
        assert_eq!(public_key_kind(&spki), Some(KeyKind::Ed25519));
    }

    #[test]
    fn curves_that_are_not_supported_are_refused() {
        let secp256k1 = b"\x06\x05\x2b\x81\x04\x00\x0a";
        assert_eq!(ec_public_key(secp256k1, &[4; 65]), None);
        assert_eq!(ec_public_key(b"\x13\x05ed448", &[4; 57]), None);
        assert_eq!(ec_parameters(KeyKind::Rsa(2048)), None);
    }

    #[test]
    fn an_rsa_key_is_read_with_and_without_a_sign_octet() {
        let modulus = [[0xc1].as_slice(), &[0x55; 255]].concat();
        let spki = rsa_public_key(&modulus, &[1, 0, 1]).unwrap();
        assert_eq!(public_key_kind(&spki), Some(KeyKind::Rsa(2048)));
        assert_eq!(rsa_public_key(&[[0].as_slice(), &modulus].concat(), &[0, 1, 0, 1]), Some(spki));
    }

    #[test]
    fn signatures_with_and_without_leading_zeros_become_the_same_der() {
        let mut full = vec![0; 64];
        (full[31], full[63]) = (0x81, 1);
        let der = ecdsa_signature(&full, KeyKind::EcP256).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0x81, 2, 1, 1]);
        assert_eq!(ecdsa_signature(&[0x81, 1], KeyKind::EcP256), Some(der));
        assert_eq!(ecdsa_signature(&[1; 66], KeyKind::EcP256), None);
        assert_eq!(ecdsa_signature(&[], KeyKind::EcP256), None);
        assert_eq!(ecdsa_signature(&[1; 63], KeyKind::EcP256), None);
    }

    #[test]
    fn the_digest_info_of_sha_256_is_the_one_of_rfc_8017() {
        let info = digest_info(SignatureScheme::RsaPkcs1Sha256, &[0xaa; 32]).unwrap();
        assert_eq!(info[..19], *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20");
        assert_eq!(info[19..], [0xaa; 32]);
        assert_eq!(digest_info(SignatureScheme::RsaPssSha256, &[0; 32]), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(one in proptest::collection::vec(any::<u8>(), 0..150), two in proptest::collection::vec(any::<u8>(), 0..150)) {
            let _ = ec_public_key(&one, &two);
            let _ = rsa_public_key(&one, &two);
            let _ = ecdsa_signature(&one, KeyKind::EcP521);
        }
    }
}
