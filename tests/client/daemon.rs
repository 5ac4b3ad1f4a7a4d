//! The daemon: signals, files that change under it, an authority that is away, and that it never spins.

use std::time::{Duration, Instant};

use crate::bench::{Bench, belong_together, daemon, daemon_with, pair, public_key, serial, stop};

#[test]
fn sighup_rekeys_now_with_a_new_key_each_time() {
    let bench = Bench::start();
    let mut daemon = daemon(bench.place(), &[]);
    // Two thirds of a day, less a twentieth by chance.
    let first = daemon.wait_for("first rekey in");
    assert!(first.contains("in 14h") || first.contains("in 15h") || first.contains("in 16h"), "{first}");
    let mut keys = vec![public_key(bench.place(), "svc.crt")];
    for _ in 0..3 {
        daemon.signal("HUP");
        let line = daemon.wait_for("svc.local certificate rekeyed, next in ");
        assert!(line.starts_with("INFO: 2"), "{line}");
        keys.push(public_key(bench.place(), "svc.crt"));
        belong_together(bench.place(), "svc.crt", "svc.key");
    }
    stop(&mut daemon);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "a rekey kept the key");
}

#[test]
fn a_service_manager_or_ctrl_c_ends_it_promptly_with_exit_code_0() {
    let bench = Bench::start();
    for signal in ["TERM", "INT"] {
        let mut daemon = daemon(bench.place(), &[]);
        daemon.wait_for("first rekey in");
        let begun = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.wait(), 0, "{}", daemon.said());
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?} to end", begun.elapsed());
    }
}

#[test]
fn it_ends_while_the_authority_is_away() {
    let mut bench = Bench::start();
    bench.away();
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1s"]);
    daemon.wait_for("trying again in");
    stop(&mut daemon);
}

#[test]
fn expires_in_and_rekey_period_set_the_time_of_the_first_rekey() {
    let bench = Bench::start();
    for (flags, hours) in [
        (["--expires-in", "8h30m"], &["14h", "15h"][..]),
        (["--rekey-period", "16h"], &["16h0m0s", "15h59m"]),
        (["--expires-in", "20h"], &["2h", "3h", "4h"]),
    ] {
        let mut daemon = daemon(bench.place(), &flags);
        let line = daemon.wait_for("first rekey in");
        assert!(hours.iter().any(|hours| line.contains(&format!("in {hours}"))), "{flags:?}: {line}");
        stop(&mut daemon);
    }
}

#[test]
fn it_takes_up_a_pair_that_something_else_put_there() {
    let bench = Bench::start();
    bench.place().write("told.sh", "#!/bin/sh\nprintf '%s' \"$KEYWHEEL_OLD_SERIAL\" >old-serial\n");
    bench.place().run("chmod", &["+x", "told.sh"]).ok();
    let mut daemon = daemon(bench.place(), &["--exec", "./told.sh"]);
    daemon.wait_for("first rekey in");
    // The pair in the daemon's memory would be worth nothing after this: it is superseded.
    bench.rekey(&[]).ok();
    let json = bench.place().keywheel(&["certificate", "inspect", "--format", "json", "svc.crt"]).ok().stdout;
    daemon.signal("HUP");
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    let old = bench.place().read("old-serial");
    assert!(json.contains(&old), "the daemon replaced {old}, not what was on disk:\n{json}");
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn it_notices_by_itself_that_something_else_replaced_the_files() {
    let bench = Bench::start();
    let mut daemon = daemon(bench.place(), &["--rekey-period", "5s"]);
    daemon.wait_for("first rekey in 5s");
    bench.issue(&[]);
    let line = daemon.wait_for("something else replaced the files");
    assert!(line.contains("INFO"), "{line}");
    daemon.wait_for("next rekey in 5s");
    stop(&mut daemon);
}

#[test]
fn it_backs_off_while_the_authority_is_away_and_recovers_when_it_is_back() {
    let mut bench = Bench::short_lived("16s", &["--allow-renewal-after-expiry"]);
    bench.away();
    let before = pair(bench.place());
    let begun = Instant::now();
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1s"]);
    for _ in 0..2 {
        daemon.wait_for("was not reached");
    }
    // Half of a quarter of what remains, at least.
    assert!(begun.elapsed() > Duration::from_millis(1900), "it tried again after {:?}", begun.elapsed());
    assert_eq!(before, pair(bench.place()), "a failed rekey changed the files");
    bench.back();
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn a_refusal_is_tried_again_with_pauses_and_never_in_a_loop() {
    let mut bench = Bench::start();
    bench.claims(&["--disable-renewal"]);
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1s"]);
    let line = daemon.wait_for("the certificate authority refused");
    assert!(line.starts_with("ERROR: ") && line.contains("trying again in"), "{line}");
    std::thread::sleep(Duration::from_secs(3));
    stop(&mut daemon);
    assert_eq!(bench.asked(), 1, "the first pause is five seconds at least");
}

#[test]
fn out_files_are_written_and_what_was_written_is_replaced_next() {
    let bench = Bench::start();
    let before = pair(bench.place());
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1s", "--out-cert", "out.crt", "--out-key", "out.key"]);
    daemon.wait_for("certificate rekeyed");
    let first = serial(bench.place(), "out.crt");
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    assert_ne!(first, serial(bench.place(), "out.crt"));
    assert_eq!(before, pair(bench.place()));
    belong_together(bench.place(), "out.crt", "out.key");
}

#[test]
fn a_failing_hook_is_told_and_does_not_end_it() {
    let bench = Bench::start();
    let mut daemon = daemon(bench.place(), &["--rekey-period", "1s", "--exec", "sh -c 'exit 7'"]);
    for _ in 0..2 {
        let line = daemon.wait_for("the hook failed");
        assert!(line.starts_with("ERROR: "), "{line}");
    }
    stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn its_events_are_lines_of_json_where_that_is_asked_for() {
    let bench = Bench::start();
    let mut daemon = daemon(bench.place(), &["--json", "--rekey-period", "1s"]);
    let line = daemon.wait_for("\"rekeyed\":true");
    let told: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(told["event"], "rekeyed");
    stop(&mut daemon);
}

#[test]
fn it_tells_systemd_when_it_is_ready() {
    let bench = Bench::start();
    let path = bench.place().file("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket can be made");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
    let mut command = bench.place().command(keywheel_tests::place::keywheel());
    command.env("NOTIFY_SOCKET", &path);
    let mut daemon = daemon_with(command, &[]);
    let mut told = [0; 512];
    let length = socket.recv(&mut told).expect("systemd is told");
    assert!(String::from_utf8_lossy(&told[..length]).contains("READY=1"));
    stop(&mut daemon);
}
