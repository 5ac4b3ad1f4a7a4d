//! A certificate for a request that somebody else made.

use std::path::PathBuf;

use super::access::Certifier;
use super::certificate::{Authorization, CertificateReport};
use super::error::ClientError;

/// What is asked for.
#[derive(Clone)]
pub struct SignOptions {
    /// The request, PEM or DER.
    pub request: PathBuf,
    /// Where the certificate goes.
    pub certificate: PathBuf,
    /// A token, or who makes one.
    pub authorization: Authorization,
    /// RFC 3339, a Go duration, or empty.
    pub not_before: String,
    /// RFC 3339, a Go duration, or empty.
    pub not_after: String,
    /// Data for the template, from `--set`.
    pub template_data: serde_json::Map<String, serde_json::Value>,
    /// Who certifies.
    pub certifier: Certifier,
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct SignPlan {
    overwrites: Vec<PathBuf>,
}

impl SignPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Asks and writes.
    pub async fn run(self) -> Result<CertificateReport, ClientError> {
        todo!()
    }
}

/// Checks everything that can be known beforehand.
pub async fn check(options: &SignOptions) -> Result<SignPlan, ClientError> {
    let _ = options;
    todo!()
}
