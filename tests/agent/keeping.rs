//! What the files say is kept fresh, also when they change, are broken, or are swapped as a whole.

use crate::site::{Site, stop};

#[test]
fn every_pair_gets_new_keys_again_and_again() {
    let site = Site::with(&["a", "b", "c"]);
    site.settings("[defaults]\nrekey-period = \"2s\"\n");
    let before: Vec<String> = ["a", "b", "c"].map(|name| site.public_key(name)).into();
    let mut agent = site.agent();
    for name in ["a", "b", "c"] {
        for _ in 0..2 {
            agent.wait_for(&format!("{name}: {name} certificate rekeyed, next in "));
        }
    }
    stop(&mut agent);
    for (name, before) in ["a", "b", "c"].into_iter().zip(before) {
        site.belong_together(name);
        assert_ne!(site.public_key(name), before);
    }
}

#[test]
fn entries_are_added_changed_and_removed_while_it_runs() {
    let site = Site::with(&["a"]);
    let mut agent = site.agent();
    site.ca.certificate("b");
    site.entry("b", "");
    agent.wait_for("keeping 2 certificates of 3 files fresh (1 added, 0 changed, 0 removed)");
    let untouched = site.public_key("a");
    site.entry("b", "rekey-period = \"1s\"\n");
    agent.wait_for("(0 added, 1 changed, 0 removed)");
    agent.wait_for("b: b certificate rekeyed");
    std::fs::remove_file(site.place().file("agent.d/b.toml")).expect("it can be removed");
    agent.wait_for("keeping 1 certificate of 2 files fresh (0 added, 0 changed, 1 removed)");
    assert_eq!(site.place().keywheel(&["agent", "status", "--socket", "agent.sock", "b"]).code, 2);
    stop(&mut agent);
    assert_eq!(site.public_key("a"), untouched, "it was replaced before its time");
    site.belong_together("b");
}

#[test]
fn a_broken_file_keeps_what_it_said_and_is_told_of_until_it_is_mended() {
    let site = Site::with(&["a", "b"]);
    let mut agent = site.agent();
    site.entry("b", "colour = \"red\"\n");
    let line = agent.wait_for("what this file said before holds");
    assert!(line.contains("agent.d/b.toml:5: unknown field `colour`"), "{line}");
    let status = site.status();
    assert_eq!(status["agent"]["certificates"], 2);
    assert_eq!(status["agent"]["config_errors"][0]["line"], 5);
    assert_eq!(site.rekey("b"), 0);
    // What another file already names is refused as well, with the place.
    site.entry("c", "");
    site.place().write("agent.d/d.toml", "[[certificate]]\nname = \"a\"\ncertificate = \"x\"\nkey = \"y\"\n");
    agent.wait_for("d.toml:1: certificate 'a' is already in ");
    std::fs::remove_file(site.place().file("agent.d/d.toml")).expect("it can be removed");
    std::fs::remove_file(site.place().file("agent.d/c.toml")).expect("it can be removed");
    site.entry("b", "");
    site.until(|status| status["agent"]["config_errors"].as_array().is_some_and(Vec::is_empty));
    stop(&mut agent);
}

#[test]
fn a_directory_that_is_swapped_for_another_is_taken_over() {
    let site = Site::with(&["a", "b"]);
    let mut agent = site.agent();
    let place = site.place();
    place.run("cp", &["-r", "agent.d", "next.d"]).ok();
    std::fs::remove_file(place.file("next.d/b.toml")).expect("it can be removed");
    std::fs::rename(place.file("agent.d"), place.file("old.d")).expect("it can be renamed");
    std::fs::rename(place.file("next.d"), place.file("agent.d")).expect("it can be renamed");
    agent.wait_for("keeping 1 certificate of 2 files fresh (0 added, 0 changed, 1 removed)");
    // The new directory is watched from now on.
    site.entry("b", "");
    agent.wait_for("(1 added, 0 changed, 0 removed)");
    stop(&mut agent);
}

#[test]
fn what_cannot_be_read_is_tried_again_and_does_not_hold_the_others_back() {
    let site = Site::with(&["a"]);
    site.entry("late", "");
    let mut agent = site.agent();
    agent.wait_for("late: the certificate ");
    assert_eq!(site.status_of("late")["state"], "unreadable");
    assert_eq!(site.rekey("a"), 0);
    site.ca.certificate("late");
    site.until(|_| site.status_of("late")["state"] == "waiting");
    stop(&mut agent);
}

#[test]
fn files_that_something_else_replaced_are_noticed() {
    let site = Site::with(&["a"]);
    let mut agent = site.agent();
    site.place().keywheel(&["ca", "rekey", "--force", "a.crt", "a.key"]).ok();
    agent.wait_for("a: something else changed the files; next rekey in 1");
    stop(&mut agent);
}

#[test]
fn hooks_proofs_and_layouts_are_those_of_a_rekey() {
    let site = Site::with(&["a"]);
    site.entry("a", "exec = \"sh -c 'exit 3'\"\nlayout = \"generations\"\n");
    let mut agent = site.agent();
    let before = site.public_key("a");
    assert_eq!(site.rekey("a"), 7);
    agent.wait_for("a: the new certificate and key are in place, but the hook failed");
    assert!(site.place().file("a.crt").is_symlink());
    assert_ne!(site.public_key("a"), before);
    site.entry("a", "exec = \"false\"\nrollback = true\nlayout = \"generations\"\n");
    agent.wait_for("1 changed");
    let good = site.public_key("a");
    assert_eq!(site.rekey("a"), 7);
    agent.wait_for("rolled back");
    assert_eq!(site.public_key("a"), good);
    site.belong_together("a");
    stop(&mut agent);
}

#[test]
fn a_password_comes_from_a_credential_and_stays_on_the_new_key() {
    let site = Site::with(&["a"]);
    let place = site.place();
    place.write("credentials/a-key", "open sesame\n");
    let encrypt = ["pkcs8", "-topk8", "-in", "a.key", "-out", "a.enc", "-passout", "file:credentials/a-key"];
    place.run("openssl", &encrypt).ok();
    std::fs::rename(place.file("a.enc"), place.file("a.key")).expect("it can be renamed");
    site.entry("a", "credential = \"a-key\"\n");
    let mut command = place.command(keywheel_tests::place::keywheel());
    command.env("CREDENTIALS_DIRECTORY", place.file("credentials"));
    let before = site.public_key("a");
    let mut agent = site.agent_with(command);
    assert_eq!(site.rekey("a"), 0);
    stop(&mut agent);
    assert_ne!(site.public_key("a"), before);
    assert!(place.read("a.key").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let opened = ["pkey", "-in", "a.key", "-passin", "file:credentials/a-key", "-pubout"];
    assert_eq!(place.run("openssl", &opened).ok().stdout, site.public_key("a"));
}
