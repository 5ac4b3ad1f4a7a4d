//! PKCS#12 files of ours, read by OpenSSL and Java and compared with those of the real `step`.

use keywheel_tests::ca::Ca;
use keywheel_tests::peer;
use keywheel_tests::place::Place;

use crate::judges::openssl_verifies;

/// Keys and certificates in a PKCS#12 file, sorted, as OpenSSL reads them: its PEM blocks without the words between.
fn content(place: &Place, file: &str, password: &str) -> Vec<String> {
    let given = format!("pass:{password}");
    let text = place.run("openssl", &["pkcs12", "-in", file, "-passin", &given, "-nodes"]).ok().stdout;
    let mut blocks: Vec<String> = text
        .split("-----BEGIN ")
        .skip(1)
        .map(|block| block.split_once("-----END").map_or(block, |(block, _)| block).to_owned())
        .collect();
    blocks.sort();
    blocks
}

#[test]
fn what_is_packed_is_what_step_packs() {
    let ca = Ca::start();
    let place = &ca.place;
    let Some(step) = peer::step() else { return };
    place.write("p12.password", "changeit\n");
    for (name, kind) in [("ec", &["--kty", "EC"][..]), ("okp", &["--kty", "OKP"]), ("rsa", &["--kty", "RSA"])] {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let words = ["ca", "certificate", name, &certificate, &key, "--provisioner-password-file", "password"];
        place.keywheel(&[&words[..], kind].concat()).ok();
        for (flags, password) in [
            (&["--password-file", "p12.password"][..], "changeit"),
            (&["--no-password", "--insecure"], ""),
            (&["--password-file", "p12.password", "--ca", "step/certs/root_ca.crt"], "changeit"),
        ] {
            let words = |file| [&["certificate", "p12", "--force"][..], flags, &[file, &certificate, &key]].concat();
            place.run(&step, &words("theirs.p12")).ok();
            let done = place.keywheel(&words("ours.p12")).ok();
            assert!(done.stderr.contains("Your .p12 bundle has been saved as ours.p12."), "{}", done.stderr);
            let ours = content(place, "ours.p12", password);
            assert_eq!(ours, content(place, "theirs.p12", password), "{name} {flags:?}");
            assert!(ours.len() >= 3, "a key, its certificate and the intermediate: {ours:?}");
        }
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &place.file("ours.p12").metadata().expect("the file is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    openssl_verifies(place, "ec.crt");
}

#[test]
fn java_reads_key_chain_and_trust_store() {
    let ca = Ca::start();
    let place = &ca.place;
    let (certificate, key) = ca.certificate("svc");
    place.write("p12.password", "changeit");
    let p12 = ["certificate", "p12", "--password-file", "p12.password"];
    place.keywheel(&[&p12[..], &["--name", "Web", "svc.p12", &certificate, &key]].concat()).ok();
    place.keywheel(&[&p12[..], &["trust.p12", "--ca", "step/certs/root_ca.crt"]].concat()).ok();
    let Some(keytool) = peer::keytool() else { return };
    let list = |file| {
        let words = ["-list", "-v", "-storetype", "PKCS12", "-keystore", file, "-storepass", "changeit"];
        place.run(&keytool, &words).ok().stdout
    };
    let pair = list("svc.p12");
    for part in ["Your keystore contains 1 entry", "Alias name: web", "PrivateKeyEntry", "chain length: 2"] {
        assert!(pair.contains(part), "{part}: {pair}");
    }
    let trusted = list("trust.p12");
    for part in ["Your keystore contains 1 entry", "trustedCertEntry"] {
        assert!(trusted.contains(part), "{part}: {trusted}");
    }
    // That the key opens shows only where Java writes it again.
    let words = ["-importkeystore", "-srckeystore", "svc.p12", "-srcstorepass", "changeit", "-srcstoretype", "PKCS12"];
    let to = ["-destkeystore", "java.p12", "-deststorepass", "changeit", "-deststoretype", "PKCS12", "-noprompt"];
    place.run(&keytool, &[&words[..], &to].concat()).ok();
    assert_eq!(content(place, "java.p12", "changeit"), content(place, "svc.p12", "changeit"));
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_no_file() {
    let ca = Ca::start();
    let place = &ca.place;
    let (certificate, key) = ca.certificate("svc");
    let (_, other) = ca.certificate("other");
    place.write("p12.password", "changeit");
    place.write("empty", "\n");
    place.write("garbled", b"\xff\xfe");
    let secret = ["--password-file", "p12.password"];
    for (words, says) in [
        ([&["a.p12", &certificate, &other][..], &secret].concat(), "not the key of the first certificate"),
        ([&["a.p12", &certificate][..], &secret].concat(), "not enough positional arguments"),
        ([&["a.p12"][..], &secret].concat(), "or flag '--ca'"),
        (vec!["a.p12", &certificate, &key, "--no-password"], "requires the '--insecure' flag"),
        ([&["a.p12", &certificate, &key, "--no-password", "--insecure"][..], &secret].concat(), "is incompatible with"),
        (vec!["a.p12", &certificate, &key], "--password-file is needed"),
        (vec!["a.p12", &certificate, &key, "--password-file", "empty"], "holds no password"),
        (vec!["a.p12", &certificate, &key, "--password-file", "garbled"], "must be text in UTF-8"),
        ([&["a.p12", &certificate, "p12.password"][..], &secret].concat(), "no private key"),
    ] {
        place.keywheel(&[&["certificate", "p12"][..], &words].concat()).fails(2, says);
        assert!(!place.file("a.p12").exists(), "{words:?}");
    }
    place.write("a.p12", "kept");
    place.keywheel(&[&["certificate", "p12", "a.p12", &certificate, &key][..], &secret].concat()).fails(2, "exists");
    assert_eq!(place.read("a.p12"), "kept");
}

#[test]
fn an_encrypted_key_is_opened_for_the_file() {
    let ca = Ca::start();
    let place = &ca.place;
    place.write("key.password", "sesame");
    place.write("p12.password", "changeit");
    let words = ["ca", "certificate", "svc", "svc.crt", "svc.key", "--provisioner-password-file", "password"];
    place.keywheel(&[&words[..], &["--password-file", "key.password"]].concat()).ok();
    let p12 = ["certificate", "p12", "--password-file", "p12.password", "svc.p12", "svc.crt", "svc.key"];
    place.keywheel(&p12).fails(2, "--key-password-file");
    place.keywheel(&[&p12[..], &["--key-password-file", "p12.password"]].concat()).fails(2, "the password is wrong");
    place.keywheel(&[&p12[..], &["--key-password-file", "key.password"]].concat()).ok();
    assert!(content(place, "svc.p12", "changeit").iter().any(|block| block.starts_with("PRIVATE KEY")));
}
