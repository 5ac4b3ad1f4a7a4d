//! The loop that keeps a pair fresh: it sleeps until the key is due, turns it, and backs off when that fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::fingerprint::CertificateDigest;
use keywheel_core::go_duration;
use keywheel_core::schedule::{self, Timing};
use keywheel_core::validity::Validity;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;
use tokio::sync::mpsc;

use super::error::ClientError;
use super::in_token::{self, InTokenOptions};
use super::rekey::{self, RekeyOptions, RekeyOutcome, RekeyReport};
use super::renew::{self, RenewOptions};
use super::{ask, load};

/// The wall clock is looked at this often at least: a suspended machine or a set clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A clock that is corrected by less was not set.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// What is kept fresh.
#[derive(Clone)]
pub struct DaemonOptions {
    /// How.
    pub job: Job,
    /// A fixed period instead of a share of the validity.
    pub period: Option<SignedDuration>,
}

/// What is done when it is due. `expires_in` of the options is the lead time before the expiry here.
#[derive(Clone)]
pub enum Job {
    /// A new key every time.
    Rekey(RekeyOptions),
    /// The same key.
    Renew(RenewOptions),
    /// The same key, which is in a token.
    RenewInToken(Box<InTokenOptions>),
}

/// What the daemon is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Turn the key now (SIGHUP).
    Now,
    /// End (SIGTERM, SIGINT); what is in flight is finished.
    Stop,
}

/// What the daemon tells.
#[derive(Debug)]
pub enum Event {
    /// The next time.
    Scheduled {
        /// When.
        at: Timestamp,
        /// In how long.
        after: SignedDuration,
        /// Whether this is the first one since the start.
        first: bool,
    },
    /// The pair was replaced.
    Done(Box<RekeyReport>),
    /// It failed; the old pair stays.
    Failed {
        /// Why.
        error: ClientError,
        /// How often in a row.
        attempt: u32,
        /// In how long it is tried again.
        retry_after: SignedDuration,
    },
    /// The pair is in place, the hook failed.
    HookFailed {
        /// Why.
        error: ClientError,
    },
    /// Something else changed the files; the schedule was made anew.
    FilesChanged,
    /// The certificate has expired; it is still tried.
    Expired {
        /// When it did.
        not_after: Timestamp,
    },
    /// The end.
    Stopped,
}

/// Checks everything that can be known beforehand: what the daemon will do must be possible today.
pub async fn check(options: &DaemonOptions, now: Timestamp) -> Result<(), ClientError> {
    resumes(options, now).await.map(|_| ())
}

/// The same; says whether an earlier run left something to go on with.
async fn resumes(options: &DaemonOptions, now: Timestamp) -> Result<bool, ClientError> {
    let job = current(&options.job);
    let resumes = match &job {
        Job::Rekey(job) => rekey::check(job, now).await?.resumes(),
        Job::Renew(job) => renew::check(job, now).await?.resumes(),
        Job::RenewInToken(job) => in_token::check(job, now).await?.resumes(),
    };
    check_times(options, &leaf(certificate_of(&job))?)?;
    Ok(resumes)
}

/// Runs until it is told to stop; only what `check` refuses at the start ends it with an error.
pub async fn run(
    options: DaemonOptions,
    mut commands: mpsc::Receiver<Command>,
    mut events: impl FnMut(Event),
) -> Result<(), ClientError> {
    let resumes = resumes(&options, Timestamp::now()).await?;
    let mut daemon = Daemon::new(options)?;
    if resumes {
        // At once: the authority may have answered, and end the old certificate soon; a service may wait for its signal.
        daemon.due = Timestamp::now();
    }
    events(daemon.scheduled(true));
    loop {
        match daemon.wait(&mut commands, &mut events).await {
            Command::Stop => {
                events(Event::Stopped);
                return Ok(());
            }
            // What is begun is finished: a command that comes meanwhile waits in its channel.
            Command::Now => daemon.turn(&mut events).await,
        }
    }
}

/// One pair that is kept fresh.
struct Daemon {
    options: DaemonOptions,
    /// Looked at often, so the key is not: opening an encrypted one takes half a second.
    certificate: PathBuf,
    seen: Option<CertificateDigest>,
    validity: Validity,
    last_success: Option<Timestamp>,
    failures: u32,
    due: Timestamp,
    /// When the clock was looked at last.
    looked: Timestamp,
    expiry_told: bool,
}

impl Daemon {
    fn new(options: DaemonOptions) -> Result<Self, ClientError> {
        let certificate = certificate_of(&current(&options.job)).to_owned();
        let leaf = leaf(&certificate)?;
        let mut daemon = Self {
            options,
            certificate,
            seen: Some(leaf.digest()),
            validity: validity(&leaf),
            last_success: None,
            failures: 0,
            due: Timestamp::MAX,
            looked: Timestamp::now(),
            expiry_told: false,
        };
        daemon.schedule()?;
        Ok(daemon)
    }

    fn schedule(&mut self) -> Result<(), ClientError> {
        let now = Timestamp::now();
        self.due = schedule::next_rekey(now, self.validity, timing(&self.options), self.last_success, rekey::seed()?);
        Ok(())
    }

    fn scheduled(&self, first: bool) -> Event {
        let after = self.due.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
        Event::Scheduled { at: self.due, after, first }
    }

    /// Waits until the pair is due by the wall clock, or a command comes.
    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>, events: &mut impl FnMut(Event)) -> Command {
        loop {
            let now = Timestamp::now();
            self.heed_clock(now);
            let sleep = schedule::sleep_towards(now, self.due);
            let sleep = Duration::try_from(sleep).unwrap_or_default().min(LONGEST_SLEEP);
            if sleep.is_zero() {
                // A command that is there already goes first: a daemon that is always due must still end.
                return commands.try_recv().unwrap_or(Command::Now);
            }
            match tokio::time::timeout(sleep, commands.recv()).await {
                Ok(Some(command)) => return command,
                // Nobody can tell us to stop any more: that is the end.
                Ok(None) => return Command::Stop,
                Err(_) => {}
            }
            self.look(events);
        }
    }

    /// What was planned by a clock that was ahead is planned anew once it was set back: a try that was to come in a minute
    /// must not wait for the year that the clock once showed.
    fn heed_clock(&mut self, now: Timestamp) {
        let was_set_back = now.duration_since(self.looked) < -CLOCK_TOLERANCE;
        self.looked = now;
        if !was_set_back {
            return;
        }
        let seed = rekey::seed().unwrap_or_default();
        self.due = if self.failures > 0 {
            self.due.min(schedule::next_retry(now, self.validity.not_after, self.failures, seed))
        } else {
            schedule::next_rekey(now, self.validity, timing(&self.options), self.last_success, seed)
        };
        self.expiry_told &= self.validity.not_after < now;
    }

    /// Looks whether something else replaced the certificate, and whether it has expired.
    fn look(&mut self, events: &mut impl FnMut(Event)) {
        // Half-written files of others are looked at again next time.
        if let Ok(found) = leaf(&self.certificate)
            && self.seen != Some(found.digest())
        {
            self.seen = Some(found.digest());
            self.validity = validity(&found);
            self.failures = 0;
            self.expiry_told = false;
            if self.schedule().is_ok() {
                events(Event::FilesChanged);
                events(self.scheduled(false));
            }
        }
        if !self.expiry_told && self.validity.not_after < Timestamp::now() {
            self.expiry_told = true;
            events(Event::Expired { not_after: self.validity.not_after });
        }
    }

    /// Turns the key once, and sets the next time.
    async fn turn(&mut self, events: &mut impl FnMut(Event)) {
        match self.attempt().await {
            Ok(RekeyOutcome::Done(report)) => self.succeeded(Event::Done(report), events),
            Ok(RekeyOutcome::NotYet { .. }) => self.succeeded(Event::FilesChanged, events),
            Err(error @ ClientError::NotTaken { .. }) => self.succeeded(Event::HookFailed { error }, events),
            Err(error) => self.failed(error, events),
        }
    }

    async fn attempt(&self) -> Result<RekeyOutcome, ClientError> {
        let now = Timestamp::now();
        match current(&self.options.job) {
            Job::Rekey(mut job) => {
                job.afterwards.hook.must_be_there = false;
                rekey::run(&job, now).await
            }
            Job::Renew(mut job) => {
                job.afterwards.hook.must_be_there = false;
                renew::run(&job, now).await
            }
            Job::RenewInToken(mut job) => {
                job.afterwards.hook.must_be_there = false;
                in_token::run(&job, now).await
            }
        }
    }

    fn succeeded(&mut self, event: Event, events: &mut impl FnMut(Event)) {
        events(event);
        self.failures = 0;
        self.expiry_told = false;
        self.last_success = Some(Timestamp::now());
        self.certificate = certificate_of(&current(&self.options.job)).to_owned();
        match leaf(&self.certificate) {
            Ok(found) => {
                self.seen = Some(found.digest());
                self.validity = validity(&found);
                match self.schedule() {
                    Ok(()) => events(self.scheduled(false)),
                    Err(error) => self.failed(error, events),
                }
            }
            Err(error) => self.failed(ClientError::Unread { told: true, source: error.into_cause() }, events),
        }
    }

    fn failed(&mut self, error: ClientError, events: &mut impl FnMut(Event)) {
        self.failures = self.failures.saturating_add(1);
        let now = Timestamp::now();
        let seed = rekey::seed().unwrap_or_default();
        self.due = schedule::next_retry(now, self.validity.not_after, self.failures, seed);
        // An authority that says when to come back is not asked before, within reason.
        if let Some(pause) = ask::wanted_pause(&error) {
            self.due = schedule::after_pause(now, self.validity.not_after, self.due, pause);
        }
        let retry_after = self.due.duration_since(now).max(SignedDuration::ZERO);
        events(Event::Failed { error, attempt: self.failures, retry_after });
    }
}

/// Times that cannot work with this certificate are refused at the start.
fn check_times(options: &DaemonOptions, leaf: &Certificate) -> Result<(), ClientError> {
    let whole = leaf.not_after().duration_since(leaf.not_before());
    let lead = lead(&options.job);
    let positive = |time: Option<SignedDuration>| time.filter(|time| time.is_positive());
    let refuse = |flag: &str, value: SignedDuration| {
        Err(ClientError::Usage(format!(
            "flag '--{flag}' must be within (lower than) the certificate validity period; {flag}={}, \
             cert-validity-period={}",
            go_duration::format(value),
            go_duration::format(whole)
        )))
    };
    match (positive(options.period), positive(lead)) {
        (Some(_), Some(_)) => {
            Err(ClientError::Usage("flag '--expires-in' is incompatible with '--rekey-period'".to_owned()))
        }
        (Some(period), None) if period >= whole => refuse(period_flag(&options.job), period),
        // The reference takes a longer lead time and then rekeys without a pause.
        (None, Some(lead)) if lead >= whole => refuse("expires-in", lead),
        _ => Ok(()),
    }
}

fn period_flag(job: &Job) -> &'static str {
    match job {
        Job::Rekey(_) => "rekey-period",
        Job::Renew(_) | Job::RenewInToken(_) => "renew-period",
    }
}

/// How long before the end, if that was said.
fn lead(job: &Job) -> Option<SignedDuration> {
    match job {
        Job::Rekey(job) => job.expires_in,
        Job::Renew(job) => job.expires_in,
        Job::RenewInToken(job) => job.expires_in,
    }
}

fn timing(options: &DaemonOptions) -> Timing {
    let lead = lead(&options.job);
    let positive = |time: Option<SignedDuration>| time.filter(|time| time.is_positive());
    match (positive(options.period), positive(lead)) {
        (Some(period), _) => Timing::Every(period),
        (None, Some(lead)) => Timing::BeforeExpiry(lead),
        (None, None) => Timing::LastThird,
    }
}

/// The job as it stands now, without its gate: what was written elsewhere before is what is shown and replaced next.
fn current(job: &Job) -> Job {
    let is_newer = |new: &Path, old: &Path| match (leaf(new), leaf(old)) {
        (Ok(new), Ok(old)) => new.not_before() >= old.not_before(),
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    };
    // A renewal keeps the key.
    let goes_on = |new: &Path, old: &Path| {
        matches!((leaf(new), leaf(old)), (Ok(new), Ok(old)) if new.spki() == old.spki()) && is_newer(new, old)
    };
    match job {
        Job::Rekey(job) => {
            let mut job = RekeyOptions { expires_in: None, ..job.clone() };
            let certificate = job.out_certificate.clone().unwrap_or_else(|| job.certificate.clone());
            let key = job.out_key.clone().unwrap_or_else(|| job.key.clone());
            let password = job.password.as_ref().map(|password| password.as_slice());
            if let Ok((_, loaded)) = load::pair(&certificate, &key, password)
                && is_newer(&certificate, &job.certificate)
            {
                // A key that was given is given once: after that it is the old key, and a rekey makes a new one.
                let given = job.private_key.as_deref().map(|file| load::key("the new key", file, password));
                if let Some(Ok(given)) = given
                    && given.signer.public_key() == loaded.signer.public_key()
                {
                    job.private_key = None;
                }
                job.out_certificate = Some(certificate.clone());
                job.out_key = Some(key.clone());
                (job.certificate, job.key) = (certificate, key);
            }
            Job::Rekey(job)
        }
        Job::Renew(job) => {
            let mut job = RenewOptions { expires_in: None, ..job.clone() };
            if let Some(out) = job.out.clone().filter(|out| goes_on(out, &job.certificate)) {
                job.certificate = out;
            }
            Job::Renew(job)
        }
        Job::RenewInToken(job) => {
            let mut job = InTokenOptions { expires_in: None, ..(**job).clone() };
            if let Some(out) = job.out.clone().filter(|out| goes_on(out, &job.certificate)) {
                job.certificate = out;
            }
            Job::RenewInToken(Box::new(job))
        }
    }
}

fn certificate_of(job: &Job) -> &Path {
    match job {
        Job::Rekey(job) => &job.certificate,
        Job::Renew(job) => &job.certificate,
        Job::RenewInToken(job) => &job.certificate,
    }
}

fn leaf(certificate: &Path) -> Result<Certificate, ClientError> {
    Ok(load::leaf(&load::chain(certificate)?)?.clone())
}

fn validity(leaf: &Certificate) -> Validity {
    Validity { not_before: leaf.not_before(), not_after: leaf.not_after() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::access::{Certifier, LocalAuthority};
    use crate::client::afterwards::Afterwards;
    use crate::client::key_choice::KeyChoice;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + seconds).unwrap()
    }

    fn daemon(failures: u32, due: Timestamp, looked: Timestamp) -> Daemon {
        let nobody = LocalAuthority::new("nobody".to_owned(), |_| {
            Box::pin(async { Err(ClientError::Unreachable("nobody".into())) })
        });
        let job = RekeyOptions {
            certificate: "svc.crt".into(),
            key: "svc.key".into(),
            out_certificate: None,
            out_key: None,
            private_key: None,
            key_choice: KeyChoice::default(),
            password: None,
            expires_in: None,
            certifier: Certifier::Local(nobody),
            mtls: true,
            layout: None,
            afterwards: Afterwards::default(),
            prove: true,
        };
        Daemon {
            options: DaemonOptions { job: Job::Rekey(job), period: None },
            certificate: "svc.crt".into(),
            seen: None,
            validity: Validity { not_before: at(0), not_after: at(86_400) },
            last_success: None,
            failures,
            due,
            looked,
            expiry_told: failures > 0,
        }
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_does_not_put_the_next_try_off() {
        let year = 365 * 86_400;
        // By the wrong clock everything had expired; the next try was to come ten seconds later.
        let mut ahead = daemon(1, at(year + 10), at(year));
        ahead.heed_clock(at(3600));
        assert!(ahead.due <= at(3600 + 60), "{}", ahead.due);
        assert!(!ahead.expiry_told);
        let mut ahead = daemon(0, at(year + 10), at(year));
        ahead.heed_clock(at(3600));
        assert!(ahead.due < at(86_400), "{}", ahead.due);
    }

    #[test]
    fn a_clock_that_goes_on_changes_nothing() {
        let mut steady = daemon(3, at(5000), at(4000));
        for now in [4000, 4030, 4028, 4999] {
            steady.heed_clock(at(now));
            assert_eq!(steady.due, at(5000));
        }
    }
}
