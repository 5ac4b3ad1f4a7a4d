//! DER into private keys: PKCS#1, SEC1 and PKCS#8, each proven to be one key whose halves belong together.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use zeroize::Zeroizing;

use super::{KeyKind, PrivateKey, PrivateKeyError, bit_length, encode};
use crate::signer::{OID_EC_PUBLIC_KEY, OID_ED25519, OID_RSA, curve_of_kind, kind_of_curve};

/// A PKCS#8 PrivateKeyInfo (version 1) or OneAsymmetricKey (version 2).
pub(super) fn pkcs8(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
    let info = Pkcs8::read(der).ok_or(PrivateKeyError::Malformed)?;
    match info.algorithm {
        OID_EC_PUBLIC_KEY => {
            let curve = ObjectIdentifier::from_der(info.parameters).map_err(|_| PrivateKeyError::UnsupportedKind)?;
            sec1(info.private_key, Some(curve))
        }
        OID_ED25519 => {
            let seed = AnyRef::from_der(info.private_key).map_err(|_| PrivateKeyError::Malformed)?;
            if seed.tag() != Tag::OctetString {
                return Err(PrivateKeyError::Malformed);
            }
            ed25519(seed.value(), info.public_key)
        }
        OID_RSA => pkcs1(info.private_key),
        _ => Err(PrivateKeyError::UnsupportedKind),
    }
}

/// A PKCS#1 RSAPrivateKey.
pub(super) fn pkcs1(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
    let parsed = pkcs1::RsaPrivateKeyRef::try_from(der).map_err(|_| PrivateKeyError::Malformed)?;
    let bits = bit_length(parsed.modulus.as_bytes()).ok_or(PrivateKeyError::Malformed)?;
    if !(2048..=8192).contains(&bits) || parsed.other_prime_infos.is_some() {
        return Err(PrivateKeyError::UnsupportedKind);
    }
    // Checks the numbers against each other.
    let pair = rsa::KeyPair::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
    let algorithm = encode::rsa_algorithm();
    Ok(PrivateKey {
        kind: KeyKind::Rsa(bits),
        pkcs8: encode::pkcs8(&algorithm, der),
        public_key: encode::spki(&algorithm, pair.public_key().as_ref()),
    })
}

/// A SEC1 ECPrivateKey; inside PKCS#8 the curve may stand outside of it.
pub(super) fn sec1(der: &[u8], outer: Option<ObjectIdentifier>) -> Result<PrivateKey, PrivateKeyError> {
    let parsed = Sec1::read(der).ok_or(PrivateKeyError::Malformed)?;
    let inner = match parsed.parameters {
        // Curves that are spelt out as numbers are a known way to smuggle in a weak one.
        Some(der) => Some(ObjectIdentifier::from_der(der).map_err(|_| PrivateKeyError::UnsupportedKind)?),
        None => None,
    };
    if inner.is_some() && outer.is_some() && inner != outer {
        return Err(PrivateKeyError::Malformed);
    }
    let curve = inner.or(outer).ok_or(PrivateKeyError::Malformed)?;
    let kind = kind_of_curve(curve).ok_or(PrivateKeyError::UnsupportedKind)?;
    ec(kind, parsed.scalar, parsed.point)
}

/// The private number of an elliptic curve key, and its public point where a file had it.
pub(super) fn ec(kind: KeyKind, scalar: &[u8], point: Option<&[u8]>) -> Result<PrivateKey, PrivateKeyError> {
    let (algorithm, size) = signing_algorithm(kind).ok_or(PrivateKeyError::UnsupportedKind)?;
    let curve = curve_of_kind(kind).ok_or(PrivateKeyError::UnsupportedKind)?;
    let scalar = fixed_length(scalar, size).ok_or(PrivateKeyError::Malformed)?;
    // The public half is computed afresh rather than believed.
    let bare = encode::sec1(&scalar, Some(curve), None);
    let pair = EcdsaKeyPair::from_private_key_der(algorithm, &bare).map_err(|_| PrivateKeyError::Malformed)?;
    let own = pair.public_key().as_ref();
    if point.is_some_and(|point| !same_point(point, own)) {
        return Err(PrivateKeyError::Malformed);
    }
    let algorithm = encode::algorithm(OID_EC_PUBLIC_KEY, &encode::oid(curve));
    Ok(PrivateKey {
        kind,
        pkcs8: encode::pkcs8(&algorithm, &encode::sec1(&scalar, None, Some(own))),
        public_key: encode::spki(&algorithm, own),
    })
}

/// The seed of an Ed25519 key, and its public half where a file had it.
pub(super) fn ed25519(seed: &[u8], public: Option<&[u8]>) -> Result<PrivateKey, PrivateKeyError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| PrivateKeyError::Malformed)?;
    let own = pair.public_key().as_ref();
    if public.is_some_and(|public| public != own) {
        return Err(PrivateKeyError::Malformed);
    }
    let algorithm = encode::algorithm(OID_ED25519, &[]);
    Ok(PrivateKey {
        kind: KeyKind::Ed25519,
        pkcs8: encode::pkcs8(&algorithm, &encode::element(0x04, &[seed])),
        public_key: encode::spki(&algorithm, own),
    })
}

/// The key as SEC1 with its curve; `None` where it is no elliptic curve key.
pub(super) fn sec1_of_pkcs8(key: &PrivateKey) -> Option<Zeroizing<Vec<u8>>> {
    let curve = curve_of_kind(key.kind)?;
    let info = Pkcs8::read(&key.pkcs8)?;
    let inner = Sec1::read(info.private_key)?;
    Some(encode::sec1(inner.scalar, Some(curve), inner.point))
}

/// The key as PKCS#1; `None` where it is no RSA key.
pub(super) fn pkcs1_of_pkcs8(key: &PrivateKey) -> Option<&[u8]> {
    let info = Pkcs8::read(&key.pkcs8)?;
    (info.algorithm == OID_RSA).then_some(info.private_key)
}

struct Pkcs8<'a> {
    algorithm: ObjectIdentifier,
    parameters: &'a [u8],
    private_key: &'a [u8],
    public_key: Option<&'a [u8]>,
}

impl<'a> Pkcs8<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of_sequence(AnyRef::from_der(der).ok()?)?;
        if !matches!(fields.take(Tag::Integer)?, [0] | [1]) {
            return None;
        }
        let mut identifier = SliceReader::new(fields.take(Tag::Sequence)?).ok()?;
        let algorithm = ObjectIdentifier::decode(&mut identifier).ok()?;
        let length = identifier.remaining_len();
        let parameters = identifier.read_slice(length).ok()?;
        let private_key = fields.take(Tag::OctetString)?;
        // Attributes say nothing that is needed.
        let _ = fields.take_context(0, true);
        let public_key = match fields.take_context(1, false) {
            Some([0, key @ ..]) => Some(key),
            Some(_) => return None,
            None => None,
        };
        fields.end()?;
        Some(Self { algorithm, parameters, private_key, public_key })
    }
}

struct Sec1<'a> {
    scalar: &'a [u8],
    /// The DER of the curve.
    parameters: Option<&'a [u8]>,
    point: Option<&'a [u8]>,
}

impl<'a> Sec1<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of_sequence(AnyRef::from_der(der).ok()?)?;
        if fields.take(Tag::Integer)? != [1] {
            return None;
        }
        let scalar = fields.take(Tag::OctetString)?;
        let parameters = fields.take_context(0, true);
        let point = match fields.take_context(1, true) {
            Some(der) => match AnyRef::from_der(der).ok().filter(|any| any.tag() == Tag::BitString)?.value() {
                [0, point @ ..] => Some(point),
                _ => return None,
            },
            None => None,
        };
        fields.end()?;
        Some(Self { scalar, parameters, point })
    }
}

/// The elements of a SEQUENCE, taken one after the other.
pub(super) struct Fields<'a> {
    next: Option<AnyRef<'a>>,
    reader: SliceReader<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn of_sequence(any: AnyRef<'a>) -> Option<Self> {
        if any.tag() != Tag::Sequence {
            return None;
        }
        let mut fields = Self { next: None, reader: SliceReader::new(any.value()).ok()? };
        fields.advance()?;
        Some(fields)
    }

    /// The next element's value, which must have this tag.
    pub(super) fn take(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let value = self.next.filter(|any| any.tag() == tag)?.value();
        self.advance()?;
        Some(value)
    }

    /// The next element's value where it has this context-specific tag; nothing is taken otherwise.
    fn take_context(&mut self, number: u32, constructed: bool) -> Option<&'a [u8]> {
        self.take(Tag::ContextSpecific { constructed, number: TagNumber(number) })
    }

    /// Whether the next element has this tag.
    pub(super) fn is_next(&self, tag: Tag) -> bool {
        self.next.is_some_and(|any| any.tag() == tag)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Option<()> {
        self.next.is_none().then_some(())
    }

    fn advance(&mut self) -> Option<()> {
        self.next = if self.reader.is_finished() { None } else { Some(AnyRef::decode(&mut self.reader).ok()?) };
        Some(())
    }
}

fn signing_algorithm(kind: KeyKind) -> Option<(&'static EcdsaSigningAlgorithm, usize)> {
    match kind {
        KeyKind::EcP256 => Some((&signature::ECDSA_P256_SHA256_ASN1_SIGNING, 32)),
        KeyKind::EcP384 => Some((&signature::ECDSA_P384_SHA384_ASN1_SIGNING, 48)),
        KeyKind::EcP521 => Some((&signature::ECDSA_P521_SHA512_ASN1_SIGNING, 66)),
        KeyKind::Ed25519 | KeyKind::Rsa(_) => None,
    }
}

/// Some writers drop leading zeros of the private number, or add one.
fn fixed_length(number: &[u8], size: usize) -> Option<Zeroizing<Vec<u8>>> {
    let start = number.iter().position(|octet| *octet != 0)?;
    let significant = &number[start..];
    let mut fixed = Zeroizing::new(vec![0; size]);
    fixed.get_mut(size.checked_sub(significant.len())?..)?.copy_from_slice(significant);
    Some(fixed)
}

/// Whether a point in a file, compressed or not, is this uncompressed one.
fn same_point(given: &[u8], own: &[u8]) -> bool {
    let size = own.len() / 2;
    match (given.split_first(), own.get(1..=size), own.last()) {
        (Some((parity @ (2 | 3), x)), Some(own_x), Some(last)) => x == own_x && parity - 2 == last & 1,
        _ => given == own,
    }
}
