//! The commands that look at files, and those that change the configuration and the database.

use keywheel_tests::ca::Ca;
use keywheel_tests::place::{Place, repository};

use crate::seen::Seen;

/// `certificate …`, `path`, `version`, `completion`, `man`.
pub fn looks(seen: &mut Seen) {
    let place = &Place::new();
    for name in ["root.crt", "intermediate.crt", "leaf.crt", "many.crt", "request.csr"] {
        let known = repository().join("crates/keywheel-wire/src/x509/inspect/testdata").join(name);
        place.write(name, std::fs::read(known).expect("it can be read"));
        seen.result("certificate-inspect", place, &["certificate", "inspect", name]);
        seen.result("certificate-key", place, &["certificate", "key", name]);
        seen.result("certificate-fingerprint", place, &["certificate", "fingerprint", name]);
    }
    for kind in ["rsa:2048", "ed25519"] {
        let openssl = format!("req -x509 -newkey {kind} -nodes -keyout {kind}.key -out {kind}.crt -subj /CN=a -days 9");
        place.run("openssl", &openssl.split_whitespace().collect::<Vec<_>>()).ok();
        seen.result("certificate-inspect", place, &["certificate", "inspect", &format!("{kind}.crt")]);
    }
    place.write("chain.crt", [place.read("leaf.crt"), place.read("intermediate.crt")].concat());
    seen.result("certificate-inspect", place, &["certificate", "inspect", "--bundle", "chain.crt"]);
    seen.failure(2, place, &["certificate", "inspect", "absent.crt"]);
    seen.failure(2, place, &["certificate", "inspect", "--short", "leaf.crt"]);
    let fingerprint = ["certificate", "fingerprint", "--bundle", "--sha1", "chain.crt"];
    seen.result("certificate-fingerprint", place, &[&fingerprint[..], &["--insecure"]].concat());
    seen.failure(2, place, &fingerprint);
    seen.result("certificate-key", place, &["certificate", "key", "--out", "key.pem", "leaf.crt"]);
    seen.failure(2, place, &["certificate", "key", "key.pem"]);

    seen.result("certificate-format", place, &["certificate", "format", "leaf.crt"]);
    seen.result("certificate-format", place, &["certificate", "format", "--out", "leaf.der", "leaf.crt"]);
    seen.result("certificate-format", place, &["certificate", "format", "leaf.der"]);
    seen.failure(2, place, &["certificate", "format", "key.pem"]);
    let layout = ["certificate", "layout", "ed25519.crt", "ed25519.key"];
    seen.result("certificate-layout", place, &layout);
    seen.result("certificate-layout", place, &[&layout[..], &["--to", "generations"]].concat());
    seen.result("certificate-layout", place, &[&layout[..], &["--to", "combined", "--file", "both.pem"]].concat());
    seen.result("certificate-layout", place, &layout);
    seen.failure(2, place, &[&layout[..], &["--to", "upside-down"]].concat());
    seen.result("certificate-layout", place, &[&layout[..], &["--to", "flat"]].concat());
    seen.failure(2, place, &[&layout[..], &["--to", "combined"]].concat());
    place.write("p12.password", "changeit");
    let p12 = ["certificate", "p12", "--password-file", "p12.password", "a.p12"];
    seen.result("certificate-p12", place, &[&p12[..], &["ed25519.crt", "ed25519.key"]].concat());
    seen.result("certificate-p12", place, &[&p12[..], &["--force", "--ca", "chain.crt"]].concat());
    seen.failure(2, place, &[&p12[..], &["--force", "leaf.crt", "ed25519.key"]].concat());
    seen.result("certificate-verify", place, &["certificate", "verify", "--roots", "ed25519.crt", "ed25519.crt"]);
    seen.failure(1, place, &["certificate", "verify", "--roots", "root.crt", "ed25519.crt"]);
    let needs = ["certificate", "needs-renewal", "ed25519.crt"];
    seen.result_with("certificate-needs-renewal", 1, place, &needs);
    seen.result("certificate-needs-renewal", place, &[&needs[..], &["--expires-in", "999h"]].concat());
    seen.failure(2, place, &["certificate", "needs-renewal", "absent.crt"]);
    seen.failure(255, place, &["certificate", "needs-renewal", "request.csr"]);
    seen.failure(255, place, &["certificate", "needs-renewal", "--no-such-flag"]);

    let doctor = ["doctor", "--unit-path", ".", "."];
    seen.result("doctor", place, &doctor);
    place.run("cp", &["rsa:2048.key", "ed25519.key"]).ok();
    place.run("ln", &["-s", "/", "elsewhere"]).ok();
    seen.result_with("doctor", 1, place, &doctor);
    seen.failure(2, place, &["doctor", "absent"]);

    seen.result("path", place, &["path"]);
    seen.result("version", place, &["version"]);
    seen.result("completion", place, &["completion", "bash"]);
    seen.failure(2, place, &["completion", "no-such-shell"]);
    seen.result("man", place, &["man"]);
    seen.result("man", place, &["man", "--output-dir", "pages"]);
    seen.failure(2, place, &["no-such-command"]);
}

/// `ca provisioner …`, `ca policy …`, `db …`.
pub fn edits(seen: &mut Seen) {
    let ca = Ca::start_with(&["--ssh"]);
    let place = &ca.place;
    place.write("serials", "10\n0x0b\n");
    seen.result("db-import", place, &["db", "import", "--serials", "serials"]);
    let url = format!("{}/crl", ca.url());
    place.run("curl", &["-sSf", "--cacert", "step/certs/root_ca.crt", "-o", "ca.crl", &url]).ok();
    seen.result("db-import", place, &["db", "import", "--crl", "ca.crl"]);
    seen.failure(2, place, &["db", "import"]);
    seen.result("db-check", place, &["db", "check"]);
    seen.result("db-backup", place, &["db", "backup", "backup.db"]);
    seen.failure(2, place, &["db", "backup", "backup.db"]);
    let other = ["--database", "sqlite:other/keywheel.db"];
    seen.result("db-migrate", place, &[&["db", "migrate"], &other[..]].concat());
    seen.result("db-migrate", place, &["db", "migrate"]);
    seen.result("db-restore", place, &[&["db", "restore", "backup.db"], &other[..]].concat());
    seen.failure(2, place, &[&["db", "restore", "backup.db"], &other[..]].concat());
    seen.failure(2, place, &["db", "check", "--database", "sqlite:absent.db"]);

    place.write("leaf.tpl", "{\"subject\": {{ toJson .Subject }}, \"sans\": {{ toJson .SANs }}}");
    place.write("data.json", "{\"unit\": [1, 2]}");
    let list = ["ca", "provisioner", "list"];
    seen.result("ca-provisioner-list", place, &list);
    seen.failure(4, place, &[&list[..], &["--ca-url", "https://localhost:1"]].concat());
    let add = ["ca", "provisioner", "add", "jobs", "--create", "--password-file", "password"];
    let options = [
        "--x509-min-dur=5m --x509-max-dur=8h --x509-default-dur=1h --disable-renewal=false --ssh",
        "--allow-renewal-after-expiry --disable-smallstep-extensions=false --after-rekey=revokeAfterOverlap",
        "--overlap=1h --x509-template=leaf.tpl --x509-template-data=data.json --ssh-user-min-dur=5m --ssh-host-max-dur=999h",
    ];
    let options: Vec<&str> = options.iter().flat_map(|line| line.split_whitespace()).collect();
    seen.result("ca-provisioner-add", place, &[&add[..], &options].concat());
    seen.failure(2, place, &add);
    let add = ["ca", "provisioner", "add", "machines", "--type", "X5C"];
    seen.result("ca-provisioner-add", place, &[&add[..], &["--x5c-roots", "step/certs/root_ca.crt"]].concat());
    seen.result("ca-provisioner-add", place, &["ca", "provisioner", "add", "pop", "--type", "SSHPOP"]);
    seen.result("ca-provisioner-show", place, &["ca", "provisioner", "show", "jobs"]);
    seen.failure(2, place, &["ca", "provisioner", "show", "nobody"]);
    seen.result("ca-provisioner-update", place, &["ca", "provisioner", "update", "jobs", "--x509-max-dur", "9h"]);
    seen.failure(2, place, &["ca", "provisioner", "update", "jobs", "--x509-max-dur", "9x"]);
    let config = ["--ca-config", "step/config/ca.json"];
    seen.result("ca-provisioner-list", place, &[&list[..], &config].concat());
    seen.result("ca-provisioner-remove", place, &["ca", "provisioner", "remove", "jobs"]);
    seen.failure(2, place, &["ca", "provisioner", "remove", "jobs"]);

    let policy = |words: &[&'static str]| [&["ca", "policy", "authority"], words].concat();
    seen.result("ca-policy-authority", place, &policy(&["view"]));
    for kind in
        [["cn", "A Service"], ["dns", "*.local"], ["email", "@a.example"], ["ip", "10.0.0.0/8"], ["uri", "a.example"]]
    {
        for side in ["allow", "deny"] {
            seen.result("ca-policy-authority", place, &policy(&["x509", side, kind[0], kind[1]]));
        }
    }
    seen.result("ca-policy-authority", place, &policy(&["x509", "wildcards", "allow"]));
    seen.result("ca-policy-authority", place, &policy(&["x509", "wildcards", "deny"]));
    seen.result("ca-policy-authority", place, &policy(&["view"]));
    seen.failure(2, place, &policy(&["x509", "deny", "ip", "no-address"]));
    seen.result("ca-policy-authority", place, &policy(&["remove"]));
}
