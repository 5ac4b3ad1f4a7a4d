//! The CA answers, the answer gets lost: the next run goes on with the same key and request.

use crate::bench::{Bench, belong_together, daemon, exists, pair, reference, rekey, stop};
use keywheel_tests::lossy::Lossy;

#[test]
fn after_a_lost_reply_the_next_run_gets_the_very_same_certificate() {
    let mut bench = Bench::start();
    let before = pair(bench.place());
    let way = Lossy::to(bench.ca.port, 1);
    bench.rekey(&["--ca-url", &way.url]).fails(4, "the next run goes on where this one stopped");
    assert_eq!(way.lost(), 1, "the answer was not lost on the way");
    assert_eq!(before, pair(bench.place()), "nothing may change before the answer is there");
    let log = bench.log();
    let first: Vec<&str> = log.lines().filter_map(|line| issued_serial(line, false)).collect();
    assert_eq!(first.len(), 1, "the authority had answered");
    let first = first[0].to_owned();
    // The key waits beside its target, for its owner alone.
    assert!(bench.place().read(".svc.key.keywheel/key.pem").contains("PRIVATE KEY"));

    let done = bench.rekey(&["--json"]).ok();
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("one JSON value");
    assert_eq!((&told["new"]["serial"], &told["resumed"]), (&first.into(), &true.into()));
    belong_together(bench.place(), "svc.crt", "svc.key");
    assert!(!exists(bench.place(), ".svc.key.keywheel"), "the journal stayed");
    assert_eq!(bench.issued(), 1, "more than one certificate was issued");
    assert_eq!(bench.asked(), 2);
    // Life goes on.
    bench.rekey(&[]).ok();
    assert_eq!(bench.issued(), 2);
}

#[test]
fn after_many_lost_replies_there_is_still_one_certificate() {
    let mut bench = Bench::start();
    let way = Lossy::to(bench.ca.port, 3);
    for lost in 1..=3 {
        bench.rekey(&["--ca-url", &way.url]).fails(4, "was not reached");
        assert_eq!(way.lost(), lost);
    }
    bench.rekey(&["--ca-url", &way.url]).ok();
    assert_eq!((bench.issued(), bench.asked()), (1, 4));
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn after_a_lost_reply_other_key_flags_mean_another_key() {
    let bench = Bench::start();
    let way = Lossy::to(bench.ca.port, 1);
    bench.rekey(&["--ca-url", &way.url]).fails(4, "was not reached");
    bench.rekey(&["--kty", "OKP"]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
    let text = crate::bench::described(bench.place(), "svc.crt");
    assert!(text.contains("ED25519"), "the key is not the one that was asked for: {text}");
}

#[test]
fn a_daemon_goes_on_after_a_lost_reply_by_itself() {
    let mut bench = Bench::short_lived("12s", &[]);
    let way = Lossy::to(bench.ca.port, 1);
    let mut daemon = daemon(bench.place(), &["--ca-url", &way.url, "--rekey-period", "1s"]);
    daemon.wait_for("was not reached");
    assert_eq!(way.lost(), 1);
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
    let log = bench.log();
    let replayed = log.lines().filter_map(|line| issued_serial(line, true)).count();
    assert_eq!(replayed, 1, "the second answer was not the first one again");
}

#[test]
fn after_a_lost_reply_a_ca_without_memory_issues_again_and_the_message_says_so() {
    let Some(reference) = reference() else { return };
    let ca = &reference.ca;
    let way = Lossy::to(ca.port, 1);
    rekey(&ca.place, &["--ca-url", &way.url]).fails(4, "was not reached");
    assert_eq!(way.lost(), 1);
    let done = rekey(&ca.place, &[]).ok();
    assert!(done.stderr.contains("may have issued twice"), "{}", done.stderr);
    belong_together(&ca.place, "svc.crt", "svc.key");
}

/// The serial number in a line about a rekey that was issued, or answered again.
fn issued_serial(line: &str, replayed: bool) -> Option<&str> {
    let about = line.contains("issued by=\"rekey\"") && line.contains(&format!("replayed={replayed}"));
    line.split("serial=").nth(1).filter(|_| about)?.split(' ').next()
}
