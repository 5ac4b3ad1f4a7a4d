//! Where the value of a flag comes from: the command line, then `STEP_<FLAG>`, then `defaults.json`.

use std::process::Command;

use keywheel_tests::place::{Done, Place, keywheel};

use crate::bench::{Bench, PAIR, belong_together, daemon_with, described, exists, public_key, stop};

/// A rekey of the pair with these variables; not forced.
fn with(place: &Place, variables: &[(&str, &str)], flags: &[&str]) -> Done {
    let mut command: Command = place.command(keywheel());
    command.args(["ca", "rekey"]).args(flags).args(PAIR).envs(variables.iter().copied());
    command.output().expect("it can be started").into()
}

#[test]
fn every_flag_is_also_a_variable() {
    let mut bench = Bench::start();
    let pid = std::process::id().to_string();
    let url = bench.ca.url();
    bench.place().write("self.pid", &pid);
    std::fs::copy(bench.place().file("step/certs/root_ca.crt"), bench.place().file("root.crt"))
        .expect("it can be copied");
    let force = ("STEP_F", "1");
    let mut rekeyed = 0;
    for variables in [
        &[("STEP_FORCE", "true")][..],
        &[force, ("STEP_CA_URL", &url), ("STEP_ROOT", "root.crt")],
        &[force, ("STEP_PID", &pid), ("STEP_SIGNAL", "28")],
        &[force, ("STEP_PID_FILE", "self.pid"), ("STEP_SIGNAL", "28")],
        &[force, ("STEP_PASSWORD_FILE", "password")],
        &[force, ("STEP_EXPIRES_IN", "9999h")],
    ] {
        let before = public_key(bench.place(), "svc.crt");
        with(bench.place(), variables, &[]).ok();
        assert_ne!(before, public_key(bench.place(), "svc.crt"), "{variables:?}");
        belong_together(bench.place(), "svc.crt", "svc.key");
        rekeyed += 1;
    }
    assert_eq!(bench.issued(), rekeyed);
    let place = bench.place();

    with(place, &[("STEP_OUT_CERT", "out.crt"), ("STEP_OUT_KEY", "out.key")], &[]).ok();
    belong_together(place, "out.crt", "out.key");
    with(place, &[force, ("STEP_EXPIRES_IN", "1h")], &[]).ok();
    // The certificate on the bench was replaced by the one in the other files: the next rekeys are those of that pair.
    for name in ["crt", "key"] {
        std::fs::rename(place.file(&format!("out.{name}")), place.file(&format!("svc.{name}")))
            .expect("it can be moved");
    }
    with(place, &[force, ("STEP_KTY", "EC"), ("STEP_CRV", "P-384")], &[]).ok();
    assert!(described(place, "svc.crt").contains("secp384r1"));
    with(place, &[force, ("STEP_KTY", "EC"), ("STEP_CURVE", "P-521")], &[]).ok();
    assert!(described(place, "svc.crt").contains("secp521r1"));
    with(place, &[force, ("STEP_KTY", "RSA"), ("STEP_SIZE", "3072")], &[]).ok();
    assert!(described(place, "svc.crt").contains("(3072 bit)"));
    with(place, &[force, ("STEP_EXEC", "touch executed")], &[]).ok();
    assert!(exists(place, "executed"));
    place.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "given.key"]).ok();
    with(place, &[force, ("STEP_PRIVATE_KEY", "given.key")], &[]).ok();
    belong_together(place, "svc.crt", "given.key");
    let offline =
        [force, ("STEP_OFFLINE", "1"), ("STEP_PASSWORD_FILE", "password"), ("STEP_CA_CONFIG", "step/config/ca.json")];
    with(place, &offline, &[]).ok();
    belong_together(place, "svc.crt", "svc.key");

    let mut command = place.command(keywheel());
    command.args(["ca", "rekey"]).args(PAIR).env("STEP_DAEMON", "true").env("STEP_REKEY_PERIOD", "1s");
    let mut daemon = keywheel_tests::ca::Background::start(command);
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
    belong_together(place, "svc.crt", "svc.key");
}

#[test]
fn the_command_line_comes_first_then_the_environment_then_the_file() {
    let bench = Bench::start();
    let place = bench.place();
    let kind = |place: &Place| {
        let text = described(place, "svc.crt");
        let found = ["prime256v1", "secp384r1", "secp521r1"].into_iter().find(|curve| text.contains(curve));
        found.expect("a curve")
    };
    let defaults: serde_json::Value =
        serde_json::from_str(&place.read("step/config/defaults.json")).expect("it is JSON");
    let mut changed = defaults.clone();
    changed["kty"] = "EC".into();
    changed["crv"] = "P-384".into();
    changed["force"] = true.into();
    place.write("step/config/defaults.json", changed.to_string());
    with(place, &[], &[]).ok();
    assert_eq!(kind(place), "secp384r1");
    with(place, &[("STEP_CRV", "P-521")], &[]).ok();
    assert_eq!(kind(place), "secp521r1");
    with(place, &[("STEP_CRV", "P-521")], &["--curve", "P-256"]).ok();
    assert_eq!(kind(place), "prime256v1");
    // A switch can be turned off above where it was turned on below.
    with(place, &[], &["--force=false"]).fails(2, "svc.crt exists; nothing was changed");
    with(place, &[("STEP_FORCE", "false")], &[]).fails(2, "svc.crt exists; nothing was changed");
    // An address in the environment counts more than that of the file, one on the command line more than both.
    let url = bench.ca.url();
    with(place, &[("STEP_CA_URL", "https://localhost:1")], &["--timeout", "3s"]).fails(4, "was not reached");
    with(place, &[("STEP_CA_URL", "https://localhost:1")], &["--ca-url", &url]).ok();
    with(place, &[("STEP_KTY", "FOO")], &[]).fails(2, "invalid value 'FOO' for flag '--kty'");
}

#[test]
fn an_empty_variable_is_none() {
    let bench = Bench::start();
    with(bench.place(), &[("STEP_KTY", ""), ("STEP_EXEC", ""), ("STEP_OUT_CERT", "")], &["--force"]).ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
}

#[test]
fn another_home_is_another_authority() {
    let bench = Bench::start();
    let other = Bench::empty();
    let home = other.place().file("step").display().to_string();
    with(bench.place(), &[("STEPPATH", &home)], &["--force"]).fails(3, "the certificate authority refused");
    with(bench.place(), &[("STEPPATH", &home)], &["--force", "--home", "step"]).ok();
    let mut command = bench.place().command(keywheel());
    command.env("STEPPATH", "step");
    let mut daemon = daemon_with(command, &["--rekey-period", "1s"]);
    daemon.wait_for("certificate rekeyed");
    stop(&mut daemon);
}
