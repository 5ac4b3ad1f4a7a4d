//! Routes that only tell something.

use jiff::Timestamp;
use keywheel_engine::authority::{Authority, AuthorityOptions, OpenError};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::crl::Crl;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::running::{Ca, reply};

#[tokio::test(flavor = "multi_thread")]
async fn every_get_route_answers_under_both_roots_as_the_reference_does() {
    let ca = Ca::start().await;
    let fingerprint = Certificate::from_der(&ca.root).unwrap().digest().to_string();
    let dashed = format!("{}-{}", fingerprint[..20].to_uppercase(), &fingerprint[20..]);
    for prefix in ["", "/1.0"] {
        let ca = &ca;
        let get = |path: String| async move { ca.get(&format!("{prefix}{path}")).await };
        let health = get("/health".into()).await;
        assert_eq!((health.status.as_u16(), health.text().as_str()), (200, "{\"status\":\"ok\"}\n"));
        assert_eq!(get("/version".into()).await.text(), "{\"version\":\"0.0.1\"}\n");
        for name in [&fingerprint, &dashed] {
            let root = get(format!("/root/{name}")).await;
            assert_eq!(root.status, 200);
            assert_eq!(Certificate::from_pem(root.json()["ca"].as_str().unwrap().as_bytes()).unwrap().der(), ca.root);
        }
        get("/root/00".into()).await.refused(404, "root certificate with fingerprint \"00\" was not found");
        for list in ["/roots", "/federation", "/intermediates"] {
            let answer = get(list.into()).await;
            assert_eq!(answer.status, 201, "{list}");
            assert_eq!(answer.json()["crts"].as_array().unwrap().len(), 1);
        }
        for list in ["/roots.pem", "/intermediates.pem"] {
            let answer = get(list.into()).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["content-type"], "application/x-pem-file");
            Certificate::from_pem(&answer.body).unwrap();
        }
        let provisioners = get("/provisioners".into()).await.json();
        assert_eq!(provisioners["provisioners"][0]["name"], "admin");
        assert_eq!(provisioners["provisioners"][0]["keywheel"], Value::Null, "our own settings are not shown");
        assert_eq!(provisioners["nextCursor"], "");
        get("/provisioners?limit=x".into()).await.refused(400, "limit 'x' is not an integer");
        let key = get(format!("/provisioners/{}/encrypted-key", ca.kid)).await;
        assert_eq!(key.json()["key"], provisioners["provisioners"][0]["encryptedKey"]);
        get("/provisioners/nobody/encrypted-key".into()).await.refused(404, "could not be found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioners_are_given_page_by_page() {
    let ca = Ca::start_with(|config| {
        let list = config["authority"]["provisioners"].as_array_mut().unwrap();
        for index in 0..24 {
            list.push(json!({ "type": "ACME", "name": format!("acme{index}") }));
        }
    })
    .await;
    let first = ca.get("/provisioners").await.json();
    assert_eq!(first["provisioners"].as_array().unwrap().len(), 20);
    let second =
        ca.get(&format!("/provisioners?limit=100&cursor={}", first["nextCursor"].as_str().unwrap())).await.json();
    assert_eq!(second["provisioners"].as_array().unwrap().len(), 5);
    assert_eq!(second["nextCursor"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_an_id_and_wrong_ones_are_told_apart() {
    let ca = Ca::start().await;
    let own = reply(ca.client(None).get(format!("{}/health", ca.url)).header("x-request-id", "mine-1")).await;
    assert_eq!(own.headers["x-request-id"], "mine-1");
    assert_eq!(ca.get("/health").await.headers["x-request-id"].len(), 36);
    let unknown = ca.get("/nothing/here").await;
    assert_eq!((unknown.status.as_u16(), unknown.text().as_str()), (404, "404 page not found\n"));
    assert!(unknown.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let wrong = ca.get("/sign").await;
    assert_eq!((wrong.status.as_u16(), wrong.text().as_str()), (405, ""));
    let head = reply(ca.client(None).head(format!("{}/health", ca.url))).await;
    assert_eq!((head.status.as_u16(), head.text().as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revocation_list_comes_in_both_forms_and_in_plain_http() {
    let ca = Ca::start().await;
    let der = ca.get("/crl").await;
    assert_eq!(der.headers["content-type"], "application/pkix-crl");
    assert!(der.headers["expires"].to_str().unwrap().ends_with("GMT"));
    let list = Crl::from_der(&der.body).unwrap();
    let issuer = Certificate::from_der(&ca.authority.intermediates()[0]).unwrap();
    list.verify_signed_by(issuer.spki()).unwrap();
    let pem = ca.get("/crl?pem").await;
    assert_eq!(pem.headers["content-type"], "application/x-pem-file");
    assert_eq!(Crl::from_pem(&pem.body).unwrap().der(), list.der());

    let client = reqwest::Client::builder().tls_backend_preconfigured(plain()).no_proxy().build().unwrap();
    for (path, status) in [
        ("/crl", 200),
        ("/1.0/crl", 200),
        ("/health", 200),
        ("/roots.pem", 200),
        ("/sign", 404),
        ("/provisioners", 404),
    ] {
        let answer = reply(client.get(format!("{}{path}", ca.insecure_url))).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_by_route_and_status() {
    let ca = Ca::start().await;
    ca.get("/1.0/root/00").await;
    let client = reqwest::Client::builder().tls_backend_preconfigured(plain()).no_proxy().build().unwrap();
    let text = reply(client.get(&ca.metrics_url)).await.text();
    assert!(text.contains("keywheel_requests_total{route=\"/root/{sha}\",status=\"404\"}"), "{text}");
    assert!(text.contains("keywheel_request_seconds_bucket"), "{text}");
    assert_eq!(ca.get("/metrics").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_makes_no_list_answers_that_there_is_none() {
    let ca = Ca::start_with(|config| config["keywheel"]["crl"] = json!(false)).await;
    ca.get("/crl").await.refused(404, "could not be found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_database_is_not_replaced_by_an_empty_one() {
    let ca = Ca::start().await;
    let path = ca.home.join("config/ca.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["db"] = json!({ "type": "badgerv2", "dataSource": "/nowhere" });
    config["keywheel"]["database"] = json!(format!("sqlite:{}", ca.home.join("new/empty.db").display()));
    std::fs::write(&path, config.to_string()).unwrap();
    let open = |fresh_database| {
        let password = Some(Zeroizing::new(b"password".to_vec()));
        let options = AuthorityOptions { config_file: path.clone(), password, database: None, fresh_database };
        Authority::open(options, Timestamp::now())
    };
    let refused = open(false).await.err().unwrap();
    assert!(matches!(&refused, OpenError::ForeignDatabase { kind } if kind == "badgerv2"), "{refused}");
    assert!(!ca.home.join("new").exists());
    open(true).await.unwrap();
    // Now there is one of our own.
    open(false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_not_taken_over_by_a_reload() {
    let ca = Ca::start().await;
    let path = ca.home.join("config/ca.json");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    ca.authority.reload().await.unwrap_err();
    assert_eq!(ca.get("/health").await.status, 200);
    let mut config: Value = serde_json::from_slice(&good).unwrap();
    config["authority"]["policy"] = json!({ "x509": { "allow": { "dns": ["*.internal"] } } });
    std::fs::write(&path, config.to_string()).unwrap();
    ca.authority.reload().await.unwrap();
    ca.sign("svc.local", json!({})).await.0.refused(403, "svc.local");
    ca.holder("svc.internal").await;
}

fn plain() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
