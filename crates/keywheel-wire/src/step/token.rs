//! The tokens of the step API: one-time tokens of JWK and X5C provisioners, and the tokens that carry their own certificate.

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use jiff::{SignedDuration, Timestamp};
use keywheel_core::token::TokenClaims;
use serde_json::{Map, Value};

use crate::jose::jwk::PublicJwk;
use crate::jose::jws::{self, Jws, JwsError};
use crate::signer::Signer;

/// How long a token that we make is valid.
pub const LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// The issuer that clients of the reference write into tokens that carry their own certificate.
pub const CLIENT_ISSUER: &str = "step-ca-client/1.0";

/// What goes into a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// `aud`: the URL of the route, such as `https://ca.example.com/1.0/sign`.
    pub audience: String,
    /// `iss`: the provisioner's name, or [`CLIENT_ISSUER`].
    pub issuer: String,
    /// `sub`: the common name, or the serial number to revoke.
    pub subject: String,
    /// `sans`: the names to certify; none for all but sign tokens.
    pub sans: Option<Vec<String>>,
    /// `sha`: the fingerprint of the root, so that the holder can bootstrap.
    pub root_fingerprint: Option<String>,
    /// `jti`: makes the token one of its kind; chance, in hexadecimal.
    pub id: Option<String>,
    /// When the token is made.
    pub issued_at: Timestamp,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// `cnf`: binds the token to one request; see [`confirmation`].
    pub confirmation: Option<String>,
    /// `user`: data for the template.
    pub user: Option<Value>,
    /// Further claims, such as `step`.
    pub other: Map<String, Value>,
}

/// A token's claims, typed; nothing of it is to be believed before the signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// What core judges: issuer, subject, audience and times.
    pub registered: TokenClaims,
    /// `jti`.
    pub id: Option<String>,
    /// `sans`; `None` where the claim is absent.
    pub sans: Option<Vec<String>>,
    /// `sha`.
    pub root_fingerprint: Option<String>,
    /// `cnf`'s `x5rt#S256`.
    pub confirmation: Option<String>,
    /// All claims, for templates.
    pub all: Map<String, Value>,
}

/// Why claims were not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// Not a JSON object.
    #[error("the token's claims cannot be read")]
    Payload(#[source] JwsError),
    /// A claim of another form.
    #[error("the token's claim '{0}' is malformed")]
    Claim(&'static str),
}

impl Contents {
    /// The claims that every token has; the rest is empty, to be filled in by the caller.
    #[must_use]
    pub fn new(audience: &str, issuer: &str, subject: &str, now: Timestamp) -> Self {
        Self {
            audience: audience.to_owned(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            sans: None,
            root_fingerprint: None,
            id: None,
            issued_at: now,
            not_before: now,
            expires_at: now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX),
            confirmation: None,
            user: None,
            other: Map::new(),
        }
    }

    fn to_payload(&self) -> Vec<u8> {
        let mut claims = self.other.clone();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("aud", Value::from(self.audience.as_str()));
        put("exp", Value::from(self.expires_at.as_second()));
        put("iat", Value::from(self.issued_at.as_second()));
        put("iss", Value::from(self.issuer.as_str()));
        if let Some(id) = &self.id {
            put("jti", Value::from(id.as_str()));
        }
        put("nbf", Value::from(self.not_before.as_second()));
        if let Some(sans) = &self.sans {
            put("sans", Value::from(sans.clone()));
        }
        if let Some(fingerprint) = &self.root_fingerprint {
            put("sha", Value::from(fingerprint.as_str()));
        }
        put("sub", Value::from(self.subject.as_str()));
        if let Some(confirmation) = &self.confirmation {
            let mut cnf = Map::new();
            cnf.insert("x5rt#S256".to_owned(), Value::from(confirmation.as_str()));
            put("cnf", Value::Object(cnf));
        }
        if let Some(user) = &self.user {
            put("user", user.clone());
        }
        Value::Object(claims).to_string().into_bytes()
    }
}

/// Makes a one-time token of a JWK provisioner; `key_id` is the `kid` of the provisioner's key.
///
/// # Errors
/// When the key does not sign.
pub fn sign_with_jwk(contents: &Contents, key_id: &str, signer: &dyn Signer) -> Result<String, JwsError> {
    jws::sign(&header(key_id, None), &contents.to_payload(), signer)
}

/// Makes a token that carries a chain of DER certificates, leaf first, and is signed by the leaf's key.
///
/// `header_name` is `x5c` for an X5C provisioner's one-time token and `x5cInsecure` for renewal and rekey.
///
/// # Errors
/// When the key does not sign.
pub fn sign_with_chain(
    contents: &Contents,
    header_name: &str,
    chain: &[Vec<u8>],
    signer: &dyn Signer,
) -> Result<String, JwsError> {
    let chain = chain.iter().map(|der| Value::from(Base64::encode_string(der))).collect();
    let key_id = PublicJwk::from_spki(signer.public_key()).map(|jwk| jwk.thumbprint()).unwrap_or_default();
    jws::sign(&header(&key_id, Some((header_name, Value::Array(chain)))), &contents.to_payload(), signer)
}

impl Claims {
    /// Reads the claims of a token.
    ///
    /// # Errors
    /// When they are not a JSON object, or a claim that is known has another form.
    pub fn read(token: &Jws) -> Result<Self, ClaimsError> {
        let all = token.claims().map_err(ClaimsError::Payload)?;
        let claims = Object(&all);
        let registered = TokenClaims {
            issuer: claims.text("iss")?.unwrap_or_default(),
            subject: claims.text("sub")?.unwrap_or_default(),
            audience: claims.texts("aud", true)?.unwrap_or_default(),
            issued_at: claims.time("iat")?,
            not_before: claims.time("nbf")?,
            expires_at: claims.time("exp")?,
        };
        let confirmation = match present(&all, "cnf") {
            None => None,
            Some(Value::Object(cnf)) => Object(cnf).text("x5rt#S256").map_err(|_| ClaimsError::Claim("cnf"))?,
            Some(_) => return Err(ClaimsError::Claim("cnf")),
        };
        Ok(Self {
            registered,
            id: claims.text("jti")?.filter(|id| !id.is_empty()),
            sans: claims.texts("sans", false)?,
            root_fingerprint: claims.text("sha")?,
            confirmation,
            all,
        })
    }

    /// Whether the token is bound to this DER (a request, or an SSH public key), or to none at all.
    #[must_use]
    pub fn confirms(&self, der: &[u8]) -> bool {
        self.confirmation.as_ref().is_none_or(|bound| {
            aws_lc_rs::constant_time::verify_slices_are_equal(bound.as_bytes(), confirmation(der).as_bytes()).is_ok()
        })
    }
}

/// The SHA-256 of a text in hexadecimal: what the store remembers of the identifier of a token, which may be of any length.
#[must_use]
pub fn token_hash(text: &str) -> String {
    use std::fmt::Write;
    let mut hash = String::with_capacity(64);
    for octet in digest::digest(&digest::SHA256, text.as_bytes()).as_ref() {
        // Writing to a String does not fail.
        let _ = write!(hash, "{octet:02x}");
    }
    hash
}

/// The value that binds a token to a request: base64url of the SHA-256 of its DER.
#[must_use]
pub fn confirmation(der: &[u8]) -> String {
    base64ct::Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, der).as_ref())
}

fn header(key_id: &str, extra: Option<(&str, Value)>) -> Map<String, Value> {
    let mut header = Map::new();
    header.insert("kid".to_owned(), Value::from(key_id));
    header.insert("typ".to_owned(), Value::from("JWT"));
    if let Some((name, value)) = extra {
        header.insert(name.to_owned(), value);
    }
    header
}

/// The claims, read one by one.
struct Object<'a>(&'a Map<String, Value>);

impl Object<'_> {
    fn text(&self, name: &'static str) -> Result<Option<String>, ClaimsError> {
        match present(self.0, name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ClaimsError::Claim(name)),
        }
    }

    fn texts(&self, name: &'static str, one_alone: bool) -> Result<Option<Vec<String>>, ClaimsError> {
        match present(self.0, name) {
            None => Ok(None),
            Some(Value::String(text)) if one_alone => Ok(Some(vec![text.clone()])),
            Some(Value::Array(entries)) => entries
                .iter()
                .map(|entry| entry.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Some)
                .ok_or(ClaimsError::Claim(name)),
            Some(_) => Err(ClaimsError::Claim(name)),
        }
    }

    /// A NumericDate: whole seconds, or a number with a fraction, which is dropped.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, ClaimsError> {
        let wrong = || ClaimsError::Claim(name);
        let Some(value) = present(self.0, name) else { return Ok(None) };
        let seconds = match value.as_i64() {
            Some(seconds) => seconds,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the range is checked first and the fraction is to be dropped"
            )]
            None => value.as_f64().filter(|number| number.abs() < 1e12).ok_or_else(wrong)?.floor() as i64,
        };
        Timestamp::from_second(seconds).map(Some).map_err(|_| wrong())
    }
}

fn present<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests;
