//! The claims of one-time tokens: who issued them, for what, and when; the signature is judged by whoever parsed it.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

/// How far two clocks may be apart.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The registered claims of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenClaims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`, one or several.
    pub audience: Vec<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
}

/// What a token must satisfy.
#[derive(Clone, Debug)]
pub struct TokenRules<'a> {
    /// The moment of the check.
    pub now: Timestamp,
    /// The issuer that must be named; none where any may be.
    pub issuer: Option<&'a str>,
    /// The audiences of which one must be named; see [`audiences`].
    pub audiences: &'a [String],
    /// The longest time from `iat` (or `nbf`) to `exp`; none where any is accepted.
    pub max_lifetime: Option<SignedDuration>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `/sign` and, as the reference has it, `/ssh/sign`.
    Sign,
    /// `/renew`.
    Renew,
    /// `/rekey`.
    Rekey,
    /// `/revoke`.
    Revoke,
    /// `/ssh/sign`.
    SshSign,
    /// `/ssh/renew`.
    SshRenew,
    /// `/ssh/rekey`.
    SshRekey,
    /// `/ssh/revoke`.
    SshRevoke,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Another issuer.
    #[error("the token was issued by {issuer:?}, not by its provisioner")]
    Issuer {
        /// The issuer that the token names.
        issuer: String,
    },
    /// Another audience.
    #[error("the token is for {audience:?}, not for this request to this CA")]
    Audience {
        /// The audiences that the token names.
        audience: Vec<String>,
    },
    /// An empty subject.
    #[error("the token has no subject")]
    NoSubject,
    /// No end.
    #[error("the token has no expiry")]
    NoExpiry,
    /// Over.
    #[error("the token expired at {expires_at}")]
    Expired {
        /// When.
        expires_at: Timestamp,
    },
    /// Not begun.
    #[error("the token is not valid before {not_before}")]
    NotYetValid {
        /// When it starts.
        not_before: Timestamp,
    },
    /// Issued in the future.
    #[error("the token says it was issued at {issued_at}, which is in the future")]
    IssuedInFuture {
        /// When.
        issued_at: Timestamp,
    },
    /// Valid for too long.
    #[error("the token is valid for longer than a one-time token may be")]
    LivesTooLong,
}

/// The audiences that are accepted for a purpose: every route under every DNS name of the CA, with the fragment that
/// names the provisioner where there is one (such as `x5c/name`).
pub fn audiences(_dns_names: &[String], _purpose: Purpose, _fragment: Option<&str>) -> Vec<String> {
    todo!()
}

/// Whether two audience URLs are the same; the port and the case of scheme and host do not count.
pub fn same_audience(_a: &str, _b: &str) -> bool {
    todo!()
}

/// Judges the claims; gives the moment after which the token is certainly refused, up to which its use must be
/// remembered.
pub fn check(_claims: &TokenClaims, _rules: &TokenRules<'_>) -> Result<Timestamp, TokenRefusal> {
    todo!()
}
