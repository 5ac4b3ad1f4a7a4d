//! The agent as a service: ready, alive, reloading, its metrics, its socket, and the units of the package.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::place::{keywheel, repository};

use crate::site::{Site, metrics_address, stop};

/// What the service manager is told next.
fn told(socket: &UnixDatagram) -> String {
    let mut told = [0; 1024];
    let length = socket.recv(&mut told).expect("the service manager is told");
    String::from_utf8_lossy(&told[..length]).into_owned()
}

#[test]
fn the_service_manager_hears_that_it_is_ready_alive_reloading_and_stopping() {
    let site = Site::with(&["a"]);
    let place = site.place();
    let socket = UnixDatagram::bind(place.file("notify")).expect("a socket can be made");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    let mut command = place.command(keywheel());
    command.env("NOTIFY_SOCKET", place.file("notify")).env("WATCHDOG_USEC", "400000");
    let mut agent = site.agent_with(command);
    let until = |wanted: &str| {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|last: &String| last.contains(wanted)) {
            heard.push(told(&socket));
        }
        heard
    };
    until("READY=1");
    until("STATUS=keeping 1 certificate");
    for _ in 0..5 {
        until("WATCHDOG=1");
    }
    agent.signal("HUP");
    assert!(until("RELOADING=1").last().is_some_and(|last| last.contains("MONOTONIC_USEC=")));
    until("READY=1");
    agent.signal("TERM");
    until("STOPPING=1");
    assert_eq!(agent.wait(), 0);
}

#[test]
fn without_a_watchdog_nobody_is_told_that_it_lives() {
    let site = Site::with(&["a"]);
    let place = site.place();
    let socket = UnixDatagram::bind(place.file("notify")).expect("a socket can be made");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    let mut command = place.command(keywheel());
    // The watchdog of another process.
    command.env("NOTIFY_SOCKET", place.file("notify")).env("WATCHDOG_USEC", "200000").env("WATCHDOG_PID", "1");
    let mut agent = site.agent_with(command);
    std::thread::sleep(Duration::from_secs(1));
    stop(&mut agent);
    loop {
        let told = told(&socket);
        assert!(!told.contains("WATCHDOG"), "{told}");
        if told.contains("STOPPING=1") {
            break;
        }
    }
}

#[test]
fn its_metrics_are_those_that_prometheus_reads() {
    let site = Site::with(&["a", "b"]);
    let address = metrics_address();
    site.settings(&format!("metrics-address = \"{address}\"\n"));
    let mut agent = site.agent();
    assert_eq!(site.rekey("a"), 0);
    let mut connection = TcpStream::connect(&address).expect("it listens");
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for line in [
        "# TYPE keywheel_agent_certificates gauge",
        "keywheel_agent_certificates{state=\"waiting\"} 2",
        "keywheel_agent_rekeys_total 1",
        "keywheel_agent_failures_total 0",
        "keywheel_agent_earliest_not_after_seconds 1",
    ] {
        assert!(answer.contains(line), "there is no {line} in:\n{answer}");
    }
    stop(&mut agent);
}

#[test]
fn its_socket_is_its_owners_and_only_one_agent_has_it() {
    let site = Site::with(&["a"]);
    let mut agent = site.agent();
    let mode = site.place().file("agent.sock").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = site.place().keywheel(&["agent", "--config", "agent.d"]);
    second.fails(1, "another agent answers there");
    // What a killed agent leaves is taken over.
    agent.signal("KILL");
    agent.wait();
    let mut next = site.agent();
    let table = site.place().keywheel(&["agent", "status", "--socket", "agent.sock"]).ok().stdout;
    assert!(table.starts_with("NAME  STATE    NOT AFTER"), "{table}");
    stop(&mut next);
    let nobody = site.place().keywheel(&["agent", "status", "--socket", "agent.sock"]);
    nobody.fails(4, "no agent answers at agent.sock");
}

/// The units of the package, with the program that was built in the place of the installed one.
#[test]
fn the_units_of_the_package_are_sound_and_well_confined() {
    let analyze = std::path::Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        let required = std::env::var_os("KEYWHEEL_REQUIRE_PEERS").is_some();
        assert!(!required, "systemd-analyze is not installed; `cargo xtask prepare` installs it");
        eprintln!("SKIPPED: systemd-analyze is not installed, so the units are not judged");
        return;
    }
    let place = keywheel_tests::place::Place::new();
    for unit in ["keywheel-agent.service", "keywheel-ca.service"] {
        let text = std::fs::read_to_string(repository().join("packaging/systemd").join(unit)).expect("it is there");
        let text = text.replace("/usr/bin/keywheel", &keywheel().display().to_string());
        let file = place.write(unit, text);
        let run = |words: &[&str]| Command::new(analyze).args(words).arg(&file).output().expect("it starts");
        let verified = run(&["verify", "--man=no", "--recursive-errors=no"]);
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && said.is_empty(), "{unit}: {said}");
        let judged = run(&["security", "--offline=true", "--threshold=30"]);
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{unit}: {said}");
        println!("{}", said.lines().last().unwrap_or_default());
    }
}
