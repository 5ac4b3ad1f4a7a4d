//! Private keys in the files that people have: PKCS#1, SEC1 and PKCS#8, plain or encrypted, read and written.

mod decode;
mod decrypt;
pub(crate) mod encode;

use std::fmt;

use zeroize::Zeroizing;

use crate::pem;

/// What kind of key a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256.
    EcP256,
    /// ECDSA on NIST P-384.
    EcP384,
    /// ECDSA on NIST P-521.
    EcP521,
    /// Ed25519.
    Ed25519,
    /// RSA with a modulus of so many bits.
    Rsa(u32),
}

/// The ways in which a private key is put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `RSA PRIVATE KEY`: RSA only.
    Pkcs1,
    /// `EC PRIVATE KEY`: elliptic curves only.
    Sec1,
    /// `PRIVATE KEY`, or `ENCRYPTED PRIVATE KEY`: every kind.
    Pkcs8,
}

/// A private key with its public half. The private half is wiped from memory when the value goes.
#[derive(Clone)]
pub struct PrivateKey {
    kind: KeyKind,
    pkcs8: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
}

/// A private key as a file had it.
#[derive(Clone, Debug)]
pub struct ParsedKey {
    /// The key.
    pub key: PrivateKey,
    /// How the file encoded it.
    pub encoding: Encoding,
    /// Whether the file was encrypted.
    pub encrypted: bool,
}

/// What a key is encrypted with. Salt and initialisation vector are chance, which the caller brings; never use them twice.
#[derive(Clone, Copy)]
pub struct Encryption<'a> {
    /// The password.
    pub password: &'a [u8],
    /// The salt of the key derivation.
    pub salt: [u8; 16],
    /// The initialisation vector of the cipher.
    pub iv: [u8; 16],
}

/// Why bytes did not become a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// No private key block in the file.
    #[error(
        "no private key was found: expected a PEM block such as 'PRIVATE KEY', 'EC PRIVATE KEY' or 'RSA PRIVATE KEY'"
    )]
    NotFound,
    /// The PEM around the key is broken.
    #[error("the PEM around the private key is broken")]
    Pem(#[source] crate::pem::PemError),
    /// The key is encrypted and no password was given.
    #[error("the private key is encrypted and no password was given")]
    PasswordRequired,
    /// The password does not open the key.
    #[error("the private key could not be decrypted: the password is wrong")]
    WrongPassword,
    /// The key is encrypted in a way that is not supported.
    #[error(
        "the private key is encrypted with {0}, which is not supported; convert it with 'openssl pkcs8 -topk8 -v2 aes-256-cbc'"
    )]
    UnsupportedEncryption(String),
    /// The block holds a private key in a format that is not supported.
    #[error("a '{0}' block is not supported; convert it, an OpenSSH key with 'ssh-keygen -p -m PKCS8 -f FILE'")]
    UnsupportedFormat(String),
    /// The encryption did not work.
    #[error("the private key could not be encrypted; nothing was written")]
    Encrypt,
    /// The key is of a kind that is not supported.
    #[error(
        "the private key is of a kind that is not supported: expected EC P-256, P-384 or P-521, Ed25519, or RSA of 2048 to 8192 bits"
    )]
    UnsupportedKind,
    /// The bytes are not a valid private key.
    #[error("the private key is malformed, or its parts contradict each other")]
    Malformed,
    /// The encoding cannot hold this kind of key.
    #[error("a {kind} key cannot be written as {encoding}; use PKCS#8")]
    EncodingDoesNotFit {
        /// The key's kind.
        kind: KeyKind,
        /// The encoding that was asked for.
        encoding: Encoding,
    },
}

impl PrivateKey {
    /// Reads the first private key in a PEM text; what stands around it is skipped.
    ///
    /// # Errors
    /// When there is none, when it is encrypted and `password` is `None` or wrong, or when it is malformed or not supported.
    pub fn parse_pem(text: &[u8], password: Option<&[u8]>) -> Result<ParsedKey, PrivateKeyError> {
        let blocks = pem::parse(text).map_err(PrivateKeyError::Pem)?;
        let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
            return Err(PrivateKeyError::NotFound);
        };
        let encoding = match block.label.as_str() {
            "RSA PRIVATE KEY" => Encoding::Pkcs1,
            "EC PRIVATE KEY" => Encoding::Sec1,
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => Encoding::Pkcs8,
            other => return Err(PrivateKeyError::UnsupportedFormat(other.to_owned())),
        };
        let decrypted = if block.label == "ENCRYPTED PRIVATE KEY" {
            Some(decrypt::pkcs8(&block.der, password)?)
        } else if block.header("Proc-Type").is_some_and(|value| value.ends_with("ENCRYPTED")) {
            Some(decrypt::legacy(block, password)?)
        } else {
            None
        };
        let encrypted = decrypted.is_some();
        let der = decrypted.as_deref().unwrap_or(&block.der);
        let key = Self::from_der(der, encoding).map_err(|error| match error {
            // One wrong password in 256 leaves valid padding around rubbish.
            PrivateKeyError::Malformed if encrypted => PrivateKeyError::WrongPassword,
            other => other,
        })?;
        Ok(ParsedKey { key, encoding, encrypted })
    }

    /// Reads the DER of an unencrypted private key.
    ///
    /// # Errors
    /// When it is malformed or not supported.
    pub fn from_der(der: &[u8], encoding: Encoding) -> Result<Self, PrivateKeyError> {
        match encoding {
            Encoding::Pkcs1 => Self::from_pkcs1_der(der),
            Encoding::Sec1 => Self::from_sec1_der(der),
            Encoding::Pkcs8 => Self::from_pkcs8_der(der),
        }
    }

    /// Reads the DER of a PKCS#8 PrivateKeyInfo, version 1 or 2.
    ///
    /// # Errors
    /// When it is malformed or not supported.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        decode::pkcs8(der)
    }

    /// Reads the DER of a PKCS#1 RSAPrivateKey.
    ///
    /// # Errors
    /// When it is malformed or not supported.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        decode::pkcs1(der)
    }

    /// Reads the DER of a SEC1 ECPrivateKey that names its curve.
    ///
    /// # Errors
    /// When it is malformed or not supported.
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        decode::sec1(der, None)
    }

    /// Takes the private number of an elliptic curve key, big-endian, of any length that the curve allows.
    ///
    /// # Errors
    /// When the kind is no elliptic curve, or the number is not valid on it.
    pub fn from_ec_scalar(kind: KeyKind, scalar: &[u8]) -> Result<Self, PrivateKeyError> {
        decode::ec(kind, scalar, None)
    }

    /// Takes the 32 octets that an Ed25519 key is derived from.
    ///
    /// # Errors
    /// When there are not 32.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, PrivateKeyError> {
        decode::ed25519(seed, None)
    }

    /// The key's kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public half, as the DER of a SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The DER of the key as PKCS#8.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The key as unencrypted PEM.
    ///
    /// # Errors
    /// When the encoding cannot hold this kind of key.
    pub fn to_pem(&self, encoding: Encoding) -> Result<Zeroizing<String>, PrivateKeyError> {
        match encoding {
            Encoding::Pkcs8 => Ok(pem::encode("PRIVATE KEY", &self.pkcs8)),
            Encoding::Sec1 => {
                let der = decode::sec1_of_pkcs8(self).ok_or(self.does_not_fit(encoding))?;
                Ok(pem::encode("EC PRIVATE KEY", &der))
            }
            Encoding::Pkcs1 => {
                let der = decode::pkcs1_of_pkcs8(self).ok_or(self.does_not_fit(encoding))?;
                Ok(pem::encode("RSA PRIVATE KEY", der))
            }
        }
    }

    /// The key as an `ENCRYPTED PRIVATE KEY`: PKCS#8 with PBES2, PBKDF2-HMAC-SHA256 and AES-256-CBC.
    ///
    /// # Errors
    /// When the encryption fails.
    pub fn to_encrypted_pem(&self, encryption: &Encryption<'_>) -> Result<Zeroizing<String>, PrivateKeyError> {
        let der = encode::encrypted_pkcs8(&self.pkcs8, encryption)?;
        Ok(pem::encode("ENCRYPTED PRIVATE KEY", &der))
    }

    fn does_not_fit(&self, encoding: Encoding) -> PrivateKeyError {
        PrivateKeyError::EncodingDoesNotFit { kind: self.kind, encoding }
    }
}

impl Encoding {
    /// The encoding that `step` and older tools expect for a kind of key: SEC1 for EC, PKCS#1 for RSA, PKCS#8 for Ed25519.
    #[must_use]
    pub fn traditional(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => Self::Sec1,
            KeyKind::Rsa(_) => Self::Pkcs1,
            KeyKind::Ed25519 => Self::Pkcs8,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcP256 => f.write_str("EC P-256"),
            Self::EcP384 => f.write_str("EC P-384"),
            Self::EcP521 => f.write_str("EC P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs1 => "PKCS#1",
            Self::Sec1 => "SEC1",
            Self::Pkcs8 => "PKCS#8",
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// How many bits an unsigned big-endian number has; `None` for zero.
pub(crate) fn bit_length(number: &[u8]) -> Option<u32> {
    let start = number.iter().position(|octet| *octet != 0)?;
    let octets = u32::try_from(number.len() - start).ok()?;
    Some(octets * 8 - number[start].leading_zeros())
}

#[cfg(test)]
mod tests;
