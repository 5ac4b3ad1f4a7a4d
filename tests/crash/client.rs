//! A pair of files in a folder of its own, the client that replaces it, and a run of that client until its end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use keywheel_tests::place::{Place, keywheel};

/// No rekey takes longer, even on a busy machine; one that does never ends by itself.
const LONGEST: Duration = Duration::from_secs(20);

/// How certificate and key stand on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Two files.
    Flat,
    /// Two links into a directory of generations.
    Generations,
    /// One file for both.
    Combined,
}

/// How the client runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `ca rekey`, which ends by itself.
    Once,
    /// `ca rekey --daemon`, due at once, ended after its first rekey or its first failure.
    Daemon,
}

/// What the client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A new key.
    Rekey,
    /// A new key whose service refuses it, so that the old pair comes back.
    RollBack,
    /// The same key.
    Renew,
    /// The same pair in another layout.
    Convert(Layout),
}

/// What is tampered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub layout: Layout,
    pub mode: Mode,
    pub deed: Deed,
}

const fn once(layout: Layout, deed: Deed) -> Subject {
    Subject { layout, mode: Mode::Once, deed }
}

const fn daemon(layout: Layout) -> Subject {
    Subject { layout, mode: Mode::Daemon, deed: Deed::Rekey }
}

/// Every layout, one-shot and as a daemon.
pub const REKEYS: &[Subject] = &[
    once(Layout::Flat, Deed::Rekey),
    once(Layout::Generations, Deed::Rekey),
    once(Layout::Combined, Deed::Rekey),
    daemon(Layout::Flat),
    daemon(Layout::Generations),
    daemon(Layout::Combined),
];

/// What else replaces a pair, or moves it.
pub const OTHERS: &[Subject] = &[
    once(Layout::Flat, Deed::RollBack),
    once(Layout::Generations, Deed::RollBack),
    once(Layout::Combined, Deed::RollBack),
    once(Layout::Flat, Deed::Renew),
    once(Layout::Generations, Deed::Renew),
    once(Layout::Combined, Deed::Renew),
    once(Layout::Flat, Deed::Convert(Layout::Generations)),
    once(Layout::Generations, Deed::Convert(Layout::Flat)),
    once(Layout::Flat, Deed::Convert(Layout::Combined)),
    once(Layout::Combined, Deed::Convert(Layout::Flat)),
];

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Generations => "generations",
            Self::Combined => "combined",
        }
    }
}

impl Subject {
    /// For people.
    pub fn name(self) -> String {
        let layout = self.layout.name();
        match (self.deed, self.mode) {
            (Deed::Rekey, Mode::Once) => format!("rekey, {layout}, one-shot"),
            (Deed::Rekey, Mode::Daemon) => format!("rekey, {layout}, daemon"),
            (Deed::RollBack, _) => format!("rekey and rollback, {layout}"),
            (Deed::Renew, _) => format!("renewal, {layout}"),
            (Deed::Convert(to), _) => format!("layout, {layout} to {}", to.name()),
        }
    }

    /// The exit code of a run that nobody tampers with.
    pub fn exit_code(self) -> i32 {
        if self.deed == Deed::RollBack { 7 } else { 0 }
    }

    /// How the pair lies in the end.
    pub fn layout_in_the_end(self) -> Layout {
        if let Deed::Convert(to) = self.deed { to } else { self.layout }
    }
}

/// Hooks, which write down of which certificate the service was told.
const TOLD: &str = "sh -c 'echo $KEYWHEEL_FINGERPRINT >>told'";
/// A service that cannot use what it is told of.
const REFUSED: &str = "sh -c 'echo $KEYWHEEL_FINGERPRINT >>told; exit 1'";
/// Ends the daemon, which finishes what it does all the same.
const TOLD_LAST: &str = "sh -c 'echo $KEYWHEEL_FINGERPRINT >>told; kill $PPID'";

/// One pair, and who replaces it.
pub struct Client<'a> {
    pub subject: Subject,
    pub folder: PathBuf,
    place: &'a Place,
}

impl<'a> Client<'a> {
    /// Has a first certificate issued into a new folder.
    pub fn new(place: &'a Place, subject: Subject, folder: &str) -> Self {
        let client = Self { subject, folder: place.file(folder), place };
        std::fs::create_dir(&client.folder).expect("the folder is new");
        client.must(&["ca", "certificate", "svc", "svc.crt", "svc.key", "--provisioner-password-file", "../password"]);
        client.lie(subject.layout);
        client
    }

    /// Before each run: what was moved lies again as at first.
    pub fn make_ready(&self) {
        if matches!(self.subject.deed, Deed::Convert(_)) {
            self.lie(self.subject.layout);
        }
    }

    fn lie(&self, layout: Layout) {
        self.must(&words_to_convert(layout));
    }

    /// Where a service reads the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("svc.crt")
    }

    /// Where it reads the key.
    pub fn key(&self) -> PathBuf {
        self.folder.join("svc.key")
    }

    /// The fingerprints of which the service was told, in order.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.folder.join("told")).unwrap_or_default()
    }

    /// What is tampered with, from the beginning.
    pub fn words(&self) -> Vec<String> {
        match (self.subject.deed, self.subject.mode) {
            (Deed::Rekey, Mode::Daemon) => {
                self.with_hook(&["ca", "rekey", "--daemon", "--rekey-period", "1ms"], TOLD_LAST)
            }
            (Deed::Rekey, Mode::Once) => self.with_hook(&["ca", "rekey", "--force"], TOLD),
            (Deed::RollBack, _) => self.with_hook(&["ca", "rekey", "--force", "--rollback"], REFUSED),
            (Deed::Renew, _) => self.with_hook(&["ca", "renew", "--force"], TOLD),
            (Deed::Convert(to), _) => words_to_convert(to).into_iter().map(String::from).collect(),
        }
    }

    /// The start after a crash. A one-shot run may only repair, so that a rekey cannot hide what was not repaired.
    pub fn next_start(&self) -> Vec<String> {
        match (self.subject.deed, self.subject.mode) {
            (Deed::Rekey, Mode::Once) | (Deed::RollBack, _) => {
                self.with_hook(&["ca", "rekey", "--force", "--expires-in", "1m"], TOLD)
            }
            (Deed::Renew, _) => self.with_hook(&["ca", "renew", "--force", "--expires-in", "1m"], TOLD),
            (Deed::Rekey, Mode::Daemon) | (Deed::Convert(_), _) => self.words(),
        }
    }

    fn with_hook(&self, command: &[&str], hook: &str) -> Vec<String> {
        // The one file is named as itself by half of the runs, by the links to it by the other half.
        let files: &[&str] = match (self.subject.layout, self.subject.mode) {
            (Layout::Combined, Mode::Once) => &["--combined", "svc.pem"],
            _ => &["svc.crt", "svc.key"],
        };
        [command, &["--exec", hook], files].concat().into_iter().map(String::from).collect()
    }

    /// Runs the client with these words to its end.
    pub fn run(&self, words: &[String]) -> Ended {
        self.start(words).wait()
    }

    /// Starts the client with these words.
    pub fn start(&self, words: &[String]) -> Run {
        Run::start(self.command(keywheel()).args(words), self.subject.mode)
    }

    /// Starts another program that ends by itself.
    pub fn start_as_once(&self, command: &mut Command) -> Run {
        Run::start(command, Mode::Once)
    }

    /// Runs the client with these words under strace, which writes what it sees into the trace.
    pub fn run_traced(&self, strace: &[String], words: &[String]) -> Ended {
        let mut command = self.command("strace");
        command.arg("-o").arg(self.trace()).args(strace).arg(keywheel()).args(words);
        Run::start(&mut command, self.subject.mode).wait()
    }

    /// The trace stands beside the folder, which must hold the pair alone.
    pub fn trace(&self) -> PathBuf {
        self.folder.with_extension("trace")
    }

    /// A program that will run in the folder.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.place.command(program);
        command.current_dir(&self.folder);
        command
    }

    fn must(&self, words: &[&str]) {
        let done = self.command(keywheel()).args(words).output().expect("the client can be started");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A client that runs.
pub struct Run {
    child: Child,
    lines: mpsc::Receiver<String>,
    mode: Mode,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; nothing after SIGKILL.
    pub code: Option<i32>,
    /// All that it said.
    pub said: String,
    /// Whether it had to be killed because it went on and on.
    pub hung: bool,
}

impl Run {
    fn start(command: &mut Command, mode: Mode) -> Self {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().expect("its output is ours"), sender.clone());
        forward(child.stderr.take().expect("its output is ours"), sender);
        Self { child, lines, mode }
    }

    /// Kills it as the power would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
    }

    /// Waits for its end. A daemon that has failed would try again in some seconds: it is told to end instead.
    pub fn wait(mut self) -> Ended {
        let until = Instant::now() + LONGEST;
        let mut said = Vec::new();
        let mut hung = false;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if self.mode == Mode::Daemon && line.contains("; trying again in ") {
                        signal("TERM", self.client());
                    }
                    // A process that can no longer wake its own threads never ends, and says so at least.
                    if line.contains("failed to wake I/O driver") {
                        signal("KILL", self.client());
                    }
                    said.push(line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    hung = true;
                    signal("KILL", self.client());
                    break;
                }
            }
        }
        let status = self.child.wait().expect("it is our child");
        let code = if status.signal().is_some() { None } else { status.code() };
        Ended { code, said: said.join("\n"), hung }
    }

    /// The client's process: strace's child, where strace runs it.
    fn client(&self) -> u32 {
        let own = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let is_strace = std::fs::read_to_string(format!("/proc/{own}/comm")).is_ok_and(|name| name.trim() == "strace");
        match children.split_whitespace().next() {
            Some(child) if is_strace => child.parse().expect("a process id is a number"),
            _ => own,
        }
    }
}

fn words_to_convert(to: Layout) -> Vec<&'static str> {
    let mut words = vec!["certificate", "layout", "--to", to.name()];
    if to == Layout::Combined {
        words.extend(["--file", "svc.pem"]);
    }
    words.extend(["svc.crt", "svc.key"]);
    words
}

fn signal(name: &str, process: u32) {
    // It may have ended meanwhile.
    let _ = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null()).status();
}

fn forward(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}
