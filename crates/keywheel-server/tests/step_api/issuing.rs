//! First certificates.

use jiff::{SignedDuration, Timestamp};
use keywheel_signer::file_key::FileKey;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::step::token::{self, Contents, confirmation};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::chain::{self, Usage};
use keywheel_wire::x509::extension::usage::KeyUsage;
use serde_json::json;

use crate::running::{Ca, csr, csr_der, hex, new_key};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_a_certificate_once() {
    let ca = Ca::start().await;
    let key = new_key();
    let token =
        ca.token("/sign", "svc.local", |contents| contents.sans = Some(vec!["svc.local".into(), "10.0.0.1".into()]));
    let body = json!({ "csr": csr(&key, "svc.local"), "ott": token });
    let first = ca.post(None, "/1.0/sign", &body).await;
    let holder = first.holder(key);
    let leaf = holder.leaf();
    let rest: Vec<_> = holder.chain[1..].iter().map(|der| Certificate::from_der(der).unwrap()).collect();
    let root = Certificate::from_der(&ca.root).unwrap();
    chain::verify(&leaf, &rest, &[root], Timestamp::now(), Usage::ClientAuth).unwrap();
    assert_eq!(leaf.subject().common_name().as_deref(), Some("svc.local"));
    let names: Vec<_> = leaf.subject_alt_names().unwrap().iter().filter_map(|name| name.as_text()).collect();
    assert_eq!(names, ["svc.local", "10.0.0.1"]);
    assert_eq!(leaf.parts().key_usage().unwrap(), Some(KeyUsage::DIGITAL_SIGNATURE));
    let provisioner = leaf.provisioner().unwrap().unwrap();
    assert_eq!(
        (provisioner.kind, provisioner.name.as_str(), provisioner.credential_id.as_str()),
        (1, "admin", ca.kid.as_str())
    );
    assert_eq!(leaf.not_after().duration_since(leaf.not_before()), SignedDuration::from_mins(24 * 60 + 1));
    let answer = first.json();
    assert_eq!(answer["certChain"][0], answer["crt"]);
    assert_eq!(answer["certChain"][1], answer["ca"]);
    assert_eq!(answer["certChain"].as_array().unwrap().len(), 2);
    assert_eq!(answer["tlsOptions"]["minVersion"], 1.2);

    // Whoever asks the very same again has not heard the answer; any other request is refused.
    let other = json!({ "csr": csr(&new_key(), "svc.local"), "ott": token });
    let longer = json!({ "csr": body["csr"], "ott": token, "notAfter": "2h" });
    let same = |reply: crate::running::Reply| assert_eq!(reply.json()["certChain"], answer["certChain"]);
    same(ca.post(None, "/sign", &body).await);
    for wish in [&other, &longer] {
        ca.post(None, "/sign", wish).await.refused(401, "lacked necessary authorization");
    }
    let ca = ca.restart().await;
    same(ca.post(None, "/sign", &body).await);
    for wish in [&other, &longer] {
        ca.post(None, "/sign", wish).await.refused(401, "lacked necessary authorization");
    }
    // What was revoked since is no answer.
    let wish = json!({ "serial": leaf.serial().to_string(), "passive": true });
    assert_eq!(ca.post(Some(&holder), "/revoke", &wish).await.status, 200);
    ca.post(None, "/sign", &body).await.refused(401, "lacked necessary authorization");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_key_gets_key_encipherment_too() {
    let ca = Ca::start().await;
    let key = std::sync::Arc::new(FileKey::generate(KeyKind::Rsa(2048)).unwrap());
    let body = json!({ "csr": csr(&key, ""), "ott": ca.token("/sign", "svc.local", |_| {}) });
    let holder = ca.post(None, "/sign", &body).await.holder(key);
    let usage = holder.leaf().parts().key_usage().unwrap().unwrap();
    assert_eq!(usage, KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_ENCIPHERMENT));
    // The successor's key is on a curve: its usage follows.
    let next = ca.rekeyed(&holder).await;
    assert_eq!(next.leaf().parts().key_usage().unwrap(), Some(KeyUsage::DIGITAL_SIGNATURE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_not_name_more_than_its_token() {
    let ca = Ca::start().await;
    let body = json!({ "csr": csr(&new_key(), "other.local"), "ott": ca.token("/sign", "svc.local", |_| {}) });
    ca.post(None, "/sign", &body).await.refused(403, "valid common name - got other.local");
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_stay_within_the_claims_and_the_issuer() {
    let ca = Ca::start_with(|config| config["authority"]["claims"] = json!({ "maxTLSCertDuration": "200000h" })).await;
    ca.sign("svc.local", json!({ "notAfter": "1m" })).await.0.refused(403, "1m0s");
    ca.sign("svc.local", json!({ "notAfter": "150000h" })).await.0.refused(403, "issuing certificate");
    ca.sign("svc.local", json!({ "notAfter": "soon" })).await.0.refused(400, "'soon'");
    ca.sign("svc.local", json!({ "notAfter": "2000-01-01T00:00:00Z" })).await.0.refused(400, "");
    let (reply, key) = ca.sign("svc.local", json!({ "notAfter": "1h" })).await;
    let leaf = reply.holder(key).leaf();
    assert_eq!(leaf.not_after().duration_since(leaf.not_before()), SignedDuration::from_mins(61));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_what_it_says_only() {
    let ca = Ca::start().await;
    let now = Timestamp::now();
    let other = FileKey::generate(KeyKind::EcP256).unwrap();
    let tokens = [
        ca.token("/revoke", "svc.local", |_| {}),
        ca.token("/sign", "svc.local", |contents| contents.issuer = "nobody".into()),
        ca.token("/sign", "svc.local", |contents| contents.audience = "https://elsewhere.example/1.0/sign".into()),
        ca.token("/sign", "svc.local", |contents| contents.expires_at = now - SignedDuration::from_mins(2)),
        ca.token("/sign", "svc.local", |contents| contents.not_before = now + SignedDuration::from_mins(2)),
        ca.token("/sign", "", |_| {}),
        token::sign_with_jwk(
            &Contents::new(&format!("{}/1.0/sign", ca.url), "admin", "svc.local", now),
            &ca.kid,
            &other,
        )
        .unwrap(),
    ];
    for token in tokens {
        let body = json!({ "csr": csr(&new_key(), ""), "ott": token });
        ca.post(None, "/sign", &body).await.refused(401, "lacked necessary authorization");
    }
    let key = new_key();
    let bound =
        ca.token("/sign", "svc.local", |contents| contents.confirmation = Some(confirmation(&csr_der(&key, ""))));
    // ECDSA draws a new number for each signature: only the request that was hashed fits.
    let body = json!({ "csr": csr(&key, ""), "ott": bound });
    ca.post(None, "/sign", &body).await.refused(403, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x5c_provisioner_vouches_as_long_as_its_certificate_lives() {
    use base64ct::Encoding;
    let ca = Ca::start_with(|config| {
        let root = std::fs::read(config["root"].as_str().unwrap()).unwrap();
        let roots = base64ct::Base64::encode_string(&root);
        config["authority"]["provisioners"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "X5C", "name": "host", "roots": roots }));
    })
    .await;
    let (reply, key) = ca.sign("voucher.local", json!({ "notAfter": "1h" })).await;
    let voucher = reply.holder(key);
    let contents = |id: &str| {
        let audience = format!("{}/1.0/sign#x5c/host", ca.url);
        let mut contents = Contents::new(&audience, "host", "svc.local", Timestamp::now());
        contents.id = Some(hex(id.as_bytes()));
        contents
    };
    let token = token::sign_with_chain(&contents("one"), "x5c", &voucher.chain, voucher.key.as_ref()).unwrap();
    let key = new_key();
    let body = json!({ "csr": csr(&key, ""), "ott": token });
    let holder = ca.post(None, "/sign", &body).await.holder(key);
    assert_eq!(holder.leaf().not_after(), voucher.leaf().not_after());
    assert_eq!(holder.leaf().provisioner().unwrap().unwrap().kind, 7);
    // A certificate in the token whose key did not sign it vouches for nothing.
    let stolen = token::sign_with_chain(&contents("two"), "x5c", &voucher.chain, new_key().as_ref()).unwrap();
    let body = json!({ "csr": csr(&new_key(), ""), "ott": stolen });
    ca.post(None, "/sign", &body).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_decides_subject_and_extensions_or_refuses() {
    let template = r#"{{ if eq .Insecure.User.team "none" }}{{ fail "no team, no certificate" }}{{ end }}
        {"subject": {"commonName": {{ toJson .Subject.CommonName }}, "organizationalUnit": {{ toJson .Insecure.User.team }}},
         "sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"],
         "extensions": [{"id": "1.2.3.4", "value": "BQA="}]}"#;
    let ca = Ca::start_with(|config| {
        config["authority"]["provisioners"][0]["options"] = json!({ "x509": { "template": template } });
    })
    .await;
    let (reply, key) = ca.sign("svc.local", json!({ "templateData": { "team": "red" } })).await;
    let leaf = reply.holder(key).leaf();
    assert_eq!(leaf.subject().to_string(), "CN=svc.local,OU=red");
    assert_eq!(leaf.extension(&"1.2.3.4".parse().unwrap()).unwrap().value(), [5, 0]);
    ca.sign("svc.local", json!({ "templateData": { "team": "none" } })).await.0.refused(400, "no team, no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_beyond_the_policies_are_refused() {
    let ca = Ca::start_with(|config| {
        config["authority"]["policy"] =
            json!({ "x509": { "allow": { "dns": ["*.local"] }, "deny": { "dns": ["root.local"] } } });
        config["authority"]["provisioners"][0]["keywheel"]["policy"] = json!({ "deny": { "dns": ["db.local"] } });
    })
    .await;
    for name in ["svc.example", "root.local", "db.local", "a.b.local"] {
        ca.sign(name, json!({})).await.0.refused(403, name);
    }
    ca.holder("svc.local").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_shows_a_certificate_of_its_own_ca_that_it_recorded() {
    let ca = Ca::start().await;
    assert_eq!(ca.get("/health").await.status, 200);
    let found = ca.authority.store().find_certificates("Step Online CA", 10, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].issued_at.is_some());
}
