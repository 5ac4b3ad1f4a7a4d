//! A disk that is really full: a small file system of its own.

use keywheel_tests::place::Place;

use crate::bench::{Bench, belong_together, may_mount, pair};

/// Puts the pair on a file system of this size, fills it, runs the command line there, and brings the pair back.
fn on_a_full_disk(place: &Place, after_filling: &str, line: &str) -> keywheel_tests::place::Done {
    let script = format!(
        "set -e
         mkdir -p disk; mount -t tmpfs -o size=128k tmpfs disk; cp svc.crt svc.key disk
         ! cat /dev/zero >disk/filler 2>/dev/null
         {after_filling}
         cd disk; set +e; {line}; code=$?
         ls -A >../left; cp svc.crt svc.key ..; exit $code"
    );
    place.run("unshare", &["--mount", "bash", "-c", &script])
}

#[test]
fn on_a_full_disk_nothing_is_changed_and_nothing_is_asked() {
    if !may_mount() {
        return;
    }
    let mut bench = Bench::start();
    let run = |place: &Place| on_a_full_disk(place, "", "keywheel ca rekey --force svc.crt svc.key");
    bench.refuses(run, 1, "nothing was changed");
    let left = bench.place().read("left");
    assert!(left.lines().all(|name| name.ends_with(".lock") || !name.starts_with('.')), "something was left: {left}");
}

#[test]
fn room_for_a_key_but_not_for_a_certificate_is_not_enough() {
    if !may_mount() {
        return;
    }
    let mut bench = Bench::start();
    let room = |kilobytes: u32| format!("truncate -s -{kilobytes}k disk/filler");
    for kilobytes in [4, 8, 16] {
        let line = "keywheel ca rekey --force svc.crt svc.key";
        bench.refuses(|place| on_a_full_disk(place, &room(kilobytes), line), 1, "nothing was changed");
    }
    on_a_full_disk(bench.place(), &room(100), "keywheel ca rekey --force svc.crt svc.key").ok();
    belong_together(bench.place(), "svc.crt", "svc.key");
    assert_eq!(bench.issued(), 1);
}

#[test]
fn a_full_disk_for_one_of_two_targets_leaves_both() {
    if !may_mount() {
        return;
    }
    let mut bench = Bench::start();
    let before = pair(bench.place());
    let line = "keywheel ca rekey ../svc.crt ../svc.key --out-cert ../new.crt --out-key new.key";
    bench.refuses(|place| on_a_full_disk(place, "", line), 1, "nothing was changed");
    let line = "keywheel ca rekey ../svc.crt ../svc.key --out-key ../new.key --out-cert new.crt";
    bench.refuses(|place| on_a_full_disk(place, "", line), 1, "nothing was changed");
    assert_eq!(before, pair(bench.place()));
    assert!(!crate::bench::exists(bench.place(), "new.crt") && !crate::bench::exists(bench.place(), "new.key"));
}
