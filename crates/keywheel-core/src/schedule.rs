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

/// Whether a one-shot run with `--expires-in` rekeys. `seed` is chance.
pub fn gate(_now: Timestamp, _not_after: Timestamp, _expires_in: Option<SignedDuration>, _seed: u64) -> Gate {
    todo!()
}

/// The moment of a daemon's next rekey. `last_success` is the moment of its last one in this run; `seed` is chance.
pub fn next_rekey(
    _now: Timestamp,
    _validity: Validity,
    _timing: Timing,
    _last_success: Option<Timestamp>,
    _seed: u64,
) -> Timestamp {
    todo!()
}

/// The moment of the next try after `failures` failed ones in a row (1 after the first). `seed` is chance.
pub fn next_retry(_now: Timestamp, _not_after: Timestamp, _failures: u32, _seed: u64) -> Timestamp {
    todo!()
}

/// How long to sleep towards `due` before the wall clock is read again; zero when it is due.
///
/// Never long: a suspended machine or a set clock is noticed at the next look.
pub fn sleep_towards(_now: Timestamp, _due: Timestamp) -> SignedDuration {
    todo!()
}
