//! Ctrl-C at a question: nothing was changed, nothing is left behind, and the terminal is as it was.

use crate::bench::{Bench, belong_together, pair};

/// Runs a command line on a terminal, presses Ctrl-C when this question is on the screen; gives back what the screen shows.
fn interrupted(bench: &Bench, line: &str, question: &str) -> String {
    let place = bench.place();
    place.write("line", format!("{line}; echo \"code $?\"; stty -a\n"));
    // What a shell starts in the background would pass SIGINT over.
    let script = format!(
        "rm -f keys; mkfifo keys
        env --default-signal=INT script -qec 'bash line' /dev/null <keys >screen &
        exec 3>keys
        for i in $(seq 200); do grep -q '{question}' screen && break; sleep 0.05; done
        sleep 0.3; printf '\\003' >&3; wait $!"
    );
    let done = place.run("bash", &["-c", &script]);
    assert_ne!(done.code, 124, "it did not end: {}", place.read("screen"));
    place.read("screen")
}

#[test]
fn ctrl_c_at_a_password_leaves_a_terminal_that_shows_what_is_typed() {
    let bench = Bench::start();
    let place = bench.place();
    let words = ["pkcs8", "-topk8", "-in", "svc.key", "-out", "enc.key", "-passout", "file:password"];
    place.run("openssl", &words).ok();
    let screen = interrupted(&bench, "keywheel ca rekey --force svc.crt enc.key", "password of enc.key");
    assert!(screen.contains("interrupted; nothing was changed"), "{screen}");
    assert!(screen.contains("code 130"), "{screen}");
    assert!(!screen.contains("-echo ") && !screen.contains("-isig"), "the terminal is not as it was: {screen}");
    assert!(screen.contains("isig"), "the modes of the terminal are not there: {screen}");
}

#[test]
fn ctrl_c_at_a_question_leaves_nothing_beside_the_files() {
    let bench = Bench::start();
    let before = pair(bench.place());
    interrupted(&bench, "keywheel ca rekey svc.crt svc.key", "overwrite svc.crt");
    assert_eq!(before, pair(bench.place()));
    let left: Vec<String> = std::fs::read_dir(bench.place().path())
        .expect("the place is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".svc"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    bench.rekey(&[]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}
