//! One-time tokens that are forged, stale, for somebody else, for something else, or used before.

use jiff::{SignedDuration, Timestamp};
use keywheel_signer::file_key::FileKey;
use keywheel_wire::jose::jws;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use serde_json::{Map, Value, json};

use crate::{Case, Judge, sign_body};

const REFUSED: &str = "The request lacked necessary authorization";

/// A token of the provisioner whose claims were changed by `change`; good if nothing is changed.
fn token(judge: &Judge, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let (key, id) = &judge.provisioner;
    token_by(judge, key, id, change)
}

fn token_by(judge: &Judge, key: &dyn Signer, id: &str, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let claims = claims(judge, change);
    let header = json!({ "kid": id, "typ": "JWT" });
    jws::sign(header.as_object().expect("an object"), &claims, key).expect("the key signs")
}

fn claims(judge: &Judge, change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let now = Timestamp::now().as_second();
    let mut claims = json!({
        "aud": format!("{}/1.0/sign", judge.ca.url()),
        "iss": "admin",
        "sub": "a.local",
        "sans": ["a.local"],
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": format!("{:?}", Timestamp::now()),
    });
    let object = claims.as_object_mut().expect("an object");
    change(object);
    claims.to_string().into_bytes()
}

fn shifted(seconds: i64) -> Value {
    let moment = Timestamp::now() + SignedDuration::from_secs(seconds);
    moment.as_second().into()
}

#[test]
fn a_good_token_is_taken_once_and_never_again() {
    let mut judge = Judge::new();
    let csr = judge.csr("a.local", "DNS:a.local");
    let other = judge.csr("a.local", "DNS:a.local");
    let once = token(&judge, |_| ());
    let good = Case::post("/sign", "good", sign_body(&csr, &once), 201, "");
    assert_eq!(judge.answer(&good, "").0, 201, "the good token of these tests is refused");
    judge.ask(&Case::post("/sign", "used before", sign_body(&other, &once), 401, REFUSED));
    // Without a jti the whole token is remembered.
    let once = token(&judge, |claims| drop(claims.remove("jti")));
    let good = Case::post("/sign", "good", sign_body(&csr, &once), 201, "");
    assert_eq!(judge.answer(&good, "").0, 201);
    judge.ask(&Case::post("/sign", "used before, without jti", sign_body(&other, &once), 401, REFUSED));
    judge.judge(4);
}

#[test]
fn a_token_with_wrong_claims_is_refused_without_a_word_about_why() {
    let mut judge = Judge::new();
    let csr = judge.csr("a.local", "DNS:a.local");
    let other = FileKey::generate(KeyKind::EcP256).expect("a key can be made");
    type Change = Box<dyn Fn(&mut Map<String, Value>)>;
    let set = |name: &'static str, value: Value| -> Change {
        Box::new(move |claims| drop(claims.insert(name.into(), value.clone())))
    };
    let unset = |name: &'static str| -> Change { Box::new(move |claims| drop(claims.remove(name))) };
    let changes: Vec<(&str, Change)> = vec![
        ("another issuer", set("iss", json!("nobody"))),
        ("no issuer", unset("iss")),
        ("an issuer that is a number", set("iss", json!(1))),
        ("another audience", set("aud", json!("https://elsewhere.example/1.0/sign"))),
        ("the audience of a revocation", set("aud", json!(format!("{}/1.0/revoke", judge.ca.url())))),
        ("no audience", unset("aud")),
        ("an empty audience", set("aud", json!(""))),
        ("an empty list of audiences", set("aud", json!([]))),
        ("an audience that is an object", set("aud", json!({}))),
        ("expired", set("exp", shifted(-600))),
        ("no expiry", unset("exp")),
        ("an expiry that is a word", set("exp", json!("soon"))),
        ("an expiry beyond all time", set("exp", json!(u64::MAX))),
        ("not yet valid", set("nbf", shifted(3600))),
        ("issued in the future", set("iat", shifted(3600))),
        ("issued before time", set("iat", json!(i64::MIN))),
        ("no subject", unset("sub")),
        ("an empty subject", set("sub", json!(""))),
        ("a subject that is a list", set("sub", json!(["a.local"]))),
        ("names that are a text", set("sans", json!("a.local"))),
        ("names that are numbers", set("sans", json!([1, 2]))),
        ("bound to another request", set("cnf", json!({ "x5rt#S256": "AAAA" }))),
        ("bound to a number", set("cnf", json!({ "x5rt#S256": 1 }))),
    ];
    for (name, change) in changes {
        let token = token(&judge, |claims| change(claims));
        let case = Case::post("/sign", name, sign_body(&csr, &token), 401, REFUSED);
        if name == "bound to another request" {
            // It is good, but not for this request; and, as in the reference, used up by it.
            let (status, body) = judge.answer(&case, "");
            assert_eq!(status, 403, "{name}: {body}");
            assert!(body.contains("certificate request fingerprint does not match"), "{body}");
        }
        judge.ask(&case);
    }
    let (key, id) = &judge.provisioner;
    let forged = [
        ("signed by another key", token_by(&judge, &other, id, |_| ())),
        ("another key id", token_by(&judge, key, "another", |_| ())),
        ("an empty key id", token_by(&judge, key, "", |_| ())),
        ("another key and its id", token_by(&judge, &other, "x", |_| ())),
    ];
    for (name, token) in forged {
        judge.ask(&Case::post("/sign", name, sign_body(&csr, &token), 401, REFUSED));
    }
    judge.judge(54);
}

#[test]
fn a_token_that_is_no_token_is_refused() {
    let mut judge = Judge::new();
    let csr = judge.csr("a.local", "DNS:a.local");
    let good = token(&judge, |_| ());
    let parts: Vec<&str> = good.split('.').collect();
    let encode = |value: &Value| base64_url(value.to_string().as_bytes());
    let none = encode(&json!({ "alg": "none", "kid": judge.provisioner.1, "typ": "JWT" }));
    let symmetric = encode(&json!({ "alg": "HS256", "kid": judge.provisioner.1, "typ": "JWT" }));
    let unknown = encode(&json!({ "alg": "XY256", "kid": judge.provisioner.1, "typ": "JWT" }));
    let critical = encode(&json!({ "alg": "ES256", "kid": judge.provisioner.1, "crit": ["exp"], "exp": 1 }));
    let tokens = [
        ("a word", "x".to_owned()),
        ("two dots", "..".to_owned()),
        ("one part", parts[0].to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{good}.x.y")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a short signature", format!("{}.{}.AAAA", parts[0], parts[1])),
        ("a long signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(4000))),
        ("a signature of zeros", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86))),
        ("no payload", format!("{}..{}", parts[0], parts[2])),
        ("no header", format!(".{}.{}", parts[1], parts[2])),
        ("a payload that is no JSON", format!("{}.AAAA.{}", parts[0], parts[2])),
        ("another payload", format!("{}.{}.{}", parts[0], base64_url(&claims(&judge, |_| ())), parts[2])),
        ("algorithm none", format!("{none}.{}.", parts[1])),
        ("algorithm none with a signature", format!("{none}.{}.{}", parts[1], parts[2])),
        ("a symmetric algorithm", format!("{symmetric}.{}.{}", parts[1], parts[2])),
        ("an unknown algorithm", format!("{unknown}.{}.{}", parts[1], parts[2])),
        ("a critical header that we do not know", format!("{critical}.{}.{}", parts[1], parts[2])),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("blanks", format!(" {good}\n")),
        ("a NUL inside", good.replace('.', ".\u{0}")),
        ("a very long one", "A.".repeat(20_000)),
    ];
    for (name, token) in tokens {
        judge.ask(&Case::post("/sign", name, sign_body(&csr, &token), 401, REFUSED));
    }
    judge.judge(46);
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0_u32, |number, octet| number << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(number >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// A token for the requests of another table.
pub(crate) fn for_names(judge: &Judge, subject: &str, names: &[&str]) -> String {
    token(judge, |claims| {
        claims.insert("sub".into(), subject.into());
        claims.insert("sans".into(), names.into());
    })
}
