//! A private key as its users see it: something with a public half that signs, wherever the private half lives.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader};

use crate::private_key::KeyKind;

/// A key pair that signs without showing its private half.
pub trait Signer: Send + Sync {
    /// The public half, as the DER of a SubjectPublicKeyInfo.
    fn public_key(&self) -> &[u8];

    /// What kind of key this is.
    fn kind(&self) -> KeyKind;

    /// Signs `message`; the scheme says how the message is hashed and how the signature is encoded.
    ///
    /// # Errors
    /// When the scheme does not fit the key, or the key cannot be used.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Whether a signature may take so long that nothing else should wait for its thread.
    fn takes_long(&self) -> bool {
        false
    }
}

/// A signature algorithm with its hash and encoding. ECDSA signatures are the DER that X.509 carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519 over the message itself.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same hash and a salt as long as the hash.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with the same hash and a salt as long as the hash.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with the same hash and a salt as long as the hash.
    RsaPssSha512,
}

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The scheme is for another kind of key.
    #[error("a {kind} key cannot sign with {scheme:?}; nothing was signed")]
    SchemeDoesNotFit {
        /// The key's kind.
        kind: KeyKind,
        /// The scheme that was asked for.
        scheme: SignatureScheme,
    },
    /// The key refused, or what holds it could not be reached.
    #[error("the {kind} key did not sign: {reason}; nothing was signed")]
    Failed {
        /// The key's kind.
        kind: KeyKind,
        /// What the holder of the key said.
        reason: String,
    },
    /// What holds the key cannot be used now; it may be later.
    #[error("the {kind} key cannot be used now: {reason}; nothing was signed")]
    Away {
        /// The key's kind.
        kind: KeyKind,
        /// What is in the way.
        reason: String,
    },
}

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The public key is not readable or of a kind that is not supported.
    #[error("the public key is malformed or of a kind that is not supported")]
    UnsupportedKey,
    /// The scheme is for another kind of key.
    #[error("the signature algorithm does not fit the public key")]
    SchemeDoesNotFit,
    /// The signature is not by this key over this message.
    #[error("the signature does not verify")]
    BadSignature,
}

impl SignatureScheme {
    /// Every scheme.
    pub const ALL: [Self; 10] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
    ];

    /// The scheme that X.509 signatures by this kind of key use unless something else is asked for.
    #[must_use]
    pub fn default_for(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcP256 => Self::EcdsaSha256,
            KeyKind::EcP384 => Self::EcdsaSha384,
            KeyKind::EcP521 => Self::EcdsaSha512,
            KeyKind::Ed25519 => Self::Ed25519,
            KeyKind::Rsa(_) => Self::RsaPkcs1Sha256,
        }
    }

    /// Whether our own keys of this kind sign with this scheme.
    #[must_use]
    pub fn fits(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::EcP256 => self == Self::EcdsaSha256,
            KeyKind::EcP384 => self == Self::EcdsaSha384,
            KeyKind::EcP521 => {
                matches!(self, Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512)
            }
            KeyKind::Ed25519 => self == Self::Ed25519,
            KeyKind::Rsa(_) => matches!(
                self,
                Self::RsaPkcs1Sha256
                    | Self::RsaPkcs1Sha384
                    | Self::RsaPkcs1Sha512
                    | Self::RsaPssSha256
                    | Self::RsaPssSha384
                    | Self::RsaPssSha512
            ),
        }
    }

    /// The DER of the AlgorithmIdentifier that names this scheme in certificates, CSRs and CRLs.
    #[must_use]
    pub fn algorithm_identifier(self) -> &'static [u8] {
        match self {
            Self::EcdsaSha256 => ECDSA_SHA256,
            Self::EcdsaSha384 => ECDSA_SHA384,
            Self::EcdsaSha512 => ECDSA_SHA512,
            Self::Ed25519 => ED25519,
            Self::RsaPkcs1Sha256 => RSA_PKCS1_SHA256,
            Self::RsaPkcs1Sha384 => RSA_PKCS1_SHA384,
            Self::RsaPkcs1Sha512 => RSA_PKCS1_SHA512,
            Self::RsaPssSha256 => RSA_PSS_SHA256,
            Self::RsaPssSha384 => RSA_PSS_SHA384,
            Self::RsaPssSha512 => RSA_PSS_SHA512,
        }
    }

    /// Reads the DER of an AlgorithmIdentifier; `None` where it names a scheme that is not supported (SHA-1, say).
    ///
    /// Some makers leave out the NULL that RSA PKCS#1 parameters must be, or add one to ECDSA: both are accepted.
    #[must_use]
    pub fn from_algorithm_identifier(der: &[u8]) -> Option<Self> {
        if let Some(exact) = Self::ALL.iter().find(|scheme| scheme.algorithm_identifier() == der) {
            return Some(*exact);
        }
        let (oid, parameters) = split_algorithm(der)?;
        let empty = parameters.is_empty() || parameters == [0x05, 0x00];
        if !empty || oid == OID_RSA_PSS {
            return None;
        }
        Self::ALL
            .iter()
            .find(|scheme| split_algorithm(scheme.algorithm_identifier()).is_some_and(|(own, _)| own == oid))
            .copied()
    }

    /// The scheme's usual name, as `openssl` and `step certificate inspect` print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ECDSA-SHA256",
            Self::EcdsaSha384 => "ECDSA-SHA384",
            Self::EcdsaSha512 => "ECDSA-SHA512",
            Self::Ed25519 => "Ed25519",
            Self::RsaPkcs1Sha256 => "SHA256-RSA",
            Self::RsaPkcs1Sha384 => "SHA384-RSA",
            Self::RsaPkcs1Sha512 => "SHA512-RSA",
            Self::RsaPssSha256 => "SHA256-RSAPSS",
            Self::RsaPssSha384 => "SHA384-RSAPSS",
            Self::RsaPssSha512 => "SHA512-RSAPSS",
        }
    }
}

/// Verifies a signature by the holder of `spki`, the DER of a SubjectPublicKeyInfo.
///
/// RSA keys under 2048 or over 8192 bits are never accepted.
///
/// # Errors
/// When the key is not supported, the scheme is not for it, or the signature is not valid.
pub fn verify(spki: &[u8], scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let key = PublicKey::read(spki).ok_or(VerifyError::UnsupportedKey)?;
    let algorithm = verification(key.kind, scheme).ok_or(VerifyError::SchemeDoesNotFit)?;
    UnparsedPublicKey::new(algorithm, key.bits).verify(message, signature).map_err(|_| VerifyError::BadSignature)
}

/// The kind of the public key in the DER of a SubjectPublicKeyInfo; `None` where it is malformed or not supported.
#[must_use]
pub fn public_key_kind(spki: &[u8]) -> Option<KeyKind> {
    PublicKey::read(spki).map(|key| key.kind)
}

/// The bits of the public key in the DER of a SubjectPublicKeyInfo (the point, the Ed25519 key, the PKCS#1 RSAPublicKey),
/// with its kind; `None` where it is malformed or not supported.
#[must_use]
pub fn public_key_bits(spki: &[u8]) -> Option<(KeyKind, &[u8])> {
    PublicKey::read(spki).map(|key| (key.kind, key.bits))
}

pub(crate) const OID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(crate) const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The kind of key that lives on a named curve.
pub(crate) fn kind_of_curve(curve: ObjectIdentifier) -> Option<KeyKind> {
    match curve {
        OID_P256 => Some(KeyKind::EcP256),
        OID_P384 => Some(KeyKind::EcP384),
        OID_P521 => Some(KeyKind::EcP521),
        _ => None,
    }
}

/// The curve that a kind of key lives on.
pub(crate) fn curve_of_kind(kind: KeyKind) -> Option<ObjectIdentifier> {
    match kind {
        KeyKind::EcP256 => Some(OID_P256),
        KeyKind::EcP384 => Some(OID_P384),
        KeyKind::EcP521 => Some(OID_P521),
        KeyKind::Ed25519 | KeyKind::Rsa(_) => None,
    }
}

const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ECDSA_SHA512: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
const RSA_PKCS1_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const RSA_PKCS1_SHA384: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const RSA_PKCS1_SHA512: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
const RSA_PSS_SHA256: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20";
const RSA_PSS_SHA384: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30";
const RSA_PSS_SHA512: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40";

/// A SubjectPublicKeyInfo taken apart.
struct PublicKey<'a> {
    kind: KeyKind,
    bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    fn read(spki: &'a [u8]) -> Option<Self> {
        let outer = AnyRef::from_der(spki).ok()?;
        let (algorithm, bits) = outer
            .sequence(|reader: &mut SliceReader<'a>| {
                let algorithm = reader.tlv_bytes()?;
                let bits = BitStringRef::decode(reader)?;
                Ok::<_, der::Error>((algorithm, bits))
            })
            .ok()?;
        let bits = bits.as_bytes()?;
        let (oid, parameters) = split_algorithm(algorithm)?;
        let kind = match oid {
            OID_EC_PUBLIC_KEY => kind_of_curve(ObjectIdentifier::from_der(parameters).ok()?)?,
            OID_ED25519 if parameters.is_empty() && bits.len() == 32 => KeyKind::Ed25519,
            OID_RSA => KeyKind::Rsa(modulus_bits(bits)?),
            _ => return None,
        };
        Some(Self { kind, bits })
    }
}

/// An AlgorithmIdentifier's OID and the bytes of its parameters (empty where absent).
fn split_algorithm(der: &[u8]) -> Option<(ObjectIdentifier, &[u8])> {
    let outer = AnyRef::from_der(der).ok()?;
    outer
        .sequence(|reader: &mut SliceReader<'_>| {
            let oid = ObjectIdentifier::decode(reader)?;
            let rest = reader.read_slice(reader.remaining_len())?;
            Ok::<_, der::Error>((oid, rest))
        })
        .ok()
}

fn modulus_bits(rsa_public_key: &[u8]) -> Option<u32> {
    let key = pkcs1::RsaPublicKeyRef::try_from(rsa_public_key).ok()?;
    crate::private_key::bit_length(key.modulus.as_bytes())
}

fn verification(kind: KeyKind, scheme: SignatureScheme) -> Option<&'static dyn VerificationAlgorithm> {
    use SignatureScheme as S;
    Some(match (kind, scheme) {
        (KeyKind::EcP256, S::EcdsaSha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::EcP256, S::EcdsaSha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::EcP256, S::EcdsaSha512) => &signature::ECDSA_P256_SHA512_ASN1,
        (KeyKind::EcP384, S::EcdsaSha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::EcP384, S::EcdsaSha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::EcP384, S::EcdsaSha512) => &signature::ECDSA_P384_SHA512_ASN1,
        (KeyKind::EcP521, S::EcdsaSha256) => &signature::ECDSA_P521_SHA256_ASN1,
        (KeyKind::EcP521, S::EcdsaSha384) => &signature::ECDSA_P521_SHA384_ASN1,
        (KeyKind::EcP521, S::EcdsaSha512) => &signature::ECDSA_P521_SHA512_ASN1,
        (KeyKind::Ed25519, S::Ed25519) => &signature::ED25519,
        (KeyKind::Rsa(_), S::RsaPkcs1Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyKind::Rsa(_), S::RsaPkcs1Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (KeyKind::Rsa(_), S::RsaPkcs1Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (KeyKind::Rsa(_), S::RsaPssSha256) => &signature::RSA_PSS_2048_8192_SHA256,
        (KeyKind::Rsa(_), S::RsaPssSha384) => &signature::RSA_PSS_2048_8192_SHA384,
        (KeyKind::Rsa(_), S::RsaPssSha512) => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::x509::certificate::Certificate;

    /// A certificate that openssl signs with its own key of this kind.
    fn self_signed(folder: &std::path::Path, kind: &[&str], options: &[&str]) -> Certificate {
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&[&["genpkey", "-out", "key", "-algorithm"], kind].concat());
        run(&[&["req", "-x509", "-key", "key", "-subj", "/CN=x", "-out", "certificate"], options].concat());
        Certificate::from_pem(&std::fs::read(folder.join("certificate")).unwrap()).unwrap()
    }

    #[test]
    fn what_openssl_signs_is_named_as_it_names_it_and_verifies() {
        use SignatureScheme as S;
        let folder = tempfile::tempdir().unwrap();
        let p256 = &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..];
        let p384 = &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..];
        let p521 = &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"][..];
        let rsa = &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..];
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
        let digests = ["-sha256", "-sha384", "-sha512"];
        let cases = [
            (p256, [S::EcdsaSha256, S::EcdsaSha384, S::EcdsaSha512], false),
            (p384, [S::EcdsaSha256, S::EcdsaSha384, S::EcdsaSha512], false),
            (p521, [S::EcdsaSha256, S::EcdsaSha384, S::EcdsaSha512], false),
            (rsa, [S::RsaPkcs1Sha256, S::RsaPkcs1Sha384, S::RsaPkcs1Sha512], false),
            (rsa, [S::RsaPssSha256, S::RsaPssSha384, S::RsaPssSha512], true),
        ];
        for (kind, schemes, is_pss) in cases {
            for (digest, scheme) in digests.into_iter().zip(schemes) {
                let mut options = vec![digest];
                if is_pss {
                    options.extend(pss);
                }
                let certificate = self_signed(folder.path(), kind, &options);
                assert_eq!(certificate.algorithm(), scheme.algorithm_identifier(), "{scheme:?}");
                verify(certificate.spki(), scheme, certificate.tbs(), certificate.signature()).unwrap();
                let mut forged = certificate.tbs().to_vec();
                *forged.last_mut().unwrap() ^= 1;
                assert_eq!(
                    verify(certificate.spki(), scheme, &forged, certificate.signature()),
                    Err(VerifyError::BadSignature)
                );
            }
        }
        let certificate = self_signed(folder.path(), &["Ed25519"], &[]);
        assert_eq!(certificate.algorithm(), S::Ed25519.algorithm_identifier());
        verify(certificate.spki(), S::Ed25519, certificate.tbs(), certificate.signature()).unwrap();
    }

    #[test]
    fn weak_hashes_and_keys_are_not_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let rsa = |bits: &'static str| ["RSA", "-pkeyopt", bits];
        let sha1 = self_signed(folder.path(), &rsa("rsa_keygen_bits:2048"), &["-sha1"]);
        assert_eq!(SignatureScheme::from_algorithm_identifier(sha1.algorithm()), None);

        let short = self_signed(folder.path(), &rsa("rsa_keygen_bits:1024"), &["-sha256"]);
        let scheme = SignatureScheme::RsaPkcs1Sha256;
        assert_eq!(public_key_kind(short.spki()), Some(KeyKind::Rsa(1024)));
        assert!(verify(short.spki(), scheme, short.tbs(), short.signature()).is_err());

        let salt = ["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"];
        let odd_salt = self_signed(folder.path(), &rsa("rsa_keygen_bits:2048"), &salt);
        assert_eq!(SignatureScheme::from_algorithm_identifier(odd_salt.algorithm()), None);
    }

    #[test]
    fn a_scheme_for_another_kind_of_key_is_told_apart_from_a_forgery() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = self_signed(folder.path(), &["Ed25519"], &[]);
        let verified =
            verify(certificate.spki(), SignatureScheme::EcdsaSha256, certificate.tbs(), certificate.signature());
        assert_eq!(verified, Err(VerifyError::SchemeDoesNotFit));
        assert_eq!(verify(&[], SignatureScheme::Ed25519, b"", b""), Err(VerifyError::UnsupportedKey));
    }

    #[test]
    fn every_scheme_is_read_back_with_and_without_its_empty_parameters() {
        for scheme in SignatureScheme::ALL {
            assert_eq!(SignatureScheme::from_algorithm_identifier(scheme.algorithm_identifier()), Some(scheme));
        }
        let bare = b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
        assert_eq!(SignatureScheme::from_algorithm_identifier(bare), Some(SignatureScheme::RsaPkcs1Sha256));
        let with_null = b"\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00";
        assert_eq!(SignatureScheme::from_algorithm_identifier(with_null), Some(SignatureScheme::EcdsaSha256));
    }

    #[test]
    fn the_usual_scheme_of_a_kind_fits_it() {
        for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
            assert!(SignatureScheme::default_for(kind).fits(kind));
            assert!(
                SignatureScheme::ALL.iter().all(|scheme| !scheme.fits(kind) || verification(kind, *scheme).is_some())
            );
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = SignatureScheme::from_algorithm_identifier(&bytes);
            for scheme in SignatureScheme::ALL {
                let _ = verify(&bytes, scheme, &bytes, &bytes);
            }
        }
    }
}
