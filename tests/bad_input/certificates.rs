//! Client certificates and tokens made of certificates that must not renew, rekey or revoke anything.

use jiff::Timestamp;
use keywheel_signer::file_key::FileKey;
use keywheel_wire::step::token::{CLIENT_ISSUER, Contents, confirmation, sign_with_chain};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::request::Request;
use serde_json::json;

use crate::{Case, Judge, client};

const REFUSED: &str = "The request lacked necessary authorization";

#[test]
fn without_a_certificate_nothing_is_renewed_or_rekeyed() {
    let mut judge = Judge::new();
    let csr = json!({ "csr": judge.csr("a.local", "DNS:a.local") }).to_string();
    judge.ask(&Case::post("/renew", "no certificate", "", 400, "missing client certificate"));
    judge.ask(&Case::post("/re-sign", "no certificate", "", 400, "missing client certificate"));
    judge.ask(&Case::post("/rekey", "no certificate", csr, 400, "missing client certificate"));
    judge.judge(6);
}

#[test]
fn a_certificate_of_another_ca_ends_the_handshake() {
    let judge = Judge::new();
    let other = Judge::new();
    let (certificate, key) = client(&other, "a.local");
    let (certificate, key) = (certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    let case = Case { client: Some((certificate, key)), ..Case::post("/renew", "another CA", "", 0, "") };
    assert_eq!(judge.answer(&case, "").0, 0, "a certificate of another CA was let in");
    judge.judge(0);
}

#[test]
fn a_revoked_certificate_renews_and_rekeys_nothing() {
    let mut judge = Judge::new();
    let (certificate, key) = client(&judge, "a.local");
    judge.ca.place.keywheel(&["ca", "revoke", "--cert", "a.local.crt", "--key", "a.local.key"]).ok();
    let client = Some((certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8")));
    let csr = json!({ "csr": judge.csr("a.local", "DNS:a.local") }).to_string();
    judge.ask(&Case { client, ..Case::post("/renew", "revoked", "", 401, REFUSED) });
    judge.ask(&Case { client, ..Case::post("/rekey", "revoked", csr, 401, REFUSED) });
    judge.judge(4);
}

#[test]
fn a_rekey_to_the_same_key_or_to_a_key_that_was_certified_before_is_refused() {
    let mut judge = Judge::new();
    let (certificate, key) = client(&judge, "a.local");
    judge.ca.certificate("b.local");
    let client = Some((certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8")));
    for name in ["a.local", "b.local"] {
        let words = ["req", "-new", "-key", &format!("{name}.key"), "-subj", "/CN=x"];
        let csr = judge.ca.place.run("openssl", &words).ok().stdout;
        let body = json!({ "csr": csr }).to_string();
        judge.ask(&Case { client, ..Case::post("/rekey", format!("the key of {name}"), body, 403, "key") });
    }
    judge.judge(4);
}

#[test]
fn a_token_made_of_a_certificate_must_fit_in_every_part() {
    let mut judge = Judge::new();
    let (certificate, key) = client(&judge, "a.local");
    let chain = Certificate::chain_from_pem(&std::fs::read(certificate).expect("it is there")).expect("it is a chain");
    let chain: Vec<Vec<u8>> = chain.iter().map(|one| one.der().to_vec()).collect();
    let (key, _) = FileKey::load(&key, None).expect("it is a key");
    let csr = judge.csr("a.local", "DNS:a.local");
    let der = Request::from_pem(csr.as_bytes()).expect("OpenSSL makes requests").der().to_vec();
    let body = json!({ "csr": csr }).to_string();
    let good = || Contents {
        id: Some(format!("{:?}", Timestamp::now())),
        confirmation: Some(confirmation(&der)),
        ..Contents::new(&format!("{}/rekey", judge.ca.url()), CLIENT_ISSUER, "a.local", Timestamp::now())
    };
    let sign = |contents: &Contents, chain: &[Vec<u8>]| {
        sign_with_chain(contents, "x5cInsecure", chain, &key).expect("the key signs")
    };
    let hour_ago = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let root = Certificate::from_pem(judge.ca.place.read("step/certs/root_ca.crt").as_bytes()).expect("a certificate");
    let tokens = vec![
        ("no token", String::new()),
        ("a word", "x".into()),
        ("bound to nothing", sign(&Contents { confirmation: None, ..good() }, &chain)),
        ("bound to another request", sign(&Contents { confirmation: Some(confirmation(b"x")), ..good() }, &chain)),
        ("without an id", sign(&Contents { id: None, ..good() }, &chain)),
        ("for a renewal", sign(&Contents { audience: format!("{}/renew", judge.ca.url()), ..good() }, &chain)),
        ("for another CA", sign(&Contents { audience: "https://elsewhere.example/rekey".into(), ..good() }, &chain)),
        ("of another subject", sign(&Contents { subject: "b.local".into(), ..good() }, &chain)),
        ("of another issuer", sign(&Contents { issuer: "nobody".into(), ..good() }, &chain)),
        (
            "expired",
            sign(&Contents { expires_at: hour_ago, issued_at: hour_ago, not_before: hour_ago, ..good() }, &chain),
        ),
        ("with an empty chain", sign(&good(), &[])),
        ("with the root as leaf", sign(&good(), &[root.der().to_vec()])),
        ("with a chain of garbage", sign(&good(), &[vec![1, 2, 3]])),
        ("under the wrong header", sign_with_chain(&good(), "x5c", &chain, &key).expect("the key signs")),
    ];
    let other = FileKey::generate(keywheel_wire::private_key::KeyKind::EcP256).expect("a key can be made");
    let forged = sign_with_chain(&good(), "x5cInsecure", &chain, &other).expect("the key signs");
    for (name, token) in tokens.into_iter().chain([("signed by another key", forged)]) {
        let headers = vec![format!("Authorization: Bearer {token}")];
        let case = Case { headers, ..Case::post("/rekey", name, body.clone(), 0, "") };
        judge.asked += 1;
        let (status, answer) = judge.answer(&case, "");
        if !matches!(status, 400 | 401 | 403) {
            judge.wrong.push(format!("{name}: {status} {answer}"));
        }
    }
    // The good one is good, once; the same request again gets the same certificate, but not by the same token.
    let token = sign(&good(), &chain);
    let headers = vec![format!("Authorization: Bearer {token}")];
    let case = Case { headers, ..Case::post("/rekey", "good", body, 201, "") };
    let (status, answer) = judge.answer(&case, "");
    assert_eq!(status, 201, "{answer}");
    judge.judge(15);
}
