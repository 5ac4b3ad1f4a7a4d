//! A key that came from a file, or goes to one, and signs in this process.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding};
use keywheel_wire::private_key::{Encoding, Encryption, KeyKind, ParsedKey, PrivateKey, PrivateKeyError};
use keywheel_wire::signer::{SignError, SignatureScheme, Signer};
use zeroize::Zeroizing;

use crate::random::{self, NoRandomness};

/// A private key in memory that signs.
pub struct FileKey {
    key: PrivateKey,
    pairs: Pairs,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The RSA size is not one that is made.
    #[error("RSA keys are made with 2048, 3072 or 4096 bits, not {bits}")]
    RsaSize {
        /// The size that was asked for.
        bits: u32,
    },
    /// The key could not be made.
    #[error("making an {kind} key failed; nothing was written")]
    Generate {
        /// The kind that was asked for.
        kind: KeyKind,
    },
    /// The key was read and cannot be used.
    #[error("the {kind} key cannot sign")]
    Unusable {
        /// The kind that it is.
        kind: KeyKind,
    },
    /// The machine gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The key could not be read or written.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
}

impl FileKey {
    /// Makes a new key. RSA may have 2048, 3072 or 4096 bits.
    ///
    /// # Errors
    /// When the size of an RSA key is another, or the machine has no random bytes.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate { kind };
        let key = match kind {
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    _ => return Err(KeyError::RsaSize { bits }),
                };
                let pair = rsa::KeyPair::generate(size).map_err(failed)?;
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                PrivateKey::from_pkcs8_der(der.as_ref())?
            }
            KeyKind::Ed25519 => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                random::fill(seed.as_mut_slice())?;
                PrivateKey::from_ed25519_seed(seed.as_slice())?
            }
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => {
                let algorithm = ec_algorithm(kind, SignatureScheme::default_for(kind));
                let algorithm = algorithm.ok_or(KeyError::Generate { kind })?;
                let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                PrivateKey::from_pkcs8_der(der.as_ref())?
            }
        };
        Self::from_private_key(key)
    }

    /// Takes a key that was read elsewhere.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn from_private_key(key: PrivateKey) -> Result<Self, KeyError> {
        let kind = key.kind();
        let pairs = Pairs::load(&key).ok_or(KeyError::Unusable { kind })?;
        Ok(Self { key, pairs })
    }

    /// Reads the first private key in a PEM text.
    ///
    /// # Errors
    /// When there is none, it is malformed, or the password is missing or wrong.
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<(Self, FileForm), KeyError> {
        let ParsedKey { key, encoding, encrypted } = PrivateKey::parse_pem(text, password)?;
        Ok((Self::from_private_key(key)?, FileForm { encoding, encrypted }))
    }

    /// The private half.
    #[must_use]
    pub fn private_key(&self) -> &PrivateKey {
        &self.key
    }

    /// The key as PEM. With a password it is always an encrypted PKCS#8, whatever the encoding.
    ///
    /// # Errors
    /// When the encoding cannot hold this kind of key, or the machine has no random bytes.
    pub fn to_pem(&self, encoding: Encoding, password: Option<&[u8]>) -> Result<Zeroizing<String>, KeyError> {
        Ok(match password {
            None => self.key.to_pem(encoding)?,
            Some(password) => {
                let encryption = Encryption { password, salt: random::bytes()?, iv: random::bytes()? };
                self.key.to_encrypted_pem(&encryption)?
            }
        })
    }
}

/// How a file had its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileForm {
    /// How the key was encoded.
    pub encoding: Encoding,
    /// Whether it was encrypted.
    pub encrypted: bool,
}

impl Signer for FileKey {
    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let kind = self.kind();
        let failed = |_| SignError::Failed { kind, reason: "the cryptographic library refused".to_owned() };
        match &self.pairs {
            Pairs::Ec(pairs) => {
                let pair = pairs.iter().find(|(own, _)| *own == scheme);
                let (_, pair) = pair.ok_or(SignError::SchemeDoesNotFit { kind, scheme })?;
                let signature = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pairs::Ed25519(pair) if scheme == SignatureScheme::Ed25519 => {
                Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec())
            }
            Pairs::Ed25519(_) => Err(SignError::SchemeDoesNotFit { kind, scheme }),
            Pairs::Rsa(pair) => {
                let padding = rsa_padding(scheme).ok_or(SignError::SchemeDoesNotFit { kind, scheme })?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileKey").field("kind", &self.key.kind()).finish_non_exhaustive()
    }
}

/// The key as the library signs with it: an elliptic curve pair is bound to one hash, so there is one for each.
enum Pairs {
    Ec(Vec<(SignatureScheme, EcdsaKeyPair)>),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

impl Pairs {
    fn load(key: &PrivateKey) -> Option<Self> {
        let der = key.pkcs8_der();
        match key.kind() {
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8(der).ok().map(Self::Ed25519),
            KeyKind::Rsa(_) => rsa::KeyPair::from_pkcs8(der).ok().map(Self::Rsa),
            kind @ (KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521) => {
                let schemes =
                    [SignatureScheme::EcdsaSha256, SignatureScheme::EcdsaSha384, SignatureScheme::EcdsaSha512];
                let pairs = schemes.into_iter().filter_map(|scheme| {
                    let algorithm = ec_algorithm(kind, scheme)?;
                    Some(EcdsaKeyPair::from_pkcs8(algorithm, der).map(|pair| (scheme, pair)))
                });
                pairs.collect::<Result<_, _>>().ok().map(Self::Ec)
            }
        }
    }
}

fn ec_algorithm(kind: KeyKind, scheme: SignatureScheme) -> Option<&'static EcdsaSigningAlgorithm> {
    use SignatureScheme::{EcdsaSha256, EcdsaSha384, EcdsaSha512};
    match (kind, scheme) {
        (KeyKind::EcP256, EcdsaSha256) => Some(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        (KeyKind::EcP384, EcdsaSha384) => Some(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        (KeyKind::EcP521, EcdsaSha256) => Some(&signature::ECDSA_P521_SHA256_ASN1_SIGNING),
        (KeyKind::EcP521, EcdsaSha384) => Some(&signature::ECDSA_P521_SHA384_ASN1_SIGNING),
        (KeyKind::EcP521, EcdsaSha512) => Some(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        _ => None,
    }
}

fn rsa_padding(scheme: SignatureScheme) -> Option<&'static dyn RsaEncoding> {
    match scheme {
        SignatureScheme::RsaPkcs1Sha256 => Some(&signature::RSA_PKCS1_SHA256),
        SignatureScheme::RsaPkcs1Sha384 => Some(&signature::RSA_PKCS1_SHA384),
        SignatureScheme::RsaPkcs1Sha512 => Some(&signature::RSA_PKCS1_SHA512),
        SignatureScheme::RsaPssSha256 => Some(&signature::RSA_PSS_SHA256),
        SignatureScheme::RsaPssSha384 => Some(&signature::RSA_PSS_SHA384),
        SignatureScheme::RsaPssSha512 => Some(&signature::RSA_PSS_SHA512),
        _ => None,
    }
}
