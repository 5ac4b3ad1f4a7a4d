//! Encrypted keys in compact form (RFC 7516) under a password: PBES2 with AES key wrap and AES-GCM, as `step` writes them.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm as Cipher, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::bytes;

/// The longest encrypted text that is looked at; a private RSA-8192 JWK fits.
pub const MAX_TEXT: usize = 64 * 1024;

/// The most PBKDF2 rounds that are computed for a text from outside: some seconds, not minutes.
pub const MAX_ROUNDS: u32 = 5_000_000;

/// The PBKDF2 rounds of what we encrypt.
pub const ROUNDS: u32 = 600_000;

/// The chance that an encryption needs; never use it twice.
#[derive(Clone)]
pub struct Randomness {
    /// The salt of the key derivation.
    pub salt: [u8; 16],
    /// The key that encrypts the content.
    pub content_key: Zeroizing<[u8; 32]>,
    /// The nonce of the cipher.
    pub nonce: [u8; 12],
}

/// Why a text was not decrypted or encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// Longer than [`MAX_TEXT`].
    #[error("the encrypted text is longer than {MAX_TEXT} characters")]
    TooLong,
    /// Not five parts of base64url.
    #[error("the encrypted text is not five base64url parts joined by dots")]
    NotCompact,
    /// The header is not a JSON object.
    #[error("the encrypted text's header is not a JSON object")]
    Header(#[source] serde_json::Error),
    /// An algorithm that is not spoken.
    #[error(
        "the encrypted text uses {0}, which is not supported; expected PBES2-HS256+A128KW or PBES2-HS512+A256KW with A128GCM or A256GCM"
    )]
    Unsupported(String),
    /// The number of rounds is missing, zero or beyond [`MAX_ROUNDS`].
    #[error("the encrypted text asks for {0} key derivation rounds; 1 to {MAX_ROUNDS} are accepted")]
    Rounds(u64),
    /// The password does not open it.
    #[error("the encrypted key could not be decrypted: the password is wrong")]
    WrongPassword,
    /// The password is right and the content is not what was encrypted.
    #[error("the encrypted text was changed after it was encrypted")]
    Tampered,
    /// The cipher failed.
    #[error("the key could not be encrypted")]
    Encrypt,
}

/// Decrypts a compact JWE, or one in the flattened JSON form that `step` writes to files, with a password. Slow by design: keep it off threads that answer.
///
/// # Errors
/// When the text is malformed, asks for what is not supported, or the password is wrong.
pub fn decrypt(compact: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    if compact.len() > MAX_TEXT {
        return Err(JweError::TooLong);
    }
    let joined;
    let compact = match compact.trim() {
        text if text.starts_with('{') => {
            joined = join(text)?;
            &joined
        }
        text => text,
    };
    let parts: Vec<&str> = compact.split('.').collect();
    let [protected, wrapped, nonce, ciphertext, tag] = parts[..] else {
        return Err(JweError::NotCompact);
    };
    let part = |text| bytes::decode(text).ok_or(JweError::NotCompact);
    let header: Map<String, Value> = serde_json::from_slice(&part(protected)?).map_err(JweError::Header)?;
    let management = KeyManagement::read(&header)?;
    let cipher = content_cipher(&header)?;
    let kek = management.derive(password)?;
    let wrapped = part(wrapped)?;
    if wrapped.len() != cipher.key_len() + 8 {
        return Err(JweError::NotCompact);
    }
    let mut content_key = Zeroizing::new(vec![0; cipher.key_len()]);
    kek.unwrap(&wrapped, &mut content_key).map_err(|_| JweError::WrongPassword)?;
    let nonce: [u8; 12] = part(nonce)?.try_into().map_err(|_| JweError::NotCompact)?;
    let tag = part(tag)?;
    if tag.len() != 16 {
        return Err(JweError::NotCompact);
    }
    let mut content = Zeroizing::new(part(ciphertext)?);
    content.extend_from_slice(&tag);
    let key = UnboundKey::new(cipher, &content_key).map_err(|_| JweError::Tampered)?;
    let length = LessSafeKey::new(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(protected.as_bytes()), &mut content)
        .map_err(|_| JweError::Tampered)?
        .len();
    content.truncate(length);
    Ok(content)
}

/// Whether a text is a JWE in the flattened JSON form, as `step crypto jwk create` writes private keys.
pub fn is_flattened(text: &[u8]) -> bool {
    let member =
        |name: &str| serde_json::from_slice::<Map<String, Value>>(text).is_ok_and(|object| object.contains_key(name));
    text.len() <= MAX_TEXT && member("ciphertext") && member("protected")
}

/// Encrypts with a password as the reference does: PBES2-HS256+A128KW, A256GCM, [`ROUNDS`] rounds.
///
/// `content_type` becomes `cty`: `jwk+json` for a private key.
///
/// # Errors
/// When a cipher fails.
pub fn encrypt(
    content: &[u8],
    password: &[u8],
    content_type: &str,
    randomness: &Randomness,
) -> Result<String, JweError> {
    let mut header = Map::new();
    header.insert("alg".to_owned(), Value::from("PBES2-HS256+A128KW"));
    header.insert("cty".to_owned(), Value::from(content_type));
    header.insert("enc".to_owned(), Value::from("A256GCM"));
    header.insert("p2c".to_owned(), Value::from(ROUNDS));
    header.insert("p2s".to_owned(), Value::from(bytes::encode(&randomness.salt)));
    let protected = bytes::encode(&serde_json::to_vec(&header).map_err(JweError::Header)?);
    let kek = KeyManagement::read(&header)?.derive(password)?;
    let mut wrapped = vec![0; randomness.content_key.len() + 8];
    kek.wrap(&*randomness.content_key, &mut wrapped).map_err(|_| JweError::Encrypt)?;
    let key = UnboundKey::new(&AES_256_GCM, &*randomness.content_key).map_err(|_| JweError::Encrypt)?;
    let mut ciphertext = Zeroizing::new(content.to_vec());
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(randomness.nonce),
            Aad::from(protected.as_bytes()),
            &mut ciphertext,
        )
        .map_err(|_| JweError::Encrypt)?;
    Ok([
        protected,
        bytes::encode(&wrapped),
        bytes::encode(&randomness.nonce),
        bytes::encode(&ciphertext),
        bytes::encode(tag.as_ref()),
    ]
    .join("."))
}

/// The compact form of a flattened JSON one.
fn join(text: &str) -> Result<String, JweError> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(JweError::Header)?;
    let part = |name: &str| object.get(name).and_then(Value::as_str).ok_or(JweError::NotCompact);
    let parts = [part("protected")?, part("encrypted_key")?, part("iv")?, part("ciphertext")?, part("tag")?];
    Ok(parts.join("."))
}

/// How the content key is wrapped.
struct KeyManagement {
    derivation: pbkdf2::Algorithm,
    wrapping: &'static AesBlockCipher,
    key_length: usize,
    salt: Vec<u8>,
    rounds: NonZeroU32,
}

impl KeyManagement {
    fn read(header: &Map<String, Value>) -> Result<Self, JweError> {
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or("no algorithm");
        let (derivation, wrapping, key_length) = match algorithm {
            "PBES2-HS256+A128KW" => (pbkdf2::PBKDF2_HMAC_SHA256, &AES_128, 16),
            "PBES2-HS512+A256KW" => (pbkdf2::PBKDF2_HMAC_SHA512, &AES_256, 32),
            other => return Err(JweError::Unsupported(other.chars().take(32).collect())),
        };
        if header.contains_key("crit") || header.contains_key("zip") {
            return Err(JweError::Unsupported("an extension ('crit' or 'zip')".to_owned()));
        }
        let asked = header.get("p2c").and_then(Value::as_u64).unwrap_or(0);
        let rounds = u32::try_from(asked)
            .ok()
            .filter(|rounds| *rounds <= MAX_ROUNDS)
            .and_then(NonZeroU32::new)
            .ok_or(JweError::Rounds(asked))?;
        let input = header.get("p2s").and_then(Value::as_str).and_then(bytes::decode).ok_or(JweError::NotCompact)?;
        // RFC 7518 4.8.1.1: the salt is the algorithm's name, a zero octet, and then what the header says.
        let salt = [algorithm.as_bytes(), &[0], &input].concat();
        Ok(Self { derivation, wrapping, key_length, salt, rounds })
    }

    fn derive(&self, password: &[u8]) -> Result<AesKek, JweError> {
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..self.key_length];
        pbkdf2::derive(self.derivation, self.rounds, &self.salt, password, key);
        AesKek::new(self.wrapping, key).map_err(|_| JweError::Encrypt)
    }
}

fn content_cipher(header: &Map<String, Value>) -> Result<&'static Cipher, JweError> {
    match header.get("enc").and_then(Value::as_str).unwrap_or("no content cipher") {
        "A256GCM" => Ok(&AES_256_GCM),
        "A128GCM" => Ok(&AES_128_GCM),
        other => Err(JweError::Unsupported(other.chars().take(32).collect())),
    }
}
