//! A clock that is wrong or is set while the daemon waits, by libfaketime (the Debian package faketime).

use std::process::Command;
use std::time::Duration;

use keywheel_tests::place::{Place, keywheel};

use crate::bench::{Bench, belong_together, daemon_with, stop};

/// The library that turns the clock, or `None` after saying aloud what is skipped.
fn faketime() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found =
        folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    if found.is_none() {
        let required = std::env::var_os("KEYWHEEL_REQUIRE_PEERS").is_some();
        assert!(!required, "faketime is not installed; `cargo xtask prepare` installs it");
        eprintln!("SKIPPED: faketime is not installed, so no clock is turned; `cargo xtask prepare` installs it");
    }
    found.map(|library| library.display().to_string())
}

/// `keywheel` in a world whose clock is off by what stands in the file `clock`, such as `+16h`; sleeping is not affected.
fn in_another_time(place: &Place, library: &str, off: &str) -> Command {
    place.write("clock", off);
    let mut command = place.command(keywheel());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", place.file("clock"))
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

#[test]
fn d12_with_a_clock_that_runs_ahead_the_daemon_rekeys_once_and_then_waits() {
    let Some(library) = faketime() else { return };
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
    let Some(library) = faketime() else { return };
    let bench = Bench::start();
    let mut daemon = daemon_with(in_another_time(bench.place(), &library, "+0"), &[]);
    daemon.wait_for("first rekey in 1");
    // As after a suspend: the time of the wall has gone on, the time of the timer has not.
    bench.place().write("clock", "+17h");
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    belong_together(bench.place(), "svc.crt", "svc.key");
}
