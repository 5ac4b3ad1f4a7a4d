//! What the files were, they stay: owner, mode, links, folders; and two runs at once do not mix.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use keywheel_tests::place::keywheel;

use crate::bench::{Bench, PAIR, belong_together, exists, public_key};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").mode() & 0o7777
}

#[test]
fn the_mode_of_both_files_stays() {
    let bench = Bench::start();
    for (of_certificate, of_key) in [(0o644, 0o600), (0o664, 0o640), (0o444, 0o400)] {
        set_mode(&bench.place().file("svc.crt"), of_certificate);
        set_mode(&bench.place().file("svc.key"), of_key);
        bench.rekey(&[]).ok();
        assert_eq!(mode(&bench.place().file("svc.crt")), of_certificate);
        assert_eq!(mode(&bench.place().file("svc.key")), of_key);
    }
}

#[test]
fn the_owner_of_both_files_stays() {
    let bench = Bench::start();
    if std::fs::metadata(bench.place().path()).expect("it is there").uid() != 0 {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    for name in PAIR {
        std::os::unix::fs::chown(bench.place().file(name), Some(1234), Some(4321)).expect("root can");
    }
    bench.rekey(&[]).ok();
    for name in PAIR {
        let found = std::fs::metadata(bench.place().file(name)).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (1234, 4321), "{name}");
    }
}

#[test]
fn the_security_label_of_both_files_stays() {
    let bench = Bench::start();
    if std::fs::metadata(bench.place().path()).expect("it is there").uid() != 0 {
        eprintln!("SKIPPED: only root can label files");
        return;
    }
    // Any file system that keeps labels keeps them also where no policy is loaded.
    let label = |name: &str, code: &str| {
        let script = format!("import os; name = {name:?}; {code}");
        bench.place().run("python3", &["-c", &script])
    };
    const SET: &str = "os.setxattr(name, 'security.selinux', b'system_u:object_r:cert_t:s0\\0')";
    const GET: &str = "print(os.getxattr(name, 'security.selinux').decode().strip(chr(0)))";
    for name in PAIR {
        label(name, SET).ok();
    }
    let before = public_key(bench.place(), "svc.crt");
    bench.rekey(&[]).ok();
    assert_ne!(before, public_key(bench.place(), "svc.crt"));
    for name in PAIR {
        assert_eq!(label(name, GET).ok().stdout.trim(), "system_u:object_r:cert_t:s0", "{name}");
    }
}

#[test]
fn new_files_are_for_their_owner_alone_whatever_the_umask_says() {
    let bench = Bench::start();
    let line = "umask 0; exec keywheel ca rekey --out-cert new.crt --out-key new.key svc.crt svc.key";
    bench.place().run("bash", &["-c", line]).ok();
    assert_eq!(mode(&bench.place().file("new.key")), 0o600);
    assert_eq!(mode(&bench.place().file("new.crt")), 0o600);
}

#[test]
fn links_stay_links_and_what_they_point_to_is_replaced() {
    let bench = Bench::start();
    let place = bench.place();
    std::fs::create_dir_all(place.file("real/deep")).expect("folders can be made");
    for name in PAIR {
        std::fs::rename(place.file(name), place.file("real/deep").join(name)).expect("it can be moved");
        symlink(format!("deep/{name}"), place.file("real").join(name)).expect("a link can be made");
        symlink(format!("real/{name}"), place.file(name)).expect("a link can be made");
    }
    let before = public_key(place, "svc.crt");
    bench.rekey(&[]).ok();
    for name in PAIR {
        assert!(
            place.file(name).is_symlink() && place.file("real").join(name).is_symlink(),
            "{name} is no link any more"
        );
    }
    assert_ne!(before, public_key(place, "real/deep/svc.crt"));
    belong_together(place, "real/deep/svc.crt", "real/deep/svc.key");
}

#[test]
fn nothing_is_left_beside_the_files() {
    let bench = Bench::start();
    let names = |bench: &Bench| {
        let mut names: Vec<_> = std::fs::read_dir(bench.place().path())
            .expect("it is there")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            // The empty file that two runs at once are kept apart by.
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    };
    let before = names(&bench);
    bench.rekey(&[]).ok();
    bench.rekey(&["--ca-url", "https://localhost:1"]).fails(4, "was not reached");
    bench.rekey(&[]).ok();
    assert_eq!(before, names(&bench));
}

#[test]
fn several_runs_at_once_replace_the_pair_one_after_the_other_or_say_that_it_is_taken() {
    let mut bench = Bench::start();
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let mut command = bench.place().command(keywheel());
            command.args(["ca", "rekey", "--force"]).args(PAIR);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            command.spawn().expect("it can be started")
        })
        .collect();
    let mut done = 0;
    for run in runs {
        let ended = run.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        match ended.status.code() {
            Some(0) => done += 1,
            Some(4) => assert!(said.contains("another process is replacing"), "{said}"),
            code => panic!("{code:?}: {said}"),
        }
    }
    assert!(done >= 1, "nobody got it");
    belong_together(bench.place(), "svc.crt", "svc.key");
    assert_eq!(bench.issued(), done);
    assert!(!exists(bench.place(), ".svc.key.keywheel"));
}

#[test]
fn a_file_name_may_hold_spaces_and_other_scripts() {
    let bench = Bench::start();
    let place = bench.place();
    for (name, other) in [("svc.crt", "dé jà.crt"), ("svc.key", "schlüssel 鍵.key")] {
        std::fs::rename(place.file(name), place.file(other)).expect("it can be renamed");
    }
    place.keywheel(&["ca", "rekey", "--force", "dé jà.crt", "schlüssel 鍵.key"]).ok();
    belong_together(place, "dé jà.crt", "schlüssel 鍵.key");
}

#[test]
fn a_dry_run_changes_nothing_and_asks_nothing() {
    let mut bench = Bench::start();
    let before = crate::bench::pair(bench.place());
    let done = bench.rekey(&["--dry-run"]).ok();
    assert!(done.stdout.contains("nothing was changed"), "{}", done.stdout);
    assert_eq!(before, crate::bench::pair(bench.place()));
    assert_eq!(bench.asked(), 0);
}
