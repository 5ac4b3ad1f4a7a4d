//! A rekey that is killed, or refused by the system, at every call that changes anything: no certificate ever loses its key.
//!
//! strace counts the calls of the client and kills it at the first, the second, the third … of each kind, until a run gets
//! through. After each death the files are looked at, the same command is typed again, and everything must be right.

use std::collections::{BTreeMap, BTreeSet};

use keywheel_tests::ca::Ca;
use keywheel_tests::place::{Done, keywheel};

/// The system calls that change files, or that tell anyone of a change.
const CALLS: &[&str] = &[
    "mkdir",
    "openat",
    "write",
    "fsync",
    "fdatasync",
    "fchmod",
    "chmod",
    "fchown",
    "fsetxattr",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "flock",
    "sendto",
    "writev",
    "linkat",
];

/// More calls of one kind than any rekey makes.
const BOUND: usize = 400;

/// What came of a run in which one call was tampered with.
enum Came {
    /// There was no such call any more.
    NotToIt,
    /// The call was tampered with.
    ToIt,
    /// It was, but it was a call inside the process itself, which no disk can make fail.
    ToAnInnerOne,
}

/// Runs a rekey in which the `number`th call of this kind is tampered with.
fn tampered(ca: &Ca, call: &str, tampering: &str, number: usize) -> (Done, Came) {
    let trace = ca.place.file("trace");
    let inject = format!("inject={call}:{tampering}:when={number}");
    let binary = keywheel().display().to_string();
    let words =
        ["-f", "-y", "-qq", "-o", &trace.display().to_string(), "-e", &format!("trace={call}"), "-e", &inject, &binary]
            .map(String::from);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["ca", "rekey", "--force", "svc.crt", "svc.key"]);
    // A run whose own threads can no longer wake each other never ends by itself.
    words.splice(0..0, ["--kill-after=1", "20", "strace"]);
    let done = ca.place.run("timeout", &words);
    let seen = std::fs::read_to_string(&trace).unwrap_or_default();
    let came = match seen.lines().find(|line| line.contains("(INJECTED)")) {
        Some(line) if line.contains("[eventfd]") => Came::ToAnInnerOne,
        Some(_) => Came::ToIt,
        None if seen.contains("killed by SIGKILL") => Came::ToIt,
        None => Came::NotToIt,
    };
    (done, came)
}

/// The numbers of those calls of this kind that only wake another thread of the process, in a run that is left alone.
fn inner_calls(ca: &Ca, call: &str) -> BTreeSet<usize> {
    let trace = ca.place.file("trace").display().to_string();
    let binary = keywheel().display().to_string();
    let filter = format!("trace={call}");
    let words =
        ["-f", "-y", "-qq", "-o", &trace, "-e", &filter, &binary, "ca", "rekey", "--force", "svc.crt", "svc.key"];
    ca.place.run("strace", &words).ok();
    // strace counts the calls of each thread by themselves.
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut inner = BTreeSet::new();
    for line in ca.place.read("trace").lines().filter(|line| line.contains(&format!("{call}("))) {
        let thread = line.split(' ').next().unwrap_or_default().to_owned();
        let count = counts.entry(thread).or_default();
        *count += 1;
        if line.contains("[eventfd]") {
            inner.insert(*count);
        }
    }
    inner
}

/// Nothing on disk is lost: both files are whole, and either they belong together or the next run makes it so.
#[track_caller]
fn nothing_is_lost(ca: &Ca, at: &str) {
    let place = &ca.place;
    for (file, words) in [("svc.crt", ["x509", "-noout", "-in"]), ("svc.key", ["pkey", "-noout", "-in"])] {
        let read = place.run("openssl", &[&words[..], &[file]].concat());
        assert_eq!(read.code, 0, "{at}: {file} is not whole: {}", read.stderr);
    }
    place.keywheel(&["ca", "rekey", "--force", "svc.crt", "svc.key"]).ok();
    assert!(pair_matches(ca), "{at}: after the next run certificate and key do not belong together");
    let left: Vec<String> = std::fs::read_dir(place.path())
        .expect("the place is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".svc"))
        .collect();
    assert!(left.is_empty(), "{at}: the next run left {left:?}");
}

fn pair_matches(ca: &Ca) -> bool {
    let of_certificate = ca.place.run("openssl", &["x509", "-noout", "-pubkey", "-in", "svc.crt"]).stdout;
    let of_key = ca.place.run("openssl", &["pkey", "-pubout", "-in", "svc.key"]).stdout;
    !of_key.is_empty() && of_certificate == of_key
}

/// Tampers with every call once; returns at how many.
fn sweep(tampering: &str, after: impl Fn(&Ca, &str, &Done)) -> usize {
    let ca = Ca::start();
    ca.certificate("svc");
    let mut points = 0;
    for call in CALLS {
        // To refuse such a call would say nothing of disks, and leave a process that waits for itself.
        let inner = if tampering.starts_with("error") { inner_calls(&ca, call) } else { BTreeSet::new() };
        for number in (1..BOUND).filter(|number| !inner.contains(number)) {
            let (done, came) = tampered(&ca, call, tampering, number);
            if matches!(came, Came::NotToIt) {
                assert_eq!(
                    done.code, 0,
                    "{call} {number}: nothing was tampered with, but the rekey failed: {}",
                    done.stderr
                );
                break;
            }
            points += 1;
            let at = format!("{call} number {number}, {tampering}");
            if matches!(came, Came::ToIt) {
                after(&ca, &at, &done);
            }
            nothing_is_lost(&ca, &at);
        }
    }
    println!("{points} points tampered with ({tampering}), nothing lost");
    points
}

#[test]
fn killed_at_every_call_a_rekey_loses_no_key() {
    let points = sweep("signal=SIGKILL", |_, _, _| ());
    assert!(points > 20, "only {points} points: strace did not see the calls");
}

#[test]
fn on_a_full_disk_a_rekey_fails_aloud_and_loses_no_key() {
    let points = sweep("error=ENOSPC", |ca, at, done| {
        // A call whose failure does not matter may be passed over; a failure must not be silent, nor leave half a pair.
        if done.code != 0 {
            assert!(!done.stderr.trim().is_empty(), "{at}: it failed without a word");
        }
        assert!(!done.stderr.contains("panicked"), "{at}: {}", done.stderr);
        if done.code == 0 {
            assert!(pair_matches(ca), "{at}: it says that it succeeded, but the pair does not match");
        }
    });
    assert!(points > 20, "only {points} points: strace did not see the calls");
}
