//! A first certificate: a new key, a request and a token, the new files in place together.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::access::Certifier;
use super::error::ClientError;
use super::key_choice::KeyChoice;
use super::rekey::CertificateSummary;
use super::token::Provisioning;

/// What is asked for.
#[derive(Clone)]
pub struct CertificateOptions {
    /// The common name.
    pub subject: String,
    /// The other names; the subject if there are none.
    pub sans: Vec<String>,
    /// Where the certificate goes.
    pub certificate: PathBuf,
    /// Where the key goes.
    pub key: PathBuf,
    /// The kind of key to generate.
    pub key_choice: KeyChoice,
    /// Encrypts the new key.
    pub key_password: Option<Zeroizing<Vec<u8>>>,
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

/// What lets the authority sign.
#[derive(Clone)]
pub enum Authorization {
    /// A token that somebody else made.
    Token(String),
    /// A provisioner whose key makes one.
    Provisioner(Provisioning),
}

/// What was done.
#[derive(Debug, Clone)]
pub struct CertificateReport {
    /// Where the certificate is.
    pub certificate: PathBuf,
    /// Where the key is, where one was written.
    pub key: Option<PathBuf>,
    /// The certificate.
    pub new: CertificateSummary,
    /// The authority.
    pub authority: String,
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct CertificatePlan {
    overwrites: Vec<PathBuf>,
}

impl CertificatePlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Mints, asks, writes.
    pub async fn run(self) -> Result<CertificateReport, ClientError> {
        todo!()
    }
}

/// Checks everything that can be known beforehand, the provisioner's password included.
pub async fn check(options: &CertificateOptions) -> Result<CertificatePlan, ClientError> {
    let _ = options;
    todo!()
}
