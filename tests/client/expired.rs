//! Certificates whose time is over: rekeyed where the authority allows it, refused where it does not.

use std::time::{Duration, Instant};

use keywheel_tests::place::Place;

use crate::bench::{Bench, belong_together, daemon, pair, public_key, stop};

/// Waits until the certificate on the bench has expired.
pub fn wait_until_expired(place: &Place) {
    let until = Instant::now() + Duration::from_secs(20);
    while place.run("openssl", &["x509", "-in", "svc.crt", "-noout", "-checkend", "0"]).code == 0 {
        assert!(Instant::now() < until, "the certificate does not expire");
        std::thread::sleep(Duration::from_millis(100));
    }
    // OpenSSL counts whole seconds.
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn d14_an_expired_certificate_is_rekeyed_where_the_provisioner_allows_it_and_only_there() {
    let mut bench = Bench::short_lived("1s", &[]);
    wait_until_expired(bench.place());
    let before = pair(bench.place());
    for flags in [&[][..], &["--mtls=false"]] {
        let refused = bench.rekey(flags);
        assert_eq!(refused.code, 3, "an expired certificate was rekeyed: {}", refused.stderr);
        assert_eq!(before, pair(bench.place()));
    }
    assert_eq!(bench.issued(), 0);

    bench.claims(&["--allow-renewal-after-expiry"]);
    let key = public_key(bench.place(), "svc.crt");
    bench.rekey(&[]).ok();
    assert_ne!(key, public_key(bench.place(), "svc.crt"));
    belong_together(bench.place(), "svc.crt", "svc.key");
    let renewed = bench
        .place()
        .run("openssl", &["verify", "-CAfile", "step/certs/root_ca.crt", "-untrusted", "svc.crt", "svc.crt"]);
    assert!(renewed.code == 0 || renewed.stderr.contains("expired"), "{}", renewed.stderr);
}

#[test]
fn an_expired_certificate_is_rekeyed_by_token_where_the_provisioner_allows_it() {
    let bench = Bench::short_lived("1s", &["--allow-renewal-after-expiry"]);
    wait_until_expired(bench.place());
    let key = public_key(bench.place(), "svc.crt");
    bench.rekey(&["--mtls=false"]).ok();
    assert_ne!(key, public_key(bench.place(), "svc.crt"));
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn an_expired_certificate_is_rekeyed_offline_by_the_same_rule() {
    let mut bench = Bench::short_lived("1s", &[]);
    wait_until_expired(bench.place());
    bench.rekey(&["--offline", "--password-file", "password"]).fails(3, "refused");
    bench.claims(&["--allow-renewal-after-expiry"]);
    bench.rekey(&["--offline", "--password-file", "password"]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn a_daemon_that_is_started_after_the_expiry_rekeys_at_once() {
    let bench = Bench::short_lived("2s", &["--allow-renewal-after-expiry"]);
    wait_until_expired(bench.place());
    let key = public_key(bench.place(), "svc.crt");
    let mut daemon = daemon(bench.place(), &[]);
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    assert_ne!(key, public_key(bench.place(), "svc.crt"));
}
