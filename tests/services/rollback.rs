//! A service that does not use the new pair gets the old one back, and the next run installs the new one.

use std::time::{Duration, Instant};

use keywheel_tests::place::Place;

use crate::load::{fingerprint, shown};
use crate::nginx::Nginx;
use crate::rotation::{Service, ca_with};

/// The public key in a file, as OpenSSL reads it.
fn public_key(place: &Place, key: &str) -> String {
    place.run("openssl", &["pkey", "-in", key, "-pubout"]).ok().stdout
}

/// The files that the layouts of this page leave beside the pair.
fn leftovers(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path()).expect("the place can be listed");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".previous") || name.contains(".keywheel")).collect()
}

const LAYOUTS: [&[&str]; 2] = [&["svc.crt", "svc.key"], &["--layout", "generations", "svc.crt", "svc.key"]];

#[test]
fn a_service_that_keeps_the_old_certificate_gets_the_old_pair_back_and_the_next_run_uses_the_same_new_key() {
    for pair in LAYOUTS {
        let ca = ca_with("svc.crt", "svc.key");
        let place = &ca.place;
        let service = Nginx::start(place, "svc.crt", "svc.key");
        let endpoint = service.endpoint();
        let (old, old_key) = (fingerprint(place, "svc.crt"), public_key(place, "svc.key"));
        let rekey = ["ca", "rekey", "--force", "--rollback", "--verify", &endpoint, "--verify-timeout"];

        // A reload that does nothing.
        let done = place.keywheel(&[&rekey[..], &["2s", "--exec", "true"], pair].concat()).fails(7, &endpoint[..20]);
        assert!(done.stderr.contains("rolled back") && done.stderr.contains(&old.to_string()), "{}", done.stderr);
        assert_eq!(fingerprint(place, "svc.crt"), old, "{}", done.stderr);
        assert_eq!(public_key(place, "svc.key"), old_key);
        assert_eq!(shown(place, service.port()), old);
        let waiting = public_key(place, ".svc.key.keywheel/key.pem");
        assert_ne!(waiting, old_key, "the new key waits in the journal");

        // The same with a reload that works.
        let reload = service.reload();
        let reload: Vec<&str> = reload.iter().map(String::as_str).collect();
        place.keywheel(&[&rekey[..], &["20s"], &reload, pair].concat()).ok();
        assert_eq!(public_key(place, "svc.key"), waiting, "the key that was rolled back is the one that is used");
        assert_eq!(shown(place, service.port()), fingerprint(place, "svc.crt"));
        assert_ne!(fingerprint(place, "svc.crt"), old);
        assert_eq!(leftovers(place), [""; 0]);
    }
}

#[test]
fn a_hook_that_fails_brings_the_old_pair_back_and_is_run_again_for_it() {
    for pair in LAYOUTS {
        let ca = ca_with("svc.crt", "svc.key");
        let place = &ca.place;
        let service = Nginx::start(place, "svc.crt", "svc.key");
        let (old, old_key) = (fingerprint(place, "svc.crt"), public_key(place, "svc.key"));
        // It reloads the service, tells which certificate it was called for, and fails.
        let reload = service.reload().pop().expect("the last word is the command");
        place.write("hook", format!("#!/bin/sh\n{reload}\necho \"$KEYWHEEL_FINGERPRINT\" >> hook.log\nexit 3\n"));
        place.run("chmod", &["+x", "hook"]).ok();
        let rekey = ["ca", "rekey", "--force", "--rollback", "--exec"];
        let done = place.keywheel(&[&rekey[..], &["./hook"], pair].concat());
        assert_eq!(done.code, 7, "{}", done.stderr);
        assert!(done.stderr.contains("rolled back"), "{}", done.stderr);
        assert_eq!(fingerprint(place, "svc.crt"), old);
        assert_eq!(public_key(place, "svc.key"), old_key);
        assert_eq!(place.read("hook.log").lines().count(), 2, "once for the new pair, once for the old one");
        let waiting = public_key(place, ".svc.key.keywheel/key.pem");
        // `nginx -s reload` returns before the reload is done.
        let until = Instant::now() + Duration::from_secs(20);
        while shown(place, service.port()) != old {
            assert!(Instant::now() < until, "the old certificate is not shown again");
        }

        place.keywheel(&[&rekey[..], &[reload.as_str()], pair].concat()).ok();
        assert_eq!(public_key(place, "svc.key"), waiting);
        assert_eq!(leftovers(place), [""; 0]);
    }
}
