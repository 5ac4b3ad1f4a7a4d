//! Administration, judged by the real `step`: provisioners, policies and templates take effect in a running CA after a reload.

use std::time::{Duration, Instant};

use keywheel_tests::ca::{Background, Ca, PASSWORD, free_port};
use keywheel_tests::peer;
use keywheel_tests::place::{Done, Place, keywheel};
use serde_json::Value;

use crate::judges::{openssl_verifies, pair_matches};

/// Lets the running CA read its configuration again.
fn reload(ca: &mut Ca) {
    ca.server.signal("HUP");
    ca.server.wait_for("the configuration was read again");
}

/// Asks with the real `step` for a certificate for this name, in `x.crt` and `x.key`.
fn ask(ca: &Ca, step: &std::path::Path, name: &str, flags: &[&str]) -> Done {
    let words = ["ca", "certificate", "--force", "--provisioner-password-file", "password"];
    ca.place.run(step, &[&words[..], flags, &[name, "x.crt", "x.key"]].concat())
}

#[track_caller]
fn refused(done: &Done, because: &str) {
    assert_ne!(done.code, 0, "it was not refused: {}", done.stderr);
    assert!(done.stderr.contains(because), "step should be told {because:?}; it says: {}", done.stderr);
}

/// What OpenSSL prints of a certificate.
fn text(place: &Place, certificate: &str) -> String {
    place.run("openssl", &["x509", "-in", certificate, "-noout", "-text"]).ok().stdout
}

#[test]
fn a_policy_is_enforced_after_a_reload_and_forgotten_after_its_removal() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let policy = |ca: &Ca, words: &[&str]| ca.place.keywheel(&[&["ca", "policy", "authority"], words].concat()).ok();
    policy(&ca, &["x509", "allow", "dns", "*.good.local", "other.local"]);
    policy(&ca, &["x509", "allow", "ip", "10.0.0.0/8"]);
    policy(&ca, &["x509", "deny", "dns", "bad.good.local"]);
    // Not before the reload.
    ask(&ca, &step, "svc.evil.local", &[]).ok();
    reload(&mut ca);
    ask(&ca, &step, "svc.good.local", &[]).ok();
    ask(&ca, &step, "other.local", &[]).ok();
    ask(&ca, &step, "svc.good.local", &["--san", "svc.good.local", "--san", "10.1.2.3"]).ok();
    for (name, flags) in [
        ("svc.evil.local", &[][..]),
        ("bad.good.local", &[]),
        ("a.b.good.local", &[]),
        ("192.168.0.1", &[]),
        ("svc.good.local", &["--san", "svc.good.local", "--san", "svc.evil.local"]),
        ("svc.good.local", &["--san", "svc.good.local", "--san", "mail@good.local"]),
        ("*.good.local", &[]),
    ] {
        refused(&ask(&ca, &step, name, flags), "forbidden");
    }
    policy(&ca, &["x509", "wildcards", "allow"]);
    policy(&ca, &["x509", "allow", "email", "@good.local"]);
    policy(&ca, &["x509", "deny", "dns", "--remove", "bad.good.local"]);
    reload(&mut ca);
    ask(&ca, &step, "*.good.local", &[]).ok();
    ask(&ca, &step, "bad.good.local", &[]).ok();
    ask(&ca, &step, "svc.good.local", &["--san", "svc.good.local", "--san", "mail@good.local"]).ok();
    let shown: Value = serde_json::from_str(&policy(&ca, &["view"]).stdout).expect("it is JSON");
    assert_eq!(shown["x509"]["allow"]["dns"], serde_json::json!(["*.good.local", "other.local"]));
    assert_eq!(shown["x509"]["allowWildcardNames"], true);
    policy(&ca, &["remove"]);
    reload(&mut ca);
    ask(&ca, &step, "svc.evil.local", &[]).ok();
}

#[test]
fn a_policy_also_binds_a_rekey() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    ask(&ca, &step, "svc.old.local", &[]).ok();
    ca.place.keywheel(&["ca", "policy", "authority", "x509", "allow", "dns", "*.new.local"]).ok();
    reload(&mut ca);
    let before = ca.place.read("x.crt");
    refused(&ca.place.run(&step, &["ca", "rekey", "--force", "x.crt", "x.key"]), "forbidden");
    assert_eq!(before, ca.place.read("x.crt"));
}

#[test]
fn a_provisioner_works_after_a_reload_with_its_claims_and_no_more_after_its_removal() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let claims = ["--x509-min-dur", "1m", "--x509-max-dur", "2h", "--x509-default-dur", "1h", "--disable-renewal"];
    let add = ["ca", "provisioner", "add", "short", "--create", "--password-file", "password"];
    ca.place.keywheel(&[&add[..], &claims].concat()).ok();
    reload(&mut ca);
    let provisioner = ["--provisioner", "short"];
    ask(&ca, &step, "s.local", &provisioner).ok();
    openssl_verifies(&ca.place, "x.crt");
    let life = ca.place.run("openssl", &["x509", "-in", "x.crt", "-noout", "-checkend", "3700"]);
    assert_eq!(life.code, 1, "the default of one hour is not kept");
    ask(&ca, &step, "s.local", &["--provisioner", "short", "--not-after", "1m"]).ok();
    refused(&ask(&ca, &step, "s.local", &["--provisioner", "short", "--not-after", "3h"]), "duration");
    for command in ["renew", "rekey"] {
        let done = ca.place.run(&step, &["ca", command, "--force", "x.crt", "x.key"]);
        refused(&done, "lacked necessary authorization");
    }
    // step sees it as ours shows it.
    let list = |program: &std::path::Path| {
        let listed = ca.place.run(program, &["ca", "provisioner", "list"]).ok().stdout;
        serde_json::from_str::<Value>(&listed).expect("it is JSON")
    };
    let (theirs, ours) = (list(&step), list(keywheel()));
    assert_eq!(theirs[1]["name"], "short");
    for (their, our) in theirs.as_array().expect("an array").iter().zip(ours.as_array().expect("an array")) {
        for (key, value) in their.as_object().expect("an object") {
            assert_eq!(Some(value), our.get(key), "{key}");
        }
    }
    let shown = ca.place.keywheel(&["ca", "provisioner", "show", "short"]).ok().stdout;
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("it is JSON")["claims"]["maxTLSCertDuration"], "2h0m0s");

    ca.place.keywheel(&["ca", "provisioner", "update", "short", "--disable-renewal=false", "--name", "renamed"]).ok();
    reload(&mut ca);
    ask(&ca, &step, "s.local", &["--provisioner", "renamed"]).ok();
    ca.place.run(&step, &["ca", "rekey", "--force", "x.crt", "x.key"]).ok();
    let words = ["ca", "token", "s.local", "--provisioner", "renamed", "--provisioner-password-file", "password"];
    let token = ca.place.run(&step, &words).ok().stdout;
    ca.place.keywheel(&["ca", "provisioner", "remove", "renamed"]).ok();
    reload(&mut ca);
    refused(&ca.place.run(&step, &words), "invalid value 'renamed' for flag '--provisioner'");
    let late = ["ca", "certificate", "--force", "--token", token.trim(), "s.local", "y.crt", "y.key"];
    refused(&ca.place.run(&step, &late), "lacked necessary authorization");
    ca.place.keywheel(&["ca", "provisioner", "remove", "renamed"]).fails(2, "no provisioner with name 'renamed'");
}

#[test]
fn a_provisioner_of_a_key_made_by_step_works_with_that_key() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let create = ["crypto", "jwk", "create", "pub.json", "priv.json", "--password-file", "password"];
    ca.place.run(&step, &create).ok();
    ca.place.run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]).ok();
    ca.place.run("openssl", &["pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"]).ok();
    let add = |name: &str, flags: &[&str]| {
        ca.place.keywheel(&[&["ca", "provisioner", "add", name, "--type", "JWK"], flags].concat()).ok();
    };
    add("public", &["--public-key", "pub.json"]);
    add("pem", &["--public-key", "pub.pem"]);
    add("private", &["--private-key", "priv.json", "--password-file", "password"]);
    add("pair", &["--public-key", "pub.json", "--private-key", "priv.json", "--password-file", "password"]);
    reload(&mut ca);
    for (name, key) in [("public", "priv.json"), ("pem", "key.pem")] {
        for (program, out) in [(step.as_path(), "theirs"), (keywheel(), "ours")] {
            let words = ["ca", "token", "k.local", "--provisioner", name, "--key", key];
            let words = [&words[..], &["--provisioner-password-file", "password"]].concat();
            let token = ca.place.run(program, &words).ok().stdout;
            let words = ["ca", "certificate", "--force", "--token", token.trim(), "k.local", out, "k.key"];
            ca.place.run(&step, &words).ok();
            pair_matches(&ca.place, out, "k.key");
        }
    }
    // Where the CA keeps the encrypted key, the password is enough.
    for name in ["private", "pair"] {
        ask(&ca, &step, "k.local", &["--provisioner", name]).ok();
    }
    let done = ca.place.keywheel(&["ca", "provisioner", "add", "admin", "--create", "--password-file", "password"]);
    done.fails(2, "already exists");
    ca.place.keywheel(&["ca", "provisioner", "add", "none"]).fails(2, "--create");
}

#[test]
fn machines_with_a_certificate_of_another_ca_get_one_of_ours_from_an_x5c_provisioner() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let create = |words: &[&str]| {
        ca.place.run(&step, &[&["certificate", "create", "--no-password", "--insecure"], words].concat()).ok();
    };
    create(&["--profile", "root-ca", "Machines", "m_root.crt", "m_root.key"]);
    let by_root = ["--ca", "m_root.crt", "--ca-key", "m_root.key"];
    create(&[&by_root[..], &["--not-after", "3h", "m1", "m1.crt", "m1.key"]].concat());
    create(&["--profile", "self-signed", "--subtle", "stranger", "s.crt", "s.key"]);
    ca.place.keywheel(&["ca", "provisioner", "add", "machines", "--type", "X5C", "--x5c-roots", "m_root.crt"]).ok();
    reload(&mut ca);
    let machine = ["--provisioner", "machines", "--x5c-cert", "m1.crt", "--x5c-key", "m1.key"];
    let end = |file: &str| ca.place.run("openssl", &["x509", "-in", file, "-noout", "-enddate"]).ok().stdout;
    for program in [step.as_path(), keywheel()] {
        let files = ["m1.local", "x.crt", "x.key"];
        ca.place.run(program, &[&["ca", "certificate", "--force"], &machine[..], &files].concat()).ok();
        openssl_verifies(&ca.place, "x.crt");
        assert_eq!(end("x.crt"), end("m1.crt"), "it outlives the certificate that vouches for it");
        let token = ca.place.run(program, &[&["ca", "token", "m1.local"], &machine[..]].concat()).ok().stdout;
        ca.place
            .run(&step, &["ca", "certificate", "--force", "--token", token.trim(), "m1.local", "y.crt", "y.key"])
            .ok();
        ca.place.run(&step, &["ca", "rekey", "--force", "y.crt", "y.key"]).ok();
        pair_matches(&ca.place, "y.crt", "y.key");
        let stranger = ["--provisioner", "machines", "--x5c-cert", "s.crt", "--x5c-key", "s.key"];
        let done = ca.place.run(program, &[&["ca", "certificate", "--force"], &stranger[..], &files].concat());
        refused(&done, "lacked necessary authorization");
    }
    // Mismatched halves are noticed before anybody is asked.
    let words = ["ca", "token", "m1.local", "--provisioner", "machines", "--x5c-cert", "m1.crt", "--x5c-key", "s.key"];
    assert_ne!(ca.place.keywheel(&words).code, 0);
}

const TEMPLATE: &str = r#"{
  "subject": {"commonName": {{ toJson .Subject.CommonName }}, "organization": "Acme",
    "organizationalUnit": {{ toJson .Insecure.User.unit }}},
  "sans": {{ toJson .SANs }},
{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["keyEncipherment", "digitalSignature"],
{{- else }}
  "keyUsage": ["digitalSignature"],
{{- end }}
  "extKeyUsage": ["serverAuth"],
  "crlDistributionPoints": [{{ toJson .Crl }}],
  "extensions": [{"id": "1.2.3.4.5.6", "critical": false, "value": {{ printf "0403%s" "010203" | b64enc | toJson }}}]
}
"#;

#[test]
fn templates_with_data_shape_what_step_gets() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    ca.place.write("leaf.tpl", TEMPLATE);
    ca.place.write("data.json", r#"{"Crl": "http://crl.local/one.crl"}"#);
    let add = ["ca", "provisioner", "add", "shaped", "--create", "--password-file", "password"];
    ca.place.keywheel(&[&add[..], &["--x509-template", "leaf.tpl", "--x509-template-data", "data.json"]].concat()).ok();
    reload(&mut ca);
    for (program, kind, usage) in [
        (step.as_path(), "EC", "Digital Signature\n"),
        (step.as_path(), "RSA", "Digital Signature, Key Encipherment\n"),
        (keywheel(), "EC", "Digital Signature\n"),
    ] {
        let words = ["ca", "certificate", "--force", "--provisioner-password-file", "password", "t.local", "x.crt"];
        let more = ["x.key", "--provisioner", "shaped", "--kty", kind, "--set", "unit=Operations"];
        ca.place.run(program, &[&words[..], &more].concat()).ok();
        openssl_verifies(&ca.place, "x.crt");
        let text = text(&ca.place, "x.crt");
        for expected in [
            "CN = t.local",
            "O = Acme",
            "OU = Operations",
            "DNS:t.local",
            usage,
            "TLS Web Server Authentication\n",
            "URI:http://crl.local/one.crl",
            "1.2.3.4.5.6:",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in {text}");
        }
    }
    // A template that does not give JSON refuses the request, and says so where only the CA's owner sees it.
    ca.place.write("broken.tpl", "{{ fail \"only on Sundays\" }}");
    let update = ["ca", "provisioner", "update", "shaped", "--x509-template", "broken.tpl"];
    ca.place.keywheel(&update).ok();
    reload(&mut ca);
    assert_ne!(ask(&ca, &step, "t.local", &["--provisioner", "shaped"]).code, 0);
    ca.place.keywheel(&["ca", "provisioner", "update", "shaped", "--x509-template", ""]).ok();
    reload(&mut ca);
    ask(&ca, &step, "t.local", &["--provisioner", "shaped"]).ok();
    assert!(!text(&ca.place, "x.crt").contains("Acme"));
}

#[test]
fn expired_certificates_are_renewed_only_where_the_provisioner_allows_it() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let short = ["--x509-min-dur", "1s", "--x509-default-dur", "2s"];
    for (name, flags) in
        [("strict", &short[..]), ("lenient", &[&short[..], &["--allow-renewal-after-expiry"]].concat())]
    {
        let add = ["ca", "provisioner", "add", name, "--create", "--password-file", "password"];
        ca.place.keywheel(&[&add[..], flags].concat()).ok();
    }
    reload(&mut ca);
    for (name, provisioner) in [("strict", "strict"), ("renewed", "lenient"), ("rekeyed", "lenient")] {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let words = ["ca", "certificate", "--provisioner", provisioner, "--provisioner-password-file", "password"];
        ca.place.run(&step, &[&words[..], &["e.local", &certificate, &key]].concat()).ok();
    }
    std::thread::sleep(Duration::from_secs(4));
    let replace = |program: &std::path::Path, command: &str, name: &str| {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        ca.place.run(program, &["ca", command, "--force", &certificate, &key])
    };
    assert_ne!(replace(&step, "renew", "strict").code, 0);
    replace(&step, "renew", "renewed").ok();
    openssl_verifies(&ca.place, "renewed.crt");
    // step refuses to rekey what has expired; ours leaves that to the CA.
    assert_ne!(replace(&step, "rekey", "rekeyed").code, 0);
    replace(keywheel(), "rekey", "rekeyed").ok();
    openssl_verifies(&ca.place, "rekeyed.crt");
    pair_matches(&ca.place, "rekeyed.crt", "rekeyed.key");
    replace(keywheel(), "rekey", "strict").fails(3, "refused");
}

/// An nginx on a free port that ends TLS with a certificate of the CA and passes everything on, as load balancers do.
fn proxy(ca: &Ca) -> (Background, u16) {
    let port = free_port();
    ca.place
        .keywheel(&[
            "ca",
            "certificate",
            "localhost",
            "proxy.crt",
            "proxy.key",
            "--provisioner-password-file",
            "password",
        ])
        .ok();
    let folder = ca.place.path().display();
    ca.place.write(
        "nginx.conf",
        format!(
            "daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate proxy.crt; ssl_certificate_key proxy.key;
    location / {{ proxy_pass https://127.0.0.1:{}; proxy_ssl_verify off; proxy_http_version 1.1; }}
  }}
}}
",
            ca.port
        ),
    );
    let mut command = ca.place.command("nginx");
    command.args(["-c", &ca.place.file("nginx.conf").display().to_string()]);
    command.args(["-p", &ca.place.path().display().to_string(), "-e", "stderr"]);
    let nginx = Background::start(command);
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nginx did not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    (nginx, port)
}

#[test]
fn behind_a_proxy_that_ends_tls_a_signed_token_renews_and_rekeys() {
    let Some(step) = peer::step() else { return };
    let ca = Ca::start();
    let (_nginx, port) = proxy(&ca);
    let url = format!("https://localhost:{port}");
    let through = ["--ca-url", url.as_str(), "--force"];
    let (certificate, key) = ca.certificate("svc.local");
    let pair = [certificate.as_str(), key.as_str()];
    // The proxy has no client certificate to pass on.
    let done = ca.place.keywheel(&[&["ca", "rekey"], &through[..], &pair].concat());
    done.fails(3, "missing client certificate");
    let key_of = || crate::judges::public_key(&ca.place, &certificate);
    let before = key_of();
    ca.place.run(&step, &[&["ca", "renew", "--mtls=false"], &through[..], &pair].concat()).ok();
    assert_eq!(before, key_of());
    ca.place.keywheel(&[&["ca", "renew", "--mtls=false"], &through[..], &pair].concat()).ok();
    assert_eq!(before, key_of());
    for flags in [&[][..], &["--kty", "RSA"], &["--kty", "OKP"]] {
        let before = key_of();
        ca.place.keywheel(&[&["ca", "rekey", "--mtls=false"], &through[..], flags, &pair].concat()).ok();
        assert_ne!(before, key_of());
        pair_matches(&ca.place, &certificate, &key);
        openssl_verifies(&ca.place, &certificate);
    }
    // A token by hand works once, and only for the request that it is bound to.
    let request = |name: &str| {
        let words = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        ca.place.run("openssl", &[&words[..], &["-keyout", &key, "-out", &csr]].concat()).ok();
        ca.place.write(&format!("{name}.json"), serde_json::json!({"csr": ca.place.read(&csr)}).to_string());
    };
    request("mine");
    request("other");
    let words = ["ca", "token", "svc.local", "--rekey", "--cnf-file", "mine.csr", "--ca-url", &url];
    let token = ca.place.keywheel(&[&words[..], &["--x5c-cert", pair[0], "--x5c-key", pair[1]]].concat()).ok().stdout;
    let send = |body: &str| {
        let bearer = format!("Authorization: Bearer {}", token.trim());
        let data = format!("@{body}");
        let words = ["-sS", "--cacert", "step/certs/root_ca.crt", "-H", &bearer, "--data", &data, "-o", "answer"];
        let address = format!("{url}/rekey");
        ca.place.run("curl", &[&words[..], &["-w", "%{http_code}", &address]].concat()).ok().stdout
    };
    assert_eq!(send("other.json"), "403", "a token was good for a request that it is not bound to");
    ca.place.keywheel(&[&["ca", "rekey", "--mtls=false"], &through[..], &pair].concat()).ok();
}

#[test]
fn names_outside_of_the_issuers_constraints_are_refused() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    // Another certificate for the issuer's key, with permitted names, by OpenSSL.
    ca.place.write(
        "constraints",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash
authorityKeyIdentifier=keyid\nnameConstraints=critical,permitted;DNS:good.local,permitted;DNS:localhost,permitted;IP:10.0.0.0/255.0.0.0,permitted;IP:127.0.0.1/255.255.255.255
",
    );
    let crt = "step/certs/intermediate_ca.crt";
    let subject = "/O=Test/CN=Test Intermediate CA";
    let request = ["req", "-new", "-key", "step/secrets/intermediate_ca_key", "-passin", "file:password"];
    ca.place.run("openssl", &[&request[..], &["-subj", subject, "-out", "int.csr"]].concat()).ok();
    let sign = ["x509", "-req", "-in", "int.csr", "-CA", "step/certs/root_ca.crt", "-CAkey"];
    let more = ["step/secrets/root_ca_key", "-passin", "file:password", "-days", "100", "-extfile", "constraints"];
    ca.place.run("openssl", &[&sign[..], &more, &["-out", crt, "-set_serial", "77"]].concat()).ok();
    ca.restart(&[]);
    ask(&ca, &step, "svc.good.local", &["--san", "svc.good.local", "--san", "10.1.1.1"]).ok();
    openssl_verifies(&ca.place, "x.crt");
    for (name, flags) in [
        ("svc.evil.local", &[][..]),
        ("192.168.1.1", &[]),
        ("svc.good.local", &["--san", "svc.good.local", "--san", "svc.evil.local"]),
    ] {
        let done = ask(&ca, &step, name, flags);
        refused(&done, "forbidden");
    }
    ca.place.run(&step, &["ca", "rekey", "--force", "x.crt", "x.key"]).ok();
    openssl_verifies(&ca.place, "x.crt");
}

#[test]
fn the_list_of_revoked_certificates_is_had_without_tls_too() {
    let mut ca = Ca::start();
    let port = free_port();
    let mut config: Value = serde_json::from_str(&ca.place.read("step/config/ca.json")).expect("it is JSON");
    config["insecureAddress"] = format!("127.0.0.1:{port}").into();
    ca.place.write("step/config/ca.json", config.to_string());
    ca.restart(&[]);
    let get = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        ca.place.run("curl", &["-sS", "-o", "got", "-w", "%{http_code} %{content_type}", &url]).ok().stdout
    };
    assert_eq!(get("/crl"), "200 application/pkix-crl");
    let verify = ["crl", "-in", "got", "-noout", "-CAfile", "step/certs/intermediate_ca.crt"];
    let done = ca.place.run("openssl", &[&verify[..], &["-inform", "DER"]].concat()).ok();
    assert!(done.stderr.contains("verify OK"), "{}", done.stderr);
    assert_eq!(get("/1.0/crl?pem"), "200 application/x-pem-file");
    ca.place.run("openssl", &verify).ok();
    // Nothing that needs TLS is answered there.
    for path in ["/sign", "/provisioners", "/renew", "/rekey"] {
        assert!(get(path).starts_with("404"), "{path} is answered without TLS");
    }
}

#[test]
fn the_database_is_checked_copied_and_restored_without_forgetting_a_revocation() {
    let ca = Ca::start();
    let (certificate, key) = ca.certificate("svc.local");
    ca.certificate("kept.local");
    ca.place.keywheel(&["ca", "revoke", "--cert", &certificate, "--key", &key]).ok();
    let check: Value =
        serde_json::from_str(&ca.place.keywheel(&["db", "check", "--json"]).ok().stdout).expect("it is JSON");
    assert!(check.is_object(), "{check}");
    ca.place.keywheel(&["db", "migrate"]).ok();
    ca.place.keywheel(&["db", "backup", "copy.db"]).ok();
    assert_ne!(ca.place.keywheel(&["db", "backup", "copy.db"]).code, 0, "a backup was overwritten");
    // A full database is not restored over.
    assert_ne!(ca.place.keywheel(&["db", "restore", "copy.db"]).code, 0);
    let Ca { place, mut server, .. } = ca;
    server.signal("TERM");
    server.wait();
    for file in std::fs::read_dir(place.file("step/db")).expect("it is a folder") {
        std::fs::remove_file(file.expect("it can be read").path()).expect("it can be removed");
    }
    place.keywheel(&["db", "restore", "copy.db"]).ok();
    place.keywheel(&["db", "check"]).ok();
    let mut command = place.command(keywheel());
    command.args(["ca", "serve", "--password-file", "password"]);
    let mut server = Background::start(command);
    server.wait_for("listening");
    place.keywheel(&["ca", "rekey", "--force", &certificate, &key]).fails(3, "refused");
    place.keywheel(&["ca", "rekey", "--force", "kept.local.crt", "kept.local.key"]).ok();
}

#[test]
fn every_json_answer_parses_and_keeps_its_shape() {
    let ca = Ca::start();
    ca.certificate("svc.local");
    let pair = ["svc.local.crt", "svc.local.key"];
    let password = ["--provisioner-password-file", "password"];
    let issue = ["ca", "certificate", "--force", "j.local", "j.crt", "j.key"];
    let init = ["ca", "init", "--home", "second", "--name", "Two", "--dns", "localhost", "--address", ":9000"];
    for (words, keys) in [
        (&["ca", "health"][..], &["status", "ca_url"][..]),
        (&["ca", "roots"], &["certificates", "file"]),
        (&[&["ca", "token", "t.local"], &password[..]].concat(), &["token"]),
        (&[&issue[..], &password].concat(), &["authority", "certificate", "key", "new"]),
        (&[&["ca", "renew", "--force"], &pair[..]].concat(), &["renewed", "certificate", "old", "new", "warnings"]),
        (&[&["ca", "rekey", "--force"], &pair[..]].concat(), &["rekeyed", "certificate", "old", "new", "key_written"]),
        (&[&["ca", "rekey", "--force", "--expires-in", "1m"], &pair[..]].concat(), &["rekeyed", "expires_in"]),
        (&["ca", "policy", "authority", "view"], &[]),
        (&["ca", "provisioner", "show", "admin"], &["type", "name", "key"]),
        (&["certificate", "inspect", "svc.local.crt"], &["serial_number", "validity", "subject"]),
        (&["certificate", "fingerprint", "svc.local.crt"], &["fingerprints", "hash"]),
        (&["certificate", "verify", "svc.local.crt"], &["verified"]),
        (&["certificate", "key", "svc.local.crt"], &["public_key"]),
        (&["db", "check"], &[]),
        (&["path"], &["path"]),
        (&["version"], &["name", "version", "platform"]),
        (
            &[&init[..], &["--provisioner", "p", "--password-file", "password"]].concat(),
            &["fingerprint", "root", "ca_json"],
        ),
        (&["ca", "revoke", "--cert", "j.crt", "--key", "j.key"], &["serial"]),
    ] {
        let done = ca.place.keywheel(&[words, &["--json"]].concat()).ok();
        let value: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", done.stdout));
        for key in keys {
            assert!(value.get(key).is_some(), "{words:?} has no {key:?}: {value}");
        }
    }
    // Errors are JSON too, on stderr.
    for (words, kind) in [
        (&["ca", "rekey", "svc.local.crt"][..], "usage"),
        (&["ca", "health", "--ca-url", "https://localhost:1"], "try-again"),
        (&["ca", "rekey", "--force", "j.crt", "j.key"], "refused"),
    ] {
        let done = ca.place.keywheel(&[words, &["--json"]].concat());
        let last = done.stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{words:?}: {error}: {last}"));
        assert_eq!(value["error"]["kind"], kind, "{words:?}");
        assert_eq!(value["error"]["exit"], done.code, "{words:?}");
    }
}

#[test]
fn shells_complete_our_words_and_the_manual_is_well_formed() {
    let place = Place::new();
    for (name, program) in [("keywheel", keywheel().to_path_buf()), ("step", place.file("step"))] {
        if name == "step" {
            std::os::unix::fs::symlink(keywheel(), &program).expect("a link can be made");
        }
        let script = place.run(&program, &["completion", "bash"]).ok().stdout;
        place.write("completion.bash", &script);
        let typed = format!(
            "source completion.bash; complete -p {name} >/dev/null || exit 5
function=$(complete -p {name} | sed -E 's/.*-F ([^ ]+).*/\\1/')
COMP_WORDS=({name} ca re); COMP_CWORD=2; COMP_LINE='{name} ca re'; COMP_POINT=${{#COMP_LINE}}
$function {name} re ca; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let offered = place.run("bash", &["-c", &typed]).ok().stdout;
        let mut offered: Vec<&str> = offered.lines().collect();
        offered.sort_unstable();
        assert_eq!(offered, ["rekey", "renew", "revoke"], "bash does not complete '{name} ca re'");
        for shell in ["zsh", "fish"] {
            let script = place.run(&program, &["completion", shell]).ok().stdout;
            assert!(script.contains(name) && script.contains("rekey"), "{shell}: {script}");
        }
    }
    assert_ne!(place.keywheel(&["completion", "no-such-shell"]).code, 0);

    place.keywheel(&["man", "--output-dir", "man"]).ok();
    let mut pages: Vec<String> = std::fs::read_dir(place.file("man"))
        .expect("a folder was made")
        .map(|page| page.expect("it can be read").path().display().to_string())
        .collect();
    pages.sort();
    assert!(pages.iter().any(|page| page.ends_with("keywheel-ca-rekey.1")), "{pages:?}");
    let words = ["-T", "lint", "-W", "error"];
    let done = place.run(
        "mandoc",
        &[words.iter().copied().map(String::from).collect::<Vec<_>>(), pages]
            .concat()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "mandoc finds errors: {}", done.stderr);
}

#[test]
fn a_home_is_chosen_by_flag_variable_and_context() {
    let mut place = Place::new();
    place.write("password", PASSWORD);
    let init = ["ca", "init", "--name", "T", "--dns", "localhost", "--address", ":9000", "--provisioner", "p"];
    place.keywheel(&[&init[..], &["--password-file", "password", "--context", "one"]].concat()).ok();
    place.keywheel(&[&init[..], &["--password-file", "password", "--context", "two"]].concat()).ok();
    let path =
        |place: &Place, flags: &[&str]| place.keywheel(&[&["path"], flags].concat()).ok().stdout.trim().to_owned();
    let base = place.file("step").display().to_string();
    assert_eq!(path(&place, &[]), format!("{base}/authorities/two"));
    assert_eq!(path(&place, &["--context", "one"]), format!("{base}/authorities/one"));
    assert_eq!(path(&place, &["--base"]), base);
    assert_eq!(path(&place, &["--home", "/elsewhere"]), "/elsewhere");
    place.set("STEPPATH", "/nowhere/at/all");
    assert_eq!(path(&place, &[]), "/nowhere/at/all");
    let version = place.keywheel(&["version"]).ok().stdout;
    assert!(version.starts_with("keywheel "), "{version}");
}

#[test]
fn a_ca_json_that_the_real_step_rewrote_keeps_our_settings() {
    let Some(step) = peer::step() else { return };
    let mut ca = Ca::start();
    let (certificate, key) = ca.certificate("svc.local");
    ca.place.keywheel(&["ca", "revoke", "--cert", &certificate, "--key", &key]).ok();
    let add = ["ca", "provisioner", "add", "by-step", "--create", "--password-file", "password"];
    ca.place.run(&step, &[&add[..], &["--ca-config", "step/config/ca.json"]].concat()).ok();
    let own = |ca: &Ca| {
        let config: Value = serde_json::from_str(&ca.place.read("step/config/ca.json")).expect("it is JSON");
        config.get("keywheel").cloned()
    };
    assert_eq!(own(&ca), None, "step keeps what it does not know: this test is not needed any more");
    // Both a reload and a new start find the settings again: the database, the list of the revoked, the rule for rekeys.
    reload(&mut ca);
    ask(&ca, &step, "new.local", &["--provisioner", "by-step"]).ok();
    ca.restart(&[]);
    let url = format!("{}/crl", ca.url());
    ca.place.run("curl", &["-fsS", "--cacert", "step/certs/root_ca.crt", "-o", "list", &url]).ok();
    ca.place.keywheel(&["ca", "renew", "--force", &certificate, &key]).fails(3, "refused");
    ask(&ca, &step, "two.local", &["--provisioner", "admin"]).ok();
    ca.place.write("old.crt", ca.place.read("x.crt"));
    ca.place.write("old.key", ca.place.read("x.key"));
    ca.place.keywheel(&["ca", "rekey", "--force", "x.crt", "x.key"]).ok();
    // The client has shown the successor to the CA, so the old one is superseded.
    ca.place.keywheel(&["ca", "renew", "--force", "old.crt", "old.key"]).fails(3, "refused");
    // A change of ours writes them back.
    ca.place.keywheel(&["ca", "provisioner", "update", "by-step", "--x509-max-dur", "48h"]).ok();
    assert!(own(&ca).is_some_and(|own| own["database"].is_string()));
}
