//! Every layout, and every cut of a replacement, a conversion and a way back in it, on real files.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::*;
use crate::files::pair::{Intent, Pair, Pending, Recovered};

const OLD: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
];
const NEW: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n",
];

struct World {
    scratch: tempfile::TempDir,
    layout: Layout,
}

impl World {
    /// The old pair, lying so.
    fn new(layout: Layout) -> Self {
        let world = Self { scratch: tempfile::tempdir().unwrap(), layout };
        match layout {
            Layout::Combined => std::fs::write(world.path("svc.pem"), OLD.concat()).unwrap(),
            Layout::Flat | Layout::Generations => {
                std::fs::write(world.path("svc.key"), OLD[0]).unwrap();
                std::fs::write(world.path("svc.crt"), OLD[1]).unwrap();
            }
        }
        world.pair().convert(layout).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The names of certificate and key.
    fn files(&self) -> (PathBuf, PathBuf) {
        match self.layout {
            Layout::Combined => (self.path("svc.pem"), self.path("svc.pem")),
            Layout::Flat | Layout::Generations => (self.path("svc.crt"), self.path("svc.key")),
        }
    }

    fn pair(&self) -> Pair {
        let (certificate, key) = self.files();
        Pair::open(&certificate, &key, Some(self.layout)).unwrap()
    }

    /// As far as to the answer of the authority.
    fn issued(&self) -> (Pair, Pending) {
        let pair = self.pair();
        let mut pending = pair.begin(intent()).unwrap();
        pair.issued(&mut pending, NEW[1]).unwrap();
        (pair, pending)
    }

    fn installed(&self) -> Pair {
        let (pair, mut pending) = self.issued();
        pair.install(&mut pending).unwrap();
        pair
    }

    /// What the names show: key and certificate.
    fn shows(&self) -> [String; 2] {
        let (certificate, key) = self.files();
        if self.layout == Layout::Combined {
            let (key, chain) = combined::split(&std::fs::read(key).unwrap());
            return [String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(chain).unwrap()];
        }
        [std::fs::read_to_string(key).unwrap(), std::fs::read_to_string(certificate).unwrap()]
    }

    /// What lies about beside the names.
    fn beside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.scratch.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !["svc.crt", "svc.key", "svc.pem", ".svc.key.generations"].contains(&name.as_str()));
        names.sort();
        names
    }

    fn generations(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(".svc.key.generations")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const ALL: [Layout; 3] = [Layout::Flat, Layout::Generations, Layout::Combined];

#[test]
fn a_replacement_keeps_the_old_pair_until_it_is_retired_and_then_leaves_nothing() {
    for layout in ALL {
        let world = World::new(layout);
        let pair = world.installed();
        assert_eq!(pair.layout(), layout);
        assert_eq!(world.shows(), NEW);
        pair.discard().unwrap();
        let kept: &[&str] = match layout {
            Layout::Flat => &[".svc.crt.previous", ".svc.key.previous"],
            Layout::Generations => &[],
            Layout::Combined => &[".svc.pem.previous"],
        };
        drop(pair);
        assert_eq!(world.beside(), kept, "{layout:?}");
        if layout == Layout::Generations {
            assert_eq!(world.generations(), ["1", "2", "current"]);
        }
        world.pair().retire().unwrap();
        assert_eq!(world.beside(), [""; 0], "{layout:?}");
        if layout == Layout::Generations {
            assert_eq!(world.generations(), ["2", "current"]);
        }
    }
}

#[test]
fn what_was_rolled_back_is_the_old_pair_and_the_new_one_waits_for_the_next_run() {
    for layout in ALL {
        let world = World::new(layout);
        let pair = world.installed();
        pair.roll_back().unwrap();
        assert_eq!(world.shows(), OLD, "{layout:?}");
        // Looking changes nothing, however often.
        for _ in 0..2 {
            assert!(matches!(pair.recover().unwrap(), Recovered::RolledBack(_)), "{layout:?}");
            assert_eq!(world.shows(), OLD);
        }
        let Recovered::RolledBack(mut pending) = pair.recover().unwrap() else { panic!("it was rolled back") };
        assert_eq!(pending.chain(), Some(NEW[1]));
        pair.install(&mut pending).unwrap();
        assert_eq!(world.shows(), NEW);
        pair.retire().unwrap();
        drop(pair);
        assert_eq!(world.beside(), [""; 0], "{layout:?}");
    }
}

#[test]
fn a_way_back_that_was_cut_off_goes_forward_again() {
    let world = World::new(Layout::Flat);
    let pair = world.installed();
    pair.roll_back().unwrap();
    // As if the power had gone between the two renames.
    std::fs::write(world.path("svc.crt"), NEW[1]).unwrap();
    assert!(matches!(pair.recover().unwrap(), Recovered::Finished { .. }));
    assert_eq!(world.shows(), NEW);
}

#[test]
fn a_pair_that_somebody_changed_after_the_way_back_is_left_alone() {
    for layout in ALL {
        let world = World::new(layout);
        let pair = world.installed();
        pair.roll_back().unwrap();
        let (certificate, key) = world.files();
        for file in [certificate, key] {
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, "foreign").unwrap();
        }
        let Recovered::SetAside(place) = pair.recover().unwrap() else { panic!("{layout:?}: not put aside") };
        assert_eq!(std::fs::read_to_string(place.join("key.pem")).unwrap(), NEW[0]);
    }
}

#[test]
fn where_nothing_is_kept_there_is_no_way_back_and_nothing_changes() {
    let world = World::new(Layout::Flat);
    let pair = world.installed();
    std::fs::remove_file(world.path(".svc.key.previous")).unwrap();
    assert!(matches!(pair.roll_back(), Err(PairError::PreviousLost(_))));
    assert_eq!(world.shows(), NEW);
}

#[test]
fn a_generation_that_was_cut_off_anywhere_is_finished() {
    let cuts: [fn(&World); 5] = [
        |_| {},
        // The directory alone, then half of its files, then a link that was not turned yet.
        |world| std::fs::create_dir(world.path(".svc.key.generations/2")).unwrap(),
        |world| {
            std::fs::create_dir(world.path(".svc.key.generations/2")).unwrap();
            std::fs::write(world.path(".svc.key.generations/2/key.pem"), "torn").unwrap();
        },
        |world| symlink("2", world.path(".svc.key.generations/current.new")).unwrap(),
        // Turned, but the journal does not know it.
        |world| {
            let generation = world.path(".svc.key.generations/2");
            std::fs::create_dir(&generation).unwrap();
            std::fs::write(generation.join("key.pem"), NEW[0]).unwrap();
            std::fs::write(generation.join("certificate.pem"), NEW[1]).unwrap();
            std::fs::remove_file(world.path(".svc.key.generations/current")).unwrap();
            symlink("2", world.path(".svc.key.generations/current")).unwrap();
        },
    ];
    for (number, cut) in cuts.iter().enumerate() {
        let world = World::new(Layout::Generations);
        drop(world.issued());
        cut(&world);
        let pair = world.pair();
        assert!(matches!(pair.recover().unwrap(), Recovered::Finished { .. }), "cut {number}");
        assert_eq!(world.shows(), NEW, "cut {number}");
        pair.retire().unwrap();
        drop(pair);
        assert_eq!(world.beside(), [""; 0], "cut {number}");
        assert_eq!(world.generations().len(), 2, "cut {number}: {:?}", world.generations());
    }
}

#[test]
fn a_conversion_that_was_cut_off_anywhere_shows_the_pair_and_is_finished_or_swept() {
    let made: fn(&World) = |world| {
        let generation = world.path(".svc.key.generations/1");
        std::fs::create_dir_all(&generation).unwrap();
        std::fs::write(generation.join("key.pem"), OLD[0]).unwrap();
        std::fs::write(generation.join("certificate.pem"), OLD[1]).unwrap();
    };
    let linked: fn(&World, &str, &str) = |world, name, file| {
        std::fs::remove_file(world.path(name)).unwrap();
        symlink(Path::new(".svc.key.generations/current").join(file), world.path(name)).unwrap();
    };
    for names in [&[][..], &["svc.key"][..], &["svc.crt"][..]] {
        for turned in [false, true] {
            if !turned && !names.is_empty() {
                continue;
            }
            let world = World::new(Layout::Flat);
            made(&world);
            if turned {
                symlink("1", world.path(".svc.key.generations/current")).unwrap();
            }
            for name in names {
                linked(&world, name, if *name == "svc.key" { "key.pem" } else { "certificate.pem" });
            }
            assert_eq!(world.shows(), OLD);
            let pair = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
            assert!(matches!(pair.recover().unwrap(), Recovered::Nothing));
            assert_eq!(world.shows(), OLD);
            let is_store = world.path(".svc.key.generations").exists();
            assert_eq!(pair.layout(), if names.is_empty() { Layout::Flat } else { Layout::Generations });
            assert_eq!(is_store, !names.is_empty(), "{names:?}");
        }
    }
}

#[test]
fn a_removal_of_the_generations_that_was_cut_off_is_finished() {
    let world = World::new(Layout::Flat);
    std::fs::create_dir_all(world.path(".svc.key.generations.removed/1")).unwrap();
    assert!(matches!(world.pair().recover().unwrap(), Recovered::Nothing));
    assert_eq!(world.beside(), [""; 0]);
}

#[test]
fn generations_that_hold_another_pair_than_the_files_are_not_swept() {
    let world = World::new(Layout::Generations);
    for (name, content) in [("svc.key", NEW[0]), ("svc.crt", NEW[1])] {
        std::fs::remove_file(world.path(name)).unwrap();
        std::fs::write(world.path(name), content).unwrap();
    }
    let pair = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
    assert_eq!(pair.layout(), Layout::Flat);
    assert!(matches!(pair.recover().unwrap(), Recovered::Nothing));
    assert!(world.path(".svc.key.generations/1/key.pem").exists());
}

#[test]
fn a_link_into_the_generations_of_another_pair_is_refused() {
    let world = World::new(Layout::Generations);
    std::fs::write(world.path("other.key"), NEW[0]).unwrap();
    std::fs::write(world.path("other.crt"), NEW[1]).unwrap();
    let mixed = Pair::open(&world.path("svc.crt"), &world.path("other.key"), None);
    assert!(matches!(mixed, Err(PairError::OfAnotherPair(_))));
    let mixed = Pair::open(&world.path("other.crt"), &world.path("svc.key"), None);
    assert!(matches!(mixed, Err(PairError::OfAnotherPair(_))));
}

#[test]
fn mode_and_links_of_the_user_survive_the_way_into_generations_and_back() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Layout::Flat);
    let key = world.path("svc.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("svc.key", world.path("alias.key")).unwrap();
    let pair = |wanted| Pair::open(&world.path("svc.crt"), &world.path("alias.key"), Some(wanted)).unwrap();
    pair(Layout::Generations).convert(Layout::Generations).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_link(world.path("alias.key")).unwrap(), Path::new("svc.key"));
    pair(Layout::Flat).convert(Layout::Flat).unwrap();
    assert!(std::fs::symlink_metadata(&key).unwrap().is_file());
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_link(world.path("alias.key")).unwrap(), Path::new("svc.key"));
}

#[test]
fn a_pair_that_is_not_there_yet_is_made_in_generations_where_that_is_wanted() {
    let world = World { scratch: tempfile::tempdir().unwrap(), layout: Layout::Generations };
    world.installed().retire().unwrap();
    assert_eq!(world.shows(), NEW);
    assert_eq!(world.generations(), ["1", "current"]);
}

#[test]
fn a_new_certificate_elsewhere_for_a_key_in_generations_replaces_nothing() {
    let world = World::new(Layout::Generations);
    let elsewhere = Pair::open(&world.path("new.crt"), &world.path("svc.key"), None);
    assert!(matches!(elsewhere, Err(PairError::OfAnotherPair(_))));
    assert_eq!(world.shows(), OLD);
}

#[test]
fn a_link_to_the_current_generation_that_is_not_ours_sweeps_nothing() {
    let world = World::new(Layout::Generations);
    let current = world.path(".svc.key.generations/current");
    std::fs::remove_file(&current).unwrap();
    symlink(world.path(".svc.key.generations/1"), &current).unwrap();
    let pair = world.pair();
    let mut pending = pair.begin(intent()).unwrap();
    pair.issued(&mut pending, NEW[1]).unwrap();
    assert!(matches!(pair.install(&mut pending), Err(PairError::Read { .. })));
    assert!(pair.retire().is_err());
    assert_eq!(world.shows(), OLD);
}

#[test]
fn a_generation_is_rehearsed_where_it_will_lie() {
    let world = World::new(Layout::Generations);
    world.pair().rehearse(100, 100).unwrap();
    assert_eq!(world.generations(), ["1", "current"]);
    // Something that root cannot remove as a file either.
    std::fs::create_dir(world.path(".svc.key.generations/rehearsal")).unwrap();
    assert!(world.pair().rehearse(100, 100).is_err());
    assert!(world.pair().rehearse_certificate(100).is_err());
}

#[test]
fn a_certificate_does_not_move_to_where_its_readers_cannot_go() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Layout::Flat);
    let (open, closed) = (world.path("certs"), world.path("private"));
    for (directory, mode) in [(&open, 0o755), (&closed, 0o710)] {
        std::fs::create_dir(directory).unwrap();
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let (certificate, key) = (open.join("svc.crt"), closed.join("svc.key"));
    std::fs::write(&key, OLD[0]).unwrap();
    std::fs::write(&certificate, OLD[1]).unwrap();
    let refused = Pair::open(&certificate, &key, None).unwrap().convert(Layout::Generations);
    assert!(matches!(refused, Err(PairError::NarrowerWay(_))));
    assert!(!certificate.is_symlink() && !closed.join(".svc.key.generations").exists());
}

#[test]
fn a_directory_of_generations_that_another_user_planted_is_left_alone() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can make directories of another user: not judged");
        return;
    }
    let world = World::new(Layout::Flat);
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::fs::create_dir(world.path(".svc.key.generations")).unwrap();
    chown(world.path(".svc.key.generations"), Some(1234), Some(1234)).unwrap();
    // One that is swept is made anew by us; one with something in it that looks like a store stays theirs.
    symlink("1", world.path(".svc.key.generations/current")).unwrap();
    let refused = world.pair().convert(Layout::Generations);
    assert!(matches!(refused, Err(PairError::Planted { owner: 1234, .. })));
    assert_eq!(world.generations(), ["current"]);
    assert!(!world.path("svc.key").is_symlink());
}

#[test]
fn generations_that_root_makes_belong_to_whom_the_directory_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can make directories of another user: not judged");
        return;
    }
    let world = World::new(Layout::Flat);
    chown(world.path(""), Some(1234), Some(4321)).unwrap();
    world.pair().convert(Layout::Generations).unwrap();
    for name in [".svc.key.generations", ".svc.key.generations/1"] {
        let found = std::fs::metadata(world.path(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1234, 4321, 0o755), "{name}");
    }
}

#[test]
fn a_new_pair_that_is_taken_back_leaves_no_generation() {
    let world = World { scratch: tempfile::tempdir().unwrap(), layout: Layout::Generations };
    let pair = world.installed();
    pair.roll_back().unwrap();
    assert!(matches!(pair.recover().unwrap(), Recovered::RolledBack(_)));
    assert!(!world.path("svc.key").exists() && !world.path(".svc.key.generations").exists());
}

fn intent() -> Intent {
    Intent {
        key_pem: Zeroizing::new(NEW[0].as_bytes().to_vec()),
        request_pem: b"request".to_vec(),
        old_certificate: "aa".to_owned(),
    }
}
