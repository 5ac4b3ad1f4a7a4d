//! A service whose key is in a token: its certificate is rekeyed and renewed, and the keys stay where they are.

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::place::{Place, keywheel};
use keywheel_tests::softhsm::{MODULE, PIN, token};

use crate::authority::ca;

/// What names the token of a service, without its PIN.
pub(crate) struct Service {
    ca: Ca,
    /// The value of `--kms`.
    pub(crate) kms: String,
}

impl Service {
    /// A CA with its keys in one token, and another token for a service.
    pub(crate) fn start() -> Self {
        let mut ca = ca(&[]);
        let kms = token(&mut ca.place, "web");
        Self { ca, kms }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.ca.place
    }

    /// Makes a key in the token as its owner would: elsewhere, and imports it; SoftHSM's own tool does no more.
    pub(crate) fn key(&self, id: &str, label: &str) {
        let file = format!("{label}.pem");
        let words = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &file];
        self.place().run("openssl", &words).ok();
        let words = ["--import", &file, "--token", "web", "--label", label, "--id", id, "--pin", PIN];
        self.place().run("softhsm2-util", &[&["--module", MODULE], &words[..]].concat()).ok();
    }

    /// A first certificate for a key that is in the token; its file is `svc.crt`.
    pub(crate) fn certificate(&self, label: &str) {
        let public = self.public(label);
        std::fs::remove_file(self.place().file(&format!("{label}.pem"))).expect("the copy outside of the token goes");
        let key = format!("pkcs11:object={label}");
        let words =
            ["certificate", "--force", "svc.example", "svc.crt", &key, "--provisioner-password-file", "password"];
        let done = self.run(&words).ok();
        assert!(done.stderr.ends_with(&format!("✔ Certificate: svc.crt\n✔ Private Key: {key}\n")), "{}", done.stderr);
        self.belongs_to(&public);
    }

    /// OpenSSL says that the certificate is for this key, which it knows from when the key was made.
    pub(crate) fn belongs_to(&self, public: &str) {
        let place = self.place();
        let now = place.run("openssl", &["x509", "-in", "svc.crt", "-noout", "-pubkey"]).ok().stdout;
        assert_eq!(now, public);
        let chain = ["verify", "-CAfile", "step/certs/root_ca.crt", "-untrusted", "svc.crt", "svc.crt"];
        place.run("openssl", &chain).ok();
    }

    pub(crate) fn public(&self, label: &str) -> String {
        self.place().run("openssl", &["pkey", "-in", &format!("{label}.pem"), "-pubout"]).ok().stdout
    }

    /// `keywheel ca` with these words and the token.
    pub(crate) fn run(&self, words: &[&str]) -> keywheel_tests::place::Done {
        self.place().keywheel(&[&["ca"], words, &["--kms", &self.kms]].concat())
    }

    /// Files of ours beside the certificate that should not be there at rest.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place().path()).expect("the folder can be read");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".svc")).collect()
    }
}

#[test]
fn a_key_in_a_token_is_rekeyed_to_another_one_there_and_only_the_certificate_is_replaced() {
    let service = Service::start();
    service.key("01", "web-1");
    service.key("02", "web-2");
    let second = service.public("web-2");
    service.certificate("web-1");
    let rekey = ["rekey", "--force", "svc.crt", "pkcs11:object=web-1", "--private-key", "pkcs11:id=02"];
    let hook = "sh -c 'echo $KEYWHEEL_KEY > told'";
    let done = service.run(&[&rekey[..], &["--exec", hook]].concat()).ok();
    assert_eq!(done.stderr.trim(), "✔ Certificate: svc.crt");
    service.belongs_to(&second);
    let told = service.place().read("told");
    assert!(told.starts_with(&format!("pkcs11:module-path={MODULE};token=web;id=02?pin-source=")), "{told}");
    assert_eq!(service.left_over(), Vec::<String>::new());
    // The same once more: the certificate has that key already.
    service.run(&rekey).fails(2, "has the key of '--private-key' already; nothing was changed");
    // By token instead of TLS, and through renewal.
    service.run(&["renew", "--force", "svc.crt", "pkcs11:object=web-2"]).ok();
    service.belongs_to(&second);
    service.run(&["renew", "--force", "--mtls=false", "svc.crt", "pkcs11:object=web-2"]).ok();
    service.belongs_to(&second);
}

#[test]
fn a_key_moves_from_a_file_into_a_token_and_back() {
    let service = Service::start();
    let (certificate, key) = service.ca.certificate("svc");
    let old_key = service.place().read(&key);
    service.key("01", "web-1");
    let in_token = service.public("web-1");
    let words = ["rekey", "--force", &certificate, &key, "--private-key", "pkcs11:object=web-1"];
    let done = service.run(&words).ok();
    assert!(
        done.stderr.contains("the key svc.key is not that of the certificate any more: delete it"),
        "{}",
        done.stderr
    );
    service.belongs_to(&in_token);
    assert_eq!(service.place().read(&key), old_key);
    let words = ["genpkey", "-algorithm", "ED25519", "-out", "next.pem"];
    service.place().run("openssl", &words).ok();
    let in_file = service.public("next");
    service.run(&["rekey", "--force", "svc.crt", "pkcs11:object=web-1", "--private-key", "next.pem"]).ok();
    service.belongs_to(&in_file);
}

#[test]
fn what_cannot_be_done_with_a_key_in_a_token_is_refused_and_nothing_is_changed() {
    let service = Service::start();
    service.key("01", "web-1");
    service.key("02", "web-2");
    service.certificate("web-1");
    let before = service.place().read("svc.crt");
    let rekey = |words: &[&str]| service.run(&[&["rekey", "--force"], words].concat());
    let (old, new) = ("pkcs11:object=web-1", "pkcs11:object=web-2");
    rekey(&["svc.crt", old]).fails(2, "flag '--kms' requires the '--private-key' flag");
    rekey(&["svc.crt", old, "--private-key", new, "--out-key", "x"])
        .fails(2, "'--kms' is incompatible with '--out-key'");
    rekey(&["svc.crt", old, "--private-key", new, "--daemon"]).fails(2, "'--kms' is incompatible with '--daemon'");
    rekey(&["svc.crt", old, "--private-key", old]).fails(2, "that would be no new key");
    rekey(&["svc.crt", new, "--private-key", old]).fails(2, "has the key of '--private-key' already");
    rekey(&["svc.crt", "pkcs11:object=web-3", "--private-key", new]).fails(2, "holds no private key with object=web-3");
    rekey(&["svc.crt", old, "--private-key", "pkcs11:object=web-3"]).fails(2, "holds no private key with object=web-3");
    rekey(&["svc.crt", old, "--private-key", "pkcs11:token=lab;object=x"])
        .fails(2, "its token is another than that of");
    rekey(&["svc.crt", old, "--private-key", "pkcs11:type=private"]).fails(2, "does not say which key is meant");
    rekey(&["svc.crt", old, "--private-key", new, "--p12", "x.p12", "--p12-password-file", "password"])
        .fails(2, "a key in a token does not leave it");
    let wrong = service.kms.replace("pin-source", "pin-value=99999999&x-was");
    let words = ["ca", "rekey", "--force", "svc.crt", old, "--private-key", new, "--kms", &wrong];
    let refused = service.place().keywheel(&words).fails(2, "the PIN does not open the token 'web'");
    assert!(!refused.stderr.contains("99999999"), "{}", refused.stderr);
    let none = service.kms.split('?').next().expect("a URI");
    let words = ["ca", "rekey", "--force", "svc.crt", old, "--private-key", new, "--kms", none];
    service.place().keywheel(&words).fails(2, "the token 'web' wants its PIN");
    let would = rekey(&["--dry-run", "svc.crt", old, "--private-key", new]).ok();
    assert!(would.stdout.contains("nothing was changed"), "{}", would.stdout);
    assert_eq!(service.place().read("svc.crt"), before);
    assert_eq!(service.left_over(), Vec::<String>::new());
}

#[test]
fn a_certificate_that_is_not_taken_goes_back_and_the_next_run_gets_the_same_one() {
    let service = Service::start();
    service.key("01", "web-1");
    service.key("02", "web-2");
    let second = service.public("web-2");
    service.certificate("web-1");
    let before = service.place().read("svc.crt");
    let words = ["rekey", "--force", "svc.crt", "pkcs11:object=web-1", "--private-key", "pkcs11:object=web-2"];
    let hook = "sh -c 'echo $KEYWHEEL_SERIAL >> told; false'";
    let failed = service.run(&[&words[..], &["--exec", hook, "--rollback"]].concat());
    failed.fails(7, "the hook failed; rolled back");
    assert_eq!(service.place().read("svc.crt"), before);
    assert_eq!(service.left_over(), Vec::<String>::new());
    let failed = service.run(&[&words[..], &["--exec", hook]].concat());
    failed.fails(7, "are in place, but the hook failed");
    service.belongs_to(&second);
    assert_eq!(service.left_over(), Vec::<String>::new());
    let told = service.place().read("told");
    let serials: Vec<&str> = told.lines().collect();
    assert_eq!(serials.len(), 3, "forward, back, and forward again: {told}");
    assert!(serials[0] == serials[2] && serials[0] != serials[1], "{told}");
}

#[test]
fn a_run_that_was_killed_before_its_hook_tells_of_it_the_next_time() {
    let service = Service::start();
    service.key("01", "web-1");
    service.key("02", "web-2");
    let second = service.public("web-2");
    service.certificate("web-1");
    let words = ["rekey", "--force", "svc.crt", "pkcs11:object=web-1", "--private-key", "pkcs11:object=web-2"];
    // The hook kills the program that runs it, before it has heard how the hook ended.
    let killed = service.run(&[&words[..], &["--exec", "sh -c 'kill -9 $PPID'"]].concat());
    assert_eq!(killed.code, 137, "{}", killed.stderr);
    service.belongs_to(&second);
    assert!(!service.left_over().is_empty());
    let done = service.run(&[&words[..], &["--exec", "touch told"]].concat()).ok();
    assert!(done.stderr.contains("went on with what an earlier run had left"), "{}", done.stderr);
    assert!(service.place().file("told").exists());
    service.belongs_to(&second);
    assert_eq!(service.left_over(), Vec::<String>::new());
}

#[test]
fn a_run_that_was_killed_on_its_way_back_tells_of_it_the_next_time() {
    let service = Service::start();
    service.key("01", "web-1");
    service.key("02", "web-2");
    service.certificate("web-1");
    let before = service.place().read("svc.crt");
    let words = ["rekey", "--force", "svc.crt", "pkcs11:object=web-1", "--private-key", "pkcs11:object=web-2"];
    // It fails the first time, and the second time it kills the program that runs it.
    let hook = "sh -c 'test -e once && kill -9 $PPID; touch once; false'";
    let killed = service.run(&[&words[..], &["--rollback", "--exec", hook]].concat());
    assert_eq!(killed.code, 137, "{}", killed.stderr);
    assert_eq!(service.place().read("svc.crt"), before);
    let later = ["--expires-in", "1h", "--exec", "touch told"];
    service.run(&[&words[..], &later].concat()).ok();
    assert!(service.place().file("told").exists());
    assert_eq!(service.place().read("svc.crt"), before);
    assert_eq!(service.left_over(), Vec::<String>::new());
}

#[test]
fn a_daemon_renews_a_certificate_whose_key_is_in_a_token() {
    let service = Service::start();
    service.key("01", "web-1");
    let public = service.public("web-1");
    service.certificate("web-1");
    let mut command = service.place().command(keywheel());
    command.args(["ca", "renew", "--daemon", "--renew-period", "1s", "--exec", "touch told", "--kms", &service.kms]);
    command.args(["svc.crt", "pkcs11:object=web-1"]);
    let mut daemon = Background::start(command);
    for _ in 0..2 {
        let before = service.place().read("svc.crt");
        daemon.wait_for("svc.example certificate renewed, next in 1s");
        assert_ne!(service.place().read("svc.crt"), before);
        service.belongs_to(&public);
    }
    assert!(service.place().file("told").exists());
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    assert_eq!(service.left_over(), Vec::<String>::new());
}

#[test]
fn a_key_in_a_token_speaks_for_its_certificate_wherever_one_may() {
    let mut service = Service::start();
    service.key("01", "web-1");
    service.certificate("web-1");
    let provisioner = ["ca", "provisioner", "add", "x", "--type", "X5C", "--x5c-roots", "step/certs/root_ca.crt"];
    service.place().keywheel(&provisioner).ok();
    service.ca.restart(&[]);
    let x5c = ["--x5c-cert", "svc.crt", "--x5c-key", "pkcs11:object=web-1", "--provisioner", "x"];
    service.run(&[&["certificate", "other.example", "other.crt", "other.key"], &x5c[..]].concat()).ok();
    let chain = ["verify", "-CAfile", "step/certs/root_ca.crt", "-untrusted", "other.crt", "other.crt"];
    service.place().run("openssl", &chain).ok();
    let token = service.run(&[&["token", "third.example"], &x5c[..]].concat()).ok();
    service.place().write("token", token.stdout);
    let words = ["ca", "certificate", "third.example", "third.crt", "third.key", "--token-file", "token"];
    service.place().keywheel(&words).ok();
    service.run(&["revoke", "--cert", "svc.crt", "--key", "pkcs11:object=web-1"]).ok();
    service.run(&["renew", "--force", "svc.crt", "pkcs11:object=web-1"]).fails(3, "");
}
