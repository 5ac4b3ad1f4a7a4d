//! Keys in every encoding and encryption, in and out.

use crate::bench::{Bench, belong_together, described, public_key, rekey};

/// Turns the key of the bench into another encoding by OpenSSL.
fn convert(bench: &Bench, words: &[&str]) {
    bench.place().run("openssl", &[words, &["-in", "svc.key", "-out", "other.key"]].concat()).ok();
    std::fs::rename(bench.place().file("other.key"), bench.place().file("svc.key")).expect("it can be renamed");
}

#[test]
fn every_type_of_key_can_be_asked_for() {
    let bench = Bench::start();
    for (flags, says) in [
        (&[][..], "prime256v1"),
        (&["--kty", "EC"], "prime256v1"),
        (&["--kty", "EC", "--curve", "P-256"], "prime256v1"),
        (&["--kty", "EC", "--crv", "P-384"], "secp384r1"),
        (&["--kty=EC", "--curve=P-521"], "secp521r1"),
        (&["--kty", "OKP"], "ED25519"),
        (&["--kty", "OKP", "--crv", "Ed25519"], "ED25519"),
        (&["--kty", "RSA"], "Public-Key: (2048 bit)"),
        (&["--kty", "RSA", "--size", "3072"], "Public-Key: (3072 bit)"),
    ] {
        let before = public_key(bench.place(), "svc.crt");
        bench.rekey(flags).ok();
        let text = described(bench.place(), "svc.crt");
        assert!(text.contains(says), "{flags:?} should give {says}: {text}");
        assert_ne!(before, public_key(bench.place(), "svc.crt"));
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
}

#[test]
fn a_key_goes_out_in_the_encoding_that_the_old_one_had() {
    let bench = Bench::start();
    let begins = |label: &str| {
        let text = bench.place().read("svc.key");
        assert!(text.starts_with(&format!("-----BEGIN {label}-----")), "{label} was expected: {}", &text[..40]);
    };
    // SEC1, as the client writes by itself; PKCS#1 is its sister for RSA; Ed25519 knows PKCS#8 only.
    begins("EC PRIVATE KEY");
    bench.rekey(&[]).ok();
    begins("EC PRIVATE KEY");
    bench.rekey(&["--kty", "RSA"]).ok();
    begins("RSA PRIVATE KEY");
    bench.rekey(&["--kty", "EC"]).ok();
    begins("EC PRIVATE KEY");
    convert(&bench, &["pkcs8", "-topk8", "-nocrypt"]);
    for kind in ["EC", "RSA", "OKP", "EC"] {
        begins("PRIVATE KEY");
        bench.rekey(&["--kty", kind]).ok();
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
    begins("PRIVATE KEY");
}

#[test]
fn every_encryption_of_openssl_is_read_and_the_new_key_is_encrypted_with_the_same_password() {
    let bench = Bench::start();
    let legacy = |cipher: &'static str| vec!["ec", cipher, "-passout", "file:password"];
    let modern = |more: &[&'static str]| [&["pkcs8", "-topk8", "-passout", "file:password"], more].concat();
    for words in [
        legacy("-aes-128-cbc"),
        legacy("-aes-256-cbc"),
        legacy("-des3"),
        modern(&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"]),
        modern(&["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"]),
        modern(&["-scrypt"]),
    ] {
        // From a key in clear every time.
        std::fs::remove_file(bench.place().file("svc.key")).expect("it is there");
        bench.issue(&[]);
        convert(&bench, &words);
        let old = bench.place().read("svc.key");
        assert!(old.contains("ENCRYPTED"), "{words:?} did not encrypt");
        rekey(bench.place(), &["--password-file", "password"]).ok();
        let new = bench.place().read("svc.key");
        assert!(new != old && new.contains("ENCRYPTED"), "{words:?}: {}", &new[..60]);
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
}

#[test]
fn a_wrong_password_changes_nothing_and_is_no_secret_told() {
    let mut bench = Bench::start();
    convert(&bench, &["pkcs8", "-topk8", "-passout", "file:password"]);
    bench.place().write("wrong", "open sesame\n");
    let run = |place: &keywheel_tests::place::Place| {
        let done = rekey(place, &["--password-file", "wrong"]);
        assert!(!done.stderr.contains("sesame"));
        done
    };
    bench.refuses(run, 2, "the password does not open the key svc.key, nothing was changed");
}

#[test]
fn other_text_and_blocks_in_the_files_do_not_disturb() {
    let bench = Bench::start();
    let place = bench.place();
    let (certificate, key) = crate::bench::pair(place);
    let parameters = place.run("openssl", &["ecparam", "-name", "prime256v1"]).ok().stdout;
    place.write("svc.crt", format!("{}\nsome text\n{parameters}{certificate}", described(place, "svc.crt")));
    place.write("svc.key", format!("{parameters}\nBag Attributes: none\n{key}"));
    bench.rekey(&[]).ok();
    belong_together(place, "svc.crt", "svc.key");
}

#[test]
fn a_certificate_in_der_is_read() {
    let bench = Bench::start();
    let place = bench.place();
    place.run("openssl", &["x509", "-in", "svc.crt", "-outform", "DER", "-out", "svc.der"]).ok();
    place.keywheel(&["ca", "rekey", "svc.der", "svc.key", "--out-cert", "new.crt", "--out-key", "new.key"]).ok();
    belong_together(place, "new.crt", "new.key");
}
