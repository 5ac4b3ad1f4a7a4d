//! `/sign` (`TestCASign`).

use jiff::{SignedDuration, Timestamp};
use keywheel_tests::provisioner::{REFUSED, csr, new_key, request_der};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::extension::usage::{self, KeyUsage};
use keywheel_wire::x509::oid;
use serde_json::{Value, json};

use crate::lab::Lab;

#[test]
fn a_first_certificate_has_what_the_token_grants_and_names_its_provisioner() {
    let lab = Lab::start();
    let key = new_key(KeyKind::EcP256);
    let token =
        lab.token("/1.0/sign", "svc.local", Some(&["svc.local", "10.1.2.3", "a@b.local", "spiffe://b.local/svc"]));
    let answer = lab.door().post("/1.0/sign", json!({ "csr": csr(&key), "ott": token }).to_string()).ask().is(201, "");
    let pair = answer.pair(&lab.ca.place, key);
    let certificate = &pair.certificate;
    assert_eq!(certificate.subject().common_name().as_deref(), Some("svc.local"));
    let names: Vec<_> =
        certificate.subject_alt_names().expect("read").iter().filter_map(|name| name.as_text()).collect();
    assert_eq!(names, ["svc.local", "10.1.2.3", "a@b.local", "spiffe://b.local/svc"]);
    // A day and the minute that it is dated back.
    assert_eq!(pair.duration(), SignedDuration::from_mins(24 * 60 + 1));
    let early = Timestamp::now().duration_since(certificate.not_before());
    assert!((60..=90).contains(&early.as_secs()), "dated back by {early}");
    let usage = KeyUsage::read(certificate.extension(&oid::KEY_USAGE).expect("it is there").value()).expect("read");
    assert_eq!(usage, KeyUsage::DIGITAL_SIGNATURE);
    let extended = usage::read_extended(certificate.extension(&oid::EXTENDED_KEY_USAGE).expect("there").value());
    assert_eq!(extended.expect("read"), [oid::SERVER_AUTH, oid::CLIENT_AUTH]);
    let provisioner = certificate.provisioner().expect("read").expect("it is there");
    assert_eq!(
        (provisioner.kind, provisioner.name.as_str(), provisioner.credential_id.as_str()),
        (1, "admin", lab.key_id())
    );
    assert_eq!(certificate.spki(), pair.key.public_key());
    assert!(!certificate.is_ca());
    certificate.verify_signed_by(lab.issuer.0.spki()).expect("the issuer signed it");
}

#[test]
fn a_request_to_sign_that_cannot_be_read_answers_400() {
    let lab = Lab::start();
    let key = new_key(KeyKind::EcP256);
    let ask = |body: String| lab.door().post("/sign", body).ask();
    ask("invalid json".into()).is(400, "error decoding json");
    ask("{}".into()).is(400, "missing csr");
    ask(json!({ "csr": csr(&key) }).to_string()).is(400, "missing ott");
    let mut forged = request_der(&key);
    *forged.last_mut().expect("it is not empty") ^= 1;
    let mut body = lab.sign_body(&key, "svc.local");
    body["csr"] = keywheel_wire::x509::request::to_pem(&forged).into();
    ask(body.to_string()).is(400, "invalid csr");
    let mut body = lab.sign_body(&key, "svc.local");
    body["notAfter"] = json!("tomorrow");
    ask(body.to_string()).is(400, "tomorrow");
}

#[test]
fn a_request_to_sign_that_nobody_authorised_answers_401() {
    let lab = Lab::start();
    let key = new_key(KeyKind::EcP256);
    let ask = |body: &Value| lab.door().post("/sign", body.to_string()).ask();
    let mut body = lab.sign_body(&key, "svc.local");
    body["ott"] = json!("foo");
    ask(&body).is(401, REFUSED);
    body["ott"] = Lab::start().token("/1.0/sign", "svc.local", None).into();
    ask(&body).is(401, REFUSED);
    let used = lab.sign_body(&key, "svc.local");
    let first = ask(&used).is(201, "").chain();
    // The very same request has not heard its answer; any other has no right to it.
    assert_eq!(ask(&used).is(201, "").chain(), first);
    let mut other = lab.sign_body(&new_key(KeyKind::EcP256), "svc.local");
    other["ott"] = used["ott"].clone();
    ask(&other).is(401, REFUSED);
}

#[test]
fn a_request_to_sign_with_names_that_the_token_does_not_grant_answers_403() {
    let lab = Lab::start();
    let key = |name: &str, subject: &str, names: &str| {
        let words = ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", name];
        lab.ca.place.run("openssl", &[&words[..], &["-subj", subject, "-addext", names]].concat()).ok().stdout
    };
    let ask = |csr: &str| {
        let token = lab.token("/1.0/sign", "svc.local", Some(&["svc.local", "10.1.2.3"]));
        lab.door().post("/sign", json!({ "csr": csr, "ott": token }).to_string()).ask()
    };
    let good = "subjectAltName=DNS:svc.local,IP:10.1.2.3";
    ask(&key("1.key", "/CN=other.local", good)).is(403, "common name");
    ask(&key("2.key", "/CN=svc.local", "subjectAltName=DNS:other.local,IP:10.1.2.3")).is(403, "DNS names");
    ask(&key("3.key", "/CN=svc.local", "subjectAltName=DNS:svc.local,IP:10.1.2.4")).is(403, "IP addresses");
    ask(&key("4.key", "/CN=svc.local", "subjectAltName=DNS:svc.local,email:a@b.local")).is(403, "email addresses");
    ask(&key("5.key", "/CN=svc.local", good)).is(201, "");
}

#[test]
fn a_life_outside_the_claims_answers_403_and_one_within_is_given() {
    let lab = Lab::start();
    let ask = |not_after: &str| {
        let key = new_key(KeyKind::EcP256);
        let mut body = lab.sign_body(&key, "svc.local");
        body["notAfter"] = not_after.into();
        lab.door().post("/sign", body.to_string()).ask()
    };
    ask("25h").is(403, "");
    ask("1m").is(403, "");
    ask("-1h").is(400, "");
    let seven = Timestamp::now() + SignedDuration::from_hours(7);
    for not_after in ["7h".to_owned(), seven.to_string()] {
        let chain = ask(&not_after).is(201, "").chain();
        let leaf = keywheel_wire::x509::certificate::Certificate::from_der(&chain[0]).expect("a certificate");
        let off = leaf.not_after().duration_since(seven).as_secs().abs();
        assert!(off <= 60, "it ends {off} s from where it should");
    }
}
