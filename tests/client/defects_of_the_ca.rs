//! Each defect of the reference that lies in its CA, and what our CA does.

use serde_json::{Value, json};

use crate::bench::{Bench, belong_together, described, public_key, reference, rekey};
use crate::proxy;

/// Asks for a rekey by curl, with the pair of the bench; gives the HTTP status and the answer.
fn asks(bench: &Bench, request: &str) -> (String, Value) {
    let place = bench.place();
    place.write("body.json", json!({"csr": place.read(request)}).to_string());
    let url = format!("{}/rekey", bench.ca.url());
    let words = ["-sS", "--cacert", "step/certs/root_ca.crt", "--cert", "svc.crt", "--key", "svc.key"];
    let more = ["--data", "@body.json", "--write-out", "\n%{http_code}", &url];
    let told = place.run("curl", &[&words[..], &more].concat()).ok().stdout;
    let (answer, status) = told.trim_end().rsplit_once('\n').expect("an answer and a status");
    (status.to_owned(), serde_json::from_str(answer).expect("the CA answers JSON"))
}

#[test]
fn d13_behind_a_proxy_that_ends_tls_a_token_rekeys() {
    let mut bench = Bench::start();
    let url = proxy::ending_tls(&bench.ca);
    let done = bench.rekey(&["--ca-url", &url]).fails(3, "missing client certificate");
    assert!(done.stderr.contains("--mtls=false"), "it says what to do: {}", done.stderr);
    let before = public_key(bench.place(), "svc.crt");
    let done = bench.rekey(&["--ca-url", &url, "--mtls=false"]).ok();
    assert_ne!(before, public_key(bench.place(), "svc.crt"));
    belong_together(bench.place(), "svc.crt", "svc.key");
    assert_eq!(bench.issued(), 1, "{}", done.stderr);
}

#[test]
fn d13_the_reference_takes_no_token_and_our_client_says_so() {
    let Some(reference) = reference() else { return };
    let ca = &reference.ca;
    rekey(&ca.place, &["--mtls=false"]).fails(3, "this authority takes no token here");
    rekey(&ca.place, &[]).ok();
    belong_together(&ca.place, "svc.crt", "svc.key");
}

#[test]
fn d19_a_weak_key_and_the_same_key_are_refused_on_rekey() {
    let mut bench = Bench::start();
    let place = bench.place();
    for (name, bits) in [("rsa512", "rsa:512"), ("rsa1024", "rsa:1024")] {
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        let words = ["req", "-new", "-newkey", bits, "-nodes", "-subj", "/CN=svc.local", "-keyout", &key, "-out", &csr];
        place.run("openssl", &words).ok();
        let (status, answer) = asks(&bench, &csr);
        assert_eq!(status, "403", "{bits}: {answer}");
        assert!(
            answer["message"].as_str().is_some_and(|message| message.contains("RSA")),
            "it does not say why: {answer}"
        );
    }
    place.run("openssl", &["req", "-new", "-key", "svc.key", "-subj", "/CN=svc.local", "-out", "same.csr"]).ok();
    let (status, answer) = asks(&bench, "same.csr");
    assert!(status == "400" || status == "403", "the same key again: {status} {answer}");
    assert!(answer["message"].as_str().is_some_and(|message| message.contains("key")), "it does not say why: {answer}");
    assert_eq!(bench.issued(), 0);
}

#[test]
fn d20_a_certificate_that_was_replaced_rekeys_no_more() {
    let mut bench = Bench::start();
    for name in ["crt", "key"] {
        std::fs::copy(bench.place().file(&format!("svc.{name}")), bench.place().file(&format!("old.{name}")))
            .expect("it can be copied");
    }
    bench.rekey(&[]).ok();
    let old = |bench: &Bench, what: &str| bench.place().keywheel(&["ca", what, "--force", "old.crt", "old.key"]);
    old(&bench, "rekey").fails(3, "the certificate authority refused");
    old(&bench, "renew").fails(3, "the certificate authority refused");
    assert_eq!(bench.issued(), 1, "a certificate that was replaced got another one");
    bench.rekey(&[]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn d21_the_policy_is_asked_again_on_every_rekey() {
    let mut bench = Bench::start();
    bench.rekey(&[]).ok();
    bench.change(|configuration| {
        configuration["authority"]["policy"] = json!({"x509": {"deny": {"dns": ["svc.local"]}}});
    });
    let before = crate::bench::pair(bench.place());
    bench.rekey(&[]).fails(3, "svc.local");
    assert_eq!(before, crate::bench::pair(bench.place()));
    assert_eq!(bench.issued(), 1);
}

#[test]
fn d21_the_key_usage_follows_the_type_of_the_new_key() {
    let bench = Bench::start();
    let usage = |bench: &Bench| {
        let text = described(bench.place(), "svc.crt");
        let mut lines = text.lines().skip_while(|line| !line.contains("X509v3 Key Usage"));
        lines.nth(1).expect("there is a key usage").trim().to_owned()
    };
    assert_eq!(usage(&bench), "Digital Signature");
    bench.rekey(&["--kty", "RSA"]).ok();
    assert_eq!(usage(&bench), "Digital Signature, Key Encipherment");
    bench.rekey(&["--kty", "OKP"]).ok();
    assert_eq!(usage(&bench), "Digital Signature");
}
