//! The real `step ca rekey`, killed and refused in the same way: the line beside ours, and the proof that the judge can say no.

use std::path::Path;
use std::time::Duration;

use keywheel_tests::report;
use serde_json::{Value, json};

use crate::client::{Client, Ended};
use crate::judge::Seen;
use crate::random::Chance;
use crate::sweep::ERRORS;

/// Kills at random moments, for the report alone: the moments that matter are short.
const RANDOM_KILLS: usize = 2_000;

/// How long its run is, about; a kill that comes later meets nothing.
const LENGTH: Duration = Duration::from_millis(80);

/// A pair that the reference replaces, and what it was.
struct Victim<'a> {
    client: Client<'a>,
    step: &'a Path,
    before: Seen,
}

/// Kills it at every call that changes one of its two files, refuses each, and kills it at random moments.
pub fn step(client: Client<'_>, step: &Path, seed: u64) -> Value {
    let victim = Victim { before: Seen::now(&client), client, step };
    let mut killed = (0, 0);
    let mut refused = (0, 0);
    for name in ["openat", "write"] {
        for number in 1.. {
            let Some(usable) = victim.tamper(name, number, "signal=SIGKILL") else { break };
            killed = (killed.0 + 1, killed.1 + usize::from(!usable));
            let turn = if report::full() { 0..ERRORS.len() } else { 0..1 };
            for error in &ERRORS[turn] {
                if let Some(usable) = victim.tamper(name, number, &format!("error={error}")) {
                    refused = (refused.0 + 1, refused.1 + usize::from(!usable));
                }
            }
        }
    }
    assert!(killed.0 >= 4, "strace saw only {} calls on its files", killed.0);
    assert!(killed.1 > 0, "the judge finds nothing wrong with a writer that empties a file before it writes it");
    let random = victim.kill_at_random(report::count(0, RANDOM_KILLS), &mut Chance::new(seed, 0));
    json!({
        "what": "step ca rekey, two files",
        "killed at": killed.0,
        "unusable then": killed.1,
        "calls refused": refused.0,
        "unusable after those": refused.1,
        "killed at random moments": random.0,
        "unusable after that": random.1,
        "seed": seed,
    })
}

impl Victim<'_> {
    /// Whether the pair was usable afterwards; nothing where there was no such call.
    fn tamper(&self, name: &str, number: usize, tampering: &str) -> Option<bool> {
        let mut command = self.client.command("strace");
        command.args(["-f", "-yy", "-qq", "-o"]).arg(self.client.trace());
        for file in [self.client.certificate(), self.client.key()] {
            command.arg("-P").arg(file);
        }
        command.args(["-e", &format!("trace={name}"), "-e", &format!("inject={name}:{tampering}:when={number}")]);
        command.arg(self.step).args(self.words());
        let ended = self.client.start_as_once(&mut command).wait();
        let trace = std::fs::read_to_string(self.client.trace()).unwrap_or_default();
        let usable = self.judge_and_restore(&ended);
        let calls = trace.lines().filter(|line| line.contains(&format!(" {name}("))).count();
        (calls >= number).then_some(usable)
    }

    fn kill_at_random(&self, kills: usize, chance: &mut Chance) -> (usize, usize) {
        let mut seen = (0, 0);
        while seen.0 < kills {
            let mut command = self.client.command(self.step);
            let mut run = self.client.start_as_once(command.args(self.words()));
            std::thread::sleep(chance.within(LENGTH));
            run.kill();
            let ended = run.wait();
            let killed = ended.code.is_none();
            let usable = self.judge_and_restore(&ended);
            seen = (seen.0 + usize::from(killed), seen.1 + usize::from(killed && !usable));
        }
        seen
    }

    fn judge_and_restore(&self, ended: &Ended) -> bool {
        assert!(!ended.hung, "it goes on and on: {}", ended.said);
        let usable = Seen::now(&self.client).judge().is_ok();
        // Nothing of its own would repair it.
        self.before.restore(&self.client);
        usable
    }

    /// It reads by other names than it writes: strace looks at the written names alone.
    fn words(&self) -> Vec<String> {
        let [certificate, key] = [self.client.certificate(), self.client.key()].map(|file| file.display().to_string());
        let words = ["ca", "rekey", "--force", "--out-cert", &certificate, "--out-key", &key, "svc.crt", "svc.key"];
        words.map(String::from).into()
    }
}
