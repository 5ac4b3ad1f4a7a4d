//! Every flag of the reference's page, in every place and spelling that Go programs take.

use keywheel_tests::place::Place;

use crate::bench::{Bench, belong_together, described, public_key, rekey};

/// The flags of the page with values that work on the bench.
const FLAGS: &[&[&str]] = &[
    &["--out-cert", "a.crt", "--out-key", "a.key"],
    &["--private-key", "given.key", "--out-cert", "b.crt", "--out-key", "b.key"],
    &["--ca-url", "CA_URL"],
    &["--root", "root.crt"],
    &["--password-file", "password"],
    &["--expires-in", "9999h"],
    &["--expires-in", "-1.5h"],
    &["--exec", "true"],
    &["--pid", "PID", "--signal", "28"],
    &["--pid-file", "self.pid", "--signal", "28"],
    &["--kty", "EC", "--curve", "P-384"],
    &["--kty", "EC", "--crv", "P-521"],
    &["--kty", "OKP"],
    &["--kty", "RSA", "--size", "2048"],
    &["--offline", "--password-file", "password"],
    &["--offline", "--password-file", "password", "--ca-config", "step/config/ca.json"],
    &["-f"],
    &["--force=true"],
];

/// The values in place of their names, and what the flags need on the bench.
fn on_the_bench(bench: &Bench) -> Vec<Vec<String>> {
    let place = bench.place();
    let pid = std::process::id().to_string();
    place.write("self.pid", &pid);
    std::fs::copy(place.file("step/certs/root_ca.crt"), place.file("root.crt")).expect("it can be copied");
    let value = |word: &&str| word.replace("CA_URL", &bench.ca.url()).replace("PID", &pid);
    FLAGS.iter().map(|flags| flags.iter().map(value).collect()).collect()
}

/// Runs it, and sees that there is a new pair where the flags say.
#[track_caller]
fn rekeys(place: &Place, words: &[String]) {
    let option = |name: &str, default: &str| {
        let joined = format!("{name}=");
        let at = words.iter().position(|word| word == name || word == &name[1..]);
        let value = at.map(|at| words[at + 1].clone());
        let value = value.or_else(|| words.iter().find_map(|word| word.strip_prefix(&joined).map(str::to_owned)));
        value.unwrap_or_else(|| default.to_owned())
    };
    let (certificate, key) = (option("--out-cert", "svc.crt"), option("--out-key", "svc.key"));
    if words.iter().any(|word| word.contains("private-key")) {
        place.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "given.key"]).ok();
    }
    let before = public_key(place, "svc.crt");
    let words: Vec<&str> = ["ca", "rekey"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let done = place.keywheel(&words);
    assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
    assert_ne!(before, public_key(place, &certificate), "{words:?} did not change the key");
    belong_together(place, &certificate, &key);
    // What was written elsewhere superseded what is on the bench.
    if certificate != "svc.crt" {
        for (from, to) in [(certificate, "svc.crt"), (key, "svc.key")] {
            std::fs::rename(place.file(&from), place.file(to)).expect("it can be moved");
        }
    }
}

#[test]
fn every_flag_of_the_page_is_taken_before_and_after_the_files() {
    let bench = Bench::start();
    for flags in on_the_bench(&bench) {
        let pair = ["svc.crt", "svc.key", "--force"].map(String::from);
        rekeys(bench.place(), &[&flags[..], &pair].concat());
        rekeys(bench.place(), &[&pair[..], &flags].concat());
        let (first, last) = (&pair[..1], &pair[1..]);
        rekeys(bench.place(), &[first, &flags, last].concat());
    }
}

#[test]
fn a_flag_may_be_joined_to_its_value_and_have_one_dash() {
    let bench = Bench::start();
    for flags in on_the_bench(&bench) {
        let mut joined: Vec<String> = Vec::new();
        for word in &flags {
            match joined
                .last_mut()
                .filter(|last| last.starts_with("--") && !last.contains('=') && !word.starts_with("--"))
            {
                Some(last) => *last = format!("{last}={word}"),
                None => joined.push(word.clone()),
            }
        }
        let pair = ["--force", "svc.crt", "svc.key"].map(String::from);
        rekeys(bench.place(), &[&joined[..], &pair].concat());
        let one_dash: Vec<String> = flags
            .iter()
            .map(|word| word.strip_prefix('-').filter(|word| word.starts_with('-')).unwrap_or(word).to_owned())
            .collect();
        rekeys(bench.place(), &[&one_dash[..], &pair].concat());
    }
}

#[test]
fn of_equal_flags_the_last_counts() {
    let bench = Bench::start();
    rekey(bench.place(), &["--kty", "RSA", "--kty", "OKP"]).ok();
    assert!(described(bench.place(), "svc.crt").contains("ED25519"));
}

#[test]
fn a_url_may_lack_its_scheme_and_have_a_path() {
    let bench = Bench::start();
    let port = bench.ca.port;
    for url in
        [format!("localhost:{port}"), format!("https://localhost:{port}/some/path?query"), format!("127.0.0.1:{port}")]
    {
        rekey(bench.place(), &["--ca-url", &url]).ok();
    }
}

#[test]
fn a_root_file_may_hold_several_roots() {
    let bench = Bench::start();
    let other = Bench::empty();
    let roots = other.place().read("step/certs/root_ca.crt") + &bench.place().read("step/certs/root_ca.crt");
    bench.place().write("roots.crt", roots);
    rekey(bench.place(), &["--root", "roots.crt"]).ok();
}

#[test]
fn offline_rekeys_without_a_server_and_the_server_knows_it_afterwards() {
    let mut bench = Bench::start();
    bench.away();
    let before = public_key(bench.place(), "svc.crt");
    bench.rekey(&["--offline", "--password-file", "password"]).ok();
    assert_ne!(before, public_key(bench.place(), "svc.crt"));
    belong_together(bench.place(), "svc.crt", "svc.key");
    bench.back();
    bench.rekey(&[]).ok();
    // And beside a server, where the reference's database is locked.
    bench.rekey(&["--offline", "--password-file", "password"]).ok();
    bench.rekey(&[]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn the_gate_lets_nothing_through_before_its_time() {
    let mut bench = Bench::start();
    for (gate, passes) in
        [("1h", false), ("22h30m", false), ("25h", true), ("1ms", false), ("24h", true), ("0", true), ("-2h", true)]
    {
        let before = crate::bench::pair(bench.place());
        let done = bench.rekey(&["--expires-in", gate]).ok();
        assert_eq!(before != crate::bench::pair(bench.place()), passes, "--expires-in {gate}: {}", done.stderr);
    }
    assert_eq!(bench.issued(), 4);
}
