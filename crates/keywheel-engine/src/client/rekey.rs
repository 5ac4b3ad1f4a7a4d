//! A new key and its certificate in place of the old ones: checked, minted, certified, published, proved.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::hook::HookOptions;
use zeroize::Zeroizing;

use super::access::Certifier;
use super::error::ClientError;
use super::key_choice::KeyChoice;

/// What is asked for.
#[derive(Clone)]
pub struct RekeyOptions {
    /// The certificate to replace.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Where the new certificate goes, if not in place of the old one.
    pub out_certificate: Option<PathBuf>,
    /// Where the new key goes, if not in place of the old one.
    pub out_key: Option<PathBuf>,
    /// The new key, if it is not to be generated.
    pub private_key: Option<PathBuf>,
    /// The kind of key to generate.
    pub key_choice: KeyChoice,
    /// Opens the keys, and encrypts the new one where the old one was encrypted.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Do nothing while the certificate is valid for longer than this (and a jitter).
    pub expires_in: Option<SignedDuration>,
    /// Who certifies.
    pub certifier: Certifier,
    /// Whether the old certificate authenticates the connection; if not, a token does (for proxies that end TLS).
    pub mtls: bool,
    /// What happens afterwards.
    pub hook: HookOptions,
    /// Shakes hands with the authority afterwards, with the new pair.
    pub prove: bool,
}

/// What a certificate is, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The common name, or the first other name.
    pub subject: String,
    /// The serial number, decimal.
    pub serial: String,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// The SHA-256 of its public key, in hexadecimal.
    pub key_fingerprint: String,
    /// The kind of its key, such as "EC P-256".
    pub key_kind: String,
    /// The start of its validity.
    pub not_before: Timestamp,
    /// The end of its validity.
    pub not_after: Timestamp,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct RekeyReport {
    /// Where the certificate is now.
    pub certificate: PathBuf,
    /// Where the key is now (unchanged by a renewal).
    pub key: PathBuf,
    /// Whether the key was written.
    pub key_written: bool,
    /// The certificate that was replaced.
    pub old: CertificateSummary,
    /// The certificate in its place.
    pub new: CertificateSummary,
    /// Whether a request that an earlier run had begun was gone on with.
    pub resumed: bool,
    /// What went wrong without harm, in sentences.
    pub warnings: Vec<String>,
}

/// How it ended.
#[derive(Debug)]
pub enum RekeyOutcome {
    /// The certificate is valid for longer than `expires_in`; nothing was done.
    NotYet {
        /// For how long.
        remaining: SignedDuration,
    },
    /// Done.
    Done(Box<RekeyReport>),
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct RekeyPlan {
    overwrites: Vec<PathBuf>,
}

impl RekeyPlan {
    /// The files that exist and will be replaced: the binary asks about each, unless forced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Where the certificate goes.
    pub fn certificate_target(&self) -> &Path {
        todo!()
    }

    /// Where the key goes.
    pub fn key_target(&self) -> &Path {
        todo!()
    }

    /// The certificate that will be replaced.
    pub fn old(&self) -> &CertificateSummary {
        todo!()
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        todo!()
    }

    /// Whether an earlier run left a request that this one goes on with.
    pub fn resumes(&self) -> bool {
        todo!()
    }

    /// Mints, asks, replaces, proves, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        todo!()
    }
}

/// Finishes or undoes what an earlier run left, then checks everything that can be known beforehand.
pub async fn check(options: &RekeyOptions, now: Timestamp) -> Result<RekeyPlan, ClientError> {
    let _ = (options, now);
    todo!()
}
