//! The protocol by which a certificate file and its key file are replaced, so that a crash at any point leaves a pair
//! that is finished or untouched at the next start.
//!
//! Beside the key target there is a pending directory. The order of a replacement is:
//!
//! 1. the new key is written there; 2. the journal is written as [`Journal::Requested`]; 3. the CA is asked;
//! 4. the chain is written there; 5. the journal is rewritten as [`Journal::Issued`]; 6. the key target is replaced;
//! 7. the certificate target is replaced; 8. the pending directory is removed.
//!
//! Each step is durable before the next starts. What a start finds is judged by [`recover`] alone.

use crate::fingerprint::{CertificateDigest, KeyDigest};

/// What the journal file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// The CA is being asked, or was asked without an answer.
    Requested(Request),
    /// The CA answered, and its answer is durable; the targets may be replaced.
    Issued {
        /// What was asked.
        request: Request,
        /// The certificate that came.
        certificate: CertificateDigest,
    },
}

/// One replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The certificate that was shown to the CA.
    pub old_certificate: CertificateDigest,
    /// The new key.
    pub new_key: KeyDigest,
    /// What the targets held before.
    pub before: Targets,
}

/// What the two targets hold; none where a file is missing or unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The key file's public half.
    pub key: Option<KeyDigest>,
    /// The certificate file's first certificate.
    pub certificate: Option<CertificateSeen>,
}

/// A certificate that was found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Which one.
    pub digest: CertificateDigest,
    /// The key that it certifies.
    pub key: KeyDigest,
}

/// What a start finds on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether there is a pending directory at all.
    pub pending: bool,
    /// The key in the pending directory, if it is whole.
    pub pending_key: Option<KeyDigest>,
    /// The certificate in the pending directory, if it is whole.
    pub pending_certificate: Option<CertificateSeen>,
    /// The two targets.
    pub targets: Targets,
}

/// What a start must do before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing is pending.
    Nothing,
    /// Ask the CA again with the same key and request; the targets are untouched.
    Resume,
    /// Bring the pending files into place (key first), then remove the pending directory.
    Finish {
        /// Whether the key target is still to be replaced.
        install_key: bool,
        /// Whether the certificate target is still to be replaced.
        install_certificate: bool,
    },
    /// Remove the pending directory; the targets stay as they are.
    Discard(DiscardReason),
    /// The targets do not match and the pending directory cannot make them; a person must look, nothing is removed.
    Stuck,
}

/// Why a pending replacement is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardReason {
    /// Nothing had left the machine: there is no journal.
    NeverRequested,
    /// The new key was not found whole; no certificate of it was installed.
    NewKeyLost,
    /// Something else has replaced the pair since.
    ReplacedByOthers,
}

/// Decides what a start must do.
pub fn recover(_journal: Option<&Journal>, _observed: &Observed) -> Recovery {
    todo!()
}
