//! The files of acme.sh, lego and Caddy, in the forms that their sources write.

use keywheel_tests::place::Place;

use crate::examination::{authority, certify, examine, new_key, pair, paste, set_mode};

/// `_savedomainconf` writes assignments in single quotes; these are those of an issued certificate.
const ACME_SH: &str = "Le_Domain='a.example'\nLe_Alt='no'\nLe_Webroot='/var/www'\nLe_API='https://acme-v02.api.letsencrypt.org/directory'\n\
    Le_Keylength='ec-256'\nLe_NextRenewTimeStr='2030-01-01T00:00:00Z'\nLe_NextRenewTime='1893456000'\n\
    Le_RealCertPath=''\nLe_RealCACertPath=''\nLe_RealKeyPath='KEY'\nLe_ReloadCmd=''\nLe_RealFullChainPath='CHAIN'\n";

fn acme_sh() -> Place {
    let place = Place::new();
    let folder = ".acme.sh/a.example_ecc";
    pair(&place, "a.example", &format!("{folder}/a.example.cer"), &format!("{folder}/a.example.key"));
    authority(&place, &format!("{folder}/ca.cer"));
    let chain = place.read(&format!("{folder}/a.example.cer")) + &place.read(&format!("{folder}/ca.cer"));
    place.write(&format!("{folder}/fullchain.cer"), &chain);
    // --install-cert copies the key and the chain.
    place.write("tls/a.pem", &chain);
    place.write("tls/a-private", place.read(&format!("{folder}/a.example.key")));
    set_mode(&place, "tls/a-private", 0o600);
    let key = place.file("tls/a-private").display().to_string();
    let settings = ACME_SH.replace("KEY", &key).replace("CHAIN", &place.file("tls/a.pem").display().to_string());
    place.write(&format!("{folder}/a.example.conf"), settings + "Le_ForceNewDomainKey='1'\n");
    place
        .write("crontabs/root", "29 4 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\" > /dev/null\n");
    place
}

#[test]
fn acme_sh_in_order_has_no_finding_and_keeps_keys_without_its_setting() {
    let place = acme_sh();
    let found = examine(&place, &[".acme.sh", "tls"]);
    assert_eq!(found.ids(), Vec::<&str>::new(), "{:#}", found.value);
    let conf = ".acme.sh/a.example_ecc/a.example.conf";
    place.write(conf, place.read(conf).replace("Le_ForceNewDomainKey='1'\n", ""));
    let found = examine(&place, &[".acme.sh", "tls"]);
    assert_eq!(found.ids(), ["renewer-keeps-key"]);
    assert_eq!(found.files("renewer-keeps-key"), [conf]);
    paste(&place, found.fix("renewer-keeps-key"));
    // acme.sh reads its settings with the shell.
    let done = place.run("sh", &["-c", &format!(". ./{conf}; echo $Le_ForceNewDomainKey $Le_Domain")]).ok();
    assert_eq!(done.stdout, "1 a.example\n");
    assert_eq!(examine(&place, &[".acme.sh", "tls"]).ids(), Vec::<&str>::new());
}

#[test]
fn an_installation_of_acme_sh_that_was_cut_off_is_found() {
    // acme.sh writes certificate, key and chain with `cat >`, one after the other.
    let place = acme_sh();
    let folder = ".acme.sh/a.example_ecc";
    new_key(&place, &format!("{folder}/a.example.key"));
    certify(&place, "a.example", &format!("{folder}/a.example.cer"), &format!("{folder}/a.example.key"), &[]);
    place.write(&format!("{folder}/fullchain.cer"), place.read(&format!("{folder}/a.example.cer")));
    place.write("tls/a-private", place.read(&format!("{folder}/a.example.key")));
    let found = examine(&place, &[".acme.sh", "tls"]);
    assert_eq!(found.problems(), ["pair-mismatch"], "{:#}", found.value);
    assert_eq!(found.files("pair-mismatch"), ["tls/a.pem", "tls/a-private"]);
    assert!(found.fix("pair-mismatch").contains("acme.sh --renew --force --domain a.example --ecc"));
    place.write("tls/a.pem", "");
    assert_eq!(examine(&place, &[".acme.sh", "tls"]).problems(), ["torn-file"]);
}

fn lego() -> Place {
    let place = Place::new();
    pair(&place, "a.example", "lego/certificates/a.example.crt", "lego/certificates/a.example.key");
    authority(&place, "lego/certificates/a.example.issuer.crt");
    // The PEM file of `--pem` holds both.
    let both = place.read("lego/certificates/a.example.crt") + &place.read("lego/certificates/a.example.key");
    place.write("lego/certificates/a.example.pem", both);
    set_mode(&place, "lego/certificates/a.example.pem", 0o600);
    let resource = "{\n\t\"domain\": \"a.example\",\n\t\"certUrl\": \"https://ca.example/1\",\n\t\"certStableUrl\": \"https://ca.example/1\"\n}";
    place.write("lego/certificates/a.example.json", resource);
    new_key(&place, "lego/accounts/ca.example/me@a.example/keys/me@a.example.key");
    place
}

#[test]
fn lego_in_order_has_no_finding_and_a_pair_that_does_not_match_is_its_own_to_mend() {
    let place = lego();
    let found = examine(&place, &["lego"]);
    assert_eq!(found.ids(), Vec::<&str>::new(), "{:#}", found.value);
    // lego writes the certificate, then the key.
    new_key(&place, "new.key");
    certify(&place, "a.example", "lego/certificates/a.example.crt", "new.key", &[]);
    let found = examine(&place, &["lego"]);
    assert_eq!(found.problems(), ["pair-mismatch"], "{:#}", found.value);
    assert_eq!(found.fix("pair-mismatch"), "lego --path lego --domains a.example --http run");
}

#[test]
fn a_setting_of_lego_or_caddy_that_keeps_keys_is_found_and_taken_out() {
    let place = Place::new();
    place.write(
        "caddy/Caddyfile",
        "a.example {\n\ttls {\n\t\treuse_private_keys\n\t}\n}\n# reuse_private_keys is bad\n",
    );
    place.write("lego/.lego.yml", "certificates:\n  a:\n    renew:\n      reuseKey: true\n");
    for folder in ["caddy", "lego"] {
        let found = examine(&place, &[folder]);
        assert_eq!(found.ids(), ["renewer-keeps-key"], "{folder}");
        paste(&place, found.fix("renewer-keeps-key"));
        assert_eq!(examine(&place, &[folder]).ids(), Vec::<&str>::new(), "{folder}");
    }
    assert!(place.read("caddy/Caddyfile").contains("# reuse_private_keys is bad"));
}

const SITE: &str = "caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.example";

fn caddy() -> Place {
    let place = Place::new();
    pair(&place, "a.example", &format!("{SITE}/a.example.crt"), &format!("{SITE}/a.example.key"));
    place.write(
        &format!("{SITE}/a.example.json"),
        "{\"sans\":[\"a.example\"],\"issuer_data\":{\"url\":\"https://ca.example/1\"}}",
    );
    new_key(&place, "caddy/acme/acme-v02.api.letsencrypt.org-directory/users/me/me.key");
    place
}

#[test]
fn caddy_in_order_has_no_finding_and_what_a_kill_leaves_is_found() {
    let place = caddy();
    assert_eq!(examine(&place, &["caddy"]).ids(), Vec::<&str>::new());
    let (temporary, lock) = (format!("{SITE}/2718281828"), "caddy/locks/issue_cert_a.example.lock");
    place.write(&temporary, "-----BEGIN EC PRIVATE KEY-----\nMHc");
    place.write(lock, "{\"created\":\"2030-01-01T00:00:00Z\",\"updated\":\"2030-01-01T00:00:00Z\"}\n");
    // A Caddy that runs would look like this, too.
    assert_eq!(examine(&place, &["caddy"]).ids(), Vec::<&str>::new());
    place.run("touch", &["-d", "1 hour ago", &temporary, lock]).ok();
    let found = examine(&place, &["caddy"]);
    assert_eq!(found.ids(), ["leftover-file", "stale-lock"], "{:#}", found.value);
    paste(&place, found.fix("leftover-file"));
    paste(&place, found.fix("stale-lock"));
    assert_eq!(examine(&place, &["caddy"]).ids(), Vec::<&str>::new());
}

#[test]
fn a_broken_pair_of_caddy_is_moved_away_so_that_it_fetches_another() {
    let place = caddy();
    new_key(&place, &format!("{SITE}/a.example.key"));
    let found = examine(&place, &["caddy"]);
    assert_eq!(found.problems(), ["pair-mismatch"]);
    paste(&place, found.fix("pair-mismatch"));
    assert_eq!(examine(&place, &["caddy"]).ids(), ["put-aside"]);
}
