//! `/rekey`: what a new certificate keeps of the old one, and what the route answers (`Test_Rekey`, `TestAuthority_Rekey`).

use std::collections::BTreeMap;

use jiff::SignedDuration;
use keywheel_tests::provisioner::{REFUSED, csr, new_key, rekey_body, request_der};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::extension::usage::{self, KeyUsage};
use keywheel_wire::x509::extension::{Extension, key_identifier};
use keywheel_wire::x509::oid::{self, Oid};
use serde_json::json;

use crate::lab::{Lab, Pair};

/// Every extension by its type, byte for byte.
pub fn extensions(pair: &Pair) -> BTreeMap<String, Vec<u8>> {
    pair.certificate.extensions().iter().map(|one| (one.oid().to_string(), one.tlv().to_vec())).collect()
}

/// The same without those that belong to the key and the issuer.
pub fn preserved(pair: &Pair) -> BTreeMap<String, Vec<u8>> {
    let mut all = extensions(pair);
    all.remove(&oid::SUBJECT_KEY_IDENTIFIER.to_string());
    all.remove(&oid::AUTHORITY_KEY_IDENTIFIER.to_string());
    all
}

/// What the old and the new certificate must have in common, whoever signed them and with whichever key.
#[track_caller]
pub fn is_successor_of(new: &Pair, old: &Pair, issuer: &keywheel_wire::x509::certificate::Certificate) {
    assert_ne!(new.certificate.serial(), old.certificate.serial());
    assert_eq!(new.duration(), old.duration(), "the duration is kept");
    assert!(new.certificate.not_before() >= old.certificate.not_before(), "the life begins anew");
    assert_eq!(
        new.certificate.subject().as_der(),
        old.certificate.subject().as_der(),
        "the subject is kept byte for byte"
    );
    assert_eq!(preserved(new), preserved(old), "all other extensions are kept byte for byte");
    assert_eq!(new.certificate.subject_alt_names().expect("read"), old.certificate.subject_alt_names().expect("read"));
    let expected = key_identifier::of_key(new.key.public_key()).expect("a key");
    assert_eq!(
        new.certificate.parts().subject_key_id().expect("read"),
        Some(expected),
        "the identifier of the new key"
    );
    let above = issuer.parts().subject_key_id().expect("read");
    assert_eq!(new.certificate.parts().authority_key_id().expect("read"), above, "the identifier of the issuer's key");
    assert_eq!(new.certificate.issuer(), issuer.subject());
    new.certificate.verify_signed_by(issuer.spki()).expect("the issuer signed it");
}

#[test]
fn a_rekey_answers_201_with_leaf_issuer_chain_and_tls_options() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    for path in ["/rekey", "/1.0/rekey"] {
        let answer = lab.door().post(path, rekey_body(&key)).by(&old).ask().is(201, "");
        let text = answer.text();
        let body = answer.json();
        let leaf = body["certChain"][0].as_str().expect("PEM");
        let issuer = lab.issuer.0.to_pem();
        // The body is exactly this, and nothing but a line end follows.
        let expected = format!(
            concat!(
                r#"{{"crt":{leaf},"ca":{issuer},"certChain":[{leaf},{issuer}],"#,
                r#""tlsOptions":{{"cipherSuites":{suites},"minVersion":1.2,"maxVersion":1.3,"renegotiation":false}}}}"#,
                "\n"
            ),
            leaf = json!(leaf),
            issuer = json!(issuer),
            suites = body["tlsOptions"]["cipherSuites"],
        );
        assert_eq!(text, expected);
        assert!(body["tlsOptions"]["cipherSuites"].as_array().is_some_and(|suites| !suites.is_empty()), "{text}");
        assert!(answer.headers.to_ascii_lowercase().contains("content-type: application/json"), "{}", answer.headers);
        assert!(answer.headers.to_ascii_lowercase().contains("x-request-id: "), "{}", answer.headers);
    }
}

#[test]
fn a_rekey_without_tls_is_not_served() {
    let mut lab = Lab::start();
    let port = keywheel_tests::ca::free_port();
    let plain = format!("127.0.0.1:{port}");
    let mut configuration = keywheel_tests::ca::configuration(&lab.ca.place);
    configuration["insecureAddress"] = json!(plain);
    lab.ca.place.write("step/config/ca.json", configuration.to_string());
    lab.ca.restart(&[]);
    let mut door = lab.door();
    let body = rekey_body(&new_key(KeyKind::EcP256));
    door.url = format!("http://{plain}");
    door.post("/rekey", body.clone()).ask().is(404, "404 page not found");
    door.get("/health").ask().is(200, "ok");
    door.url = format!("http://localhost:{}", lab.ca.port);
    assert!(!matches!(door.post("/rekey", body).ask().status, 200..=299));
    lab.door().get("/health").ask().is(200, "ok");
}

#[test]
fn a_rekey_without_a_client_certificate_answers_400() {
    let lab = Lab::start();
    let body = rekey_body(&new_key(KeyKind::EcP256));
    lab.door()
        .post("/rekey", body)
        .ask()
        .is(400, r#"{"status":400,"message":"The request could not be completed: missing client certificate."}"#);
}

#[test]
fn a_rekey_that_the_authority_refuses_answers_403() {
    let mut lab = Lab::start();
    let old = lab.issue("svc.local");
    lab.change_provisioner(|provisioner| {
        provisioner["keywheel"]["policy"] = json!({ "deny": { "dns": ["svc.local"] } })
    });
    lab.door()
        .rekey(&old, &new_key(KeyKind::EcP256))
        .is(403, "The request was forbidden by the certificate authority: ")
        .is(403, "svc.local");
    // What the policy does not name goes on.
    let other = lab.issue("other.local");
    lab.door().rekeyed(&other);
}

#[test]
fn a_rekey_with_a_body_that_is_no_json_answers_400() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    for body in ["{", "", "\"", "[]", "{\"csr\":1}", "{\"csr\":\"-----BEGIN\"}"] {
        lab.door()
            .post("/rekey", body)
            .by(&old)
            .ask()
            .is(400, r#"{"status":400,"message":"The request could not be completed: error decoding json."#);
    }
}

#[test]
fn an_empty_rekey_request_answers_400() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    for body in ["{}", "null", "{\"csr\":\"\"}", "{\"csr\":null}"] {
        lab.door().post("/rekey", body).by(&old).ask().is(400, "The request could not be completed: missing csr.");
    }
}

#[test]
fn a_rekey_is_refused_with_401_where_renewal_is_disabled() {
    let mut lab = Lab::start();
    let old = lab.issue("svc.local");
    lab.change_provisioner(|provisioner| provisioner["claims"]["disableRenewal"] = json!(true));
    lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    lab.door().renew(&old).is(401, REFUSED);
    // The provisioner's word counts for more than the CA's.
    lab.change(|configuration| {
        configuration["authority"]["claims"]["disableRenewal"] = json!(true);
        configuration["authority"]["provisioners"][0]["claims"]["disableRenewal"] = json!(false);
    });
    lab.door().rekeyed(&old);
}

#[test]
fn a_rekey_keeps_subject_names_lifetime_and_every_other_extension_byte_for_byte() {
    let lab = Lab::start();
    // A certificate of the CA itself, and one with all that certificates of other makers have.
    let own = lab.issue_with("svc.local", json!({ "notAfter": "7h" }));
    let id = |text: &str| text.parse::<Oid>().expect("numbers");
    let more = vec![
        // Not ASN.1 at all.
        Extension::new(id("1.3.6.1.4.1.99999.1"), false, vec![0xff, 0x00, 0x13, 0x37]),
        // Its criticality is written out although it is the default, which DER forbids: 06 03 55 04 63, 01 01 00, 04 02 05 00.
        Extension::from_tlv(&[0x30, 12, 0x06, 3, 0x55, 0x04, 0x63, 0x01, 1, 0x00, 0x04, 2, 0x05, 0x00]).expect("a TLV"),
        // A policy, 2.23.140.1.2.1.
        Extension::new(
            oid::CERTIFICATE_POLICIES,
            false,
            vec![0x30, 10, 0x30, 8, 0x06, 6, 0x67, 0x81, 0x0c, 0x01, 0x02, 0x01],
        ),
    ];
    let foreign = lab.make(&crate::lab::Leaf { more, ..lab.leaf("foreign.local") });
    for old in [own, foreign] {
        let new = lab.door().rekeyed(&old);
        assert_ne!(new.certificate.spki(), old.certificate.spki(), "the key is another");
        is_successor_of(&new, &old, &lab.issuer.0);
        let usages = new.certificate.extension(&oid::EXTENDED_KEY_USAGE).expect("it is kept");
        let usages = usage::read_extended(usages.value()).expect("read");
        assert_eq!(usages, [oid::SERVER_AUTH, oid::CLIENT_AUTH]);
        assert_eq!(new.chain[1..], [lab.issuer.0.der().to_vec()], "the issuer follows the leaf");
        // OpenSSL, which shares no code with us, agrees.
        let words = ["verify", "-CAfile", "step/certs/root_ca.crt", "-untrusted", "step/certs/intermediate_ca.crt"];
        lab.ca.place.run("openssl", &[&words[..], &[new.certificate_file()]].concat()).ok();
        // And the successor can be replaced as well.
        lab.door().rekeyed(&new);
    }
}

#[test]
fn a_rekey_to_another_kind_of_key_gets_the_usages_of_that_kind() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::Rsa(2048));
    let rsa = lab.door().rekey(&old, &key).is(201, "").pair(&lab.ca.place, key);
    assert_eq!(rsa.certificate.spki(), rsa.key.public_key());
    let usage = |pair: &Pair| {
        let extension = pair.certificate.extension(&oid::KEY_USAGE).expect("it is there");
        KeyUsage::read(extension.value()).expect("read")
    };
    assert!(usage(&old).contains(KeyUsage::DIGITAL_SIGNATURE) && !usage(&old).contains(KeyUsage::KEY_ENCIPHERMENT));
    assert!(usage(&rsa).contains(KeyUsage::DIGITAL_SIGNATURE));
    let key = new_key(KeyKind::EcP384);
    let back = lab.door().rekey(&rsa, &key).is(201, "").pair(&lab.ca.place, key);
    assert!(!usage(&back).contains(KeyUsage::KEY_ENCIPHERMENT), "a key on a curve enciphers no keys");
    // All but that extension is kept.
    let without = |pair: &Pair| {
        let mut all = preserved(pair);
        all.remove(&oid::KEY_USAGE.to_string());
        all
    };
    assert_eq!(without(&rsa), without(&old));
    assert_eq!(without(&back), without(&old));
}

#[test]
fn a_weak_key_the_old_key_and_a_key_that_was_certified_before_are_refused() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let other = lab.issue("other.local");
    for (bits, says) in [("1024", "1024"), ("2040", "2040")] {
        let words = ["req", "-new", "-nodes", "-subj", "/CN=x", "-keyout", "weak.key", "-newkey"];
        let csr = lab.ca.place.run("openssl", &[&words[..], &[&format!("rsa:{bits}")]].concat()).ok().stdout;
        lab.door().post("/rekey", json!({ "csr": csr }).to_string()).by(&old).ask().is(403, says);
    }
    lab.door().rekey(&old, &old.key).is(403, "a rekey needs a new key");
    lab.door().rekey(&old, &other.key).is(403, "certified the requested key before");
    // A request whose signature is not by its key proves nothing.
    let mut forged = request_der(&new_key(KeyKind::EcP256));
    *forged.last_mut().expect("it is not empty") ^= 1;
    let forged = keywheel_wire::x509::request::to_pem(&forged);
    lab.door().post("/rekey", json!({ "csr": forged }).to_string()).by(&old).ask().is(400, "invalid csr");
    lab.door().rekeyed(&old);
}

#[test]
fn what_a_rekey_request_says_besides_its_key_is_ignored() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let words =
        ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", "bold.key"];
    let more = [
        "-subj",
        "/CN=root/O=Evil",
        "-addext",
        "subjectAltName=DNS:evil.local",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
    ];
    let csr = lab.ca.place.run("openssl", &[&words[..], &more[..]].concat()).ok().stdout;
    let answer = lab.door().post("/rekey", json!({ "csr": csr }).to_string()).by(&old).ask().is(201, "");
    let (key, _) = keywheel_signer::file_key::FileKey::load(&lab.ca.place.file("bold.key"), None).expect("a key");
    is_successor_of(&answer.pair(&lab.ca.place, key), &old, &lab.issuer.0);
}

#[test]
fn a_rekey_under_a_new_intermediate_changes_issuer_and_authority_key_only() {
    let mut lab = Lab::start();
    let (rekeyed, renewed) = (lab.issue("rekeyed.local"), lab.issue("renewed.local"));
    let before = lab.issuer.0.clone();
    replace_intermediate(&mut lab, 2000);
    let issuer = lab.issuer.0.clone();
    let new = lab.door().rekeyed(&rekeyed);
    is_successor_of(&new, &rekeyed, &issuer);
    let authority = |pair: &Pair| pair.certificate.parts().authority_key_id().expect("read");
    assert_ne!(authority(&new), authority(&rekeyed));
    assert_eq!(new.chain[1], issuer.der());
    assert_ne!(issuer.spki(), before.spki());
    // The same for a renewal, which keeps the key as well.
    let key = renewed.key.private_key().clone();
    let key = keywheel_signer::file_key::FileKey::from_private_key(key).expect("the key signs");
    let new = lab.door().renew(&renewed).is(201, "").pair(&lab.ca.place, key);
    is_successor_of(&new, &renewed, &issuer);
    assert_ne!(authority(&new), authority(&renewed));
}

#[test]
fn an_expired_issuer_signs_nothing_and_answers_500() {
    let mut lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    let first = lab.issuer.0.to_pem();
    expire_intermediate(&mut lab);
    for answer in [lab.door().rekey(&old, &key), lab.door().renew(&old)] {
        answer.is(500, r#"{"status":500,"message":"The certificate authority encountered an Internal Server Error."#);
    }
    // Nothing was recorded by it: with a good issuer the same request is answered.
    lab.ca.place.write("step/certs/intermediate_ca.crt", first);
    lab.reload();
    lab.door().rekey(&old, &key).is(201, "");
}

#[test]
fn a_certificate_never_outlives_its_issuer() {
    let mut lab = Lab::start();
    let old = lab.issue_with("svc.local", json!({ "notAfter": "23h" }));
    replace_intermediate(&mut lab, 0);
    let new = lab.door().rekeyed(&old);
    assert!(new.duration() < old.duration());
    assert!(new.certificate.not_after() <= lab.issuer.0.not_after());
    assert_eq!(new.certificate.subject(), old.certificate.subject());
    let first = lab.issue("other.local");
    assert!(first.certificate.not_after() <= lab.issuer.0.not_after());
    let key = new_key(KeyKind::EcP256);
    let mut body = lab.sign_body(&key, "third.local");
    body["notAfter"] = json!("20h");
    lab.door().post("/sign", body.to_string()).ask().is(403, "");
}

/// Makes a new intermediate key and certificate with OpenSSL, valid for so many days (0: an hour), and lets the CA use it.
fn replace_intermediate(lab: &mut Lab, days: u32) {
    let place = &lab.ca.place;
    let words = ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", "new.key"];
    let csr = place.run("openssl", &[&words[..], &["-subj", "/O=Test/CN=Second Intermediate CA"]].concat()).ok().stdout;
    place.write("new.csr", csr);
    let end = if days == 0 { SignedDuration::from_hours(1) } else { SignedDuration::from_hours(24 * i64::from(days)) };
    certify_intermediate(place, "new.csr", SignedDuration::from_hours(-1), end);
    let certificate = place.read("new.crt");
    place.write("step/certs/intermediate_ca.crt", &certificate);
    place.write("step/secrets/intermediate_ca_key", place.read("new.key"));
    lab.issuer = (
        keywheel_wire::x509::certificate::Certificate::from_pem(certificate.as_bytes()).expect("OpenSSL writes PEM"),
        keywheel_signer::file_key::FileKey::load(&place.file("new.key"), None).expect("OpenSSL writes keys").0,
    );
    lab.reload();
}

/// Gives the intermediate that is there a certificate that is over.
fn expire_intermediate(lab: &mut Lab) {
    let place = &lab.ca.place;
    let key = ["-key", "step/secrets/intermediate_ca_key", "-passin", "file:password"];
    let csr = place.run("openssl", &[&["req", "-new", "-subj", "/O=Test/CN=Test Intermediate CA"], &key[..]].concat());
    place.write("new.csr", csr.ok().stdout);
    certify_intermediate(place, "new.csr", SignedDuration::from_hours(-48), SignedDuration::from_hours(-24));
    place.write("step/certs/intermediate_ca.crt", place.read("new.crt"));
    lab.reload();
}

/// The root certifies an intermediate from then to then, seen from now.
fn certify_intermediate(place: &keywheel_tests::place::Place, csr: &str, begins: SignedDuration, ends: SignedDuration) {
    let extensions = "basicConstraints = critical, CA:true, pathlen:0\nkeyUsage = critical, keyCertSign, cRLSign\n\
                      subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";
    let settings = "[ca]\ndefault_ca = all\n[all]\ndatabase = ca.index\nnew_certs_dir = .\npolicy = any\ndefault_md = sha256\n\
                    rand_serial = yes\nunique_subject = no\nx509_extensions = extensions\n[any]\norganizationName = optional\n\
                    commonName = optional\n[extensions]\n";
    place.write("ca.cnf", format!("{settings}{extensions}"));
    place.write("ca.index", "");
    let date = |from_now: SignedDuration| (jiff::Timestamp::now() + from_now).strftime("%Y%m%d%H%M%SZ").to_string();
    let (start, end) = (date(begins), date(ends));
    let words = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "step/certs/root_ca.crt", "-keyfile"];
    let more = ["step/secrets/root_ca_key", "-passin", "file:password", "-startdate", &start, "-enddate", &end];
    place.run("openssl", &[&words[..], &more[..], &["-in", csr, "-out", "new.crt"]].concat()).ok();
}

#[test]
fn the_key_of_the_request_alone_decides_which_certificate_is_answered() {
    let lab = Lab::start();
    let old = lab.issue("svc.local");
    let key = new_key(KeyKind::EcP256);
    let first = lab.door().rekey(&old, &key).is(201, "").chain();
    // A reply was lost; the client asks with the same key and a new request, then with the same request.
    let body = json!({ "csr": csr(&key) }).to_string();
    for _ in 0..2 {
        assert_eq!(lab.door().post("/rekey", body.clone()).by(&old).ask().is(201, "").chain(), first);
    }
}
