//! A new certificate where a key is in a PKCS#11 token: keys stay where they are, and one file is replaced, the certificate.
//!
//! What is replaced stays beside it until whoever uses it was told, so that a run that was cut off is gone on with, and a
//! certificate that is not taken can go back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::schedule::{self, Gate};
use keywheel_reach::files::lock::{Lock, LockError};
use keywheel_reach::files::write::{PRIVATE, Target, WriteError, remove_if_there, sync_directory};
use keywheel_reach::hook::Hook;
use keywheel_signer::pkcs11::TokenError;
use keywheel_signer::pkcs11::key::TokenKey;
use keywheel_signer::pkcs11::token::Token;
use keywheel_wire::pkcs11::uri::{Pkcs11Uri, is_pkcs11};
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use keywheel_wire::x509::request;
use zeroize::Zeroizing;

use super::access::Certifier;
use super::afterwards::{self, Afterwards, NotTaken};
use super::ask::{self, Asker};
use super::error::ClientError;
use super::rekey::{self, CertificateSummary, RekeyOutcome, RekeyReport};
use super::{load, place};

/// Room for a chain.
const ROOM_FOR_CHAIN: usize = 32 * 1024;

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file.
    File(PathBuf),
    /// In a token.
    Token(Pkcs11Uri),
}

/// What is asked for.
#[derive(Clone)]
pub struct InTokenOptions {
    /// The certificate to replace.
    pub certificate: PathBuf,
    /// Where the new certificate goes, if not in place of the old one.
    pub out: Option<PathBuf>,
    /// The key of the certificate.
    pub key: KeyPlace,
    /// The key for the new certificate; none to keep the old one.
    pub new_key: Option<KeyPlace>,
    /// Opens keys in files.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Opens the token, where no URI says where its PIN is.
    pub pin: Option<Zeroizing<Vec<u8>>>,
    /// Do nothing while the certificate is valid for longer than this (and a jitter).
    pub expires_in: Option<SignedDuration>,
    /// Who certifies.
    pub certifier: Certifier,
    /// Whether the old certificate authenticates the connection; if not, a token does (for proxies that end TLS).
    pub mtls: bool,
    /// What happens afterwards.
    pub afterwards: Afterwards,
}

/// Everything that could be known beforehand was checked; nothing was changed yet, and nothing is held.
pub struct InTokenPlan {
    options: InTokenOptions,
    old: CertificateSummary,
    target: PathBuf,
    overwrites: Vec<PathBuf>,
    not_yet: Option<SignedDuration>,
    hook_due: bool,
}

/// The same with the certificate's place taken.
struct Held {
    options: InTokenOptions,
    place: Place,
    hook: Hook,
    chain: Vec<Certificate>,
    key: Arc<dyn Signer>,
    /// The key that the new certificate will have.
    next: Arc<dyn Signer>,
    start: Start,
    notes: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing yet.
    NotYet(SignedDuration),
    /// An earlier run put the certificate of the new key in place.
    Finished,
    /// All of it.
    Afresh,
}

/// The place of a certificate.
struct Place {
    target: Target,
    /// What was replaced, until whoever uses it was told.
    before: PathBuf,
    /// The same on its way back, until whoever uses it was told of that.
    back: PathBuf,
    _lock: Lock,
}

impl KeyPlace {
    /// What a name on the command line means: as in the reference, a file if there is one of that name. `management` completes
    /// the URI of a key.
    ///
    /// # Errors
    /// When the URI is not right, or does not fit that of the key management.
    pub fn of(name: &Path, management: Option<&Pkcs11Uri>) -> Result<Self, ClientError> {
        let Some(text) = name.to_str().filter(|text| is_pkcs11(text) && !name.exists()) else {
            return Ok(Self::File(name.to_owned()));
        };
        let wrong = |error| ClientError::Usage(format!("the PKCS#11 URI of the key is not right: {error}"));
        let uri = Pkcs11Uri::parse(text).map_err(wrong)?;
        let uri = match management {
            Some(management) => uri.within(management).map_err(wrong)?,
            None => uri,
        };
        Ok(Self::Token(uri))
    }

    /// Its URI, where it is in a token.
    pub fn token(&self) -> Option<&Pkcs11Uri> {
        match self {
            Self::File(_) => None,
            Self::Token(uri) => Some(uri),
        }
    }

    /// The key, ready to sign.
    pub(super) fn open(
        &self,
        what: &'static str,
        password: Option<&Zeroizing<Vec<u8>>>,
        pin: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Arc<dyn Signer>, ClientError> {
        let uri = match self {
            Self::File(file) => {
                return Ok(load::key(what, file, password.map(|password| password.as_slice()))?.signer);
            }
            Self::Token(uri) => uri,
        };
        let token = Token::open(uri, pin.map(|pin| pin.as_slice()));
        match token.and_then(|token| TokenKey::find(&token, uri)) {
            Ok(key) => Ok(Arc::new(key)),
            Err(TokenError::PinRequired { token }) => Err(ClientError::PinRequired { token }),
            Err(error) => Err(ClientError::Token { key: uri.key_only().to_string(), source: error.into() }),
        }
    }
}

/// A certificate and its key, which must belong together, wherever the key is.
pub(super) fn pair(
    certificate: &Path,
    key: &Path,
    management: Option<&Pkcs11Uri>,
    password: Option<&Zeroizing<Vec<u8>>>,
) -> Result<(Vec<Certificate>, Arc<dyn Signer>), ClientError> {
    let chain = load::chain(certificate)?;
    let signer = KeyPlace::of(key, management)?.open("the key", password, None)?;
    if load::leaf(&chain)?.spki() == signer.public_key() {
        return Ok((chain, signer));
    }
    Err(ClientError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() })
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Token(uri) => uri.fmt(f),
        }
    }
}

/// Finishes or undoes what an earlier run left, then checks everything that can be known beforehand.
pub async fn check(options: &InTokenOptions, now: Timestamp) -> Result<InTokenPlan, ClientError> {
    let held = take(options, now)?;
    let hook_due = held.place.hook_is_due();
    Ok(InTokenPlan {
        old: load::summary(load::leaf(&held.chain)?),
        target: held.place.target.named().to_owned(),
        overwrites: if held.start == Start::Afresh { place::existing([&held.place.target]) } else { Vec::new() },
        not_yet: if let Start::NotYet(remaining) = held.start { Some(remaining) } else { None },
        options: held.options,
        hook_due,
    })
}

/// Checks and runs in one go, where nobody is asked in between.
pub(super) async fn run(options: &InTokenOptions, now: Timestamp) -> Result<RekeyOutcome, ClientError> {
    take(options, now)?.run().await
}

fn take(options: &InTokenOptions, now: Timestamp) -> Result<Held, ClientError> {
    let hook = Hook::check(&options.afterwards.hook).map_err(ClientError::HookRefused)?;
    if options.afterwards.pkcs12.is_some() && options.new_key.as_ref().unwrap_or(&options.key).token().is_some() {
        return Err(ClientError::Usage(
            "flag '--p12' needs a key in a file: a key in a token does not leave it".to_owned(),
        ));
    }
    let place = Place::take(options.out.as_deref().unwrap_or(&options.certificate))?;
    let mut notes = Vec::new();
    let chain = load::chain(&options.certificate)?;
    let leaf = load::leaf(&chain)?;
    let (password, pin) = (options.password.as_ref(), options.pin.as_ref());
    let key = options.key.open("the key", password, pin)?;
    let next = match &options.new_key {
        Some(place) => place.open("the new key", password, pin)?,
        None => key.clone(),
    };
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let rekeys = options.new_key.is_some();
    if rekeys && next.public_key() == key.public_key() {
        return Err(ClientError::Usage(
            "flag '--private-key' names the key that the certificate already has: that would be no new key (use 'ca \
             renew' to keep it)"
                .to_owned(),
        ));
    }
    let start = if leaf.spki() == key.public_key() {
        match schedule::gate(now, leaf.not_after(), options.expires_in, rekey::seed()?) {
            Gate::Due => Start::Afresh,
            Gate::NotYet { remaining } => Start::NotYet(remaining),
        }
    } else if rekeys && leaf.spki() == next.public_key() && place.hook_is_due() {
        Start::Finished
    } else if rekeys && leaf.spki() == next.public_key() {
        return Err(ClientError::Usage(format!(
            "the certificate {} has the key of '--private-key' already; nothing was changed (name that one as its key, and \
             another one as the new key)",
            options.certificate.display()
        )));
    } else {
        let key = PathBuf::from(options.key.to_string());
        return Err(ClientError::Mismatch { certificate: options.certificate.clone(), key });
    };
    if start == Start::Afresh {
        place.target.rehearse(ROOM_FOR_CHAIN).map_err(|error| place.refused(error))?;
    }
    if rekeys && let KeyPlace::File(file) = &options.key {
        notes.push(format!(
            "the key {} is not that of the certificate any more: delete it once nothing uses it",
            file.display()
        ));
    }
    if place.hook_is_due() {
        notes.push("an earlier run was cut off; its new certificate is in place now".to_owned());
    }
    Ok(Held { options: options.clone(), place, hook, chain, key, next, start, notes })
}

impl InTokenPlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Where the certificate goes.
    pub fn certificate_target(&self) -> &Path {
        &self.target
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
        self.hook_due
    }

    /// Asks, replaces, runs the hook.
    pub async fn run(self) -> Result<RekeyOutcome, ClientError> {
        if let Some(remaining) = self.not_yet() {
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        // Nothing was held while a person thought about the questions. What was decided then is not decided again.
        let options = match self.not_yet {
            Some(_) => self.options,
            None => InTokenOptions { expires_in: None, ..self.options },
        };
        let held = take(&options, Timestamp::now())?;
        if load::leaf(&held.chain)?.digest().to_string() != self.old.fingerprint {
            return Err(ClientError::Changed { file: options.certificate });
        }
        held.run().await
    }
}

impl Held {
    async fn run(mut self) -> Result<RekeyOutcome, ClientError> {
        let current = load::summary(load::leaf(&self.chain)?);
        if self.place.hook_is_due() {
            let old = load::chain(&self.place.before).ok().and_then(|chain| chain.first().map(load::summary));
            let report = self.report(old.unwrap_or_else(|| current.clone()), current.clone(), true);
            let chain = load::chain(self.place.target.real())?;
            let ended = self.conclude(&chain, report).await;
            match (self.start, ended) {
                (Start::NotYet(remaining), ended) => return ended.map(|_| RekeyOutcome::NotYet { remaining }),
                (Start::Finished, ended) => return ended,
                (Start::Afresh, Err(ClientError::NotTaken { source, .. })) => {
                    self.notes.push(format!("of the earlier run {}: {}", source.what(), place::with_causes(&source)));
                }
                (Start::Afresh, ended) => {
                    ended?;
                }
            }
        }
        if let Start::NotYet(remaining) = self.start {
            return Ok(RekeyOutcome::NotYet { remaining });
        }
        let asker = Asker { chain: &self.chain, signer: self.key.clone(), mtls: self.options.mtls };
        let now = Timestamp::now();
        let chain = if self.options.new_key.is_some() {
            let der = ask::empty_request(self.next.as_ref())?;
            asker.rekey(&self.options.certifier, &der, &request::to_pem(&der), now).await?
        } else {
            asker.renew(&self.options.certifier, now).await?
        };
        ask::check_chain(&chain, self.next.public_key())?;
        self.place.install(&chain)?;
        let report = self.report(current, load::summary(load::leaf(&chain)?), false);
        self.conclude(&chain, report).await
    }

    /// Tells those who use the certificate, proves that they took it, and goes back where they did not and that is wanted.
    async fn conclude(&self, chain: &[Certificate], mut report: RekeyReport) -> Result<RekeyOutcome, ClientError> {
        let leaf = load::leaf(chain)?;
        let told = self.options.afterwards.tell(&self.hook, Some(leaf), &afterwards::environment(&report)).await;
        if let Err(source) = told {
            return Err(self.not_taken(report, source).await);
        }
        // Last: the authority ends the old certificate once it knows that the new one is in use.
        if let (Certifier::Remote(access), Some(_)) = (&self.options.certifier, &self.options.new_key) {
            let identity = Asker { chain, signer: self.next.clone(), mtls: true }.identity();
            if let Err(error) = afterwards::show_to_authority(access, &identity).await {
                report.warnings.push(format!(
                    "the new certificate is in place, but a connection to the authority with it was not possible: {}",
                    place::with_causes(&*error.into_cause())
                ));
            }
        }
        if let Err(error) = self.place.forget() {
            report.warnings.push(place::with_causes(&error));
        }
        Ok(RekeyOutcome::Done(Box::new(report)))
    }

    async fn not_taken(&self, mut report: RekeyReport, source: NotTaken) -> ClientError {
        let goes_back = self.options.afterwards.rollback && self.place.before.exists();
        let back = if goes_back { self.place.roll_back() } else { Ok(()) };
        if let Err(error) = &back {
            report
                .warnings
                .push(format!("the old certificate could not be brought back: {}", place::with_causes(error)));
        }
        if !goes_back || back.is_err() {
            // A hook that ran and failed is told of, not run again.
            if let Err(error) = self.place.forget() {
                report.warnings.push(place::with_causes(&error));
            }
            return ClientError::NotTaken { report: Box::new(report), source };
        }
        let undone = RekeyReport { new: report.old.clone(), old: report.new.clone(), ..report.clone() };
        let leaf = load::chain(self.place.target.real()).ok().and_then(|chain| chain.into_iter().next());
        let told = self.options.afterwards.tell(&self.hook, leaf.as_ref(), &afterwards::environment(&undone)).await;
        if let Err(error) = self.place.forget() {
            report.warnings.push(place::with_causes(&error));
        }
        let again = told.err().map(|error| place::with_causes(&error));
        ClientError::RolledBack { report: Box::new(report), source, again }
    }

    fn report(&self, old: CertificateSummary, new: CertificateSummary, resumed: bool) -> RekeyReport {
        let key = self.options.new_key.as_ref().unwrap_or(&self.options.key);
        RekeyReport {
            certificate: self.place.target.named().to_owned(),
            key: PathBuf::from(key.to_string()),
            key_written: false,
            old,
            new,
            resumed,
            warnings: self.notes.clone(),
        }
    }
}

impl Place {
    /// Takes the place and looks what an earlier run left there.
    fn take(file: &Path) -> Result<Self, ClientError> {
        let failed = |error: WriteError| ClientError::Target { file: file.to_owned(), source: error.into() };
        let target = Target::resolve(file, PRIVATE).map_err(failed)?;
        let name = target.real().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = |what: &str| target.directory().join(format!(".{name}.keywheel-{what}"));
        let lock = Lock::take(&beside("lock")).map_err(|error| match error {
            LockError::Held(_) => ClientError::Locked { file: file.to_owned() },
            error => ClientError::Target { file: file.to_owned(), source: error.into() },
        })?;
        let place = Self { before: beside("before"), back: beside("back"), target, _lock: lock };
        place.sweep().map_err(failed)?;
        // Cut off between the copy and the replacement: nothing had been replaced.
        let same = matches!((place.content(), std::fs::read(&place.before)), (Ok(now), Ok(before)) if now == before);
        if same {
            place.forget().map_err(failed)?;
        }
        Ok(place)
    }

    /// Removes what a crash left half written, and ends a way back that was begun.
    fn sweep(&self) -> Result<(), WriteError> {
        self.target.sweep()?;
        Target::resolve(&self.before, PRIVATE)?.sweep()?;
        match std::fs::read(&self.back) {
            Ok(old) if self.content().is_ok_and(|now| now != old) => self.target.replace(&old),
            _ => Ok(()),
        }
    }

    fn content(&self) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.target.real())
    }

    /// Whether a certificate was replaced and nobody was told of it.
    fn hook_is_due(&self) -> bool {
        self.before.exists() || self.back.exists()
    }

    /// Replaces the certificate; what was there stays beside it.
    fn install(&self, chain: &[Certificate]) -> Result<(), ClientError> {
        let failed = |error: WriteError| ClientError::Install(error.into());
        if self.target.exists() && !self.hook_is_due() {
            let old = self.content().map_err(|error| ClientError::Install(error.into()))?;
            let before = Target::resolve(&self.before, PRIVATE).map_err(failed)?;
            before.replace(&old).map_err(failed)?;
        }
        self.target.replace(chain_to_pem(chain).as_bytes()).map_err(failed)
    }

    /// What was replaced is in place again.
    fn roll_back(&self) -> Result<(), WriteError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| WriteError::Os { operation, path, source }
        };
        std::fs::rename(&self.before, &self.back).map_err(failed("rename", &self.before))?;
        sync_directory(self.target.directory())?;
        let old = std::fs::read(&self.back).map_err(failed("read", &self.back))?;
        self.target.replace(&old)
    }

    /// Whoever uses the certificate was told.
    fn forget(&self) -> Result<(), WriteError> {
        remove_if_there(&self.before)?;
        remove_if_there(&self.back)?;
        sync_directory(self.target.directory())
    }

    fn refused(&self, error: WriteError) -> ClientError {
        ClientError::Target { file: self.target.named().to_owned(), source: error.into() }
    }
}
