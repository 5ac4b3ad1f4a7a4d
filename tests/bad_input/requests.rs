//! Certificate requests that are well formed and must still not be signed.

use crate::tokens::for_names;
use crate::{Case, Judge, sign_body};

const FORBIDDEN: &str = "The request was forbidden by the certificate authority: ";
const BAD: &str = "The request could not be completed: ";

/// A request made by OpenSSL with these words.
fn request(judge: &Judge, words: &[&str]) -> String {
    let all = [&["req", "-new", "-nodes", "-keyout", "odd.key"][..], words].concat();
    judge.ca.place.run("openssl", &all).ok().stdout
}

/// Words for a new elliptic key on a curve.
fn curve(name: &str) -> [String; 4] {
    ["-newkey".into(), "ec".into(), "-pkeyopt".into(), format!("ec_paramgen_curve:{name}")]
}

#[test]
fn a_request_for_other_names_than_the_tokens_is_forbidden() {
    let mut judge = Judge::new();
    for (name, common_name, names) in [
        ("another common name", "b.local", "DNS:a.local"),
        ("another name", "a.local", "DNS:b.local"),
        ("one name too many", "a.local", "DNS:a.local,DNS:b.local"),
        ("a wildcard", "a.local", "DNS:*.local"),
        ("an address", "a.local", "DNS:a.local,IP:127.0.0.1"),
        ("an e-mail address", "a.local", "DNS:a.local,email:a@a.local"),
        ("a URI", "a.local", "DNS:a.local,URI:https://a.local"),
        ("a name that contains the right one", "a.local.evil", "DNS:a.local.evil"),
    ] {
        let csr = judge.csr(common_name, names);
        let token = for_names(&judge, "a.local", &["a.local"]);
        // The token is asked with once; what is refused at the request must not be signed under the other prefix either.
        let case = Case::post("/sign", name, sign_body(&csr, &token), 403, FORBIDDEN);
        let (status, body) = judge.answer(&case, "");
        judge.asked += 1;
        if status != 403 || !body.contains(FORBIDDEN) {
            judge.wrong.push(format!("{name}: {status} {body}"));
        }
    }
    judge.judge(8);
}

#[test]
fn a_request_with_a_key_that_is_too_weak_or_of_no_use_is_refused() {
    let mut judge = Judge::new();
    let subject = ["-subj", "/CN=a.local", "-addext", "subjectAltName=DNS:a.local"];
    let mut requests = Vec::new();
    for bits in ["512", "1024", "1536", "2040"] {
        let kind = format!("rsa:{bits}");
        let words = [&["-newkey", kind.as_str()][..], &subject].concat();
        requests.push((format!("RSA of {bits} bits"), request(&judge, &words)));
    }
    let words = [&["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"][..], &subject].concat();
    requests.push(("RSA with the exponent 3".into(), request(&judge, &words)));
    for name in ["secp224r1", "secp256k1", "brainpoolP256r1", "secp192k1", "sect233k1"] {
        let key = curve(name);
        let words: Vec<&str> = key.iter().map(String::as_str).chain(subject).collect();
        requests.push((format!("the curve {name}"), request(&judge, &words)));
    }
    let words = [&["-newkey", "ed448"][..], &subject].concat();
    requests.push(("Ed448".into(), request(&judge, &words)));
    for (name, csr) in requests {
        judge.asked += 1;
        let token = for_names(&judge, "a.local", &["a.local"]);
        let (status, body) = judge.answer(&Case::post("/sign", name.as_str(), sign_body(&csr, &token), 0, ""), "");
        if !matches!(status, 400 | 403) || !(body.contains(FORBIDDEN) || body.contains(BAD)) {
            judge.wrong.push(format!("{name}: {status} {body}"));
        }
    }
    judge.judge(11);
}

#[test]
fn a_request_whose_signature_does_not_fit_is_a_bad_request() {
    let mut judge = Judge::new();
    let csr = judge.csr("a.local", "DNS:a.local");
    let place = &judge.ca.place;
    place.write("good.csr", &csr);
    place.run("openssl", &["req", "-in", "good.csr", "-outform", "DER", "-out", "good.der"]).ok();
    let der = std::fs::read(place.file("good.der")).expect("OpenSSL wrote it");
    // One bit of the name, of the key, of the algorithm and of the signature.
    for at in [20, 60, 100, der.len() / 2, der.len() - 40, der.len() - 10] {
        let mut changed = der.clone();
        changed[at] ^= 1;
        let text = keywheel_wire::x509::request::to_pem(&changed);
        judge.ask(&Case::post("/sign", format!("bit {at}"), sign_body(&text, "x.y.z"), 400, BAD));
    }
    judge.judge(12);
}
