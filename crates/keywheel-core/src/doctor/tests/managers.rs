//! The layouts of acme.sh, lego and Caddy, and what each is told to do.

use std::string::ToString;

use super::estate::{Builder, certificate, fixes, held, ids};
use super::*;

fn acme_sh(new_key: bool) -> Setting {
    Setting::AcmeSh {
        file: "/root/.acme.sh/a.example_ecc/a.example.conf".to_string(),
        domain: "a.example".to_string(),
        new_key,
        certificates: vec!["/e/a.pem".to_string()],
        key: Some("/e/own name".to_string()),
    }
}

#[test]
fn acme_sh_keeps_keys_unless_it_is_told_otherwise() {
    let mut estate = Builder::default();
    estate.pair("/root/.acme.sh/a.example_ecc/a.example.cer", "/root/.acme.sh/a.example_ecc/a.example.key", 1);
    estate.estate.settings = vec![acme_sh(true)];
    assert_eq!(estate.findings(), []);
    estate.estate.settings = vec![acme_sh(false)];
    let found = estate.findings();
    assert_eq!(ids(&found), ["renewer-keeps-key"]);
    assert!(fixes(&found)[0].ends_with("$a Le_ForceNewDomainKey='1' /root/.acme.sh/a.example_ecc/a.example.conf"));
}

#[test]
fn what_acme_sh_copies_is_its_pair_and_no_copy() {
    let mut estate = Builder::default();
    estate.pair("/root/.acme.sh/a.example_ecc/a.example.cer", "/root/.acme.sh/a.example_ecc/a.example.key", 1);
    estate.pair("/e/a.pem", "/e/own name", 1);
    estate.estate.settings = vec![acme_sh(true)];
    assert_eq!(estate.findings(), []);
    estate.file("/e/a.pem", held(&[certificate(2)], &[]));
    estate.estate.files.remove(2);
    let found = estate.findings();
    assert_eq!(ids(&found), ["pair-mismatch"]);
    assert!(fixes(&found)[0].ends_with("acme.sh --renew --force --domain a.example --ecc"), "{found:?}");
}

#[test]
fn lego_is_known_by_its_resource_and_caddy_by_its_folders() {
    let mut estate = Builder::default();
    estate.file("/l/certificates/a.example.crt", held(&[certificate(1)], &[]));
    estate.file("/l/certificates/a.example.key", held(&[], &[2]));
    estate.estate.settings =
        vec![Setting::Lego { file: "/l/certificates/a.example.json".to_string(), domain: "a.example".to_string() }];
    let found = estate.findings();
    assert_eq!(
        (ids(&found), fixes(&found)[0].as_str()),
        (vec!["pair-mismatch"], "lego --path /l --domains a.example --http run")
    );

    let mut estate = Builder::default();
    estate.file("/c/certificates/acme/a.example/a.example.crt", held(&[certificate(1)], &[]));
    estate.file("/c/certificates/acme/a.example/a.example.key", held(&[], &[2]));
    let found = estate.findings();
    let site = "/c/certificates/acme/a.example";
    assert_eq!(ids(&found), ["pair-mismatch"]);
    assert_eq!(fixes(&found)[0], format!("mv -T -- {site} {site}.broken && systemctl restart caddy"));
}

#[test]
fn a_tool_that_has_a_timer_renews_what_is_its_own() {
    let site = "/c/certificates/acme/a.example/a.example";
    for (crt, key, line) in [
        ("/l/archive/a/cert1.pem", "/l/archive/a/privkey1.pem", "/usr/bin/certbot -q renew --no-random-sleep-on-renew"),
        (&format!("{site}.crt"), &format!("{site}.key"), "/usr/bin/caddy run --environ --config /etc/caddy/Caddyfile"),
    ] {
        let mut one = certificate(1);
        one.not_after = super::at(super::NOW + super::DAY);
        let mut estate = Builder::default();
        estate.file(crt, held(&[one.clone()], &[]));
        estate.file(key, held(&[], &[1]));
        if crt.starts_with("/l") {
            estate.link("/l/live/a/cert.pem", crt);
            estate.link("/l/live/a/privkey.pem", key);
        }
        let expiring = |estate: &Builder| estate.findings().iter().any(|one| one.kind == Kind::CertificateExpiring);
        assert!(expiring(&estate), "{crt}");
        estate.command("renew.service", line);
        assert!(!expiring(&estate), "{crt}");
    }
}
