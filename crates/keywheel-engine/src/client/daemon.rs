//! The loop that keeps a pair fresh: it sleeps until the key is due, turns it, and backs off when that fails.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::error::ClientError;
use super::rekey::{RekeyOptions, RekeyReport};
use super::renew::RenewOptions;

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
    let _ = (options, now);
    todo!()
}

/// Runs until it is told to stop; only what `check` refuses at the start ends it with an error.
pub async fn run(options: DaemonOptions, commands: mpsc::Receiver<Command>, events: impl FnMut(Event)) -> Result<(), ClientError> {
    let _ = (options, commands, events);
    todo!()
}
