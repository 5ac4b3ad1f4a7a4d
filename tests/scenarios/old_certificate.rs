//! What becomes of the old certificate after a rekey, for each `afterRekey` that a provisioner may have.

use std::time::Duration;

use keywheel_tests::provisioner::{REFUSED, new_key};
use keywheel_wire::private_key::KeyKind;
use serde_json::{Value, json};

use crate::lab::{Lab, Pair};

/// A CA whose provisioner has this rule.
fn with_rule(rule: &Value) -> Lab {
    Lab::start_changed(|configuration| configuration["authority"]["provisioners"][0]["keywheel"] = rule.clone())
}

/// Uses a certificate for something that changes nothing.
fn use_it(lab: &Lab, pair: &Pair) {
    lab.door().get("/health").by(pair).ask().is(200, "ok");
}

#[test]
fn what_init_writes_revokes_the_old_one_when_its_successor_is_seen_and_after_10_minutes_at_the_latest() {
    let lab = Lab::start();
    let shown = lab.ca.place.keywheel(&["ca", "provisioner", "show", "admin"]).ok().stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["keywheel"], json!({ "afterRekey": "revokeWhenSuccessorSeen", "overlap": "10m0s" }));
}

#[test]
fn an_old_certificate_that_stays_may_be_replaced_again_and_again() {
    let lab = with_rule(&json!({ "afterRekey": "stays" }));
    let old = lab.issue("svc.local");
    let first = lab.door().rekeyed(&old);
    use_it(&lab, &first);
    let second = lab.door().rekeyed(&old);
    use_it(&lab, &second);
    lab.door().rekeyed(&old);
    lab.door().renew(&old).is(201, "");
    std::thread::sleep(Duration::from_secs(3));
    for pair in [&old, &first, &second] {
        assert!(!lab.is_revoked(&pair.certificate.serial()));
    }
}

#[test]
fn without_a_rule_of_ours_the_old_certificate_stays_as_in_the_reference() {
    let lab = with_rule(&json!({}));
    let old = lab.issue("svc.local");
    let new = lab.door().rekeyed(&old);
    use_it(&lab, &new);
    lab.door().rekeyed(&old);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!lab.is_revoked(&old.certificate.serial()));
}

#[test]
fn an_old_certificate_is_revoked_as_superseded_after_the_overlap_and_not_before() {
    let lab = with_rule(&json!({ "afterRekey": "revokeAfterOverlap", "overlap": "6s" }));
    let old = lab.issue("svc.local");
    let started = std::time::Instant::now();
    let new = lab.door().rekeyed(&old);
    use_it(&lab, &new);
    std::thread::sleep(Duration::from_secs(2));
    let early = lab.is_revoked(&old.certificate.serial());
    assert!(!early || started.elapsed() > Duration::from_secs(5), "it was revoked before the overlap was over");
    assert_eq!(lab.wait_until_revoked(&old.certificate.serial()).as_deref(), Some("superseded"));
    assert!(started.elapsed() >= Duration::from_secs(6));
    lab.door().renew(&old).is(401, REFUSED);
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    lab.door().rekeyed(&new);
}

#[test]
fn a_superseded_certificate_whose_successor_is_in_use_is_not_replaced_again_during_the_overlap() {
    let lab = with_rule(&json!({ "afterRekey": "revokeAfterOverlap", "overlap": "1h" }));
    let old = lab.issue("svc.local");
    let new = lab.door().rekeyed(&old);
    // Nobody has seen the successor: the client may have lost its key.
    lab.door().renew(&old).is(403, "superseded");
    use_it(&lab, &new);
    let says = format!("the certificate was superseded by {}; rekey or renew that one", new.certificate.serial());
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(403, &says);
    lab.door().renew(&old).is(403, "superseded");
    // For everything else it is good until the overlap is over.
    use_it(&lab, &old);
    assert!(!lab.is_revoked(&old.certificate.serial()));
}

#[test]
fn an_old_certificate_is_revoked_as_soon_as_its_successor_is_seen_in_use() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let new = lab.door().rekeyed(&old);
    // As long as the successor is unseen, the old one is good.
    use_it(&lab, &old);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!lab.is_revoked(&old.certificate.serial()));
    use_it(&lab, &new);
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    assert_eq!(lab.wait_until_revoked(&old.certificate.serial()).as_deref(), Some("superseded"));
    assert!(!lab.is_revoked(&new.certificate.serial()));
}

#[test]
fn an_old_certificate_whose_successor_is_never_seen_is_revoked_at_the_bound() {
    let lab = with_rule(&json!({ "afterRekey": "revokeWhenSuccessorSeen", "overlap": "4s" }));
    let old = lab.issue("svc.local");
    let started = std::time::Instant::now();
    let key = new_key(KeyKind::EcP256);
    let answer = lab.door().rekey(&old, &key).is(201, "");
    let new = answer.pair(&lab.ca.place, key);
    assert_eq!(lab.wait_until_revoked(&old.certificate.serial()).as_deref(), Some("superseded"));
    assert!(started.elapsed() >= Duration::from_secs(4));
    assert!(!lab.is_revoked(&new.certificate.serial()));
    // The client that lost the answer, and comes that late, gets it all the same; any other key is refused.
    assert_eq!(lab.door().rekey(&old, &new.key).is(201, "").chain(), answer.chain());
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    lab.door().rekeyed(&new);
}

#[test]
fn the_same_request_gets_the_same_certificate_also_after_the_old_one_was_superseded_by_it() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    let answer = lab.door().rekey(&old, &key).is(201, "");
    let new = answer.pair(&lab.ca.place, key);
    use_it(&lab, &new);
    lab.wait_until_revoked(&old.certificate.serial());
    assert_eq!(lab.door().rekey(&old, &new.key).is(201, "").chain(), answer.chain());
    // The answer itself is dead once it was revoked.
    let body = json!({ "serial": new.certificate.serial().to_string(), "passive": true }).to_string();
    lab.door().post("/revoke", body).by(&new).ask().is(200, "ok");
    lab.door().rekey(&old, &new.key).is(403, "");
}

#[test]
fn an_old_certificate_that_was_revoked_for_another_reason_gets_no_answer_again() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    lab.door().rekey(&old, &key).is(201, "");
    let serial = old.certificate.serial().to_string();
    let body =
        json!({ "serial": serial, "reasonCode": 1, "passive": true, "ott": lab.token("/1.0/revoke", &serial, None) });
    lab.door().post("/revoke", body.to_string()).ask().is(200, "ok");
    lab.door().rekey(&old, &key).is(401, REFUSED);
}

#[test]
fn a_successor_that_nobody_has_seen_is_revoked_when_the_old_certificate_is_replaced_again() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let lost = lab.door().rekeyed(&old);
    let found = lab.door().rekeyed(&old);
    assert_eq!(lab.wait_until_revoked(&lost.certificate.serial()).as_deref(), Some("superseded"));
    lab.door().rekey(&lost, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    // The request that it answered is not answered by a revoked certificate.
    lab.door().rekey(&old, &lost.key).is(403, "");
    assert!(!lab.is_revoked(&found.certificate.serial()));
    assert!(!lab.is_revoked(&old.certificate.serial()));
    use_it(&lab, &found);
    assert_eq!(lab.wait_until_revoked(&old.certificate.serial()).as_deref(), Some("superseded"));
}

#[test]
fn a_client_of_ours_shows_its_new_pair_at_once_so_that_the_old_certificate_goes_on_the_list() {
    let lab = Lab::start();
    lab.ca.certificate("svc.local");
    let read = || {
        let text = lab.ca.place.read("svc.local.crt");
        keywheel_wire::x509::certificate::Certificate::from_pem(text.as_bytes()).expect("a certificate")
    };
    let old = read();
    lab.ca.place.keywheel(&["ca", "rekey", "--force", "svc.local.crt", "svc.local.key"]).ok();
    assert_eq!(lab.wait_until_revoked(&old.serial()).as_deref(), Some("superseded"));
    assert!(!lab.is_revoked(&read().serial()));
}
