//! Kills at random moments, without a tracer, over and over on the same pair.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Layout};
use crate::judge::{self, Seen, Wrong};

/// OpenSSL is asked about every so many of the pairs.
const SAMPLE: usize = 100;

/// Runs that are measured to know how long one takes.
const MEASURED: usize = 5;

/// Chance, to be had again from its seed (SplitMix64).
pub struct Chance(u64);

impl Chance {
    /// The chance of one of the workers that share a seed.
    pub fn new(seed: u64, worker: usize) -> Self {
        Self(seed ^ (worker as u64).rotate_right(16))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A moment within a time.
    pub fn within(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.next() as f64 / u64::MAX as f64)
    }
}

/// What was seen.
#[derive(Default)]
pub struct Tally {
    kills: usize,
    journals: usize,
    replaced: usize,
    mismatches: usize,
    too_late: usize,
    length: Duration,
}

/// Kills the client so often.
pub fn kill(client: &Client, kills: usize, chance: &mut Chance) -> Tally {
    let mut tally = Tally { length: length(client), ..Tally::default() };
    while tally.kills < kills {
        let before = Seen::now(client);
        let delay = chance.within(tally.length);
        let mut run = client.start(&client.words());
        std::thread::sleep(delay);
        run.kill();
        let ended = run.wait();
        if ended.code.is_some() {
            tally.too_late += 1;
            assert!(tally.too_late < 10 * kills.max(10), "the kills come too late: {ended:?}");
            continue;
        }
        tally.kills += 1;
        let at = format!("{}, kill number {} after {delay:?}", client.subject.name(), tally.kills);
        let now = Seen::now(client);
        tally.journals += usize::from(judge::journal(client).exists());
        tally.replaced += usize::from(now.is_result_of(client.subject.deed, &before));
        match now.judge() {
            Ok(()) if tally.kills.is_multiple_of(SAMPLE) => {
                judge::openssl_agrees(client).unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
            }
            Ok(()) => {}
            Err(Wrong::Mismatch) if client.subject.layout == Layout::Flat => tally.mismatches += 1,
            Err(wrong) => panic!("{at}: unusable: {wrong:?}"),
        }
        judge::next_start_repairs(client, &before, &ended.said).unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
    }
    tally
}

impl Tally {
    /// Two workers' together.
    pub fn and(self, other: &Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            journals: self.journals + other.journals,
            replaced: self.replaced + other.replaced,
            mismatches: self.mismatches + other.mismatches,
            too_late: self.too_late + other.too_late,
            length: self.length.max(other.length),
        }
    }

    /// The row of the report.
    pub fn row(&self, what: &str, seed: u64) -> Value {
        json!({
            "what": what,
            "kills": self.kills,
            "in the midst of a replacement": self.journals,
            "with the new pair in place already": self.replaced,
            "unusable at once": self.mismatches,
            "unusable after the next start": 0,
            "left over after the next start": 0,
            "length of a run, ms": self.length.as_millis() as u64,
            "seed": seed,
        })
    }
}

/// The median of some runs that nobody kills.
fn length(client: &Client) -> Duration {
    let mut lengths: Vec<Duration> = (0..MEASURED)
        .map(|_| {
            let began = Instant::now();
            let ended = client.run(&client.words());
            assert_eq!(ended.code, Some(0), "nobody killed it: {}", ended.said);
            began.elapsed()
        })
        .collect();
    lengths.sort();
    lengths[MEASURED / 2]
}
