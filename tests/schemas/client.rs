//! The commands that ask a CA for something, and the daemon.

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::place::{Place, keywheel};
use serde_json::Value;

use crate::seen::Seen;

const GRANT: [&str; 2] = ["--provisioner-password-file", "password"];

/// Certificates, tokens, trust.
pub fn asks(seen: &mut Seen) {
    let ca = Ca::start();
    let place = &ca.place;
    let certificate = |words: &[&'static str]| [&["ca", "certificate"], words, &GRANT].concat();
    seen.result("ca-certificate", place, &certificate(&["svc.local", "svc.crt", "svc.key"]));
    seen.result("ca-certificate", place, &certificate(&["Service", "rsa.crt", "rsa.key", "--kty", "RSA"]));
    seen.failure(2, place, &certificate(&["svc.local", "svc.crt", "svc.key"]));
    seen.failure(2, place, &["ca", "certificate", "svc.local"]);
    let offline = ["--offline", "--password-file", "password"];
    seen.result("ca-certificate", place, &[&certificate(&["o.local", "o.crt", "o.key"])[..], &offline].concat());

    let openssl = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout r.key -out r.csr \
                   -subj /CN=r.local -addext subjectAltName=DNS:r.local,IP:10.0.0.1";
    place.run("openssl", &openssl.split_whitespace().collect::<Vec<_>>()).ok();
    seen.result("ca-sign", place, &[&["ca", "sign", "r.csr", "r.crt"], &GRANT[..]].concat());
    seen.failure(2, place, &[&["ca", "sign", "svc.key", "x.crt"], &GRANT[..]].concat());

    let token = ["ca", "token", "t.local", "--password-file", "password"];
    seen.result("ca-token", place, &token);
    seen.result("ca-token", place, &[&token[..], &["--output-file", "token"]].concat());
    seen.failure(2, place, &[&token[..], &["--renew"]].concat());

    seen.result("ca-health", place, &["ca", "health"]);
    seen.failure(4, place, &["ca", "health", "--ca-url", "https://localhost:1"]);
    let known =
        seen.result("certificate-fingerprint", place, &["certificate", "fingerprint", "step/certs/root_ca.crt"]);
    let fingerprint = known["fingerprints"][0].as_str().expect("it is text");
    let url = ca.url();
    let trust = ["--ca-url", &url, "--fingerprint", fingerprint];
    seen.result("ca-root", place, &[&["ca", "root"], &trust[..]].concat());
    seen.result("ca-root", place, &[&["ca", "root", "root.pem"], &trust[..]].concat());
    let other = ["ca", "root", "--ca-url", &url, "--fingerprint", &"0".repeat(64)];
    seen.failure(3, place, &other);
    seen.result("ca-roots", place, &["ca", "roots"]);
    seen.result("ca-roots", place, &["ca", "roots", "roots.pem"]);
    seen.failure(2, place, &["ca", "roots", "roots.pem"]);
    let elsewhere = Place::new();
    seen.result("ca-bootstrap", &elsewhere, &[&["ca", "bootstrap"], &trust[..]].concat());
    seen.failure(2, &Place::new(), &["ca", "bootstrap", "--ca-url", &url]);
}

/// Rekey, renewal, revocation, once and again and again.
pub fn turns_keys(seen: &mut Seen) {
    let mut ca = Ca::start();
    let (certificate, key) = ca.certificate("svc.local");
    let place = &ca.place;
    let pair = [certificate.as_str(), key.as_str()];
    let rekey = |words: &[&'static str]| [&["ca", "rekey", pair[0], pair[1]], words].concat();
    seen.result("ca-rekey", place, &rekey(&["--force"]));
    seen.result("ca-rekey", place, &rekey(&["--dry-run"]));
    seen.result("ca-rekey", place, &rekey(&["--force", "--expires-in", "1h"]));
    seen.result_with("ca-rekey", 7, place, &rekey(&["--force", "--exec", "false"]));
    seen.failure(2, place, &rekey(&["--expires-in", "1x"]));
    seen.failure(2, place, &rekey(&[]));
    seen.failure(4, place, &rekey(&["--force", "--ca-url", "https://localhost:1"]));
    let renew = |words: &[&'static str]| [&["ca", "renew", pair[0], pair[1]], words].concat();
    seen.result("ca-renew", place, &renew(&["--force"]));
    seen.result("ca-renew", place, &renew(&["--force", "--expires-in", "1h"]));
    seen.result_with("ca-renew", 7, place, &renew(&["--force", "--exec", "false"]));
    seen.failure(2, place, &["ca", "renew", "absent.crt", "absent.key"]);

    daemon(seen, place, "rekey", &pair);
    daemon(seen, place, "renew", &pair);

    let shown = seen.result("certificate-inspect", place, &["certificate", "inspect", pair[0]]);
    let serial = shown["serial_number"].as_str().expect("it is text");
    seen.result("ca-revoke", place, &[&["ca", "revoke", serial], &GRANT[..]].concat());
    seen.failure(3, place, &rekey(&["--force"]));
    let (certificate, key) = ca.certificate("b.local");
    let revoke = ["ca", "revoke", "--cert", &certificate, "--key", &key];
    seen.result("ca-revoke", place, &[&revoke[..], &["--reason", "lost", "--reasonCode", "keyCompromise"]].concat());
    seen.failure(3, place, &revoke);
    seen.failure(2, place, &["ca", "revoke", "no-number"]);
    too_late(seen, &mut ca);
}

/// Work, a hook that fails, and files that change.
fn daemon(seen: &mut Seen, place: &Place, deed: &str, pair: &[&str; 2]) {
    place.run("sh", &["-c", "printf '#!/bin/sh\\ntest ! -e broken\\n' >hook; chmod +x hook"]).ok();
    let period = format!("--{deed}-period");
    let words = ["ca", deed, "--json", "--force", "--daemon", &period, "3s", "--exec", "./hook", pair[0], pair[1]];
    let mut daemon = start(place, &words);
    daemon.wait_for(if deed == "rekey" { "\"event\":\"rekeyed\"" } else { "\"event\":\"renewed\"" });
    place.write("broken", "");
    daemon.wait_for("\"event\":\"hook-failed\"");
    std::fs::remove_file(place.file("broken")).expect("it can be removed");
    place.keywheel(&["ca", "rekey", "--force", pair[0], pair[1]]).ok();
    daemon.wait_for("\"event\":\"files-changed\"");
    stop(seen, daemon, &words);
}

/// A CA that is away until the certificate has expired.
fn too_late(seen: &mut Seen, ca: &mut Ca) {
    ca.place.keywheel(&["ca", "provisioner", "update", "admin", "--x509-min-dur", "1s"]).ok();
    ca.restart(&[]);
    let ask = ["ca", "certificate", "c.local", "c.crt", "c.key", "--not-after", "5s"];
    ca.place.keywheel(&[&ask, &GRANT[..]].concat()).ok();
    ca.server.signal("TERM");
    ca.server.wait();
    let words = ["ca", "rekey", "--json", "--force", "--daemon", "c.crt", "c.key"];
    let mut daemon = start(&ca.place, &words);
    daemon.wait_for("\"event\":\"failed\"");
    daemon.wait_for("\"event\":\"expired\"");
    stop(seen, daemon, &words);
}

fn start(place: &Place, words: &[&str]) -> Background {
    let mut command = place.command(keywheel());
    command.args(words);
    Background::start(command)
}

/// Ends a daemon, and keeps all that it said.
fn stop(seen: &mut Seen, mut daemon: Background, words: &[&str]) {
    daemon.signal("TERM");
    daemon.wait_for("\"event\":\"stopped\"");
    assert_eq!(daemon.wait(), 0);
    for line in daemon.said().lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let schema = if value.get("warning").is_some() { "warning" } else { "daemon-event" };
        seen.put(schema, &format!("{}: {line}", words.join(" ")), value);
    }
}
