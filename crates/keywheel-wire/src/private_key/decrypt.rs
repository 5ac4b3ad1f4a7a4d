//! Password-protected private keys: PKCS#8 with PBES2, and the PEM encryption of old that `step ca init` still writes.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, Algorithm, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag};
use md5::{Digest as _, Md5};
use pkcs8::pkcs5::scrypt;
use zeroize::Zeroizing;

use super::PrivateKeyError;
use super::decode::Fields;
use crate::pem::Block;

/// A file may not make us work for more than some seconds.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Memory that scrypt may take, in bytes.
const MAX_SCRYPT_MEMORY: u64 = 256 << 20;
/// Memory that it may go through in all its rounds.
const MAX_SCRYPT_WORK: u64 = 512 << 20;

const OID_PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const OID_PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const OID_SCRYPT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.4.11");
const OID_HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const OID_HMAC_SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.8");
const OID_HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const OID_HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
const OID_HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");
const OID_AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const OID_AES_192_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22");
const OID_AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const OID_DES_EDE3_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");

/// Opens an EncryptedPrivateKeyInfo; what comes out is the DER of a PKCS#8 key.
pub(super) fn pkcs8(der: &[u8], password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let any = AnyRef::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
    let mut fields = Fields::of_sequence(any).ok_or(PrivateKeyError::Malformed)?;
    let scheme = fields.take(Tag::Sequence).ok_or(PrivateKeyError::Malformed)?;
    let data = fields.take(Tag::OctetString).ok_or(PrivateKeyError::Malformed)?;
    fields.end().ok_or(PrivateKeyError::Malformed)?;

    let scheme = Pbes2::read(scheme)?;
    let password = password.ok_or(PrivateKeyError::PasswordRequired)?;
    let mut key = Zeroizing::new(vec![0; scheme.cipher.key_length()]);
    scheme.derivation.derive(password, &mut key)?;
    decrypt(scheme.cipher, &key, scheme.iv, data)
}

/// Opens a block with `Proc-Type: 4,ENCRYPTED` and `DEK-Info: <cipher>,<hex>`; what comes out is the DER of its label.
pub(super) fn legacy(block: &Block, password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let info = block.header("DEK-Info").ok_or(PrivateKeyError::Malformed)?;
    let (name, iv) = info.split_once(',').ok_or(PrivateKeyError::Malformed)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::DesEde3,
        other => return Err(PrivateKeyError::UnsupportedEncryption(other.chars().take(40).collect())),
    };
    let iv = hex(iv.trim()).ok_or(PrivateKeyError::Malformed)?;
    if iv.len() != cipher.block_length() {
        return Err(PrivateKeyError::Malformed);
    }
    let password = password.ok_or(PrivateKeyError::PasswordRequired)?;
    // OpenSSL's EVP_BytesToKey with one round of MD5; the start of the IV is the salt.
    let mut key = Zeroizing::new(Vec::with_capacity(48));
    while key.len() < cipher.key_length() {
        let mut md5 = Md5::new();
        md5.update(&key[key.len().saturating_sub(16)..]);
        md5.update(password);
        md5.update(&iv[..8]);
        let mut digest: Zeroizing<[u8; 16]> = Zeroizing::new(md5.finalize().into());
        key.extend_from_slice(digest.as_mut_slice());
    }
    key.truncate(cipher.key_length());
    decrypt(cipher, &key, &iv, &block.der)
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    DesEde3,
}

impl Cipher {
    #[expect(deprecated, reason = "files that were encrypted with triple DES must still be read; none is written")]
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128 => &AES_128,
            Self::Aes192 => &AES_192,
            Self::Aes256 => &AES_256,
            Self::DesEde3 => &aws_lc_rs::cipher::DES_EDE3_FOR_LEGACY_USE_ONLY,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::DesEde3 => 24,
            Self::Aes256 => 32,
        }
    }

    fn block_length(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::DesEde3 => 8,
        }
    }
}

/// Decrypts CBC and takes off the padding; padding that is not there means that the password was wrong.
fn decrypt(cipher: Cipher, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let context = match cipher {
        Cipher::DesEde3 => <[u8; 8]>::try_from(iv).map(|iv| DecryptionContext::Iv64(FixedLength::from(iv))),
        _ => <[u8; 16]>::try_from(iv).map(|iv| DecryptionContext::Iv128(FixedLength::from(iv))),
    }
    .map_err(|_| PrivateKeyError::Malformed)?;
    if data.is_empty() || !data.len().is_multiple_of(cipher.block_length()) {
        return Err(PrivateKeyError::Malformed);
    }
    let mut plain = Zeroizing::new(data.to_vec());
    // A password that makes a degenerate DES key is refused by the cipher; no file was written with one.
    UnboundCipherKey::new(cipher.algorithm(), key)
        .and_then(DecryptingKey::cbc)
        .and_then(|key| key.decrypt(&mut plain, context).map(|_| ()))
        .map_err(|_| PrivateKeyError::WrongPassword)?;
    let padding = usize::from(plain.last().copied().unwrap_or_default());
    let length = plain.len().checked_sub(padding).ok_or(PrivateKeyError::WrongPassword)?;
    let whole = (1..=cipher.block_length()).contains(&padding)
        && plain[length..].iter().all(|octet| usize::from(*octet) == padding);
    if !whole {
        return Err(PrivateKeyError::WrongPassword);
    }
    plain.truncate(length);
    Ok(plain)
}

struct Pbes2<'a> {
    derivation: Derivation<'a>,
    cipher: Cipher,
    iv: &'a [u8],
}

impl<'a> Pbes2<'a> {
    fn read(scheme: &'a [u8]) -> Result<Self, PrivateKeyError> {
        let (oid, parameters) = algorithm(scheme)?;
        if oid != OID_PBES2 {
            return Err(unsupported(oid));
        }
        let mut fields = parameters.and_then(Fields::of_sequence).ok_or(PrivateKeyError::Malformed)?;
        let derivation = fields.take(Tag::Sequence).ok_or(PrivateKeyError::Malformed)?;
        let encryption = fields.take(Tag::Sequence).ok_or(PrivateKeyError::Malformed)?;
        fields.end().ok_or(PrivateKeyError::Malformed)?;

        let (oid, iv) = algorithm(encryption)?;
        let cipher = match oid {
            OID_AES_128_CBC => Cipher::Aes128,
            OID_AES_192_CBC => Cipher::Aes192,
            OID_AES_256_CBC => Cipher::Aes256,
            OID_DES_EDE3_CBC => Cipher::DesEde3,
            other => return Err(unsupported(other)),
        };
        let iv = iv.filter(|iv| der::Tagged::tag(iv) == Tag::OctetString).ok_or(PrivateKeyError::Malformed)?;
        Ok(Self { derivation: Derivation::read(derivation, cipher.key_length())?, cipher, iv: iv.value() })
    }
}

enum Derivation<'a> {
    Pbkdf2 { salt: &'a [u8], iterations: NonZeroU32, prf: ObjectIdentifier },
    Scrypt { salt: &'a [u8], parameters: scrypt::Params },
}

impl<'a> Derivation<'a> {
    fn read(identifier: &'a [u8], key_length: usize) -> Result<Self, PrivateKeyError> {
        let (oid, parameters) = algorithm(identifier)?;
        let fields = parameters.and_then(Fields::of_sequence);
        let read = match oid {
            OID_PBKDF2 => fields.and_then(|fields| Self::pbkdf2(fields, key_length)),
            OID_SCRYPT => fields.and_then(|fields| Self::scrypt(fields, key_length)),
            other => return Err(unsupported(other)),
        };
        read.ok_or(PrivateKeyError::UnsupportedEncryption(format!("parameters of {oid} that are out of bounds")))
    }

    fn pbkdf2(mut fields: Fields<'a>, key_length: usize) -> Option<Self> {
        let salt = fields.take(Tag::OctetString)?;
        let iterations = unsigned(fields.take(Tag::Integer)?)?;
        let iterations = NonZeroU32::new(u32::try_from(iterations).ok()?)?;
        if iterations.get() > MAX_ITERATIONS {
            return None;
        }
        check_key_length(&mut fields, key_length)?;
        let prf = match fields.take(Tag::Sequence) {
            Some(identifier) => algorithm(identifier).ok()?.0,
            // The default, which nobody may write.
            None => OID_HMAC_SHA1,
        };
        fields.end()?;
        Some(Self::Pbkdf2 { salt, iterations, prf })
    }

    fn scrypt(mut fields: Fields<'a>, key_length: usize) -> Option<Self> {
        let salt = fields.take(Tag::OctetString)?;
        let cost = unsigned(fields.take(Tag::Integer)?)?;
        let block = unsigned(fields.take(Tag::Integer)?)?;
        let parallelization = unsigned(fields.take(Tag::Integer)?)?;
        check_key_length(&mut fields, key_length)?;
        fields.end()?;
        let memory = cost.checked_mul(block)?.checked_mul(128)?;
        let work = memory.checked_mul(parallelization)?;
        let within = cost.is_power_of_two() && memory <= MAX_SCRYPT_MEMORY && work <= MAX_SCRYPT_WORK;
        if !within {
            return None;
        }
        let parameters = scrypt::Params::new(
            u8::try_from(cost.trailing_zeros()).ok()?,
            u32::try_from(block).ok()?,
            u32::try_from(parallelization).ok()?,
        )
        .ok()?;
        Some(Self::Scrypt { salt, parameters })
    }

    fn derive(&self, password: &[u8], key: &mut [u8]) -> Result<(), PrivateKeyError> {
        match self {
            Self::Pbkdf2 { salt, iterations, prf } => {
                let algorithm = match *prf {
                    OID_HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    OID_HMAC_SHA224 => {
                        pbkdf2_sha224(*iterations, salt, password, key);
                        return Ok(());
                    }
                    OID_HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    OID_HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
                    OID_HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
                    other => return Err(unsupported(other)),
                };
                pbkdf2::derive(algorithm, *iterations, salt, password, key);
                Ok(())
            }
            Self::Scrypt { salt, parameters } => {
                scrypt::scrypt(password, salt, parameters, key).map_err(|_| PrivateKeyError::Malformed)
            }
        }
    }
}

/// PBKDF2 over HMAC-SHA224, which aws-lc-rs has no constant for and openssl writes when asked to.
fn pbkdf2_sha224(iterations: NonZeroU32, salt: &[u8], password: &[u8], key: &mut [u8]) {
    let hmac_key = hmac::Key::new(hmac::HMAC_SHA224, password);
    for (index, chunk) in (1_u32..).zip(key.chunks_mut(28)) {
        let mut context = hmac::Context::with_key(&hmac_key);
        context.update(salt);
        context.update(&index.to_be_bytes());
        let mut last = context.sign();
        let mut block = Zeroizing::new(last.as_ref().to_vec());
        for _ in 1..iterations.get() {
            last = hmac::sign(&hmac_key, last.as_ref());
            for (sum, octet) in block.iter_mut().zip(last.as_ref()) {
                *sum ^= octet;
            }
        }
        for (octet, sum) in chunk.iter_mut().zip(block.iter()) {
            *octet = *sum;
        }
    }
}

/// An AlgorithmIdentifier's contents: its OID and its parameters.
fn algorithm(contents: &[u8]) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), PrivateKeyError> {
    let read = || -> der::Result<_> {
        let mut reader = SliceReader::new(contents)?;
        let oid = ObjectIdentifier::decode(&mut reader)?;
        let parameters = if reader.is_finished() { None } else { Some(AnyRef::decode(&mut reader)?) };
        Ok((oid, parameters))
    };
    read().map_err(|_| PrivateKeyError::Malformed)
}

/// A stated key length must be the cipher's.
fn check_key_length(fields: &mut Fields<'_>, expected: usize) -> Option<()> {
    if !fields.is_next(Tag::Integer) {
        return Some(());
    }
    let stated = unsigned(fields.take(Tag::Integer)?)?;
    (usize::try_from(stated).ok()? == expected).then_some(())
}

/// The value of an INTEGER's contents, where it is not negative and fits.
fn unsigned(contents: &[u8]) -> Option<u64> {
    if contents.is_empty() || contents[0] & 0x80 != 0 {
        return None;
    }
    let start = contents.iter().position(|octet| *octet != 0).unwrap_or(contents.len());
    let significant = &contents[start..];
    if significant.len() > 8 {
        return None;
    }
    Some(significant.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

fn unsupported(oid: ObjectIdentifier) -> PrivateKeyError {
    PrivateKeyError::UnsupportedEncryption(oid.to_string())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 64 {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high << 4 | low).ok()
        })
        .collect()
}
