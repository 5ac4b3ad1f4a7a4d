//! Every cut of the replacement of a pair, on real files: no state loses a key, and the next start repairs.

use super::*;

struct World {
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { scratch: tempfile::tempdir().unwrap() };
        std::fs::write(world.path("svc.crt"), "old certificate").unwrap();
        std::fs::write(world.path("svc.key"), "old key").unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn pair(&self) -> Pair {
        Pair::open(&self.path("svc.crt"), &self.path("svc.key"), None).unwrap()
    }

    fn content(&self) -> (String, String) {
        (read_text(&self.path("svc.crt")), read_text(&self.path("svc.key")))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.scratch.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn read_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn intent() -> Intent {
    Intent {
        key_pem: Zeroizing::new(b"new key".to_vec()),
        request_pem: b"request".to_vec(),
        old_certificate: "aa".to_owned(),
    }
}

fn old() -> (String, String) {
    ("old certificate".to_owned(), "old key".to_owned())
}

fn new() -> (String, String) {
    ("new certificate".to_owned(), "new key".to_owned())
}

#[test]
fn a_whole_replacement_leaves_the_new_pair_and_nothing_else() {
    let world = World::new();
    let pair = world.pair();
    let mut pending = pair.begin(intent()).unwrap();
    assert_eq!(world.content(), old());
    pair.issued(&mut pending, "new certificate").unwrap();
    assert_eq!(world.content(), old());
    pair.install(&mut pending).unwrap();
    pair.retire().unwrap();
    drop(pair);
    assert_eq!(world.content(), new());
    assert_eq!(world.names(), ["svc.crt", "svc.key"]);
}

#[test]
fn a_pair_is_taken_once() {
    let world = World::new();
    let _held = world.pair();
    let again = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None);
    assert!(matches!(again, Err(PairError::Lock(LockError::Held(_)))));
}

#[test]
fn one_file_for_both_is_refused_however_it_is_spelled() {
    let world = World::new();
    std::os::unix::fs::symlink("svc.key", world.path("link")).unwrap();
    std::fs::hard_link(world.path("svc.key"), world.path("hard")).unwrap();
    for name in ["svc.key", "./svc.key", "link", "hard"] {
        let both = Pair::open(&world.path(name), &world.path("svc.key"), None);
        assert!(matches!(both, Err(PairError::SameFile(_))), "{name}");
    }
}

#[test]
fn a_cut_before_the_journal_is_undone() {
    let world = World::new();
    for files in [&[][..], &[KEY][..], &[KEY, REQUEST][..]] {
        let pair = world.pair();
        DirBuilder::new().mode(0o700).create(&pair.place).unwrap();
        for file in files {
            std::fs::write(pair.place.join(file), "half").unwrap();
        }
        assert!(matches!(pair.recover().unwrap(), Recovered::Undone));
        assert!(matches!(pair.recover().unwrap(), Recovered::Nothing));
        drop(pair);
        assert_eq!(world.content(), old());
        assert_eq!(world.names(), ["svc.crt", "svc.key"]);
    }
}

#[test]
fn a_cut_after_the_request_goes_on_with_the_same_key_and_request() {
    let world = World::new();
    world.pair().begin(intent()).unwrap();
    assert_eq!(world.content(), old());
    let pair = world.pair();
    let Recovered::Pending(mut pending) = pair.recover().unwrap() else { panic!("not pending") };
    assert!(pending.is_for(&pair));
    assert_eq!(*pending.intent().key_pem, *intent().key_pem);
    assert_eq!(pending.intent().request_pem, intent().request_pem);
    assert_eq!(pending.intent().old_certificate, "aa");
    pair.issued(&mut pending, "new certificate").unwrap();
    pair.install(&mut pending).unwrap();
    assert_eq!(world.content(), new());
}

#[test]
fn every_cut_after_the_answer_is_finished() {
    // What the two files may hold and what may lie beside them, whichever rename was made durable.
    let certificates = ["old certificate", "new certificate"];
    let keys = ["old key", "new key"];
    for (certificate, key, litter) in
        certificates.iter().flat_map(|c| keys.iter().flat_map(move |k| [false, true].map(|l| (c, k, l))))
    {
        let world = World::new();
        let pair = world.pair();
        let mut pending = pair.begin(intent()).unwrap();
        pair.issued(&mut pending, "new certificate").unwrap();
        drop(pair);
        std::fs::write(world.path("svc.crt"), certificate).unwrap();
        std::fs::write(world.path("svc.key"), key).unwrap();
        if litter {
            std::fs::write(world.path(".svc.crt.keywheel.new"), "torn").unwrap();
            std::fs::write(world.path(".svc.key.keywheel.new"), "torn").unwrap();
        }
        let pair = world.pair();
        assert!(matches!(pair.recover().unwrap(), Recovered::Finished { old_certificate } if old_certificate == "aa"));
        assert_eq!(world.content(), new());
        pair.retire().unwrap();
        drop(pair);
        assert_eq!(world.names(), ["svc.crt", "svc.key"]);
    }
}

#[test]
fn a_cut_while_the_journal_is_removed_changes_nothing_more() {
    let world = World::new();
    let pair = world.pair();
    let mut pending = pair.begin(intent()).unwrap();
    pair.issued(&mut pending, "new certificate").unwrap();
    std::fs::write(world.path("svc.crt"), "new certificate").unwrap();
    std::fs::write(world.path("svc.key"), "new key").unwrap();
    std::fs::remove_file(pair.place.join(JOURNAL)).unwrap();
    assert!(matches!(pair.recover().unwrap(), Recovered::Undone));
    assert_eq!(world.content(), new());
}

#[test]
fn files_that_something_else_changed_are_left_alone_and_the_new_key_is_kept() {
    for (name, content) in [("svc.crt", "foreign certificate"), ("svc.key", "foreign key")] {
        let world = World::new();
        let pair = world.pair();
        let mut pending = pair.begin(intent()).unwrap();
        pair.issued(&mut pending, "new certificate").unwrap();
        std::fs::write(world.path(name), content).unwrap();
        let before = world.content();
        let Recovered::SetAside(place) = pair.recover().unwrap() else { panic!("not put aside") };
        assert_eq!(world.content(), before);
        assert_eq!(read_text(&place.join(KEY)), "new key");
        assert!(read_text(&place.join(JOURNAL)).contains("new certificate"));
        assert!(matches!(pair.recover().unwrap(), Recovered::Nothing));
    }
}

#[test]
fn new_names_are_made_and_a_key_that_is_in_place_is_not_written() {
    let world = World::new();
    std::fs::write(world.path("given.key"), "new key").unwrap();
    let before = std::fs::metadata(world.path("given.key")).unwrap().ino();
    let pair = Pair::open(&world.path("out.crt"), &world.path("given.key"), None).unwrap();
    let mut pending = pair.begin(intent()).unwrap();
    pair.issued(&mut pending, "new certificate").unwrap();
    pair.install(&mut pending).unwrap();
    pair.discard().unwrap();
    drop(pair);
    assert_eq!(read_text(&world.path("out.crt")), "new certificate");
    assert_eq!(std::fs::metadata(world.path("given.key")).unwrap().ino(), before);
    assert_eq!(world.content(), old());
}

#[test]
fn a_journal_that_others_can_read_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let pair = world.pair();
    std::fs::create_dir(&pair.place).unwrap();
    std::fs::set_permissions(&pair.place, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(pair.recover(), Err(PairError::NotPrivate(_))));
}

#[test]
fn a_journal_of_a_newer_version_and_one_that_is_none_stay_where_they_are() {
    let world = World::new();
    let pair = world.pair();
    let pending = pair.begin(intent()).unwrap();
    let newer = Journal { version: VERSION + 1, ..pending.journal.clone() };
    pair.write_journal(&newer).unwrap();
    assert!(matches!(pair.recover(), Err(PairError::Newer(_))));
    std::fs::write(pair.place.join(JOURNAL), "{").unwrap();
    assert!(matches!(pair.recover(), Err(PairError::Journal { .. })));
    assert_eq!(read_text(&pair.place.join(KEY)), "new key");
}

#[test]
fn the_journal_and_all_in_it_are_private() {
    let world = World::new();
    let pair = world.pair();
    pair.begin(intent()).unwrap();
    assert_eq!(std::fs::metadata(&pair.place).unwrap().mode() & 0o777, 0o700);
    for name in [JOURNAL, KEY, REQUEST] {
        assert_eq!(std::fs::metadata(pair.place.join(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn what_is_in_place_is_told_of_again_until_somebody_said_that_everybody_knows() {
    let world = World::new();
    let pair = world.pair();
    let mut pending = pair.begin(intent()).unwrap();
    pair.issued(&mut pending, "new certificate").unwrap();
    pair.install(&mut pending).unwrap();
    assert_eq!(world.content(), new());
    // Whatever others make of the files meanwhile.
    std::fs::write(world.path("svc.crt"), "foreign certificate").unwrap();
    for _ in 0..2 {
        let recovered = pair.recover().unwrap();
        assert!(matches!(recovered, Recovered::Finished { old_certificate } if old_certificate == "aa"));
    }
    assert_eq!(read_text(&world.path("svc.crt")), "foreign certificate");
    pair.discard().unwrap();
    assert!(matches!(pair.recover().unwrap(), Recovered::Nothing));
}

#[test]
fn a_request_that_may_have_been_answered_is_put_aside_by_a_new_one() {
    let world = World::new();
    let pair = world.pair();
    for number in 1..=7_u32 {
        pair.begin(Intent { key_pem: Zeroizing::new(format!("key {number}").into_bytes()), ..intent() }).unwrap();
    }
    let aside = |number: u32| world.path(&format!(".svc.key.keywheel.aside-{number}/{KEY}"));
    // The newest few are kept, so that a disk does not fill.
    for number in 1..=2 {
        assert!(!aside(number).exists(), "{number}");
    }
    for number in 3..=6 {
        assert_eq!(read_text(&aside(number)), format!("key {number}"));
    }
    assert_eq!(read_text(&pair.place.join(KEY)), "key 7");
}

#[test]
fn a_replacement_that_another_user_began_is_theirs_to_finish() {
    let world = World::new();
    let pair = world.pair();
    pair.begin(intent()).unwrap();
    if std::os::unix::fs::chown(&pair.place, Some(4711), None).is_err() {
        // Only root may give files away.
        return;
    }
    assert!(matches!(pair.recover(), Err(PairError::OfAnother { owner: 4711, .. })));
    assert_eq!(read_text(&pair.place.join(KEY)), "new key");
}

#[test]
fn what_was_put_aside_for_a_request_that_was_refused_comes_back() {
    let world = World::new();
    let pair = world.pair();
    pair.begin(intent()).unwrap();
    let other = Intent { key_pem: Zeroizing::new(b"other key".to_vec()), ..intent() };
    let refused = pair.begin(other).unwrap();
    assert_eq!(read_text(&pair.place.join(KEY)), "other key");
    pair.withdraw(&refused).unwrap();
    let Recovered::Pending(pending) = pair.recover().unwrap() else { panic!("not pending") };
    assert_eq!(*pending.intent().key_pem, *intent().key_pem);
    drop(pair);
    assert_eq!(world.names(), [".svc.key.keywheel", "svc.crt", "svc.key"]);
}

#[test]
fn a_renewal_that_was_taken_back_leaves_no_copy_of_the_key_once_something_else_is_begun() {
    let world = World::new();
    let pair = world.pair();
    let renewal = Intent { key_pem: Zeroizing::new(b"old key".to_vec()), request_pem: Vec::new(), ..intent() };
    let mut pending = pair.begin(renewal).unwrap();
    pair.issued(&mut pending, "new certificate").unwrap();
    pair.install(&mut pending).unwrap();
    pair.roll_back().unwrap();
    assert!(matches!(pair.recover().unwrap(), Recovered::RolledBack(_)));
    let mut pending = pair.begin(intent()).unwrap();
    pair.issued(&mut pending, "new certificate").unwrap();
    pair.install(&mut pending).unwrap();
    pair.retire().unwrap();
    drop(pair);
    assert_eq!(world.names(), ["svc.crt", "svc.key"]);
}

#[test]
fn a_journal_that_cannot_be_looked_at_loses_no_key() {
    let world = World::new();
    let pair = world.pair();
    pair.begin(intent()).unwrap();
    let journal = pair.place().join(JOURNAL);
    std::fs::remove_file(&journal).unwrap();
    std::os::unix::fs::symlink(JOURNAL, &journal).unwrap();
    assert!(matches!(pair.recover(), Err(PairError::Read { .. })));
    assert_eq!(read_text(&pair.place().join(KEY)), "new key");
}
