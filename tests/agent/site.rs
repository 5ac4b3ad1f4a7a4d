//! A CA, pairs of it, a directory of TOML files, and an agent that keeps them fresh.

use std::time::{Duration, Instant};

use keywheel_tests::ca::{Background, Ca, free_port};
use keywheel_tests::place::{Place, keywheel};
use serde_json::Value;

/// One CA with the configuration of an agent beside it.
pub struct Site {
    pub ca: Ca,
}

impl Site {
    /// With these pairs, each with a file of its own.
    pub fn with(names: &[&str]) -> Self {
        let site = Self { ca: Ca::start() };
        site.settings("");
        for name in names {
            site.ca.certificate(name);
            site.entry(name, "");
        }
        site
    }

    /// Where everything is.
    pub fn place(&self) -> &Place {
        &self.ca.place
    }

    /// Writes `agent.toml` as an editor does: beside it, then renamed.
    pub fn settings(&self, more: &str) {
        self.replace("agent.toml", &format!("[agent]\nrescan = \"1s\"\nsocket = \"../agent.sock\"\n{more}"));
    }

    /// Writes the entry of one pair.
    pub fn entry(&self, name: &str, more: &str) {
        self.replace(
            &format!("{name}.toml"),
            &format!(
                "[[certificate]]\nname = \"{name}\"\ncertificate = \"../{name}.crt\"\nkey = \"../{name}.key\"\n{more}"
            ),
        );
    }

    fn replace(&self, file: &str, content: &str) {
        let new = self.place().write(&format!("agent.d/.{file}.new"), content);
        std::fs::rename(new, self.place().file(&format!("agent.d/{file}"))).expect("it can be renamed");
    }

    /// Starts an agent and waits until it has read its files.
    pub fn agent(&self) -> Background {
        self.agent_with(self.place().command(keywheel()))
    }

    /// The same by a command that was prepared.
    pub fn agent_with(&self, mut command: std::process::Command) -> Background {
        command.args(["agent", "--config", "agent.d"]);
        let mut agent = Background::start(command);
        agent.wait_for("fresh (");
        agent
    }

    /// What the agent says about itself.
    pub fn status(&self) -> Value {
        let told = self.place().keywheel(&["agent", "status", "--json", "--socket", "agent.sock"]).ok();
        serde_json::from_str(&told.stdout).expect("it is JSON")
    }

    /// What it says about one certificate.
    pub fn status_of(&self, name: &str) -> Value {
        let told = self.place().keywheel(&["agent", "status", "--json", "--socket", "agent.sock", name]).ok();
        let told: Value = serde_json::from_str(&told.stdout).expect("it is JSON");
        told["certificates"][0].clone()
    }

    /// Asks for a rekey now; its exit code.
    pub fn rekey(&self, name: &str) -> i32 {
        self.place().keywheel(&["agent", "rekey", "--socket", "agent.sock", name]).code
    }

    /// Waits until what the agent says about itself is as wanted.
    #[track_caller]
    pub fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it never came to this; it is:\n{status:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The public key of a certificate, by OpenSSL.
    pub fn public_key(&self, name: &str) -> String {
        let certificate = format!("{name}.crt");
        self.place().run("openssl", &["x509", "-in", &certificate, "-noout", "-pubkey"]).ok().stdout
    }

    /// Certificate and key belong together, by OpenSSL.
    #[track_caller]
    pub fn belong_together(&self, name: &str) {
        let key = format!("{name}.key");
        let of_key = self.place().run("openssl", &["pkey", "-in", &key, "-pubout"]).ok().stdout;
        assert_eq!(self.public_key(name), of_key, "{name} is torn apart");
    }
}

/// Ends an agent politely.
#[track_caller]
pub fn stop(agent: &mut Background) {
    agent.signal("TERM");
    assert_eq!(agent.wait(), 0, "{}", agent.said());
}

/// Where an agent may serve metrics.
pub fn metrics_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
