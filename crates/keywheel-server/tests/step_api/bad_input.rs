//! What makes no sense is refused with the documented status, and nothing that a client sends is a fault of ours.

use keywheel_signer::file_key::FileKey;
use keywheel_wire::private_key::KeyKind;
use serde_json::json;

use crate::running::{Ca, csr, new_key, reply};

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_the_clients_fault_on_every_route() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let bodies = [
        "",
        " ",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "{\"csr\":1}",
        "{\"csr\":[]}",
        "{\"csr\":\"\"}",
        "{\"csr\":\"\\u0000\"}",
        "{\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\"}",
        "{\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\\nMAA=\\n-----END CERTIFICATE REQUEST-----\\n\"}",
        "{\"ott\":{}}",
        "{\"serial\":5}",
        "{\"reasonCode\":\"x\"}",
        "{\"passive\":\"yes\"}",
        "\u{fffd}\u{0}",
        &deep,
    ];
    for route in ["/sign", "/rekey", "/revoke"] {
        for body in bodies {
            for identity in [None, Some(&holder)] {
                let answer = reply(ca.client(identity).post(format!("{}{route}", ca.url)).body(body.to_owned())).await;
                assert_eq!(answer.status, 400, "{route} {:?}: {}", &body[..body.len().min(80)], answer.text());
                assert!(answer.json()["message"].as_str().unwrap().starts_with("The request could not be completed: "));
            }
        }
    }
    let huge = "x".repeat(600 * 1024);
    for route in ["/sign", "/rekey", "/revoke"] {
        let answer = reply(ca.client(Some(&holder)).post(format!("{}{route}", ca.url)).body(huge.clone())).await;
        answer.refused(413, "too large");
    }
    assert_eq!(ca.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_not_authenticated_on_every_route() {
    let ca = Ca::start().await;
    let good = ca.token("/sign", "svc.local", |_| {});
    let parts: Vec<&str> = good.split('.').collect();
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let hmac = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", parts[1], parts[2]);
    let cut = good[..good.len() - 4].to_owned();
    let tokens = [
        "x".to_owned(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        none,
        hmac,
        cut,
        format!("{good}."),
        "e30.e30.e30".into(),
        format!("{}.{}.", parts[0], parts[1]),
        "y".repeat(100_000),
    ];
    for token in tokens {
        for (route, body) in [
            ("/sign", json!({ "csr": csr(&new_key(), ""), "ott": token })),
            ("/revoke", json!({ "serial": "1", "passive": true, "ott": token })),
        ] {
            ca.post(None, route, &body).await.refused(401, "lacked necessary authorization");
        }
        if token.len() < 10_000 {
            ca.post_with_token(&token, "/renew", &json!(null)).await.refused(401, "");
            ca.post_with_token(&token, "/rekey", &json!({ "csr": csr(&new_key(), "") })).await.refused(401, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_certificate_may_carry_are_refused() {
    let ca = Ca::start().await;
    let long = "a".repeat(300);
    for name in ["a b", "a\u{0}b", "bücher.example", "x..y", long.as_str(), "*", "a_b\n"] {
        let (answer, _) = ca.sign(name, json!({})).await;
        assert!((400..500).contains(&answer.status.as_u16()), "{name:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_another_cas_certificate_are_not_let_in() {
    let (ca, other) = (Ca::start().await, Ca::start().await);
    let stranger = other.holder("svc.local").await;
    let answer = ca.client(Some(&stranger)).get(format!("{}/health", ca.url)).send().await;
    assert!(answer.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_is_certified_and_authenticates() {
    let ca = Ca::start().await;
    for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
        let key = std::sync::Arc::new(FileKey::generate(kind).unwrap());
        let body = json!({ "csr": csr(&key, ""), "ott": ca.token("/sign", "svc.local", |_| {}) });
        let holder = ca.post(None, "/sign", &body).await.holder(key);
        ca.rekeyed(&holder).await;
    }
}
