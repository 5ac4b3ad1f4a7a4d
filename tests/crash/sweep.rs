//! Tampering with every point of a rekey, one after the other, and the judgement after each.

use std::collections::BTreeSet;

use keywheel_tests::report;
use serde_json::{Value, json};

use crate::client::{Client, Ended, Layout};
use crate::judge::{self, Seen, Wrong};
use crate::points::{self, Came, Deed, Point};

/// What the operating system says in turn.
pub const ERRORS: &[&str] = &["ENOSPC", "EIO", "EDQUOT", "EACCES", "EROFS"];

/// OpenSSL is asked about every so many of the pairs.
const SAMPLE: usize = 20;

/// After so many findings nobody reads on.
const WRONGS: usize = 20;

/// A call that a run did not come to is tried again this often.
const TRIES: usize = 5;

/// By so much the number of a call may differ from run to run.
const NEAR: usize = 2;

/// SIGKILL at every call. Returns the row of the report.
pub fn killed(client: &Client) -> Value {
    let tally = sweep(client, |_| vec!["signal=SIGKILL".into()]);
    json!({
        "what": client.subject.name(),
        "killed at": tally.points,
        "different calls on files among them": tally.deeds.len(),
        "unusable at once": tally.mismatches,
        "unusable after the next start": 0,
        "left over after the next start": 0,
    })
}

/// An error at every call: the five in turn, or for the report all five at each. Returns the row of the report.
pub fn refused(client: &Client) -> Value {
    let tally = sweep(client, |index| {
        let turn = if report::full() { 0..ERRORS.len() } else { index % ERRORS.len()..index % ERRORS.len() + 1 };
        ERRORS[turn].iter().map(|error| format!("error={error}")).collect()
    });
    json!({
        "what": client.subject.name(),
        "calls refused": tally.points,
        "different calls on files among them": tally.deeds.len(),
        "it succeeded all the same": tally.succeeded,
        "unusable at once": 0,
        "untrue messages and exit codes": 0,
        "unusable after the next start": 0,
        "left over after the next start": 0,
    })
}

/// Tampers with every call of a rekey, at the call of this index in these ways.
#[track_caller]
fn sweep(client: &Client, ways: impl Fn(usize) -> Vec<String>) -> Tally {
    let before = Seen::now(client);
    let calls = points::calls(client);
    judge::next_start_repairs(client, &before, "").unwrap_or_else(|wrong| panic!("nothing was tampered with: {wrong}"));
    client.make_ready();
    let mut tally = Tally::default();
    for (index, point) in calls.points.iter().enumerate() {
        for way in ways(index) {
            tally.tamper(client, point, &way);
        }
    }
    // The calls that wake threads come as they like, so that the number of another call is now and then a little more or less.
    for _ in 0..TRIES {
        for (deed, point) in &calls.deeds {
            for number in point.number.saturating_sub(NEAR).max(1)..=point.number + NEAR {
                if !tally.deeds.contains(deed) {
                    tally.tamper(client, &Point { number, ..point.clone() }, &ways(number)[0]);
                }
            }
        }
    }
    assert!(tally.wrongs.is_empty(), "{}", tally.wrongs.join("\n\n"));
    let missed: Vec<&Deed> = calls.deeds.keys().filter(|deed| !tally.deeds.contains(*deed)).collect();
    assert!(missed.is_empty(), "these calls were never tampered with: {missed:?}");
    assert!(tally.points > 20, "only {} points: strace did not see the calls", tally.points);
    tally
}

/// What was seen so far.
#[derive(Default)]
struct Tally {
    /// Runs that were tampered with.
    points: usize,
    /// Runs that said nothing of it and succeeded.
    succeeded: usize,
    /// Flat files of which only one had been replaced.
    mismatches: usize,
    /// The calls on files that were tampered with.
    deeds: BTreeSet<Deed>,
    /// What was found.
    wrongs: Vec<String>,
}

impl Tally {
    fn tamper(&mut self, client: &Client, point: &Point, tampering: &str) {
        let before = Seen::now(client);
        let (ended, came) = points::tamper(client, point, tampering);
        let at = format!("{}, {} number {}, {tampering}", client.subject.name(), point.name, point.number);
        let judged = match came {
            Came::ToIt(deed) => {
                let refused = !tampering.starts_with("signal");
                let judged = self.judge(client, point, &deed, &ended, &before, refused);
                self.deeds.extend(deed.clone());
                judged.map_err(|wrong| format!("{at}, at {deed:?}: {wrong}; it said: {}", ended.said))
            }
            // Such a run ends well, or was ended since its threads did not wake each other: the next one must go on all the same.
            Came::NotToIt => Ok(()),
        };
        let repaired =
            judge::next_start_repairs(client, &before, &ended.said).map_err(|wrong| format!("{at}: {wrong}"));
        client.make_ready();
        self.wrongs.extend([judged, repaired].into_iter().filter_map(Result::err));
        assert!(self.wrongs.len() < WRONGS, "{}", self.wrongs.join("\n\n"));
    }

    fn judge(
        &mut self,
        client: &Client,
        point: &Point,
        deed: &Option<Deed>,
        ended: &Ended,
        before: &Seen,
        refused: bool,
    ) -> Result<(), String> {
        self.points += 1;
        let now = Seen::now(client);
        let judged = now.judge();
        match &judged {
            Ok(()) if self.points.is_multiple_of(SAMPLE) => judge::openssl_agrees(client)?,
            Ok(()) => {}
            // Two flat files cannot be replaced at one instant. Each is whole, and the next start brings the other.
            Err(Wrong::Mismatch) if client.subject.layout == Layout::Flat && !refused => self.mismatches += 1,
            Err(wrong) => return Err(format!("unusable: {wrong:?}")),
        }
        if ended.hung {
            return Err("it goes on and on".into());
        }
        if !refused {
            return Ok(());
        }
        let done = judged.is_ok() && now.is_result_of(client.subject.deed, before);
        self.succeeded += usize::from(done && ended.code == Some(0));
        // What could not be written to the terminal cannot be read there.
        let unheard = point.name == "write" && deed.is_none();
        if unheard { Ok(()) } else { judge::is_true(client, ended, before, &now) }
    }
}
