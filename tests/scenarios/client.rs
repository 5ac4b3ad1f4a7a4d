//! Our client against our CA (`TestClient_*`, `GetServerTLSConfig_renew`, and the tables of the reference's command line).

use keywheel_tests::ca::{Background, Ca, free_port};
use keywheel_tests::place::{Place, keywheel};
use keywheel_tests::provisioner::{csr, new_key};
use keywheel_wire::jose::jws::Jws;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::x509::certificate::Certificate;
use serde_json::{Value, json};

use crate::lab::{Lab, Leaf};

fn certificate(place: &Place, name: &str) -> Certificate {
    Certificate::from_pem(place.read(name).as_bytes()).expect("a certificate")
}

/// The key in one file is that of the certificate in the other, as OpenSSL reads both.
#[track_caller]
fn pair_matches(place: &Place, certificate: &str, key: &str) {
    let of_certificate = place.run("openssl", &["x509", "-in", certificate, "-noout", "-pubkey"]).ok().stdout;
    let of_key = place.run("openssl", &["pkey", "-in", key, "-pubout"]).ok().stdout;
    assert_eq!(of_certificate, of_key, "{certificate} and {key} do not belong together");
}

#[test]
fn our_client_rekeys_and_the_files_hold_what_the_ca_answered() {
    let lab = Lab::start();
    let place = &lab.ca.place;
    lab.ca.certificate("svc.local");
    let old = certificate(place, "svc.local.crt");
    place.keywheel(&["ca", "rekey", "--force", "svc.local.crt", "svc.local.key"]).ok();
    let new = certificate(place, "svc.local.crt");
    assert_ne!(new.spki(), old.spki());
    assert_eq!(new.subject(), old.subject());
    assert_eq!(new.issuer(), lab.issuer.0.subject());
    pair_matches(place, "svc.local.crt", "svc.local.key");
    let chain = Certificate::chain_from_pem(place.read("svc.local.crt").as_bytes()).expect("certificates");
    assert_eq!(chain.len(), 2, "leaf and issuer");
    assert_eq!(chain[1].der(), lab.issuer.0.der());
}

#[test]
fn our_client_says_that_the_ca_refused_exits_3_and_leaves_the_pair_alone() {
    let mut lab = Lab::start();
    lab.ca.certificate("svc.local");
    lab.change_provisioner(|provisioner| provisioner["claims"]["disableRenewal"] = json!(true));
    let place = &lab.ca.place;
    let before = (place.read("svc.local.crt"), place.read("svc.local.key"));
    for command in ["rekey", "renew"] {
        place
            .keywheel(&["ca", command, "--force", "svc.local.crt", "svc.local.key"])
            .fails(3, "The request lacked necessary authorization to be completed");
        assert_eq!((place.read("svc.local.crt"), place.read("svc.local.key")), before);
    }
}

#[test]
fn our_client_renews_with_the_same_key() {
    let lab = Lab::start();
    let place = &lab.ca.place;
    lab.ca.certificate("svc.local");
    let (old, key) = (certificate(place, "svc.local.crt"), place.read("svc.local.key"));
    place.keywheel(&["ca", "renew", "--force", "svc.local.crt", "svc.local.key"]).ok();
    let new = certificate(place, "svc.local.crt");
    assert_ne!(new.serial(), old.serial());
    assert_eq!(new.spki(), old.spki());
    assert_eq!(place.read("svc.local.key"), key, "the key file is not touched");
}

#[test]
fn our_client_renews_and_rekeys_by_token() {
    let mut lab = Lab::start();
    let place = &lab.ca.place;
    lab.ca.certificate("svc.local");
    let first = certificate(place, "svc.local.crt");
    place.keywheel(&["ca", "renew", "--mtls=false", "--force", "svc.local.crt", "svc.local.key"]).ok();
    let second = certificate(place, "svc.local.crt");
    assert_ne!(second.serial(), first.serial());
    place.keywheel(&["ca", "rekey", "--mtls=false", "--force", "svc.local.crt", "svc.local.key"]).ok();
    let third = certificate(place, "svc.local.crt");
    assert_ne!(third.spki(), second.spki());
    pair_matches(place, "svc.local.crt", "svc.local.key");
    // Also where the certificate is over, if the CA allows that.
    lab.change_provisioner(|provisioner| provisioner["claims"]["allowRenewalAfterExpiry"] = json!(true));
    let ends = jiff::SignedDuration::from_secs(2);
    let over = lab.make(&Leaf { ends, ..lab.leaf("over.local") });
    std::thread::sleep(std::time::Duration::from_secs(4));
    let files = [over.certificate_file(), over.key_file()];
    for words in [&["ca", "renew", "--mtls=false"], &["ca", "rekey", "--mtls=false"]] {
        lab.ca.place.keywheel(&[&words[..], &["--force"], &files].concat()).ok();
        let now = Certificate::from_pem(&std::fs::read(files[0]).expect("there")).expect("a certificate");
        assert!(now.not_after() > jiff::Timestamp::now(), "{words:?}");
    }
    pair_matches(&lab.ca.place, files[0], files[1]);
}

#[test]
fn our_client_lists_the_provisioners() {
    let lab = Lab::start();
    let listed = lab.ca.place.keywheel(&["ca", "provisioner", "list"]).ok().stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["name"], "admin");
    assert_eq!(listed[0]["key"]["kid"], lab.key_id());
    let elsewhere = Ca::start();
    let fails = elsewhere.place.keywheel(&["ca", "provisioner", "list", "--ca-url", &lab.ca.url()]);
    assert_ne!(fails.code, 0, "a CA that another root vouches for was believed");
}

#[test]
fn our_daemon_replaces_the_pair_again_and_again_and_the_ca_accepts_each() {
    let lab = Lab::start();
    let place = &lab.ca.place;
    lab.ca.certificate("svc.local");
    let mut command = place.command(keywheel());
    command.args(["ca", "rekey", "--daemon", "--rekey-period", "2s", "svc.local.crt", "svc.local.key"]);
    command.args(["--exec", "cp svc.local.crt seen.crt"]);
    let daemon = Background::start(command);
    let mut keys = vec![certificate(place, "svc.local.crt").spki().to_vec()];
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while keys.len() < 4 {
        assert!(std::time::Instant::now() < until, "the daemon made {} new keys in a minute", keys.len() - 1);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = std::fs::read(place.file("seen.crt")).unwrap_or_default();
        if let Ok(now) = Certificate::from_pem(&now)
            && !keys.contains(&now.spki().to_vec())
        {
            keys.push(now.spki().to_vec());
        }
    }
    drop(daemon);
    pair_matches(place, "svc.local.crt", "svc.local.key");
    place.keywheel(&["ca", "renew", "--force", "svc.local.crt", "svc.local.key"]).ok();
}

#[test]
fn the_server_shows_a_fresh_certificate_of_its_own_after_a_reload() {
    let mut lab = Lab::start();
    let shown = |lab: &Lab| {
        let port = lab.ca.port;
        let line = format!(
            "openssl s_client -connect localhost:{port} -servername localhost -CAfile step/certs/root_ca.crt \
             -verify_return_error </dev/null 2>/dev/null | openssl x509 -outform PEM"
        );
        let pem = lab.ca.place.run("bash", &["-o", "pipefail", "-c", &line]).ok().stdout;
        Certificate::from_pem(pem.as_bytes()).expect("a certificate")
    };
    let first = shown(&lab);
    let names: Vec<_> = first.subject_alt_names().expect("read").iter().filter_map(|name| name.as_text()).collect();
    assert_eq!(names, ["localhost", "127.0.0.1"]);
    assert_eq!(first.subject().common_name().as_deref(), Some("Step Online CA"));
    lab.reload();
    lab.ca.server.wait_for("certificate was replaced");
    let second = shown(&lab);
    assert_ne!(second.serial(), first.serial());
    assert_ne!(second.spki(), first.spki());
}

#[test]
fn a_ca_url_is_reduced_to_scheme_host_and_port() {
    let ca = Ca::start();
    let port = ca.port;
    let health = |url: &str| ca.place.keywheel(&["ca", "health", "--ca-url", url]);
    for url in [
        format!("https://localhost:{port}"),
        format!("https://localhost:{port}/"),
        format!("https://localhost:{port}/some/path?and=query"),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
    ] {
        assert_eq!(health(&url).ok().stdout.trim(), "ok", "{url}");
    }
    let http = format!("http://localhost:{port}");
    health(&http).fails(2, &format!("invalid value '{http}' for flag '--ca-url'; must have https scheme"));
    for url in ["https://", "https://a b", "https://[::1"] {
        health(url).fails(2, "invalid value");
    }
    // Nobody listens there; it is understood all the same.
    health("::1").fails(4, "");
    health(&format!("[::1]:{}", free_port())).fails(4, "");
}

#[test]
fn a_token_has_the_audience_of_its_purpose_online_and_offline() {
    let lab = Lab::start();
    let place = &lab.ca.place;
    lab.ca.certificate("svc.local");
    let password = ["--provisioner-password-file", "password"];
    let pair = ["--x5c-cert", "svc.local.crt", "--x5c-key", "svc.local.key"];
    let audience = |words: &[&str]| {
        let token = place.keywheel(&[&["ca", "token"], words].concat()).ok().stdout;
        let claims = Jws::parse(token.trim()).expect("a token").claims().expect("an object");
        claims["aud"].as_str().expect("a text").to_owned()
    };
    let url = lab.ca.url();
    assert_eq!(audience(&[&["svc.local"], &password[..]].concat()), format!("{url}/1.0/sign"));
    assert_eq!(audience(&[&["--revoke", "123"], &password[..]].concat()), format!("{url}/1.0/revoke"));
    assert_eq!(audience(&[&["--renew", "svc.local"], &pair[..]].concat()), format!("{url}/renew"));
    // A token for a rekey is bound to its request.
    place.write("svc.csr", csr(&new_key(KeyKind::EcP256)));
    let bound = ["--rekey", "--cnf-file", "svc.csr", "svc.local"];
    assert_eq!(audience(&[&bound, &pair[..]].concat()), format!("{url}/rekey"));
    // Offline the audience is the CA's first name, as in the reference; the CA accepts it.
    let offline = audience(&[&["--offline", "svc.local"], &password[..]].concat());
    let host = offline.strip_prefix("https://localhost").unwrap_or_else(|| panic!("another host: {offline}"));
    assert!(host.ends_with("/1.0/sign") || host == "/sign", "{offline}");
}
