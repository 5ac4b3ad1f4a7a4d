//! When a client rekeys: the one-shot gate, the daemon's next wake and its back-off, all on the wall clock.

use jiff::{SignedDuration, Timestamp};

use crate::validity::Validity;

/// Whether a one-shot run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Rekey now.
    Due,
    /// The certificate is still good for this long; nothing is to be done.
    NotYet {
        /// From now to its end.
        remaining: SignedDuration,
    },
}

/// When a daemon rekeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// After two thirds of the validity.
    #[default]
    LastThird,
    /// This long before the end.
    BeforeExpiry(SignedDuration),
    /// Again and again after this long.
    Every(SignedDuration),
}

/// The least time between two rekeys of one daemon, and between two tries.
pub const FLOOR: SignedDuration = SignedDuration::from_secs(1);

/// The longest sleep before the wall clock is read again.
pub const LONGEST_SLEEP: SignedDuration = SignedDuration::from_secs(30);

/// The longest back-off between two tries.
pub const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// An authority that asks for a longer pause is asked again after this one.
pub const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);

/// Whether a one-shot run with `--expires-in` rekeys. `seed` is chance.
///
/// Up to a twentieth of `expires_in` is added by chance, so that many machines with one timer do not come together.
pub fn gate(now: Timestamp, not_after: Timestamp, expires_in: Option<SignedDuration>, seed: u64) -> Gate {
    let Some(expires_in) = expires_in.filter(SignedDuration::is_positive) else {
        return Gate::Due;
    };
    let remaining = not_after.duration_since(now);
    if remaining > expires_in.saturating_add(part(expires_in / 20, seed)) {
        Gate::NotYet { remaining }
    } else {
        Gate::Due
    }
}

/// The moment of a daemon's next rekey. `last_success` is the moment of its last one in this run; `seed` is chance.
///
/// It lies before the end of the validity wherever that is possible. A certificate that is due as soon as it is
/// issued (a lead longer than its validity, or clocks that disagree) does not make the daemon spin: between two
/// successes lies the period that was asked for, or else at least a twentieth of the validity, or half of what remains
/// if that is less.
pub fn next_rekey(
    now: Timestamp,
    validity: Validity,
    timing: Timing,
    last_success: Option<Timestamp>,
    seed: u64,
) -> Timestamp {
    let jitter = match timing {
        // A period that was asked of a single daemon is kept to the second.
        Timing::Every(period) if period.is_positive() => SignedDuration::ZERO,
        _ => twentieth(validity),
    };
    next_within(now, validity, timing, jitter, last_success, seed)
}

/// The same for one of many: by chance up to `jitter` earlier, whatever the timing, so that they do not come together.
///
/// Without a `jitter` it is a twentieth of the validity, or of the period.
pub fn next_of_many(
    now: Timestamp,
    validity: Validity,
    timing: Timing,
    jitter: Option<SignedDuration>,
    last_success: Option<Timestamp>,
    seed: u64,
) -> Timestamp {
    let jitter = jitter.unwrap_or_else(|| match timing {
        Timing::Every(period) if period.is_positive() => period / 20,
        _ => twentieth(validity),
    });
    next_within(now, validity, timing, jitter.max(SignedDuration::ZERO), last_success, seed)
}

fn next_within(
    now: Timestamp,
    validity: Validity,
    timing: Timing,
    jitter: SignedDuration,
    last_success: Option<Timestamp>,
    seed: u64,
) -> Timestamp {
    let length = validity.length().max(SignedDuration::ZERO);
    let remaining = validity.not_after.duration_since(now);
    let twentieth = twentieth(validity);
    let (delay, pause) = match timing {
        Timing::Every(period) if period.is_positive() => {
            let earlier = part(jitter.min(period / 2), seed);
            if remaining <= period {
                (SignedDuration::ZERO, pause_after_success(twentieth, remaining))
            } else {
                // The last twentieth is kept for tries that fail. A period is the user's own word for how long to wait,
                // however short.
                let wanted = period.min(remaining.saturating_sub(twentieth)).saturating_sub(earlier);
                (wanted, period.saturating_sub(earlier).max(FLOOR))
            }
        }
        _ => {
            let lead = match timing {
                Timing::BeforeExpiry(lead) if lead.is_positive() => lead,
                _ => length / 3,
            };
            let latest = remaining.saturating_sub(lead);
            let delay = if latest < jitter { part(latest, seed) } else { latest.saturating_sub(part(jitter, seed)) };
            (delay, pause_after_success(twentieth, remaining))
        }
    };
    let wanted = later(now, delay.max(SignedDuration::ZERO));
    match last_success {
        // A success that the clock puts into the future is one before the clock was set back: it happened just now.
        Some(success) => wanted.max(later(success.min(now), pause)),
        None => wanted,
    }
}

fn twentieth(validity: Validity) -> SignedDuration {
    validity.length().max(SignedDuration::ZERO) / 20
}

/// The moment of the next try after `failures` failed ones in a row (1 after the first). `seed` is chance.
///
/// The pause doubles from 10 seconds to 10 minutes, half of it by chance, and is never more than a quarter of what
/// remains, so that several tries still fit before the end.
pub fn next_retry(now: Timestamp, not_after: Timestamp, failures: u32, seed: u64) -> Timestamp {
    let doublings = failures.saturating_sub(1).min(6);
    let mut pause = (FIRST_BACKOFF * (1_i32 << doublings)).min(LONGEST_BACKOFF);
    let remaining = not_after.duration_since(now);
    if remaining.is_positive() {
        pause = pause.min(remaining / 4);
    }
    let half = pause / 2;
    later(now, half.saturating_add(part(half, seed)).max(FLOOR))
}

/// The moment of a try that was to come at `due`, where the authority asks for a pause: after it, within reason, and not so
/// late that the certificate ends meanwhile.
pub fn after_pause(now: Timestamp, not_after: Timestamp, due: Timestamp, pause: SignedDuration) -> Timestamp {
    let left = (not_after.duration_since(now) / 2).max(SignedDuration::ZERO);
    due.max(later(now, pause.clamp(SignedDuration::ZERO, LONGEST_PAUSE.min(left))))
}

/// How long to sleep towards `due` before the wall clock is read again; zero when it is due.
///
/// Never long: a suspended machine or a set clock is noticed at the next look.
pub fn sleep_towards(now: Timestamp, due: Timestamp) -> SignedDuration {
    due.duration_since(now).clamp(SignedDuration::ZERO, LONGEST_SLEEP)
}

fn pause_after_success(twentieth: SignedDuration, remaining: SignedDuration) -> SignedDuration {
    let pause = twentieth.clamp(FLOOR, SignedDuration::from_hours(1));
    if remaining.is_positive() { pause.min((remaining / 2).max(FLOOR)) } else { pause }
}

/// A share of `whole` from nothing to just below all of it, by `seed`; nothing of nothing.
fn part(whole: SignedDuration, seed: u64) -> SignedDuration {
    let nanoseconds = u128::try_from(whole.as_nanos().min(i128::from(i64::MAX))).unwrap_or(0);
    // At most i64::MAX times a fraction below one.
    SignedDuration::from_nanos(i64::try_from((nanoseconds * u128::from(seed)) >> 64).unwrap_or(0))
}

fn later(at: Timestamp, delay: SignedDuration) -> Timestamp {
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
