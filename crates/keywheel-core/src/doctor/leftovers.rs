//! What crashed tools left: replacements that were cut off, temporary files, locks that nobody holds.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::kind::Kind;
use super::managers::{Manager, Order, Steps};
use super::pairs::{distinct, is_pair_name};
use super::renewers::{Renewer, usual_command};
use super::scene::{Pair, Scene, is_in, join, split};
use super::{Content, File, Finding, Journal, words};

/// A temporary file that is younger may belong to a tool that runs right now.
const AT_WORK: SignedDuration = SignedDuration::from_mins(10);

/// Everything that a tool would have removed, had it come to its end.
pub(super) fn judge(scene: &Scene<'_>, renewers: &[Renewer<'_>], now: Timestamp) -> Vec<Finding> {
    let journals = scene.estate.journals.iter();
    let mut found: Vec<Finding> = journals.filter_map(|journal| cut_off(scene, renewers, journal)).collect();
    for file in &scene.estate.files {
        found.extend(previous(scene, renewers, file));
        found.extend(put_aside(file));
        found.extend(temporary(scene, file, now));
        found.extend(lock(file, now));
    }
    found
}

/// Whether a tool writes to such a name before it renames.
pub(super) fn is_temporary(file: &File) -> bool {
    let name = file.name();
    let ours = name.starts_with('.') && (name.ends_with(".keywheel.new") || name.ends_with(".keywheel.rehearsal"));
    let ends = [".tmp", ".temp", ".new"].into_iter().find_map(|end| name.strip_suffix(end));
    ours || is_of_certbot(file) || ends.is_some_and(is_pair_name) || is_of_caddy(file)
}

/// certbot cannot change its links again while the notes of the last time are there.
fn is_of_certbot(file: &File) -> bool {
    (file.name().ends_with(".conf.new") && is_in(&file.path, "renewal"))
        || (file.name().starts_with("previous_") && file.name().ends_with(".pem") && is_in(&file.path, "live"))
}

/// Caddy writes to a name of digits in the folder of the site.
fn is_of_caddy(file: &File) -> bool {
    let (issuers, _site) = split(file.folder());
    let digits = !file.name().is_empty() && file.name().bytes().all(|byte| byte.is_ascii_digit());
    digits && split(split(issuers).0).1 == "certificates"
}

fn cut_off(scene: &Scene<'_>, renewers: &[Renewer<'_>], journal: &Journal) -> Option<Finding> {
    if journal.busy {
        return None;
    }
    let key = key_of(scene, journal);
    let pair =
        scene.pairs.iter().find(|pair| key.as_deref().is_some_and(|key| pair.key.path == key || pair.key.real == key));
    let how_far = match journal.phase.as_deref() {
        _ if journal.rolled_back => {
            "hook or proof failed, and the old pair came back; mend that, and the next run tries again"
        }
        Some("requested") => "the CA may have answered; the next run asks it again, with the same key",
        Some("issued") => "the new pair is there; the next run puts it in place",
        Some("installed") => "the new pair is in place; the next run tells the service",
        _ => "nothing had been asked yet; the next run removes it",
    };
    let fix = pair.and_then(|pair| again(renewers, pair));
    // A pair that does not match is said as such, with the same command.
    let mismatched = pair.is_some_and(|pair| {
        let known = pair.key.keys().first().and_then(|key| key.digest);
        known.is_some_and(|known| pair.certificate.leaf().is_some_and(|leaf| leaf.key != known))
    });
    if mismatched {
        return None;
    }
    let mut files = vec![journal.path.clone()];
    files.extend(pair.map(|pair| distinct(pair.certificate, pair.key)).unwrap_or_default());
    Some(Finding {
        kind: Kind::RekeyCutOff,
        files,
        message: format!("a replacement of the pair did not come to its end: {how_far}"),
        fix: fix.or_else(|| Some(vec![words(["ls", "-lA", "--", &journal.path])])),
    })
}

/// By what replaces the pair as a rule, so that hook and proof are the same; else by hand.
fn again(renewers: &[Renewer<'_>], pair: &Pair<'_>) -> Option<Steps> {
    usual_command(renewers, pair.certificate)
        .or_else(|| Manager::Plain.order(Order::NewKey, pair.certificate, pair.key))
}

/// The key of a journal: what it says, else what its own name says.
fn key_of(scene: &Scene<'_>, journal: &Journal) -> Option<String> {
    let (folder, name) = split(&journal.path);
    let beside = join(folder, name.strip_prefix('.')?.strip_suffix(".keywheel")?);
    if scene.file(&beside).is_some() { Some(beside) } else { journal.key.clone() }
}

fn previous(scene: &Scene<'_>, renewers: &[Renewer<'_>], file: &File) -> Option<Finding> {
    let name = file.name().strip_prefix('.')?.strip_suffix(".previous")?;
    let current = scene.file(&join(file.folder(), name))?;
    let pair = scene.pair_of(current)?;
    if scene.journal_of(&pair).is_some() {
        return None;
    }
    Some(Finding {
        kind: Kind::PreviousKept,
        files: vec![file.path.clone(), current.path.clone()],
        message:
            "the last replacement was never proved to be in use, so the certificate and key before it are still kept"
                .to_string(),
        fix: again(renewers, &pair),
    })
}

fn put_aside(file: &File) -> Option<Finding> {
    let of_ours = file.name().starts_with('.') && file.name().contains(".keywheel.aside-");
    let of_doctor = file.name().ends_with(".broken");
    if !matches!(file.content, Content::Folder) || !(of_ours || of_doctor) {
        return None;
    }
    Some(Finding {
        kind: Kind::PutAside,
        files: vec![file.path.clone()],
        message: "put aside for you to look at; it may hold the only copy of a key that was certified".to_string(),
        fix: Some(vec![words(["rm", "-r", "--", &file.path])]),
    })
}

fn temporary(scene: &Scene<'_>, file: &File, now: Timestamp) -> Option<Finding> {
    let holds = |folder: &str, lock: &str| {
        scene.estate.files.iter().any(|other| other.locked && other.name().ends_with(lock) && other.folder() == folder)
    };
    // Where a lock says whether somebody is at work, age says nothing.
    let at_work = if file.name().contains(".keywheel.") {
        holds(file.folder(), ".keywheel.lock")
    } else if is_of_certbot(file) {
        let above = split(file.folder()).0;
        [above, split(above).0].iter().any(|root| holds(root, ".certbot.lock"))
    } else {
        now.duration_since(file.modified) <= AT_WORK
    };
    if !is_temporary(file) || matches!(file.content, Content::Folder) || at_work {
        return None;
    }
    Some(Finding {
        kind: Kind::LeftoverFile,
        files: vec![file.path.clone()],
        message: "a tool was stopped before it could rename or remove this file; nothing uses it".to_string(),
        fix: Some(vec![words(["rm", "--", &file.path])]),
    })
}

fn lock(file: &File, now: Timestamp) -> Option<Finding> {
    let name = file.name();
    let of_caddy = name.ends_with(".lock") && split(file.folder()).1 == "locks";
    let stale = if of_caddy {
        // Whoever holds it writes it again every five seconds.
        now.duration_since(file.modified) > AT_WORK
    } else {
        !file.locked && (name == ".certbot.lock" || name.ends_with(".keywheel.lock"))
    };
    stale.then(|| Finding {
        kind: Kind::StaleLock,
        files: vec![file.path.clone()],
        message: "the process that held this lock was killed; the next run takes it over".to_string(),
        fix: Some(vec![words(["rm", "--", &file.path])]),
    })
}
