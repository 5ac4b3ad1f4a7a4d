//! Why a client command did not do what it was asked to, and whose fault that is.

use std::path::PathBuf;

use keywheel_reach::hook::HookRefused;

use super::afterwards::NotTaken;
use super::place;
use super::rekey::RekeyReport;

/// The cause of another error, whatever its type.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Whose fault a failure is; the binary makes its exit code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Something on this machine failed (exit code 1).
    Failed,
    /// The arguments or the configuration are wrong (exit code 2).
    Usage,
    /// The authority or a policy refused (exit code 3).
    Refused,
    /// The authority was not reached or is busy: try again (exit code 4).
    Unreachable,
    /// The new files were put in place, but the hook or the proof failed (exit code 7).
    NotTaken,
}

/// Why a client command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An argument cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The hook cannot work.
    #[error("the hook cannot work, nothing was changed")]
    HookRefused(#[source] HookRefused),
    /// A file cannot be used.
    #[error("{what} {} cannot be used, nothing was changed", .file.display())]
    Input {
        /// What the file is, such as "the certificate".
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A key is encrypted and no password was given.
    #[error("the key {} is encrypted: a password is needed, nothing was changed (use --password-file)", .file.display())]
    PasswordRequired {
        /// The key.
        file: PathBuf,
    },
    /// A key is encrypted with another password.
    #[error("the password does not open the key {}, nothing was changed", .file.display())]
    WrongPassword {
        /// The key.
        file: PathBuf,
    },
    /// A token wants its PIN and none was given.
    #[error(
        "the token '{token}' wants its PIN, nothing was changed: add pin-source= with the path of a file that holds it to --kms \
         or to the URI of the key"
    )]
    PinRequired {
        /// The label of the token.
        token: String,
    },
    /// A key in a token cannot be used.
    #[error("the key {key} cannot be used, nothing was changed")]
    Token {
        /// Its URI, without the PIN.
        key: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The certificate is not that of the key.
    #[error("the certificate {} does not belong to the key {}, nothing was changed", .certificate.display(), .key.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A target cannot be written.
    #[error("{} cannot be written, nothing was changed", .file.display())]
    Target {
        /// The target.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The same pair is being replaced by another process.
    #[error("another process is replacing {} right now, try again later", .file.display())]
    Locked {
        /// The key of the pair.
        file: PathBuf,
    },
    /// Something else replaced files between the check and the run.
    #[error("{} or its certificate was changed by something else meanwhile, nothing was changed here: try again", .file.display())]
    Changed {
        /// The key of the pair.
        file: PathBuf,
    },
    /// What an earlier run left cannot be finished.
    #[error("an earlier replacement of {} was cut off and cannot be finished; what it left is kept", .file.display())]
    Recover {
        /// The key of the pair.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The new files are in use; what they no longer need stays for now.
    #[error("what the replacement of {} no longer needs could not be removed, the next run removes it", .file.display())]
    LeftOver {
        /// The key of the pair.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The layout of a pair could not be changed.
    #[error("the layout of the pair of {} could not be changed, its names show what they showed", .file.display())]
    Layout {
        /// The key of the pair.
        file: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A new key could not be made.
    #[error("a new key could not be made, nothing was changed")]
    Mint(#[source] Cause),
    /// A request or a token could not be made.
    #[error("{what} could not be made, nothing was changed")]
    Speak {
        /// What could not be made.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The authority said no.
    #[error("the certificate authority refused: {message}")]
    Refused {
        /// What it said.
        message: String,
        /// The HTTP status, where there is one.
        status: Option<u16>,
        /// What can be done.
        hint: Option<String>,
    },
    /// The authority was not reached, or is busy.
    #[error("the certificate authority was not reached, try again")]
    Unreachable(#[source] Cause),
    /// The same, where only files that are there already were to be replaced.
    #[error("the certificate authority was not reached, the files are as they were: try again")]
    NotRenewed(#[source] Cause),
    /// The same, with a key and a request that are kept: the authority may have answered.
    #[error("the certificate authority was not reached; try again, the next run goes on where this one stopped")]
    Unanswered(#[source] Cause),
    /// The authority answered something that is not an answer.
    #[error("the answer of the certificate authority cannot be used, the files are as they were")]
    Garbled(#[source] Cause),
    /// Nobody vouches for the authority.
    #[error("the certificate authority is not trusted, nothing was changed")]
    Untrusted(#[source] Cause),
    /// Several provisioners could be meant, or none.
    #[error("{message}")]
    Provisioner {
        /// What is missing.
        message: String,
        /// The names to choose from.
        names: Vec<String>,
    },
    /// The key of a provisioner is encrypted and no password was given.
    #[error("the key of provisioner '{name}' is encrypted: a password is needed (use --provisioner-password-file)")]
    ProvisionerPasswordRequired {
        /// Its name.
        name: String,
    },
    /// The key of a provisioner is encrypted with another password.
    #[error("the password does not open the key of provisioner '{name}'")]
    WrongProvisionerPassword {
        /// Its name.
        name: String,
    },
    /// The new files could not be put in place.
    #[error("the new files could not be put in place; the new key is safe, the next run goes on")]
    Install(#[source] Cause),
    /// The new files are in place, and could not be read there.
    #[error(
        "the new certificate and key are in place, but could not be read back{}",
        if *.told { "" } else { "; the service was not told of them, the next run goes on" }
    )]
    Unread {
        /// Whether the hook ran.
        told: bool,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The new files are in place, the hook or the proof failed.
    #[error("the new certificate and key are in place, but {}", .source.what())]
    NotTaken {
        /// What was done.
        report: Box<RekeyReport>,
        /// What failed.
        #[source]
        source: NotTaken,
    },
    /// The new files were in place, the hook or the proof failed, and the old files are back.
    #[error(
        "{}; rolled back: the old certificate and key are back in place{}; the new key is kept, the next run uses it",
        .source.what(),
        outcome_of_rollback(.again.as_deref())
    )]
    RolledBack {
        /// What was tried: `new` is what was taken back.
        report: Box<RekeyReport>,
        /// What failed.
        #[source]
        source: NotTaken,
        /// What failed when the users of the files were told to go back, if anything did.
        again: Option<String>,
    },
}

impl ClientError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Usage(_) | Self::HookRefused(_) | Self::Mismatch { .. } | Self::Input { .. } => Fault::Usage,
            Self::PinRequired { .. } | Self::Token { .. } => Fault::Usage,
            Self::PasswordRequired { .. } | Self::WrongPassword { .. } | Self::Provisioner { .. } => Fault::Usage,
            Self::ProvisionerPasswordRequired { .. } | Self::WrongProvisionerPassword { .. } => Fault::Usage,
            Self::Refused { .. } => Fault::Refused,
            Self::Unreachable(_) | Self::NotRenewed(_) | Self::Unanswered(_) => Fault::Unreachable,
            Self::Locked { .. } | Self::Changed { .. } => Fault::Unreachable,
            Self::NotTaken { .. } | Self::RolledBack { .. } => Fault::NotTaken,
            Self::Target { .. } | Self::Layout { .. } | Self::Recover { .. } | Self::Mint(_) | Self::Speak { .. } => {
                Fault::Failed
            }
            Self::Garbled(_) | Self::Install(_) | Self::Untrusted(_) => Fault::Failed,
            Self::LeftOver { .. } | Self::Unread { .. } => Fault::Failed,
        }
    }

    /// What happened, without what it says of the state of things: for where that is another by now.
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::Input { file, source, .. } => format!("{}: {}", file.display(), place::with_causes(&*source)).into(),
            other => other.into(),
        }
    }
}

/// How those who use the files took the old pair again.
fn outcome_of_rollback(failed: Option<&str>) -> String {
    match failed {
        None => ", and whoever uses them was told so".to_owned(),
        Some(error) => format!(", but whoever uses them may not have taken them ({error})"),
    }
}
