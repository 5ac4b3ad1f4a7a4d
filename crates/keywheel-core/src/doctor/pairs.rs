//! Certificates and the keys that their names say are theirs.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::kind::Kind;
use super::managers::{Manager, Order, Steps, operand};
use super::renewers::Renewer;
use super::scene::{Pair, Scene, is_behind_links, is_in, join, split};
use super::{Content, File, Finding, Setting, words};

/// All pairs: by their names, by the settings of tools, by the commands that renew them, by the journals of ours.
pub(super) fn find<'a>(scene: &Scene<'a>, renewers: &[Renewer<'a>]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |certificate: Option<&'a File>, key: Option<&'a File>| {
        let (Some(certificate), Some(key)) = (certificate, key) else { return };
        let fits = !certificate.certificates().is_empty() && !key.keys().is_empty();
        if fits && seen.insert((&certificate.path, &key.path)) {
            pairs.push(Pair { certificate, key });
        }
    };
    for key in scene.estate.files.iter().filter(|file| !file.keys().is_empty()) {
        if key.certificates().is_empty() {
            for partner in partners(key.folder(), key.name()) {
                let certificate = scene.file(&partner);
                // A file with a key of its own is a pair by itself.
                add(certificate.filter(|file| file.keys().is_empty()), Some(key));
            }
        } else {
            add(Some(key), Some(key));
        }
    }
    for setting in &scene.estate.settings {
        match setting {
            Setting::AcmeSh { certificates, key: Some(key), .. } => {
                certificates.iter().for_each(|certificate| add(scene.file(certificate), scene.file(key)));
            }
            Setting::Agent { certificate, key, .. } => add(scene.file(certificate), scene.file(key)),
            _ => {}
        }
    }
    for renewer in renewers {
        if let [certificate, key, ..] = renewer.files.as_slice() {
            add(scene.file(certificate), scene.file(key));
        }
    }
    for journal in &scene.estate.journals {
        let (certificate, key) = (journal.certificate.as_deref(), journal.key.as_deref());
        add(certificate.and_then(|path| scene.file(path)), key.and_then(|path| scene.file(path)));
    }
    pairs
}

/// Where the certificate of a key may be, by the name of the key.
fn partners(folder: &str, name: &str) -> Vec<String> {
    if let Some(name) = name.strip_suffix(".previous") {
        return partners(folder, name).into_iter().map(|partner| format!("{partner}.previous")).collect();
    }
    let beside = |names: &[&str]| names.iter().map(|name| join(folder, name)).collect::<Vec<_>>();
    let (above, own) = split(folder);
    if let Some(version) = name.strip_prefix("privkey").and_then(|rest| rest.strip_suffix(".pem")) {
        return beside(&[&format!("cert{version}.pem"), &format!("fullchain{version}.pem")]);
    }
    if name == "key.pem" {
        return beside(&["cert.pem", "certificate.pem", "fullchain.pem"]);
    }
    if let Some(stem) = name.strip_suffix("_key") {
        return if own == "secrets" { vec![join(&join(above, "certs"), &format!("{stem}.crt"))] } else { Vec::new() };
    }
    let stem = [".key.pem", "-key.pem", ".key"].into_iter().find_map(|end| name.strip_suffix(end));
    let Some(stem) = stem.filter(|stem| !stem.is_empty()) else { return Vec::new() };
    let ends = [".crt", ".cer", ".pem", ".cert", ".cert.pem", ".crt.pem", "-cert.pem", ".fullchain.pem"];
    let mut all: Vec<String> = ends.iter().map(|end| join(folder, &format!("{stem}{end}"))).collect();
    if own == stem || own.strip_suffix("_ecc") == Some(stem) {
        all.push(join(folder, "fullchain.cer"));
    }
    if own == "private" {
        let certificates = join(above, "certs");
        all.extend([".crt", ".pem"].map(|end| join(&certificates, &format!("{stem}{end}"))));
    }
    all
}

/// Pairs that do not match, what is torn, halves, and keys that cannot be compared.
pub(super) fn judge(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for finding in scene.pairs.iter().filter_map(|pair| mismatch(scene, pair)) {
        // One key beside a certificate and its chain is one thing to mend.
        match found.iter_mut().find(|other| other.files.last() == finding.files.last()) {
            Some(other) => other.files.splice(0..0, finding.files.into_iter().take(1)).for_each(drop),
            None => found.push(finding),
        }
    }
    for finding in &mut found {
        if let Some((_key, certificates)) = finding.files.split_last_mut() {
            certificates.sort();
        }
    }
    for file in scene.estate.files.iter().filter(|file| !scene.is_former(file) && scene.is_shown(file)) {
        found.extend(torn(scene, file));
        found.extend(lonely_certificate(scene, file));
        found.extend(lonely_key(scene, file));
        found.extend(encrypted(scene, file));
    }
    found
}

fn mismatch(scene: &Scene<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let Pair { certificate, key } = *pair;
    let leaf = certificate.leaf()?;
    let known: Vec<_> = key.keys().iter().map(|key| key.digest).collect();
    let unknown = known.contains(&None);
    let former = [certificate, key].iter().any(|file| scene.is_former(file) || is_behind_links(&file.path));
    if unknown || former || known.contains(&Some(leaf.key)) {
        return None;
    }
    // The links of a lineage are judged as a whole, and mended as a whole.
    if super::lineages::has_trouble(scene, certificate) {
        return None;
    }
    let fits = known.iter().flatten().any(|key| certificate.certificates().iter().any(|other| other.key == *key));
    let why = if fits {
        "the key belongs to another certificate of the file: the order is wrong"
    } else if scene.journal_of(pair).is_some() {
        "a replacement was cut off between the two; the next run puts the other half in its place"
    } else {
        "a service that loads both will not start"
    };
    Some(Finding {
        kind: Kind::PairMismatch,
        files: distinct(certificate, key),
        message: format!("the certificate of '{}' does not belong to the key: {why}", leaf.subject),
        fix: mend(scene, pair),
    })
}

/// The journal, else the other half from where it is, else another pair.
fn mend(scene: &Scene<'_>, pair: &Pair<'_>) -> Option<Steps> {
    let Pair { certificate, key } = *pair;
    let leaf = certificate.leaf()?;
    let manager = Manager::of(scene, certificate);
    if scene.journal_of(pair).is_some() {
        return manager.order(Order::NewKey, certificate, key);
    }
    let copy = |from: &File, to: &File| vec![words(["cp", "-p", "--backup=numbered", "--", &from.path, &to.path])];
    if manager == Manager::Plain && certificate.path != key.path {
        let holder = scene.holders(leaf.key).iter().find(|file| file.certificates().is_empty());
        if let Some(holder) = holder {
            return Some(copy(holder, key));
        }
        let digest = key.keys().first().and_then(|key| key.digest);
        let other = scene.estate.files.iter().find(|file| {
            file.keys().is_empty() && file.leaf().is_some_and(|leaf| Some(leaf.key) == digest && !leaf.is_ca)
        });
        if let Some(other) = other {
            return Some(copy(other, certificate));
        }
    }
    manager.order(Order::Again, certificate, key)
}

fn torn(scene: &Scene<'_>, file: &File) -> Option<Finding> {
    let problem = match &file.content {
        Content::Empty if is_pair_name(file.name()) => "it is empty".to_string(),
        Content::Torn { problem } => problem.clone(),
        _ => return None,
    };
    if super::leftovers::is_temporary(file) || super::lineages::has_trouble(scene, file) {
        return None;
    }
    let previous = scene.file(&join(file.folder(), &format!(".{}.previous", file.name())));
    let fix = match previous.filter(|previous| previous.is_whole()) {
        Some(previous) => Some(vec![words(["cp", "-p", "--", &previous.path, &file.path])]),
        None => {
            let (certificate, key) = partner_of(scene, file)?;
            Manager::of(scene, file).order(Order::Again, certificate, key)
        }
    };
    Some(Finding {
        kind: Kind::TornFile,
        files: vec![file.path.clone()],
        message: format!("a crash or a full disk has torn it: {problem}"),
        fix,
    })
}

/// The pair that a torn file was one half of; the file itself where it stood alone.
fn partner_of<'a>(scene: &Scene<'a>, file: &'a File) -> Option<(&'a File, &'a File)> {
    let as_key = partners(file.folder(), file.name()).iter().find_map(|path| scene.file(path));
    if let Some(certificate) = as_key {
        return Some((certificate, file));
    }
    let is_key = |other: &&File| partners(other.folder(), other.name()).contains(&file.path);
    let key = scene.estate.files.iter().find(is_key);
    Some((file, key.unwrap_or(file)))
}

fn lonely_certificate(scene: &Scene<'_>, file: &File) -> Option<Finding> {
    let leaf = file.leaf().filter(|leaf| !leaf.is_ca)?;
    if !scene.holders(leaf.key).is_empty() || scene.pair_of(file).is_some() {
        return None;
    }
    Some(Finding {
        kind: Kind::CertificateWithoutKey,
        files: vec![file.path.clone()],
        message: format!(
            "the key of the certificate of '{}' is in none of the places that were examined",
            leaf.subject
        ),
        fix: None,
    })
}

fn lonely_key(scene: &Scene<'_>, file: &File) -> Option<Finding> {
    let digest = file.keys().first()?.digest?;
    // Accounts of ACME and keys of SSH never have a certificate of X.509; the next key of acme.sh has none yet.
    let other = ["accounts", "acme", "ca"].iter().any(|folder| is_in(&file.path, folder))
        || file.name().starts_with("ssh_")
        || file.name().ends_with(".next");
    let paired = scene.pair_of_key(file).is_some();
    if other || paired || scene.is_certified(digest) {
        return None;
    }
    Some(Finding {
        kind: Kind::KeyWithoutCertificate,
        files: vec![file.path.clone()],
        message: "no certificate of this key is in the places that were examined".into(),
        fix: None,
    })
}

fn encrypted(scene: &Scene<'_>, file: &File) -> Option<Finding> {
    if !file.keys().iter().any(|key| key.closed) {
        return None;
    }
    let certificate = scene.pair_of_key(file).map(|pair| pair.certificate.folder());
    let mut again = words(["keywheel", "doctor", "--password-file", "password.txt", &operand(file.folder())]);
    again.extend(certificate.filter(|folder| *folder != file.folder()).map(operand));
    Some(Finding {
        kind: Kind::KeyEncrypted,
        files: vec![file.path.clone()],
        message: "the key is encrypted, so it was not compared with its certificate".into(),
        fix: Some(vec![again]),
    })
}

/// Both files of a pair, or the one.
pub(super) fn distinct(certificate: &File, key: &File) -> Vec<String> {
    let mut files = vec![certificate.path.clone()];
    if key.path != certificate.path {
        files.push(key.path.clone());
    }
    files
}

/// Whether a file of this name should hold a certificate or a key.
pub(super) fn is_pair_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| ["crt", "cer", "cert", "pem", "key"].contains(&end))
        || name.ends_with("_key")
}
