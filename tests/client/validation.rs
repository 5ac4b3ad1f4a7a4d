//! What is wrong is refused in the words of the reference, with exit code 2, before anything is changed or asked.

use keywheel_tests::place::Place;

use crate::bench::{Bench, PAIR};

/// Runs `ca rekey --force` with exactly these words after it.
fn refuses(bench: &mut Bench, words: &[&str], says: &str) {
    bench.refuses(|place: &Place| place.keywheel(&[&["ca", "rekey", "--force"], words].concat()), 2, says);
}

#[test]
fn the_number_of_files_is_two() {
    let mut bench = Bench::start();
    let few = "not enough positional arguments were provided in 'keywheel ca rekey <crt-file> <key-file>'";
    let many = "too many positional arguments were provided in 'keywheel ca rekey <crt-file> <key-file>'";
    refuses(&mut bench, &[], few);
    refuses(&mut bench, &["svc.crt"], few);
    refuses(&mut bench, &["svc.crt", "svc.key", "more"], many);
    refuses(&mut bench, &["svc.crt", "svc.key", "--bogus"], "flag provided but not defined: --bogus");
}

#[test]
fn wrong_flags_are_refused_in_the_words_of_the_reference() {
    let mut bench = Bench::start();
    let place = bench.place();
    place.write("word.pid", "nginx\n");
    place.write("zero.pid", "0\n");
    place.write("minus.pid", "-7\n");
    let within = "must be within (lower than) the certificate validity period; ";
    for (flags, says) in [
        ("--ca-url http://localhost", "invalid value 'http://localhost' for flag '--ca-url'; must have https scheme"),
        ("--ca-url ftp://localhost", "invalid value 'ftp://localhost' for flag '--ca-url'; must have https scheme"),
        ("--expires-in 1x", "invalid value '1x' for flag '--expires-in'"),
        ("--expires-in 1d", "invalid value '1d' for flag '--expires-in'"),
        ("--expires-in 8", "invalid value '8' for flag '--expires-in'"),
        ("--daemon --rekey-period 1x", "invalid value '1x' for flag '--rekey-period'"),
        ("--daemon --expires-in 1h --rekey-period 1h", "flag '--expires-in' is incompatible with '--rekey-period'"),
        ("--rekey-period 1h", "flag '--rekey-period' requires the '--daemon' flag"),
        ("--pid 1 --pid-file zero.pid", "flag '--pid' and flag '--pid-file' are mutually exclusive"),
        ("--pid 0", "invalid value '0' for flag '--pid'"),
        ("--pid -3", "invalid value '-3' for flag '--pid'"),
        ("--pid=x", "invalid value 'x' for flag '--pid'"),
        ("--pid-file word.pid", "to integer process id"),
        ("--pid-file zero.pid", "invalid value '0' for flag '--pid-file'"),
        ("--pid-file minus.pid", "invalid value '-7' for flag '--pid-file'"),
        ("--pid-file none.pid", "none.pid"),
        ("--signal 0", "invalid value '0' for flag '--signal'"),
        ("--signal -1", "invalid value '-1' for flag '--signal'"),
        ("--signal 9999", "invalid value '9999' for flag '--signal'"),
        ("--kty FOO", "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP"),
        ("--kty ec", "invalid value 'ec' for flag '--kty'; options are RSA, EC, OKP"),
        ("--curve P-256", "flag '--curve' requires the '--kty' flag"),
        ("--crv P-256", "flag '--curve' requires the '--kty' flag"),
        ("--size 2048", "flag '--size' requires the '--kty' flag"),
        ("--kty RSA --size 1024", "flag '--size' requires at least 2048"),
        ("--kty RSA --curve P-256", "flag '--curve' is incompatible with flag '--kty RSA'"),
        ("--kty EC --size 256", "flag '--size' is incompatible with flag '--kty EC'"),
        ("--kty OKP --size 256", "flag '--size' is incompatible with flag '--kty OKP'"),
        (
            "--kty EC --curve P-999",
            "flag '--kty EC' is incompatible with flag '--curve P-999'\n\n  Option(s): --curve P-256, P-384, P-521",
        ),
        ("--kty OKP --curve P-256", "flag '--kty OKP' is incompatible with flag '--curve P-256'"),
        (
            "--daemon --rekey-period 48h",
            &format!("flag '--rekey-period' {within}rekey-period=48h0m0s, cert-validity-period=24h1m0s"),
        ),
        (
            "--daemon --rekey-period 24h1m",
            &format!("flag '--rekey-period' {within}rekey-period=24h1m0s, cert-validity-period=24h1m0s"),
        ),
        ("--root none.crt", "open the root certificate none.crt: No such file or directory"),
        ("--root svc.key", "the root certificate svc.key cannot be used, nothing was changed"),
        ("--password-file none", "read the password file none: No such file or directory"),
        (
            "--private-key none.key",
            "the new key none.key cannot be used, nothing was changed: No such file or directory",
        ),
        ("--private-key svc.crt", "the new key svc.crt cannot be used, nothing was changed"),
        ("--private-key given.key --kty EC", "flag '--kty' is incompatible with '--private-key'"),
        ("--offline --ca-config none.json", "none.json"),
    ] {
        let words: Vec<&str> = flags.split(' ').chain(PAIR).collect();
        refuses(&mut bench, &words, says);
    }
}

#[test]
fn without_an_address_or_a_root_it_says_which_flag_is_missing() {
    let mut bench = Bench::start();
    let place = bench.place();
    let words = ["ca", "rekey", "--force", "--home", "empty", "svc.crt", "svc.key"];
    let told = "'keywheel ca rekey' requires the '--ca-url' flag";
    place.keywheel(&words).fails(2, told);
    let url = bench.ca.url();
    let run = |place: &Place| place.keywheel(&[&words[..], &["--ca-url", &url]].concat());
    bench.refuses(run, 2, "ca bootstrap");
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let mut bench = Bench::start();
    bench.place().write("empty", "");
    bench.place().write("nonsense", "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n");
    std::fs::create_dir(bench.place().file("folder")).expect("a folder can be made");
    for (certificate, key, says) in [
        ("none.crt", "svc.key", "the certificate none.crt cannot be used, nothing was changed: No such file"),
        ("svc.crt", "none.key", "the key none.key cannot be used, nothing was changed: No such file"),
        ("empty", "svc.key", "the certificate empty cannot be used, nothing was changed"),
        ("nonsense", "svc.key", "the certificate nonsense cannot be used, nothing was changed"),
        ("svc.crt", "empty", "the key empty cannot be used, nothing was changed"),
        ("svc.crt", "step/certs/root_ca.crt", "the key step/certs/root_ca.crt cannot be used, nothing was changed"),
        ("svc.key", "svc.crt", "the certificate svc.key cannot be used, nothing was changed"),
        ("step/certs/root_ca.crt", "svc.key", "does not belong to the key svc.key, nothing was changed"),
    ] {
        refuses(&mut bench, &[certificate, key, "--out-cert", "new.crt", "--out-key", "new.key"], says);
    }
    let folder = |place: &Place| place.keywheel(&["ca", "rekey", "--force", "folder", "svc.key"]);
    let before = crate::bench::pair(bench.place());
    assert_ne!(folder(bench.place()).code, 0);
    assert_eq!(before, crate::bench::pair(bench.place()));
}

#[test]
fn a_server_that_is_not_the_authority_is_not_trusted() {
    let mut bench = Bench::start();
    let other = crate::bench::Bench::empty();
    let root = other.place().file("step/certs/root_ca.crt").display().to_string();
    bench.refuses(|place| crate::bench::rekey(place, &["--root", &root]), 1, "is not trusted, nothing was changed");
    let url = other.ca.url();
    bench.refuses(|place| crate::bench::rekey(place, &["--ca-url", &url]), 1, "is not trusted, nothing was changed");
}

#[test]
fn a_name_that_nobody_knows_and_a_closed_port_are_exit_code_4() {
    let mut bench = Bench::start();
    for url in ["https://nobody.invalid", "https://localhost:1", "localhost:1"] {
        bench.refuses(|place| crate::bench::rekey(place, &["--ca-url", url]), 4, "was not reached; try again");
    }
}

#[test]
fn a_server_that_is_no_authority_at_all_is_explained() {
    let mut bench = Bench::start();
    let words = ["ca", "certificate", "localhost", "web.crt", "web.key", "--provisioner-password-file", "password"];
    bench.place().keywheel(&words).ok();
    let port = keywheel_tests::ca::free_port();
    let mut command = bench.place().command("openssl");
    command.args([
        "s_server",
        "-accept",
        &port.to_string(),
        "-cert",
        "web.crt",
        "-key",
        "web.key",
        "-cert_chain",
        "web.crt",
        "-www",
    ]);
    let mut server = keywheel_tests::ca::Background::start(command);
    server.wait_for("ACCEPT");
    let url = format!("https://localhost:{port}");
    let before = crate::bench::pair(bench.place());
    let done = bench.rekey(&["--ca-url", &url, "--timeout", "3s"]);
    assert!(done.code == 1 || done.code == 4, "{}: {}", done.code, done.stderr);
    assert!(done.stderr.contains("certificate authority"), "{}", done.stderr);
    assert_eq!(before, crate::bench::pair(bench.place()));
    bench.rekey(&[]).ok();
    assert_eq!(bench.issued(), 1);
}
