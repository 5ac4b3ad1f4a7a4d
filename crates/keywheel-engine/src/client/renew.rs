//! A new certificate for the same key: checked, certified, published.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::schedule::{self, Gate};
use keywheel_reach::files::pair::Pair;
use keywheel_reach::files::write::Target;
use keywheel_reach::hook::{Hook, HookOptions};
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use zeroize::Zeroizing;

use super::access::Certifier;
use super::ask::{self, Asker};
use super::error::ClientError;
use super::load::{self, LoadedKey};
use super::place;
use super::rekey::{self, RekeyOutcome, RekeyReport};

/// Room for a chain.
const ROOM_FOR_CHAIN: usize = 32 * 1024;

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
    options: RenewOptions,
    // Held so that nobody replaces the key while its certificate is renewed.
    pair: Pair,
    target: Target,
    hook: Hook,
    chain: Vec<Certificate>,
    key: LoadedKey,
    not_yet: Option<SignedDuration>,
    overwrites: Vec<PathBuf>,
    notes: Vec<String>,
}

/// Finishes or undoes what an earlier rekey left, then checks everything that can be known beforehand.
pub async fn check(options: &RenewOptions, now: Timestamp) -> Result<RenewPlan, ClientError> {
    let hook = Hook::check(&options.hook).map_err(ClientError::HookRefused)?;
    let mut notes = Vec::new();
    let pair = place::open(&options.certificate, &options.key)?;
    place::recover(&pair, &mut notes)?;
    let password = options.password.as_ref().map(|password| password.as_slice());
    let (chain, key) = load::pair(&options.certificate, &options.key, password)?;
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let target = place::target(options.out.as_deref().unwrap_or(&options.certificate), ROOM_FOR_CHAIN)?;
    if target.real() == pair.key().real() {
        return Err(ClientError::Usage(format!(
            "the certificate would be written over the key {}",
            options.key.display()
        )));
    }
    let not_yet = match schedule::gate(now, load::leaf(&chain)?.not_after(), options.expires_in, rekey::seed()?) {
        Gate::Due => None,
        Gate::NotYet { remaining } => Some(remaining),
    };
    let overwrites = if not_yet.is_some() { Vec::new() } else { place::existing([&target]) };
    Ok(RenewPlan { options: options.clone(), pair, target, hook, chain, key, not_yet, overwrites, notes })
}

impl RenewPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        self.not_yet
    }

    /// Asks, replaces, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        if let Some(remaining) = self.not_yet {
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        let asker = Asker { chain: &self.chain, signer: self.key.signer.clone(), mtls: self.options.mtls };
        let chain = asker.renew(&self.options.certifier, Timestamp::now()).await?;
        ask::check_chain(&chain, self.key.signer.public_key())?;
        let text = chain_to_pem(&chain);
        self.target.replace(text.as_bytes()).map_err(|error| ClientError::Install(error.into()))?;
        let report = RekeyReport {
            certificate: self.target.named().to_owned(),
            key: self.options.key.clone(),
            key_written: false,
            old: load::summary(load::leaf(&self.chain)?),
            new: load::summary(load::leaf(&chain)?),
            resumed: false,
            warnings: self.notes,
        };
        // The hook may start another run for the same pair.
        drop(self.pair);
        rekey::run_hook(&self.hook, report).await
    }
}
