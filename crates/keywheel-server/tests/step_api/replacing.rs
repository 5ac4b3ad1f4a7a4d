//! Renewal and rekey.

use std::time::Duration;

use jiff::Timestamp;
use keywheel_engine::authority::{AuthorityError, Caller};
use keywheel_wire::step::token::confirmation;
use keywheel_wire::x509::oid;
use keywheel_wire::x509::request;
use serde_json::json;

use crate::running::{Ca, Holder, csr, csr_der, eventually, new_key};

fn after_rekey(rule: &'static str, overlap: &'static str) -> impl FnOnce(&mut serde_json::Value) {
    move |config| {
        config["authority"]["provisioners"][0]["keywheel"] = json!({ "afterRekey": rule, "overlap": overlap });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rekey_keeps_everything_but_the_key_and_what_hangs_on_it() {
    let ca = Ca::start().await;
    let old = ca.holder("svc.local").await;
    let new = ca.rekeyed(&old).await;
    let (before, after) = (old.leaf(), new.leaf());
    assert_eq!(before.subject().as_der(), after.subject().as_der());
    assert_eq!(
        before.not_after().duration_since(before.not_before()),
        after.not_after().duration_since(after.not_before())
    );
    assert_eq!(before.extensions().len(), after.extensions().len());
    for extension in before.extensions() {
        let kept = after.extension(extension.oid()).unwrap();
        if *extension.oid() == oid::SUBJECT_KEY_IDENTIFIER {
            assert_ne!(kept.tlv(), extension.tlv());
        } else {
            assert_eq!(kept.tlv(), extension.tlv(), "{}", extension.oid());
        }
    }
    assert_ne!(before.serial(), after.serial());
    let line = ca.authority.store().lineage(before.serial()).await.unwrap();
    let line: Vec<_> = line.iter().map(|stored| stored.serial).collect();
    assert_eq!(line, [before.serial(), after.serial()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rekey_gets_the_same_certificate_also_after_a_restart() {
    let ca = Ca::start().await;
    let old = ca.holder("svc.local").await;
    let key = new_key();
    let first = ca.rekey(&old, &key).await.holder(key.clone());
    // Another request by its signature, the same by its key.
    assert_eq!(ca.rekey(&old, &key).await.holder(key.clone()).chain, first.chain);
    let ca = ca.restart().await;
    assert_eq!(ca.rekey(&old, &key).await.holder(key.clone()).chain, first.chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_certified_before_is_refused_by_a_rekey_and_not_by_a_renewal() {
    let ca = Ca::start().await;
    let (one, two) = (ca.holder("one.local").await, ca.holder("two.local").await);
    ca.rekey(&one, &one.key).await.refused(403, "new key");
    ca.rekey(&one, &two.key).await.refused(403, "certified the requested key before");
    let renewed = ca.post(Some(&one), "/renew", &json!(null)).await.holder(one.key.clone());
    assert_ne!(renewed.leaf().serial(), one.leaf().serial());
    assert_eq!(renewed.leaf().key_digest(), one.leaf().key_digest());
    let alias = ca.post(Some(&one), "/1.0/re-sign", &json!(null)).await;
    alias.holder(one.key.clone());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rekey_without_a_certificate_or_a_request_is_told_what_is_missing() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    ca.post(None, "/rekey", &json!({ "csr": csr(&new_key(), "") })).await.refused(400, "missing client certificate");
    ca.post(None, "/renew", &json!(null)).await.refused(400, "missing client certificate");
    ca.post(Some(&holder), "/rekey", &json!({})).await.refused(400, "missing csr");
    ca.post(Some(&holder), "/rekey", &json!({ "csr": "x" })).await.refused(400, "error decoding json");
    let mut broken = csr_der(&new_key(), "");
    *broken.last_mut().unwrap() ^= 1;
    let body = json!({ "csr": request::to_pem(&broken).to_string() });
    ca.post(Some(&holder), "/rekey", &body).await.refused(400, "invalid csr");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_that_stays_may_be_rekeyed_again_and_again() {
    let ca = Ca::start_with(after_rekey("stays", "")).await;
    let old = ca.holder("svc.local").await;
    let new = ca.rekeyed(&old).await;
    ca.client(Some(&new)).get(format!("{}/health", ca.url)).send().await.unwrap();
    let other = ca.rekeyed(&old).await;
    for holder in [&old, &new, &other] {
        assert!(!ca.is_revoked(holder).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_is_revoked_when_its_successor_is_seen() {
    let ca = Ca::start().await;
    let old = ca.holder("svc.local").await;
    let key = new_key();
    let new = ca.rekey(&old, &key).await.holder(key.clone());
    assert!(!ca.is_revoked(&old).await);
    ca.client(Some(&new)).get(format!("{}/health", ca.url)).send().await.unwrap();
    assert!(ca.is_revoked(&old).await);
    // What was answered is answered again, but nothing new is issued for it.
    assert_eq!(ca.rekey(&old, &key).await.holder(key).chain, new.chain);
    ca.rekey(&old, &new_key()).await.refused(401, "");
    ca.post(Some(&old), "/renew", &json!(null)).await.refused(401, "");
    ca.rekeyed(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_nobody_saw_is_replaced_and_revoked() {
    let ca = Ca::start().await;
    let old = ca.holder("svc.local").await;
    let lost = ca.rekeyed(&old).await;
    let new = ca.rekeyed(&old).await;
    assert!(ca.is_revoked(&lost).await);
    assert!(!ca.is_revoked(&new).await);
    ca.rekey(&lost, &new_key()).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_is_revoked_after_its_overlap() {
    let ca = Ca::start_with(after_rekey("revokeAfterOverlap", "2s")).await;
    let old = ca.holder("svc.local").await;
    let new = ca.rekeyed(&old).await;
    ca.client(Some(&new)).get(format!("{}/health", ca.url)).send().await.unwrap();
    assert!(!ca.is_revoked(&old).await);
    eventually("the old certificate is revoked", || ca.is_revoked(&old)).await;
    assert!(!ca.is_revoked(&new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_is_revoked_at_the_latest_though_nobody_saw_its_successor() {
    let ca = Ca::start_with(after_rekey("revokeWhenSuccessorSeen", "1s")).await;
    let old = ca.holder("svc.local").await;
    let new = ca.rekeyed(&old).await;
    eventually("the old certificate is revoked", || ca.is_revoked(&old)).await;
    assert!(!ca.is_revoked(&new).await);
}

async fn expired(ca: &Ca) -> Holder {
    let (reply, key) = ca.sign("svc.local", json!({ "notAfter": "2s" })).await;
    let holder = reply.holder(key);
    tokio::time::sleep(Duration::from_millis(3200)).await;
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_replaced_only_where_the_claims_allow_it() {
    let claims = |allow: bool| json!({ "minTLSCertDuration": "1s", "allowRenewalAfterExpiry": allow });
    let strict = Ca::start_with(|config| config["authority"]["claims"] = claims(false)).await;
    let holder = expired(&strict).await;
    strict.rekey(&holder, &new_key()).await.refused(401, "certificate expired on");
    let token = holder.token(&strict, "/renew", |_| {});
    strict.post_with_token(&token, "/renew", &json!(null)).await.refused(401, "certificate expired on");
    // It counts as no certificate everywhere else.
    let reply = strict.client(Some(&holder)).get(format!("{}/health", strict.url)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let revoke = json!({ "serial": holder.leaf().serial().to_string(), "passive": true });
    strict.post(Some(&holder), "/revoke", &revoke).await.refused(400, "missing ott or client certificate");

    let lenient = Ca::start_with(|config| config["authority"]["claims"] = claims(true)).await;
    let holder = expired(&lenient).await;
    lenient.rekeyed(&holder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_the_ca_itself_cannot_be_given_a_certificate_of_another_ca() {
    let (ca, other) = (Ca::start().await, Ca::start().await);
    let (own, foreign) = (ca.holder("svc.local").await, other.holder("svc.local").await);
    let csr = || request::Request::from_der(&csr_der(&new_key(), "")).unwrap();
    let rekey = |chain| ca.authority.rekey(Caller::Held(chain), csr(), Timestamp::now());
    rekey(own.chain).await.unwrap();
    let refused = rekey(foreign.chain).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::NotAuthenticated(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_can_be_disabled() {
    let ca = Ca::start_with(|config| {
        config["authority"]["provisioners"][0]["claims"] = json!({ "disableRenewal": true });
    })
    .await;
    let holder = ca.holder("svc.local").await;
    ca.rekey(&holder, &new_key()).await.refused(401, "");
    ca.post(Some(&holder), "/renew", &json!(null)).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_provisioner_is_gone_is_not_replaced() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    let path = ca.home.join("config/ca.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["authority"]["provisioners"][0]["name"] = json!("renamed");
    std::fs::write(&path, config.to_string()).unwrap();
    ca.authority.reload().await.unwrap();
    ca.rekey(&holder, &new_key()).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_proxy_rekeys_with_a_token_that_is_bound_to_its_request() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    let key = new_key();
    let der = csr_der(&key, "");
    let body = json!({ "csr": request::to_pem(&der).to_string() });
    let bound = Some(confirmation(&der));

    let unbound = holder.token(&ca, "/rekey", |_| {});
    let nameless = holder.token(&ca, "/rekey", |contents| (contents.id, contents.confirmation) = (None, bound.clone()));
    let for_renewal = holder.token(&ca, "/renew", |contents| contents.confirmation = bound.clone());
    let stolen = Holder { chain: holder.chain.clone(), key: new_key() };
    let stolen = stolen.token(&ca, "/rekey", |contents| contents.confirmation = bound.clone());
    for token in [unbound, nameless, for_renewal, stolen, "x".to_owned()] {
        ca.post_with_token(&token, "/rekey", &body).await.refused(401, "");
    }
    let token = holder.token(&ca, "/rekey", |contents| contents.confirmation = bound.clone());
    let new = ca.post_with_token(&token, "/rekey", &body).await.holder(key.clone());
    ca.post_with_token(&token, "/rekey", &body).await.refused(401, "");
    // After a lost reply a new token for the same request gets the same certificate.
    let again = holder.token(&ca, "/rekey", |contents| contents.confirmation = bound.clone());
    assert_eq!(ca.post_with_token(&again, "/rekey", &body).await.holder(key).chain, new.chain);
    // A token that the successor signed is its first use.
    assert!(!ca.is_revoked(&holder).await);
    let renewal = new.token(&ca, "/renew", |_| {});
    ca.post_with_token(&renewal, "/renew", &json!(null)).await.holder(new.key.clone());
    assert!(ca.is_revoked(&holder).await);
    ca.post_with_token(&renewal, "/renew", &json!(null)).await.refused(401, "");
}
