//! A new certificate for the same key: checked, certified, published.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::schedule::{self, Gate};
use keywheel_reach::files::combined;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::files::pair::{Intent, Pair, PairError, Pending, Recovered};
use keywheel_reach::hook::Hook;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use zeroize::Zeroizing;

use super::access::Certifier;
use super::afterwards::{Afterwards, InPlace};
use super::ask::{self, Asker};
use super::error::ClientError;
use super::load::{self, LoadedKey};
use super::place;
use super::rekey::{self, CertificateSummary, RekeyOutcome, RekeyReport};

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
    /// How the pair is to lie on disk; as it lies now, or flat, if nothing is said.
    pub layout: Option<Layout>,
    /// What happens afterwards.
    pub afterwards: Afterwards,
}

/// Everything that could be known beforehand was checked; nothing was changed yet, and nothing is held.
pub struct RenewPlan {
    options: RenewOptions,
    old: CertificateSummary,
    overwrites: Vec<PathBuf>,
    not_yet: Option<SignedDuration>,
    resumes: bool,
    hook_due: bool,
}

/// The same with the certificate's place and its key taken: nobody else replaces them until this is dropped.
struct Held {
    options: RenewOptions,
    pair: Pair,
    hook: Hook,
    chain: Vec<Certificate>,
    key: LoadedKey,
    not_yet: Option<SignedDuration>,
    /// The new certificate of an earlier run was taken back; it is tried again.
    again: Option<Box<Pending>>,
    /// The new key of an earlier rekey was taken back.
    was_rekeyed: bool,
    hook_due: bool,
    overwrites: Vec<PathBuf>,
    notes: Vec<String>,
}

/// Finishes or undoes what an earlier run left, then checks everything that can be known beforehand.
pub async fn check(options: &RenewOptions, now: Timestamp) -> Result<RenewPlan, ClientError> {
    let held = take(options, now)?;
    Ok(RenewPlan {
        old: load::summary(load::leaf(&held.chain)?),
        options: held.options,
        overwrites: held.overwrites,
        not_yet: held.not_yet,
        resumes: held.hook_due || held.again.is_some(),
        hook_due: held.hook_due,
    })
}

/// Checks and runs in one go, where nobody is asked in between.
pub(super) async fn run(options: &RenewOptions, now: Timestamp) -> Result<RekeyOutcome, ClientError> {
    take(options, now)?.run().await
}

fn take(options: &RenewOptions, now: Timestamp) -> Result<Held, ClientError> {
    let hook = Hook::check(&options.afterwards.hook).map_err(ClientError::HookRefused)?;
    let mut notes = Vec::new();
    let target = options.out.as_deref().unwrap_or(&options.certificate);
    // The pair may itself be half of what an earlier rekey was putting in place.
    if target != options.certificate {
        let source = place::open(&options.certificate, &options.key, options.layout)?;
        if matches!(place::recover(&source, &mut notes)?, Recovered::Finished { .. }) {
            place::close(&source)?;
        }
    }
    let pair = place::open(target, &options.key, options.layout)?;
    let recovered = place::recover(&pair, &mut notes)?;
    let password = options.password.as_ref().map(|password| password.as_slice());
    let (chain, key) = load::pair(&options.certificate, &options.key, password)?;
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let hook_due = matches!(recovered, Recovered::Finished { .. });
    let was_pending = matches!(recovered, Recovered::Pending(_));
    let was_rekeyed = matches!(&recovered, Recovered::RolledBack(pending) if !pending.intent().request_pem.is_empty());
    let again = match recovered {
        Recovered::RolledBack(pending) if is_renewal(&pending, &pair, &key, load::leaf(&chain)?, now) => {
            notes.push(place::TRIED_AGAIN.to_owned());
            Some(pending)
        }
        _ => None,
    };
    let not_yet = match schedule::gate(now, load::leaf(&chain)?.not_after(), options.expires_in, rekey::seed()?) {
        Gate::Due => None,
        Gate::NotYet { remaining } => Some(remaining).filter(|_| again.is_none()),
    };
    let mut overwrites = Vec::new();
    if not_yet.is_none() {
        // The key is not replaced: it may lie where it cannot be.
        pair.rehearse_certificate(ROOM_FOR_CHAIN).map_err(|error| place::refused(&pair, error))?;
        overwrites = place::existing([pair.certificate()]);
        place::check_conversion(&pair, options.layout)?;
    }
    if not_yet.is_none() || hook_due {
        let others = [Some(options.certificate.as_path()), Some(&options.key)];
        overwrites.extend(place::existing(&place::second_form(&options.afterwards, &pair, &others)?));
    }
    if not_yet.is_none() && was_pending {
        notes.push(place::note_of_kept_key(&pair));
    }
    if not_yet.is_none() && was_rekeyed {
        notes.push(place::note_of_pair_not_tried_again(&pair));
    }
    Ok(Held {
        options: options.clone(),
        pair,
        hook,
        chain,
        key,
        not_yet,
        again,
        was_rekeyed,
        hook_due,
        overwrites,
        notes,
    })
}

impl RenewPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        self.not_yet.filter(|_| !self.hook_due)
    }

    /// Whether an earlier run left something that this one goes on with.
    pub(super) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Asks, replaces, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        if let Some(remaining) = self.not_yet() {
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        // Nothing was held while a person thought about the questions. What was decided then is not decided again.
        let options = match self.not_yet {
            Some(_) => self.options.clone(),
            None => RenewOptions { expires_in: None, ..self.options.clone() },
        };
        let held = take(&options, Timestamp::now())?;
        let as_agreed = held.overwrites.iter().all(|file| self.overwrites.contains(file));
        if load::leaf(&held.chain)?.digest().to_string() != self.old.fingerprint || !as_agreed {
            return Err(ClientError::Changed { file: self.options.key });
        }
        held.run().await
    }
}

impl Held {
    async fn run(mut self) -> Result<RekeyOutcome, ClientError> {
        let old = load::summary(load::leaf(&self.chain)?);
        if let Some(remaining) = self.not_yet {
            // Nothing is to be replaced, but an earlier run was cut off before it told anybody of what it replaced.
            if self.hook_due {
                self.conclude(old.clone(), old).await?;
            }
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        place::convert(&mut self.pair, self.options.layout)?;
        let install = |error: PairError| ClientError::Install(error.into());
        if let Some(mut pending) = self.again.take() {
            self.pair.install(&mut pending).map_err(install)?;
            let chain = load::chain(self.pair.certificate().real())
                .map_err(|error| ClientError::Unread { told: false, source: error.into_cause() })?;
            let new = load::summary(load::leaf(&chain)?);
            return self.conclude(old, new).await;
        }
        let asker = Asker { chain: &self.chain, signer: self.key.signer.clone(), mtls: self.options.mtls };
        let answer = asker.renew(&self.options.certifier, Timestamp::now()).await;
        let chain = answer.map_err(|error| match error {
            ClientError::Unreachable(cause) => ClientError::NotRenewed(cause),
            // The authority has certified another key since.
            ClientError::Refused { message, status, .. } if self.was_rekeyed => ClientError::Refused {
                message,
                status,
                hint: Some(
                    "an earlier rekey brought this pair back, and its new one waits: 'ca rekey' puts it in place"
                        .into(),
                ),
            },
            other => other,
        })?;
        ask::check_chain(&chain, self.key.signer.public_key())?;
        // The key is in its place and stays there; the journal is for the hook, which a crash must not lose.
        let old_certificate = load::leaf(&self.chain)?.to_pem();
        let key_pem = match self.pair.layout() {
            Layout::Combined => combined::split(&self.key.text).0,
            Layout::Flat | Layout::Generations => self.key.text.clone(),
        };
        let intent = Intent { key_pem, request_pem: Vec::new(), old_certificate };
        let mut pending = self.pair.begin(intent).map_err(|error| place::refused(&self.pair, error))?;
        self.pair.issued(&mut pending, &chain_to_pem(&chain)).map_err(install)?;
        self.pair.install(&mut pending).map_err(install)?;
        let new = load::summary(load::leaf(&chain)?);
        self.conclude(old, new).await
    }

    async fn conclude(&self, old: CertificateSummary, new: CertificateSummary) -> Result<RekeyOutcome, ClientError> {
        let in_place =
            InPlace { pair: &self.pair, report: self.report(old, new), password: self.password(), authority: None };
        self.options.afterwards.conclude(&self.hook, in_place).await
    }

    fn password(&self) -> Option<&[u8]> {
        self.options.password.as_ref().map(|password| password.as_slice())
    }

    fn report(&self, old: CertificateSummary, new: CertificateSummary) -> RekeyReport {
        RekeyReport {
            certificate: self.pair.certificate().named().to_owned(),
            key: self.options.key.clone(),
            key_written: false,
            old,
            new,
            resumed: false,
            warnings: self.notes.clone(),
        }
    }
}

/// Whether what was taken back is a certificate for this key, in place of this certificate, and still good.
fn is_renewal(pending: &Pending, pair: &Pair, key: &LoadedKey, old: &Certificate, now: Timestamp) -> bool {
    let Some(leaf) = pending.chain().and_then(|chain| Certificate::from_pem(chain.as_bytes()).ok()) else {
        return false;
    };
    pending.is_for(pair)
        && pending.intent().old_certificate == old.to_pem()
        && leaf.spki() == key.signer.public_key()
        && leaf.not_after() > now
}
