//! A model of the disk: from every state that a crash can leave, the pair ends matching and no key is ever lost.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::*;

const OLD: u8 = 1;
const NEW: u8 = 2;
const FOREIGN: u8 = 3;

/// Key and certificate are told apart by a number each; certificate n is for key n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disk {
    directory: bool,
    pending_key: Option<u8>,
    pending_certificate: Option<u8>,
    journal: Phase,
    key: Option<u8>,
    certificate: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    None,
    Requested,
    Issued,
}

/// One durable, atomic change.
#[derive(Clone, Copy, Debug)]
enum Step {
    MakeDirectory,
    WriteKey,
    WriteRequested,
    WriteCertificate,
    WriteIssued,
    /// One rename that switches both: generations, or one file for both.
    Switch,
    CopyKey,
    MoveKey,
    CopyCertificate,
    MoveCertificate,
    DropJournal,
    DropKey,
    DropCertificate,
    DropDirectory,
}

/// How the new files come to their targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each is copied beside its target and renamed.
    Copies,
    /// Each is renamed out of the pending directory.
    Moves,
    /// Both are copied, and one rename switches to them.
    Together,
}

#[derive(Clone, Copy, Debug)]
struct World {
    before: Targets,
    start: Disk,
    /// How the new files come to their targets.
    way: Way,
    /// Whether the user brought the new key, so that none is minted.
    key_is_brought: bool,
    /// In which order a directory is emptied.
    removal: [Step; 3],
}

fn key_digest(n: u8) -> KeyDigest {
    KeyDigest([n; 32])
}

fn certificate(n: u8) -> CertificateSeen {
    CertificateSeen { digest: CertificateDigest([n; 32]), key: key_digest(n) }
}

fn targets(disk: &Disk) -> Targets {
    Targets { key: disk.key.map(key_digest), certificate: disk.certificate.map(certificate) }
}

impl World {
    fn journal(&self, disk: &Disk) -> Option<Journal> {
        let request =
            Request { old_certificate: certificate(OLD).digest, new_key: key_digest(NEW), before: self.before };
        match disk.journal {
            Phase::None => None,
            Phase::Requested => Some(Journal::Requested(request)),
            Phase::Issued => Some(Journal::Issued { request, certificate: certificate(NEW).digest }),
        }
    }

    fn recovery(&self, disk: &Disk) -> Recovery {
        let observed = Observed {
            pending: disk.directory,
            pending_key: disk.pending_key.map(key_digest),
            pending_certificate: disk.pending_certificate.map(certificate),
            targets: targets(disk),
        };
        recover(self.journal(disk).as_ref(), &observed)
    }

    fn install(&self, key: bool, certificate: bool) -> Vec<Step> {
        let mut steps = vec![];
        match self.way {
            Way::Together if key || certificate => steps.push(Step::Switch),
            Way::Together => {}
            Way::Copies => {
                steps.extend([(key, Step::CopyKey), (certificate, Step::CopyCertificate)].iter().filter_map(wanted))
            }
            Way::Moves => {
                steps.extend([(key, Step::MoveKey), (certificate, Step::MoveCertificate)].iter().filter_map(wanted))
            }
        }
        steps.extend(self.remove());
        steps
    }

    fn remove(&self) -> Vec<Step> {
        let mut steps = self.removal.to_vec();
        steps.push(Step::DropDirectory);
        steps
    }

    /// All that one start does: first what recovery says, then, where nothing is pending, a whole rekey.
    fn steps(&self, disk: &Disk) -> Vec<Step> {
        let certified = [Step::WriteCertificate, Step::WriteIssued];
        match self.recovery(disk) {
            Recovery::Nothing => {
                let mut steps = vec![Step::MakeDirectory];
                if !self.key_is_brought {
                    steps.push(Step::WriteKey);
                }
                steps.push(Step::WriteRequested);
                steps.extend(certified);
                steps.extend(self.install(!self.key_is_brought, true));
                steps
            }
            Recovery::Resume => {
                let mut steps = certified.to_vec();
                steps.extend(self.install(disk.key != Some(NEW), disk.certificate != Some(NEW)));
                steps
            }
            Recovery::Finish { install_key, install_certificate } => self.install(install_key, install_certificate),
            Recovery::Discard(_) => self.remove(),
            Recovery::Stuck => panic!("stuck: {disk:?}"),
        }
    }
}

fn wanted((wanted, step): &(bool, Step)) -> Option<Step> {
    wanted.then_some(*step)
}

fn apply(step: Step, disk: &mut Disk) {
    match step {
        Step::Switch => {
            disk.key = disk.pending_key.or(disk.key);
            disk.certificate = disk.pending_certificate;
        }
        Step::MakeDirectory => disk.directory = true,
        Step::WriteKey => disk.pending_key = Some(NEW),
        Step::WriteRequested => disk.journal = Phase::Requested,
        Step::WriteCertificate => disk.pending_certificate = Some(NEW),
        Step::WriteIssued => disk.journal = Phase::Issued,
        Step::CopyKey => disk.key = disk.pending_key,
        Step::MoveKey => disk.key = disk.pending_key.take(),
        Step::CopyCertificate => disk.certificate = disk.pending_certificate,
        Step::MoveCertificate => disk.certificate = disk.pending_certificate.take(),
        Step::DropJournal => disk.journal = Phase::None,
        Step::DropKey => disk.pending_key = None,
        Step::DropCertificate => disk.pending_certificate = None,
        Step::DropDirectory => disk.directory = false,
    }
}

fn worlds() -> Vec<World> {
    use Step::{DropCertificate, DropJournal, DropKey};
    let mut worlds = vec![];
    let removals = [
        [DropJournal, DropKey, DropCertificate],
        [DropKey, DropCertificate, DropJournal],
        [DropCertificate, DropJournal, DropKey],
        [DropKey, DropJournal, DropCertificate],
    ];
    // In place; into fresh files; over a stranger's pair; with a key that the user brought.
    let starts = [
        (Some(OLD), Some(OLD), false),
        (None, None, false),
        (Some(FOREIGN), Some(FOREIGN), false),
        (Some(OLD), None, false),
        (None, Some(OLD), false),
        (Some(NEW), Some(OLD), true),
        (Some(NEW), None, true),
    ];
    for (key, certificate, key_is_brought) in starts {
        let start = Disk {
            directory: false,
            pending_key: None,
            pending_certificate: None,
            journal: Phase::None,
            key,
            certificate,
        };
        for way in [Way::Copies, Way::Moves, Way::Together] {
            for removal in removals {
                worlds.push(World { before: targets(&start), start, way, key_is_brought, removal });
            }
        }
    }
    worlds
}

/// Every state that the disk can be in after any number of crashes, by walking all starts from all states.
fn reachable(world: &World, from: Disk) -> BTreeSet<Disk> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(disk) = open.pop() {
        if !seen.insert(disk) || is_done(&disk) {
            continue;
        }
        let mut now = disk;
        for step in world.steps(&disk) {
            apply(step, &mut now);
            open.push(now);
        }
    }
    seen
}

fn is_done(disk: &Disk) -> bool {
    !disk.directory && disk.key == Some(NEW) && disk.certificate == Some(NEW)
}

#[test]
fn from_every_crash_state_two_undisturbed_starts_end_with_the_new_pair() {
    for world in worlds() {
        let states = reachable(&world, world.start);
        assert!(states.len() >= 8, "{}", states.len());
        for state in states {
            let mut disk = state;
            // A discarded attempt is followed by a fresh one: two starts at the most.
            for _ in 0..2 {
                if !is_done(&disk) {
                    for step in world.steps(&disk.clone()) {
                        apply(step, &mut disk);
                    }
                }
            }
            assert!(is_done(&disk), "{world:?}: from {state:?} to {disk:?}");
        }
    }
}

#[test]
fn no_crash_leaves_a_new_certificate_whose_key_is_lost() {
    for world in worlds() {
        for disk in reachable(&world, world.start) {
            if disk.certificate == Some(NEW) {
                assert!(disk.key == Some(NEW) || disk.pending_key == Some(NEW), "{world:?}: {disk:?}");
            }
        }
    }
}

#[test]
fn no_crash_loses_the_old_key_before_the_new_certificate_is_at_hand() {
    for world in worlds() {
        for disk in reachable(&world, world.start) {
            if disk.key != world.start.key {
                assert!(disk.certificate == Some(NEW) || disk.pending_certificate == Some(NEW), "{world:?}: {disk:?}");
            }
        }
    }
}

#[test]
fn a_pair_that_something_else_put_there_meanwhile_is_kept() {
    for world in worlds().into_iter().filter(|world| world.start.certificate != Some(FOREIGN)) {
        for state in reachable(&world, world.start) {
            if !state.directory {
                continue;
            }
            let disturbed = Disk { key: Some(FOREIGN), certificate: Some(FOREIGN), ..state };
            assert!(matches!(world.recovery(&disturbed), Recovery::Discard(_)), "{disturbed:?}");
        }
    }
}

#[test]
fn where_one_rename_switches_both_a_pair_that_matched_matches_at_every_moment() {
    let mut seen = 0;
    for world in worlds().into_iter().filter(|world| world.way == Way::Together) {
        let matches = |disk: &Disk| disk.key == disk.certificate;
        if !matches(&world.start) {
            continue;
        }
        for disk in reachable(&world, world.start) {
            seen += 1;
            assert!(matches(&disk), "{world:?}: {disk:?}");
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_recovery_of_each_phase_is_the_expected_one() {
    let world = worlds()[0];
    let disk = |directory, pending_key, pending_certificate, journal, key, certificate| Disk {
        directory,
        pending_key,
        pending_certificate,
        journal,
        key,
        certificate,
    };
    let (o, n) = (Some(OLD), Some(NEW));
    let finish = |install_key, install_certificate| Recovery::Finish { install_key, install_certificate };
    let table = [
        (disk(false, None, None, Phase::None, o, o), Recovery::Nothing),
        (disk(true, n, None, Phase::None, o, o), Recovery::Discard(DiscardReason::NeverRequested)),
        (disk(true, n, None, Phase::Requested, o, o), Recovery::Resume),
        (disk(true, n, n, Phase::Requested, o, o), Recovery::Resume),
        (disk(true, None, None, Phase::Requested, o, o), Recovery::Discard(DiscardReason::NewKeyLost)),
        (disk(true, n, n, Phase::Issued, o, o), finish(true, true)),
        (disk(true, n, n, Phase::Issued, n, o), finish(false, true)),
        (disk(true, None, n, Phase::Issued, n, o), finish(false, true)),
        (disk(true, n, None, Phase::Issued, o, n), finish(true, false)),
        (disk(true, None, None, Phase::Issued, n, n), finish(false, false)),
        // Damage that the order of writing rules out.
        (disk(true, n, None, Phase::Issued, o, o), Recovery::Resume),
        (disk(true, None, n, Phase::Issued, o, o), Recovery::Discard(DiscardReason::NewKeyLost)),
        (disk(true, None, None, Phase::Issued, n, o), Recovery::Stuck),
        (disk(true, None, None, Phase::Issued, o, n), Recovery::Stuck),
        // A key target that somebody lost does not keep the new pair from being installed.
        (disk(true, n, n, Phase::Issued, None, None), finish(true, true)),
        (disk(true, n, n, Phase::Issued, Some(FOREIGN), o), finish(true, true)),
    ];
    for (found, expected) in table {
        assert_eq!(world.recovery(&found), expected, "{found:?}");
    }
}
