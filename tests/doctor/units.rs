//! Services, their drop-ins and cron jobs: which of them renew, and which never change a key.

use keywheel_tests::place::Place;

use crate::examination::{certify, examine, new_key, pair, paste};

/// The service that smallstep publishes for timers, shortened.
const SMALLSTEP: &str = "[Unit]\nDescription=Certificate renewer for %I\n\n[Service]\nType=oneshot\nUser=root\n\n\
    Environment=STEPPATH=/etc/step-ca \\\n            CERT_LOCATION=FOLDER/%i.crt \\\n            KEY_LOCATION=FOLDER/%i.key\n\n\
    ; ExecCondition checks if the certificate is ready for renewal.\n\
    ExecCondition=/usr/bin/step certificate needs-renewal ${CERT_LOCATION}\n\n\
    ExecStart=/usr/bin/step ca renew --force ${CERT_LOCATION} ${KEY_LOCATION}\n\n\
    ExecStartPost=/usr/bin/env sh -c \"! systemctl --quiet is-active %i.service || systemctl try-reload-or-restart %i\"\n";

#[test]
fn the_service_that_smallstep_publishes_keeps_keys_until_it_is_mended() {
    let place = Place::new();
    let unit = "units/cert-renewer@.service";
    place.write(unit, SMALLSTEP.replace("FOLDER", &place.file("e").display().to_string()));
    pair(&place, "a.example", "e/a.crt", "e/a.key");
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), ["renewer-keeps-key"]);
    assert_eq!(found.files("renewer-keeps-key"), [unit]);
    paste(&place, found.fix("renewer-keeps-key"));
    assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
    assert!(place.read(unit).contains("\nExecStart=keywheel ca rekey --force ${CERT_LOCATION} ${KEY_LOCATION}\n"));
}

#[test]
fn a_template_renews_the_certificates_that_it_stands_for() {
    let place = Place::new();
    new_key(&place, "e/a.key");
    let words = "-f -80d openssl req -x509 -new -key e/a.key -out e/a.crt -subj /CN=a -days 90";
    place.run("faketime", &words.split(' ').collect::<Vec<_>>()).ok();
    assert_eq!(examine(&place, &["e"]).ids(), ["certificate-expiring"]);
    let unit = SMALLSTEP.replace("step ca renew", "step ca rekey");
    place.write("units/cert-renewer@.service", unit.replace("FOLDER", "/elsewhere"));
    assert_eq!(examine(&place, &["e"]).ids(), ["certificate-expiring"]);
    place.write("units/cert-renewer@.service", unit.replace("FOLDER", &place.file("e").display().to_string()));
    assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
}

#[test]
fn our_agent_renews_the_pairs_of_its_settings() {
    let place = Place::new();
    new_key(&place, "e/a.key");
    let words = "-f -80d openssl req -x509 -new -key e/a.key -out e/a.crt -subj /CN=a -days 90";
    place.run("faketime", &words.split(' ').collect::<Vec<_>>()).ok();
    place.write(
        "units/keywheel-agent.service",
        "[Service]\nExecStart=/usr/bin/keywheel agent run --config /etc/keywheel/agent.d\n",
    );
    place.write("e/pairs.toml", "[[certificate]]\ncertificate = \"b.crt\"\nkey = \"b.key\"\n");
    assert_eq!(examine(&place, &["e"]).ids(), ["certificate-expiring"]);
    place.write("e/pairs.toml", "[[certificate]]\ncertificate = \"a.crt\"\nkey = \"a.key\"\n");
    assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
}

#[test]
fn daemons_scripts_and_cron_jobs_that_keep_keys_are_each_found_where_they_stand() {
    let place = Place::new();
    std::fs::create_dir(place.file("e")).expect("it can be made");
    let cases = [
        (
            "units/a.service",
            "[Service]\nExecStart=/usr/bin/step ca renew --daemon --renew-period 16h /e/a.crt /e/a.key\n",
        ),
        ("units/b.service", "[Service]\nExecStart=/usr/bin/step ca rekey --daemon /e/b.crt /e/b.key\n"),
        (
            "units/c.service",
            "[Service]\nExecStart=/bin/sh -c 'step ca renew --force /e/c.crt /e/c.key; systemctl reload x'\n",
        ),
        ("units/d.service", "[Service]\nExecStart=/usr/local/bin/keywheel ca renew --daemon /e/d.crt /e/d.key\n"),
        ("cron.d/e", "SHELL=/bin/sh\n0 3 * * * root step ca renew --force /e/e.crt /e/e.key\n"),
        ("crontabs/root", "@daily certbot -q renew --reuse-key\n"),
        ("cron.d/g", "5 4 * * 0 lego lego --path /e renew --reuse-key\n"),
    ];
    for (file, text) in cases {
        place.write(file, text);
    }
    let found = examine(&place, &["e"]);
    assert_eq!(found.ids(), ["renewer-keeps-key"; 7], "{:#}", found.value);
    for finding in found.value["findings"].as_array().expect("a list") {
        paste(&place, finding["fix"].as_str().expect("there is a fix"));
    }
    assert_eq!(examine(&place, &["e"]).ids(), Vec::<&str>::new());
    assert!(place.read("units/a.service").contains("keywheel ca rekey --daemon --rekey-period 16h /e/a.crt"));
    assert!(place.read("cron.d/e").ends_with("root keywheel ca rekey --force /e/e.crt /e/e.key\n"));
}

#[test]
fn what_the_administrator_says_counts_more_than_what_a_package_says() {
    let place = Place::new();
    std::fs::create_dir(place.file("e")).expect("it can be made");
    place.write("usr/a.service", "[Service]\nExecStart=step ca renew --daemon /e/a.crt /e/a.key\n");
    let ids = |place: &Place| {
        let words = ["doctor", "--json", "--unit-path", "units", "--unit-path", "usr", "e"];
        let done = place.keywheel(&words).ok();
        done.stdout.matches("renewer-keeps-key").count()
    };
    std::fs::create_dir(place.file("units")).expect("it can be made");
    assert_eq!(ids(&place), 1);
    place.write(
        "units/a.service.d/own.conf",
        "[Service]\nExecStart=\nExecStart=keywheel ca rekey --daemon /e/a.crt /e/a.key\n",
    );
    assert_eq!(ids(&place), 0);
    std::fs::remove_dir_all(place.file("units/a.service.d")).expect("it can be removed");
    assert_eq!(ids(&place), 1);
    // A unit that leads to /dev/null is masked.
    std::os::unix::fs::symlink("/dev/null", place.file("units/a.service")).expect("a link can be made");
    assert_eq!(ids(&place), 0);
}

#[test]
fn the_files_that_a_service_renews_are_a_pair_whatever_their_names_are() {
    let place = Place::new();
    new_key(&place, "e/one");
    new_key(&place, "e/two");
    certify(&place, "a.example", "e/chain", "e/one", &[]);
    let line = |key: &str| {
        let folder = place.file("e");
        format!(
            "[Service]\nWorkingDirectory={}\nExecStart=step ca rekey --force {f}/chain {f}/{key}\n",
            folder.display(),
            f = folder.display()
        )
    };
    place.write("units/a.service", line("two"));
    let found = examine(&place, &["e"]);
    assert_eq!(found.files("pair-mismatch"), ["e/chain", "e/two"]);
    place.write("units/a.service", line("one"));
    assert_eq!(examine(&place, &["e"]).ids(), ["key-without-certificate"]);
}
