//! The commands that make and serve a CA.

use keywheel_tests::ca::{Background, free_port};
use keywheel_tests::place::{Place, keywheel};
use keywheel_tests::softhsm::token;
use serde_json::Value;

use crate::seen::Seen;

/// `ca init`, `ca serve`, `up`.
pub fn runs(seen: &mut Seen) {
    let place = Place::new();
    place.write("password", "correct horse battery staple");
    let address = format!("127.0.0.1:{}", free_port());
    let init = ["ca", "init", "--name", "Test", "--dns", "localhost", "--address", &address, "--provisioner", "admin"];
    let init = [&init[..], &["--password-file", "password"]].concat();
    seen.result("ca-init", &place, &init);
    seen.failure(2, &place, &init);
    seen.result("ca-init", &place, &[&init[..], &["--force", "--ssh", "--no-db"]].concat());
    assert!(seen.has("warning"), "--no-db is warned of");
    let mut tokens = Place::new();
    tokens.write("password", "correct horse battery staple");
    let uri = token(&mut tokens, "lab");
    seen.result("ca-init", &tokens, &[&init[..], &["--kms", &uri]].concat());

    let serve = ["ca", "serve", "--json", "--password-file", "password"];
    let mut server = start(&place, &serve);
    let line = server.wait_for("{\"address\":");
    seen.put("ca-serve", &serve.join(" "), json(&line));
    server.signal("TERM");
    assert_eq!(server.wait(), 0);
    // Only the result has no time.
    for line in server.said().lines() {
        let value = json(line);
        assert!(value.get("timestamp").is_some() || value.get("address").is_some(), "{line}");
    }
    place.write("wrong", "not the password");
    seen.failure(2, &place, &["ca", "serve", "--password-file", "wrong"]);

    let address = format!("127.0.0.1:{}", free_port());
    let up = ["up", "--json", "--home", "home", "--address", &address];
    for _first_and_second in 0..2 {
        let mut server = start(&place, &up);
        let line = server.wait_for("{\"home\":");
        seen.put("up", &up.join(" "), json(&line));
        server.signal("TERM");
        assert_eq!(server.wait(), 0);
    }
    seen.failure(2, &place, &["up"]);
}

fn start(place: &Place, words: &[&str]) -> Background {
    let mut command = place.command(keywheel());
    command.args(words);
    Background::start(command)
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
