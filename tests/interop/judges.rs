//! OpenSSL and pkilint look at every kind of certificate, CRL and request that we make.

use keywheel_tests::ca::Ca;
use keywheel_tests::peer;
use keywheel_tests::place::Place;

/// The kinds of key a CA of ours may be made of.
const ISSUERS: &[&[&str]] = &[
    &["--kty", "EC", "--curve", "P-256"],
    &["--kty", "EC", "--curve", "P-384"],
    &["--kty", "OKP", "--curve", "Ed25519"],
    &["--kty", "RSA", "--size", "3072"],
];

/// The kinds of key a leaf may have.
const LEAVES: &[&[&str]] = &[
    &["--kty", "EC", "--curve", "P-256"],
    &["--kty", "EC", "--curve", "P-384"],
    &["--kty", "EC", "--curve", "P-521"],
    &["--kty", "OKP", "--curve", "Ed25519"],
    &["--kty", "RSA", "--size", "2048"],
];

/// OpenSSL verifies the leaf in this file through the CA's own chain.
#[track_caller]
pub fn openssl_verifies(place: &Place, certificate: &str) {
    place
        .run(
            "openssl",
            &[
                "verify",
                "-x509_strict",
                "-purpose",
                "sslserver",
                "-CAfile",
                "step/certs/root_ca.crt",
                "-untrusted",
                "step/certs/intermediate_ca.crt",
                certificate,
            ],
        )
        .ok();
}

/// The public key of a certificate, as OpenSSL reads it.
pub fn public_key(place: &Place, certificate: &str) -> String {
    place.run("openssl", &["x509", "-in", certificate, "-noout", "-pubkey"]).ok().stdout
}

/// The key in this file belongs to the certificate in that one, as OpenSSL reads both.
#[track_caller]
pub fn pair_matches(place: &Place, certificate: &str, key: &str) {
    let of_key = place.run("openssl", &["pkey", "-in", key, "-pubout", "-passin", "file:password"]).ok().stdout;
    assert_eq!(public_key(place, certificate), of_key, "{certificate} and {key} do not belong together");
}

/// pkilint finds neither a fatal fault nor an error.
#[track_caller]
fn pkilint_finds_nothing(place: &Place, linter: &str, words: &[&str]) {
    let Some(program) = peer::pkilint(linter) else { return };
    // pkilint reads one certificate a file, not a chain.
    let certificates: Vec<&str> = words.iter().copied().filter(|word| word.ends_with(".crt")).collect();
    for certificate in certificates {
        place.run("openssl", &["x509", "-in", certificate, "-out", "alone.pem"]).ok();
    }
    let mut all: Vec<&str> =
        words.iter().map(|word| if word.ends_with(".crt") { "alone.pem" } else { *word }).collect();
    all.splice(0..0, ["lint", "-s", "ERROR"]);
    let done = place.run(program, &all);
    assert_eq!(done.code, 0, "{linter} found something:\n{}{}", done.stdout, done.stderr);
}

#[test]
fn every_kind_of_leaf_from_every_kind_of_issuer_passes_openssl_and_pkilint_before_and_after_a_rekey() {
    for issuer in ISSUERS {
        let ca = Ca::start_with(issuer);
        let place = &ca.place;
        pkilint_finds_nothing(place, "lint_pkix_cert", &["step/certs/root_ca.crt"]);
        pkilint_finds_nothing(place, "lint_pkix_cert", &["step/certs/intermediate_ca.crt"]);
        for leaf in LEAVES {
            let mut words = vec![
                "ca",
                "certificate",
                "svc.local",
                "svc.crt",
                "svc.key",
                "--force",
                "--provisioner-password-file",
                "password",
            ];
            words.extend(*leaf);
            place.keywheel(&words).ok();
            openssl_verifies(place, "svc.crt");
            pair_matches(place, "svc.crt", "svc.key");
            pkilint_finds_nothing(place, "lint_pkix_cert", &["svc.crt"]);
            let before = public_key(place, "svc.crt");
            let mut words = vec!["ca", "rekey", "--force", "svc.crt", "svc.key"];
            words.extend(*leaf);
            place.keywheel(&words).ok();
            assert_ne!(before, public_key(place, "svc.crt"), "the key has not changed");
            openssl_verifies(place, "svc.crt");
            pair_matches(place, "svc.crt", "svc.key");
            pkilint_finds_nothing(place, "lint_pkix_cert", &["svc.crt"]);
        }
        the_lists_of_revoked_certificates_pass(&ca);
    }
}

/// The list of an authority with and without the certificate `svc.crt` on it.
fn the_lists_of_revoked_certificates_pass(ca: &Ca) {
    let place = &ca.place;
    let url = format!("{}/crl", ca.url());
    let fetch = |file: &str| {
        place.run("curl", &["-fsS", "--cacert", "step/certs/root_ca.crt", "-o", file, &url]).ok();
        place.run("openssl", &["crl", "-inform", "DER", "-in", file, "-noout", "-text"]).ok().stdout
    };
    let serial = place.run("openssl", &["x509", "-in", "svc.crt", "-noout", "-serial"]).ok().stdout;
    let serial = serial.trim().trim_start_matches("serial=");
    assert!(!fetch("before.crl").contains(serial), "the certificate is listed before it was revoked");
    place.keywheel(&["ca", "revoke", "--cert", "svc.crt", "--key", "svc.key"]).ok();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !fetch("after.crl").contains(serial) {
        assert!(std::time::Instant::now() < until, "the revoked serial {serial} does not come onto the list");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for list in ["before.crl", "after.crl"] {
        let words = ["crl", "-inform", "DER", "-in", list, "-noout", "-CAfile", "step/certs/intermediate_ca.crt"];
        let done = place.run("openssl", &words).ok();
        assert!(done.stderr.contains("verify OK"), "OpenSSL does not verify {list}: {}", done.stderr);
        pkilint_finds_nothing(place, "lint_crl", &["-t", "CRL", "-p", "PKIX", list]);
    }
}

#[test]
fn every_request_that_we_make_is_verified_by_openssl() {
    let mut ca = Ca::start();
    ca.certificate("svc");
    // With nobody there to answer, the request waits beside the key for the next run.
    ca.server.signal("TERM");
    ca.server.wait();
    for leaf in LEAVES {
        let mut words = vec!["ca", "rekey", "--force", "svc.crt", "svc.key"];
        words.extend(*leaf);
        assert_eq!(ca.place.keywheel(&words).code, 4);
        let request = ".svc.key.keywheel/request.pem";
        ca.place.run("openssl", &["req", "-in", request, "-noout", "-verify"]).ok();
        let of_request = ca.place.run("openssl", &["req", "-in", request, "-noout", "-pubkey"]).ok().stdout;
        let of_key = ca.place.run("openssl", &["pkey", "-in", ".svc.key.keywheel/key.pem", "-pubout"]).ok().stdout;
        assert_eq!(of_request, of_key);
    }
}
