//! Revocation.

use keywheel_wire::x509::crl::Crl;
use serde_json::{Value, json};

use crate::running::{Ca, Holder, eventually, new_key};

async fn is_listed(ca: &Ca, holder: &Holder) -> bool {
    let list = Crl::from_der(&ca.get("/crl").await.body).unwrap();
    list.parts().revoked().iter().any(|entry| entry.serial == holder.leaf().serial())
}

fn wish(holder: &Holder) -> Value {
    json!({ "serial": holder.leaf().serial().to_string(), "reasonCode": 1, "reason": "lost", "passive": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revokes_once_and_the_list_says_so() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    let serial = holder.leaf().serial().to_string();
    let mut body = wish(&holder);
    body["ott"] = json!(ca.token("/revoke", &serial, |_| {}));
    let done = ca.post(None, "/revoke", &body).await;
    assert_eq!((done.status.as_u16(), done.text().as_str()), (200, "{\"status\":\"ok\"}\n"));
    ca.post(None, "/revoke", &body).await.refused(401, "");
    body["ott"] = json!(ca.token("/revoke", &serial, |_| {}));
    let told = format!("certificate with serial number '{serial}' is already revoked");
    ca.post(None, "/1.0/revoke", &body).await.refused(400, &told);
    eventually("the list names it", || is_listed(&ca, &holder)).await;
    ca.rekey(&holder, &new_key()).await.refused(401, "");
    ca.post(Some(&holder), "/renew", &json!(null)).await.refused(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_revokes_its_own_certificate_and_no_other() {
    let ca = Ca::start().await;
    let (one, two) = (ca.holder("one.local").await, ca.holder("two.local").await);
    ca.post(Some(&one), "/revoke", &wish(&two)).await.refused(400, "different than body");
    let mut hexadecimal = wish(&one);
    hexadecimal["serial"] = json!(format!("0x{}", one.leaf().serial().to_hex()));
    assert_eq!(ca.post(Some(&one), "/revoke", &hexadecimal).await.status, 200);
    assert!(ca.is_revoked(&one).await && !ca.is_revoked(&two).await);
    ca.post(Some(&one), "/revoke", &wish(&one)).await.refused(400, "already revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_names_what_a_rekey_superseded() {
    let ca = Ca::start().await;
    let old = ca.holder("svc.local").await;
    let lost = ca.rekeyed(&old).await;
    let new = ca.rekeyed(&old).await;
    eventually("the successor that nobody saw is named", || is_listed(&ca, &lost)).await;
    assert_eq!(ca.client(Some(&new)).get(format!("{}/health", ca.url)).send().await.unwrap().status(), 200);
    eventually("the old certificate is named", || is_listed(&ca, &old)).await;
    assert!(!is_listed(&ca, &new).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_to_revoke_that_makes_no_sense_is_told_so() {
    let ca = Ca::start().await;
    let holder = ca.holder("svc.local").await;
    let changed = |name: &str, value: Value| {
        let mut body = wish(&holder);
        body[name] = value;
        body
    };
    let table = [
        (changed("serial", json!("")), 400, "missing serial"),
        (changed("serial", json!("serial")), 400, "'serial' is not a valid serial number"),
        (changed("reasonCode", json!(11)), 400, "reasonCode out of bounds"),
        (changed("reasonCode", json!(7)), 400, "reasonCode out of bounds"),
        (changed("reasonCode", json!(-1)), 400, "reasonCode out of bounds"),
        (changed("passive", json!(false)), 501, "not implemented"),
        (wish(&holder), 400, "missing ott or client certificate"),
        (changed("ott", json!(ca.token("/revoke", "1", |_| {}))), 401, ""),
        (changed("ott", json!(ca.token("/sign", &holder.leaf().serial().to_string(), |_| {}))), 401, ""),
    ];
    for (body, status, message) in table {
        ca.post(None, "/revoke", &body).await.refused(status, message);
    }
    assert!(!ca.is_revoked(&holder).await);
}
