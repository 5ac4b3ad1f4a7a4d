//! Our client against the real, unchanged `step-ca`.

use keywheel_tests::ca::Background;
use keywheel_tests::place::keywheel;
use keywheel_tests::step_ca::StepCa;

use crate::judges::{openssl_verifies, pair_matches, public_key};

fn with_certificate() -> Option<StepCa> {
    let ca = StepCa::start()?;
    ca.place
        .keywheel(&["ca", "certificate", "svc.local", "svc.crt", "svc.key", "--provisioner-password-file", "password"])
        .ok();
    openssl_verifies(&ca.place, "svc.crt");
    Some(ca)
}

#[test]
fn our_client_reads_the_references_defaults_and_asks_for_health_roots_and_provisioners() {
    let Some(ca) = StepCa::start() else { return };
    assert_eq!(ca.place.keywheel(&["ca", "health"]).ok().stdout.trim(), "ok");
    let root = ca.place.read("step/certs/root_ca.crt");
    assert_eq!(ca.place.keywheel(&["ca", "roots"]).ok().stdout.trim(), root.trim());
    assert_eq!(ca.place.keywheel(&["ca", "root"]).ok().stdout.trim(), root.trim());
}

#[test]
fn our_client_bootstraps_from_a_real_step_ca_and_refuses_a_wrong_fingerprint() {
    let Some(mut ca) = StepCa::start() else { return };
    let fingerprint = ca.place.keywheel(&["certificate", "fingerprint", "step/certs/root_ca.crt"]).ok().stdout;
    ca.place.set("STEPPATH", ca.place.file("other").display().to_string());
    let wrong = "0".repeat(64);
    let done = ca.place.keywheel(&["ca", "bootstrap", "--ca-url", &ca.url(), "--fingerprint", &wrong]);
    assert_ne!(done.code, 0);
    assert!(!ca.place.file("other/certs/root_ca.crt").exists());
    ca.place.keywheel(&["ca", "bootstrap", "--ca-url", &ca.url(), "--fingerprint", fingerprint.trim()]).ok();
    assert_eq!(ca.place.keywheel(&["ca", "health"]).ok().stdout.trim(), "ok");
}

#[test]
fn our_client_makes_tokens_and_signs_requests_at_a_real_step_ca() {
    let Some(ca) = StepCa::start() else { return };
    let token = ca.place.keywheel(&["ca", "token", "t.local", "--provisioner-password-file", "password"]).ok().stdout;
    ca.place.keywheel(&["ca", "certificate", "t.local", "t.crt", "t.key", "--token", token.trim()]).ok();
    pair_matches(&ca.place, "t.crt", "t.key");
    let words =
        ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "o.key", "-out", "o.csr", "-subj", "/CN=o.local"];
    ca.place.run("openssl", &[&words[..], &["-addext", "subjectAltName=DNS:o.local"]].concat()).ok();
    ca.place.keywheel(&["ca", "sign", "o.csr", "o.crt", "--provisioner-password-file", "password"]).ok();
    pair_matches(&ca.place, "o.crt", "o.key");
}

#[test]
fn our_rekey_changes_the_key_at_a_real_step_ca_with_every_key_type() {
    let Some(ca) = with_certificate() else { return };
    for flags in [
        &[][..],
        &["--kty", "EC", "--curve", "P-384"],
        &["--kty", "EC", "--curve", "P-521"],
        &["--kty", "OKP"],
        &["--kty", "RSA"],
        &["--expires-in", "9999h"],
    ] {
        let before = public_key(&ca.place, "svc.crt");
        let mut words = vec!["ca", "rekey", "--force", "svc.crt", "svc.key"];
        words.extend(flags);
        ca.place.keywheel(&words).ok();
        assert_ne!(before, public_key(&ca.place, "svc.crt"), "{flags:?} did not change the key");
        openssl_verifies(&ca.place, "svc.crt");
        pair_matches(&ca.place, "svc.crt", "svc.key");
    }
}

#[test]
fn our_daemon_really_rekeys_at_a_real_step_ca() {
    let Some(ca) = with_certificate() else { return };
    let mut keys = vec![public_key(&ca.place, "svc.crt")];
    let mut command = ca.place.command(keywheel());
    command.args(["ca", "rekey", "--daemon", "--rekey-period", "1s", "--exec", "touch hooked", "svc.crt", "svc.key"]);
    let mut daemon = Background::start(command);
    for _ in 0..3 {
        daemon.wait_for("rekeyed");
        keys.push(public_key(&ca.place, "svc.crt"));
        pair_matches(&ca.place, "svc.crt", "svc.key");
    }
    assert!(ca.place.file("hooked").exists());
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "a rekey kept the key");
}

#[test]
fn our_renew_keeps_the_key_and_our_revoke_ends_it_at_a_real_step_ca() {
    let Some(ca) = with_certificate() else { return };
    let before = public_key(&ca.place, "svc.crt");
    ca.place.keywheel(&["ca", "renew", "--force", "svc.crt", "svc.key"]).ok();
    assert_eq!(before, public_key(&ca.place, "svc.crt"));
    ca.place.keywheel(&["ca", "revoke", "--cert", "svc.crt", "--key", "svc.key"]).ok();
    let pair = (ca.place.read("svc.crt"), ca.place.read("svc.key"));
    let refused = ca.place.keywheel(&["ca", "rekey", "--force", "svc.crt", "svc.key"]);
    assert_eq!(refused.code, 3, "a refusal of the CA has exit code 3: {}", refused.stderr);
    assert_eq!(pair, (ca.place.read("svc.crt"), ca.place.read("svc.key")), "a refused rekey changed the files");
}

#[test]
fn a_ca_that_cannot_be_reached_is_exit_code_four_and_changes_nothing() {
    let Some(mut ca) = with_certificate() else { return };
    ca.server.signal("TERM");
    ca.server.wait();
    let pair = (ca.place.read("svc.crt"), ca.place.read("svc.key"));
    let done = ca.place.keywheel(&["ca", "rekey", "--force", "svc.crt", "svc.key"]);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert_eq!(pair, (ca.place.read("svc.crt"), ca.place.read("svc.key")));
}

#[test]
fn an_encrypted_key_stays_encrypted_with_the_same_password() {
    let Some(ca) = with_certificate() else { return };
    ca.place
        .run("openssl", &["pkcs8", "-topk8", "-in", "svc.key", "-out", "enc.key", "-passout", "file:password"])
        .ok();
    let words = ["ca", "rekey", "--force", "--password-file", "password", "svc.crt", "enc.key"];
    ca.place.keywheel(&words).ok();
    assert!(ca.place.read("enc.key").contains("BEGIN ENCRYPTED PRIVATE KEY"));
    pair_matches(&ca.place, "svc.crt", "enc.key");
}
