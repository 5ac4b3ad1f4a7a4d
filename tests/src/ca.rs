//! A running CA of ours on a free port, stopped with the value.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{Place, keywheel};

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A program in the background, whose output can be awaited; it is ended with the value.
pub struct Background {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Background {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let (sender, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            forward(out, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            forward(err, sender);
        }
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits until a line holds this text, at most a minute; panics with all lines if none does or the program ends before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("the program never said {text:?}; it said:\n{}", self.seen.join("\n"));
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal could not be sent");
    }

    /// Waits for its end and returns its exit code.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().expect("the program can be waited for").code().unwrap_or(-1)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// All that it has said so far.
    pub fn said(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // A polite end first, so that children and sockets go with it.
        self.signal("TERM");
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// A CA of ours: initialised in the place's `STEPPATH`, serving on a free port.
pub struct Ca {
    /// Where it lives; commands run here find it by its `defaults.json`.
    pub place: Place,
    /// Its port.
    pub port: u16,
    /// The server.
    pub server: Background,
}

/// The password of every CA key in the tests.
pub const PASSWORD: &str = "correct horse battery staple";

impl Ca {
    /// Initialises with our defaults and starts.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Initialises with more flags and starts.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Place::new(), flags)
    }

    /// The same in a place that was prepared.
    pub fn start_in(place: Place, flags: &[&str]) -> Self {
        let port = free_port();
        place.write("password", PASSWORD);
        let address = format!("127.0.0.1:{port}");
        let mut words = vec!["ca", "init", "--name", "Test", "--dns", "localhost,127.0.0.1", "--address", &address];
        words.extend(["--provisioner", "admin", "--password-file", "password"]);
        words.extend(flags);
        place.keywheel(&words).ok();
        // The address to listen on is the loopback's; the name that clients use is localhost.
        let server = serve(&place, &[]);
        Self { place, port, server }
    }

    /// Stops the server and starts it again with these flags.
    pub fn restart(&mut self, flags: &[&str]) {
        self.server.signal("TERM");
        self.server.wait();
        self.server = serve(&self.place, flags);
    }

    /// The CA's URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Issues a certificate by token into `<name>.crt` and `<name>.key`.
    pub fn certificate(&self, name: &str) -> (String, String) {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        self.place
            .keywheel(&["ca", "certificate", name, &certificate, &key, "--provisioner-password-file", "password"])
            .ok();
        (certificate, key)
    }
}

/// Starts a server in a place.
pub fn serve(place: &Place, words: &[&str]) -> Background {
    let mut command = place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password"]).args(words);
    let mut server = Background::start(command);
    server.wait_for("listening");
    server
}

/// `ca.json` of a place.
pub fn configuration(place: &Place) -> Value {
    serde_json::from_str(&place.read("step/config/ca.json")).expect("ca.json is JSON")
}
