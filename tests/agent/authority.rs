//! A CA that goes away, comes back, or wants to be left alone; and an end in the middle of a replacement.

use std::time::{Duration, Instant};

use keywheel_tests::ca::Background;
use keywheel_tests::place::keywheel;

use crate::site::{Site, stop};

#[test]
fn while_the_ca_is_away_one_alone_asks_and_when_it_is_back_all_are_replaced() {
    let names: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut site = Site::with(&names);
    site.settings("[defaults]\nrekey-period = \"2s\"\n");
    site.ca.server.signal("TERM");
    site.ca.server.wait();
    let mut agent = site.agent();
    agent.wait_for("was not reached");
    let away = site.until(|status| status["agent"]["queued"].as_u64() > Some(3));
    // Those that went off together before the first one failed; the others wait.
    assert!(away["agent"]["failed"].as_u64() <= Some(11), "{away:#}");
    let mut serve = site.place().command(keywheel());
    serve.args(["ca", "serve", "--password-file", "password"]);
    site.ca.server = Background::start(serve);
    let all = |status: &serde_json::Value| {
        status["certificates"].as_array().is_some_and(|all| all.iter().all(|one| !one["last_rekey"].is_null()))
    };
    site.until(all);
    stop(&mut agent);
    for name in names {
        site.belong_together(name);
    }
}

#[test]
fn a_pair_whose_ca_is_away_does_not_hold_back_those_of_another() {
    let site = Site::with(&["a", "b"]);
    site.entry("a", "ca-url = \"https://localhost:1\"\nrekey-period = \"1s\"\n");
    site.entry("b", "rekey-period = \"1s\"\n");
    let mut agent = site.agent();
    for _ in 0..3 {
        agent.wait_for("b: b certificate rekeyed");
    }
    let status = site.status_of("a");
    assert_eq!((status["state"].as_str(), status["last_rekey"].is_null()), (Some("failing"), true), "{status:#}");
    stop(&mut agent);
}

#[test]
fn told_to_stop_it_finishes_what_is_in_flight() {
    let site = Site::with(&["a"]);
    let place = site.place();
    place.write("slow.sh", "#!/bin/sh\n: >begun\nwhile [ ! -e go ]; do sleep 0.05; done\n: >ended\n");
    place.run("chmod", &["+x", "slow.sh"]).ok();
    site.entry("a", &format!("rekey-period = \"1s\"\nexec = \"{}\"\n", place.file("slow.sh").display()));
    let mut agent = site.agent();
    let begun = Instant::now();
    while !place.file("begun").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never began: {}", agent.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.signal("TERM");
    agent.wait_for("stopping; what is under way (1) is finished");
    assert_eq!(site.status_of("a")["state"], "rekeying");
    // What is removed while it is under way is finished as well.
    place.write("go", "");
    assert_eq!(agent.wait(), 0);
    assert!(place.file("ended").exists());
    assert!(!place.file("agent.sock").exists());
    site.belong_together("a");
}

#[test]
fn an_entry_that_is_removed_while_it_is_replaced_is_finished_and_then_forgotten() {
    let site = Site::with(&["a", "b"]);
    let place = site.place();
    place.write("slow.sh", "#!/bin/sh\n: >begun\nwhile [ ! -e go ]; do sleep 0.05; done\n");
    place.run("chmod", &["+x", "slow.sh"]).ok();
    let before = site.public_key("a");
    site.entry("a", &format!("rekey-period = \"1s\"\nexec = \"{}\"\n", place.file("slow.sh").display()));
    let mut agent = site.agent();
    site.until(|_| place.file("begun").exists());
    std::fs::remove_file(place.file("agent.d/a.toml")).expect("it can be removed");
    agent.wait_for("1 removed");
    place.write("go", "");
    agent.wait_for("a: a certificate rekeyed");
    let status = site.status();
    assert_eq!(status["agent"]["certificates"], 1, "{status:#}");
    stop(&mut agent);
    assert_ne!(site.public_key("a"), before);
    site.belong_together("a");
}
