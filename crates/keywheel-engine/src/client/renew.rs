//! A new certificate for the same key: checked, certified, published.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::hook::HookOptions;
use zeroize::Zeroizing;

use super::access::Certifier;
use super::error::ClientError;
use super::rekey::RekeyOutcome;

/// What is asked for.
#[derive(Clone)]
pub struct RenewOptions {
    /// The certificate to replace.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Where the new certificate goes, if not in place of the old one.
    pub out: Option<PathBuf>,
    /// Opens the key.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Do nothing while the certificate is valid for longer than this (and a jitter).
    pub expires_in: Option<SignedDuration>,
    /// Who certifies.
    pub certifier: Certifier,
    /// Whether the old certificate authenticates the connection; if not, a token does.
    pub mtls: bool,
    /// What happens afterwards.
    pub hook: HookOptions,
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct RenewPlan {
    overwrites: Vec<PathBuf>,
}

impl RenewPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        todo!()
    }

    /// Asks, replaces, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        todo!()
    }
}

/// Checks everything that can be known beforehand.
pub async fn check(options: &RenewOptions, now: Timestamp) -> Result<RenewPlan, ClientError> {
    let _ = (options, now);
    todo!()
}
