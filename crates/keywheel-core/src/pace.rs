//! How fast one authority is asked: so many at once, so many a second, and not while it wants to be left alone.

use core::time::Duration;

use jiff::SignedDuration;

/// An authority that asks for a longer pause is asked again after this one.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// An authority that does not answer is tried again after at most this long.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

const FIRST_SILENCE: Duration = Duration::from_secs(1);

/// What was not begun during this long, since nobody looked, may be made up for.
const SLACK: Duration = Duration::from_millis(100);

const SECOND: Duration = Duration::from_secs(1);

/// What an authority is asked at most. Both count as one where they are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once.
    pub at_once: u32,
    /// Requests begun in a second.
    pub per_second: u32,
}

/// Whether the next request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// Not before this moment.
    At(Duration),
    /// Not before another one has ended.
    WhenOneEnds,
}

/// How a request ended, as far as it tells something about the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The authority answered, whatever it said.
    Answered,
    /// It said that it cannot now, and perhaps when to come back.
    Busy(Option<SignedDuration>),
    /// It was not reached.
    Silent,
    /// It was not asked at all.
    NotAsked,
}

/// The pace of one authority. Moments are those of a clock that is never set, counted from any start.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    next: Duration,
    quiet_until: Duration,
    /// Requests in a row without an answer.
    misses: u32,
    under_way: u32,
}

impl Pace {
    /// Whether a request may begin now. One that `cannot_wait` goes also into a pause, since after it there is nothing left
    /// to ask for; never more than one at once.
    pub fn turn(&self, now: Duration, limits: Limits, cannot_wait: bool) -> Turn {
        let is_quiet = self.quiet_until > now;
        // Where the last one had no answer, one alone finds out whether the next one will.
        let at_once = if is_quiet || self.misses > 0 { 1 } else { limits.at_once.max(1) };
        if self.under_way >= at_once {
            return Turn::WhenOneEnds;
        }
        let earliest = if is_quiet && !cannot_wait { self.next.max(self.quiet_until) } else { self.next };
        if earliest > now { Turn::At(earliest) } else { Turn::Now }
    }

    /// A request begins.
    pub fn begin(&mut self, now: Duration, limits: Limits) {
        self.under_way = self.under_way.saturating_add(1);
        self.next = self.next.max(now.saturating_sub(SLACK)).saturating_add(SECOND / limits.per_second.max(1));
    }

    /// A request ended. `seed` is chance.
    pub fn end(&mut self, now: Duration, ending: Ending, seed: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        let pause = match ending {
            Ending::NotAsked => return,
            Ending::Answered => {
                self.misses = 0;
                return;
            }
            Ending::Busy(Some(pause)) => Duration::try_from(pause).unwrap_or_default().min(LONGEST_PAUSE),
            // It was begun before the silence was known of: that counts once.
            Ending::Busy(None) | Ending::Silent if self.misses > 0 && self.quiet_until > now => return,
            Ending::Busy(None) | Ending::Silent => {
                let whole = (FIRST_SILENCE * (1 << self.misses.min(6))).min(LONGEST_SILENCE);
                whole / 2 + part(whole / 2, seed)
            }
        };
        self.misses = self.misses.saturating_add(1);
        self.quiet_until = self.quiet_until.max(now.saturating_add(pause));
    }

    /// Whether the last request had no answer.
    pub fn is_away(&self) -> bool {
        self.misses > 0
    }

    /// Until when it is left alone, if it is.
    pub fn quiet_until(&self, now: Duration) -> Option<Duration> {
        Some(self.quiet_until).filter(|until| *until > now)
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }
}

/// A share of `whole`, by `seed`.
fn part(whole: Duration, seed: u64) -> Duration {
    let nanoseconds = whole.as_nanos().min(u128::from(u64::MAX));
    Duration::from_nanos(u64::try_from((nanoseconds * u128::from(seed)) >> 64).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { at_once: 4, per_second: 10 };

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_authority_that_names_a_pause_is_left_alone_until_then() {
        let mut pace = Pace::default();
        pace.begin(at(0), LIMITS);
        pace.end(at(10), Ending::Busy(Some(SignedDuration::from_secs(30))), 0);
        assert_eq!(pace.turn(at(1000), LIMITS, false), Turn::At(at(30_010)));
        assert_eq!(pace.turn(at(30_010), LIMITS, false), Turn::Now);
        // … but for one that would be too late afterwards.
        assert_eq!(pace.turn(at(1000), LIMITS, true), Turn::Now);
        pace.begin(at(1000), LIMITS);
        assert_eq!(pace.turn(at(2000), LIMITS, true), Turn::WhenOneEnds);
    }

    #[test]
    fn after_silence_one_alone_finds_out_whether_the_authority_is_back() {
        let mut pace = Pace::default();
        pace.begin(at(0), LIMITS);
        pace.end(at(10), Ending::Silent, u64::MAX);
        let Turn::At(again) = pace.turn(at(20), LIMITS, false) else { panic!("it is asked at once") };
        assert!(again >= at(500) && again <= at(1010), "{again:?}");
        pace.begin(again, LIMITS);
        assert_eq!(pace.turn(again + SECOND, LIMITS, false), Turn::WhenOneEnds);
        pace.end(again + SECOND, Ending::Answered, 0);
        pace.begin(again + SECOND, LIMITS);
        assert_eq!(pace.turn(again + SECOND * 2, LIMITS, false), Turn::Now);
    }

    #[test]
    fn silence_is_never_longer_than_a_minute_and_a_pause_never_longer_than_an_hour() {
        let mut pace = Pace::default();
        let mut now = at(0);
        for _ in 0..100 {
            pace.begin(now, LIMITS);
            pace.end(now, Ending::Silent, u64::MAX);
            let until = pace.quiet_until(now).unwrap();
            assert!(until <= now + at(60_000));
            now = until;
        }
        pace.begin(now, LIMITS);
        pace.end(now, Ending::Busy(Some(SignedDuration::from_hours(1000))), 0);
        assert_eq!(pace.quiet_until(now), Some(now + LONGEST_PAUSE));
    }

    #[test]
    fn many_that_fail_together_are_one_silence() {
        let mut pace = Pace::default();
        let limits = Limits { at_once: 8, per_second: 1000 };
        for _ in 0..8 {
            pace.begin(at(200), limits);
        }
        for _ in 0..8 {
            pace.end(at(210), Ending::Silent, u64::MAX);
        }
        assert!(pace.quiet_until(at(210)).is_some_and(|until| until <= at(1210)));
    }

    proptest! {
        #[test]
        fn the_limits_hold_whatever_happens(
            at_once in 1_u32..6,
            per_second in 1_u32..200,
            steps in proptest::collection::vec((0_u64..200, 0_u8..5, any::<u64>()), 1..300),
        ) {
            let limits = Limits { at_once, per_second };
            let mut pace = Pace::default();
            let (mut now, mut begun) = (at(0), Vec::new());
            for (later, what, seed) in steps {
                now += at(later);
                match (what, pace.turn(now, limits, false)) {
                    (0 | 1, Turn::Now) => {
                        prop_assert!(pace.quiet_until(now).is_none());
                        pace.begin(now, limits);
                        begun.push(now);
                        prop_assert!(pace.under_way() <= at_once);
                    }
                    (0 | 1, _) => {}
                    (2, _) if pace.under_way() > 0 => pace.end(now, Ending::Answered, seed),
                    (3, _) if pace.under_way() > 0 => pace.end(now, Ending::Silent, seed),
                    (4, _) if pace.under_way() > 0 => {
                        pace.end(now, Ending::Busy(Some(SignedDuration::from_millis(300))), seed);
                    }
                    _ => {}
                }
                let lately = begun.iter().filter(|one| **one + SECOND > now).count();
                // The slack of a tenth of a second, and one at each end.
                prop_assert!(lately <= (per_second + per_second / 10 + 2) as usize);
            }
        }

        #[test]
        fn it_always_says_when_to_come_back(
            steps in proptest::collection::vec((0_u64..100, any::<bool>(), any::<u64>()), 1..100),
        ) {
            let mut pace = Pace::default();
            let mut now = at(0);
            for (later, answers, seed) in steps {
                now += at(later);
                match pace.turn(now, LIMITS, false) {
                    Turn::Now => pace.begin(now, LIMITS),
                    Turn::At(then) => {
                        prop_assert!(then > now && then <= now + LONGEST_PAUSE);
                        now = then;
                    }
                    Turn::WhenOneEnds => {
                        prop_assert!(pace.under_way() > 0);
                        pace.end(now, if answers { Ending::Answered } else { Ending::Silent }, seed);
                    }
                }
            }
        }
    }
}
