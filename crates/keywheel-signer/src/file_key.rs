//! A key that came from a file, or goes to one, and signs in this process.

use keywheel_wire::private_key::{Encoding, KeyKind, ParsedKey, PrivateKey, PrivateKeyError};
use keywheel_wire::signer::{SignError, SignatureScheme, Signer};
use zeroize::Zeroizing;

/// A private key in memory that signs.
pub struct FileKey {
    key: PrivateKey,
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
    #[error("making a {kind} key failed; nothing was written")]
    Generate {
        /// The kind that was asked for.
        kind: KeyKind,
    },
    /// The machine gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The key could not be read or written.
    #[error("the private key could not be used")]
    Key(#[from] PrivateKeyError),
}

impl FileKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the size of an RSA key is not supported.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let _ = kind;
        todo!()
    }

    /// Takes a key that was read elsewhere.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn from_private_key(key: PrivateKey) -> Result<Self, KeyError> {
        Ok(Self { key })
    }

    /// Reads a key from a PEM text.
    ///
    /// # Errors
    /// When there is none, it is malformed, or the password is missing or wrong.
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<(Self, ParsedKey), KeyError> {
        let parsed = PrivateKey::parse_pem(text, password)?;
        Ok((Self::from_private_key(parsed.key.clone())?, parsed))
    }

    /// The private half.
    #[must_use]
    pub fn private_key(&self) -> &PrivateKey {
        &self.key
    }

    /// The key as PEM. With a password it is always an encrypted PKCS#8, whatever the encoding.
    ///
    /// # Errors
    /// When the encoding cannot hold this kind of key.
    pub fn to_pem(&self, encoding: Encoding, password: Option<&[u8]>) -> Result<Zeroizing<String>, KeyError> {
        let _ = (encoding, password);
        todo!()
    }
}

impl Signer for FileKey {
    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let _ = (scheme, message);
        todo!()
    }
}
