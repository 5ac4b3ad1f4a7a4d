//! One replacement: the options are made when it is due and forgotten afterwards, the secrets with them.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use keywheel_core::pace::Ending;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::hook::Hook;
use keywheel_reach::step_client::CallError;
use zeroize::Zeroizing;

use super::config::Profile;
use super::sources::{self, Facts};
use super::timers::Slot;
use crate::client::access::Certifier;
use crate::client::error::ClientError;
use crate::client::rekey::{self, RekeyOptions, RekeyOutcome};
use crate::client::{ask, load};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) slot: Slot,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) profile: Arc<Profile>,
    /// Whether what hooks print must stay out of the standard output.
    pub(super) output_to_stderr: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) slot: Slot,
    pub(super) outcome: Result<RekeyOutcome, ClientError>,
    /// The certificate that is there now.
    pub(super) facts: Result<Facts, String>,
}

/// Everything that the replacement needs; the one place that knows the shape of those options.
pub(super) fn options(job: &Job) -> Result<RekeyOptions, ClientError> {
    let profile = &job.profile;
    let access = profile.access().map_err(ClientError::Usage)?;
    let mut afterwards = profile.afterwards().map_err(ClientError::Usage)?;
    afterwards.hook.output_to_stderr = job.output_to_stderr;
    let is_one_file = job.certificate == job.key;
    Ok(RekeyOptions {
        certificate: job.certificate.clone(),
        key: job.key.clone(),
        out_certificate: None,
        out_key: None,
        private_key: None,
        key_choice: profile.key_choice(),
        password: profile.password_file.as_deref().map(password).transpose()?,
        expires_in: None,
        certifier: Certifier::Remote(access),
        mtls: profile.mtls(),
        prove: true,
        layout: if is_one_file { Some(Layout::Combined) } else { profile.layout() },
        afterwards,
    })
}

/// Checks what will be needed, as far as it can be known now: the program of the hook, the roots, the key and its password.
pub(super) fn check(job: &Job) -> Result<(), ClientError> {
    let mut options = options(job)?;
    options.afterwards.hook.must_be_there = true;
    Hook::check(&options.afterwards.hook).map_err(ClientError::HookRefused)?;
    if let Certifier::Remote(access) = &options.certifier {
        load::roots(access.root())?;
    }
    let password = options.password.as_ref().map(|password| password.as_slice());
    load::pair(&job.certificate, &job.key, password).map(|_| ())
}

/// Does it. Keys are made and files are written meanwhile: not for a thread that others wait for.
pub(super) async fn run(job: Job) -> Done {
    let outcome = match options(&job) {
        Ok(options) => rekey::run(&options, Timestamp::now()).await,
        Err(error) => Err(error),
    };
    let facts = sources::facts(&job.certificate, &job.key);
    Done { slot: job.slot, outcome, facts }
}

/// What it tells about the authority.
pub(super) fn ending(outcome: &Result<RekeyOutcome, ClientError>) -> Ending {
    let Err(error) = outcome else { return Ending::Answered };
    match error {
        ClientError::Unreachable(cause) | ClientError::Unanswered(cause) => {
            match (ask::wanted_pause(error), cause.downcast_ref::<CallError>()) {
                (Some(pause), _) => Ending::Busy(Some(pause)),
                (None, Some(CallError::Busy { .. })) => Ending::Busy(None),
                (None, _) => Ending::Silent,
            }
        }
        ClientError::Refused { .. } | ClientError::Garbled(_) | ClientError::Untrusted(_) => Ending::Answered,
        ClientError::Install(_) | ClientError::NotTaken { .. } | ClientError::Unread { .. } => Ending::Answered,
        _ => Ending::NotAsked,
    }
}

/// Without the white space at its end, as everywhere.
fn password(file: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let mut password = load::content("the password file", file)?;
    let kept = password.trim_ascii_end().len();
    password.truncate(kept);
    Ok(password)
}
