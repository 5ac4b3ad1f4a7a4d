//! How a pair lies on disk: kept by a rekey, changed where that is asked for, and never lost on the way.

use std::path::Path;

use keywheel_tests::place::Place;

use crate::bench::{Bench, PAIR, belong_together, exists, public_key, rekey, serial};

/// What lies beside the files of the pair and begins with a dot.
fn beside(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path()).expect("the place is there");
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with('.'));
    names.sort();
    names
}

fn layout(place: &Place, flags: &[&str]) -> String {
    place.keywheel(&[&["certificate", "layout"], flags, &PAIR].concat()).ok().stdout.trim().to_owned()
}

fn leads_to(place: &Place, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(place.file(name)).ok()
}

#[test]
fn a_pair_in_generations_stays_so_and_every_rekey_makes_one_and_drops_the_last() {
    let bench = Bench::start();
    let place = bench.place();
    let (old_key, old) = (public_key(place, "svc.crt"), serial(place, "svc.crt"));
    bench.rekey(&["--layout", "generations"]).ok();
    for _ in 0..3 {
        bench.rekey(&[]).ok();
        assert_eq!(leads_to(place, "svc.key").as_deref(), Some(Path::new(".svc.key.generations/current/key.pem")));
        belong_together(place, "svc.crt", "svc.key");
    }
    assert_ne!(public_key(place, "svc.crt"), old_key);
    assert_ne!(serial(place, "svc.crt"), old);
    assert_eq!(beside(place), [".svc.key.generations"]);
    let kept = std::fs::read_dir(place.file(".svc.key.generations")).expect("it is there").count();
    assert_eq!(kept, 2, "one generation and the link to it");
    bench.rekey(&["--layout", "flat"]).ok();
    assert_eq!(leads_to(place, "svc.key"), None);
    belong_together(place, "svc.crt", "svc.key");
    assert_eq!(beside(place), [""; 0]);
}

#[test]
fn a_renewal_in_generations_keeps_the_key_and_the_pair_matches() {
    let bench = Bench::start();
    let place = bench.place();
    bench.rekey(&["--layout", "generations"]).ok();
    let (key, old) = (public_key(place, "svc.crt"), serial(place, "svc.crt"));
    place.keywheel(&[&["ca", "renew", "--force"], &PAIR[..]].concat()).ok();
    assert_eq!(public_key(place, "svc.crt"), key);
    assert_ne!(serial(place, "svc.crt"), old);
    belong_together(place, "svc.crt", "svc.key");
}

#[test]
fn one_file_for_both_is_replaced_whole_and_what_else_is_in_it_stays() {
    let bench = Bench::start();
    let place = bench.place();
    let parameters = "-----BEGIN DH PARAMETERS-----\nMAYCAQ8CAQI=\n-----END DH PARAMETERS-----\n";
    place.write("svc.pem", [&place.read("svc.crt"), &place.read("svc.key"), parameters].concat());
    let words = ["--force", "--combined", "svc.pem"];
    for command in ["rekey", "renew"] {
        let before = (public_key(place, "svc.pem"), serial(place, "svc.pem"));
        place.keywheel(&[&["ca", command], &words[..]].concat()).ok();
        belong_together(place, "svc.pem", "svc.pem");
        assert_ne!(serial(place, "svc.pem"), before.1, "{command}");
        assert_eq!(public_key(place, "svc.pem") == before.0, command == "renew");
        assert!(place.read("svc.pem").ends_with(parameters));
    }
    assert_eq!(beside(place), [""; 0]);
    let twice = place.keywheel(&["ca", "rekey", "--force", "svc.pem", "svc.pem"]);
    twice.fails(2, "nothing was changed");
    let halves = place.keywheel(&["ca", "rekey", "--force", "svc.crt", "svc.pem"]);
    halves.fails(2, "holds both a certificate and a key");
    place.keywheel(&["ca", "rekey", "--force", "--combined", "svc.crt"]).fails(2, "nothing was changed");
}

#[test]
fn every_layout_becomes_every_other_and_the_pair_stays_the_same() {
    let bench = Bench::start();
    let place = bench.place();
    let (certificate, key) = (serial(place, "svc.crt"), place.read("svc.key"));
    let ways = ["generations", "combined", "flat", "combined", "generations", "flat"];
    for to in ways {
        assert_eq!(layout(place, &["--to", to, "--file", "svc.pem"]), to);
        assert_eq!(layout(place, &[]), to);
        assert_eq!(serial(place, "svc.crt"), certificate);
        belong_together(place, "svc.crt", "svc.key");
        assert_eq!(exists(place, "svc.pem"), to == "combined");
        assert_eq!(exists(place, ".svc.key.generations"), to == "generations");
    }
    assert_eq!(place.read("svc.key"), key, "the key was written otherwise");
    assert_eq!(beside(place), [""; 0]);
}

#[test]
fn a_pair_whose_replacement_was_begun_is_not_converted_and_nothing_is_overwritten() {
    let mut bench = Bench::start();
    bench.away();
    bench.rekey(&[]).fails(4, "the next run goes on");
    let place = bench.place();
    let convert =
        |to: &str| place.keywheel(&["certificate", "layout", "--to", to, "--file", "svc.pem", "svc.crt", "svc.key"]);
    convert("combined").fails(1, "a replacement of the pair was begun");
    convert("generations").fails(1, "a replacement of the pair was begun");
    bench.back();
    let place = bench.place();
    bench.rekey(&["--layout", "generations"]).ok();
    place.write("svc.pem", "somebody else's");
    let convert = ["certificate", "layout", "--to", "combined", "--file", "svc.pem", "svc.crt", "svc.key"];
    place.keywheel(&convert).fails(1, "holds something else");
    assert_eq!(place.read("svc.pem"), "somebody else's");
    belong_together(place, "svc.crt", "svc.key");
}

#[test]
fn what_was_replaced_stays_until_its_successor_is_in_use() {
    let bench = Bench::start();
    let place = bench.place();
    let old = (place.read("svc.crt"), place.read("svc.key"));
    bench.rekey(&["--exec", "false"]).fails(7, "the new certificate and key are in place, but the hook failed");
    assert_eq!(beside(place), [".svc.crt.previous", ".svc.key.previous"]);
    assert_eq!((place.read(".svc.crt.previous"), place.read(".svc.key.previous")), old);
    bench.rekey(&["--exec", "true"]).ok();
    assert_eq!(beside(place), [""; 0]);
}

#[test]
fn where_nothing_can_fail_there_is_nothing_to_roll_back() {
    let mut bench = Bench::start();
    bench.refuses(|place| rekey(place, &["--rollback"]), 2, "flag '--rollback' requires something that can fail");
    bench.refuses(|place| rekey(place, &["--verify", "https://localhost"]), 2, "flag '--verify'");
    bench.refuses(|place| rekey(place, &["--verify", "tls://localhost"]), 2, "flag '--verify'");
    bench.refuses(|place| rekey(place, &["--p12", "a.p12"]), 2, "--p12-password-file");
}

#[test]
fn the_pkcs12_file_goes_with_the_pair_there_and_back() {
    let bench = Bench::start();
    let place = bench.place();
    place.write("p12.password", "changeit");
    let flags = ["--p12", "svc.p12", "--p12-password-file", "p12.password"];
    let packed = |place: &Place| {
        let words =
            ["pkcs12", "-in", "svc.p12", "-passin", "file:p12.password", "-nokeys", "-clcerts", "-out", "p12.crt"];
        place.run("openssl", &words).ok();
        serial(place, "p12.crt")
    };
    bench.rekey(&flags).ok();
    let before = serial(place, "svc.crt");
    assert_eq!(packed(place), before);
    bench.rekey(&[&flags[..], &["--rollback", "--exec", "false"]].concat()).fails(7, "rolled back");
    assert_eq!((serial(place, "svc.crt"), packed(place)), (before.clone(), before));
}

#[test]
fn the_pkcs12_file_never_comes_in_place_of_the_pair() {
    let bench = Bench::start();
    let place = bench.place();
    place.write("p12.password", "changeit");
    let before = (place.read("svc.crt"), place.read("svc.key"));
    std::fs::hard_link(place.file("svc.key"), place.file("same.key")).expect("a second name");
    for layout in ["flat", "generations"] {
        for file in ["svc.crt", "svc.key", "./svc.key", "same.key"] {
            if layout == "generations" && file == "same.key" {
                continue;
            }
            let flags = ["--layout", layout, "--p12", file, "--p12-password-file", "p12.password"];
            bench.rekey(&flags).fails(2, "nothing was changed");
            place.keywheel(&[&["ca", "renew", "--force"], &PAIR[..], &flags].concat()).fails(2, "nothing was changed");
            assert_eq!((place.read("svc.crt"), place.read("svc.key")), before, "{layout} {file}");
        }
        self::layout(place, &["--to", "generations"]);
    }
}

#[test]
fn what_was_taken_back_is_not_said_to_be_tried_again_where_it_is_not() {
    let bench = Bench::start();
    let place = bench.place();
    let taken_back = ["--rollback", "--exec", "false"];
    let renew = |flags: &[&str]| place.keywheel(&[&["ca", "renew", "--force"], &PAIR[..], flags].concat());
    // A renewal has no key of its own: nothing of it stays once the key is another.
    renew(&taken_back).fails(7, "rolled back");
    let done = bench.rekey(&[]).ok();
    assert!(!done.stderr.contains("tried again"), "{}", done.stderr);
    assert_eq!(beside(place), [""; 0]);
    // The new key of a rekey was certified: it is kept, and said to be where it does not fit what is asked now.
    bench.rekey(&taken_back).fails(7, "rolled back");
    renew(&[]).fails(3, "its new one waits");
    let done = bench.rekey(&["--kty", "EC", "--curve", "P-384"]).ok();
    assert!(!done.stderr.contains("tried again"), "{}", done.stderr);
    assert!(done.stderr.contains(".svc.key.keywheel.aside-"), "{}", done.stderr);
    assert_eq!(beside(place), [".svc.key.keywheel.aside-1"]);
    belong_together(place, "svc.crt", "svc.key");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_changed() {
    let bench = Bench::start();
    let place = bench.place();
    // Another certificate for the key of a pair in generations would replace the one that lies there.
    layout(place, &["--to", "generations"]);
    let before = (place.read("svc.crt"), place.read("svc.key"));
    let elsewhere = ["ca", "renew", "--force", "--out", "new.crt", "svc.crt", "svc.key"];
    place.keywheel(&elsewhere).fails(2, "nothing was changed");
    assert_eq!((place.read("svc.crt"), place.read("svc.key")), before);
    assert!(!exists(place, "new.crt"));
    // A daemon does not begin what it could never do.
    layout(place, &["--to", "combined", "--file", "svc.pem"]);
    bench.rekey(&["--daemon", "--layout", "generations"]).fails(2, "cannot become generations");
    layout(place, &["--to", "flat"]);
    // Two that do not belong together stay where they are.
    place.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "svc.key"]).ok();
    let convert = ["certificate", "layout", "--to", "generations", "svc.crt", "svc.key"];
    place.keywheel(&convert).fails(2, "nothing was changed");
    assert_eq!(leads_to(place, "svc.key"), None);
}
