//! Two hundred pairs that are due in the same minute: all are replaced before their end, no faster than the CA is to be asked.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use keywheel_tests::ca::PASSWORD;
use keywheel_tests::fleet::{self, Model};

use crate::site::{Site, stop};

const COUNT: usize = 200;

#[test]
fn two_hundred_that_are_due_in_one_minute_are_spread_and_none_is_missed() {
    let site = Site::with(&["localhost"]);
    let place = site.place();
    let now = Timestamp::now();
    let model = Model {
        template: place.file("localhost.crt"),
        issuing_key: place.file("step/secrets/intermediate_ca_key"),
        password: PASSWORD.to_owned(),
        not_before: now - SignedDuration::from_secs(900),
        not_after: now + SignedDuration::from_secs(300),
    };
    fleet::make(&model, &place.file("fleet"), COUNT).expect("a fleet can be made");
    place.write(
        "fleet/agent.d/agent.toml",
        "[agent]\nsocket = \"../../agent.sock\"\nat-once = 4\nrekeys-per-second = 25\n[defaults]\njitter = \"1s\"\n",
    );
    // Less than a third of their life is left: all are due at once.
    let mut command = place.command(keywheel_tests::place::keywheel());
    command.args(["agent", "--config", "fleet/agent.d"]);
    let begun = Instant::now();
    let mut agent = keywheel_tests::ca::Background::start(command);
    agent.wait_for("keeping 200 certificates");
    let mut most = 0;
    let done = loop {
        let status = site.status();
        most = most.max(status["agent"]["under_way"].as_u64().unwrap_or_default());
        if status["agent"]["rekeyed"].as_u64() >= Some(COUNT as u64) {
            break status;
        }
        assert!(begun.elapsed().as_secs() < 280, "they would have expired:\n{:#}", status["agent"]);
    };
    assert!(most <= 4, "{most} were under way at once");
    // Twenty-five a second, and what a tenth of a second may make up for.
    assert!(begun.elapsed().as_millis() as usize >= (COUNT - 4) * 1000 / 25, "it took {:?}", begun.elapsed());
    assert_eq!((&done["agent"]["failed"], &done["agent"]["expired"]), (&0.into(), &0.into()));
    for one in done["certificates"].as_array().expect("a list") {
        assert!(!one["last_rekey"].is_null(), "{one:#}");
    }
    stop(&mut agent);
}
