//! A clock that is turned while the agent waits (libfaketime): nothing is missed, and nothing storms.

use std::process::Command;
use std::time::Duration;

use keywheel_tests::peer;
use keywheel_tests::place::keywheel;

use crate::site::{Site, stop};

#[test]
fn a_clock_that_is_turned_ahead_and_back_replaces_each_pair_once_and_no_more() {
    let Some(library) = peer::faketime() else { return };
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
