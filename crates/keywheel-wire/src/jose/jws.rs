//! Signed tokens in compact form (RFC 7515): read, verified and made.

use aws_lc_rs::digest;
use serde_json::{Map, Value};

use super::bytes;
use crate::private_key::KeyKind;
use crate::signer::{self, SignError, SignatureScheme, Signer, VerifyError};

/// The longest token that is looked at: a chain of ten RSA-4096 certificates fits.
pub const MAX_TOKEN: usize = 64 * 1024;

/// The signature algorithms that are spoken. `none` and the symmetric ones are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
}

/// A token taken apart; nothing in it is to be believed before [`Jws::verify`].
#[derive(Clone, Debug)]
pub struct Jws {
    algorithm: Algorithm,
    header: Map<String, Value>,
    payload: Vec<u8>,
    signing_input: String,
    signature: Vec<u8>,
}

/// Why a token was not accepted or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} characters")]
    TooLong,
    /// Not three parts of base64url.
    #[error("the token is not three base64url parts joined by dots")]
    NotCompact,
    /// The header is not a JSON object.
    #[error("the token's header is not a JSON object")]
    Header(#[source] serde_json::Error),
    /// No algorithm, or one that is not spoken.
    #[error(
        "the token's algorithm '{0}' is not accepted; use ES256, ES384, ES512, EdDSA, RS256 to RS512 or PS256 to PS512"
    )]
    Algorithm(String),
    /// The header demands an extension that is not known.
    #[error("the token demands an extension ('crit') that is not supported")]
    Critical,
    /// The algorithm is for another kind of key.
    #[error("the token's algorithm {algorithm} does not fit the {key} key")]
    AlgorithmDoesNotFit {
        /// The algorithm in the header.
        algorithm: &'static str,
        /// The key's kind.
        key: KeyKind,
    },
    /// The signature was not accepted.
    #[error("the token's signature was not accepted")]
    Signature(#[source] VerifyError),
    /// The payload is not a JSON object.
    #[error("the token's payload is not a JSON object")]
    Payload(#[source] serde_json::Error),
    /// The key did not sign.
    #[error("the token could not be signed")]
    Sign(#[source] SignError),
    /// The key made a signature that is not one.
    #[error("the key's signature is malformed; no token was made")]
    MalformedSignature,
}

impl Algorithm {
    /// The name in the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALL.iter().find(|algorithm| algorithm.name() == name).copied()
    }

    /// What the reference uses for a kind of key unless told otherwise.
    #[must_use]
    pub fn default_for(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcP256 => Self::Es256,
            KeyKind::EcP384 => Self::Es384,
            KeyKind::EcP521 => Self::Es512,
            KeyKind::Ed25519 => Self::EdDsa,
            KeyKind::Rsa(_) => Self::Rs256,
        }
    }

    /// Whether a key of this kind may be used with this algorithm.
    #[must_use]
    pub fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::Es256 => kind == KeyKind::EcP256,
            Self::Es384 => kind == KeyKind::EcP384,
            Self::Es512 => kind == KeyKind::EcP521,
            Self::EdDsa => kind == KeyKind::Ed25519,
            _ => matches!(kind, KeyKind::Rsa(_)),
        }
    }

    /// The signer's name for this algorithm.
    #[must_use]
    pub fn scheme(self) -> SignatureScheme {
        match self {
            Self::Es256 => SignatureScheme::EcdsaSha256,
            Self::Es384 => SignatureScheme::EcdsaSha384,
            Self::Es512 => SignatureScheme::EcdsaSha512,
            Self::EdDsa => SignatureScheme::Ed25519,
            Self::Rs256 => SignatureScheme::RsaPkcs1Sha256,
            Self::Rs384 => SignatureScheme::RsaPkcs1Sha384,
            Self::Rs512 => SignatureScheme::RsaPkcs1Sha512,
            Self::Ps256 => SignatureScheme::RsaPssSha256,
            Self::Ps384 => SignatureScheme::RsaPssSha384,
            Self::Ps512 => SignatureScheme::RsaPssSha512,
        }
    }

    /// The octets of one half of an ECDSA signature.
    fn ecdsa_width(self) -> Option<usize> {
        match self {
            Self::Es256 => Some(32),
            Self::Es384 => Some(48),
            Self::Es512 => Some(66),
            _ => None,
        }
    }
}

impl Jws {
    /// Takes a compact token apart.
    ///
    /// # Errors
    /// When it is too long, not a token, names an algorithm that is not accepted, or demands an extension.
    pub fn parse(compact: &str) -> Result<Self, JwsError> {
        if compact.len() > MAX_TOKEN {
            return Err(JwsError::TooLong);
        }
        let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::NotCompact)?;
        let header = bytes::decode(header).ok_or(JwsError::NotCompact)?;
        let payload = bytes::decode(payload).ok_or(JwsError::NotCompact)?;
        let signature = bytes::decode(signature).ok_or(JwsError::NotCompact)?;
        let header: Map<String, Value> = serde_json::from_slice(&header).map_err(JwsError::Header)?;
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = Algorithm::parse(name).ok_or_else(|| JwsError::Algorithm(name.chars().take(32).collect()))?;
        if header.contains_key("crit") {
            return Err(JwsError::Critical);
        }
        Ok(Self { algorithm, header, payload, signing_input: signing_input.to_owned(), signature })
    }

    /// The algorithm that the header names.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole header.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The header's `kid`.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// A header that holds a chain (`x5c`, `x5cInsecure`): standard base64 of DER, leaf first. `None` where it is absent or malformed.
    #[must_use]
    pub fn certificate_chain(&self, header: &str) -> Option<Vec<Vec<u8>>> {
        use base64ct::{Base64, Encoding};
        let chain = self.header.get(header)?.as_array()?;
        if chain.is_empty() || chain.len() > 10 {
            return None;
        }
        chain.iter().map(|entry| Base64::decode_vec(entry.as_str()?).ok()).collect()
    }

    /// The SHA-256 of what makes this token the same as another, in hexadecimal: what it says, and who of all could have
    /// said it. Not of all its octets: anybody can negate the second half of an ECDSA signature and has another text that
    /// is as good, so only the first half of such a signature counts.
    #[must_use]
    pub fn identity(&self) -> String {
        let signature = match self.algorithm.ecdsa_width() {
            Some(width) => self.signature.get(..width).unwrap_or(&self.signature),
            None => &self.signature,
        };
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.signing_input.as_bytes());
        context.update(b".");
        context.update(signature);
        context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// The payload as it is.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as a JSON object.
    ///
    /// # Errors
    /// When it is not one.
    pub fn claims(&self) -> Result<Map<String, Value>, JwsError> {
        serde_json::from_slice(&self.payload).map_err(JwsError::Payload)
    }

    /// Checks the signature against the DER of a SubjectPublicKeyInfo. The algorithm must be one for that kind of key.
    ///
    /// # Errors
    /// When the key is not supported, the algorithm does not fit it, or the signature is not valid.
    pub fn verify(&self, spki: &[u8]) -> Result<(), JwsError> {
        let kind = signer::public_key_kind(spki).ok_or(JwsError::Signature(VerifyError::UnsupportedKey))?;
        if !self.algorithm.fits(kind) {
            return Err(JwsError::AlgorithmDoesNotFit { algorithm: self.algorithm.name(), key: kind });
        }
        let converted;
        let signature = match self.algorithm.ecdsa_width() {
            Some(width) => {
                converted = bytes::fixed_to_der(&self.signature, width)
                    .ok_or(JwsError::Signature(VerifyError::BadSignature))?;
                &converted
            }
            None => &self.signature,
        };
        signer::verify(spki, self.algorithm.scheme(), self.signing_input.as_bytes(), signature)
            .map_err(JwsError::Signature)
    }
}

/// Makes a compact token: `alg` is set to the key's default and stands first, the other header fields are the caller's.
///
/// # Errors
/// When the key does not sign.
pub fn sign(header: &Map<String, Value>, payload: &[u8], signer: &dyn Signer) -> Result<String, JwsError> {
    sign_with(Algorithm::default_for(signer.kind()), header, payload, signer)
}

/// As [`sign`], with an algorithm of the caller's choice.
///
/// # Errors
/// When the algorithm does not fit the key, or the key does not sign.
pub fn sign_with(
    algorithm: Algorithm,
    header: &Map<String, Value>,
    payload: &[u8],
    signer: &dyn Signer,
) -> Result<String, JwsError> {
    if !algorithm.fits(signer.kind()) {
        return Err(JwsError::AlgorithmDoesNotFit { algorithm: algorithm.name(), key: signer.kind() });
    }
    let mut full = Map::new();
    full.insert("alg".to_owned(), Value::from(algorithm.name()));
    full.extend(header.iter().filter(|(name, _)| *name != "alg").map(|(name, value)| (name.clone(), value.clone())));
    let header = serde_json::to_vec(&full).map_err(JwsError::Header)?;
    let signing_input = format!("{}.{}", bytes::encode(&header), bytes::encode(payload));
    let mut signature = signer.sign(algorithm.scheme(), signing_input.as_bytes()).map_err(JwsError::Sign)?;
    if let Some(width) = algorithm.ecdsa_width() {
        signature = bytes::der_to_fixed(&signature, width).ok_or(JwsError::MalformedSignature)?;
    }
    Ok(format!("{signing_input}.{}", bytes::encode(&signature)))
}

const ALL: [Algorithm; 10] = [
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];
