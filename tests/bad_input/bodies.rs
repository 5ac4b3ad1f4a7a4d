//! Bodies that are no JSON, JSON of another shape, and JSON with the wrong things in it, on every POST route.

use serde_json::json;

use crate::{Case, Judge, client, sign_body};

/// What no route can decode.
fn undecodable() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("blank", b" \n\t".to_vec()),
        ("half an object", b"{".to_vec()),
        ("half a string", b"{\"csr\":\"".to_vec()),
        ("a number", b"1".to_vec()),
        ("a string", b"\"csr\"".to_vec()),
        ("a list", b"[]".to_vec()),
        ("true", b"true".to_vec()),
        ("not JSON", b"csr=1&ott=2".to_vec()),
        ("XML", b"<csr/>".to_vec()),
        ("binary", vec![0, 255, 254, 0, 128]),
        ("a number for a text", b"{\"csr\":1,\"ott\":2,\"serial\":3}".to_vec()),
        ("a list for a text", b"{\"csr\":[],\"ott\":[],\"serial\":[]}".to_vec()),
        ("an object for a text", b"{\"csr\":{},\"ott\":{},\"serial\":{}}".to_vec()),
        ("not UTF-8", b"{\"csr\":\"\xff\xfe\",\"serial\":\"\xff\"}".to_vec()),
        ("nested without end", [vec![b'['; 20_000], vec![b']'; 20_000]].concat()),
    ]
}

/// What stands where a request should stand.
fn no_requests(judge: &Judge) -> Vec<(&'static str, String)> {
    let certificate = judge.ca.place.read("step/certs/root_ca.crt");
    let good = judge.csr("a.local", "DNS:a.local");
    let cut: String = good.lines().take(3).chain(["-----END CERTIFICATE REQUEST-----"]).collect::<Vec<_>>().join("\n");
    vec![
        ("a word", "x".into()),
        ("a certificate", certificate),
        ("an empty block", "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n".into()),
        ("a cut block", cut),
        ("a block without end", "-----BEGIN CERTIFICATE REQUEST-----\nMIIB".into()),
        ("no base64", "-----BEGIN CERTIFICATE REQUEST-----\n????\n-----END CERTIFICATE REQUEST-----\n".into()),
        ("a NUL", "\u{0}".into()),
        ("a private key", judge.ca.place.read("csr.key")),
        ("no DER", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".into()),
    ]
}

#[test]
fn a_body_that_cannot_be_read_is_a_bad_request_on_every_route() {
    let mut judge = Judge::new();
    let (certificate, key) = client(&judge, "a.local");
    let client = Some((certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8")));
    for (name, body) in undecodable() {
        for path in ["/sign", "/rekey", "/revoke"] {
            // A rekey is asked with a certificate, or the missing certificate would be what it complains of.
            let case = Case {
                client: client.filter(|_| path == "/rekey"),
                ..Case::post(path, name, body.clone(), 400, "The request could not be completed: ")
            };
            judge.ask(&case);
        }
    }
    judge.judge(96);
}

#[test]
fn what_is_no_certificate_request_is_a_bad_request() {
    let mut judge = Judge::new();
    let (certificate, key) = client(&judge, "a.local");
    let client = Some((certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8")));
    judge.ask(&Case::post("/sign", "an empty object", "{}", 400, "missing csr"));
    judge.ask(&Case::post("/sign", "null for a request", "{\"csr\":null,\"ott\":\"x\"}", 400, "missing csr"));
    judge.ask(&Case { client, ..Case::post("/rekey", "an empty object", "{}", 400, "missing csr") });
    judge.ask(&Case { client, ..Case::post("/rekey", "null for a request", "{\"csr\":null}", 400, "missing csr") });
    let good = judge.csr("a.local", "DNS:a.local");
    judge.ask(&Case::post("/sign", "no token", json!({ "csr": good }).to_string(), 400, "missing ott"));
    judge.ask(&Case::post("/sign", "an empty token", sign_body(&good, ""), 400, "missing ott"));
    for (name, request) in no_requests(&judge) {
        judge.ask(&Case::post(
            "/sign",
            name,
            sign_body(&request, "x.y.z"),
            400,
            "The request could not be completed: ",
        ));
        let body = json!({ "csr": request }).to_string();
        judge.ask(&Case { client, ..Case::post("/rekey", name, body, 400, "The request could not be completed: ") });
    }
    judge.judge(48);
}

#[test]
fn a_revocation_that_makes_no_sense_is_a_bad_request() {
    let mut judge = Judge::new();
    let bad = "The request could not be completed: ";
    for (name, body, status, says) in [
        ("an empty object", json!({}), 400, bad),
        ("no serial", json!({ "ott": "x", "passive": true }), 400, bad),
        ("an empty serial", json!({ "serial": "", "ott": "x", "passive": true }), 400, bad),
        ("a serial that is no number", json!({ "serial": "x", "ott": "x", "passive": true }), 400, bad),
        ("a serial with a fraction", json!({ "serial": "1.5", "ott": "x", "passive": true }), 400, bad),
        ("a negative serial", json!({ "serial": "-1", "ott": "x", "passive": true }), 400, bad),
        ("a serial without digits", json!({ "serial": "0x", "ott": "x", "passive": true }), 400, bad),
        ("an endless serial", json!({ "serial": "9".repeat(5000), "ott": "x", "passive": true }), 400, bad),
        ("a reason below the list", json!({ "serial": "1", "ott": "x", "reasonCode": -1, "passive": true }), 400, bad),
        ("a reason above the list", json!({ "serial": "1", "ott": "x", "reasonCode": 11, "passive": true }), 400, bad),
        ("a reason far away", json!({ "serial": "1", "ott": "x", "reasonCode": 1_000_000, "passive": true }), 400, bad),
        ("a reason that is a word", json!({ "serial": "1", "ott": "x", "reasonCode": "x", "passive": true }), 400, bad),
        ("an active revocation", json!({ "serial": "1", "ott": "x", "passive": false }), 501, "not implemented"),
        ("an active revocation by default", json!({ "serial": "1", "ott": "x" }), 501, "not implemented"),
        (
            "a token that is none",
            json!({ "serial": "1", "ott": "x", "passive": true }),
            401,
            "lacked necessary authorization",
        ),
        ("neither token nor certificate", json!({ "serial": "1", "passive": true }), 400, bad),
    ] {
        judge.ask(&Case::post("/revoke", name, body.to_string(), status, says));
    }
    judge.judge(32);
}
