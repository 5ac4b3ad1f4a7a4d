//! The judgements, by tables: each fact that is wrong is found once, and what is right is not found at all.

mod estate;
mod lineages;
mod managers;
mod renewers;

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use estate::{Builder, DAY, NOW, at, certificate, fixes, ids};

use super::kind::{Kind, Severity};
use super::*;

#[test]
fn a_pair_in_order_is_no_finding() {
    let mut estate = Builder::default();
    estate.pair("/e/svc.crt", "/e/svc.key", 1);
    estate.pair("/e/live/cert.pem", "/e/live/privkey.pem", 2);
    estate.pair("/e/gen/certificate.pem", "/e/gen/key.pem", 3);
    estate.pair("/home/certs/root_ca.crt", "/home/secrets/root_ca_key", 4);
    estate.file("/e/both.pem", estate::held(&[certificate(5)], &[5]));
    assert_eq!(estate.findings(), []);
}

#[test]
fn a_key_beside_anothers_certificate_is_found_whatever_the_names_are() {
    let names = [
        ("/e/svc.crt", "/e/svc.key"),
        ("/e/svc.pem", "/e/svc-key.pem"),
        ("/e/svc.cer", "/e/svc.key"),
        ("/e/cert.pem", "/e/privkey.pem"),
        ("/e/fullchain.pem", "/e/privkey.pem"),
        ("/e/certificate.pem", "/e/key.pem"),
        ("/etc/ssl/certs/svc.pem", "/etc/ssl/private/svc.key"),
        ("/e/svc/fullchain.cer", "/e/svc/svc.key"),
        ("/e/svc_ecc/fullchain.cer", "/e/svc_ecc/svc.key"),
        ("/home/certs/svc.crt", "/home/secrets/svc_key"),
    ];
    for (certificate_name, key_name) in names {
        let mut estate = Builder::default();
        estate.file(certificate_name, estate::held(&[certificate(1)], &[]));
        estate.file(key_name, estate::held(&[], &[2]));
        let found = estate.findings();
        let mismatch = found.iter().find(|finding| finding.kind == Kind::PairMismatch);
        let mismatch = mismatch.unwrap_or_else(|| panic!("{certificate_name} {key_name}: {found:?}"));
        assert_eq!(mismatch.files, [certificate_name, key_name]);
        assert_eq!(mismatch.severity(), Severity::Error);
    }
}

#[test]
fn files_that_only_stand_beside_each_other_are_no_pair() {
    let mut estate = Builder::default();
    estate.file("/e/a.crt", estate::held(&[certificate(1)], &[]));
    estate.file("/e/b.key", estate::held(&[], &[2]));
    assert_eq!(ids(&estate.findings()), ["certificate-without-key", "key-without-certificate"]);
}

#[test]
fn the_other_half_is_taken_from_where_it_is() {
    let mut estate = Builder::default();
    estate.file("/e/svc.crt", estate::held(&[certificate(1)], &[]));
    estate.file("/e/svc.key", estate::held(&[], &[2]));
    estate.file("/e/it's kept.key", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["pair-mismatch"]);
    assert_eq!(fixes(&found)[0], "cp -p --backup=numbered -- /e/it's kept.key /e/svc.key");
}

#[test]
fn a_pair_that_nothing_can_mend_is_asked_for_again_by_its_names() {
    let mut estate = Builder::default();
    let mut two = certificate(1);
    two.names = vec!["a.example".to_string(), "b.example".to_string()];
    estate.file("/e/svc.crt", estate::held(&[two], &[]));
    estate.file("/e/svc.key", estate::held(&[], &[2]));
    assert_eq!(
        fixes(&estate.findings())[0],
        "keywheel ca certificate --force --san a.example --san b.example svc-1 /e/svc.crt /e/svc.key"
    );
}

#[test]
fn a_pair_whose_replacement_was_cut_off_is_mended_by_going_on() {
    for (key, expected) in [(2, "pair-mismatch"), (1, "rekey-cut-off")] {
        let mut estate = Builder::default();
        estate.file("/e/svc.crt", estate::held(&[certificate(1)], &[]));
        estate.file("/e/svc.key", estate::held(&[], &[key]));
        estate.journal("/e/.svc.key.keywheel", "issued", false);
        let found = estate.findings();
        let first = found.first().expect("something is found");
        assert_eq!(first.kind.id(), expected);
        assert_eq!(fixes(&found)[0], "keywheel ca rekey --force /e/svc.crt /e/svc.key");
        assert_eq!(found.iter().filter(|finding| finding.kind.severity() != Severity::Info).count(), 1, "{found:?}");
    }
}

#[test]
fn a_replacement_goes_on_as_its_service_would_do_it() {
    for (line, unit, fix) in [
        ("keywheel ca rekey --force --exec reload /e/svc.crt /e/svc.key", true, "systemctl start x.service"),
        ("keywheel ca rekey --daemon --exec reload /e/svc.crt /e/svc.key", true, "systemctl restart x.service"),
        (
            "keywheel ca rekey --force --exec reload /e/svc.crt /e/svc.key",
            false,
            "keywheel ca rekey --force --exec reload /e/svc.crt /e/svc.key",
        ),
        ("keywheel ca rekey --force /e/%i.crt /e/%i.key", true, "keywheel ca rekey --force /e/svc.crt /e/svc.key"),
    ] {
        let mut estate = Builder::default();
        estate.pair("/e/svc.crt", "/e/svc.key", 1);
        estate.journal("/e/.svc.key.keywheel", "requested", false);
        estate.command("x.service", line);
        if !unit {
            estate.estate.commands[0].unit = None;
        }
        assert_eq!(fixes(&estate.findings()), [fix], "{line}");
    }
}

#[test]
fn a_replacement_that_runs_right_now_is_left_alone() {
    let mut estate = Builder::default();
    estate.pair("/e/svc.crt", "/e/svc.key", 1);
    estate.journal("/e/.svc.key.keywheel", "requested", true);
    assert_eq!(estate.findings(), []);
}

#[test]
fn a_key_that_cannot_be_compared_is_told_and_not_called_wrong() {
    let mut estate = Builder::default();
    estate.file("/e/svc.crt", estate::held(&[certificate(1)], &[]));
    let closed = Key { digest: None, closed: true };
    estate.file("/e/svc.key", Content::Held { certificates: Vec::new(), keys: vec![closed] });
    assert_eq!(ids(&estate.findings()), ["key-encrypted"]);
}

#[test]
fn what_is_torn_is_found_and_the_previous_file_mends_it() {
    let torn = || Content::Torn { problem: "no END line".to_string() };
    for (name, content, found) in [
        ("/e/svc.key", torn(), true),
        ("/e/svc.crt", Content::Empty, true),
        ("/e/notes.txt", Content::Empty, false),
        ("/e/.svc.key.keywheel.new", torn(), false),
    ] {
        let mut estate = Builder::default();
        estate.file(name, content);
        let torn: Vec<Finding> =
            estate.findings().into_iter().filter(|finding| finding.kind == Kind::TornFile).collect();
        assert_eq!(!torn.is_empty(), found, "{name}");
    }
    let mut estate = Builder::default();
    estate.file("/e/svc.crt", estate::held(&[certificate(1)], &[]));
    estate.file("/e/svc.key", torn());
    estate.file("/e/.svc.key.previous", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(
        (found[0].kind, fixes(&found)[0].as_str()),
        (Kind::TornFile, "cp -p -- /e/.svc.key.previous /e/svc.key")
    );
}

#[test]
fn who_may_read_a_key_goes_by_its_mode() {
    for (mode, expected) in [
        (0o600, None),
        (0o400, None),
        (0o640, Some(("key-readable-by-group", "chmod g= -- /e/svc.key"))),
        (0o644, Some(("key-readable-by-others", "chmod go= -- /e/svc.key"))),
        (0o602, Some(("key-readable-by-others", "chmod go= -- /e/svc.key"))),
    ] {
        let mut estate = Builder::default();
        estate.pair("/e/svc.crt", "/e/svc.key", 1);
        estate.mode("/e/svc.key", mode);
        // That everybody may read a certificate is what it is for.
        estate.mode("/e/svc.crt", 0o644);
        let found = estate.findings();
        let seen = found.first().map(|finding| (finding.kind.id(), fixes(&found)[0].clone()));
        assert_eq!(seen, expected.map(|(id, fix)| (id, fix.to_string())), "{mode:o}");
    }
}

#[test]
fn certificates_of_other_names_share_a_key_and_certificates_of_the_same_names_keep_it() {
    let with = |digest: u8, names: &[&str], before: i64| {
        let mut one = certificate(1);
        one.digest = CertificateDigest([digest; 32]);
        one.names = names.iter().map(ToString::to_string).collect();
        one.not_before = at(before);
        one
    };
    let mut estate = Builder::default();
    estate.file("/e/a.crt", estate::held(&[with(1, &["a.example"], 0)], &[]));
    estate.file("/e/b.crt", estate::held(&[with(2, &["b.example"], 0)], &[]));
    estate.file("/e/a.key", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["key-shared"]);
    assert_eq!(found[0].files, ["/e/a.crt", "/e/b.crt"]);
    // The key of the first one is not overwritten.
    assert_eq!(fixes(&found)[0], "keywheel ca rekey --force --out-key /e/b.own.key /e/b.crt /e/a.key");

    let mut estate = Builder::default();
    estate.file("/e/a.crt", estate::held(&[with(2, &["b.example", "a.example"], 9)], &[]));
    estate.file("/e/old/a.crt", estate::held(&[with(1, &["a.example", "b.example"], 0)], &[]));
    estate.file("/e/a.key", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["key-kept"]);
    assert_eq!(found[0].files, ["/e/a.crt", "/e/old/a.crt"]);
    assert_eq!(fixes(&found)[0], "keywheel ca rekey --force /e/a.crt /e/a.key");

    // Both begin in one second: the one with a key of its name is in use.
    let mut estate = Builder::default();
    estate.file("/e/0.crt", estate::held(&[with(1, &["a.example"], 9)], &[]));
    estate.file("/e/a.crt", estate::held(&[with(2, &["a.example"], 9)], &[]));
    estate.file("/e/a.key", estate::held(&[], &[1]));
    assert_eq!(fixes(&estate.findings())[0], "keywheel ca rekey --force /e/a.crt /e/a.key");
}

#[test]
fn the_certificates_of_one_ca_are_not_said_to_share_its_key() {
    let mut estate = Builder::default();
    for digest in [1, 2] {
        let mut root = certificate(1);
        (root.is_ca, root.digest) = (true, CertificateDigest([digest; 32]));
        root.subject = format!("Root {digest}");
        estate.file(&format!("/e/root{digest}.crt"), estate::held(&[root], &[]));
    }
    assert_eq!(estate.findings(), []);
}

#[test]
fn a_key_in_two_folders_is_found_and_a_link_to_it_is_not() {
    let mut estate = Builder::default();
    estate.pair("/e/svc.crt", "/e/svc.key", 1);
    estate.link("/srv/svc.key", "/e/svc.key");
    assert_eq!(estate.findings(), []);
    estate.file("/srv/copy.key", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["key-copied"]);
    assert_eq!(fixes(&found)[0], "ln -sfn -- /e/svc.key /srv/copy.key");
}

#[test]
fn a_weak_key_is_found_unless_it_is_a_stranger_in_a_trust_store() {
    let weak = |is_ca: bool| {
        let mut weak = certificate(1);
        weak.public_key = PublicKeyFacts::Rsa { modulus: vec![0xff; 128], exponent: vec![1, 0, 1] };
        weak.is_ca = is_ca;
        weak
    };
    let mut estate = Builder::default();
    estate.file("/e/svc.crt", estate::held(&[weak(false)], &[]));
    estate.file("/e/svc.key", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["weak-key"]);
    assert!(found[0].message.contains("1024 bits"), "{found:?}");
    assert_eq!(fixes(&found)[0], "keywheel ca rekey --force --kty EC --crv P-256 /e/svc.crt /e/svc.key");
    let mut estate = Builder::default();
    estate.file("/etc/ssl/certs/old.crt", estate::held(&[weak(true)], &[]));
    assert_eq!(estate.findings(), []);
}

#[test]
fn a_certificate_is_soon_over_by_its_own_measure() {
    // Lifetime and what is left, in days.
    for (lifetime, left, expected) in [
        (90, 31, None),
        (90, 29, Some(Kind::CertificateExpiring)),
        (10, 4, None),
        (10, 3, Some(Kind::CertificateExpiring)),
        (3650, 40, None),
        (90, -1, Some(Kind::CertificateExpired)),
    ] {
        let mut one = certificate(1);
        one.not_after = at(NOW + left * DAY);
        one.not_before = at(NOW + (left - lifetime) * DAY);
        let mut estate = Builder::default();
        estate.file("/e/svc.crt", estate::held(&[one.clone()], &[]));
        estate.file("/e/svc.key", estate::held(&[], &[1]));
        let found = estate.findings();
        assert_eq!(found.first().map(|finding| finding.kind), expected, "{lifetime} {left}");
        assert!(found.len() <= 1, "{found:?}");
        // Where something renews it, only an expired one is worth a word.
        estate.command("x.timer.service", "step ca rekey --force /e/svc.crt /e/svc.key");
        let expected = expected.filter(|kind| *kind == Kind::CertificateExpired);
        assert_eq!(estate.findings().first().map(|finding| finding.kind), expected, "{lifetime} {left}, renewed");
        // A certificate without its key is somebody else's.
        let mut estate = Builder::default();
        one.is_ca = true;
        estate.file("/e/root.crt", estate::held(&[one], &[]));
        assert_eq!(estate.findings(), [], "{lifetime} {left}, without key");
    }
}

#[test]
fn leftovers_are_found_when_nobody_is_at_work() {
    let file = |name: &str, age: i64, locked: bool| {
        let mut estate = Builder::default();
        estate.file(name, Content::Other);
        let file = estate.estate.files.last_mut().expect("there is one");
        (file.modified, file.locked) = (at(NOW - age), locked);
        ids(&estate.findings()).join(" ")
    };
    assert_eq!(file("/e/.svc.key.keywheel.new", 0, false), "leftover-file");
    assert_eq!(file("/e/.svc.key.keywheel.lock", 0, false), "stale-lock");
    assert_eq!(file("/e/.svc.key.keywheel.lock", 0, true), "");
    assert_eq!(file("/e/svc.crt.tmp", 700, false), "leftover-file");
    assert_eq!(file("/e/svc.crt.tmp", 500, false), "");
    assert_eq!(file("/c/certificates/acme/a.example/123456", 700, false), "leftover-file");
    assert_eq!(file("/c/archive/123456", 700, false), "");
    assert_eq!(file("/c/locks/issue_cert_a.example.lock", 700, false), "stale-lock");
    assert_eq!(file("/c/locks/issue_cert_a.example.lock", 3, false), "");
    assert_eq!(file("/l/.certbot.lock", 0, false), "stale-lock");
    assert_eq!(file("/l/.certbot.lock", 0, true), "");
    assert_eq!(file("/l/renewal/a.conf.new", 0, false), "leftover-file");
    assert_eq!(file("/l/live/a/previous_cert.pem", 0, false), "leftover-file");
}

#[test]
fn what_was_put_aside_and_what_was_never_proved_is_told() {
    let mut estate = Builder::default();
    estate.pair("/e/svc.crt", "/e/svc.key", 2);
    estate.file("/e/.svc.key.keywheel.aside-1", Content::Folder);
    estate.file("/e/.svc.crt.previous", estate::held(&[certificate(1)], &[]));
    estate.file("/e/.svc.key.previous", estate::held(&[], &[1]));
    let found = estate.findings();
    assert_eq!(ids(&found), ["previous-kept", "put-aside"]);
    assert_eq!(
        fixes(&found),
        ["keywheel ca rekey --force /e/svc.crt /e/svc.key", "rm -r -- /e/.svc.key.keywheel.aside-1"]
    );
}

#[test]
fn the_pair_of_a_current_generation_is_known_by_its_links() {
    let mut estate = Builder::default();
    for generation in [1, 2] {
        let folder = format!("/e/.svc.key.generations/{generation}");
        estate.file(&format!("{folder}/certificate.pem"), estate::held(&[certificate(generation)], &[]));
        estate.file(&format!("{folder}/key.pem"), estate::held(&[], &[generation]));
    }
    estate.link("/e/svc.crt", "/e/.svc.key.generations/2/certificate.pem");
    estate.link("/e/svc.key", "/e/.svc.key.generations/2/key.pem");
    assert_eq!(estate.findings(), []);
    estate.mode("/e/.svc.key.generations/2/key.pem", 0o644);
    estate.mode("/e/svc.key", 0o644);
    let found = estate.findings();
    assert_eq!((ids(&found), found[0].files.clone()), (vec!["key-readable-by-others"], vec!["/e/svc.key".to_string()]));
}

#[test]
fn every_kind_has_an_identifier_of_its_own() {
    let mut all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), Kind::ALL.len());
    // The order of the kinds is that of the report: the worst first.
    assert!(Kind::ALL.windows(2).all(|two| two[0] < two[1] && two[0].severity() <= two[1].severity()));
    let _: Vec<String> = all.iter().map(ToString::to_string).collect();
}
