//! A home that the reference made, served by our CA.

use keywheel_tests::ca::Background;
use keywheel_tests::place::keywheel;
use keywheel_tests::step_ca::StepCa;

use crate::judges::{openssl_verifies, pair_matches};

#[test]
fn a_foreign_home_whose_database_we_cannot_read_is_refused_until_that_is_allowed() {
    let Some((place, _)) = StepCa::initialise() else { return };
    place.keywheel(&["ca", "serve", "--password-file", "password"]).fails(2, "--fresh-database");
    let mut command = place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password", "--fresh-database"]);
    let mut server = Background::start(command);
    server.wait_for("listening");
    // The reference's own client, the reference's own files, our CA.
    let Some(step) = keywheel_tests::peer::step() else { return };
    place
        .run(&step, &["ca", "certificate", "a.local", "a.crt", "a.key", "--provisioner-password-file", "password"])
        .ok();
    place.run(&step, &["ca", "rekey", "--force", "a.crt", "a.key"]).ok();
    openssl_verifies(&place, "a.crt");
    pair_matches(&place, "a.crt", "a.key");
    drop(server);
    // From now on it is ours, and the flag is not needed again.
    let mut command = place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password"]);
    Background::start(command).wait_for("listening");
}

#[test]
fn a_certificate_of_a_real_step_ca_is_rekeyed_by_our_ca_that_took_its_home_over() {
    let Some(mut ca) = StepCa::start() else { return };
    ca.place
        .keywheel(&["ca", "certificate", "a.local", "a.crt", "a.key", "--provisioner-password-file", "password"])
        .ok();
    ca.server.signal("TERM");
    ca.server.wait();
    let mut command = ca.place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password", "--fresh-database"]);
    let mut server = Background::start(command);
    server.wait_for("listening");
    ca.place.keywheel(&["ca", "rekey", "--force", "a.crt", "a.key"]).ok();
    openssl_verifies(&ca.place, "a.crt");
    pair_matches(&ca.place, "a.crt", "a.key");
}
