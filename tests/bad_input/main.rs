//! Bad input on every route: the documented answer each time, never a 5xx, a panic or a hang, and the server goes on.

mod bodies;
mod certificates;
mod questions;
mod requests;
mod tokens;
mod transport;

use std::path::PathBuf;

use keywheel_signer::file_key::FileKey;
use keywheel_tests::ca::{Ca, PASSWORD};
use keywheel_wire::jose::{jwe, jwk::PrivateJwk};
use serde_json::{Value, json};

/// A CA, what is needed to ask it well, and a count of the questions that were asked badly.
struct Judge {
    ca: Ca,
    /// The provisioner's key and its key id.
    provisioner: (FileKey, String),
    asked: usize,
    wrong: Vec<String>,
}

/// A question and the answer that is documented for it.
struct Case<'a> {
    name: String,
    method: &'a str,
    path: &'a str,
    body: Vec<u8>,
    headers: Vec<String>,
    /// Certificate and key files of the client, if any.
    client: Option<(&'a str, &'a str)>,
    status: u16,
    says: &'a str,
}

impl<'a> Case<'a> {
    fn post(path: &'a str, name: impl Into<String>, body: impl Into<Vec<u8>>, status: u16, says: &'a str) -> Self {
        Self {
            name: name.into(),
            method: "POST",
            path,
            body: body.into(),
            headers: Vec::new(),
            client: None,
            status,
            says,
        }
    }

    fn get(path: &'a str, status: u16, says: &'a str) -> Self {
        let (name, body) = (path.to_owned(), Vec::new());
        Self { name, method: "GET", path, body, headers: Vec::new(), client: None, status, says }
    }
}

impl Judge {
    fn new() -> Self {
        let ca = Ca::start();
        let provisioner = provisioner_key(&ca);
        Self { ca, provisioner, asked: 0, wrong: Vec::new() }
    }

    /// Asks once under `/` and once under `/1.0`, and notes every answer that is not the documented one.
    fn ask(&mut self, case: &Case) {
        for prefix in ["", "/1.0"] {
            self.asked += 1;
            let (status, body) = self.answer(case, prefix);
            let shape = if status == 404 && case.says == "404 page not found" || status == 405 {
                true
            } else {
                serde_json::from_str::<Value>(&body)
                    .is_ok_and(|answer| answer["status"] == status && answer["message"].is_string())
            };
            if status != case.status || !body.contains(case.says) || !shape {
                self.wrong.push(format!(
                    "{} {prefix}{} [{}]: {status} {body:?}, expected {} and {:?}",
                    case.method, case.path, case.name, case.status, case.says
                ));
            }
        }
    }

    fn answer(&self, case: &Case, prefix: &str) -> (u16, String) {
        let place = &self.ca.place;
        let body = place.write("body", &case.body);
        let url = format!("{}{prefix}{}", self.ca.url(), case.path);
        let mut words: Vec<String> = ["-sS", "--max-time", "20", "--path-as-is", "--cacert", "step/certs/root_ca.crt"]
            .map(String::from)
            .into_iter()
            .chain(["-X".into(), case.method.into(), "-w".into(), "\n%{http_code}".into()])
            .collect();
        if case.method != "GET" {
            words.extend(["--data-binary".into(), format!("@{}", body.display())]);
        }
        // By a file, since an argument list has a limit that headers of these tests exceed.
        let headers = place.write("headers", case.headers.join("\n"));
        words.extend(["-H".into(), format!("@{}", headers.display())]);
        if let Some((certificate, key)) = case.client {
            words.extend(["--cert".into(), certificate.into(), "--key".into(), key.into()]);
        }
        words.push(url);
        let done = place.run("curl", &words.iter().map(String::as_str).collect::<Vec<_>>());
        let (body, status) = done.stdout.rsplit_once('\n').unwrap_or(("", "0"));
        let status = status.parse().unwrap_or(0);
        (status, if body.is_empty() { done.stderr } else { body.to_owned() })
    }

    /// Panics with every wrong answer; then sees that the server is well and never panicked.
    #[track_caller]
    fn judge(mut self, at_least: usize) {
        assert_eq!(self.ca.place.keywheel(&["ca", "health"]).ok().stdout.trim(), "ok");
        let said = self.ca.server.said();
        assert!(!said.contains("panicked"), "the server panicked:\n{said}");
        assert!(
            self.wrong.is_empty(),
            "{} of {} answers are wrong:\n{}",
            self.wrong.len(),
            self.asked,
            self.wrong.join("\n")
        );
        assert!(self.asked >= at_least, "only {} questions were asked", self.asked);
        println!("{} bad questions, each with its documented answer", self.asked);
    }

    /// A good request for these names, made by OpenSSL.
    fn csr(&self, common_name: &str, names: &str) -> String {
        let mut words = vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let subject = format!("/CN={common_name}");
        let extension = format!("subjectAltName={names}");
        words.extend(["-keyout", "csr.key", "-subj", &subject, "-addext", &extension]);
        self.ca.place.run("openssl", &words).ok().stdout
    }
}

/// The provisioner's key, out of `ca.json` as any client gets it.
fn provisioner_key(ca: &Ca) -> (FileKey, String) {
    let configuration: Value =
        serde_json::from_str(&ca.place.read("step/config/ca.json")).expect("our init writes JSON");
    let provisioner = &configuration["authority"]["provisioners"][0];
    let encrypted = provisioner["encryptedKey"].as_str().expect("the key is there");
    let clear = jwe::decrypt(encrypted, PASSWORD.as_bytes()).expect("the password opens it");
    let key = PrivateJwk::parse(&clear).expect("it holds a key");
    let id = provisioner["key"]["kid"].as_str().expect("the key has an id").to_owned();
    (FileKey::from_private_key(key.private_key().clone()).expect("the key signs"), id)
}

/// A certificate and its key for a client.
fn client(judge: &Judge, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = judge.ca.certificate(name);
    (judge.ca.place.file(&certificate), judge.ca.place.file(&key))
}

/// A body of `/sign`.
fn sign_body(csr: &str, token: &str) -> Vec<u8> {
    json!({ "csr": csr, "ott": token }).to_string().into_bytes()
}
