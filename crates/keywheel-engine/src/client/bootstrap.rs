//! The first contact with an authority: its root is fetched, compared with a fingerprint and kept.

use std::path::PathBuf;

use super::error::ClientError;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Where the authority is.
    pub url: String,
    /// The SHA-256 of its root certificate, in hexadecimal.
    pub fingerprint: String,
    /// Where the root goes (`certs/root_ca.crt`).
    pub root: PathBuf,
    /// Where the defaults go (`config/defaults.json`).
    pub defaults: PathBuf,
}

/// Everything that could be known beforehand was checked, the root was fetched; nothing was changed yet.
#[derive(Debug)]
pub struct BootstrapPlan {
    overwrites: Vec<PathBuf>,
}

impl BootstrapPlan {
    /// The files that exist with another content and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Writes the root and the defaults; other settings that the defaults hold stay.
    pub async fn run(self) -> Result<(), ClientError> {
        todo!()
    }
}

/// Fetches the root without any trust and compares it with the fingerprint.
pub async fn check(options: &BootstrapOptions) -> Result<BootstrapPlan, ClientError> {
    let _ = options;
    todo!()
}
