//! Files that openssl made: the usual names, what a crash tears, who may read a key, which certificates share one.

use keywheel_tests::place::Place;

use crate::examination::{authority, certify, examine, examine_with, new_key, pair, paste, set_mode, words};

#[test]
fn an_estate_in_order_has_no_finding_under_any_of_the_usual_names() {
    let place = Place::new();
    for (name, certificate, key) in [
        ("a.example", "a/svc.crt", "a/svc.key"),
        ("b.example", "b/svc.pem", "b/svc-key.pem"),
        ("c.example", "c/cert.pem", "c/key.pem"),
        ("d.example", "d/tls.crt", "d/tls.key"),
        ("e.example", "ssl/certs/e.pem", "ssl/private/e.key"),
        ("f.example", "f/server.cert.pem", "f/server.key.pem"),
    ] {
        pair(&place, name, certificate, key);
    }
    authority(&place, "trust/root.crt");
    pair(&place, "g.example", "g.crt", "g.key");
    place.write("g/both.pem", [place.read("g.key"), place.read("g.crt"), place.read("trust/root.crt")].concat());
    set_mode(&place, "g/both.pem", 0o600);
    let found = examine(&place, &["a", "b", "c", "d", "ssl", "f", "g", "trust"]);
    assert_eq!((found.ids(), found.code), (Vec::<&str>::new(), 0), "{:#}", found.value);
    assert_eq!(found.value["not_examined"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_pair_that_does_not_match_is_found_and_mended_from_where_the_key_is() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/svc.key");
    place.run("cp", &["-p", "e/svc.key", "e/it's the right one.key"]).ok();
    new_key(&place, "e/svc.key");
    let found = examine(&place, &["e"]);
    assert_eq!(found.problems(), ["pair-mismatch"]);
    assert_eq!(found.files("pair-mismatch"), ["e/svc.crt", "e/svc.key"]);
    paste(&place, found.fix("pair-mismatch"));
    let mended = examine(&place, &["e"]);
    assert_eq!((mended.problems(), mended.code), (Vec::<&str>::new(), 0), "{:#}", mended.value);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_found() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/svc.key");
    for name in ["e/svc.crt", "e/svc.key"] {
        let whole = place.read(name);
        for length in (0..whole.len() - 1).step_by(23) {
            place.write(name, &whole[..length]);
            let found = examine(&place, &["e"]);
            assert!(found.ids().contains(&"torn-file"), "{name} of {length} octets: {:#}", found.value);
            assert_eq!(found.files("torn-file"), [name]);
        }
        // What a file system leaves that had not written yet.
        place.write(name, vec![0; whole.len()]);
        assert_eq!(examine(&place, &["e"]).files("torn-file"), [name]);
        place.write(name, whole);
        assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
    }
}

#[test]
fn a_key_that_others_may_read_is_found_and_closed() {
    let place = Place::new();
    pair(&place, "a.example", "e/-svc $(x).crt", "e/-svc $(x).key");
    for (mode, id) in
        [(0o644, "key-readable-by-others"), (0o604, "key-readable-by-others"), (0o640, "key-readable-by-group")]
    {
        set_mode(&place, "e/-svc $(x).key", mode);
        let found = examine(&place, &["e"]);
        assert_eq!(found.ids(), [id]);
        paste(&place, found.fix(id));
        assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
    }
    // The same where the name alone could be taken for a flag.
    std::fs::rename(place.file("e/-svc $(x).key"), place.file("-svc.key")).expect("it can be renamed");
    set_mode(&place, "-svc.key", 0o666);
    let mut command = place.command(keywheel_tests::place::keywheel());
    command.args(words(&place, &["--", "-svc.key"]));
    let found = examine_with(&place, command);
    paste(&place, found.fix("key-readable-by-others"));
    assert_eq!(examine(&place, &["./-svc.key"]).problems(), Vec::<&str>::new());
}

#[test]
fn one_key_for_other_names_is_shared_and_for_the_same_names_it_was_kept() {
    let place = Place::new();
    pair(&place, "a.example", "e/a.crt", "e/a.key");
    certify(&place, "b.example", "e/b.crt", "e/a.key", &[]);
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), ["key-shared"]);
    assert_eq!(found.files("key-shared"), ["e/a.crt", "e/b.crt"]);
    std::fs::remove_file(place.file("e/b.crt")).expect("it can be removed");
    certify(&place, "a.example", "e/old/a.crt", "e/a.key", &[]);
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), ["key-kept"]);
}

#[test]
fn one_key_in_two_folders_is_found_and_a_link_mends_it() {
    let place = Place::new();
    pair(&place, "a.example", "e/a.crt", "e/a.key");
    std::fs::create_dir(place.file("srv")).expect("it can be made");
    place.run("cp", &["-p", "e/a.key", "srv/other.key"]).ok();
    let found = examine(&place, &["e", "srv"]);
    assert_eq!(found.ids(), ["key-copied"]);
    paste(&place, found.fix("key-copied"));
    assert_eq!(examine(&place, &["e", "srv"]).ids(), Vec::<&str>::new());
}

#[test]
fn certificates_that_are_over_or_nearly_over_are_found() {
    let place = Place::new();
    for (name, days) in [("long.example", "31"), ("soon.example", "29"), ("short.example", "9")] {
        new_key(&place, &format!("e/{name}.key"));
        certify(&place, name, &format!("e/{name}.crt"), &format!("e/{name}.key"), &["-days", days]);
    }
    // A month of 31 and one of 9 days have only just begun.
    assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
    new_key(&place, "o/old.key");
    let words = "-f -30d openssl req -x509 -new -key o/old.key -out o/old.crt -subj /CN=old -days 20";
    place.run("faketime", &words.split(' ').collect::<Vec<_>>()).ok();
    let words = "-f -80d openssl req -x509 -new -key o/old.key -out o/soon.crt -subj /CN=soon -days 90";
    new_key(&place, "o/soon.key");
    place.run("faketime", &words.replace("o/old.key", "o/soon.key").split(' ').collect::<Vec<_>>()).ok();
    let found = examine(&place, &["o"]);
    assert_eq!(found.ids(), ["certificate-expired", "certificate-expiring"], "{:#}", found.value);
    assert_eq!(found.files("certificate-expiring"), ["o/soon.crt"]);
}

#[test]
fn without_a_path_the_usual_places_of_the_user_are_examined() {
    let place = Place::new();
    pair(&place, "a.example", "step/certs/a.crt", "step/secrets/a_key");
    pair(&place, "b.example", ".lego/certificates/b.crt", ".lego/certificates/b.key");
    let of_ours = |place: &Place| {
        let done = place.keywheel(&["doctor", "--json", "--unit-path", "."]);
        let all: serde_json::Value = serde_json::from_str(&done.stdout).expect("it is JSON");
        let all = all["findings"].as_array().expect("a list").clone();
        let ours = all.iter().filter(|one| one["files"].to_string().contains(&place.path().display().to_string()));
        ours.map(|one| one["id"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_ours(&place), Vec::<String>::new());
    new_key(&place, "step/secrets/a_key");
    new_key(&place, ".lego/certificates/b.key");
    assert_eq!(of_ours(&place), ["pair-mismatch", "pair-mismatch"]);
}

#[test]
fn a_weak_key_is_found() {
    let place = Place::new();
    std::fs::create_dir(place.file("e")).expect("it can be made");
    let words = "req -x509 -newkey rsa:1024 -nodes -keyout e/a.key -out e/a.crt -subj /CN=a -days 90 -addext basicConstraints=CA:FALSE";
    place.run("openssl", &words.split(' ').collect::<Vec<_>>()).ok();
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), ["weak-key"]);
    assert!(found.fix("weak-key").starts_with("keywheel ca rekey --force --kty EC"));
}

#[test]
fn an_encrypted_key_is_told_and_compared_once_it_is_opened() {
    let place = Place::new();
    pair(&place, "a.example", "e/a.crt", "plain.key");
    place.write("password.txt", "open sesame\n");
    for (cipher, key) in [("-aes-256-cbc", "plain.key"), ("-aes-128-cbc", "other.key")] {
        if key == "other.key" {
            new_key(&place, key);
        }
        let words = ["pkey", "-in", key, "-out", "e/a.key", cipher, "-passout", "file:password.txt"];
        place.run("openssl", &words).ok();
        set_mode(&place, "e/a.key", 0o600);
        let closed = examine(&place, &["e"]);
        assert_eq!((closed.ids(), closed.code), (vec!["key-encrypted"], 0));
        assert_eq!(closed.fix("key-encrypted"), "keywheel doctor --password-file password.txt e");
        let opened = examine(&place, &["--password-file", "password.txt", "e"]);
        let expected: &[&str] = if key == "other.key" { &["pair-mismatch"] } else { &[] };
        assert_eq!(opened.ids(), expected, "{key}");
    }
}

#[test]
fn halves_are_worth_knowing_and_der_is_read_as_well() {
    let place = Place::new();
    pair(&place, "a.example", "e/a.crt", "a.key");
    new_key(&place, "e/b.key");
    let found = examine(&place, &["e"]);
    assert_eq!((found.ids(), found.code), (vec!["certificate-without-key", "key-without-certificate"], 0));
    place.run("openssl", &["x509", "-in", "e/a.crt", "-outform", "DER", "-out", "der/a.crt"]);
    for (name, words) in [("crt", "x509 -in e/a.crt"), ("key", "pkcs8 -topk8 -nocrypt -in a.key")] {
        let words = format!("{words} -outform DER -out a.der.{name}");
        place.run("openssl", &words.split(' ').collect::<Vec<_>>()).ok();
    }
    set_mode(&place, "a.der.key", 0o600);
    assert_eq!(examine(&place, &["a.der.crt", "a.der.key"]).ids(), Vec::<&str>::new());
    place
        .run("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", "e/b.key", "-outform", "DER", "-out", "a.der.key"])
        .ok();
    assert_eq!(examine(&place, &["a.der.crt", "a.der.key"]).ids(), ["pair-mismatch"]);
    let whole = std::fs::read(place.file("a.der.crt")).expect("it can be read");
    place.write("a.der.crt", &whole[..whole.len() - 1]);
    assert_eq!(examine(&place, &["a.der.crt"]).ids(), ["torn-file"]);
}
