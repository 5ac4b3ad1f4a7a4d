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

/// What is tampered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub layout: Layout,
    pub mode: Mode,
}

/// Every layout, one-shot and as a daemon.
pub const SUBJECTS: &[Subject] = &[
    Subject { layout: Layout::Flat, mode: Mode::Once },
    Subject { layout: Layout::Flat, mode: Mode::Daemon },
    Subject { layout: Layout::Generations, mode: Mode::Once },
    Subject { layout: Layout::Generations, mode: Mode::Daemon },
    Subject { layout: Layout::Combined, mode: Mode::Once },
    Subject { layout: Layout::Combined, mode: Mode::Daemon },
];

impl Subject {
    pub fn name(self) -> String {
        let layout = match self.layout {
            Layout::Flat => "flat",
            Layout::Generations => "generations",
            Layout::Combined => "combined",
        };
        let mode = match self.mode {
            Mode::Once => "one-shot",
            Mode::Daemon => "daemon",
        };
        format!("{layout}, {mode}")
    }
}

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
        match subject.layout {
            Layout::Flat => {}
            Layout::Generations => {
                client.must(&["ca", "rekey", "--force", "--layout", "generations", "svc.crt", "svc.key"]);
            }
            Layout::Combined => {
                let read = |name: &str| std::fs::read(client.folder.join(name)).expect("it was issued");
                let both = [read("svc.key"), read("svc.crt")].concat();
                std::fs::write(client.folder.join("svc.pem"), both).expect("it can be written");
                for name in ["svc.key", "svc.crt"] {
                    std::fs::remove_file(client.folder.join(name)).expect("it was there");
                }
            }
        }
        client
    }

    /// Where a service reads the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(if self.subject.layout == Layout::Combined { "svc.pem" } else { "svc.crt" })
    }

    /// Where it reads the key.
    pub fn key(&self) -> PathBuf {
        self.folder.join(if self.subject.layout == Layout::Combined { "svc.pem" } else { "svc.key" })
    }

    /// The fingerprints of which the service was told, in order.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.folder.join("told")).unwrap_or_default()
    }

    /// A rekey from the beginning.
    pub fn rekey(&self) -> Vec<String> {
        match self.subject.mode {
            Mode::Once => self.words(&["ca", "rekey", "--force"]),
            Mode::Daemon => self.words(&["ca", "rekey", "--daemon", "--rekey-period", "1ms"]),
        }
    }

    /// The start after a crash. The one-shot run may only repair, so that a rekey cannot hide what was not repaired.
    pub fn next_start(&self) -> Vec<String> {
        match self.subject.mode {
            Mode::Once => self.words(&["ca", "rekey", "--force", "--expires-in", "1m"]),
            Mode::Daemon => self.rekey(),
        }
    }

    fn words(&self, command: &[&str]) -> Vec<String> {
        // The daemon is ended by its own hook: what it does then is not cut off.
        let hook = match self.subject.mode {
            Mode::Once => "sh -c 'echo $KEYWHEEL_FINGERPRINT >>told'",
            Mode::Daemon => "sh -c 'echo $KEYWHEEL_FINGERPRINT >>told; kill $PPID'",
        };
        let files: &[&str] = match self.subject.layout {
            Layout::Flat | Layout::Generations => &["svc.crt", "svc.key"],
            Layout::Combined => &["--combined", "svc.pem"],
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
