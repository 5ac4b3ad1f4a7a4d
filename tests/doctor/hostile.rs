//! Folders that would hold up, mislead or hurt whoever reads them, and readers who may not read.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use keywheel_tests::place::{Place, keywheel};

use crate::examination::{examine, examine_with, pair, set_mode, words};

#[test]
fn pipes_devices_loops_and_links_to_nowhere_hold_nothing_up() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/svc.key");
    place.run("mkfifo", &["e/pipe.key", "e/pipe.pem"]).ok();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, place.file(name)).expect("a link can be made");
    link("/dev/zero", "e/zero.key");
    link("/dev/tty", "e/tty.pem");
    link("self.pem", "e/self.pem");
    link("two.pem", "e/one.pem");
    link("one.pem", "e/two.pem");
    link("nowhere.pem", "e/dangling.pem");
    link("..", "e/up");
    link("/", "e/everything");
    let socket = std::os::unix::net::UnixListener::bind(place.file("e/socket.key")).expect("a socket can be made");
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), Vec::<&str>::new(), "{:#}", found.value);
    drop(socket);
    let notes = found.value["not_examined"].to_string();
    for name in ["e/everything", "e/up", "e/self.pem"] {
        assert!(notes.contains(&format!("\"{name}\"")), "{name}: {notes}");
    }
}

#[test]
fn names_that_could_mislead_a_terminal_or_a_shell_do_neither() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/$(touch hurt);'\"`&.key");
    set_mode(&place, "e/$(touch hurt);'\"`&.key", 0o644);
    std::fs::copy(place.file("e/svc.crt"), place.file("e/esc\u{1b}[2J.crt")).expect("it can be copied");
    let octets = std::ffi::OsStr::from_bytes(b"e/\xff\xfe.crt");
    std::fs::copy(place.file("e/svc.crt"), place.path().join(Path::new(octets))).expect("it can be copied");
    let found = examine(&place, &["e"]);
    assert_eq!(found.value["not_examined"].as_array().map(Vec::len), Some(2), "{:#}", found.value);
    crate::examination::paste(&place, found.fix("key-readable-by-others"));
    assert!(!place.file("hurt").exists());
    assert_eq!(examine(&place, &["e"]).problems(), Vec::<&str>::new());
    let said = place.keywheel(&["doctor", "--unit-path", ".", "e"]).ok().stdout;
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn what_is_too_large_too_deep_or_no_certificate_at_all_is_told() {
    let place = Place::new();
    let deep = format!("e/{}deep.crt", "d/".repeat(60));
    place.write(&deep, "-----BEGIN CERTIFICATE-----\n");
    place.write("e/large.pem", vec![b'x'; (1 << 20) + 1]);
    place.write("e/dhparam.pem", "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n");
    place.write("e/pgp.key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n");
    place.write("e/rubbish.crt", [0x30, 0x03, 1, 2, 3]);
    place.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "e/id_key"]).ok();
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), Vec::<&str>::new(), "{:#}", found.value);
    let notes = found.value["not_examined"].to_string();
    assert!(notes.contains("folders above it") && notes.contains("e/large.pem"), "{notes}");
}

#[test]
fn a_reader_without_rights_is_told_what_was_not_examined() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/svc.key");
    pair(&place, "b.example", "e/closed/b.crt", "e/closed/b.key");
    for (file, mode) in [("e/svc.crt", 0o644), ("e/closed", 0o700), ("e", 0o755), (".", 0o755)] {
        set_mode(&place, file, mode);
    }
    if place.run("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "true"]).code != 0 {
        println!("NOT RUN: only root can become another user");
        return;
    }
    // The program itself may stand where others cannot go.
    std::fs::copy(keywheel(), place.file("keywheel")).expect("it can be copied");
    let mut command = place.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "./keywheel"]).args(words(&place, &["e"]));
    let found = examine_with(&place, command);
    assert_eq!((found.problems(), found.code), (Vec::<&str>::new(), 0), "{:#}", found.value);
    let notes = found.value["not_examined"].to_string();
    for name in ["e/svc.key", "e/closed"] {
        assert!(notes.contains(&format!("\"{name}\"")), "{name}: {notes}");
    }
}

#[test]
fn a_path_that_is_not_there_is_a_wrong_usage() {
    let place = Place::new();
    place.keywheel(&["doctor", "absent"]).fails(2, "absent cannot be examined");
    place.keywheel(&["doctor", "--unit-path", "absent", "."]).fails(2, "absent cannot be examined");
}

#[test]
fn ten_thousand_files_are_examined_and_two_links_to_one_are_one() {
    let place = Place::new();
    pair(&place, "a.example", "e/svc.crt", "e/svc.key");
    let (certificate, key) = (place.read("e/svc.crt"), place.read("e/svc.key"));
    for number in 0..2_500 {
        place.write(&format!("many/{number}/svc.crt"), &certificate);
        std::os::unix::fs::symlink("../../e/svc.key", place.file(&format!("many/{number}/svc.key"))).expect("a link");
        place.write(&format!("more/{number}.txt"), "no certificate");
        place.write(&format!("more/{number}.conf"), "no = certificate");
    }
    place.write("e/svc.key", key);
    let found = examine(&place, &["e", "many", "more"]);
    assert_eq!(found.problems(), Vec::<&str>::new());
    assert!(found.value["files"].as_u64().is_some_and(|files| files >= 5_000), "{}", found.value["files"]);
}
