//! A CA whose keys are in a token: made, served, asked, started again.

use std::path::{Path, PathBuf};

use keywheel_tests::ca::{Ca, PASSWORD, configuration, free_port, serve};
use keywheel_tests::place::Place;
use keywheel_tests::softhsm::{MODULE, PIN, token};

/// A CA in a new token, serving.
pub(crate) fn ca(flags: &[&str]) -> Ca {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    let port = free_port();
    init(&place, port, &[&["--kms", &uri], flags].concat());
    let server = serve(&place, &[]);
    Ca { place, port, server }
}

/// Makes a CA in the place.
pub(crate) fn init(place: &Place, port: u16, flags: &[&str]) -> String {
    place.write("password", PASSWORD);
    let address = format!("127.0.0.1:{port}");
    let words = ["ca", "init", "--name", "Lab", "--dns", "localhost", "--address", &address, "--provisioner", "admin"];
    let done = place.keywheel(&[&words[..], &["--password-file", "password"], flags].concat());
    done.ok().stderr
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// OpenSSL accepts the certificate.
fn openssl_judges(place: &Place, certificate: &str) {
    let chain = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "step/certs/root_ca.crt"];
    place.run("openssl", &[&chain[..], &["-untrusted", certificate, certificate]].concat()).ok();
}

#[test]
fn a_ca_in_a_token_issues_rekeys_revokes_and_publishes_with_every_kind_of_key() {
    for kind in [
        &["--kty", "EC"][..],
        &["--kty", "EC", "--crv", "P-384"],
        &["--kty", "EC", "--crv", "P-521"],
        &["--kty", "OKP"],
        &["--kty", "RSA", "--size", "2048"],
    ] {
        let mut ca = ca(kind);
        ca.place.keywheel(&["ca", "health"]).ok();
        let (certificate, key) = ca.certificate("svc.example");
        openssl_judges(&ca.place, &certificate);
        ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
        openssl_judges(&ca.place, &certificate);
        ca.place.keywheel(&["ca", "renew", "--force", &certificate, &key]).ok();
        openssl_judges(&ca.place, &certificate);
        // What is in the token is still there in another process.
        ca.restart(&[]);
        ca.place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
        ca.place.keywheel(&["ca", "revoke", "--cert", &certificate, "--key", &key]).ok();
        let url = format!("{}/crl", ca.url());
        ca.place.run("curl", &["-sSf", "--cacert", "step/certs/root_ca.crt", "-o", "crl", &url]).ok();
        let issuer = "step/certs/intermediate_ca.crt";
        // This command succeeds whatever it finds.
        let said = ca.place.run("openssl", &["crl", "-inform", "DER", "-in", "crl", "-CAfile", issuer, "-noout"]).ok();
        assert!(said.stderr.contains("verify OK"), "{kind:?}: {}", said.stderr);
    }
}

#[test]
fn no_private_key_of_the_ca_is_in_any_file_and_the_pin_only_in_its_own() {
    let mut place = Place::new();
    token(&mut place, "my ca");
    let pin = PIN.replace(' ', "%20");
    let uri = format!("pkcs11:module-path={MODULE};token=my%20ca?pin-value={pin}");
    let said = init(&place, free_port(), &["--ssh", "--kms", &uri]);
    assert!(said.contains("pin-source names a file instead"), "{said}");
    assert!(!said.contains(PIN) && !said.contains(&pin), "{said}");
    for file in files(&place.file("step")) {
        let content = String::from_utf8_lossy(&std::fs::read(&file).expect("the file can be read")).into_owned();
        assert!(!content.contains("PRIVATE KEY"), "{}", file.display());
        let is_pin = file.ends_with("secrets/pkcs11_pin");
        assert_eq!(content.contains(PIN), is_pin, "{}", file.display());
        assert!(!content.contains(&pin), "{}", file.display());
        if is_pin {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).expect("the file is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    let document = configuration(&place);
    assert_eq!(document["kms"]["type"], "pkcs11");
    let uri = document["kms"]["uri"].as_str().expect("a text");
    assert!(uri.ends_with("/step/secrets/pkcs11_pin"), "{uri}");
    assert_eq!(document["key"], "pkcs11:id=7331;object=intermediate-key");
    assert_eq!(document["ssh"]["hostKey"], "pkcs11:id=7332;object=ssh-host-key");
    serve(&place, &[]);
}

#[test]
fn the_names_in_the_token_can_be_chosen_and_the_report_tells_them() {
    let mut place = Place::new();
    let uri = token(&mut place, "lab");
    let root = ["--kms-root", "pkcs11:id=01;object=our root"];
    let issuing = ["--kms-intermediate", "pkcs11:id=02;object=issuing"];
    place.write("password", PASSWORD);
    let address = format!("127.0.0.1:{}", free_port());
    let words = ["ca", "init", "--name", "Lab", "--dns", "localhost", "--address", &address, "--provisioner", "admin"];
    let more = ["--password-file", "password", "--json", "--kms", &uri];
    let done = place.keywheel(&[&words[..], &more, &root, &issuing].concat()).ok();
    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(report["root_key"], "pkcs11:id=01;object=our%20root");
    assert_eq!(report["intermediate_key"], "pkcs11:id=02;object=issuing");
    assert_eq!(report["pin"], serde_json::Value::Null);
    serve(&place, &[]);
}

#[test]
fn many_clients_are_served_at_once() {
    let ca = ca(&[]);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let place = &ca.place;
            scope.spawn(move || {
                let name = format!("svc-{number}.example");
                let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
                let words = ["ca", "certificate", &name, &certificate, &key, "--provisioner-password-file", "password"];
                place.keywheel(&words).ok();
                for _ in 0..3 {
                    place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).ok();
                }
                openssl_judges(place, &certificate);
            });
        }
    });
}

#[test]
fn the_offline_commands_use_the_token_too() {
    let ca = ca(&[]);
    let (certificate, key) = ca.certificate("svc.example");
    ca.place.keywheel(&["ca", "rekey", "--offline", "--force", &certificate, &key]).ok();
    openssl_judges(&ca.place, &certificate);
}
