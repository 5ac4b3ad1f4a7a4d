//! The example lines of the reference's page, typed as they stand there, with the binary under the name `step`.

use keywheel_tests::ca::{Background, Ca};
use keywheel_tests::place::{Place, keywheel};

use crate::bench::{belong_together, exists, public_key, stop};

/// A CA, a certificate in `internal.crt`, and a `step` that is ours.
fn desk() -> Ca {
    let mut ca = Ca::start();
    ca.certificate("internal");
    let programs = ca.place.file("bin");
    std::fs::create_dir(&programs).expect("a folder can be made");
    std::os::unix::fs::symlink(keywheel(), programs.join("step")).expect("a link can be made");
    ca.place.write("bin/nginx", "#!/bin/sh\necho \"nginx $*\" >reloaded\n");
    ca.place.run("chmod", &["+x", "bin/nginx"]).ok();
    ca.place.set("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()));
    ca
}

/// Types a line on a terminal and answers every question with y.
#[track_caller]
fn typed(place: &Place, line: &str) {
    let before = public_key(place, "internal.crt");
    place.write("line", line);
    let done = place.run("bash", &["-c", "printf 'y\\ny\\n' | script -qec 'bash ./line' /dev/null"]);
    assert_eq!(done.code, 0, "{line}: {}", done.stdout);
    if !line.contains("--out-cert") && !line.contains("--out-crt") && !line.contains("--expires-in") {
        assert_ne!(before, public_key(place, "internal.crt"), "{line}: {}", done.stdout);
        belong_together(place, "internal.crt", "internal.key");
    }
}

/// Types a line that stays; it is told to rekey now.
#[track_caller]
fn stays(place: &Place, line: &str, first: &str) {
    let before = public_key(place, "internal.crt");
    let mut command = place.command("bash");
    command.args(["-c", &format!("exec {line}")]);
    let mut daemon = Background::start(command);
    let said = daemon.wait_for("first rekey in");
    assert!(said.contains(first), "{line}: {said}");
    daemon.signal("HUP");
    daemon.wait_for("internal certificate rekeyed");
    stop(&mut daemon);
    assert_ne!(before, public_key(place, "internal.crt"), "{line}");
    belong_together(place, "internal.crt", "internal.key");
}

#[test]
fn every_example_that_rekeys_once_works() {
    let ca = desk();
    let place = &ca.place;
    typed(place, "step ca rekey internal.crt internal.key");
    typed(place, "step ca rekey --out-cert out.crt --out-key out.key internal.crt internal.key");
    belong_together(place, "out.crt", "out.key");
    // The pair in internal.crt is superseded by that one.
    for name in ["crt", "key"] {
        std::fs::rename(place.file(&format!("out.{name}")), place.file(&format!("internal.{name}")))
            .expect("it can be moved");
    }
    place.run("bash", &["-c", "step ca rekey --force internal.crt internal.key"]).ok();
    std::fs::copy(place.file("step/certs/root_ca.crt"), place.file("root_ca.crt")).expect("it can be copied");
    let line = format!("step ca rekey --ca-url {} \\\n  --root ./root_ca.crt internal.crt internal.key", ca.url());
    typed(place, &line);
    typed(place, "step ca rekey --expires-in 8h internal.crt internal.key");
    place.run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "foo.key"]).ok();
    typed(place, "step ca rekey internal.crt internal.key --private-key foo.key");
    belong_together(place, "internal.crt", "foo.key");
    std::fs::remove_file(place.file("foo.key")).expect("it is there");
    typed(place, "step ca rekey internal.crt internal.key --out-crt foo.crt --out-key foo.key");
    belong_together(place, "foo.crt", "foo.key");
}

#[test]
fn every_example_that_stays_works() {
    let ca = desk();
    let place = &ca.place;
    stays(place, "step ca rekey --daemon internal.crt internal.key", "in 1");
    stays(place, "step ca rekey --daemon --expires-in 8h30m internal.crt internal.key", "in 1");
    stays(place, "step ca rekey --daemon --rekey-period 16h internal.crt internal.key", "in 1");
    stays(place, "step ca rekey --daemon --exec \"nginx -s reload\" internal.crt internal.key", "in 1");
    assert_eq!(place.read("reloaded"), "nginx -s reload\n");
    let line = "step ca rekey --daemon --rekey-period 16h \\\n  --exec \"step certificate format --force --out internal.der internal.crt\" \\\n  internal.crt internal.key";
    stays(place, line, "in 1");
    let der = place.run("openssl", &["x509", "-inform", "DER", "-in", "internal.der"]).ok().stdout;
    let pem = place.run("openssl", &["x509", "-in", "internal.crt"]).ok().stdout;
    assert_eq!(der, pem, "the certificate in DER is another one");
}

#[test]
fn the_example_of_the_offline_mode_works_and_asks_for_the_password_of_the_ca() {
    let ca = desk();
    let place = &ca.place;
    let before = public_key(place, "internal.crt");
    place
        .run("bash", &["-c", "step ca rekey --force --offline internal.crt internal.key --password-file password"])
        .ok();
    assert_ne!(before, public_key(place, "internal.crt"));
    belong_together(place, "internal.crt", "internal.key");
    let refused = place.run("bash", &["-c", "step ca rekey --force --offline internal.crt internal.key"]);
    let refused = refused.fails(2, "password");
    assert!(!refused.stderr.contains("panicked"));
    assert!(!exists(place, ".internal.key.keywheel"));
}

#[test]
fn under_the_name_step_the_messages_say_step() {
    let ca = desk();
    let told = ca.place.run("step", &["ca", "rekey"]);
    told.fails(2, "not enough positional arguments were provided in 'step ca rekey <crt-file> <key-file>'");
}
