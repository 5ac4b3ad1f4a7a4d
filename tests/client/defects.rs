//! Each defect of the reference's `ca rekey` that lies in how it runs: the same situation, and what Keywheel does in it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{
    Bench, PAIR, at_both, belong_together, changed_reference, daemon, described, exists, pair, public_key, reference,
    rekey, serial, stop,
};

/// A template without a subject.
const NAMELESS: &str =
    r#"{"sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"], "extKeyUsage": ["serverAuth", "clientAuth"]}"#;

#[test]
fn d1_the_daemon_turns_the_key_every_time_and_heeds_its_key_flags() {
    at_both(|place| {
        let before = pair(place);
        let flags = ["--rekey-period", "1s", "--kty", "OKP", "--out-cert", "new.crt", "--out-key", "new.key"];
        let mut daemon = daemon(place, &flags);
        let mut keys = Vec::new();
        for _ in 0..3 {
            daemon.wait_for("certificate rekeyed");
            assert!(described(place, "new.crt").contains("Public Key Algorithm: ED25519"));
            keys.push(public_key(place, "new.crt"));
        }
        stop(&mut daemon);
        belong_together(place, "new.crt", "new.key");
        keys.dedup();
        assert_eq!(keys.len(), 3, "a rekey kept the key");
        assert_eq!(before, pair(place), "the daemon wrote to the files that it should only read");
    });
}

#[test]
fn d1_a_daemon_refuses_wrong_key_flags_at_its_start() {
    let mut bench = Bench::start();
    for (flags, says) in [
        (["--kty", "FOO"], "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP"),
        (["--curve", "P-256"], "flag '--curve' requires the '--kty' flag"),
        (["--size", "2048"], "flag '--size' requires the '--kty' flag"),
    ] {
        bench.refuses(|place| rekey(place, &[&["--daemon"], &flags[..]].concat()), 2, says);
    }
}

#[test]
fn d2_the_daemon_rekeys_a_certificate_without_a_common_name() {
    let nameless = |configuration: &mut Value| {
        configuration["authority"]["provisioners"][0]["options"] = json!({"x509": {"template": NAMELESS}});
    };
    let mut bench = Bench::empty();
    bench.change(nameless);
    bench.issue(&[]);
    let reference = changed_reference(nameless);
    for place in [Some(bench.place()), reference.as_ref().map(|reference| &reference.ca.place)].into_iter().flatten() {
        assert!(!described(place, "svc.crt").contains("CN = svc.local"), "the template gave it a name");
        let before = public_key(place, "svc.crt");
        let mut daemon = daemon(place, &["--rekey-period", "1s"]);
        daemon.wait_for("certificate rekeyed");
        stop(&mut daemon);
        assert_ne!(before, public_key(place, "svc.crt"));
    }
    bench.rekey(&["--mtls=false"]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn d8_the_words_of_exec_are_split_as_a_shell_splits_them() {
    let bench = Bench::start();
    bench.place().write("args.sh", "#!/bin/sh\nprintf '%s|' $# \"$@\" >args\n");
    bench.place().run("chmod", &["+x", "args.sh"]).ok();
    bench.rekey(&["--exec", r#"./args.sh 'hello world'  x "a  b" c\ d ''"#]).ok();
    assert_eq!(bench.place().read("args"), "5|hello world|x|a  b|c d||");
}

#[test]
fn d9_the_pid_file_is_read_again_at_each_signal() {
    let bench = Bench::start();
    let place = bench.place();
    let listener = |name: &str| {
        let mut command = place.command("bash");
        command.args(["-c", "trap 'echo signalled' HUP; echo ready; while :; do sleep 0.05; done"]);
        let mut process = keywheel_tests::ca::Background::start(command);
        process.wait_for("ready");
        place.write(name, format!("{}\n", process.id()));
        process
    };
    let mut first = listener("service.pid");
    let mut daemon = daemon(place, &["--pid-file", "service.pid"]);
    daemon.wait_for("first rekey in");
    daemon.signal("HUP");
    daemon.wait_for("certificate rekeyed");
    first.wait_for("signalled");
    // The service is started again, under another number.
    first.signal("KILL");
    let mut second = listener("service.pid");
    daemon.signal("HUP");
    daemon.wait_for("certificate rekeyed");
    second.wait_for("signalled");
    stop(&mut daemon);
}

#[test]
fn d10_the_shortest_expires_in_is_a_gate_and_no_panic() {
    let mut bench = Bench::start();
    for shortest in ["1ns", "19ns", "20ns"] {
        let done = bench.rekey(&["--expires-in", shortest]).ok();
        assert!(done.stderr.contains("certificate not rekeyed: expires in 2"), "{}", done.stderr);
    }
    assert_eq!(bench.asked(), 0);
}

#[test]
fn d11_an_authority_that_never_answers_is_given_up() {
    let mut bench = Bench::start();
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("https://localhost:{}", silent.local_addr().expect("it is bound").port());
    let begun = Instant::now();
    bench.refuses(|place| rekey(place, &["--ca-url", &url, "--timeout", "1s"]), 4, "was not reached; try again");
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for {:?}", begun.elapsed());
}

#[test]
fn d12_a_lead_time_that_is_always_due_is_refused_and_a_tiny_period_does_not_spin() {
    let mut bench = Bench::start();
    let says = "flag '--expires-in' must be within (lower than) the certificate validity period";
    bench.refuses(|place| rekey(place, &["--daemon", "--expires-in", "9999h"]), 2, says);
    let begun = Instant::now();
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1ns"]);
    for _ in 0..3 {
        daemon.wait_for("certificate rekeyed");
    }
    stop(&mut daemon);
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("it was not that long");
    assert!(bench.asked() <= seconds + 2, "{} requests in {seconds} seconds", bench.asked());
}

#[test]
fn d15_a_rekey_token_rekeys_and_signs_nothing() {
    let bench = Bench::start();
    let place = bench.place();
    let request =
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "new.key"];
    place.run("openssl", &[&request[..], &["-subj", "/CN=svc.local", "-out", "new.csr"]].concat()).ok();
    let words = [
        "ca",
        "token",
        "--rekey",
        "--x5c-cert",
        "svc.crt",
        "--x5c-key",
        "svc.key",
        "--cnf-file",
        "new.csr",
        "svc.local",
    ];
    let token = place.keywheel(&words).ok().stdout.trim().to_owned();
    let csr = place.read("new.csr");
    let ask = |route: &str, body: Value, header: &str| {
        place.write("body.json", body.to_string());
        let url = format!("{}{route}", bench.ca.url());
        let words = ["-sS", "--cacert", "step/certs/root_ca.crt", "-H", header, "--data", "@body.json", &url];
        serde_json::from_str::<Value>(&place.run("curl", &words).ok().stdout).expect("the CA answers JSON")
    };
    let signed = ask("/sign", json!({"csr": csr, "ott": token}), "X-None: none");
    assert!(signed["crt"].is_null(), "a rekey token signed: {signed}");
    let rekeyed = ask("/rekey", json!({"csr": csr}), &format!("Authorization: Bearer {token}"));
    place.write("new.crt", rekeyed["crt"].as_str().unwrap_or_else(|| panic!("no certificate: {rekeyed}")));
    belong_together(place, "new.crt", "new.key");
    // Without a certificate to speak for, there is no such token.
    place.keywheel(&["ca", "token", "--rekey", "svc.local"]).fails(2, "flag '--rekey' requires the '--x5c-cert' flag");
}

#[test]
fn d16_the_spellings_of_the_references_examples_are_taken() {
    let bench = Bench::start();
    let place = bench.place();
    place.keywheel(&["ca", "rekey", "svc.crt", "svc.key", "--out-crt", "foo.crt", "--out-key", "foo.key"]).ok();
    belong_together(place, "foo.crt", "foo.key");
    place.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "given.key"]).ok();
    let words =
        ["ca", "rekey", "--key", "given.key", "foo.crt", "foo.key", "--out-crt", "bar.crt", "--out-key", "bar.key"];
    place.keywheel(&words).ok();
    belong_together(place, "bar.crt", "given.key");
    belong_together(place, "bar.crt", "bar.key");
}

#[test]
fn d17_a_key_that_is_not_the_certificates_is_noticed_before_anything_is_asked() {
    let mut bench = Bench::start();
    bench.place().run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.key"]).ok();
    let run =
        |place: &keywheel_tests::place::Place| place.keywheel(&["ca", "rekey", "--force", "svc.crt", "other.key"]);
    bench.refuses(run, 2, "the certificate svc.crt does not belong to the key other.key, nothing was changed");
    bench.refuses(
        |place| place.keywheel(&["ca", "rekey", "--force", "none.crt", "svc.key"]),
        2,
        "the certificate none.crt cannot be used, nothing was changed: No such file or directory",
    );
}

#[test]
fn d18_output_is_plain_without_a_terminal_json_on_demand_and_exit_codes_differ() {
    let bench = Bench::start();
    let done = bench.rekey(&[]).ok();
    assert_eq!(done.stderr, "✔ Certificate: svc.crt\n✔ Private Key: svc.key\n");
    assert_eq!(done.stdout, "");
    let before = serial(bench.place(), "svc.crt");
    let done = bench.rekey(&["--json"]).ok();
    assert_eq!(done.stderr, "");
    let told: Value = serde_json::from_str(&done.stdout).expect("one JSON value");
    assert_eq!(
        (&told["rekeyed"], &told["certificate"], &told["key"]),
        (&json!(true), &json!("svc.crt"), &json!("svc.key"))
    );
    assert_ne!(told["old"]["key_fingerprint"], told["new"]["key_fingerprint"]);
    assert_ne!(before, serial(bench.place(), "svc.crt"));

    let usage = bench.rekey(&["--json", "--expires-in", "1x"]);
    let told: Value = serde_json::from_str(&usage.stderr).expect("one JSON value");
    assert_eq!((usage.code, &told["error"]["kind"], &told["error"]["exit"]), (2, &json!("usage"), &json!(2)));
    assert_eq!(bench.rekey(&["--ca-url", "https://localhost:1"]).code, 4, "nobody listens there");
    assert_eq!(bench.rekey(&["--exec", "false"]).code, 7, "the hook failed");
    bench.place().keywheel(&["ca", "revoke", "--cert", "svc.crt", "--key", "svc.key"]).ok();
    bench.rekey(&[]).fails(3, "the certificate authority refused");
}

#[test]
fn d14_the_reference_admits_no_expired_certificate_and_our_client_says_so() {
    let Some(reference) = changed_reference_with_short_lives() else { return };
    let ca = &reference.ca;
    let before = pair(&ca.place);
    let done = rekey(&ca.place, &[]).fails(3, "the certificate has expired");
    assert!(done.stderr.contains("ca certificate"), "it says what to do: {}", done.stderr);
    assert_eq!(before, pair(&ca.place));
}

/// A step-ca that allows renewals after the expiry, and a certificate of it that has expired.
fn changed_reference_with_short_lives() -> Option<crate::bench::Reference> {
    let reference = changed_reference(|configuration| {
        configuration["authority"]["claims"] = json!({"minTLSCertDuration": "1s", "allowRenewalAfterExpiry": true});
    })?;
    let words =
        ["ca", "certificate", "--force", "--provisioner-password-file", "password", "--not-after", "1s", "svc.local"];
    reference.ca.place.keywheel(&[&words[..], &PAIR].concat()).ok();
    crate::expired::wait_until_expired(&reference.ca.place);
    Some(reference)
}

#[test]
fn d4_where_nobody_can_be_asked_the_authority_is_not_asked_either() {
    let mut bench = Bench::start();
    let run = |place: &keywheel_tests::place::Place| place.keywheel(&["ca", "rekey", "svc.crt", "svc.key"]);
    bench.refuses(run, 2, "svc.crt exists; nothing was changed");
    // The reference would have issued by now.
    let run = |place: &keywheel_tests::place::Place| {
        place.keywheel(&["ca", "rekey", "--out-cert", "new.crt", "svc.crt", "svc.key"])
    };
    bench.refuses(run, 2, "svc.key exists; nothing was changed");
    assert!(!exists(bench.place(), "new.crt"));
    if let Some(reference) = reference() {
        let ca = &reference.ca;
        let before = pair(&ca.place);
        ca.place.keywheel(&["ca", "rekey", "svc.crt", "svc.key"]).fails(2, "svc.crt exists; nothing was changed");
        assert_eq!(before, pair(&ca.place));
    }
}
