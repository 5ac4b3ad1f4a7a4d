//! Which certificates may be replaced at all (`authorizeRenew`, `DefaultAuthorizeRenew`, `StoreRenewedCertificate`).

use jiff::SignedDuration;
use keywheel_tests::postgres::Postgres;
use keywheel_tests::provisioner::{REFUSED, chance, new_key};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::step::token::{CLIENT_ISSUER, Contents, sign_with_chain};
use keywheel_wire::x509::oid;
use serde_json::json;

use crate::lab::{Lab, Leaf};

#[test]
fn a_revoked_certificate_is_neither_renewed_nor_rekeyed() {
    let lab = Lab::start();
    let (old, other) = (lab.issue("svc.local"), lab.issue("other.local"));
    let serial = old.certificate.serial();
    let body = json!({ "serial": serial.to_string(), "reasonCode": 1, "reason": "lost", "passive": true }).to_string();
    lab.door().post("/revoke", body.clone()).by(&old).ask().is(200, "{\"status\":\"ok\"}\n");
    lab.door().renew(&old).is(401, REFUSED);
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    assert_eq!(lab.wait_until_revoked(&serial).as_deref(), Some("keyCompromise"));
    let repeated = format!("certificate with serial number '{serial}' is already revoked");
    lab.door().post("/revoke", body).by(&old).ask().is(400, &repeated);
    // By a provisioner's token, and by nobody's certificate but its own.
    let serial = other.certificate.serial().to_string();
    let body = json!({ "serial": serial, "passive": true }).to_string();
    lab.door().post("/revoke", body).by(&lab.issue("third.local")).ask().is(400, "");
    let token = lab.token("/1.0/revoke", &serial, None);
    let body = json!({ "serial": serial, "ott": token, "passive": true }).to_string();
    lab.door().post("/revoke", body).ask().is(200, "ok");
    lab.door().rekey(&other, &new_key(KeyKind::EcP256)).is(401, REFUSED);
}

#[test]
fn a_certificate_of_a_provisioner_that_is_gone_is_neither_renewed_nor_rekeyed() {
    let lab = Lab::start();
    let gone = lab.make(&Leaf { provisioner: Some((1, "gone", "x")), ..lab.leaf("svc.local") });
    lab.door().renew(&gone).is(401, REFUSED);
    lab.door().rekey(&gone, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    // Of another type it is another provisioner.
    let other = lab.make(&Leaf { provisioner: Some((7, "admin", lab.key_id())), ..lab.leaf("svc.local") });
    lab.door().rekey(&other, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    // Known by its name, even when its key was replaced meanwhile.
    let known = lab.make(&Leaf { provisioner: Some((1, "admin", "an earlier key")), ..lab.leaf("svc.local") });
    lab.door().rekeyed(&known);
    // And nobody's: the rules of the CA hold.
    let nobodys = lab.make(&Leaf { provisioner: None, ..lab.leaf("svc.local") });
    lab.door().rekeyed(&nobodys);
}

#[test]
fn a_certificate_without_the_extension_is_judged_by_what_the_store_remembers_also_after_a_rekey() {
    let mut lab = Lab::start();
    lab.change_provisioner(|provisioner| provisioner["claims"]["disableSmallstepExtensions"] = json!(true));
    let first = lab.issue("svc.local");
    assert!(first.certificate.extension(&oid::PROVISIONER).is_none());
    let second = lab.door().rekeyed(&first);
    let third = lab.door().renew(&second).is(201, "").pair(&lab.ca.place, {
        let key = second.key.private_key().clone();
        keywheel_signer::file_key::FileKey::from_private_key(key).expect("the key signs")
    });
    assert!(third.certificate.extension(&oid::PROVISIONER).is_none());
    lab.change_provisioner(|provisioner| provisioner["claims"]["disableRenewal"] = json!(true));
    for pair in [&second, &third] {
        lab.door().renew(pair).is(401, REFUSED);
        lab.door().rekey(pair, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    }
}

#[test]
fn a_store_that_is_away_answers_5xx_and_the_same_request_is_answered_when_it_is_back() {
    let postgres = Postgres::start();
    let lab = Lab::start_with(&["--database", &postgres.database("ca")]);
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    postgres.stop();
    for answer in [lab.door().rekey(&old, &key), lab.door().renew(&old)] {
        assert!(matches!(answer.status, 500 | 503), "{}: {}", answer.status, answer.text());
        assert!(
            !answer.text().to_lowercase().contains("postgres"),
            "the answer tells of the inside: {}",
            answer.text()
        );
        assert!(answer.json()["message"].is_string());
    }
    postgres.resume();
    lab.door().rekey(&old, &key).is(201, "");
    lab.door().get("/health").ask().is(200, "ok");
}

#[test]
fn a_certificate_within_its_life_is_renewed_and_rekeyed() {
    let lab = Lab::start();
    let old = lab.make(&lab.leaf("svc.local"));
    lab.door().renew(&old).is(201, "");
    lab.door().rekeyed(&old);
}

#[test]
fn an_expired_certificate_is_refused_with_its_end_in_the_message() {
    let lab = Lab::start();
    let ends = SignedDuration::from_mins(-1);
    let old = lab.make(&Leaf { ends, ..lab.leaf("svc.local") });
    let says = format!("certificate expired on {}", old.certificate.not_after());
    lab.door().renew(&old).is(401, &says);
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, &says);
    // On every other route such a certificate counts as none.
    lab.door().get("/health").by(&old).ask().is(200, "ok");
    let body = json!({ "serial": old.certificate.serial().to_string(), "passive": true }).to_string();
    lab.door().post("/revoke", body).by(&old).ask().is(400, "");
}

#[test]
fn an_expired_certificate_is_renewed_and_rekeyed_where_the_provisioner_allows_it() {
    let mut lab = Lab::start();
    lab.change_provisioner(|provisioner| provisioner["claims"]["allowRenewalAfterExpiry"] = json!(true));
    let ends = SignedDuration::from_mins(-1);
    let old = lab.make(&Leaf { ends, ..lab.leaf("svc.local") });
    lab.door().renew(&old).is(201, "");
    let new = lab.door().rekeyed(&old);
    assert_eq!(new.duration(), old.duration());
}

#[test]
fn a_certificate_that_is_not_yet_valid_is_neither_renewed_nor_rekeyed() {
    let lab = Lab::start();
    let begins = SignedDuration::from_mins(30);
    let early = lab.make(&Leaf { begins, ..lab.leaf("svc.local") });
    assert_eq!(lab.door().renew(&early).status, 0, "the handshake was not refused");
    assert_eq!(lab.door().rekey(&early, &new_key(KeyKind::EcP256)).status, 0, "the handshake was not refused");
    let now = jiff::Timestamp::now();
    let contents = Contents {
        id: Some(chance()),
        ..Contents::new(&format!("{}/renew", lab.ca.url()), CLIENT_ISSUER, "svc.local", now)
    };
    let token = sign_with_chain(&contents, "x5cInsecure", &early.chain, &early.key).expect("the key signs");
    lab.door().post("/renew", "").bearer(&token).ask().is(401, REFUSED);
}
