//! The CA's decision about a request to replace a certificate: answer again, issue, or refuse.

use jiff::{SignedDuration, Timestamp};

use crate::fingerprint::KeyDigest;
use crate::provisioner::AfterRekey;
use crate::revocation::ReasonCode;
use crate::serial::Serial;
use crate::validity::Validity;

/// All that a rekey is decided from; loaded in the transaction that records the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyFacts {
    /// The moment of the decision.
    pub now: Timestamp,
    /// The certificate that is to be replaced.
    pub old: OldCertificate,
    /// The certificate that this old one already got for this very key.
    pub same_request: Option<EarlierAnswer>,
    /// Whether this CA has certified the new key before, in whichever certificate (the same request not counted).
    pub new_key_certified_before: bool,
    /// Whether the new key is the old certificate's key.
    pub new_key_is_old_key: bool,
    /// Whether the provisioner's claims turn renewal and rekeying off.
    pub renewal_disabled: bool,
    /// Whether the provisioner's claims let an expired certificate be replaced.
    pub allow_after_expiry: bool,
    /// What becomes of the old certificate.
    pub after: AfterRekey,
}

/// What is known of the certificate that is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldCertificate {
    /// Its validity.
    pub validity: Validity,
    /// Why it was revoked, if it was.
    pub revoked: Option<ReasonCode>,
    /// The newest certificate that took its place by a rekey and was not revoked since.
    pub successor: Option<Successor>,
}

/// The certificate that took another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its serial number.
    pub serial: Serial,
    /// Its key.
    pub key: KeyDigest,
    /// Whether it was seen in use.
    pub seen: bool,
}

/// A certificate that was issued for the same old certificate and the same new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierAnswer {
    /// Its serial number.
    pub serial: Serial,
    /// Its end.
    pub not_after: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What is to be done with a rekey request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RekeyDecision {
    /// Give the earlier answer again.
    Replay {
        /// Its serial number.
        serial: Serial,
    },
    /// Issue a new certificate.
    Issue {
        /// A successor that nobody has used, to be revoked as superseded in the same transaction.
        revoke_unseen_successor: Option<Serial>,
        /// When the old certificate is to be revoked as superseded; none if it stays.
        old_revocation: Option<Due>,
    },
    /// Do nothing.
    Refuse(RekeyRefusal),
}

/// When a superseded certificate is to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// At this moment at the latest.
    pub at: Timestamp,
    /// Already as soon as the successor is seen in use.
    pub when_successor_seen: bool,
}

/// Why a certificate is not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RekeyRefusal {
    /// The "new" key is the old one.
    #[error("the request holds the key of the old certificate; a rekey needs a new key")]
    SameKey,
    /// This CA has certified the key before.
    #[error("this CA has certified the requested key before; make a new key")]
    KeyCertifiedBefore,
    /// The old certificate was revoked.
    #[error("the certificate was revoked ({reason})")]
    Revoked {
        /// Why.
        reason: ReasonCode,
    },
    /// The old certificate has not begun.
    #[error("the certificate is not valid before {not_before}")]
    NotYetValid {
        /// Its start.
        not_before: Timestamp,
    },
    /// The old certificate is over.
    #[error("certificate expired on {not_after}")]
    Expired {
        /// Its end.
        not_after: Timestamp,
    },
    /// The claims forbid it.
    #[error("renewal is disabled for the certificate's provisioner")]
    Disabled,
    /// The old certificate has a successor: one that is in use, or that a renewal must not go past.
    #[error("the certificate was superseded by {serial}; rekey or renew that one")]
    Superseded {
        /// The successor's serial number.
        serial: Serial,
    },
}

/// All that a renewal (same key) is decided from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewFacts {
    /// The moment of the decision.
    pub now: Timestamp,
    /// The certificate that is to be renewed.
    pub old: OldCertificate,
    /// The renewal that this old certificate got just now: see [`asked_again_within`].
    pub just_now: Option<EarlierAnswer>,
    /// Whether the provisioner's claims turn renewal off.
    pub renewal_disabled: bool,
    /// Whether the provisioner's claims let an expired certificate be renewed.
    pub allow_after_expiry: bool,
    /// What becomes of an old certificate after a rekey.
    pub after: AfterRekey,
}

/// Decides a rekey.
pub fn decide(facts: &RekeyFacts) -> RekeyDecision {
    if facts.new_key_is_old_key {
        return RekeyDecision::Refuse(RekeyRefusal::SameKey);
    }
    // The answer to a lost reply comes before all other doubts: it makes no new certificate, and its owner may have
    // nothing else left. Even the old certificate's end or its supersession by this very answer do not matter.
    if let Some(earlier) = facts.same_request {
        return answer_again(facts, earlier);
    }
    if let Err(refusal) = replaceable(facts.now, &facts.old, facts.allow_after_expiry, facts.renewal_disabled) {
        return RekeyDecision::Refuse(refusal);
    }
    if facts.new_key_certified_before {
        return RekeyDecision::Refuse(RekeyRefusal::KeyCertifiedBefore);
    }
    let revoke_unseen_successor = match (facts.after, facts.old.successor) {
        (AfterRekey::OldStays, _) | (_, None) => None,
        (_, Some(successor)) if successor.seen => {
            return RekeyDecision::Refuse(RekeyRefusal::Superseded { serial: successor.serial });
        }
        (_, Some(successor)) => Some(successor.serial),
    };
    RekeyDecision::Issue { revoke_unseen_successor, old_revocation: due(facts.now, facts.after) }
}

/// What is to be done with a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalDecision {
    /// Give the earlier answer again.
    Replay {
        /// Its serial number.
        serial: Serial,
    },
    /// Issue a new certificate.
    Issue,
}

/// How soon the same certificate asks for a renewal again because it has not heard the answer: within a twentieth of its life.
/// What it gets again then has lost no more of its life than that.
pub fn asked_again_within(validity: Validity) -> SignedDuration {
    validity.not_after.duration_since(validity.not_before) / 20
}

/// Decides a renewal.
///
/// A certificate that a rekey has superseded is not renewed, unless old certificates stay: the renewed one would
/// carry the old key past the revocation that the rekey promised.
pub fn decide_renewal(facts: &RenewFacts) -> Result<RenewalDecision, RekeyRefusal> {
    replaceable(facts.now, &facts.old, facts.allow_after_expiry, facts.renewal_disabled)?;
    match (facts.after, facts.old.successor) {
        (AfterRekey::OldStays, _) | (_, None) => {}
        (_, Some(successor)) => return Err(RekeyRefusal::Superseded { serial: successor.serial }),
    }
    Ok(match facts.just_now {
        Some(earlier) if !earlier.revoked && earlier.not_after >= facts.now => {
            RenewalDecision::Replay { serial: earlier.serial }
        }
        _ => RenewalDecision::Issue,
    })
}

fn answer_again(facts: &RekeyFacts, earlier: EarlierAnswer) -> RekeyDecision {
    // An answer that is dead itself helps nobody; its key stays burnt.
    if earlier.revoked || earlier.not_after < facts.now {
        return RekeyDecision::Refuse(RekeyRefusal::KeyCertifiedBefore);
    }
    match facts.old.revoked {
        None => RekeyDecision::Replay { serial: earlier.serial },
        Some(ReasonCode::Superseded) if facts.old.successor.is_some_and(|newest| newest.serial == earlier.serial) => {
            RekeyDecision::Replay { serial: earlier.serial }
        }
        Some(reason) => RekeyDecision::Refuse(RekeyRefusal::Revoked { reason }),
    }
}

fn replaceable(
    now: Timestamp,
    old: &OldCertificate,
    allow_after_expiry: bool,
    disabled: bool,
) -> Result<(), RekeyRefusal> {
    if let Some(reason) = old.revoked {
        return Err(RekeyRefusal::Revoked { reason });
    }
    if disabled {
        return Err(RekeyRefusal::Disabled);
    }
    if now < old.validity.not_before {
        return Err(RekeyRefusal::NotYetValid { not_before: old.validity.not_before });
    }
    if now > old.validity.not_after && !allow_after_expiry {
        return Err(RekeyRefusal::Expired { not_after: old.validity.not_after });
    }
    Ok(())
}

fn due(now: Timestamp, after: AfterRekey) -> Option<Due> {
    let (delay, when_successor_seen) = match after {
        AfterRekey::OldStays => return None,
        AfterRekey::RevokeAfterOverlap(overlap) => (overlap, false),
        AfterRekey::RevokeWhenSuccessorSeen { at_latest } => (at_latest, true),
    };
    // A delay that is configured beyond the calendar means "never" in practice; a negative one means "now".
    let at = now.checked_add(delay.max(SignedDuration::ZERO)).unwrap_or(Timestamp::MAX);
    Some(Due { at, when_successor_seen })
}

#[cfg(test)]
mod tests;
