//! certbot's links and versions.

use std::format;
use std::string::ToString;

use super::estate::{Builder, certificate, fixes, held, ids};
use super::*;

/// A lineage with these versions, whose key has the number of the version.
fn lineage(versions: &[u8]) -> Builder {
    let mut estate = Builder::default();
    for version in versions {
        let file = |part: &str| format!("/l/archive/a/{part}{version}.pem");
        let mut leaf = certificate(*version);
        leaf.names = vec!["a.example".to_string()];
        estate.file(&file("cert"), held(&[leaf.clone()], &[]));
        estate.file(&file("privkey"), held(&[], &[*version]));
        estate.file(&file("chain"), held(&[ca()], &[]));
        estate.file(&file("fullchain"), held(&[leaf, ca()], &[]));
    }
    estate
}

fn ca() -> Certificate {
    let mut ca = certificate(99);
    ca.is_ca = true;
    ca
}

fn link(estate: &mut Builder, part: &str, version: u8) {
    estate.link(&format!("/l/live/a/{part}.pem"), &format!("/l/archive/a/{part}{version}.pem"));
}

fn link_all(estate: &mut Builder, version: u8) {
    for part in ["cert", "privkey", "chain", "fullchain"] {
        link(estate, part, version);
    }
}

#[test]
fn a_lineage_in_order_is_no_finding() {
    let mut estate = lineage(&[1, 2]);
    link_all(&mut estate, 2);
    assert_eq!(estate.findings(), []);
}

#[test]
fn links_to_two_versions_are_one_finding_and_go_to_the_newest_whole_one() {
    let mut estate = lineage(&[1, 2]);
    link(&mut estate, "cert", 2);
    link(&mut estate, "chain", 1);
    link(&mut estate, "fullchain", 1);
    link(&mut estate, "privkey", 1);
    let found = estate.findings();
    assert_eq!(ids(&found), ["certbot-links"]);
    assert!(fixes(&found)[0].contains("ln -sfn -- ../../archive/a/privkey2.pem /l/live/a/privkey.pem"), "{found:?}");
}

#[test]
fn a_missing_link_and_one_to_nowhere_are_found() {
    let mut estate = lineage(&[1]);
    for part in ["cert", "chain", "fullchain"] {
        link(&mut estate, part, 1);
    }
    let found = estate.findings();
    assert_eq!(ids(&found), ["certbot-links"]);
    assert!(found[0].message.starts_with("privkey.pem is missing"), "{found:?}");
    link(&mut estate, "privkey", 7);
    let found = estate.findings();
    assert_eq!(ids(&found), ["certbot-links"]);
    assert!(found[0].message.starts_with("privkey.pem leads to a file that is missing"), "{found:?}");
}

#[test]
fn a_version_that_is_not_used_is_told_and_a_half_one_is_a_leftover() {
    let mut estate = lineage(&[1, 2]);
    link_all(&mut estate, 1);
    assert_eq!(ids(&estate.findings()), ["certbot-not-deployed"]);

    let mut estate = lineage(&[1]);
    link_all(&mut estate, 1);
    estate.file("/l/archive/a/privkey2.pem", held(&[], &[2]));
    estate.file("/l/archive/a/cert2.pem", Content::Empty);
    let found = estate.findings();
    assert_eq!(ids(&found), ["leftover-file"]);
    assert_eq!(fixes(&found)[0], "rm -- /l/archive/a/cert2.pem /l/archive/a/privkey2.pem");
}

#[test]
fn a_key_that_certbot_kept_is_told_once_at_its_settings_or_at_its_files() {
    let mut estate = lineage(&[1, 2]);
    for file in estate.estate.files.iter_mut().filter(|file| file.path.contains("2.pem")) {
        match &mut file.content {
            Content::Held { certificates, keys } => {
                for leaf in certificates.iter_mut().filter(|one| !one.is_ca) {
                    leaf.key = KeyDigest([1; 32]);
                    leaf.not_before = super::at(super::NOW);
                }
                keys.iter_mut().for_each(|key| key.digest = Some(KeyDigest([1; 32])));
            }
            _ => unreachable!(),
        }
    }
    link_all(&mut estate, 2);
    let found = estate.findings();
    assert_eq!(ids(&found), ["key-kept"]);
    let fix = "certbot renew --cert-name a --force-renewal --no-reuse-key --config-dir /l";
    assert_eq!(fixes(&found)[0], fix);
    for (reuse_key, id) in [(true, "renewer-keeps-key"), (false, "key-kept")] {
        estate.estate.settings = vec![Setting::Certbot {
            file: "/l/renewal/a.conf".to_string(),
            root: "/l".to_string(),
            name: "a".to_string(),
            reuse_key,
        }];
        let found = estate.findings();
        assert_eq!((ids(&found), fixes(&found)[0].as_str()), (vec![id], fix));
    }
}
