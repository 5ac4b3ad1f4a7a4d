//! Each defect of the reference's `ca rekey` that lies in what it does to keys and files.

use crate::bench::{Bench, at_both, belong_together, exists, may_mount, pair, public_key, reference, rekey};

#[test]
fn d3_a_target_that_cannot_be_written_leaves_both_files_and_asks_nothing() {
    let mut bench = Bench::start();
    bench.place().write("file", "");
    for target in ["nowhere/new.key", "file/new.key"] {
        bench.refuses(|place| rekey(place, &["--out-key", target]), 1, "cannot be written, nothing was changed");
        bench.refuses(|place| rekey(place, &["--out-cert", target]), 1, "cannot be written, nothing was changed");
    }
    std::fs::create_dir(bench.place().file("folder")).expect("a folder can be made");
    bench.refuses(|place| rekey(place, &["--out-key", "folder"]), 1, "folder");
    if may_mount() {
        let script = "set -e; mkdir mounted; cp svc.* mounted; mount --bind mounted mounted; \
                      mount -o remount,bind,ro mounted; \
                      exec keywheel ca rekey --force mounted/svc.crt mounted/svc.key";
        let read_only = |place: &keywheel_tests::place::Place| place.run("unshare", &["--mount", "bash", "-c", script]);
        bench.refuses(read_only, 1, "cannot be written, nothing was changed: ");
        assert_eq!(pair(bench.place()).1, bench.place().read("mounted/svc.key"));
    }
}

#[test]
fn d3_certificate_and_key_are_replaced_by_renaming_so_that_no_reader_sees_half_a_file() {
    use std::os::unix::fs::MetadataExt;
    at_both(|place| {
        let open = std::fs::File::open(place.file("svc.key")).expect("it is there");
        let (before, number) = (place.read("svc.key"), open.metadata().expect("it is open").ino());
        rekey(place, &[]).ok();
        let through_the_old = std::io::read_to_string(open).expect("it is open");
        assert_eq!(before, through_the_old, "the old file was written to in place");
        assert_ne!(number, std::fs::metadata(place.file("svc.key")).expect("it is there").ino());
        belong_together(place, "svc.crt", "svc.key");
    });
}

#[test]
fn d5_an_encrypted_key_is_replaced_by_an_encrypted_key() {
    at_both(|place| {
        let words = ["pkcs8", "-topk8", "-in", "svc.key", "-out", "enc.key", "-passout", "file:password"];
        place.run("openssl", &words).ok();
        std::fs::rename(place.file("enc.key"), place.file("svc.key")).expect("it can be renamed");
        rekey(place, &[]).fails(2, "the key svc.key is encrypted: a password is needed, nothing was changed");
        for _ in 0..2 {
            let before = public_key(place, "svc.crt");
            rekey(place, &["--password-file", "password"]).ok();
            assert!(place.read("svc.key").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
            assert_ne!(before, public_key(place, "svc.crt"));
            belong_together(place, "svc.crt", "svc.key");
        }
    });
}

#[test]
fn d6_a_given_key_goes_to_the_key_file_and_keeps_its_encryption() {
    at_both(|place| {
        place.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "given.key"]).ok();
        let given = place.read("given.key");
        rekey(place, &["--private-key", "given.key"]).ok();
        belong_together(place, "svc.crt", "svc.key");
        belong_together(place, "svc.crt", "given.key");
        assert_eq!(given, place.read("given.key"), "the given key's own file was touched");

        let encrypt = ["-aes-256-cbc", "-pass", "file:password"];
        let words = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "enc.key"];
        place.run("openssl", &[&words[..], &encrypt].concat()).ok();
        let flags = [
            "--password-file",
            "password",
            "--private-key",
            "enc.key",
            "--out-cert",
            "out.crt",
            "--out-key",
            "out.key",
        ];
        rekey(place, &flags).ok();
        assert!(place.read("out.key").contains("ENCRYPTED"), "an encrypted key was written in clear");
        belong_together(place, "out.crt", "out.key");
        // The pair that was only read is still a pair.
        belong_together(place, "svc.crt", "svc.key");
    });
}

#[test]
fn d6_a_given_key_that_the_certificate_has_already_is_no_new_key() {
    let mut bench = Bench::start();
    let says = "names the key that the certificate already has";
    bench.refuses(|place| rekey(place, &["--private-key", "svc.key"]), 2, says);
}

#[test]
fn d7_certificate_and_key_never_go_to_one_file() {
    let mut bench = Bench::start();
    std::os::unix::fs::symlink("svc.crt", bench.place().file("link")).expect("a link can be made");
    std::fs::create_dir(bench.place().file("sub")).expect("a folder can be made");
    for (certificate, key) in
        [("both", "both"), ("both", "./both"), ("both", "sub/../both"), ("svc.crt", "link"), ("svc.crt", "svc.crt")]
    {
        let flags = ["--out-cert", certificate, "--out-key", key];
        bench.refuses(|place| rekey(place, &flags), 2, "would both be written to");
        assert!(!exists(bench.place(), "both"));
    }
    bench.refuses(|place| rekey(place, &["--out-key", "svc.crt"]), 2, "would both be written to");
    bench.refuses(|place| rekey(place, &["--out-cert", "svc.key"]), 2, "would both be written to");
    if let Some(reference) = reference() {
        let ca = &reference.ca;
        let before = pair(&ca.place);
        rekey(&ca.place, &["--out-key", "svc.crt"]).fails(2, "would both be written to");
        assert_eq!(before, pair(&ca.place));
    }
}
