//! A clock that is wrong or is set while the daemon waits, by libfaketime (the Debian package faketime).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::peer;
use keywheel_tests::place::{Place, keywheel};
use keywheel_tests::report;
use serde_json::json;

use crate::bench::{Bench, belong_together, daemon_with, stop};

/// `keywheel` in a world whose clock is off by what stands in the file `clock`, such as `+16h`; sleeping is not affected.
fn in_another_time(place: &Place, library: &Path, off: &str) -> Command {
    by_the_clock(place, library, "clock", off)
}

/// The same with a clock of this name.
fn by_the_clock(place: &Place, library: &Path, clock: &str, off: &str) -> Command {
    place.write(clock, off);
    let mut command = place.command(keywheel());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", place.file(clock))
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

#[test]
fn d12_with_a_clock_that_runs_ahead_the_daemon_rekeys_once_and_then_waits() {
    let Some(library) = peer::faketime() else { return };
    let mut bench = Bench::start();
    // On this clock every certificate of the authority is due as soon as it is issued.
    let mut daemon = daemon_with(in_another_time(bench.place(), &library, "+16.5h"), &[]);
    let line = daemon.wait_for("certificate rekeyed, next in");
    assert!(
        line.contains("next in 1h"),
        "a twentieth of the certificate's life lies between two rekeys, or an hour: {line}"
    );
    std::thread::sleep(Duration::from_secs(2));
    stop(&mut daemon);
    assert_eq!(bench.asked(), 1);
}

#[test]
fn a_clock_that_jumps_ahead_while_the_daemon_waits_is_noticed() {
    let Some(library) = peer::faketime() else { return };
    let bench = Bench::start();
    let mut daemon = daemon_with(in_another_time(bench.place(), &library, "+0"), &[]);
    daemon.wait_for("first rekey in 1");
    // As after a suspend: the time of the wall has gone on, the time of the timer has not.
    bench.place().write("clock", "+17h");
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
}

/// How far the clock is turned while the daemon waits; one daemon for each.
const TURNS: [&str; 4] = ["+2h", "+10y", "-3h", "-10y"];

/// The clock is looked at every half a minute, so that each turn has been noticed after this long.
const NOTICED: Duration = Duration::from_secs(33);

/// As many tries as fit between two looks: the back-off begins with 5 to 10 seconds and doubles.
const TRIES: usize = 4;

#[test]
fn a_clock_that_is_turned_and_turned_back_makes_no_storm_and_no_rekey_is_missed() {
    let Some(library) = peer::faketime() else { return };
    let mut bench = Bench::empty();
    let place = bench.place();
    let mut daemons: Vec<_> = TURNS
        .iter()
        .map(|turn| {
            let (certificate, key) = (format!("clock{turn}/svc.crt"), format!("clock{turn}/svc.key"));
            std::fs::create_dir(place.file(&format!("clock{turn}"))).expect("the folder can be made");
            let words = ["ca", "certificate", "svc.local", &certificate, &key];
            place.keywheel(&[&words[..], &["--provisioner-password-file", "password"]].concat()).ok();
            let mut command = by_the_clock(place, &library, &format!("clock{turn}/clock"), "+0");
            command.current_dir(place.file(&format!("clock{turn}")));
            daemon_with(command, &[])
        })
        .collect();
    for daemon in &mut daemons {
        daemon.wait_for("first rekey in 1");
    }
    let turn_all = |to: fn(&str) -> &str| {
        for turn in TURNS {
            place.write(&format!("clock{turn}/clock"), to(turn));
        }
    };
    let tries = |said: &str| said.lines().filter(|line| line.contains("trying again in")).count();

    // That nothing happens cannot be awaited: every daemon gets the time to notice, and a little more.
    turn_all(|turn| turn);
    std::thread::sleep(NOTICED);
    for (turn, daemon) in TURNS.iter().zip(&mut daemons) {
        let said = daemon.said();
        // Ten years ahead even the certificate of the authority has expired: it is tried, and does not succeed.
        let most = if *turn == "+10y" { TRIES } else { 0 };
        assert!(tries(&said) <= most, "{turn}: {said}");
        assert!(!said.contains("certificate rekeyed"), "{turn}: {said}");
    }
    turn_all(|_| "+0");
    std::thread::sleep(NOTICED);
    let mut rows = Vec::new();
    for (turn, daemon) in TURNS.iter().zip(&mut daemons) {
        let said = daemon.said();
        // What had expired by the wrong clock is rekeyed once, though it would have had time.
        let most = usize::from(*turn == "+10y");
        let early = said.matches("certificate rekeyed").count();
        assert!(early <= most, "{turn}: {said}");
        assert!(tries(&said) <= 2 * TRIES, "{turn}: {said}");
        rows.push(json!({
            "turned by": turn,
            "and back after": format!("{} s", NOTICED.as_secs()),
            "tries that failed": tries(&said),
            "rekeys before it was due": early,
            "rekeys when it was due": 1,
        }));
    }

    // Sixteen and a half hours later by every clock each is due.
    let before: Vec<_> = TURNS.iter().map(|turn| place.read(&format!("clock{turn}/svc.crt"))).collect();
    turn_all(|_| "+16.5h");
    for ((turn, daemon), before) in TURNS.iter().zip(&mut daemons).zip(&before) {
        daemon.wait_for("certificate rekeyed, next in");
        assert_ne!(&place.read(&format!("clock{turn}/svc.crt")), before, "{turn}");
        belong_together(place, &format!("clock{turn}/svc.crt"), &format!("clock{turn}/svc.key"));
    }
    daemons.iter_mut().for_each(stop);
    // One rekey for each that was due, and one more for the clock that had run ahead of everything.
    let asked = bench.asked();
    assert!((TURNS.len()..=TURNS.len() + 1).contains(&asked), "the authority was asked {asked} times");
    report::record("clock", &json!(rows));
}
