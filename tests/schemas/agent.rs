//! The agent: what its commands answer, and what it tells while it runs.

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::place::keywheel;
use serde_json::Value;

use crate::seen::Seen;

/// Every event that can be brought about in a short time, and every command.
pub fn keeps(seen: &mut Seen) {
    let ca = Ca::start();
    let place = &ca.place;
    ca.certificate("a");
    ca.certificate("b");
    let entry = |name: &str, more: &str| {
        let files = format!("name = \"{name}\"\ncertificate = \"../{name}.crt\"\nkey = \"../{name}.key\"\n");
        place.write(&format!("agent.d/{name}.toml"), format!("[[certificate]]\n{files}{more}"));
    };
    place.run("sh", &["-c", "printf '#!/bin/sh\\ntest ! -e broken\\n' >hook; chmod +x hook"]).ok();
    let hook = place.file("hook").display().to_string();
    place.write("agent.d/agent.toml", "[agent]\nrescan = \"2s\"\nsocket = \"../agent.sock\"\n");
    entry("a", &format!("exec = \"{hook}\"\n"));
    entry("b", "rekey-period = \"25h\"\n");
    let config = ["--config", "agent.d"];
    seen.result_with("agent-check", 2, place, &[&["agent", "check"], &config[..]].concat());
    entry("b", "");
    seen.result("agent-check", place, &[&["agent", "check"], &config[..]].concat());
    seen.failure(2, place, &["agent", "--config", "absent.toml"]);
    let socket = ["--socket", "agent.sock"];
    seen.failure(4, place, &[&["agent", "status"], &socket[..]].concat());

    let mut command = place.command(keywheel());
    command.args(["agent", "--json"]).args(config);
    let mut agent = Background::start(command);
    agent.wait_for("\"event\":\"loaded\"");
    let ask = |words: &[&'static str]| [&["agent"], words, &socket[..]].concat();
    seen.result("agent-status", place, &ask(&["status"]));
    seen.result("agent-status", place, &ask(&["status", "a"]));
    seen.failure(2, place, &ask(&["status", "nobody"]));
    seen.result("agent-rekey", place, &ask(&["rekey", "a"]));
    seen.failure(2, place, &ask(&["rekey", "nobody"]));
    place.write("broken", "");
    seen.result_with("agent-rekey", 7, place, &ask(&["rekey", "a"]));
    agent.wait_for("\"event\":\"hook-failed\"");
    place.keywheel(&["ca", "rekey", "--force", "b.crt", "b.key"]).ok();
    agent.wait_for("\"event\":\"files-changed\"");
    entry("b", "rekey-period = \"25h\"\n");
    agent.wait_for("\"event\":\"adjusted\"");
    entry("c", "");
    agent.wait_for("\"event\":\"unreadable\"");
    entry("b", "colour = 1\n");
    agent.wait_for("\"event\":\"config-broken\"");
    place.write("agent.d/agent.toml", "[agent]\nrescan = \"2s\"\n[defaults]\nca-url = \"https://localhost:1\"\n");
    agent.wait_for("\"event\":\"loaded\"");
    seen.failure(4, place, &ask(&["rekey", "a"]));
    agent.wait_for("\"event\":\"failed\"");
    seen.result("agent-status", place, &ask(&["status"]));
    agent.signal("TERM");
    agent.wait_for("\"event\":\"stopped\"");
    assert_eq!(agent.wait(), 0);
    for line in agent.said().lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let schema = if value.get("warning").is_some() { "warning" } else { "agent-event" };
        seen.put(schema, &format!("keywheel agent: {line}"), value);
    }
}
