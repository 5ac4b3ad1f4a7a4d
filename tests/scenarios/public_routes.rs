//! What anybody may ask (`TestCAProvisioners`, `TestCAProvisionerEncryptedKey`, `TestCARoot`, `TestCAHealth`).

use keywheel_tests::ca::{PASSWORD, configuration};
use keywheel_wire::jose::jwe;
use keywheel_wire::x509::certificate::Certificate;
use serde_json::json;

use crate::lab::Lab;

#[test]
fn health_is_told_to_anybody_under_both_prefixes() {
    let lab = Lab::start();
    for path in ["/health", "/1.0/health"] {
        let answer = lab.door().get(path).header("X-Request-Id: my-own-id").ask().is(200, "");
        assert_eq!(answer.text(), "{\"status\":\"ok\"}\n");
        assert!(answer.headers.to_ascii_lowercase().contains("x-request-id: my-own-id"), "{}", answer.headers);
    }
    lab.door().get("/nothing").ask().is(404, "404 page not found");
    assert_eq!(lab.door().post("/health", "").ask().status, 405);
}

#[test]
fn a_root_is_told_by_its_fingerprint_in_any_spelling_and_another_is_not_found() {
    let lab = Lab::start();
    let root = Certificate::from_pem(lab.ca.place.read("step/certs/root_ca.crt").as_bytes()).expect("a certificate");
    let fingerprint = root.digest().to_string();
    let dashed: Vec<&str> = (0..4).map(|part| &fingerprint[part * 16..(part + 1) * 16]).collect();
    for spelling in [fingerprint.clone(), fingerprint.to_uppercase(), dashed.join("-")] {
        let answer = lab.door().get(&format!("/root/{spelling}")).ask().is(200, "");
        assert_eq!(answer.text(), format!("{}\n", json!({ "ca": root.to_pem() })));
    }
    let answer = lab.door().get("/root/foo").ask();
    answer.is(404, r#"{"status":404,"message":"root certificate with fingerprint \"foo\" was not found"}"#);
    // The same root in the lists, with the reference's own status.
    for path in ["/roots", "/federation"] {
        let answer = lab.door().get(path).ask().is(201, "");
        assert_eq!(answer.text(), format!("{}\n", json!({ "crts": [root.to_pem()] })));
    }
    let intermediates = lab.door().get("/intermediates").ask().is(201, "");
    assert_eq!(intermediates.json(), json!({ "crts": [lab.issuer.0.to_pem()] }));
    assert_eq!(lab.door().get("/roots.pem").ask().is(200, "").text(), root.to_pem());
    assert_eq!(lab.door().get("/intermediates.pem").ask().is(200, "").text(), lab.issuer.0.to_pem());
}

#[test]
fn provisioners_are_listed_in_pages_as_they_stand_in_the_configuration() {
    let mut lab = Lab::start();
    let first = configuration(&lab.ca.place)["authority"]["provisioners"][0].clone();
    let names: Vec<String> = (0..45).map(|number| format!("p{number:02}")).collect();
    lab.change(|configuration| {
        let more = names.iter().map(|name| {
            let mut one = first.clone();
            one["name"] = json!(name);
            one
        });
        configuration["authority"]["provisioners"] = std::iter::once(first.clone()).chain(more).collect();
    });
    let page = |query: &str| lab.door().get(&format!("/provisioners{query}")).ask().is(200, "").json();
    let listed = page("");
    assert_eq!(listed["provisioners"].as_array().map(Vec::len), Some(20), "20 where nothing is said");
    let mut shown = first.clone();
    // Our own settings are nobody's business.
    shown.as_object_mut().expect("an object").remove("keywheel");
    assert_eq!(listed["provisioners"][0], shown, "each as it stands in ca.json, the encrypted key included");
    let mut found = Vec::new();
    let mut cursor = String::new();
    for length in [17, 17, 12] {
        let page = page(&format!("?limit=17&cursor={cursor}"));
        let listed = page["provisioners"].as_array().expect("a list");
        assert_eq!(listed.len(), length);
        found.extend(listed.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)));
        cursor = page["nextCursor"].as_str().expect("a text").to_owned();
    }
    assert_eq!(cursor, "", "the last page leads nowhere");
    let expected: Vec<String> = std::iter::once("admin".to_owned()).chain(names).collect();
    found.sort();
    assert_eq!(found, expected, "each once");
    assert_eq!(page("?limit=1000")["provisioners"].as_array().map(Vec::len), Some(46));
    lab.door().get("/provisioners?limit=abc").ask().is(400, "limit 'abc' is not an integer");
}

#[test]
fn the_encrypted_key_of_a_provisioner_is_told_by_its_id_and_another_is_not_found() {
    let lab = Lab::start();
    let answer = lab.door().get(&format!("/provisioners/{}/encrypted-key", lab.key_id())).ask().is(200, "");
    let key = answer.json()["key"].as_str().expect("a text").to_owned();
    assert_eq!(answer.text(), format!("{}\n", json!({ "key": key })));
    let stands = configuration(&lab.ca.place)["authority"]["provisioners"][0]["encryptedKey"].clone();
    assert_eq!(stands, key.as_str());
    assert!(jwe::decrypt(&key, PASSWORD.as_bytes()).is_ok());
    assert!(jwe::decrypt(&key, b"another password").is_err());
    lab.door().get("/provisioners/foo/encrypted-key").ask().is(404, "The requested resource could not be found.");
}
