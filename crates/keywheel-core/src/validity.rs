//! When a new certificate starts and ends: what was asked for, within the claims and never beyond its issuer.

use alloc::string::String;

use jiff::{SignedDuration, Timestamp};

use crate::claims::EffectiveClaims;
use crate::go_duration;

/// How far the start of a certificate is put into the past, where `ca.json` does not say, to forgive slow clocks.
pub const DEFAULT_BACKDATE: SignedDuration = SignedDuration::from_mins(1);

/// The first and the last moment of a certificate, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
}

/// One end of the validity as a requester names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestedTime {
    /// Not named: the CA chooses.
    #[default]
    Unset,
    /// A moment.
    At(Timestamp),
    /// Relative: the start to now, the end to the start.
    After(SignedDuration),
}

/// The validity as a requester names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValidityRequest {
    /// When the certificate is to start.
    pub not_before: RequestedTime,
    /// When the certificate is to end.
    pub not_after: RequestedTime,
}

/// Why no validity can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidityRefusal {
    /// The end is not after the start.
    #[error("the requested end {not_after} is not after the start {not_before}")]
    EndBeforeStart {
        /// The start.
        not_before: Timestamp,
        /// The end.
        not_after: Timestamp,
    },
    /// The end has passed.
    #[error("the requested end {not_after} has already passed")]
    EndInPast {
        /// The end.
        not_after: Timestamp,
    },
    /// Shorter than the claims allow.
    #[error("the requested duration of {requested} is less than the least that is authorised, {least}")]
    TooShort {
        /// As Go prints it.
        requested: String,
        /// As Go prints it.
        least: String,
    },
    /// Longer than the claims allow.
    #[error("the requested duration of {requested} is more than the most that is authorised, {most}")]
    TooLong {
        /// As Go prints it.
        requested: String,
        /// As Go prints it.
        most: String,
    },
    /// Longer than the issuing certificate lives.
    #[error("the requested end {not_after} is after {issuer_not_after}, when the issuing certificate itself ends")]
    OutlivesIssuer {
        /// The requested end.
        not_after: Timestamp,
        /// The end of the issuing certificate.
        issuer_not_after: Timestamp,
    },
    /// The issuing certificate has expired, or does so within a second.
    #[error("the issuing certificate ended at {issuer_not_after}; the CA needs a new one before it can sign")]
    IssuerExpired {
        /// The end of the issuing certificate.
        issuer_not_after: Timestamp,
    },
    /// Arithmetic beyond the calendar.
    #[error("the requested times are beyond the calendar")]
    BeyondCalendar,
}

impl Validity {
    /// Whether `now` lies within, both ends included.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// From start to end.
    pub fn length(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }
}

/// The validity of a certificate that is asked for anew (`/sign`).
///
/// A start that is not named is `now`, put back by `backdate`; the default length is cut at the issuer's end, an end
/// that was named is refused instead of silently changed.
pub fn for_sign(
    request: ValidityRequest,
    now: Timestamp,
    claims: &EffectiveClaims,
    backdate: SignedDuration,
    issuer_not_after: Timestamp,
) -> Result<Validity, ValidityRefusal> {
    let now = whole_second(now);
    let issuer_not_after = whole_second(issuer_not_after);
    if issuer_not_after <= now {
        return Err(ValidityRefusal::IssuerExpired { issuer_not_after });
    }
    let (start, backdate) = match request.not_before {
        RequestedTime::Unset => (now, whole_duration(backdate)),
        RequestedTime::At(at) => (whole_second(at), SignedDuration::ZERO),
        RequestedTime::After(delay) => (after(now, delay)?, SignedDuration::ZERO),
    };
    let (end, named) = match request.not_after {
        RequestedTime::Unset => (after(start, claims.default_tls_duration)?, false),
        RequestedTime::At(at) => (whole_second(at), true),
        RequestedTime::After(length) => (after(start, length)?, true),
    };
    let not_before = after(start, -backdate)?;
    if end <= not_before {
        return Err(ValidityRefusal::EndBeforeStart { not_before, not_after: end });
    }
    if end <= now {
        return Err(ValidityRefusal::EndInPast { not_after: end });
    }
    // The claims speak of the time from the start that was meant; the backdate comes on top, as in the reference.
    let length = end.duration_since(start);
    if length < claims.min_tls_duration {
        return Err(ValidityRefusal::TooShort {
            requested: go_duration::format(length),
            least: go_duration::format(claims.min_tls_duration),
        });
    }
    if length > claims.max_tls_duration {
        return Err(ValidityRefusal::TooLong {
            requested: go_duration::format(length),
            most: go_duration::format(claims.max_tls_duration),
        });
    }
    if end > issuer_not_after && named {
        return Err(ValidityRefusal::OutlivesIssuer { not_after: end, issuer_not_after });
    }
    let not_after = end.min(issuer_not_after);
    if not_after <= not_before {
        return Err(ValidityRefusal::OutlivesIssuer { not_after: end, issuer_not_after });
    }
    Ok(Validity { not_before, not_after })
}

/// The validity of a certificate that takes another's place (`/renew`, `/rekey`): as long as the old one, from now,
/// cut at the issuer's end.
pub fn for_successor(
    old: Validity,
    now: Timestamp,
    backdate: SignedDuration,
    issuer_not_after: Timestamp,
) -> Result<Validity, ValidityRefusal> {
    let now = whole_second(now);
    let issuer_not_after = whole_second(issuer_not_after);
    if issuer_not_after <= now {
        return Err(ValidityRefusal::IssuerExpired { issuer_not_after });
    }
    let length = whole_duration(old.length());
    // An old certificate shorter than the backdate must not get a successor that is already over.
    let not_before = after(now, -whole_duration(backdate).min(length / 2))?;
    let not_after = after(not_before, length)?;
    if not_after <= now {
        return Err(ValidityRefusal::EndInPast { not_after });
    }
    Ok(Validity { not_before, not_after: not_after.min(issuer_not_after) })
}

/// X.509 knows no fractions of a second.
fn whole_second(at: Timestamp) -> Timestamp {
    let nanoseconds = at.subsec_nanosecond();
    let floor = if nanoseconds < 0 { at.as_second() - 1 } else { at.as_second() };
    Timestamp::from_second(floor).unwrap_or(at)
}

fn whole_duration(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(duration.as_secs())
}

fn after(start: Timestamp, delay: SignedDuration) -> Result<Timestamp, ValidityRefusal> {
    start.checked_add(delay).map(whole_second).map_err(|_| ValidityRefusal::BeyondCalendar)
}

#[cfg(test)]
mod tests;
