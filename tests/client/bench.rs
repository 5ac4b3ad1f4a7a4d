//! A CA with one certificate of it on the bench, and what the CA's log says about the questions that it was asked.

use std::path::Path;
use std::process::Command;

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::peer;
use keywheel_tests::place::{Done, Place, keywheel};
use keywheel_tests::step_ca::StepCa;
use serde_json::Value;

/// The certificate on the bench and its key.
pub const PAIR: [&str; 2] = ["svc.crt", "svc.key"];

/// A running CA of ours, with `svc.crt` and `svc.key`.
pub struct Bench {
    pub ca: Ca,
    marks: u32,
}

impl Bench {
    /// A CA as our `init` makes it, and a certificate of a day.
    pub fn start() -> Self {
        let bench = Self::empty();
        bench.issue(&[]);
        bench
    }

    /// The same without a certificate.
    pub fn empty() -> Self {
        Self { ca: Ca::start(), marks: 0 }
    }

    /// A CA whose certificates may be as short as a second, and one that lives as long as told.
    pub fn short_lived(life: &str, claims: &[&str]) -> Self {
        let mut bench = Self::empty();
        bench.claims(&[&["--x509-min-dur", "1s"], claims].concat());
        bench.issue(&["--not-after", life]);
        bench
    }

    /// Where everything is.
    pub fn place(&self) -> &Place {
        &self.ca.place
    }

    /// Issues the certificate on the bench.
    #[track_caller]
    pub fn issue(&self, flags: &[&str]) {
        let words = ["ca", "certificate", "--force", "--provisioner-password-file", "password"];
        self.place().keywheel(&[&words[..], flags, &["svc.local"], &PAIR].concat()).ok();
    }

    /// Changes the claims of the provisioner and lets the server read them.
    pub fn claims(&mut self, flags: &[&str]) {
        self.place().keywheel(&[&["ca", "provisioner", "update", "admin"], flags].concat()).ok();
        self.reload();
    }

    /// Changes `ca.json` and lets the server read it.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change_configuration(self.place(), change);
        self.reload();
    }

    /// Lets the server read `ca.json` again.
    pub fn reload(&mut self) {
        self.ca.server.signal("HUP");
        self.ca.server.wait_for("configuration was read again");
    }

    /// Runs `keywheel ca rekey --force`, with the pair of the bench as the last words.
    pub fn rekey(&self, flags: &[&str]) -> Done {
        rekey(self.place(), flags)
    }

    /// Ends the server.
    pub fn away(&mut self) {
        self.ca.server.signal("TERM");
        self.ca.server.wait();
    }

    /// Starts the server again after that.
    pub fn back(&mut self) {
        let mut command = self.place().command(keywheel());
        command.args(["ca", "serve", "--password-file", "password"]);
        let mut server = Background::start(command);
        server.wait_for("listening");
        self.ca.server = server;
    }

    /// All that the CA has logged up to this moment.
    pub fn log(&mut self) -> String {
        self.marks += 1;
        // What was logged before this question stands before it in the log.
        let mark = format!("/root/mark-{}-end", self.marks);
        let root = self.place().file("step/certs/root_ca.crt").display().to_string();
        self.place().run("curl", &["-sS", "--cacert", &root, &format!("{}{mark}", self.ca.url())]).ok();
        self.ca.server.wait_for(&mark);
        self.ca.server.said()
    }

    /// How many rekeys the CA was asked for.
    pub fn asked(&mut self) -> usize {
        self.log().lines().filter(|line| line.contains("path=\"/rekey\"") && line.contains("answered")).count()
    }

    /// How many certificates it issued for rekeys, those that it only showed again not counted.
    pub fn issued(&mut self) -> usize {
        let log = self.log();
        let issued = |line: &&str| line.contains("issued by=\"rekey\"") && line.contains("replayed=false");
        log.lines().filter(issued).count()
    }

    /// Runs something that must fail with this code and these words, change neither file and ask nothing of the CA.
    #[track_caller]
    pub fn refuses(&mut self, what: impl FnOnce(&Place) -> Done, code: i32, says: &str) {
        let (before, asked) = (pair(self.place()), self.asked());
        what(self.place()).fails(code, says);
        assert_eq!(before, pair(self.place()), "a refused rekey changed the files");
        assert_eq!(asked, self.asked(), "a refused rekey asked the authority");
    }
}

/// Runs `keywheel ca rekey --force` with the pair of the place as the last words.
pub fn rekey(place: &Place, flags: &[&str]) -> Done {
    place.keywheel(&[&["ca", "rekey", "--force"], flags, &PAIR].concat())
}

/// Starts a daemon for the pair of the place.
pub fn daemon(place: &Place, flags: &[&str]) -> Background {
    daemon_with(place.command(keywheel()), flags)
}

/// The same with a command that was prepared, such as one with more environment.
pub fn daemon_with(mut command: Command, flags: &[&str]) -> Background {
    command.args(["ca", "rekey", "--daemon"]).args(flags).args(PAIR);
    Background::start(command)
}

/// Ends a daemon as a service manager does: it goes with exit code 0.
#[track_caller]
pub fn stop(daemon: &mut Background) {
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0, "{}", daemon.said());
}

/// What is in the files of the pair.
pub fn pair(place: &Place) -> (String, String) {
    (place.read("svc.crt"), place.read("svc.key"))
}

/// The public key of a certificate, as OpenSSL reads it.
#[track_caller]
pub fn public_key(place: &Place, certificate: &str) -> String {
    place.run("openssl", &["x509", "-in", certificate, "-noout", "-pubkey"]).ok().stdout
}

/// OpenSSL's description of a certificate.
#[track_caller]
pub fn described(place: &Place, certificate: &str) -> String {
    place.run("openssl", &["x509", "-in", certificate, "-noout", "-text"]).ok().stdout
}

/// The serial number, in hexadecimal as OpenSSL prints it.
#[track_caller]
pub fn serial(place: &Place, certificate: &str) -> String {
    place.run("openssl", &["x509", "-in", certificate, "-noout", "-serial"]).ok().stdout.trim().to_owned()
}

/// The key in this file belongs to the certificate in that one, as OpenSSL reads both.
#[track_caller]
pub fn belong_together(place: &Place, certificate: &str, key: &str) {
    let of_key = place.run("openssl", &["pkey", "-in", key, "-pubout", "-passin", "file:password"]).ok().stdout;
    assert_eq!(public_key(place, certificate), of_key, "{certificate} and {key} do not belong together");
}

/// Changes `ca.json`, ours or the reference's.
pub fn change_configuration(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut configuration = serde_json::from_str(&place.read("step/config/ca.json")).expect("ca.json is JSON");
    change(&mut configuration);
    place.write("step/config/ca.json", configuration.to_string());
}

/// The reference's CA with a certificate on its bench.
pub struct Reference {
    pub ca: StepCa,
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Asked politely it takes two seconds to go.
        self.ca.server.signal("KILL");
        self.ca.server.wait();
    }
}

/// The reference's CA; `None` (said aloud) where it is not installed.
pub fn reference() -> Option<Reference> {
    changed_reference(|_| ())
}

/// The same with another `ca.json`.
pub fn changed_reference(change: impl FnOnce(&mut Value)) -> Option<Reference> {
    let (place, port) = StepCa::initialise()?;
    change_configuration(&place, change);
    let mut command = place.command(peer::step_ca()?);
    command.args(["step/config/ca.json", "--password-file", "password"]);
    let mut server = Background::start(command);
    server.wait_for("Serving HTTPS");
    let words = ["ca", "certificate", "svc.local", "svc.crt", "svc.key", "--provisioner-password-file", "password"];
    place.keywheel(&words).ok();
    Some(Reference { ca: StepCa { place, port, server } })
}

/// Runs a test against our CA, then against the reference's.
pub fn at_both(test: impl Fn(&Place)) {
    test(Bench::start().place());
    if let Some(reference) = reference() {
        test(&reference.ca.place);
    }
}

/// Whether tests that mount file systems can run here; said aloud where not.
pub fn may_mount() -> bool {
    let able = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !able {
        let required = std::env::var_os("KEYWHEEL_REQUIRE_PEERS").is_some();
        assert!(!required, "file systems cannot be mounted here: these tests want to be root");
        eprintln!("SKIPPED: file systems cannot be mounted here, so a full disk is not tried; run the tests as root");
    }
    able
}

/// Whether a file is there.
pub fn exists(place: &Place, name: &str) -> bool {
    Path::new(&place.file(name)).exists()
}
