//! The real `step`, unchanged, as the client of our CA.

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::peer;

use crate::judges::{openssl_verifies, pair_matches, public_key};

/// A CA of ours whose place is used by the real `step`, with a certificate that `step` obtained.
fn with_certificate() -> Option<(Ca, std::path::PathBuf)> {
    let step = peer::step()?;
    let ca = Ca::start();
    ca.place
        .run(
            &step,
            &["ca", "certificate", "svc.local", "svc.crt", "svc.key", "--provisioner-password-file", "password"],
        )
        .ok();
    Some((ca, step))
}

#[test]
fn step_reads_the_defaults_that_our_init_writes() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    assert_eq!(ca.place.run(&step, &["ca", "health"]).ok().stdout.trim(), "ok");
    let roots = ca.place.run(&step, &["ca", "roots"]).ok().stdout;
    assert_eq!(roots.trim(), ca.place.read("step/certs/root_ca.crt").trim());
    let provisioners = ca.place.run(&step, &["ca", "provisioner", "list"]).ok().stdout;
    let provisioners: serde_json::Value = serde_json::from_str(&provisioners).expect("step prints JSON");
    assert_eq!(provisioners[0]["name"], "admin");
    assert_eq!(provisioners[0]["type"], "JWK");
}

#[test]
fn step_decrypts_the_ca_keys_that_our_init_encrypts() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    for key in ["step/secrets/root_ca_key", "step/secrets/intermediate_ca_key"] {
        let done = ca.place.run(
            &step,
            &["crypto", "key", "format", "--pem", "--no-password", "--insecure", "--password-file", "password", key],
        );
        assert!(done.ok().stdout.contains("PRIVATE KEY"));
    }
}

#[test]
fn step_bootstraps_by_fingerprint() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let fingerprint = ca.place.run(&step, &["certificate", "fingerprint", "step/certs/root_ca.crt"]).ok().stdout;
    ca.place.set("STEPPATH", ca.place.file("other").display().to_string());
    ca.place.run(&step, &["ca", "bootstrap", "--ca-url", &ca.url(), "--fingerprint", fingerprint.trim()]).ok();
    assert_eq!(ca.place.read("other/certs/root_ca.crt").trim(), ca.place.read("step/certs/root_ca.crt").trim());
    ca.place.run(&step, &["ca", "health"]).ok();
}

#[test]
fn step_makes_a_token_that_works_once() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let token =
        ca.place.run(&step, &["ca", "token", "svc.local", "--provisioner-password-file", "password"]).ok().stdout;
    let words = ["ca", "certificate", "svc.local", "svc.crt", "svc.key", "--force", "--token", token.trim()];
    ca.place.run(&step, &words).ok();
    openssl_verifies(&ca.place, "svc.crt");
    assert_ne!(ca.place.run(&step, &words).code, 0, "a one-time token worked twice");
    // Not even a restart forgets it, and a fresh token from before the restart still works.
    let fresh =
        ca.place.run(&step, &["ca", "token", "svc.local", "--provisioner-password-file", "password"]).ok().stdout;
    ca.restart(&[]);
    assert_ne!(ca.place.run(&step, &words).code, 0, "a one-time token worked again after a restart");
    ca.place
        .run(&step, &["ca", "certificate", "svc.local", "svc.crt", "svc.key", "--force", "--token", fresh.trim()])
        .ok();
}

#[test]
fn step_renews_and_the_key_stays() {
    let Some((ca, step)) = with_certificate() else { return };
    let before = (public_key(&ca.place, "svc.crt"), ca.place.read("svc.crt"));
    ca.place.run(&step, &["ca", "renew", "--force", "svc.crt", "svc.key"]).ok();
    assert_eq!(before.0, public_key(&ca.place, "svc.crt"));
    assert_ne!(before.1, ca.place.read("svc.crt"));
    // The other flow, with a token signed by the certificate's own key.
    ca.place.run(&step, &["ca", "renew", "--force", "--mtls=false", "svc.crt", "svc.key"]).ok();
    openssl_verifies(&ca.place, "svc.crt");
}

#[test]
fn step_rekeys_with_every_key_type_and_flag() {
    let Some((ca, step)) = with_certificate() else { return };
    for flags in [
        &[][..],
        &["--kty", "EC", "--curve", "P-384"],
        &["--kty", "EC", "--curve", "P-521"],
        &["--kty", "OKP"],
        &["--kty", "RSA"],
        &["--kty", "RSA", "--size", "3072"],
        &["--expires-in", "9999h"],
        &["--exec", "touch executed"],
    ] {
        let before = public_key(&ca.place, "svc.crt");
        let words = [&["ca", "rekey", "--force"], flags, &["svc.crt", "svc.key"]].concat();
        ca.place.run(&step, &words).ok();
        assert_ne!(before, public_key(&ca.place, "svc.crt"), "{flags:?} did not change the key");
        openssl_verifies(&ca.place, "svc.crt");
        pair_matches(&ca.place, "svc.crt", "svc.key");
    }
    assert!(ca.place.file("executed").exists());
}

#[test]
fn step_rekeys_into_other_files_and_with_a_given_key() {
    let Some((ca, step)) = with_certificate() else { return };
    let words = ["ca", "rekey", "--out-cert", "new.crt", "--out-key", "new.key", "svc.crt", "svc.key"];
    ca.place.run(&step, &words).ok();
    pair_matches(&ca.place, "new.crt", "new.key");
    ca.place.run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "given.key"]).ok();
    let words =
        ["ca", "rekey", "--force", "--private-key", "given.key", "--out-cert", "given.crt", "new.crt", "new.key"];
    ca.place.run(&step, &words).ok();
    pair_matches(&ca.place, "given.crt", "given.key");
}

#[test]
fn step_skips_a_rekey_that_is_not_due() {
    let Some((ca, step)) = with_certificate() else { return };
    let before = ca.place.read("svc.crt");
    let done = ca.place.run(&step, &["ca", "rekey", "--force", "--expires-in", "1h", "svc.crt", "svc.key"]).ok();
    assert!(done.stdout.contains("not rekeyed") || done.stderr.contains("not rekeyed"));
    assert_eq!(before, ca.place.read("svc.crt"));
}

#[test]
fn steps_rekey_daemon_keeps_its_certificate_fresh() {
    let Some((ca, step)) = with_certificate() else { return };
    let before = ca.place.read("svc.crt");
    let mut command = ca.place.command(&step);
    command.args(["ca", "rekey", "--daemon", "--rekey-period", "1s", "svc.crt", "svc.key"]);
    let mut daemon = Background::start(command);
    daemon.wait_for("certificate renewed");
    assert_ne!(before, ca.place.read("svc.crt"));
    openssl_verifies(&ca.place, "svc.crt");
}

#[test]
fn step_revokes_by_token_and_by_certificate_and_then_nothing_renews() {
    let Some((ca, step)) = with_certificate() else { return };
    ca.place.run(&step, &["ca", "revoke", "--cert", "svc.crt", "--key", "svc.key"]).ok();
    assert_ne!(ca.place.run(&step, &["ca", "renew", "--force", "svc.crt", "svc.key"]).code, 0);
    assert_ne!(ca.place.run(&step, &["ca", "rekey", "--force", "svc.crt", "svc.key"]).code, 0);
    ca.place
        .run(
            &step,
            &["ca", "certificate", "two.local", "two.crt", "two.key", "--provisioner-password-file", "password"],
        )
        .ok();
    let two = ca.place.run(&step, &["certificate", "inspect", "--format", "json", "two.crt"]).ok().stdout;
    let two: serde_json::Value = serde_json::from_str(&two).expect("step prints JSON");
    let serial = two["serial_number"].as_str().expect("it has a serial").to_owned();
    let token =
        ca.place.run(&step, &["ca", "token", "--revoke", "--provisioner-password-file", "password", &serial]).ok();
    ca.place.run(&step, &["ca", "revoke", "--token", token.stdout.trim(), &serial]).ok();
    assert_ne!(ca.place.run(&step, &["ca", "rekey", "--force", "two.crt", "two.key"]).code, 0);
}

#[test]
fn step_signs_a_request_made_by_openssl() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let words =
        ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "o.key", "-out", "o.csr", "-subj", "/CN=o.local"];
    ca.place.run("openssl", &[&words[..], &["-addext", "subjectAltName=DNS:o.local"]].concat()).ok();
    ca.place.run(&step, &["ca", "sign", "o.csr", "o.crt", "--provisioner-password-file", "password"]).ok();
    openssl_verifies(&ca.place, "o.crt");
    pair_matches(&ca.place, "o.crt", "o.key");
    let inspected = ca.place.run(&step, &["certificate", "inspect", "o.crt"]).ok().stdout;
    assert!(inspected.contains("X509v3 Step Provisioner"), "step does not see the provisioner: {inspected}");
}

#[test]
fn the_very_same_request_again_gets_the_very_same_certificate() {
    let Some((ca, _)) = with_certificate() else { return };
    let words = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "n.key",
        "-subj",
        "/CN=x",
    ];
    let csr = ca.place.run("openssl", &words).ok().stdout;
    ca.place.write("body.json", serde_json::json!({ "csr": csr }).to_string());
    let url = format!("{}/rekey", ca.url());
    let words = [
        "-sS",
        "--cacert",
        "step/certs/root_ca.crt",
        "--cert",
        "svc.crt",
        "--key",
        "svc.key",
        "--data",
        "@body.json",
        &url,
    ];
    let first = ca.place.run("curl", &words).ok().stdout;
    let again = ca.place.run("curl", &words).ok().stdout;
    let crt = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("the CA answers JSON")["crt"].clone();
    assert!(crt(&first).is_string(), "no certificate: {first}");
    assert_eq!(crt(&first), crt(&again));
}
