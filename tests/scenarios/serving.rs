//! How the server lives: reload, orderly end, pid file, metrics.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use keywheel_tests::ca::free_port;
use keywheel_tests::provisioner::{REFUSED, csr, new_key, rekey_body};
use keywheel_wire::private_key::KeyKind;
use serde_json::json;

use crate::lab::{Door, Lab};

#[test]
fn a_provisioner_that_was_added_works_after_sighup_and_not_before() {
    let mut lab = Lab::start();
    let place = &lab.ca.place;
    place.write("other-password", "another password");
    let add = ["ca", "provisioner", "add", "cicd", "--create", "--password-file", "other-password"];
    place.keywheel(&add).ok();
    let certificate = |name: &str| {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        let words = ["ca", "certificate", name, &crt, &key, "--provisioner", "cicd"];
        lab.ca.place.keywheel(&[&words[..], &["--provisioner-password-file", "other-password"]].concat())
    };
    assert_ne!(certificate("early.local").code, 0, "the running CA knows a provisioner that it was not told of");
    lab.reload();
    let certificate = |lab: &Lab, name: &str| {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        let words = ["ca", "certificate", name, &crt, &key, "--provisioner", "cicd"];
        lab.ca.place.keywheel(&[&words[..], &["--provisioner-password-file", "other-password"]].concat())
    };
    certificate(&lab, "late.local").ok();
    // And once more without it.
    lab.ca.place.keywheel(&["ca", "provisioner", "remove", "cicd"]).ok();
    lab.reload();
    lab.ca.place.keywheel(&["ca", "rekey", "--force", "late.local.crt", "late.local.key"]).fails(3, "");
    assert_ne!(certificate(&lab, "later.local").code, 0);
}

#[test]
fn a_configuration_that_is_not_right_is_not_taken_over_and_the_earlier_one_stays() {
    let mut lab = Lab::start();
    let good = lab.ca.place.read("step/config/ca.json");
    let old = lab.issue("svc.local");
    for bad in ["{", "{}", &good.replace("10m0s", "soon"), &good.replace("intermediate_ca.crt", "nowhere.crt")] {
        assert_ne!(bad, good);
        lab.ca.place.write("step/config/ca.json", bad);
        lab.ca.server.signal("HUP");
        lab.ca.server.wait_for("configuration was not taken over; the earlier one stays");
        lab.door().rekey(&old, &new_key(KeyKind::EcP256)).is(201, "");
    }
}

#[test]
fn sigterm_finishes_the_request_that_is_in_flight_and_ends_with_0() {
    let mut lab = Lab::start();
    let old = lab.issue("svc.local");
    let body = rekey_body(&new_key(KeyKind::EcP256));
    let mut command = lab.ca.place.command("openssl");
    let address = format!("localhost:{}", lab.ca.port);
    command.args([
        "s_client",
        "-quiet",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-CAfile",
        "step/certs/root_ca.crt",
    ]);
    command.args(["-cert", old.certificate_file(), "-key", old.key_file(), "-verify_return_error"]);
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("openssl runs");
    let mut to = client.stdin.take().expect("its input is ours");
    let (head, rest) = body.split_at(40);
    write!(to, "POST /rekey HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{head}", body.len())
        .expect("written");
    to.flush().expect("written");
    // The head of the request has arrived by now.
    std::thread::sleep(Duration::from_secs(2));
    lab.ca.server.signal("TERM");
    lab.ca.server.wait_for("finishing what is in flight");
    std::thread::sleep(Duration::from_millis(500));
    // Nobody new is let in.
    assert_eq!(lab.door().get("/health").ask().status, 0, "a new request was let in");
    to.write_all(rest.as_bytes()).and_then(|()| to.flush()).expect("written");
    let mut answer = String::new();
    client.stdout.take().expect("its output is ours").read_to_string(&mut answer).expect("text");
    let _ = client.wait();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.contains("-----BEGIN CERTIFICATE-----"), "{answer}");
    assert_eq!(lab.ca.server.wait(), 0);
}

#[test]
fn sigterm_does_not_wait_for_ever_for_a_client_that_says_nothing() {
    let mut lab = Lab::start();
    let silent = std::net::TcpStream::connect(("127.0.0.1", lab.ca.port)).expect("the server listens");
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    lab.ca.server.signal("TERM");
    assert_eq!(lab.ca.server.wait(), 0);
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    drop(silent);
}

#[test]
fn the_pid_file_holds_the_number_of_the_process_while_it_serves_and_is_gone_after() {
    let mut lab = Lab::start();
    lab.ca.restart(&["--pidfile", "server.pid"]);
    assert_eq!(lab.ca.place.read("server.pid").trim(), lab.ca.server.id().to_string());
    // It is there for such lines.
    lab.ca.place.run("bash", &["-c", "kill -HUP $(cat server.pid)"]).ok();
    lab.ca.server.wait_for("the configuration was read again");
    lab.ca.server.signal("TERM");
    assert_eq!(lab.ca.server.wait(), 0);
    assert!(!lab.ca.place.file("server.pid").exists());
}

#[test]
fn metrics_are_told_on_an_address_of_their_own_and_count_what_happened() {
    let mut lab = Lab::start();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    lab.ca.restart(&["--metrics-address", &address]);
    let old = lab.issue("svc.local");
    let new = lab.door().rekeyed(&old);
    lab.door().rekey(&old, &new.key).is(201, "");
    let body = json!({ "serial": new.certificate.serial().to_string(), "passive": true }).to_string();
    lab.door().post("/revoke", body).by(&new).ask().is(200, "");
    lab.door().rekey(&new, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    let metrics = Door { url: format!("http://{address}"), ..lab.door() };
    let text = metrics.get("/metrics").ask().is(200, "").text();
    for line in [
        "keywheel_certificates_total{by=\"sign\"} 1",
        // The answer that was given again is no new certificate.
        "keywheel_certificates_total{by=\"rekey\"} 1",
        "keywheel_revocations_total{by=\"certificate\"} 1",
        "keywheel_requests_total{route=\"/rekey\",status=\"201\"} 2",
        "keywheel_requests_total{route=\"/rekey\",status=\"401\"} 1",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    assert!(text.contains("keywheel_request_seconds_bucket{"), "{text}");
    // Each address tells its own.
    lab.door().get("/metrics").ask().is(404, "404 page not found");
    assert_eq!(metrics.get("/health").ask().status, 404);
}

#[test]
fn the_log_names_each_request_by_its_id_and_holds_no_token_and_no_key() {
    let mut lab = Lab::start();
    lab.ca.restart(&["--log-format", "json"]);
    let key = new_key(KeyKind::EcP256);
    let body = lab.sign_body(&key, "svc.local");
    lab.door().post("/sign", body.to_string()).header("X-Request-Id: traced-request").ask().is(201, "");
    let other = json!({ "csr": csr(&new_key(KeyKind::EcP256)), "ott": body["ott"] });
    lab.door().post("/sign", other.to_string()).ask().is(401, REFUSED);
    lab.ca.server.wait_for("traced-request");
    lab.ca.server.signal("TERM");
    lab.ca.server.wait();
    std::thread::sleep(Duration::from_millis(200));
    let said = lab.ca.server.said();
    let token = body["ott"].as_str().expect("a token");
    let signature = token.rsplit('.').next().expect("a signature");
    for secret in [token, signature, keywheel_tests::ca::PASSWORD, "PRIVATE KEY"] {
        assert!(!said.contains(secret), "the log holds {secret:?}:\n{said}");
    }
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("answered")).collect();
    assert!(lines.len() >= 2, "{said}");
    for line in said.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken_with_the_cipher_suites_of_the_configuration_and_nothing_older() {
    let mut lab = Lab::start();
    let connects = |lab: &Lab, flags: &[&str]| {
        let address = format!("localhost:{}", lab.ca.port);
        let words =
            [&["s_client", "-brief", "-connect", &address, "-CAfile", "step/certs/root_ca.crt"], flags].concat();
        lab.ca.place.run("openssl", &words).code == 0
    };
    assert!(connects(&lab, &["-tls1_3"]));
    assert!(connects(&lab, &["-tls1_2"]));
    assert!(!connects(&lab, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]));
    // The reference's defaults name this one, but not the longer key.
    assert!(connects(&lab, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]));
    assert!(!connects(&lab, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]));
    let text = lab.ca.place.read("step/config/ca.json");
    let text = text.replace("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    lab.ca.place.write("step/config/ca.json", text);
    lab.reload();
    let until = Instant::now() + Duration::from_secs(20);
    while !connects(&lab, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]) {
        assert!(Instant::now() < until, "the reload did not change the cipher suites");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!connects(&lab, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]));
}
