//! The end of a certificate before its time.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::access::Certifier;
use super::certificate::Authorization;
use super::error::ClientError;

/// What is asked for.
#[derive(Clone)]
pub struct RevokeOptions {
    /// Which certificate, and what authorises its end.
    pub target: RevokeTarget,
    /// The reason code of RFC 5280.
    pub reason_code: u8,
    /// The reason in words.
    pub reason: String,
    /// Who revokes.
    pub certifier: Certifier,
}

/// Which certificate.
#[derive(Clone)]
pub enum RevokeTarget {
    /// Any, by its serial number (decimal or 0x-hexadecimal).
    Serial {
        /// The number.
        serial: String,
        /// A token, or who makes one.
        authorization: Authorization,
    },
    /// One that revokes itself.
    Itself {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Opens the key.
        password: Option<Zeroizing<Vec<u8>>>,
    },
}

/// Revokes; the answer is the serial number, decimal.
pub async fn revoke(options: &RevokeOptions) -> Result<String, ClientError> {
    let _ = options;
    todo!()
}
