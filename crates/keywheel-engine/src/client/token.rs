//! One-time tokens: made with the key of a provisioner, or with a certificate and its key.

use std::path::PathBuf;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::access::Certifier;
use super::error::ClientError;

/// Which provisioner, and what opens its key.
#[derive(Clone, Default)]
pub struct Provisioning {
    /// Its name; may be left out where there is one only.
    pub name: Option<String>,
    /// The id of its key, where the name alone is not enough.
    pub kid: Option<String>,
    /// Opens its encrypted key.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Its private key in a file (JWK or PEM), instead of the encrypted one that the authority keeps.
    pub key: Option<PathBuf>,
    /// The certificate of an X5C provisioner's user, with `x5c_key`.
    pub x5c_certificate: Option<PathBuf>,
    /// Its key.
    pub x5c_key: Option<PathBuf>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A certificate for a request.
    Sign,
    /// The end of a certificate.
    Revoke,
    /// A certificate for the same key, behind a proxy that ends TLS; made with `x5c_certificate` and `x5c_key`.
    Renew,
    /// A certificate for another key, behind a proxy that ends TLS; made with `x5c_certificate` and `x5c_key`.
    Rekey,
}

/// What is asked for.
#[derive(Clone)]
pub struct TokenOptions {
    /// What for.
    pub purpose: Purpose,
    /// The common name of the certificate, or the serial number to revoke.
    pub subject: String,
    /// The other names; the subject if there are none.
    pub sans: Vec<String>,
    /// Who makes it.
    pub provisioning: Provisioning,
    /// When it starts to be good: RFC 3339, a Go duration, or empty.
    pub not_before: String,
    /// When it stops: RFC 3339, a Go duration, or empty (five minutes).
    pub not_after: String,
    /// Binds it to this request or key file.
    pub bind_to: Option<PathBuf>,
    /// Binds it to this fingerprint (base64url of a SHA-256).
    pub confirm: Option<String>,
    /// User data for templates, from `--set`.
    pub user_data: serde_json::Map<String, serde_json::Value>,
    /// The authority that it is addressed to.
    pub certifier: Certifier,
}

/// Makes a token.
pub async fn make(options: &TokenOptions, now: Timestamp) -> Result<String, ClientError> {
    let _ = (options, now);
    todo!()
}
