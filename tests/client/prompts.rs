//! Questions before anything is replaced: asked on a terminal only, all of them before the authority is asked.

use keywheel_tests::place::{Done, Place};

use crate::bench::{Bench, belong_together, exists, pair, public_key};

/// Runs a command line on a terminal, with these answers typed.
fn on_a_terminal(place: &Place, answers: &str, line: &str) -> Done {
    place.write("typed", answers);
    // The terminal is both standard output and standard error: all is in stdout here.
    let mut done = place.run("bash", &["-c", &format!("script -qec {} /dev/null <typed", quoted(line))]);
    done.stderr = std::mem::take(&mut done.stdout);
    done
}

fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', r"'\''"))
}

#[test]
fn d4_answering_no_to_either_question_changes_nothing_and_asks_nothing() {
    let mut bench = Bench::start();
    let kept = "exists and is to be kept; nothing was changed";
    for answers in ["n\n", "N\n", "no\n", "y\nn\n", "what\n\ny\nNO\n"] {
        bench.refuses(|place| on_a_terminal(place, answers, "keywheel ca rekey svc.crt svc.key"), 1, kept);
        assert!(!exists(bench.place(), ".svc.key.keywheel"), "a journal was left");
    }
}

#[test]
fn answering_yes_to_both_questions_replaces_both_files() {
    let mut bench = Bench::start();
    for answers in ["y\ny\n", "YES\nyes\n"] {
        let before = public_key(bench.place(), "svc.crt");
        let done = on_a_terminal(bench.place(), answers, "keywheel ca rekey svc.crt svc.key");
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("? Would you like to overwrite svc.crt [y/n]:"), "{}", done.stderr);
        assert!(done.stderr.contains("? Would you like to overwrite svc.key [y/n]:"), "{}", done.stderr);
        assert_ne!(before, public_key(bench.place(), "svc.crt"));
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
    assert_eq!(bench.issued(), 2);
}

#[test]
fn a_terminal_that_hangs_up_means_no() {
    let mut bench = Bench::start();
    bench.refuses(|place| on_a_terminal(place, "", "keywheel ca rekey svc.crt svc.key"), 1, "nothing was changed");
}

#[test]
fn what_does_not_exist_yet_is_not_asked_about() {
    let bench = Bench::start();
    let before = pair(bench.place());
    let words = ["ca", "rekey", "--out-cert", "new.crt", "--out-key", "new.key", "svc.crt", "svc.key"];
    bench.place().keywheel(&words).ok();
    belong_together(bench.place(), "new.crt", "new.key");
    assert_eq!(before, pair(bench.place()));
}

#[test]
fn nothing_is_asked_where_nothing_is_due() {
    let mut bench = Bench::start();
    let run = |place: &Place| place.keywheel(&["ca", "rekey", "--expires-in", "1h", "svc.crt", "svc.key"]);
    let done = run(bench.place()).ok();
    assert!(done.stderr.starts_with("certificate not rekeyed: expires in 2"), "{}", done.stderr);
    assert_eq!(bench.asked(), 0);
}

#[test]
fn a_daemon_never_asks() {
    let bench = Bench::start();
    let mut daemon = crate::bench::daemon(bench.place(), &["--rekey-period", "1s"]);
    daemon.wait_for("certificate rekeyed");
    crate::bench::stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn the_password_of_a_key_is_asked_for_on_a_terminal() {
    let bench = Bench::start();
    let place = bench.place();
    let words = ["pkcs8", "-topk8", "-in", "svc.key", "-out", "enc.key", "-passout", "file:password"];
    place.run("openssl", &words).ok();
    // Typed only when the question is there: what was typed before it does not count as a secret.
    let script = "mkfifo keys
        script -qec 'keywheel ca rekey --force svc.crt enc.key' /dev/null <keys >screen &
        exec 3>keys
        for i in $(seq 200); do grep -q 'password of enc.key' screen && break; sleep 0.05; done
        sleep 0.3; cat password >&3; echo >&3; wait $!";
    let mut done = place.run("bash", &["-c", script]);
    done.stderr += &place.read("screen");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!done.stderr.contains("battery"), "the password was shown: {}", done.stderr);
    assert!(place.read("enc.key").contains("ENCRYPTED"));
    belong_together(place, "svc.crt", "enc.key");
}
