//! Commands that renew, and those among them that never change a key.

use std::string::ToString;

use super::estate::{Builder, fixes, ids};
use super::*;

#[test]
fn a_command_that_keeps_the_key_is_found_and_gets_other_words() {
    let reload = " /etc/systemd/system/x.service && systemctl daemon-reload";
    let rekey = |words: &str| format!("sed -E -i -e s#{words}#keywheel ca rekey#{reload}");
    for (line, fix) in [
        ("/usr/bin/step ca renew --force /e/a.crt /e/a.key", rekey("/usr/bin/step[[:space:]]+ca[[:space:]]+renew")),
        ("step ca rekey --daemon /e/a.crt /e/a.key", rekey("step[[:space:]]+ca[[:space:]]+rekey")),
        ("keywheel ca renew --daemon /e/a.crt /e/a.key", rekey("keywheel[[:space:]]+ca[[:space:]]+renew")),
        ("certbot renew --reuse-key", format!("sed -E -i -e s#--reuse-key##{reload}")),
        ("lego --path /l renew --reuse-key", format!("sed -E -i -e s#--reuse-key##{reload}")),
        (
            "step ca renew --daemon --renew-period 16h /e/a.crt /e/a.key",
            format!(
                "sed -E -i -e s#step[[:space:]]+ca[[:space:]]+renew#keywheel ca rekey# -e s/--renew-period/--rekey-period/{reload}"
            ),
        ),
    ] {
        let mut estate = Builder::default();
        estate.command("x.service", line);
        let found = estate.findings();
        assert_eq!((ids(&found), &fixes(&found)[0]), (vec!["renewer-keeps-key"], &fix), "{line}");
    }
}

#[test]
fn a_command_that_changes_the_key_is_no_finding() {
    for line in [
        "step ca rekey --force /e/a.crt /e/a.key",
        "keywheel ca rekey --daemon /e/a.crt /e/a.key",
        "certbot -q renew",
        "certbot renew --reuse-key --new-key",
        "lego --path /l renew",
        "echo step ca renew",
        "step certificate needs-renewal /e/a.crt",
    ] {
        let mut estate = Builder::default();
        estate.command("x.service", line);
        let found = estate.findings();
        let expected = if line.starts_with("echo") { 1 } else { 0 };
        assert_eq!(found.len(), expected, "{line}: {found:?}");
    }
}

#[test]
fn what_a_package_installed_is_copied_before_it_is_changed() {
    let mut estate = Builder::default();
    estate.command("x.service", "step ca renew --force /e/a.crt /e/a.key");
    estate.estate.commands[0].file = "/usr/lib/systemd/system/x.service".to_string();
    let fix = &fixes(&estate.findings())[0];
    assert!(fix.starts_with("cp -- /usr/lib/systemd/system/x.service /etc/systemd/system/x.service && sed "), "{fix}");
}

#[test]
fn words_over_several_lines_are_edited_by_hand() {
    let mut estate = Builder::default();
    estate.command("x.service", "step ca renew --force /e/a.crt /e/a.key");
    estate.estate.commands[0].text = "ExecStart=step \\\n ca renew --force /e/a.crt /e/a.key".to_string();
    assert_eq!(fixes(&estate.findings())[0], "systemctl edit --full x.service");
    estate.estate.commands[0].unit = None;
    assert_eq!(fixes(&estate.findings())[0], "crontab -e");
}

#[test]
fn a_renewer_is_known_by_the_files_that_it_names() {
    for (line, renewed) in [
        ("step ca rekey --force /e/a.crt /e/a.key", true),
        ("keywheel ca rekey /e/a.crt /e/a.key --daemon --exec reload", true),
        ("keywheel ca rekey --daemon --expires-in 8h /e/a.crt /e/a.key", true),
        ("step ca rekey --force /e/%i.crt /e/%i.key", true),
        ("step ca rekey --force /e/b.crt /e/b.key", false),
        ("step ca rekey --force /%i.crt /%i.key", false),
        ("keywheel ca rekey --force --combined /e/a.crt", true),
        ("step ca rekey --force", false),
        ("certbot renew", false),
    ] {
        let mut estate = Builder::default();
        estate.pair("/e/a.crt", "/e/a.key", 1);
        if let Content::Held { certificates, .. } = &mut estate.estate.files[0].content {
            certificates[0].not_after = super::at(super::NOW + super::DAY);
        }
        estate.command("x.service", line);
        let expected: &[&str] = if renewed { &[] } else { &["certificate-expiring"] };
        assert_eq!(ids(&estate.findings()), expected, "{line}");
    }
}

#[test]
fn an_agent_renews_the_pairs_of_its_settings_where_it_runs() {
    let mut estate = Builder::default();
    estate.pair("/e/one", "/e/two", 1);
    if let Content::Held { certificates, .. } = &mut estate.estate.files[0].content {
        certificates[0].not_after = super::at(super::NOW + super::DAY);
    }
    estate.estate.settings = vec![Setting::Agent {
        file: "/etc/keywheel/agent.d/a.toml".to_string(),
        certificate: "/e/one".to_string(),
        key: "/e/two".to_string(),
    }];
    assert_eq!(ids(&estate.findings()), ["certificate-expiring"]);
    estate.command("agent.service", "/usr/bin/keywheel agent run --config /etc/keywheel/agent.d");
    assert_eq!(estate.findings(), []);
}

#[test]
fn the_files_that_a_renewer_names_are_a_pair_whatever_their_names_are() {
    let mut estate = Builder::default();
    estate.file("/e/one", super::estate::held(&[super::certificate(1)], &[]));
    estate.file("/e/two", super::estate::held(&[], &[2]));
    estate.command("x.service", "step ca rekey --force /e/one /e/two");
    assert_eq!(ids(&estate.findings()), ["pair-mismatch"]);
}

#[test]
fn a_line_that_keeps_keys_is_taken_out() {
    let mut estate = Builder::default();
    let line = "reuse_private_keys".to_string();
    estate.estate.settings = vec![Setting::Reuse { file: "/etc/caddy/Caddyfile".to_string(), line }];
    let found = estate.findings();
    assert_eq!(ids(&found), ["renewer-keeps-key"]);
    assert!(
        fixes(&found)[0].starts_with("sed -i /^[[:space:]]*reuse_private_keys[[:space:]]*$/d /etc/caddy/Caddyfile")
    );
}
