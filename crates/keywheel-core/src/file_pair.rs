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
pub fn recover(journal: Option<&Journal>, observed: &Observed) -> Recovery {
    match journal {
        // The key is written before the journal, and the CA is asked after it.
        None if observed.pending => Recovery::Discard(DiscardReason::NeverRequested),
        None => Recovery::Nothing,
        Some(Journal::Requested(request)) => recover_requested(request, observed),
        Some(Journal::Issued { request, certificate }) => recover_issued(request, *certificate, observed),
    }
}

fn recover_requested(request: &Request, observed: &Observed) -> Recovery {
    if replaced_by_others(request, None, &observed.targets) {
        return Recovery::Discard(DiscardReason::ReplacedByOthers);
    }
    if holds_new_key(request, observed) { Recovery::Resume } else { Recovery::Discard(DiscardReason::NewKeyLost) }
}

fn recover_issued(request: &Request, certificate: CertificateDigest, observed: &Observed) -> Recovery {
    let targets = &observed.targets;
    if replaced_by_others(request, Some(certificate), targets) {
        return Recovery::Discard(DiscardReason::ReplacedByOthers);
    }
    let install_key = targets.key != Some(request.new_key);
    let install_certificate = targets.certificate.map(|seen| seen.digest) != Some(certificate);
    let key_at_hand = !install_key || observed.pending_key == Some(request.new_key);
    let certificate_at_hand =
        !install_certificate || observed.pending_certificate.is_some_and(|pending| pending.digest == certificate);
    if key_at_hand && certificate_at_hand {
        return Recovery::Finish { install_key, install_certificate };
    }
    // Half of the new pair is gone, which the order of writing rules out, but a damaged disk does not.
    let untouched = *targets == request.before;
    match (untouched, key_at_hand) {
        // The CA still knows the answer for this key.
        (true, true) => Recovery::Resume,
        (true, false) => Recovery::Discard(DiscardReason::NewKeyLost),
        (false, _) => Recovery::Stuck,
    }
}

/// Whether the new key exists anywhere: pending, or already in the target where the user brought the key.
fn holds_new_key(request: &Request, observed: &Observed) -> bool {
    observed.pending_key == Some(request.new_key) || observed.targets.key == Some(request.new_key)
}

/// Whether the targets hold a certificate that this replacement has neither found nor made, with its key beside it.
///
/// A strange certificate without its key is not a pair: it is not worth keeping over the new one.
fn replaced_by_others(request: &Request, made: Option<CertificateDigest>, targets: &Targets) -> bool {
    let Some(seen) = targets.certificate else { return false };
    let known =
        request.before.certificate.map(|before| before.digest) == Some(seen.digest) || made == Some(seen.digest);
    !known && targets.key == Some(seen.key) && seen.key != request.new_key
}

#[cfg(test)]
mod tests;
