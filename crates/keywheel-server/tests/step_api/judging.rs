//! What an authority judges beyond the words of a request: keys that are known to the world, tokens that were shown
//! before, clocks that differ, and issuers that were replaced.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::key_blocklist::hashed_part;
use keywheel_core::revocation::ReasonCode;
use keywheel_engine::authority::{Authority, AuthorityError, AuthorityOptions, Caller, OpenError};
use keywheel_signer::file_key::FileKey;
use keywheel_store::{Revocation, TokenUse};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::step::token::{self, Contents, confirmation, token_hash};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::crl::Crl;
use keywheel_wire::x509::facts::public_key_facts;
use keywheel_wire::x509::request::Request;
use serde_json::{Value, json};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::running::{Ca, csr, csr_der, eventually, new_key};

fn change_config(ca: &Ca, change: impl FnOnce(&mut Value)) {
    let path = ca.home.join("config/ca.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
}

/// A list of known keys that names this one.
fn blocklist(key: &FileKey) -> Vec<u8> {
    let facts = public_key_facts(key.public_key()).unwrap();
    let digest = token_hash_bytes(hashed_part(&facts).unwrap());
    let mut records: Vec<Vec<u8>> = vec![vec![0; 15], digest[..15].to_vec(), vec![0xff; 15]];
    records.sort();
    records.into_iter().flat_map(|hash| hash.into_iter().chain([7])).collect()
}

fn token_hash_bytes(octets: &[u8]) -> Vec<u8> {
    rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .map(|suite| suite.common.hash_provider.hash(octets).as_ref().to_vec())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_the_blocklist_is_neither_signed_nor_taken_for_a_rekey() {
    let known = Arc::new(FileKey::generate(KeyKind::Rsa(2048)).unwrap());
    let list = blocklist(&known);
    let ca = Ca::start().await;
    let path = ca.home.join("blocklist.dat");
    let sign = |key: Arc<FileKey>| {
        let body = json!({ "csr": csr(&key, ""), "ott": ca.token("/sign", "svc.local", |_| {}) });
        let ca = &ca;
        async move { ca.post(None, "/sign", &body).await }
    };
    // A list that cannot be used changes nothing.
    change_config(&ca, |config| config["keywheel"]["keyBlocklist"] = json!(path));
    assert!(matches!(ca.authority.reload().await, Err(OpenError::Read { .. })));
    std::fs::write(&path, &list[..20]).unwrap();
    assert!(matches!(ca.authority.reload().await, Err(OpenError::Config { .. })));
    let holder = sign(known.clone()).await.holder(known.clone());

    std::fs::write(&path, &list).unwrap();
    ca.authority.reload().await.unwrap();
    sign(known.clone()).await.refused(403, "the private half of the key is publicly known");
    let other = ca.holder("other.local").await;
    ca.rekey(&other, &known).await.refused(403, "the private half of the key is publicly known");
    let unknown = Arc::new(FileKey::generate(KeyKind::Rsa(2048)).unwrap());
    sign(unknown.clone()).await.holder(unknown);
    // Whoever has such a certificate gets rid of its key.
    ca.rekeyed(&holder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_request_was_refused_is_used_up_as_in_the_reference() {
    let ca = Ca::start().await;
    let key = new_key();
    let token = ca.token("/sign", "svc.local", |_| {});
    let body = |name: &str| json!({ "csr": csr(&key, name), "ott": token });
    ca.post(None, "/sign", &body("other.local")).await.refused(403, "valid common name");
    ca.post(None, "/sign", &body("svc.local")).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_another_request_is_forbidden() {
    let ca = Ca::start().await;
    let told = "certificate request fingerprint does not match";
    let token = ca.token("/sign", "svc.local", |contents| contents.confirmation = Some(confirmation(b"another")));
    let body = json!({ "csr": csr(&new_key(), ""), "ott": token });
    ca.post(None, "/sign", &body).await.refused(403, told);
    let holder = ca.holder("svc.local").await;
    let token = holder.token(&ca, "/rekey", |contents| contents.confirmation = Some(confirmation(b"another")));
    ca.post_with_token(&token, "/rekey", &json!({ "csr": csr(&new_key(), "") })).await.refused(403, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_cannot_use_up_the_token_of_another_by_its_identifier() {
    let ca = Ca::start().await;
    let holder = ca.holder("mallory.local").await;
    let key = new_key();
    let der = csr_der(&key, "");
    let id = "x".repeat(20_000);
    let rekey = holder.token(&ca, "/rekey", |contents| {
        (contents.id, contents.confirmation) = (Some("guessed".into()), Some(confirmation(&der)));
    });
    let body = json!({ "csr": keywheel_wire::x509::request::to_pem(&der) });
    ca.post_with_token(&rekey, "/rekey", &body).await.holder(key);
    for id in ["guessed", &id] {
        let key = new_key();
        let token = ca.token("/sign", "svc.local", |contents| contents.id = Some(id.to_owned()));
        let body = json!({ "csr": csr(&key, ""), "ott": token });
        ca.post(None, "/sign", &body).await.holder(key);
        let body = json!({ "csr": csr(&new_key(), ""), "ott": token });
        ca.post(None, "/sign", &body).await.refused(401, "");
    }
}

/// The other signature of the same message, which everybody can make of the first: its second half negated.
fn negated(token: &str) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let order = i16::from_str_radix(&ORDER[2 * place..2 * place + 2], 16).unwrap();
        let difference = order - i16::from(signature[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{input}.{}", Base64UrlUnpadded::encode_string(&signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_an_identifier_is_the_same_with_its_signature_negated() {
    let ca = Ca::start().await;
    let token = ca.token("/sign", "svc.local", |contents| contents.id = None);
    let (key, thief) = (new_key(), new_key());
    let stolen = json!({ "csr": csr(&thief, ""), "ott": negated(&token) });
    ca.post(None, "/sign", &json!({ "csr": csr(&key, ""), "ott": token })).await.holder(key);
    ca.post(None, "/sign", &stolen).await.refused(401, "");
    // Used for the first time it is as good as the other.
    let token = ca.token("/sign", "other.local", |contents| contents.id = None);
    let body = json!({ "csr": csr(&thief, ""), "ott": negated(&token) });
    ca.post(None, "/sign", &body).await.holder(thief);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_vouches_neither_for_another_nor_for_its_end() {
    use base64ct::Encoding;
    let ca = Ca::start_with(|config| {
        let root = std::fs::read(config["root"].as_str().unwrap()).unwrap();
        let x5c = json!({ "type": "X5C", "name": "host", "roots": base64ct::Base64::encode_string(&root) });
        config["authority"]["provisioners"].as_array_mut().unwrap().push(x5c);
    })
    .await;
    let (voucher, victim) = (ca.holder("voucher.local").await, ca.holder("victim.local").await);
    let wish =
        |holder: &crate::running::Holder| json!({ "serial": holder.leaf().serial().to_string(), "passive": true });
    assert_eq!(ca.post(Some(&voucher), "/revoke", &wish(&voucher)).await.status, 200);
    let token = |route: &str, subject: &str| {
        let audience = format!("{}/1.0{route}#x5c/host", ca.url);
        let contents = Contents::new(&audience, "host", subject, Timestamp::now());
        token::sign_with_chain(&contents, "x5c", &voucher.chain, voucher.key.as_ref()).unwrap()
    };
    let body = json!({ "csr": csr(&new_key(), ""), "ott": token("/sign", "svc.local") });
    ca.post(None, "/sign", &body).await.refused(401, "");
    let mut body = wish(&victim);
    body["ott"] = json!(token("/revoke", &victim.leaf().serial().to_string()));
    ca.post(None, "/revoke", &body).await.refused(401, "");
    assert!(!ca.is_revoked(&victim).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_made_although_another_nodes_clock_is_ahead() {
    let ca = Ca::start().await;
    let (early, other) = (ca.holder("early.local").await, ca.holder("other.local").await);
    let revocation = Revocation {
        serial: early.leaf().serial(),
        revoked_at: Timestamp::now() + SignedDuration::from_mins(10),
        reason: ReasonCode::KeyCompromise,
        text: String::new(),
        by: "another node".into(),
        expires_at: None,
    };
    ca.authority.store().revoke(revocation).await.unwrap();
    let wish = json!({ "serial": other.leaf().serial().to_string(), "passive": true });
    assert_eq!(ca.post(Some(&other), "/revoke", &wish).await.status, 200);
    let ca = &ca;
    eventually("both stand on the list", async || {
        let list = Crl::from_der(&ca.get("/crl").await.body).unwrap();
        let listed = |serial| list.parts().revoked().iter().any(|entry| entry.serial == serial);
        listed(early.leaf().serial()) && listed(other.leaf().serial())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_an_issuer_that_was_replaced_is_not_given_with_a_chain_that_does_not_lead_to_it() {
    let (ca, next) = (Ca::start().await, Ca::start().await);
    let old = ca.holder("svc.local").await;
    let key = new_key();
    let lost = ca.rekey(&old, &key).await.holder(key.clone());
    let config: Value = serde_json::from_slice(&std::fs::read(next.home.join("config/ca.json")).unwrap()).unwrap();
    change_config(&ca, |own| {
        own["root"] = json!([own["root"], config["root"]]);
        for file in ["crt", "key"] {
            own[file] = config[file].clone();
        }
    });
    ca.authority.reload().await.unwrap();
    let issuer = Certificate::from_der(&next.authority.intermediates()[0]).unwrap();
    let from = &ca;
    eventually("the new issuer signs the list", async || {
        let list = from.authority.crl(Timestamp::now()).await.unwrap();
        Crl::from_der(&list.der).unwrap().verify_signed_by(issuer.spki()).is_ok()
    })
    .await;
    let leaf = Arc::new(Certificate::from_der(&old.chain[0]).unwrap());
    let rekey = |key: &FileKey| {
        let csr = Request::from_der(&csr_der(key, "")).unwrap();
        ca.authority.rekey(Caller::Tls(Arc::clone(&leaf)), csr, Timestamp::now())
    };
    let refused = rekey(&key).await.unwrap_err();
    assert!(matches!(&refused, AuthorityError::Forbidden(told) if told.contains("make a new key")), "{refused}");
    let issued = rekey(&new_key()).await.unwrap();
    assert_eq!(issued.chain[1..], next.authority.intermediates());
    assert!(ca.is_revoked(&lost).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_used_tokens_are_forgotten_than_one_turn_of_the_loops_can() {
    let ca = Ca::start().await;
    let home = ca.home.clone();
    let now = Timestamp::now();
    let (long_ago, just_over) = (now - SignedDuration::from_hours(2), now - SignedDuration::from_mins(30));
    let second = home.join("db/second.db");
    let options = AuthorityOptions {
        config_file: home.join("config/ca.json"),
        password: Some(Zeroizing::new(b"password".to_vec())),
        database: Some(format!("sqlite:{}", second.display())),
        fresh_database: false,
    };
    let authority = Authority::open(options, Timestamp::now()).await.unwrap();
    let store = authority.store().clone();
    for batch in 0..11 {
        let uses =
            (0..256).map(|number| {
                let token = token_hash(&format!("{batch} {number}"));
                tokio::spawn({
                    let store = store.clone();
                    async move {
                        store.consume_token(TokenUse { token, request: None, expires_at: long_ago }).await.unwrap()
                    }
                })
            });
        for use_up in uses.collect::<Vec<_>>() {
            use_up.await.unwrap();
        }
    }
    store.consume_token(TokenUse { token: "just over".into(), request: None, expires_at: just_over }).await.unwrap();
    let (stop, told) = watch::channel(false);
    let loops = tokio::spawn(async move { authority.run(told).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.send(true).unwrap();
    loops.await.unwrap();
    // A node whose clock is behind would still take this one.
    assert_eq!(store.prune_tokens(Timestamp::now()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_provisioners_are_not_shown_to_everybody() {
    let ca = Ca::start_with(|config| {
        let list = config["authority"]["provisioners"].as_array_mut().unwrap();
        list[0]["key"]["d"] = json!("hidden");
        list[0]["options"] =
            json!({ "webhooks": [{ "name": "hook", "url": "https://hook.local", "secret": "hidden" }] });
        let hidden = "hidden";
        list.push(json!({ "type": "SCEP", "name": "scep", "challenge": hidden, "DecrypterKeyPassword": hidden }));
    })
    .await;
    let shown = ca.get("/provisioners").await.text();
    assert!(shown.contains("hook.local") && shown.contains("\"challenge\":\"*** REDACTED ***\""), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}
