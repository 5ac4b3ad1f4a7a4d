//! A new key and its certificate in place of the old ones: checked, minted, certified, published, proved.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::schedule::{self, Gate};
use keywheel_reach::files::combined;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::files::pair::{Intent, Pair, PairError, Pending, Recovered};
use keywheel_reach::hook::Hook;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use keywheel_wire::x509::request::{self, Request as SigningRequest};
use zeroize::Zeroizing;

use super::access::Certifier;
use super::afterwards::{Afterwards, InPlace};
use super::ask::{self, Asker};
use super::error::ClientError;
use super::key_choice::KeyChoice;
use super::load::{self, LoadedKey};
use super::place;

/// Room for a chain and for a key of any kind; both are rehearsed before the authority is asked.
const ROOM_FOR_CHAIN: usize = 32 * 1024;
const ROOM_FOR_KEY: usize = 16 * 1024;

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
    /// How the pair is to lie on disk; as it lies now, or flat, if nothing is said. One file for both must be said where
    /// the certificate and the key have one name.
    pub layout: Option<Layout>,
    /// What happens afterwards.
    pub afterwards: Afterwards,
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

/// Everything that could be known beforehand was checked; nothing was changed yet, and nothing is held.
pub struct RekeyPlan {
    options: RekeyOptions,
    certificate_target: PathBuf,
    key_target: PathBuf,
    old: CertificateSummary,
    overwrites: Vec<PathBuf>,
    not_yet: Option<SignedDuration>,
    resumes: bool,
    hook_due: bool,
}

/// The same with the pair taken: nobody else replaces it until this is dropped.
struct Held {
    options: RekeyOptions,
    pair: Pair,
    hook: Hook,
    chain: Vec<Certificate>,
    key: LoadedKey,
    given: Option<LoadedKey>,
    kind: KeyKind,
    start: Start,
    old: CertificateSummary,
    overwrites: Vec<PathBuf>,
    hook_due: bool,
    notes: Vec<String>,
}

/// Where the run starts.
enum Start {
    /// There is nothing to do yet.
    NotYet(SignedDuration),
    /// An earlier run was cut off after the answer; its pair is in place now.
    Finished,
    /// An earlier run was cut off before the answer.
    Resume(Box<Request>),
    /// The new pair of an earlier run was taken back; it is tried again.
    Again(Box<Request>),
    /// From the beginning.
    Afresh,
}

/// A key and a request that are durable beside the key's file.
struct Request {
    pending: Pending,
    signer: Arc<FileKey>,
    der: Vec<u8>,
}

/// Finishes or undoes what an earlier run left, then checks everything that can be known beforehand.
pub async fn check(options: &RekeyOptions, now: Timestamp) -> Result<RekeyPlan, ClientError> {
    let held = take(options, now)?;
    Ok(RekeyPlan {
        options: held.options,
        certificate_target: held.pair.certificate().named().to_owned(),
        key_target: held.pair.key().named().to_owned(),
        not_yet: if let Start::NotYet(remaining) = held.start { Some(remaining) } else { None },
        resumes: matches!(held.start, Start::Resume(_) | Start::Again(_) | Start::Finished),
        hook_due: held.hook_due,
        old: held.old,
        overwrites: held.overwrites,
    })
}

/// Checks and runs in one go, where nobody is asked in between.
pub(super) async fn run(options: &RekeyOptions, now: Timestamp) -> Result<RekeyOutcome, ClientError> {
    take(options, now)?.run().await
}

fn take(options: &RekeyOptions, now: Timestamp) -> Result<Held, ClientError> {
    let kind = options.key_choice.kind()?;
    let hook = Hook::check(&options.afterwards.hook).map_err(ClientError::HookRefused)?;
    let certificate_target = options.out_certificate.as_deref().unwrap_or(&options.certificate);
    let key_target = options.out_key.as_deref().unwrap_or(&options.key);
    let mut notes = Vec::new();

    // The old pair may itself be half of what an earlier run was putting in place.
    if (certificate_target, key_target) != (&options.certificate, &options.key) && options.certificate != options.key {
        let pair = place::open(&options.certificate, &options.key, options.layout)?;
        if matches!(place::recover(&pair, &mut notes)?, Recovered::Finished { .. }) {
            place::close(&pair)?;
        }
    }
    let pair = place::open(certificate_target, key_target, options.layout)?;
    let recovered = place::recover(&pair, &mut notes)?;

    let (chain, key) = load::pair(&options.certificate, &options.key, options.password.as_ref().map(|p| p.as_slice()))?;
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let given = match &options.private_key {
        Some(file) => Some(load::key("the new key", file, options.password.as_ref().map(|p| p.as_slice()))?),
        None => None,
    };
    let mut old = load::summary(load::leaf(&chain)?);
    let gate = gate(options, load::leaf(&chain)?, now)?;
    let hook_due = matches!(recovered, Recovered::Finished { .. });
    let start = match (recovered, gate) {
        (Recovered::Finished { old_certificate }, gate)
            if turned(&old_certificate, &pair)
                && (matches!(gate, Gate::NotYet { .. })
                    || load::content("the certificate", pair.certificate().real())
                        .is_ok_and(|chain| is_fresh(&chain, now))) =>
        {
            if let Ok(replaced) = Certificate::from_pem(old_certificate.as_bytes()) {
                old = load::summary(&replaced);
            }
            Start::Finished
        }
        (Recovered::RolledBack(pending), gate) => {
            let is_renewal = pending.intent().request_pem.is_empty();
            let still_good = pending.chain().is_some_and(|chain| is_fresh(chain.as_bytes(), now));
            let request = resume(options, &pair, *pending, load::leaf(&chain)?, given.as_ref(), kind);
            match (request.filter(|_| still_good), gate) {
                (Some(request), _) => {
                    notes.push(place::TRIED_AGAIN.to_owned());
                    Start::Again(Box::new(request))
                }
                (None, Gate::NotYet { remaining }) => Start::NotYet(remaining),
                (None, Gate::Due) => {
                    if !is_renewal {
                        notes.push(place::note_of_pair_not_tried_again(&pair));
                    }
                    Start::Afresh
                }
            }
        }
        // Whatever the gate says: the authority may have certified this key, and end the old certificate for it soon.
        (Recovered::Pending(pending), gate) => {
            match (resume(options, &pair, *pending, load::leaf(&chain)?, given.as_ref(), kind), gate) {
                (Some(request), _) => {
                    notes.push(
                        "went on with the key and the request of an earlier run that got no answer; an authority that \
                         keeps no memory of rekeys may have issued twice, the newest certificate is the one in place"
                            .to_owned(),
                    );
                    Start::Resume(Box::new(request))
                }
                (None, Gate::NotYet { remaining }) => Start::NotYet(remaining),
                (None, Gate::Due) => {
                    notes.push(place::note_of_kept_key(&pair));
                    Start::Afresh
                }
            }
        }
        (_, Gate::NotYet { remaining }) => Start::NotYet(remaining),
        (_, Gate::Due) => Start::Afresh,
    };
    let same_key = || given.as_ref().is_some_and(|given| given.signer.public_key() == key.signer.public_key());
    if !matches!(start, Start::Finished) && same_key() {
        return Err(ClientError::Usage(
            "flag '--private-key' names the key that the certificate already has: that would be no new key (use 'ca \
             renew' to keep it)"
                .to_owned(),
        ));
    }
    let mut to_write = Vec::new();
    if matches!(start, Start::Resume(_) | Start::Again(_) | Start::Afresh) {
        pair.rehearse(ROOM_FOR_CHAIN, ROOM_FOR_KEY).map_err(|error| place::refused(&pair, error))?;
        to_write = overwrites(&pair, options);
        place::check_conversion(&pair, options.layout)?;
    }
    if hook_due || !matches!(start, Start::NotYet(_)) {
        let others = [Some(options.certificate.as_path()), Some(&options.key), options.private_key.as_deref()];
        to_write.extend(place::existing(&place::second_form(&options.afterwards, &pair, &others)?));
    }
    if pair.key().exists() && pair.key().mode() & 0o004 != 0 {
        notes.push(format!(
            "every user of this machine can read the key {} (mode {:04o}, which was kept): 'chmod o-r' it",
            pair.key().named().display(),
            pair.key().mode()
        ));
    }
    let options = options.clone();
    Ok(Held { options, pair, hook, chain, key, given, kind, start, old, overwrites: to_write, hook_due, notes })
}

impl RekeyPlan {
    /// The files that exist and will be replaced: the binary asks about each, unless forced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Where the certificate goes.
    pub fn certificate_target(&self) -> &Path {
        &self.certificate_target
    }

    /// Where the key goes.
    pub fn key_target(&self) -> &Path {
        &self.key_target
    }

    /// The certificate that will be replaced.
    pub fn old(&self) -> &CertificateSummary {
        &self.old
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        self.not_yet.filter(|_| !self.hook_due)
    }

    /// Whether an earlier run left something that this one goes on with.
    pub fn resumes(&self) -> bool {
        self.resumes || self.hook_due
    }

    /// Mints, asks, replaces, proves, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        if let Some(remaining) = self.not_yet() {
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        // Nothing was held while a person thought about the questions. What was decided then is not decided again.
        let options = match self.not_yet {
            Some(_) => self.options.clone(),
            None => RekeyOptions { expires_in: None, ..self.options.clone() },
        };
        let held = take(&options, Timestamp::now())?;
        let as_agreed = held.overwrites.iter().all(|file| self.overwrites.contains(file));
        if held.old.fingerprint != self.old.fingerprint || !as_agreed {
            return Err(ClientError::Changed { file: self.key_target });
        }
        held.run().await
    }
}

impl Held {
    async fn run(mut self) -> Result<RekeyOutcome, ClientError> {
        if self.hook_due && matches!(self.start, Start::Afresh) {
            // What comes now may take long or fail; that the pair of the earlier run is in place is true already.
            let report = self.report(self.old.clone(), true);
            let told = Afterwards { rollback: false, ..self.options.afterwards.clone() };
            let in_place = InPlace { pair: &self.pair, report, password: self.password(), authority: None };
            if let Err(ClientError::NotTaken { source, .. }) = told.conclude(&self.hook, in_place).await {
                self.notes.push(format!("of the earlier run {}: {}", source.what(), place::with_causes(&source)));
            }
        }
        if matches!(self.start, Start::Resume(_) | Start::Again(_) | Start::Afresh) {
            place::convert(&mut self.pair, self.options.layout)?;
        }
        let (request, resumed) = match std::mem::replace(&mut self.start, Start::Afresh) {
            Start::NotYet(remaining) => return self.tell_late(remaining).await,
            Start::Finished => (None, true),
            Start::Resume(request) => (Some(*request), true),
            Start::Again(mut request) => {
                self.pair.install(&mut request.pending).map_err(|error| ClientError::Install(error.into()))?;
                (None, true)
            }
            Start::Afresh => (Some(self.mint()?), false),
        };
        if let Some(request) = request {
            let chain = self.certify(&request, resumed).await?;
            self.publish(request.pending, &chain)?;
        }
        self.conclude(resumed).await
    }

    /// Nothing is to be replaced, but an earlier run was cut off before it told anybody of what it replaced.
    async fn tell_late(self, remaining: SignedDuration) -> Result<RekeyOutcome, ClientError> {
        if self.hook_due {
            let report = self.report(self.old.clone(), true);
            let in_place = InPlace { pair: &self.pair, report, password: self.password(), authority: None };
            self.options.afterwards.conclude(&self.hook, in_place).await?;
        }
        Ok(RekeyOutcome::NotYet { remaining })
    }

    /// Makes the new key and its request durable; nobody has seen them yet.
    fn mint(&self) -> Result<Request, ClientError> {
        let mint = |error: keywheel_signer::file_key::KeyError| ClientError::Mint(error.into());
        let (signer, key_pem) = match &self.given {
            Some(given) => (given.signer.clone(), self.given_pem(given)?),
            None => {
                let signer = Arc::new(FileKey::generate(self.kind).map_err(mint)?);
                let encoding = encoding_for(self.kind, self.key.form.encoding);
                let pem = signer.to_pem(encoding, self.password_if(self.key.form.encrypted)).map_err(mint)?;
                (signer, Zeroizing::new(pem.as_bytes().to_vec()))
            }
        };
        let der = ask::empty_request(signer.as_ref())?;
        let intent = Intent {
            key_pem,
            request_pem: request::to_pem(&der).into_bytes(),
            old_certificate: load::leaf(&self.chain)?.to_pem(),
        };
        let pending = self.pair.begin(intent).map_err(|error| place::refused(&self.pair, error))?;
        Ok(Request { pending, signer, der })
    }

    /// The bytes of a key that was given: untouched where it is its own target.
    fn given_pem(&self, given: &LoadedKey) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let stays = self.options.private_key.as_deref().and_then(|file| file.canonicalize().ok());
        if stays.as_deref() == Some(self.pair.key().real()) {
            return Ok(match self.pair.layout() {
                Layout::Combined => combined::split(&given.text).0,
                Layout::Flat | Layout::Generations => given.text.clone(),
            });
        }
        let encrypted = given.form.encrypted || self.key.form.encrypted;
        let pem = given.signer.to_pem(given.form.encoding, self.password_if(encrypted));
        let pem = pem.map_err(|error| ClientError::Mint(error.into()))?;
        Ok(Zeroizing::new(pem.as_bytes().to_vec()))
    }

    fn password_if(&self, encrypted: bool) -> Option<&[u8]> {
        self.options.password.as_ref().filter(|_| encrypted).map(|password| password.as_slice())
    }

    /// Asks the authority and judges its answer.
    async fn certify(&self, request: &Request, resumed: bool) -> Result<Vec<Certificate>, ClientError> {
        let asker = Asker { chain: &self.chain, signer: self.key.signer.clone(), mtls: self.options.mtls };
        let pem = String::from_utf8_lossy(&request.pending.intent().request_pem).into_owned();
        let mut answer = asker.rekey(&self.options.certifier, &request.der, &pem, Timestamp::now()).await;
        match &mut answer {
            // The authority may have certified this key when it was asked before: its refusal now is not its only answer.
            Err(ClientError::Refused { hint, .. }) if resumed => {
                let kept = format!(
                    "the key of the earlier request is kept in {}, since it may have been certified: the next run asks \
                     with it again; move that directory away to begin with a new key",
                    self.pair.place().display()
                );
                *hint = Some(hint.take().map_or_else(|| kept.clone(), |hint| format!("{hint}; {kept}")));
            }
            // The authority has judged this key and will judge it the same again, or never saw it: the next run makes another.
            Err(ClientError::Refused { .. } | ClientError::Usage(_) | ClientError::Untrusted(_)) if !resumed => {
                if let Err(error) = self.pair.withdraw(&request.pending) {
                    tracing::warn!(%error, "the refused request could not be removed");
                }
            }
            _ => {}
        }
        let chain = answer.map_err(|error| match error {
            ClientError::Unreachable(cause) => ClientError::Unanswered(cause),
            other => other,
        })?;
        ask::check_chain(&chain, request.signer.public_key())?;
        Ok(chain)
    }

    /// Puts certificate and key in their places, through the journal.
    fn publish(&self, mut pending: Pending, chain: &[Certificate]) -> Result<(), ClientError> {
        let install = |error: PairError| ClientError::Install(error.into());
        self.pair.issued(&mut pending, &chain_to_pem(chain)).map_err(install)?;
        self.pair.install(&mut pending).map_err(install)
    }

    /// Looks at what is on disk now, tells those who use it and proves it.
    async fn conclude(mut self, resumed: bool) -> Result<RekeyOutcome, ClientError> {
        let (certificate, key) = (self.pair.certificate().real().to_owned(), self.pair.key().real().to_owned());
        let password = self.options.password.as_ref().map(|password| password.as_slice());
        let (chain, loaded) = load::pair(&certificate, &key, password)
            .map_err(|error| ClientError::Unread { told: false, source: error.into_cause() })?;
        let new = load::summary(load::leaf(&chain)?);
        if new.not_after < Timestamp::now() {
            self.notes.push(format!("the new certificate has expired already, at {}: run this again", new.not_after));
        }
        let report = self.report(new, resumed);
        let asker = Asker { chain: &chain, signer: loaded.signer.clone(), mtls: true };
        let authority = match &self.options.certifier {
            Certifier::Remote(access) if self.options.prove => Some((access, asker.identity())),
            _ => None,
        };
        self.options
            .afterwards
            .conclude(&self.hook, InPlace { pair: &self.pair, report, password: self.password(), authority })
            .await
    }

    fn password(&self) -> Option<&[u8]> {
        self.options.password.as_ref().map(|password| password.as_slice())
    }

    fn report(&self, new: CertificateSummary, resumed: bool) -> RekeyReport {
        RekeyReport {
            certificate: self.pair.certificate().named().to_owned(),
            key: self.pair.key().named().to_owned(),
            key_written: true,
            old: self.old.clone(),
            new,
            resumed,
            warnings: self.notes.clone(),
        }
    }
}

fn gate(options: &RekeyOptions, old: &Certificate, now: Timestamp) -> Result<Gate, ClientError> {
    Ok(schedule::gate(now, old.not_after(), options.expires_in, seed()?))
}

/// Chance for a schedule.
pub(super) fn seed() -> Result<u64, ClientError> {
    random::bytes::<8>().map(u64::from_le_bytes).map_err(|error| ClientError::Mint(error.into()))
}

/// Whether what an earlier run put in place has another key than what it replaced (a renewal keeps it).
fn turned(old_certificate: &str, pair: &Pair) -> bool {
    let new = load::chain(pair.certificate().real()).ok().and_then(|chain| chain.into_iter().next());
    match (Certificate::from_pem(old_certificate.as_bytes()), new) {
        (Ok(old), Some(new)) => old.spki() != new.spki(),
        _ => true,
    }
}

/// Whether a pair that was just finished for an earlier run is good enough to be the result of this one.
fn is_fresh(chain: &[u8], now: Timestamp) -> bool {
    Certificate::from_pem(chain).is_ok_and(|leaf| {
        let whole = leaf.not_after().duration_since(leaf.not_before());
        leaf.not_after().duration_since(now) > whole / 3
    })
}

/// Takes up the request of an earlier run, if it is for this pair and for what is asked now.
fn resume(
    options: &RekeyOptions,
    pair: &Pair,
    pending: Pending,
    old: &Certificate,
    given: Option<&LoadedKey>,
    kind: KeyKind,
) -> Option<Request> {
    if !pending.is_for(pair) || pending.intent().old_certificate != old.to_pem() {
        return None;
    }
    let password = options.password.as_ref().map(|password| password.as_slice());
    let (signer, _) = FileKey::from_pem(&pending.intent().key_pem, password).ok()?;
    let wanted = match given {
        Some(given) => given.signer.public_key() == signer.public_key(),
        None => !options.key_choice.is_explicit() || signer.kind() == kind,
    };
    let request = SigningRequest::from_pem(&pending.intent().request_pem).ok()?;
    if !wanted || request.spki() != signer.public_key() {
        return None;
    }
    Some(Request { der: request.der().to_vec(), signer: Arc::new(signer), pending })
}

fn overwrites(pair: &Pair, options: &RekeyOptions) -> Vec<PathBuf> {
    let stays = options.private_key.as_deref().and_then(|file| file.canonicalize().ok());
    let mut overwrites = Vec::new();
    for target in [pair.certificate(), pair.key()] {
        if target.exists() && stays.as_deref() != Some(target.real()) {
            overwrites.push(target.named().to_owned());
        }
    }
    overwrites
}

/// The encoding that the old key's file had, where the new kind of key has it.
fn encoding_for(kind: KeyKind, old: Encoding) -> Encoding {
    match old {
        Encoding::Pkcs8 => Encoding::Pkcs8,
        Encoding::Pkcs1 | Encoding::Sec1 => Encoding::traditional(kind),
    }
}
