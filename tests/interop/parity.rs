//! Side by side: the real `step` and ours on the same inputs, where the answers must be the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keywheel_tests::ca::{Ca, PASSWORD, free_port};
use keywheel_tests::peer;
use keywheel_tests::place::{Done, Place};
use keywheel_tests::step_ca::StepCa;
use keywheel_wire::jose::jws::Jws;
use serde_json::Value;

use crate::judges::{openssl_verifies, pair_matches};

/// Flags of `openssl x509` for a certificate with an extension of every usual kind.
const EXTENSIONS: &str = "subjectAltName=DNS:a.local,DNS:*.b.local,IP:1.2.3.4,URI:spiffe://a/b,email:q@w.e
keyUsage=critical,digitalSignature,keyEncipherment,dataEncipherment,keyAgreement
extendedKeyUsage=serverAuth,clientAuth,codeSigning,timeStamping,OCSPSigning
basicConstraints=CA:FALSE
crlDistributionPoints=URI:http://crl.local/a.crl
authorityInfoAccess=OCSP;URI:http://ocsp.local,caIssuers;URI:http://ca.local/ca.crt
certificatePolicies=1.2.3.4,2.23.140.1.2.1
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
";

/// A place with certificates of many kinds, all made by `step` and OpenSSL.
fn gallery() -> Option<(Place, PathBuf)> {
    let step = peer::step()?;
    let place = Place::new();
    let create = |words: &[&str]| {
        let all = [&["certificate", "create", "--no-password", "--insecure"], words].concat();
        place.run(&step, &all).ok();
    };
    create(&["--profile", "root-ca", "Root", "root.crt", "root.key"]);
    let by_root = ["--ca", "root.crt", "--ca-key", "root.key"];
    create(&[&["--profile", "intermediate-ca"][..], &by_root, &["Int", "int.crt", "int.key"]].concat());
    let by_int = ["--ca", "int.crt", "--ca-key", "int.key"];
    let sans = ["--san", "leaf.local", "--san", "10.0.0.1", "--san", "a@b.c", "--san", "https://x.y/z", "--san", "::1"];
    create(&[&by_int[..], &sans, &["--bundle", "leaf.local", "leaf.crt", "leaf.key"]].concat());
    create(&[&by_int[..], &["--kty", "RSA", "--bundle", "rsa.local", "rsa.crt", "rsa.key"]].concat());
    create(&[&by_int[..], &["--curve", "P-384", "--kty", "EC", "p384.local", "p384.crt", "p384.key"]].concat());
    let past = ["--not-before", "-48h", "--not-after", "-24h", "--bundle"];
    create(&[&by_int[..], &past, &["old.local", "old.crt", "old.key"]].concat());
    create(&["--csr", "--san", "csr.local", "--san", "1.2.3.4", "csr.local", "csr.csr", "csr.key"]);
    place.write("extensions", EXTENSIONS);
    let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "many.key", "-out", "many.csr"];
    place.run("openssl", &[&request[..], &["-subj", "/C=DE/L=Berlin/O=Acme/OU=X/CN=many.local"]].concat()).ok();
    let sign = ["x509", "-req", "-in", "many.csr", "-CA", "int.crt", "-CAkey", "int.key", "-out", "many.crt"];
    let more = ["-days", "30", "-extfile", "extensions", "-set_serial", "0x7fabcdef0123456789"];
    place.run("openssl", &[&sign[..], &more].concat()).ok();
    for (from, to) in [("leaf.crt", "leaf.der"), ("many.crt", "many.der")] {
        place.run("openssl", &["x509", "-in", from, "-outform", "DER", "-out", to]).ok();
    }
    place.run("openssl", &["req", "-in", "csr.csr", "-outform", "DER", "-out", "csr.der"]).ok();
    place.write("chain.crt", place.read("int.crt") + &place.read("root.crt"));
    place.write("roots/root.pem", place.read("root.crt"));
    place.write("nothing.txt", "no certificate\n");
    Some((place, step))
}

fn both(place: &Place, step: &Path, words: &[&str]) -> (Done, Done) {
    (place.run(step, words), place.keywheel(words))
}

/// Both succeed and print the very same.
#[track_caller]
fn same_output(place: &Place, step: &Path, words: &[&str]) {
    let (theirs, ours) = both(place, step, words);
    assert_eq!((theirs.code, ours.code), (0, 0), "{words:?}\nstep: {}\nours: {}", theirs.stderr, ours.stderr);
    assert_eq!(theirs.stdout, ours.stdout, "{words:?} prints something else than step");
}

/// Both succeed, or both fail and print nothing.
#[track_caller]
fn same_verdict(place: &Place, step: &Path, words: &[&str]) {
    let (theirs, ours) = both(place, step, words);
    let verdicts = (theirs.code == 0, ours.code == 0);
    assert_eq!(verdicts.0, verdicts.1, "{words:?}\nstep: {}\nours: {}", theirs.stderr, ours.stderr);
    if ours.code != 0 {
        assert_eq!(ours.stdout, "", "{words:?} failed but printed");
        assert!(ours.stderr.starts_with("error: "), "{words:?} does not say why: {}", ours.stderr);
    }
}

#[test]
fn inspect_prints_what_step_prints() {
    let Some((place, step)) = gallery() else { return };
    let files = ["root.crt", "int.crt", "leaf.crt", "rsa.crt", "p384.crt", "old.crt", "many.crt", "chain.crt"];
    for file in files {
        for flags in [&[][..], &["--short"], &["--bundle"], &["--bundle", "--short"], &["--format", "pem"]] {
            same_output(&place, &step, &[&["certificate", "inspect", file], flags].concat());
        }
    }
    for file in ["csr.csr", "csr.der", "many.csr"] {
        for flags in [&[][..], &["--short"], &["--format", "pem"]] {
            same_output(&place, &step, &[&["certificate", "inspect", file], flags].concat());
        }
    }
    same_output(&place, &step, &["certificate", "inspect", "leaf.der"]);
    for words in [
        &["certificate", "inspect", "missing.crt"][..],
        &["certificate", "inspect", "nothing.txt"],
        &["certificate", "inspect", "leaf.crt", "--format", "yaml"],
        &["certificate", "inspect", "leaf.crt", "--short", "--format", "json"],
        &["certificate", "inspect", "leaf.crt", "root.crt"],
        &["certificate", "inspect", "leaf.crt", "--no-such-flag"],
    ] {
        let (theirs, ours) = both(&place, &step, words);
        assert_ne!(theirs.code, 0, "{words:?}");
        assert_eq!(ours.code, 2, "{words:?}: {}", ours.stderr);
    }
}

/// Every member of step's JSON is in ours with the same value, but for those that only step's library knows.
fn covers(ours: &Value, theirs: &Value, at: &str) {
    // Curve constants, a hash for certificate transparency, and judgements about browser policies.
    const ONLY_STEPS: &[&str] =
        &["b", "gx", "gy", "n", "p", "tbs_noct_fingerprint", "valid", "validation_level", "names", "critical"];
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs.iter().filter(|(name, _)| !ONLY_STEPS.contains(&name.as_str())) {
                let own = ours.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing; step says {value}"));
                covers(own, value, &format!("{at}/{name}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (own, value)) in ours.iter().zip(theirs).enumerate() {
                covers(own, value, &format!("{at}/{index}"));
            }
        }
        (ours, theirs) => assert_eq!(ours, theirs, "{at}"),
    }
}

#[test]
fn inspect_as_json_says_what_step_says() {
    let Some((place, step)) = gallery() else { return };
    for words in [
        &["root.crt"][..],
        &["int.crt"],
        &["leaf.crt"],
        &["leaf.crt", "--bundle"],
        &["root.crt", "--bundle"],
        &["rsa.crt"],
        &["p384.crt"],
        &["old.crt"],
        &["many.crt"],
    ] {
        let words = [&["certificate", "inspect", "--format", "json"], words].concat();
        let (theirs, ours) = both(&place, &step, &words);
        let theirs: Value = serde_json::from_str(&theirs.ok().stdout).expect("step prints JSON");
        let ours: Value = serde_json::from_str(&ours.ok().stdout).expect("we print JSON");
        covers(&ours, &theirs, &format!("{words:?}"));
    }
}

#[test]
fn verify_judges_as_step_judges() {
    let Some((place, step)) = gallery() else { return };
    for words in [
        &["leaf.crt", "--roots", "root.crt"][..],
        &["leaf.crt", "--roots", "roots"],
        &["leaf.crt", "--roots", "int.crt"],
        &["leaf.crt", "--roots", "root.crt,int.crt"],
        &["leaf.crt", "--roots", "many.crt"],
        &["leaf.crt"],
        &["leaf.crt", "--roots", "root.crt", "--host", "leaf.local"],
        &["leaf.crt", "--roots", "root.crt", "--host", "10.0.0.1"],
        &["leaf.crt", "--roots", "root.crt", "--host", "::1"],
        &["leaf.crt", "--roots", "root.crt", "--host", "other.local"],
        &["leaf.crt", "--roots", "root.crt", "--host", "10.0.0.2"],
        &["p384.crt", "--roots", "root.crt"],
        &["p384.crt", "--roots", "int.crt"],
        &["old.crt", "--roots", "root.crt"],
        &["int.crt", "--roots", "root.crt"],
        &["root.crt", "--roots", "root.crt"],
        &["root.crt"],
        &["missing.crt", "--roots", "root.crt"],
        &["leaf.crt", "--roots", "missing.crt"],
        &["csr.csr", "--roots", "root.crt"],
        &["nothing.txt", "--roots", "root.crt"],
        &[],
        &["leaf.crt", "rsa.crt"],
    ] {
        same_verdict(&place, &step, &[&["certificate", "verify"], words].concat());
    }
    // A judgement is exit code 1, a slip of the pen 2.
    let verify = |words: &[&str]| place.keywheel(&[&["certificate", "verify"], words].concat());
    verify(&["old.crt", "--roots", "root.crt"]).fails(1, "expired");
    verify(&["leaf.crt", "--roots", "many.crt"]).fails(1, "trusted root");
    verify(&["leaf.crt", "--roots", "root.crt", "--host", "x.local"]).fails(1, "x.local");
    verify(&["missing.crt", "--roots", "root.crt"]).fails(2, "missing.crt");
}

#[test]
fn format_writes_the_bytes_that_step_writes() {
    let Some((place, step)) = gallery() else { return };
    for file in ["root.crt", "leaf.crt", "chain.crt", "many.crt", "leaf.der", "many.der", "csr.csr", "csr.der"] {
        for flag in ["--force", "-f"] {
            place.run(&step, &["certificate", "format", file, "--out", "theirs", flag]).ok();
            place.keywheel(&["certificate", "format", file, "--out", "ours", flag]).ok();
            let bytes = |name: &str| std::fs::read(place.file(name)).expect("it was written");
            assert_eq!(bytes("theirs"), bytes("ours"), "{file}");
        }
    }
    same_output(&place, &step, &["certificate", "format", "leaf.der"]);
    for words in [&["nothing.txt"][..], &["missing"], &["leaf.key"], &["leaf.crt", "--out", "ours"]] {
        same_verdict(&place, &step, &[&["certificate", "format"], words].concat());
    }
    // An existing file is kept unless that is confirmed.
    let before = std::fs::read(place.file("ours")).expect("it was written");
    place.keywheel(&["certificate", "format", "leaf.crt", "--out", "ours"]).fails(2, "--force");
    assert_eq!(before, std::fs::read(place.file("ours")).expect("it is still there"));
}

#[test]
fn fingerprints_are_steps_in_every_format() {
    let Some((place, step)) = gallery() else { return };
    for file in ["root.crt", "leaf.crt", "leaf.der", "csr.csr", "csr.der", "chain.crt", "many.crt"] {
        same_output(&place, &step, &["certificate", "fingerprint", file]);
        same_output(&place, &step, &["certificate", "fingerprint", "--bundle", file]);
        same_output(&place, &step, &["certificate", "fingerprint", "--sha1", "--insecure", file]);
    }
    for format in ["hex", "HEX", "base64", "base64-url", "base64url", "base64-raw", "base64-url-raw"] {
        same_output(&place, &step, &["certificate", "fingerprint", "--format", format, "leaf.crt"]);
    }
    for words in [&["--sha1", "leaf.crt"][..], &["--format", "x", "leaf.crt"], &["missing"], &["leaf.key"]] {
        same_verdict(&place, &step, &[&["certificate", "fingerprint"], words].concat());
    }
    // Both read what is piped into them.
    let piped = |program: &Path| {
        let line = format!("{} certificate fingerprint < leaf.crt", program.display());
        place.run("sh", &["-c", &line]).ok().stdout
    };
    assert_eq!(piped(&step), piped(keywheel_tests::place::keywheel()));
}

#[test]
fn needs_renewal_has_steps_exit_codes() {
    let Some((place, step)) = gallery() else { return };
    let files = ["leaf.crt", "root.crt", "old.crt", "leaf.der", "chain.crt", "missing", "leaf.key", "csr.csr"];
    let flags: [&[&str]; 14] = [
        &[],
        &["--bundle"],
        &["--expires-in", "8h"],
        &["--expires-in", "25h"],
        &["--expires-in", "99999h", "--bundle"],
        &["--expires-in", "1%"],
        &["--expires-in", "66%"],
        &["--expires-in", "100%"],
        &["--expires-in", "0%"],
        &["--expires-in", "101%"],
        &["--expires-in", "50.5%"],
        &["--expires-in", "x"],
        &["--expires-in", "8d"],
        &["--expires-in", "-1h"],
    ];
    for file in files {
        for flags in flags {
            let words = [&["certificate", "needs-renewal", file], flags].concat();
            let (theirs, ours) = both(&place, &step, &words);
            assert_eq!(theirs.code, ours.code, "{words:?}\nstep: {}\nours: {}", theirs.stderr, ours.stderr);
        }
    }
    for words in [&["certificate", "needs-renewal"][..], &["certificate", "needs-renewal", "leaf.crt", "root.crt"]] {
        let (theirs, ours) = both(&place, &step, words);
        assert_eq!((theirs.code, ours.code), (255, 255), "{words:?}");
    }
}

#[test]
fn public_keys_are_printed_as_step_prints_them() {
    let Some((place, step)) = gallery() else { return };
    for file in ["root.crt", "leaf.crt", "rsa.crt", "p384.crt", "many.crt", "csr.csr", "many.csr"] {
        same_output(&place, &step, &["certificate", "key", file]);
    }
    same_verdict(&place, &step, &["certificate", "key", "missing"]);
    same_verdict(&place, &step, &["certificate", "key", "nothing.txt"]);
    // Where step prints the private key of a key file, ours prints its public half only.
    let printed = place.keywheel(&["certificate", "key", "leaf.key"]).ok().stdout;
    assert!(printed.starts_with("-----BEGIN PUBLIC KEY-----"), "{printed}");
}

#[test]
fn certificates_of_servers_are_looked_at_as_step_looks_at_them() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let (place, url, root) = (&ca.place, ca.url(), ["--roots", "step/certs/root_ca.crt"]);
    for command in ["inspect", "fingerprint"] {
        for flags in [&[][..], &["--bundle"]] {
            same_output(place, &step, &[&["certificate", command, url.as_str()], &root[..], flags].concat());
            same_output(place, &step, &[&["certificate", command, url.as_str(), "--insecure"], flags].concat());
        }
    }
    let address = format!("https://127.0.0.1:{}", ca.port);
    let named = ["certificate", "inspect", address.as_str(), "--servername", "localhost", "--short"];
    same_output(place, &step, &[&named[..], &root].concat());
    for (flags, code) in [(&[][..], 1), (&["--expires-in", "25h"], 0)] {
        let words = [&["certificate", "needs-renewal", url.as_str()], &root[..], flags].concat();
        let (theirs, ours) = both(place, &step, &words);
        assert_eq!((theirs.code, ours.code), (code, code), "{words:?}: {}", ours.stderr);
    }
    for flags in [&root[..], &["--roots", "step/certs/root_ca.crt", "--host", "other.local"]] {
        same_verdict(place, &step, &[&["certificate", "verify", url.as_str()], flags].concat());
    }
    // A server that nobody vouches for is not believed.
    let stranger = Place::new();
    for command in ["inspect", "fingerprint", "verify", "needs-renewal"] {
        same_verdict(&stranger, &step, &["certificate", command, &url]);
    }
    let closed = format!("https://localhost:{}", free_port());
    stranger.keywheel(&["certificate", "inspect", "--insecure", &closed]).fails(4, "no TLS connection");
}

/// Header and claims of a token without what differs each time; times become distances.
fn token(text: &str) -> (Value, Value) {
    let parsed = Jws::parse(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let header = Value::Object(parsed.header().clone());
    let mut map = parsed.claims().unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut time = |name: &str| map.remove(name).and_then(|time| time.as_i64()).unwrap_or_default();
    let (issued, starts, ends) = (time("iat"), time("nbf"), time("exp"));
    assert!(map.remove("jti").is_some_and(|id| id.as_str().is_some_and(|id| id.len() == 64)), "no jti: {text}");
    // Minutes: step looks at the clock twice.
    let minutes = |seconds: i64| Value::from((seconds + 30) / 60);
    map.insert("life".into(), minutes(ends - starts));
    map.insert("delay".into(), minutes(starts - issued));
    // step writes an empty object where there is no template data.
    if map.get("user").is_some_and(|user| user.as_object().is_some_and(serde_json::Map::is_empty)) {
        map.remove("user");
    }
    (header, Value::Object(map))
}

#[test]
fn tokens_say_what_steps_tokens_say() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let place = &ca.place;
    let request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "r.key", "-out", "r.csr"];
    place.run("openssl", &[&request[..], &["-subj", "/CN=svc.local"]].concat()).ok();
    for words in [
        &["svc.local"][..],
        &["svc.local", "--san", "a.local", "--san", "1.2.3.4"],
        &["1234567890", "--revoke"],
        &["svc.local", "--not-after", "1h"],
        &["svc.local", "--not-before", "5m", "--not-after", "10m"],
        &["svc.local", "--cnf", "e8S49aEqIKGb-OjkonFzxZIbrik8PSDi-fwlay9gXjM"],
        &["svc.local", "--cnf-file", "r.csr"],
        &["svc.local", "--set", "a=b", "--set", "n=5", "--set", "list=[1,2]"],
        &["svc.local", "--provisioner", "admin"],
        &["svc.local", "--issuer", "admin"],
    ] {
        let words = [&["ca", "token", "--provisioner-password-file", "password"], words].concat();
        let (theirs, ours) = both(place, &step, &words);
        assert_eq!(token(&theirs.ok().stdout), token(&ours.ok().stdout), "{words:?}");
    }
    for words in [
        &["svc.local", "--provisioner", "nobody"][..],
        &["svc.local", "--kid", "nothing"],
        &["svc.local", "--not-after", "1d"],
        &["svc.local", "--x5c-cert", "step/certs/root_ca.crt"],
        &[],
    ] {
        same_verdict(place, &step, &[&["ca", "token", "--provisioner-password-file", "password"], words].concat());
    }
    // Without the network, and without the keys of the CA.
    let words = ["ca", "token", "--offline", "--provisioner-password-file", "password", "off.local"];
    let offline = place.keywheel(&words).ok().stdout;
    place.run(&step, &["ca", "certificate", "off.local", "off.crt", "off.key", "--token", offline.trim()]).ok();
    place.keywheel(&[&words[..], &["--output-file", "token.txt"]].concat()).ok();
    place
        .run(
            &step,
            &["ca", "certificate", "off.local", "two.crt", "two.key", "--token", place.read("token.txt").trim()],
        )
        .ok();
}

/// What OpenSSL prints of a certificate, without what is new each time; and its life in seconds.
fn shape(place: &Place, certificate: &str) -> (Vec<String>, i64) {
    let text = place.run("openssl", &["x509", "-in", certificate, "-noout", "-text"]).ok().stdout;
    let (mut kept, mut skip) = (Vec::new(), "");
    for line in text.lines() {
        let trimmed = line.trim();
        // Keys, key ids and signatures are lines of hexadecimal pairs.
        let is_hex = trimmed.len() > 2
            && trimmed
                .split(':')
                .all(|pair| pair.is_empty() || (pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit())));
        let is_new =
            ["Serial Number", "Not Before", "Not After", "Issuer:"].iter().any(|word| trimmed.starts_with(word));
        // The provisioner's extension holds the id of its key.
        let is_credential = skip == "1.3.6.1.4.1.37476.9000.64.1:";
        skip = trimmed;
        if !is_hex && !is_new && !is_credential {
            // The order of the names is each CA's own.
            let mut parts: Vec<&str> = trimmed.split(", ").collect();
            parts.sort_unstable();
            kept.push(parts.join(", "));
        }
    }
    let date = |which: &str| {
        let line = place.run("openssl", &["x509", "-in", certificate, "-noout", which]).ok().stdout;
        let (_, date) = line.trim().split_once('=').expect("a date");
        let seconds = place.run("date", &["-u", "-d", date, "+%s"]).ok().stdout;
        seconds.trim().parse::<i64>().expect("a number of seconds")
    };
    kept.sort();
    (kept, date("-enddate") - date("-startdate"))
}

/// What is asked of the CAs below by each client.
const WISHES: &[&[&str]] = &[
    &["svc.local"],
    &["svc.local", "--san", "a.local", "--san", "10.0.0.1", "--san", "x@y.local", "--san", "https://u.local/i"],
    &["10.0.0.5"],
    &["*.wild.local"],
    &["svc.local", "--not-after", "1h"],
    &["svc.local", "--not-before", "10m", "--not-after", "1h"],
    &["svc.local", "--kty", "RSA"],
    &["svc.local", "--kty", "OKP"],
    &["svc.local", "--kty", "EC", "--curve", "P-384"],
    &["svc.local", "--provisioner", "admin", "--set", "a=b"],
];

#[test]
fn both_clients_get_the_same_certificates_from_both_cas() {
    let Some(theirs) = StepCa::start() else { return };
    let Some(step) = peer::step() else { return };
    let ours = Ca::start();
    for wish in WISHES {
        let mut shapes = Vec::new();
        for (ca, place) in [("step-ca", &theirs.place), ("our CA", &ours.place)] {
            for (client, program) in [("step", step.as_path()), ("keywheel", keywheel_tests::place::keywheel())] {
                let (subject, flags) = wish.split_first().expect("a subject");
                let common = ["ca", "certificate", "--force", "--provisioner-password-file", "password"];
                place.run(program, &[&common[..], flags, &[*subject, "c.crt", "c.key"]].concat()).ok();
                // OpenSSL has no mind for a certificate that starts later.
                if !wish.contains(&"--not-before") {
                    openssl_verifies(place, "c.crt");
                }
                pair_matches(place, "c.crt", "c.key");
                shapes.push((format!("{client} at {ca}"), shape(place, "c.crt")));
            }
        }
        for (who, shape) in &shapes[1..] {
            assert_eq!(shapes[0].1, *shape, "{wish:?}: {who} differs from {}", shapes[0].0);
        }
    }
}

#[test]
fn both_clients_are_refused_the_same_by_both_cas() {
    let Some(theirs) = StepCa::start() else { return };
    let Some(step) = peer::step() else { return };
    let ours = Ca::start();
    for wish in [
        &["svc.local", "--not-after", "25h"][..],
        &["svc.local", "--not-after", "1m"],
        &["svc.local", "--not-after", "1d"],
        &["svc.local", "--kty", "RSA", "--size", "1024"],
        &["svc.local", "--kty", "FOO"],
        &["svc.local", "--curve", "P-384"],
        &["svc.local", "--kty", "EC", "--curve", "P-999"],
        &["svc.local", "--provisioner", "nobody"],
        &["svc.local", "--token", "not.a.token"],
    ] {
        for place in [&theirs.place, &ours.place] {
            for program in [step.as_path(), keywheel_tests::place::keywheel()] {
                let (subject, flags) = wish.split_first().expect("a subject");
                let common = ["ca", "certificate", "--force", "--provisioner-password-file", "password"];
                let done = place.run(program, &[&common[..], flags, &[*subject, "no.crt", "no.key"]].concat());
                assert_ne!(done.code, 0, "{wish:?}: {} was not refused", program.display());
                assert!(!place.file("no.crt").exists(), "{wish:?}: a certificate was written");
            }
        }
    }
}

/// The files below a folder with their modes.
fn tree(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("it is a folder") {
            let path = entry.expect("it can be read").path();
            let mode = path.metadata().expect("it is there").permissions().mode() & 0o777;
            let name = path.strip_prefix(folder).expect("it is below").display().to_string();
            found.push(format!("{mode:o} {name}"));
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn init_makes_the_home_that_step_makes() {
    let Some((theirs, _)) = StepCa::initialise() else { return };
    let ours = Place::new();
    ours.write("password", PASSWORD);
    let words = ["ca", "init", "--name", "Test", "--dns", "localhost", "--address", "127.0.0.1:9000"];
    let more = ["--provisioner", "admin", "--password-file", "password", "--deployment-type", "standalone"];
    ours.keywheel(&[&words[..], &more].concat()).ok();
    // Neither knows the files of the other's database.
    let without_database = |place: &Place| {
        let mut all = tree(&place.file("step"));
        all.retain(|line| !line.contains(" db") && !line.contains(" templates"));
        all
    };
    assert_eq!(without_database(&theirs), without_database(&ours));
    let json = |place: &Place, name: &str| serde_json::from_str::<Value>(&place.read(name)).expect("it is JSON");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let defaults = "step/config/defaults.json";
    assert_eq!(keys(&json(&theirs, defaults)), keys(&json(&ours, defaults)));
    let (their_ca, our_ca) = (json(&theirs, "step/config/ca.json"), json(&ours, "step/config/ca.json"));
    for name in ["root", "crt", "key", "address", "dnsNames", "authority", "tls"] {
        assert!(their_ca.get(name).is_some() && our_ca.get(name).is_some(), "{name}: {our_ca}");
    }
    for certificate in ["root_ca.crt", "intermediate_ca.crt"] {
        let name = format!("step/certs/{certificate}");
        assert_eq!(shape(&theirs, &name), shape(&ours, &name), "{certificate}");
    }
}

#[test]
fn bootstrap_and_contexts_are_written_as_step_writes_them() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let url = ca.url();
    let root = ca.place.keywheel(&["certificate", "fingerprint", "step/certs/root_ca.crt"]).ok().stdout;
    let words = ["ca", "bootstrap", "--ca-url", &url, "--fingerprint", root.trim()];
    let (theirs, ours) = (ca.place.file("theirs"), ca.place.file("ours"));
    for context in [&[][..], &["--context", "lab"], &["--context", "other"]] {
        ca.place.set("STEPPATH", theirs.display().to_string());
        ca.place.run(&step, &[&words[..], context].concat()).ok();
        ca.place.set("STEPPATH", ours.display().to_string());
        ca.place.keywheel(&[&words[..], context].concat()).ok();
        let names = |folder: &Path| {
            let all = tree(folder);
            all.iter().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(&theirs), names(&ours), "{context:?}");
        ca.place.keywheel(&["ca", "health"]).ok();
        ca.place.run(&step, &["ca", "health"]).ok();
        let paths = |flag: &[&str]| both(&ca.place, &step, &[&["path"], flag].concat());
        for flag in [&[][..], &["--base"], &["--profile"]] {
            let (theirs, ours) = paths(flag);
            assert_eq!(theirs.ok().stdout, ours.ok().stdout, "{context:?} {flag:?}");
        }
    }
    // step reads what ours wrote.
    let listed = ca.place.run(&step, &["context", "list"]).ok().stdout;
    assert!(listed.contains("lab") && listed.contains("other"), "{listed}");
    ca.place.run(&step, &["context", "select", "lab"]).ok();
    assert!(ca.place.keywheel(&["path"]).ok().stdout.trim().ends_with("authorities/lab"));
    ca.place.keywheel(&["ca", "health", "--context", "other"]).ok();
    ca.place.keywheel(&["ca", "health", "--context", "nowhere"]).fails(2, "context 'nowhere' not found");
}

#[test]
fn under_the_name_step_ours_does_what_a_script_for_step_wants() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let link = ca.place.file("bin/step");
    std::fs::create_dir_all(ca.place.file("bin")).expect("a folder can be made");
    std::os::unix::fs::symlink(keywheel_tests::place::keywheel(), &link).expect("a link can be made");
    let script = "set -eu
step path
step ca health
step ca roots -f roots.crt
step ca token s.local -provisioner-password-file password --san s.local > token
step ca certificate s.local s.crt s.key --token \"$(cat token)\" -f
step certificate inspect --short s.crt > /dev/null
step certificate verify s.crt --roots roots.crt
step certificate needs-renewal s.crt && exit 9 || test $? = 1
STEP_FORCE=1 STEP_F=1 step ca renew s.crt s.key
step ca rekey s.crt s.key --force --expires-in=1h
step ca rekey s.crt s.key -f -kty RSA --size=2048
step certificate fingerprint s.crt > /dev/null
step ca revoke --cert s.crt --key s.key --reason done --reasonCode \"key compromise\"
step ca renew s.crt s.key -f && exit 8 || true
echo all done
";
    ca.place.write("script.sh", script);
    for program in [&step, &link] {
        let folder = program.parent().expect("it stands in a folder").display();
        let line = format!("PATH={folder}:$PATH; export PATH; exec sh script.sh");
        let done = ca.place.run("sh", &["-c", &line]).ok();
        assert!(done.stdout.ends_with("all done\n"), "{}: {}", program.display(), done.stdout);
    }
    let help = ca.place.run(&link, &["ca", "rekey", "--help"]).ok().stdout;
    assert!(help.contains("step ca rekey") && !help.contains("keywheel ca rekey"), "{help}");
}

#[test]
fn serial_numbers_and_reasons_are_understood_as_step_understands_them() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let place = &ca.place;
    for (reason, understood) in [
        ("4", true),
        ("Superseded", true),
        ("key compromise", true),
        ("KEYCOMPROMISE", true),
        ("7", false),
        ("11", false),
        ("nonsense", false),
    ] {
        for program in [step.as_path(), keywheel_tests::place::keywheel()] {
            ca.certificate("r.local");
            let pair = ["ca", "revoke", "--cert", "r.local.crt", "--key", "r.local.key"];
            let done = place.run(program, &[&pair[..], &["--reason", "why", "--reasonCode", reason]].concat());
            assert_eq!(done.code == 0, understood, "{reason} {}: {}", program.display(), done.stderr);
            std::fs::remove_file(place.file("r.local.crt")).expect("it was written");
            std::fs::remove_file(place.file("r.local.key")).expect("it was written");
        }
    }
    // A serial in decimal, and in hexadecimal after 0x: one and the same certificate.
    ca.certificate("s.local");
    let hex = place.run("openssl", &["x509", "-in", "s.local.crt", "-noout", "-serial"]).ok().stdout;
    let hex = format!("0x{}", hex.trim().trim_start_matches("serial="));
    let inspected = place.keywheel(&["certificate", "inspect", "--json", "s.local.crt"]).ok().stdout;
    let inspected: Value = serde_json::from_str(&inspected).expect("it is JSON");
    let decimal = inspected["serial_number"].as_str().expect("a serial").to_owned();
    let revoke = ["ca", "revoke", "--provisioner-password-file", "password"];
    place.keywheel(&[&revoke[..], &[&hex]].concat()).ok();
    place.keywheel(&[&revoke[..], &[&decimal]].concat()).fails(3, &format!("'{decimal}' is already revoked"));
    place.keywheel(&[&revoke[..], &["12ab"]].concat()).fails(2, "not a serial number");
}
