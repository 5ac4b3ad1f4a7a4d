//! A CA that can be killed and started again, and how long each start takes until it answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::https::Door;
use keywheel_tests::place::{Place, keywheel};
use keywheel_tests::provisioner::Provisioner;
use keywheel_tests::report;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A CA, its door and who makes its tokens.
pub struct Site {
    pub ca: Ca,
    pub door: Door,
    pub provisioner: Arc<Provisioner>,
    /// The times of all starts, from the start of the process until it answered.
    pub ready: Vec<Duration>,
}

impl Site {
    /// Initialises a CA and starts it, with more flags of `ca init`.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Place::new(), flags)
    }

    /// The same in a place that was prepared.
    pub fn start_in(place: Place, flags: &[&str]) -> Self {
        let ca = Ca::start_in(place, flags);
        let door = Door::new(ca.port, &ca.place.file("step/certs/root_ca.crt"));
        let provisioner = Arc::new(Provisioner::of(&ca));
        Self { ca, door, provisioner, ready: Vec::new() }
    }

    /// Ends the server without a word.
    pub fn kill(&mut self) {
        self.ca.server.signal("KILL");
        self.ca.server.wait();
    }

    /// Starts the server again and waits until it answers.
    pub fn restart(&mut self) {
        let (server, ready) = started(&self.ca.place, &self.door, &[]);
        self.ca.server = server;
        self.ready.push(ready);
    }

    /// Stops the server in order, and looks for damage in its database.
    pub fn check(&mut self) {
        self.ca.server.signal("TERM");
        assert_eq!(self.ca.server.wait(), 0, "{}", self.ca.server.said());
        self.ca.place.keywheel(&["db", "check"]).ok();
    }
}

/// For the report one after the other, so that no test's times are those of another; in CI all at once.
pub fn in_turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    report::full().then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A server that was just started in a place and answers at its door, and how long that took.
pub fn started(place: &Place, door: &Door, words: &[&str]) -> (Background, Duration) {
    let mut command = place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password"]).args(words);
    let start = Instant::now();
    let mut server = Background::start(command);
    while door.get("/health").status != 200 {
        let failed = start.elapsed() > PATIENCE || server.has_ended();
        assert!(!failed, "the server does not answer; it said:\n{}\n{}", server.said(), room(place));
        std::thread::sleep(Duration::from_millis(1));
    }
    (server, start.elapsed())
}

/// What lies in the folder of the database, and what room its disk has.
pub fn room(place: &Place) -> String {
    place.run("sh", &["-c", "ls -ls step/db; df -B1 step/db"]).stdout
}

/// The middle and the longest of some times, in milliseconds.
pub fn median_and_longest(times: &[Duration]) -> (f64, f64) {
    let mut times: Vec<f64> = times.iter().map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0).collect();
    times.sort_by(f64::total_cmp);
    (times.get(times.len() / 2).copied().unwrap_or(0.0), times.last().copied().unwrap_or(0.0))
}
