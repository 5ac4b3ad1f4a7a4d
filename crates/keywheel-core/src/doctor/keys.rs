//! Keys that others can read, that several certificates have, that never change, or that are weak.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::kind::Kind;
use super::managers::{Manager, Order, Steps, operand};
use super::renewers::is_kept_by_settings;
use super::scene::{Scene, split};
use super::{Certificate, File, Finding, words};
use crate::fingerprint::{CertificateDigest, KeyDigest};
use crate::key_strength::{self, WeakKey};

/// Everything about keys, whichever certificate they have.
pub(super) fn judge(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = readable(scene);
    found.extend(copied(scene));
    found.extend(shared_and_kept(scene));
    found.extend(weak(scene));
    found
}

fn readable(scene: &Scene<'_>) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let keys = scene.estate.files.iter().filter(|file| !file.keys().is_empty());
    let shown = keys.filter(|file| scene.is_shown(file)).filter(|file| seen.insert(file.identity));
    shown.filter_map(readable_key).collect()
}

fn readable_key(file: &File) -> Option<Finding> {
    let (kind, who, change) = if file.mode & 0o007 != 0 {
        (Kind::KeyReadableByOthers, "everybody on this machine may read or change it", "go=")
    } else if file.mode & 0o070 != 0 {
        (Kind::KeyReadableByGroup, "everybody in its group may read or change it", "g=")
    } else {
        return None;
    };
    Some(Finding {
        kind,
        files: vec![file.path.clone()],
        message: format!("the private key has mode {:03o}: {who}", file.mode & 0o777),
        fix: Some(vec![words(["chmod", change, "--", &file.path])]),
    })
}

/// The same key in files of different folders; what one tool copies to where a service reads it is meant to be so.
fn copied(scene: &Scene<'_>) -> Vec<Finding> {
    let mut by_key: BTreeMap<KeyDigest, Vec<&File>> = BTreeMap::new();
    for file in scene.estate.files.iter().filter(|file| scene.is_shown(file) && !scene.is_former(file)) {
        for digest in file.keys().iter().filter_map(|key| key.digest) {
            let files = by_key.entry(digest).or_default();
            if !files.iter().any(|other| other.identity == file.identity || is_one_place(scene, other, file)) {
                files.push(file);
            }
        }
    }
    by_key.into_values().filter(|files| files.len() > 1).map(|files| copied_key(&files)).collect()
}

fn is_one_place(scene: &Scene<'_>, one: &File, other: &File) -> bool {
    let manager = Manager::of(scene, one);
    one.folder() == other.folder() || (manager != Manager::Plain && manager == Manager::of(scene, other))
}

fn copied_key(files: &[&File]) -> Finding {
    let pure = files.iter().all(|file| file.certificates().is_empty());
    let fix = files.split_first().filter(|_| pure).map(|(first, others)| {
        others.iter().map(|copy| words(["ln", "-sfn", "--", &first.real, &copy.path])).collect()
    });
    Finding {
        kind: Kind::KeyCopied,
        files: files.iter().map(|file| file.path.clone()).collect(),
        message: "one private key lies in several places: a new key reaches only one of them".to_string(),
        fix,
    }
}

/// One certificate and a file that it is the first of.
#[derive(Clone, Copy)]
struct Held<'a> {
    certificate: &'a Certificate,
    file: &'a File,
}

fn shared_and_kept(scene: &Scene<'_>) -> Vec<Finding> {
    let mut by_key: BTreeMap<KeyDigest, BTreeMap<CertificateDigest, Held<'_>>> = BTreeMap::new();
    for file in &scene.estate.files {
        let Some(certificate) = file.leaf().filter(|leaf| !leaf.is_ca) else { continue };
        let held = by_key.entry(certificate.key).or_default().entry(certificate.digest);
        let first = held.or_insert(Held { certificate, file });
        // A certificate is shown where it is in use, not where it is kept.
        let better = |file: &File| (scene.is_former(file), !scene.is_shown(file));
        if better(file) < better(first.file) {
            first.file = file;
        }
    }
    let mut found = Vec::new();
    for held in by_key.into_values().filter(|held| held.len() > 1) {
        let mut by_names: BTreeMap<Vec<String>, Vec<Held<'_>>> = BTreeMap::new();
        for held in held.into_values() {
            by_names.entry(identity(held.certificate)).or_default().push(held);
        }
        found.extend(by_names.values_mut().filter_map(|same| kept(scene, same)));
        let mut newest: Vec<Held<'_>> = by_names
            .values()
            .filter_map(|same| {
                same.iter()
                    .filter(|held| !scene.is_former(held.file))
                    .max_by_key(|held| held.certificate.not_before)
                    .copied()
            })
            .collect();
        newest.sort_by(|one, other| one.file.path.cmp(&other.file.path));
        found.extend(shared(scene, &newest));
    }
    found
}

/// Certificates of the same names follow one another.
fn identity(certificate: &Certificate) -> Vec<String> {
    let mut names = certificate.names.clone();
    if names.is_empty() {
        names.push(certificate.subject.clone());
    }
    names.sort();
    names.dedup();
    names
}

fn kept(scene: &Scene<'_>, same: &mut [Held<'_>]) -> Option<Finding> {
    // Of two that begin in the same second, the one with a key of its own name is the one in use.
    let is_paired = |held: &Held<'_>| scene.pair_of(held.file).is_some();
    same.sort_by_key(|held| core::cmp::Reverse((held.certificate.not_before, is_paired(held))));
    let (newest, _) = same.split_first().filter(|(_, older)| !older.is_empty())?;
    if is_kept_by_settings(scene, newest.file) {
        return None;
    }
    let fix = key_of(scene, newest.file)
        .and_then(|key| Manager::of(scene, newest.file).order(Order::NewKey, newest.file, key));
    Some(Finding {
        kind: Kind::KeyKept,
        files: same.iter().map(|held| held.file.path.clone()).collect(),
        message: format!(
            "{} certificates of '{}' have one key: it was never changed when they were renewed",
            same.len(),
            newest.certificate.subject
        ),
        fix,
    })
}

fn shared(scene: &Scene<'_>, newest: &[Held<'_>]) -> Option<Finding> {
    let (first, others) = newest.split_first().filter(|(_, others)| !others.is_empty())?;
    let taken = key_of(scene, first.file).map(|key| key.identity);
    let mut fix: Steps = Vec::new();
    for other in others {
        let Some(key) = key_of(scene, other.file) else { continue };
        if taken == Some(key.identity) {
            fix.push(to_a_file_of_its_own(other.file, key));
        } else {
            fix.extend(Manager::of(scene, other.file).order(Order::NewKey, other.file, key).unwrap_or_default());
        }
    }
    let subjects: Vec<&str> = newest.iter().map(|held| held.certificate.subject.as_str()).collect();
    Some(Finding {
        kind: Kind::KeyShared,
        files: newest.iter().map(|held| held.file.path.clone()).collect(),
        message: format!("{} have one key: who has it can pass for all of them", subjects.join(", ")),
        fix: (!fix.is_empty()).then_some(fix),
    })
}

/// A key that others use, too, is not overwritten: the certificate gets a key beside it.
fn to_a_file_of_its_own(certificate: &File, key: &File) -> Vec<String> {
    let stem = certificate.path.rsplit_once('.').map_or(certificate.path.as_str(), |(stem, _)| stem);
    let own = format!("{stem}.own.key");
    let mut all = words(["keywheel", "ca", "rekey", "--force", "--out-key", &own]);
    all.extend([operand(&certificate.path), operand(&key.path)]);
    all
}

/// The file of a certificate's key: by name, else any.
fn key_of<'a>(scene: &Scene<'a>, certificate: &File) -> Option<&'a File> {
    let leaf = certificate.leaf()?;
    let by_name = scene.pair_of(certificate).map(|pair| pair.key);
    by_name.or_else(|| scene.holders(leaf.key).first().copied())
}

fn weak(scene: &Scene<'_>) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let live = scene.estate.files.iter().filter(|file| scene.is_shown(file) && !scene.is_former(file));
    live.filter_map(|file| {
        let leaf = file.leaf()?;
        let key = key_of(scene, file);
        // The roots of a trust store are not this machine's to replace.
        if (leaf.is_ca && key.is_none()) || !seen.insert(leaf.digest) {
            return None;
        }
        let why = match key_strength::check(&leaf.public_key) {
            Ok(()) | Err(WeakKey::UnsupportedAlgorithm { .. }) => return None,
            Err(why) => why,
        };
        let key = key.or_else(|| weak_key_beside(scene, file));
        Some(Finding {
            kind: Kind::WeakKey,
            files: vec![file.path.clone()],
            message: format!("the key of '{}' can be broken: {why}", leaf.subject),
            fix: key.and_then(|key| Manager::of(scene, file).order(Order::StrongKey, file, key)),
        })
    })
    .collect()
}

/// A key that is too weak to be read as one, by the name that it would have.
fn weak_key_beside<'a>(scene: &Scene<'a>, certificate: &File) -> Option<&'a File> {
    let stem = split(&certificate.path).1.rsplit_once('.')?.0;
    scene.file(&super::scene::join(certificate.folder(), &format!("{stem}.key")))
}
