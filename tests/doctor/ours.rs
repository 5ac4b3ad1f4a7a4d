//! Pairs of our own CA: every layout, what a killed rekey leaves, and commands that mend it when they are pasted.

use std::collections::BTreeSet;

use keywheel_tests::ca::{Ca, PASSWORD, free_port};
use keywheel_tests::peer;
use keywheel_tests::place::keywheel;

use crate::examination::{certify, examine, new_key, paste, set_mode};

#[test]
fn a_home_and_pairs_of_every_layout_have_no_problem() {
    let ca = Ca::start();
    let place = &ca.place;
    for (name, flags) in [("flat", &[][..]), ("generations", &["--layout", "generations"])] {
        let (certificate, key) = ca.certificate(name);
        for _ in 0..2 {
            let words = ["ca", "rekey", "--force"];
            place.keywheel(&[&words[..], flags, &[&certificate, &key]].concat()).ok();
        }
    }
    let (certificate, key) = ca.certificate("both");
    place.write("both.pem", [place.read(&key), place.read(&certificate)].concat());
    set_mode(place, "both.pem", 0o600);
    place.keywheel(&["ca", "rekey", "--force", "--combined", "both.pem"]).ok();
    for file in [certificate, key] {
        std::fs::remove_file(place.file(&file)).expect("it can be removed");
    }
    let found = examine(place, &["."]);
    // The keys of the CA are encrypted; with their password they are compared, too.
    assert_eq!((found.ids(), found.problems()), (vec!["key-encrypted"], Vec::new()), "{:#}", found.value);
    place.write("password.txt", PASSWORD);
    let opened = examine(place, &["--password-file", "password.txt", "."]);
    assert_eq!(opened.ids(), Vec::<&str>::new(), "{:#}", opened.value);
}

#[test]
fn a_pair_of_the_real_step_has_no_finding() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let place = &ca.place;
    let words =
        "ca certificate svc e/svc.crt e/svc.key --provisioner admin --provisioner-password-file password --ca-url";
    std::fs::create_dir(place.file("e")).expect("it can be made");
    let mut words: Vec<&str> = words.split(' ').collect();
    let url = ca.url();
    words.extend([url.as_str(), "--root", "step/certs/root_ca.crt"]);
    place.run(&step, &words).ok();
    assert_eq!(examine(place, &["e"]).ids(), Vec::<&str>::new());
}

#[test]
fn what_a_lost_answer_leaves_is_found_and_the_pasted_command_goes_on_with_it() {
    let ca = Ca::start();
    ca.certificate("svc");
    let nobody = format!("https://localhost:{}", free_port());
    ca.place.keywheel(&["ca", "rekey", "--force", "--ca-url", &nobody, "svc.crt", "svc.key"]).fails(4, "");
    let found = examine(&ca.place, &["svc.crt", "svc.key"]);
    assert_eq!(found.ids(), ["rekey-cut-off"], "{:#}", found.value);
    assert_eq!(found.fix("rekey-cut-off"), "keywheel ca rekey --force svc.crt svc.key");
    let asked = ca.place.read(".svc.key.keywheel/key.pem");
    paste(&ca.place, found.fix("rekey-cut-off"));
    assert_eq!(ca.place.read("svc.key"), asked);
    assert_eq!(problems(&ca), Vec::<String>::new());
}

#[test]
fn a_rekey_killed_at_any_change_is_found_and_mended_by_what_is_pasted() {
    let kinds = kill_everywhere(&["svc.crt", "svc.key"], &[]);
    for id in ["pair-mismatch", "rekey-cut-off"] {
        assert!(kinds.contains(id), "no kill led to {id}: {kinds:?}");
    }
}

#[test]
fn a_rekey_in_generations_killed_at_any_change_never_leaves_a_mismatch() {
    let kinds = kill_everywhere(&["svc.crt", "svc.key"], &["--layout", "generations"]);
    assert!(kinds.contains("rekey-cut-off") && !kinds.contains("pair-mismatch"), "{kinds:?}");
}

#[test]
fn a_rekey_of_one_file_killed_at_any_change_never_leaves_a_mismatch() {
    let kinds = kill_everywhere(&["--combined", "svc.pem"], &[]);
    assert!(kinds.contains("rekey-cut-off") && !kinds.contains("pair-mismatch"), "{kinds:?}");
}

/// Kills a rekey at each call that changes a name, mends what the doctor finds by what it says, and tells what was found.
fn kill_everywhere(pair: &[&str], layout: &[&str]) -> BTreeSet<String> {
    let ca = Ca::start();
    let place = &ca.place;
    ca.certificate("svc");
    if pair.contains(&"svc.pem") {
        place.write("svc.pem", [place.read("svc.key"), place.read("svc.crt")].concat());
        set_mode(place, "svc.pem", 0o600);
        place.run("rm", &["svc.key", "svc.crt"]).ok();
    }
    let rekey = [&["ca", "rekey", "--force"], layout, pair].concat();
    // The first one converts.
    place.keywheel(&rekey).ok();
    let mut kinds = BTreeSet::new();
    for call in ["rename", "renameat2", "mkdir", "symlink", "unlink", "rmdir"] {
        for time in 1.. {
            assert!(time < 50, "the rekey never came to its end");
            let (inject, trace) = (format!("inject={call}:signal=SIGKILL:when={time}"), format!("trace={call}"));
            let binary = keywheel().display().to_string();
            let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, &binary];
            if place.run("strace", &[&strace[..], &rekey].concat()).code == 0 {
                break;
            }
            // Each finding that is more than information is mended by its own line, one after the other.
            for _ in 0..4 {
                let found = examine(place, &["."]);
                let Some(id) = found.problems().first().map(|id| (*id).to_owned()) else { break };
                paste(place, found.fix(&id));
                kinds.insert(id);
            }
            assert_eq!(problems(&ca), Vec::<String>::new(), "killed at {call} {time}");
            let [certificate, key] = if pair.contains(&"svc.pem") { ["svc.pem"; 2] } else { ["svc.crt", "svc.key"] };
            let script = format!("openssl x509 -in {certificate} -noout -pubkey; openssl pkey -in {key} -pubout");
            let both = place.run("sh", &["-c", &script]).ok();
            let keys: Vec<&str> = both.stdout.split_inclusive("-----END PUBLIC KEY-----\n").collect();
            assert_eq!(keys.first(), keys.get(1), "killed at {call} {time}");
        }
    }
    kinds
}

#[test]
fn a_weak_shared_kept_or_expiring_pair_of_ours_is_mended_by_what_is_pasted() {
    let ca = Ca::start();
    let place = &ca.place;
    let issue = |name: &str, more: &[&str]| {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let words = ["ca", "certificate", name, &certificate, &key, "--provisioner-password-file", "password"];
        place.keywheel(&[&words[..], more].concat()).ok();
    };
    // About to expire: five minutes, of which a moment later less than a third is left to nobody; so it is made old.
    let (certificate, key) = ca.certificate("kept");
    place.run("cp", &["-p", &certificate, "kept.old.crt"]).ok();
    place.keywheel(&["ca", "renew", "--force", &certificate, &key]).ok();
    let found = examine(place, &["."]);
    assert_eq!(found.problems(), ["key-kept"], "{:#}", found.value);
    paste(place, found.fix("key-kept"));
    std::fs::remove_file(place.file("kept.old.crt")).expect("it can be removed");
    assert_eq!(problems(&ca), Vec::<String>::new());

    // Two names, one key: the second one gets a key of its own.
    issue("first", &[]);
    issue("second", &[]);
    new_key(place, "request.key");
    place
        .run(
            "openssl",
            &[
                "req",
                "-new",
                "-key",
                "first.key",
                "-subj",
                "/CN=third",
                "-addext",
                "subjectAltName=DNS:third",
                "-out",
                "third.csr",
            ],
        )
        .ok();
    place.keywheel(&["ca", "sign", "third.csr", "third.crt", "--provisioner-password-file", "password"]).ok();
    std::fs::remove_file(place.file("request.key")).expect("it can be removed");
    let found = examine(place, &["."]);
    assert_eq!(found.problems(), ["key-shared"], "{:#}", found.value);
    paste(place, found.fix("key-shared"));
    let mended = examine(place, &["."]);
    assert_eq!(mended.problems(), Vec::<&str>::new(), "{:#}", mended.value);

    // A pair that is broken beyond repair is asked for again.
    certify(place, "first", "first.crt", "second.key", &[]);
    place.write("first.key", "-----BEGIN PRIVATE KEY-----\nMIGH");
    std::fs::remove_file(place.file("third.crt")).expect("it can be removed");
    let found = examine(place, &["first.crt", "first.key"]);
    assert!(found.ids().contains(&"torn-file"), "{:#}", found.value);
    paste(place, &format!("{} --provisioner-password-file password", found.fix("torn-file")));
    assert_eq!(examine(place, &["first.crt", "first.key"]).ids(), Vec::<&str>::new());
}

#[test]
fn what_a_failed_hook_leaves_is_found_and_the_pasted_command_ends_it() {
    let ca = Ca::start();
    ca.certificate("svc");
    let place = &ca.place;
    let failing = ["ca", "rekey", "--force", "--exec", "false"];
    for (more, id) in [(&[][..], "previous-kept"), (&["--rollback"], "rekey-cut-off")] {
        place.keywheel(&[&failing[..], more, &["svc.crt", "svc.key"]].concat()).fails(7, "the hook failed");
        let found = examine(place, &["."]);
        assert_eq!(found.problems(), [id], "{:#}", found.value);
        paste(place, found.fix(id));
        assert_eq!(problems(&ca), Vec::<String>::new());
    }
}

#[test]
fn what_was_put_aside_is_told_and_not_looked_into() {
    let ca = Ca::start();
    ca.certificate("svc");
    let place = &ca.place;
    place.write(".svc.key.keywheel.aside-1/key.pem", "anything");
    let found = examine(place, &["."]);
    assert_eq!(found.problems(), Vec::<&str>::new());
    assert_eq!(found.files("put-aside"), [".svc.key.keywheel.aside-1"]);
    paste(place, found.fix("put-aside"));
    assert!(!place.file(".svc.key.keywheel.aside-1").exists());
}

/// Everything that is more than information.
fn problems(ca: &Ca) -> Vec<String> {
    examine(&ca.place, &["."]).problems().into_iter().map(str::to_owned).collect()
}
