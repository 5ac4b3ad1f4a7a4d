//! Lineages made by certbot's own code, and stopped in the middle of it.

use keywheel_tests::peer;
use keywheel_tests::place::{Place, repository};

use crate::examination::{authority, certify, examine, new_key, paste};

/// A place with the certificates and keys of three versions, and a lineage of the first.
struct Lineage {
    place: Place,
    python: std::path::PathBuf,
}

impl Lineage {
    fn new(words: &[&str]) -> Option<Self> {
        let python = peer::certbot("python")?;
        let place = Place::new();
        authority(&place, "chain.pem");
        for version in ["1", "2", "3"] {
            new_key(&place, &format!("key{version}.pem"));
            certify(&place, "a.example", &format!("cert{version}.pem"), &format!("key{version}.pem"), &[]);
        }
        let lineage = Self { place, python };
        lineage.deed("new", "cert1.pem", "key1.pem", words);
        Some(lineage)
    }

    fn deed(&self, deed: &str, certificate: &str, key: &str, words: &[&str]) {
        let script = repository().join("tests/doctor/lineage.py").display().to_string();
        let root = self.place.file("le").display().to_string();
        let own = [script.as_str(), &root, "a.example", deed, certificate, key, "chain.pem"];
        self.place.run(&self.python, &[&own[..], words].concat()).ok();
    }
}

#[test]
fn a_lineage_that_was_renewed_has_no_finding() {
    let Some(lineage) = Lineage::new(&[]) else { return };
    assert_eq!(examine(&lineage.place, &["le"]).ids(), Vec::<&str>::new());
    lineage.deed("renew", "cert2.pem", "key2.pem", &[]);
    let found = examine(&lineage.place, &["le"]);
    assert_eq!(found.ids(), Vec::<&str>::new(), "{:#}", found.value);
}

#[test]
fn certbot_killed_at_any_link_is_found_and_mended_by_what_is_pasted() {
    // Four notes of the old links, then four new links; at the ninth it is done.
    for stop in 1..=8 {
        let Some(lineage) = Lineage::new(&[]) else { return };
        lineage.deed("renew", "cert2.pem", "key2.pem", &[&format!("killed={stop}")]);
        let place = &lineage.place;
        let found = examine(place, &["le"]);
        let expected = if stop <= 4 { "certbot-not-deployed" } else { "certbot-links" };
        let notes = if stop > 1 { &["leftover-file"][..] } else { &[] };
        assert_eq!(found.ids(), [&[expected], notes].concat(), "stopped at link {stop}: {:#}", found.value);
        paste(place, found.fix(expected));
        if stop > 1 {
            paste(place, found.fix("leftover-file"));
        }
        assert_eq!(examine(place, &["le"]).ids(), Vec::<&str>::new(), "stopped at link {stop}");
        assert_eq!(place.read("le/live/a.example/privkey.pem"), place.read("key2.pem"));
        // certbot itself goes on from there.
        lineage.deed("renew", "cert3.pem", "key3.pem", &[]);
        assert_eq!(examine(place, &["le"]).ids(), Vec::<&str>::new(), "stopped at link {stop}, and renewed");
    }
}

#[test]
fn a_version_that_certbot_does_not_use_and_half_a_version_are_told_apart() {
    let Some(lineage) = Lineage::new(&[]) else { return };
    lineage.deed("renew", "cert2.pem", "key2.pem", &["unlinked"]);
    let place = &lineage.place;
    assert_eq!(examine(place, &["le"]).ids(), ["certbot-not-deployed"]);
    place.write("le/archive/a.example/cert2.pem", "");
    let found = examine(place, &["le"]);
    assert_eq!(found.ids(), ["leftover-file"], "{:#}", found.value);
    paste(place, found.fix("leftover-file"));
    assert_eq!(examine(place, &["le"]).ids(), Vec::<&str>::new());
}

#[test]
fn a_key_that_is_never_changed_is_found_by_the_settings_and_by_the_files() {
    let Some(lineage) = Lineage::new(&["--reuse-key"]) else { return };
    let place = &lineage.place;
    certify(place, "a.example", "again.pem", "key1.pem", &[]);
    lineage.deed("renew", "again.pem", "same", &["--reuse-key"]);
    let found = examine(place, &["le"]);
    assert_eq!(found.ids(), ["renewer-keeps-key"]);
    assert_eq!(found.files("renewer-keeps-key"), ["le/renewal/a.example.conf"]);
    let fix = "certbot renew --cert-name a.example --force-renewal --no-reuse-key --config-dir le";
    assert_eq!(found.fix("renewer-keeps-key"), fix);
    // The words are certbot's: it takes them, and only then finds that nobody answers.
    let words = fix.split(' ').skip(1).chain(["--work-dir", "work", "--logs-dir", "logs", "--help"]);
    place.run(lineage.python.with_file_name("certbot"), &words.collect::<Vec<_>>()).ok();

    let Some(lineage) = Lineage::new(&[]) else { return };
    let place = &lineage.place;
    certify(place, "a.example", "again.pem", "key1.pem", &[]);
    lineage.deed("renew", "again.pem", "same", &[]);
    let found = examine(place, &["le"]);
    assert_eq!(found.ids(), ["key-kept"]);
    assert_eq!(found.fix("key-kept"), fix);
}

#[test]
fn a_certificate_of_certbot_that_nothing_renews_is_told_until_a_timer_does() {
    let Some(lineage) = Lineage::new(&[]) else { return };
    let place = &lineage.place;
    let words = "-f -80d openssl req -x509 -new -key key2.pem -out old.pem -subj /CN=a.example -days 90 \
                 -addext subjectAltName=DNS:a.example -addext basicConstraints=CA:FALSE";
    place.run("faketime", &words.split_whitespace().collect::<Vec<_>>()).ok();
    lineage.deed("renew", "old.pem", "key2.pem", &[]);
    let found = examine(place, &["le"]);
    assert_eq!(found.ids(), ["certificate-expiring"]);
    assert!(found.fix("certificate-expiring").ends_with("systemctl enable --now certbot.timer"));
    place.write(
        "cron.d/certbot",
        "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew\n",
    );
    assert_eq!(examine(place, &["le"]).ids(), Vec::<&str>::new());
}

#[test]
fn the_lock_of_a_certbot_that_was_killed_is_worth_knowing_and_a_held_one_is_not() {
    let Some(lineage) = Lineage::new(&[]) else { return };
    let place = &lineage.place;
    place.write("le/.certbot.lock", "");
    let found = examine(place, &["le"]);
    assert_eq!((found.ids(), found.code), (vec!["stale-lock"], 0));
    let lock = std::fs::File::open(place.file("le/.certbot.lock")).expect("it can be opened");
    lock.lock().expect("it can be locked");
    assert_eq!(examine(place, &["le"]).ids(), Vec::<&str>::new());
}
