//! A new key and its certificate in place of the old ones: checked, minted, certified, published, proved.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::schedule::{self, Gate};
use keywheel_reach::files::pair::{Intent, Pair, Pending, Recovered};
use keywheel_reach::hook::{Hook, HookOptions, Variable};
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use keywheel_wire::x509::request::{self, Request as SigningRequest};
use zeroize::Zeroizing;

use super::access::Certifier;
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
    let kind = options.key_choice.kind()?;
    let hook = Hook::check(&options.hook).map_err(ClientError::HookRefused)?;
    let certificate_target = options.out_certificate.as_deref().unwrap_or(&options.certificate);
    let key_target = options.out_key.as_deref().unwrap_or(&options.key);
    let mut notes = Vec::new();

    // The old pair may itself be half of what an earlier run was putting in place.
    if (certificate_target, key_target) != (&options.certificate, &options.key) && options.certificate != options.key {
        place::recover(&place::open(&options.certificate, &options.key)?, &mut notes)?;
    }
    let pair = place::open(certificate_target, key_target)?;
    let recovered = place::recover(&pair, &mut notes)?;

    let (chain, key) = load::pair(&options.certificate, &options.key, options.password.as_ref().map(|p| p.as_slice()))?;
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let given = match &options.private_key {
        Some(file) => Some(load::key("the new key", file, options.password.as_ref().map(|p| p.as_slice()))?),
        None => None,
    };
    let finished = matches!(recovered, Recovered::Finished) && is_fresh(pair.certificate().real(), now);
    if !finished && given.as_ref().is_some_and(|given| given.signer.public_key() == key.signer.public_key()) {
        return Err(ClientError::Usage(
            "flag '--private-key' names the key that the certificate already has: that would be no new key (use 'ca \
             renew' to keep it)"
                .to_owned(),
        ));
    }
    let old = load::leaf(&chain)?;
    let start = match (recovered, gate(options, old, now)?) {
        (_, _) if finished => Start::Finished,
        (_, Gate::NotYet { remaining }) => Start::NotYet(remaining),
        (Recovered::Pending(pending), Gate::Due) => {
            resume(options, &pair, *pending, old, given.as_ref(), kind).map_or(Start::Afresh, |request| {
                notes.push(
                    "went on with the key and the request of an earlier run that got no answer; an authority that keeps \
                     no memory of rekeys may have issued twice, the newest certificate is the one in place"
                        .to_owned(),
                );
                Start::Resume(Box::new(request))
            })
        }
        (_, Gate::Due) => Start::Afresh,
    };
    if matches!(start, Start::Resume(_) | Start::Afresh) {
        pair.rehearse(ROOM_FOR_CHAIN, ROOM_FOR_KEY).map_err(|error| place::refused(&pair, error))?;
    }
    let overwrites = match start {
        Start::NotYet(_) | Start::Finished => Vec::new(),
        Start::Resume(_) | Start::Afresh => overwrites(&pair, options),
    };
    let old = load::summary(old);
    Ok(RekeyPlan { options: options.clone(), pair, hook, chain, key, given, kind, start, old, overwrites, notes })
}

impl RekeyPlan {
    /// The files that exist and will be replaced: the binary asks about each, unless forced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Where the certificate goes.
    pub fn certificate_target(&self) -> &Path {
        self.pair.certificate().named()
    }

    /// Where the key goes.
    pub fn key_target(&self) -> &Path {
        self.pair.key().named()
    }

    /// The certificate that will be replaced.
    pub fn old(&self) -> &CertificateSummary {
        &self.old
    }

    /// Why nothing needs to be done yet: for how long the certificate is still valid.
    pub fn not_yet(&self) -> Option<SignedDuration> {
        match self.start {
            Start::NotYet(remaining) => Some(remaining),
            _ => None,
        }
    }

    /// Whether an earlier run left a request that this one goes on with.
    pub fn resumes(&self) -> bool {
        matches!(self.start, Start::Resume(_) | Start::Finished)
    }

    /// Mints, asks, replaces, proves, runs the hook.
    pub async fn run(mut self) -> Result<RekeyOutcome, ClientError> {
        let resumed = self.resumes();
        let request = match std::mem::replace(&mut self.start, Start::Afresh) {
            Start::NotYet(remaining) => return Ok(RekeyOutcome::NotYet { remaining }),
            Start::Finished => None,
            Start::Resume(request) => Some(*request),
            Start::Afresh => Some(self.mint()?),
        };
        if let Some(request) = request {
            let chain = self.certify(&request).await?;
            self.publish(request.pending, &chain)?;
        }
        self.conclude(resumed).await
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
            old_certificate: self.old.fingerprint.clone(),
        };
        let pending = self.pair.begin(intent).map_err(|error| place::refused(&self.pair, error))?;
        Ok(Request { pending, signer, der })
    }

    /// The bytes of a key that was given: untouched where it is its own target.
    fn given_pem(&self, given: &LoadedKey) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let stays = self.options.private_key.as_deref().and_then(|file| file.canonicalize().ok());
        if stays.as_deref() == Some(self.pair.key().real()) {
            return Ok(given.text.clone());
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
    async fn certify(&self, request: &Request) -> Result<Vec<Certificate>, ClientError> {
        let asker = Asker { chain: &self.chain, signer: self.key.signer.clone(), mtls: self.options.mtls };
        let pem = String::from_utf8_lossy(&request.pending.intent().request_pem).into_owned();
        let answer = asker.rekey(&self.options.certifier, &request.der, &pem, Timestamp::now()).await;
        if let Err(ClientError::Refused { .. } | ClientError::Usage(_)) = &answer {
            // The authority has judged this key and will judge it the same again: the next run makes another.
            if let Err(error) = self.pair.discard() {
                tracing::warn!(%error, "the refused request could not be removed");
            }
        }
        let chain = answer?;
        ask::check_chain(&chain, request.signer.public_key())?;
        Ok(chain)
    }

    /// Puts certificate and key in their places, through the journal.
    fn publish(&self, mut pending: Pending, chain: &[Certificate]) -> Result<(), ClientError> {
        let install = |error: keywheel_reach::files::pair::PairError| ClientError::Install(error.into());
        self.pair.issued(&mut pending, &chain_to_pem(chain)).map_err(install)?;
        self.pair.finish(&pending).map_err(install)
    }

    /// Looks at what is on disk now, proves it and tells those who use it.
    async fn conclude(mut self, resumed: bool) -> Result<RekeyOutcome, ClientError> {
        let (certificate, key) = (self.pair.certificate().real().to_owned(), self.pair.key().real().to_owned());
        let password = self.options.password.as_ref().map(|password| password.as_slice());
        let (chain, loaded) = load::pair(&certificate, &key, password)?;
        let new = load::summary(load::leaf(&chain)?);
        let mut warnings = std::mem::take(&mut self.notes);
        if let Certifier::Remote(access) = &self.options.certifier
            && self.options.prove
        {
            let asker = Asker { chain: &chain, signer: loaded.signer.clone(), mtls: true };
            let proved = match access.client(Some(&asker.identity())) {
                Ok(client) => client.health().await.map_err(ask::failed).map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = proved {
                warnings.push(format!(
                    "the new pair is in place, but a connection to the authority with it was not possible: {}",
                    place::with_causes(&error)
                ));
            }
        }
        let report = RekeyReport {
            certificate: self.pair.certificate().named().to_owned(),
            key: self.pair.key().named().to_owned(),
            key_written: true,
            old: self.old.clone(),
            new,
            resumed,
            warnings,
        };
        // The hook may start another run for the same pair.
        drop(self.pair);
        run_hook(&self.hook, report).await
    }
}

/// Runs the hook and makes the outcome.
pub(super) async fn run_hook(hook: &Hook, report: RekeyReport) -> Result<RekeyOutcome, ClientError> {
    match hook.run(&environment(&report)).await {
        Ok(()) => Ok(RekeyOutcome::Done(Box::new(report))),
        Err(source) => Err(ClientError::Hook { report: Box::new(report), source }),
    }
}

/// What the command of a hook is told.
fn environment(report: &RekeyReport) -> Vec<Variable> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string();
    vec![
        ("KEYWHEEL_CERTIFICATE", absolute(&report.certificate)),
        ("KEYWHEEL_KEY", absolute(&report.key)),
        ("KEYWHEEL_SUBJECT", report.new.subject.clone().into()),
        ("KEYWHEEL_SERIAL", report.new.serial.clone().into()),
        ("KEYWHEEL_OLD_SERIAL", report.old.serial.clone().into()),
        ("KEYWHEEL_FINGERPRINT", report.new.fingerprint.clone().into()),
        ("KEYWHEEL_OLD_FINGERPRINT", report.old.fingerprint.clone().into()),
        ("KEYWHEEL_KEY_FINGERPRINT", report.new.key_fingerprint.clone().into()),
        ("KEYWHEEL_NOT_BEFORE", report.new.not_before.to_string().into()),
        ("KEYWHEEL_NOT_AFTER", report.new.not_after.to_string().into()),
    ]
}

fn gate(options: &RekeyOptions, old: &Certificate, now: Timestamp) -> Result<Gate, ClientError> {
    Ok(schedule::gate(now, old.not_after(), options.expires_in, seed()?))
}

/// Chance for a schedule.
pub(super) fn seed() -> Result<u64, ClientError> {
    random::bytes::<8>().map(u64::from_le_bytes).map_err(|error| ClientError::Mint(error.into()))
}

/// Whether a pair that was just finished for an earlier run is good enough to be the result of this one.
fn is_fresh(certificate: &Path, now: Timestamp) -> bool {
    load::chain(certificate).ok().and_then(|chain| chain.into_iter().next()).is_some_and(|leaf| {
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
    if !pending.is_for(pair) || pending.intent().old_certificate != old.digest().to_string() {
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
