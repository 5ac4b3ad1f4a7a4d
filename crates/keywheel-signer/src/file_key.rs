//! A key that came from a file, or goes to one, and signs in this process.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

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
    /// The file could not be read.
    #[error("the key file {} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no key that can be used.
    #[error("the key file {} could not be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeyError>,
    },
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

    /// Reads the first private key in a file, a CA's for example.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`FileKey::from_pem`] says.
    pub fn load(path: &Path, password: Option<&[u8]>) -> Result<(Self, FileForm), KeyError> {
        let text = read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        Self::from_pem(&text, password)
            .map_err(|source| KeyError::File { path: path.to_owned(), source: Box::new(source) })
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

/// A key with its certificates beside it takes some kilobytes.
const MAX_FILE: usize = 256 * 1024;

/// Reads into a buffer that never grows, so that no copy of the key is left behind.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut text = Zeroizing::new(vec![0; MAX_FILE + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if length > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is far too large for a key"));
    }
    text.truncate(length);
    Ok(text)
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use keywheel_wire::signer::{VerifyError, verify};

    use super::*;

    const KINDS: [KeyKind; 7] = [
        KeyKind::EcP256,
        KeyKind::EcP384,
        KeyKind::EcP521,
        KeyKind::Ed25519,
        KeyKind::Rsa(2048),
        KeyKind::Rsa(3072),
        KeyKind::Rsa(4096),
    ];

    fn openssl(folder: &Path, arguments: &[&str]) -> std::process::Output {
        Command::new("openssl").args(arguments).current_dir(folder).output().unwrap()
    }

    #[test]
    fn every_kind_signs_with_every_scheme_that_fits_and_openssl_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let message = b"to be signed";
        std::fs::write(folder.path().join("message"), message).unwrap();
        for kind in KINDS {
            let key = FileKey::generate(kind).unwrap();
            assert_eq!(key.kind(), kind);
            std::fs::write(folder.path().join("key"), key.to_pem(Encoding::Pkcs8, None).unwrap().as_bytes()).unwrap();
            let shown = openssl(folder.path(), &["pkey", "-in", "key", "-pubout", "-outform", "DER", "-out", "public"]);
            assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
            assert_eq!(std::fs::read(folder.path().join("public")).unwrap(), key.public_key());

            for scheme in SignatureScheme::ALL {
                if !scheme.fits(kind) {
                    assert!(
                        matches!(key.sign(scheme, message), Err(SignError::SchemeDoesNotFit { .. })),
                        "{kind} {scheme:?}"
                    );
                    continue;
                }
                let signature = key.sign(scheme, message).unwrap();
                verify(key.public_key(), scheme, message, &signature).unwrap();
                assert_eq!(
                    verify(key.public_key(), scheme, b"to be forged", &signature),
                    Err(VerifyError::BadSignature)
                );
                std::fs::write(folder.path().join("signature"), &signature).unwrap();
                let digest = match scheme {
                    SignatureScheme::Ed25519 => None,
                    SignatureScheme::EcdsaSha256 | SignatureScheme::RsaPkcs1Sha256 | SignatureScheme::RsaPssSha256 => {
                        Some("sha256")
                    }
                    SignatureScheme::EcdsaSha384 | SignatureScheme::RsaPkcs1Sha384 | SignatureScheme::RsaPssSha384 => {
                        Some("sha384")
                    }
                    _ => Some("sha512"),
                };
                let mut arguments = vec![
                    "pkeyutl",
                    "-verify",
                    "-pubin",
                    "-inkey",
                    "public",
                    "-keyform",
                    "DER",
                    "-rawin",
                    "-in",
                    "message",
                    "-sigfile",
                    "signature",
                ];
                if let Some(digest) = digest {
                    arguments.extend(["-digest", digest]);
                }
                let is_pss = format!("{scheme:?}").contains("Pss");
                if is_pss {
                    arguments.extend(["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]);
                }
                let verified = openssl(folder.path(), &arguments);
                assert!(verified.status.success(), "{kind} {scheme:?}: {}", String::from_utf8_lossy(&verified.stderr));
            }
        }
    }

    #[test]
    fn two_keys_of_one_kind_differ() {
        for kind in [KeyKind::EcP256, KeyKind::Ed25519] {
            let keys = [FileKey::generate(kind).unwrap(), FileKey::generate(kind).unwrap()];
            assert_ne!(keys[0].public_key(), keys[1].public_key());
        }
    }

    #[test]
    fn sizes_of_rsa_that_nobody_should_make_are_refused() {
        for bits in [0, 1024, 2047, 2049, 8192] {
            assert!(matches!(FileKey::generate(KeyKind::Rsa(bits)), Err(KeyError::RsaSize { .. })), "{bits}");
        }
    }

    #[test]
    fn a_protected_file_opens_with_its_password_only_and_never_twice_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = FileKey::generate(KeyKind::EcP384).unwrap();
        let texts = [0, 1].map(|_| key.to_pem(Encoding::Sec1, Some(b"secret")).unwrap());
        assert_ne!(*texts[0], *texts[1]);
        std::fs::write(&path, texts[0].as_bytes()).unwrap();

        let (read, form) = FileKey::load(&path, Some(b"secret")).unwrap();
        assert_eq!(form, FileForm { encoding: Encoding::Pkcs8, encrypted: true });
        assert_eq!(read.public_key(), key.public_key());
        for (password, expected) in
            [(None, PrivateKeyError::PasswordRequired), (Some(&b"wrong"[..]), PrivateKeyError::WrongPassword)]
        {
            match FileKey::load(&path, password).unwrap_err() {
                KeyError::File { source, .. } => assert!(matches!(*source, KeyError::Key(error) if error == expected)),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_has_no_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(FileKey::load(&folder.path().join("none"), None), Err(KeyError::Read { .. })));
        assert!(matches!(FileKey::load(Path::new("/dev/zero"), None), Err(KeyError::Read { .. })));
    }
}
