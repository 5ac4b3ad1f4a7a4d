//! A clock that is turned while the agent waits (libfaketime): nothing is missed, and nothing storms.

use std::process::Command;
use std::time::Duration;

use keywheel_tests::place::keywheel;

use crate::site::{Site, stop};

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

#[test]
fn a_clock_that_is_turned_ahead_and_back_replaces_each_pair_once_and_no_more() {
    let Some(library) = faketime() else { return };
    let site = Site::with(&["a", "b", "c"]);
    let place = site.place();
    place.write("clock", "+0");
    let mut command: Command = place.command(keywheel());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", place.file("clock"))
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut agent = site.agent_with(command);
    assert_eq!(site.status()["agent"]["rekeyed"], 0);
    place.write("clock", "+17h");
    site.until(|status| status["agent"]["rekeyed"] == 3);
    place.write("clock", "+0");
    std::thread::sleep(Duration::from_secs(4));
    let status = site.status();
    assert_eq!((&status["agent"]["rekeyed"], &status["agent"]["failed"]), (&3.into(), &0.into()), "{status:#}");
    stop(&mut agent);
    for name in ["a", "b", "c"] {
        site.belong_together(name);
    }
}
