//! Many rekeys under load, and not one handshake that fails.

use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use keywheel_tests::ca::Ca;
use keywheel_tests::place::Place;
use keywheel_tests::report;
use serde_json::{Value, json};

use crate::haproxy::Haproxy;
use crate::load::{Load, NAME, fingerprint, shown};
use crate::nginx::Nginx;

/// Rekeys in each of the two layouts of a service: in CI fifty for the service, for the report fifty for each layout.
const REKEYS: (usize, usize) = (25, 50);

/// What is rotated.
pub trait Service {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Where it listens on the loopback.
    fn port(&self) -> u16;
    /// The flags of a rekey that make it read its files again.
    fn reload(&self) -> Vec<String>;
    /// The process that the flags speak to.
    fn id(&self) -> u32;

    /// Where `--verify` finds it.
    fn endpoint(&self) -> String {
        format!("tls://127.0.0.1:{}?servername={NAME}", self.port())
    }
}

/// Waits until somebody could connect to this port of the loopback.
pub fn wait_for_port(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < until, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A CA with a certificate for the service in these files.
pub fn ca_with(certificate: &str, key: &str) -> Ca {
    let ca = Ca::start();
    let words = ["ca", "certificate", NAME, certificate, key, "--provisioner-password-file", "password"];
    ca.place.keywheel(&words).ok();
    ca
}

#[test]
fn nginx_serves_on_while_flat_files_are_replaced_and_generations_are_switched() {
    let ca = ca_with("svc.crt", "svc.key");
    let service = Nginx::start(&ca.place, "svc.crt", "svc.key");
    let flat = rotate(&ca.place, &service, "flat", &["svc.crt", "svc.key"]);
    let generations = rotate(&ca.place, &service, "generations", &["--layout", "generations", "svc.crt", "svc.key"]);
    assert!(ca.place.file("svc.key").is_symlink() && ca.place.file("svc.crt").is_symlink());
    report::record("nginx", &json!([flat, generations]));
}

#[test]
fn haproxy_serves_on_while_its_combined_file_is_replaced_and_generations_are_switched() {
    let ca = ca_with("svc.crt", "svc.key");
    let words = ["certificate", "layout", "svc.crt", "svc.key", "--to", "combined", "--file", "svc.pem"];
    ca.place.keywheel(&words).ok();
    let service = Haproxy::start(&ca.place, "svc.pem");
    let combined = rotate(&ca.place, &service, "combined", &["--combined", "svc.pem"]);
    drop(service);
    // A certificate whose key lies beside it under the same name.
    let ca = ca_with("svc.pem", "svc.pem.key");
    let service = Haproxy::start(&ca.place, "svc.pem");
    let pair = ["--layout", "generations", "svc.pem", "svc.pem.key"];
    let generations = rotate(&ca.place, &service, "generations", &pair);
    report::record("haproxy", &json!([combined, generations]));
}

/// Rekeys again and again, each time with the proof that the service uses the new pair, while clients connect all the time.
///
/// Returns a row of the report.
fn rotate(place: &Place, service: &impl Service, layout: &str, pair: &[&str]) -> Value {
    let rekeys = report::count(REKEYS.0, REKEYS.1);
    let certificate = *pair.iter().find(|word| word.starts_with("svc.")).expect("the pair has a name");
    let endpoint = service.endpoint();
    let reload = service.reload();
    let mut words = vec!["ca", "rekey", "--force", "--verify", &endpoint];
    words.extend(reload.iter().map(String::as_str));
    words.extend(pair);
    let mut expected = vec![shown(place, service.port())];
    let load = Load::start(place, service.port());
    let begin = Instant::now();
    for _ in 0..rekeys {
        place.keywheel(&words).ok();
        expected.push(fingerprint(place, certificate));
    }
    let took = begin.elapsed();
    let tally = load.stop();
    let (name, handshakes) = (service.name(), tally.good + tally.bad);
    println!("{name}, {layout}: {rekeys} rekeys in {took:.1?}, {handshakes} handshakes, {} failed", tally.bad);
    assert_eq!((tally.bad, tally.reasons), (0, Vec::<String>::new()), "no handshake may fail");
    assert_eq!(Some(&shown(place, service.port())), expected.last(), "the newest certificate is the one in use");
    let unknown: Vec<_> = tally.seen.iter().filter(|one| !expected.contains(one)).collect();
    assert!(unknown.is_empty(), "only certificates that were installed are shown: {unknown:?}");
    // The clients never rest, so that a certificate that is in use for a while is seen by them.
    assert!(tally.seen.len() > rekeys / 2, "the clients saw {} certificates of {}", tally.seen.len(), rekeys + 1);
    json!({"layout": layout, "rekeys with reload": rekeys, "handshakes": handshakes, "failed handshakes": tally.bad})
}
