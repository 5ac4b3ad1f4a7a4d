//! What goes wrong with tokens: wrong PINs, missing modules and tokens, keys that are taken, tokens that go away and come back.

use keywheel_tests::ca::{PASSWORD, free_port, serve};
use keywheel_tests::place::{Done, Place};
use keywheel_tests::softhsm::{MODULE, token};

use crate::authority::{ca, init};

/// Tries to serve, which fails.
fn serve_fails(place: &Place, says: &str) {
    place.keywheel(&["ca", "serve", "--password-file", "empty"]).fails(2, says);
}

#[test]
fn each_thing_that_is_wrong_is_named_and_nothing_is_changed() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    place.write("password", PASSWORD);
    let init = |uri: &str| -> Done {
        let words = ["ca", "init", "--name", "Lab", "--dns", "localhost", "--address", "127.0.0.1:0"];
        let more = ["--provisioner", "admin", "--password-file", "password", "--kms", uri];
        place.keywheel(&[&words[..], &more].concat())
    };
    let pin = place.file("pin").display().to_string();
    place.write("wrong", "12345678\n");
    init(&uri.replace(&pin, "wrong")).fails(2, "the PIN does not open the token 'lab'; it was tried once only");
    init(&uri.replace(&pin, "nowhere")).fails(2, "the file nowhere with the PIN of the token could not be read");
    init(&uri.replace(&format!("?pin-source={pin}"), "")).fails(2, "the token 'lab' wants its PIN");
    init(&uri.replace("token=lab", "token=other"))
        .fails(2, "shows no token with token=other; it shows 'lab' with serial=");
    init(&uri.replace("token=lab;", "").replace("token=lab", "")).fails(2, "does not say which token is meant");
    init(&uri.replace(MODULE, "/nowhere.so")).fails(2, "the PKCS#11 module /nowhere.so could not be loaded");
    init(&uri.replace(MODULE, "libc.so.6")).fails(2, "it is no PKCS#11 module");
    init("azurekms:name=x").fails(2, "does not begin with 'pkcs11:'");
    init(&format!("{uri}&pin-value=12345678")).fails(2, "it has both pin-value and pin-source");
    assert!(!place.file("step/config").exists() && !place.file("step/secrets").exists());
    init(&uri).ok();
}

#[test]
fn a_ca_with_a_wrong_pin_or_without_its_token_does_not_start_and_says_why() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    init(&place, free_port(), &["--kms", &uri]);
    place.write("empty", "\n");
    let right = place.read("pin");
    place.write("pin", "12345678\n");
    serve_fails(&place, "the PIN does not open the token 'lab'");
    place.write("pin", "");
    serve_fails(&place, "with the PIN of the token could not be read");
    place.write("pin", right);
    std::fs::rename(place.file("tokens"), place.file("away")).expect("the token can be taken away");
    std::fs::create_dir(place.file("tokens")).expect("an empty folder");
    serve_fails(&place, "shows no token with token=lab; it shows none at all");
    std::fs::remove_dir(place.file("tokens")).expect("the empty folder goes");
    std::fs::rename(place.file("away"), place.file("tokens")).expect("the token comes back");
    let text = place.read("step/config/ca.json");
    place.write("step/config/ca.json", text.replace("id=7331", "id=7339"));
    serve_fails(&place, "the token 'lab' holds no private key with id=7339 and object=intermediate-key");
    place.write("step/config/ca.json", text.replace("id=7331;object=intermediate-key", "id=7330;object=root-key"));
    serve_fails(&place, "it is not the key of the certificate");
    place.write("step/config/ca.json", text.replace("pkcs11:id=7331;object=intermediate-key", "/some/file"));
    serve_fails(&place, "key: expected the PKCS#11 URI of a key");
    place.write("step/config/ca.json", &text);
    serve(&place, &[]);
}

#[test]
fn names_that_are_taken_are_never_used_again() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    init(&place, free_port(), &["--kms", &uri]);
    let before = place.read("step/config/ca.json");
    let words = ["ca", "init", "--force", "--name", "Lab", "--dns", "localhost", "--address", "127.0.0.1:0"];
    let more = ["--provisioner", "admin", "--password-file", "password", "--kms", &uri];
    let again = |names: &[&str]| place.keywheel(&[&words[..], &more, names].concat());
    again(&[]).fails(2, "the token 'lab' already holds something with id=7330; nothing was made");
    let root = ["--kms-root", "pkcs11:id=01;object=new-root"];
    // The first key is made, the second is not: then the first is deleted again.
    again(&root).fails(2, "already holds something with id=7331");
    again(&[&root[..], &["--kms-intermediate", "pkcs11:id=01;object=new"]].concat()).fails(2, "need different ids");
    again(&["--kms-root", "pkcs11:id=01"]).fails(2, "--kms-root needs both an id and an object");
    again(&["--kms-root", "pkcs11:token=other;id=01;object=x"]).fails(2, "--kms-root does not fit --kms");
    assert_eq!(place.read("step/config/ca.json"), before);
    again(&[&root[..], &["--kms-intermediate", "pkcs11:id=02;object=new"]].concat()).ok();
    serve(&place, &[]);
}

#[test]
fn a_home_that_cannot_be_written_leaves_nothing_in_the_token() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    place.write("password", PASSWORD);
    // Where the folder for ca.json should be is a file.
    place.write("step/config", "");
    let words = ["ca", "init", "--name", "Lab", "--dns", "localhost", "--address", "127.0.0.1:0"];
    let more = ["--provisioner", "admin", "--password-file", "password", "--kms", &uri];
    place.keywheel(&[&words[..], &more].concat()).fails(1, "the home is incomplete");
    std::fs::remove_file(place.file("step/config")).expect("the file can be removed");
    place.keywheel(&[&words[..], &more].concat()).ok();
    serve(&place, &[]);
}

#[test]
fn while_the_token_is_away_clients_are_told_to_try_again_and_then_are_served_without_a_restart() {
    let ca = ca(&[]);
    let (certificate, key) = ca.certificate("svc.example");
    let before = (ca.place.read(&certificate), ca.place.read(&key));
    std::fs::rename(ca.place.file("tokens"), ca.place.file("away")).expect("the token can be taken away");
    std::fs::create_dir(ca.place.file("tokens")).expect("an empty folder");
    let refused = ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]);
    refused.fails(4, "");
    assert_eq!((ca.place.read(&certificate), ca.place.read(&key)), before, "the old pair stays");
    ca.place.keywheel(&["ca", "health"]).ok();
    ca.place.keywheel(&["ca", "roots"]).ok();
    std::fs::remove_dir(ca.place.file("tokens")).expect("the empty folder goes");
    std::fs::rename(ca.place.file("away"), ca.place.file("tokens")).expect("the token comes back");
    ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
}

#[test]
fn a_reload_with_another_pin_is_refused_and_the_ca_goes_on_with_its_own() {
    let mut ca = ca(&[]);
    let right = ca.place.read("pin");
    // Once it answers it heeds signals.
    let (certificate, key) = ca.certificate("svc.example");
    ca.place.write("pin", "12345678\n");
    ca.server.signal("HUP");
    ca.server.wait_for("the token 'lab' is open in this process with another PIN");
    ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
    ca.place.write("pin", right);
    ca.server.signal("HUP");
    ca.server.wait_for("read again");
    ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
}
