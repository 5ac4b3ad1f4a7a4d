//! `/renew`: by certificate and by token (`Test_Renew`, `TestAuthority_Renew`, `TestCARenew`, `AuthorizeRenewToken`).

use jiff::{SignedDuration, Timestamp};
use keywheel_signer::file_key::FileKey;
use keywheel_tests::provisioner::{REFUSED, chance, new_key, rekey_body, request_der};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::step::token::{CLIENT_ISSUER, Contents, confirmation, sign_with_chain};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::oid;
use serde_json::json;

use crate::lab::{Lab, Leaf, Pair};
use crate::rekey::is_successor_of;

/// The same key once more: a renewal keeps it.
fn same_key(pair: &Pair) -> FileKey {
    FileKey::from_private_key(pair.key.private_key().clone()).expect("the key signs")
}

/// What a client of the reference writes into a renewal token.
fn contents(lab: &Lab, pair: &Pair) -> Contents {
    let subject = pair.certificate.subject().common_name().expect("it has a name");
    Contents::new(&format!("{}/renew", lab.ca.url()), CLIENT_ISSUER, &subject, Timestamp::now())
}

fn token(pair: &Pair, contents: &Contents) -> String {
    sign_with_chain(contents, "x5cInsecure", &pair.chain, &pair.key).expect("the key signs")
}

#[test]
fn a_renewal_answers_201_and_keeps_key_names_lifetime_and_every_extension() {
    let lab = Lab::start();
    let old = lab.issue_with("svc.local", json!({ "notAfter": "5h" }));
    for path in ["/renew", "/1.0/renew", "/re-sign", "/1.0/re-sign"] {
        let answer = lab.door().post(path, "").by(&old).ask().is(201, r#"{"crt":"-----BEGIN CERTIFICATE-----"#);
        let new = answer.pair(&lab.ca.place, same_key(&old));
        is_successor_of(&new, &old, &lab.issuer.0);
        assert_eq!(new.certificate.spki(), old.certificate.spki(), "the key is kept");
    }
}

#[test]
fn a_renewal_without_a_client_certificate_answers_400() {
    let lab = Lab::start();
    for path in ["/renew", "/re-sign"] {
        lab.door()
            .post(path, "")
            .ask()
            .is(400, r#"{"status":400,"message":"The request could not be completed: missing client certificate."}"#);
    }
}

#[test]
fn a_renewal_that_the_authority_refuses_answers_403() {
    let lab = Lab::start_changed(|configuration| {
        let rule = json!({ "afterRekey": "revokeAfterOverlap", "overlap": "1h" });
        configuration["authority"]["provisioners"][0]["keywheel"] = rule;
    });
    let old = lab.issue("svc.local");
    lab.door().rekeyed(&old);
    // Renewed, the old key would outlive the end that the rekey promised.
    lab.door()
        .renew(&old)
        .is(403, "The request was forbidden by the certificate authority: the certificate was superseded");
}

#[test]
fn a_renewal_does_not_ask_the_policy_again_but_a_rekey_does() {
    let mut lab = Lab::start();
    let old = lab.issue("svc.local");
    let policy = json!({ "x509": { "deny": { "dns": ["svc.local"] } } });
    lab.change(|configuration| configuration["authority"]["policy"] = policy);
    lab.door().renew(&old).is(201, "");
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(403, "svc.local");
}

#[test]
fn a_renewal_by_token_after_expiry_answers_201_where_the_provisioner_allows_it() {
    let mut lab = Lab::start();
    // Its chain must have been good at its end, hence after the CA was made.
    let ends = SignedDuration::from_secs(2);
    let old = lab.make(&Leaf { ends, ..lab.leaf("svc.local") });
    std::thread::sleep(std::time::Duration::from_secs(4));
    lab.door()
        .post("/renew", "")
        .bearer(&token(&old, &contents(&lab, &old)))
        .ask()
        .is(401, "The request lacked necessary authorization to be completed: certificate expired on ");
    lab.change_provisioner(|provisioner| provisioner["claims"]["allowRenewalAfterExpiry"] = json!(true));
    // A token is used up by a refusal too: here is another.
    let answer = lab
        .door()
        .post("/renew", "")
        .bearer(&token(&old, &Contents { id: Some(chance()), ..contents(&lab, &old) }))
        .ask();
    let new = answer.is(201, "").pair(&lab.ca.place, same_key(&old));
    is_successor_of(&new, &old, &lab.issuer.0);
}

#[test]
fn a_renewal_token_of_a_client_or_in_the_name_of_the_provisioner_is_taken_once() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    for issuer in [CLIENT_ISSUER, "admin"] {
        let contents = Contents { issuer: issuer.into(), ..contents(&lab, &old) };
        let token = token(&old, &contents);
        let ask = || lab.door().post("/renew", "").bearer(&token).ask();
        is_successor_of(&ask().is(201, "").pair(&lab.ca.place, same_key(&old)), &old, &lab.issuer.0);
        ask().is(401, REFUSED);
    }
}

#[test]
fn a_renewal_token_that_does_not_fit_in_every_part_is_refused() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let good = || contents(&lab, &old);
    let hour = SignedDuration::from_hours(1);
    let (ago, ahead) = (Timestamp::now() - hour, Timestamp::now() + hour);
    let root = Certificate::from_pem(lab.ca.place.read("step/certs/root_ca.crt").as_bytes()).expect("a certificate");
    let other = Lab::start();
    let foreign = other.issue("svc.local");
    let server_only = lab.make(&Leaf { usages: vec![oid::SERVER_AUTH], ..lab.leaf("svc.local") });
    let late = Contents { not_before: ago, issued_at: ago, expires_at: ago + SignedDuration::from_mins(5), ..good() };
    let tokens = vec![
        ("a word", "x".to_owned()),
        ("another audience", token(&old, &Contents { audience: "https://elsewhere.local/renew".into(), ..good() })),
        (
            "the audience of a first certificate",
            token(&old, &Contents { audience: format!("{}/1.0/sign", lab.ca.url()), ..good() }),
        ),
        ("another issuer", token(&old, &Contents { issuer: "nobody".into(), ..good() })),
        ("no subject", token(&old, &Contents { subject: String::new(), ..good() })),
        ("another subject", token(&old, &Contents { subject: "other.local".into(), ..good() })),
        ("over", token(&old, &late)),
        ("not yet valid", token(&old, &Contents { not_before: ahead, expires_at: ahead + hour, ..good() })),
        (
            "signed by another key",
            sign_with_chain(&good(), "x5cInsecure", &old.chain, &new_key(KeyKind::EcP256)).expect("signs"),
        ),
        ("another header", sign_with_chain(&good(), "x5c", &old.chain, &old.key).expect("signs")),
        ("no chain", sign_with_chain(&good(), "x5cInsecure", &[], &old.key).expect("signs")),
        ("the root as leaf", sign_with_chain(&good(), "x5cInsecure", &[root.der().to_vec()], &old.key).expect("signs")),
        ("the certificate of another CA", token(&foreign, &good())),
        ("a certificate that is for servers alone", token(&server_only, &good())),
    ];
    for (name, token) in tokens {
        let answer = lab.door().post("/renew", "").bearer(&token).ask();
        assert_eq!(answer.status, 401, "{name}: {}", answer.text());
    }
    // Nothing of it has spoilt the good one.
    lab.door().post("/renew", "").bearer(&token(&old, &good())).ask().is(201, "");
}

#[test]
fn a_rekey_by_token_must_be_bound_to_its_request_and_is_taken_once() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    let der = request_der(&key);
    let body = json!({ "csr": keywheel_wire::x509::request::to_pem(&der) }).to_string();
    let good = || Contents {
        audience: format!("{}/rekey", lab.ca.url()),
        id: Some(chance()),
        confirmation: Some(confirmation(&der)),
        ..contents(&lab, &old)
    };
    let ask = |token: &str, body: &str| lab.door().post("/rekey", body).bearer(token).ask();
    let unbound = token(&old, &Contents { confirmation: None, ..good() });
    ask(&unbound, &body).is(401, REFUSED);
    let without_id = token(&old, &Contents { id: None, ..good() });
    ask(&without_id, &body).is(401, REFUSED);
    let for_renewal = token(&old, &Contents { audience: format!("{}/renew", lab.ca.url()), ..good() });
    ask(&for_renewal, &body).is(401, REFUSED);
    let bound = token(&old, &good());
    ask(&bound, &rekey_body(&new_key(KeyKind::EcP256))).is(403, "does not match the token");
    let answer = ask(&bound, &body).is(201, "");
    is_successor_of(&answer.pair(&lab.ca.place, key), &old, &lab.issuer.0);
    ask(&bound, &body).is(401, REFUSED);
    // A lost reply: another token with the same request gets the same certificate.
    assert_eq!(ask(&token(&old, &good()), &body).is(201, "").chain(), answer.chain());
}
