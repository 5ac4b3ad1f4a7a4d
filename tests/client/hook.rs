//! What happens after a rekey: the signal, then the command, what it is told, and what its failure means.

use std::time::{Duration, Instant};

use keywheel_tests::ca::Background;
use keywheel_tests::place::Place;

use crate::bench::{Bench, belong_together, public_key, rekey, serial};

/// A process that says which of these signals it got.
fn listener(place: &Place) -> Background {
    let mut command = place.command("bash");
    command.args(["-c", "trap 'echo hangup' HUP; trap 'echo user1' USR1; echo ready; while :; do sleep 0.05; done"]);
    let mut process = Background::start(command);
    process.wait_for("ready");
    process
}

#[test]
fn a_process_is_signalled_with_sighup_or_the_signal_that_was_chosen() {
    let bench = Bench::start();
    let mut service = listener(bench.place());
    let pid = service.id().to_string();
    bench.rekey(&["--pid", &pid]).ok();
    service.wait_for("hangup");
    bench.rekey(&["--pid", &pid, "--signal", "10"]).ok();
    service.wait_for("user1");
    bench.place().write("service.pid", format!(" {pid} \n"));
    bench.rekey(&["--pid-file", "service.pid"]).ok();
    service.wait_for("hangup");
}

#[test]
fn a_process_that_is_not_there_is_noticed_before_anything_is_asked() {
    let mut bench = Bench::start();
    let gone = {
        let mut process = listener(bench.place());
        process.signal("KILL");
        process.wait();
        process.id().to_string()
    };
    bench.refuses(|place| rekey(place, &["--pid", &gone]), 2, "the hook cannot work, nothing was changed");
    bench.place().write("service.pid", &gone);
    bench.refuses(|place| rekey(place, &["--pid-file", "service.pid"]), 2, "nothing was changed");
}

#[test]
fn the_signal_comes_before_the_command_and_nothing_comes_where_nothing_was_done() {
    let bench = Bench::start();
    let service = listener(bench.place());
    let pid = service.id().to_string();
    bench.rekey(&["--pid", &pid, "--exec", "touch executed", "--expires-in", "1h"]).ok();
    assert!(!bench.place().file("executed").exists(), "the hook ran although nothing was rekeyed");
    bench.rekey(&["--pid", &pid, "--exec", "touch executed"]).ok();
    assert!(bench.place().file("executed").exists());
}

#[test]
fn the_command_is_told_what_changed_and_what_it_prints_is_seen() {
    let bench = Bench::start();
    let place = bench.place();
    let old = serial(place, "svc.crt");
    let script = r#"#!/bin/sh
        echo "to be seen"
        env | grep ^KEYWHEEL_ | sort >told
        openssl x509 -noout -serial -in "$KEYWHEEL_CERTIFICATE" >of-certificate
        openssl pkey -in "$KEYWHEEL_KEY" -pubout >of-key
    "#;
    place.write("hook.sh", script);
    place.run("chmod", &["+x", "hook.sh"]).ok();
    let done = bench.rekey(&["--exec", "./hook.sh"]).ok();
    assert!(done.stdout.contains("to be seen"), "{}", done.stdout);
    let told = place.read("told");
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is not told: {told}")).to_owned()
    };
    let inspected = place.keywheel(&["certificate", "inspect", "--format", "json", "svc.crt"]).ok().stdout;
    assert!(inspected.contains(&value("KEYWHEEL_SERIAL")));
    assert_ne!(value("KEYWHEEL_SERIAL"), value("KEYWHEEL_OLD_SERIAL"));
    let fingerprint = place.keywheel(&["certificate", "fingerprint", "svc.crt"]).ok().stdout;
    assert_eq!(value("KEYWHEEL_FINGERPRINT"), fingerprint.trim());
    assert!(value("KEYWHEEL_NOT_AFTER").ends_with('Z'));
    // The command found the new pair, complete.
    assert_eq!(place.read("of-certificate").trim(), serial(place, "svc.crt"));
    assert_ne!(old, serial(place, "svc.crt"));
    assert_eq!(place.read("of-key"), public_key(place, "svc.crt"));
    // With --json the standard output is ours alone.
    let done = bench.rekey(&["--json", "--exec", "./hook.sh"]).ok();
    assert!(serde_json::from_str::<serde_json::Value>(&done.stdout).is_ok(), "{}", done.stdout);
}

#[test]
fn a_command_that_fails_is_exit_code_7_and_the_new_pair_stays() {
    let bench = Bench::start();
    for (command, why) in [
        ("sh -c 'exit 7'", "failed with exit status: 7"),
        ("sh -c 'exit 1'", "failed with exit status: 1"),
        ("sh -c 'kill -9 $$'", "failed with signal: 9"),
    ] {
        let before = public_key(bench.place(), "svc.crt");
        let done = bench.rekey(&["--exec", command]);
        let done = done.fails(7, "the new certificate and key are in place, but the hook failed");
        assert!(done.stderr.contains(why), "{command}: {}", done.stderr);
        assert_ne!(before, public_key(bench.place(), "svc.crt"));
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    let bench = Bench::start();
    let begun = Instant::now();
    let command = "sh -c 'echo $$ >group; sleep 60 & sleep 60'";
    bench.rekey(&["--exec", command, "--exec-timeout", "1s"]).fails(7, "was ended because it took longer than 1 s");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let group = bench.place().read("group").trim().to_owned();
    assert_eq!(running_in(&group), Vec::<String>::new(), "its children are still running");
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn a_command_that_cannot_be_run_is_noticed_before_anything_is_asked() {
    let mut bench = Bench::start();
    bench.place().write("not-executable", "#!/bin/sh\n");
    for command in ["no-such-program --now", "./not-executable", "sh -c 'unclosed", "/"] {
        bench.refuses(|place| rekey(place, &["--exec", command]), 2, "nothing was changed");
        bench.refuses(|place| rekey(place, &["--daemon", "--exec", command]), 2, "nothing was changed");
    }
    bench.refuses(|place| rekey(place, &["--exec", "true", "--exec-timeout", "0"]), 2, "invalid value '0'");
}

/// The processes of a group that still live: a dead one may wait for its adopted parent to collect it.
fn running_in(group: &str) -> Vec<String> {
    let mut running = Vec::new();
    for process in std::fs::read_dir("/proc").expect("this is Linux").flatten() {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        // pid (name) state parent group …
        let mut after_name = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, of_group) = (after_name.next(), after_name.nth(1));
        if of_group == Some(group) && state != Some("Z") {
            running.push(stat);
        }
    }
    running
}
