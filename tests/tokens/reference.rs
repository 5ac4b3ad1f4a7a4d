//! One home, two programs: what `ca init --kms` makes is served by the real step-ca, and what is made for step-ca is served by us.

use keywheel_tests::ca::{Background, PASSWORD, free_port, serve};
use keywheel_tests::peer;
use keywheel_tests::place::Place;
use keywheel_tests::softhsm::token;

use crate::authority::init;

fn step_ca(place: &Place) -> Option<Background> {
    let mut command = place.command(peer::step_ca_with_tokens()?);
    command.args(["step/config/ca.json"]);
    let mut server = Background::start(command);
    server.wait_for("Serving HTTPS");
    Some(server)
}

#[test]
fn one_home_in_a_token_is_served_by_the_real_step_ca_and_by_us() {
    let Some(step) = peer::step() else { return };
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    init(&place, free_port(), &["--ssh", "--kms", &uri]);
    let Some(server) = step_ca(&place) else { return };
    let words = ["ca", "certificate", "svc.example", "svc.crt", "svc.key", "--provisioner", "admin"];
    place.run(&step, &[&words[..], &["--provisioner-password-file", "password"]].concat()).ok();
    place.run(&step, &["ca", "rekey", "--force", "svc.crt", "svc.key"]).ok();
    drop(server);
    let _ours = serve(&place, &[]);
    place.keywheel(&["ca", "rekey", "--force", "svc.crt", "svc.key"]).ok();
    place.run(&step, &["ca", "rekey", "--force", "svc.crt", "svc.key"]).ok();
    place.run("openssl", &["verify", "-CAfile", "step/certs/root_ca.crt", "-untrusted", "svc.crt", "svc.crt"]).ok();
}

#[test]
fn a_pin_that_stands_in_ca_json_is_taken_as_by_the_reference() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    init(&place, free_port(), &["--kms", &uri]);
    let file = place.file("pin").display().to_string();
    let text = place.read("step/config/ca.json");
    for (source, beside) in [
        ("?pin-value=824%20193".to_owned(), ""),
        ("?pin-value=824+193".to_owned(), ""),
        (String::new(), r#""pin": "824 193", "#),
        (format!("?pin-source=file:{file}"), ""),
        (format!("?pin-source=file://{file}"), ""),
    ] {
        let changed = text.replace(&format!("?pin-source={file}"), &source);
        let changed = changed.replace(r#""type": "pkcs11","#, &format!(r#"{beside}"type": "PKCS11","#));
        assert_ne!(changed, text);
        place.write("step/config/ca.json", &changed);
        let _ours = serve(&place, &[]);
        place.keywheel(&["ca", "health"]).ok();
    }
    // Where it stands nowhere, it is that of --password-file.
    place.write("step/config/ca.json", text.replace(&format!("?pin-source={file}"), ""));
    let words = ["ca", "serve", "--password-file", "pin"];
    let mut command = place.command(keywheel_tests::place::keywheel());
    command.args(words);
    let mut server = Background::start(command);
    server.wait_for("listening");
    assert_ne!(PASSWORD, keywheel_tests::softhsm::PIN);
}
