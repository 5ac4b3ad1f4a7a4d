//! The lineages of certbot: four links each, which must lead to the four files of one version.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::kind::Kind;
use super::managers::Steps;
use super::scene::{Scene, join, split};
use super::{Content, File, Finding, Setting, words};

/// The four parts of a version.
const PARTS: [&str; 4] = ["cert", "privkey", "chain", "fullchain"];

/// One lineage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lineage<'a> {
    root: &'a str,
    name: &'a str,
}

/// Links that lead nowhere or to different versions, and versions that are not used.
pub(super) fn judge(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for lineage in all(scene) {
        let newest = lineage.newest_usable(scene);
        if let Some(problem) = lineage.trouble(scene) {
            found.push(Finding {
                kind: Kind::CertbotLinks,
                files: PARTS.iter().map(|part| lineage.link(part)).collect(),
                message: format!(
                    "{problem}: certbot was stopped while it changed its links, and services read a broken pair"
                ),
                fix: newest.map(|version| lineage.relink(version)),
            });
            continue;
        }
        let current = lineage.version_of(scene, "cert").unwrap_or(0);
        if let Some(newest) = newest.filter(|newest| *newest > current) {
            found.push(Finding {
                kind: Kind::CertbotNotDeployed,
                files: PARTS.iter().map(|part| lineage.archived(part, newest)).collect(),
                message: format!("version {newest} was fetched, but the links still lead to version {current}"),
                fix: Some(lineage.relink(newest)),
            });
        }
        for file in scene.estate.files.iter().filter(|file| lineage.is_half_of_later(scene, file, current)) {
            found.push(Finding {
                kind: Kind::LeftoverFile,
                files: [file.path.clone()].into(),
                message: "certbot was stopped while it wrote a new version; nothing uses this part of it".to_string(),
                fix: Some([words(["rm", "--", &file.path])].into()),
            });
        }
    }
    found
}

/// Whether a file belongs to a lineage whose links are in trouble.
pub(super) fn has_trouble(scene: &Scene<'_>, file: &File) -> bool {
    all(scene).into_iter().any(|lineage| {
        let own = [lineage.folder("live"), lineage.folder("archive")].iter().any(|folder| file.folder() == folder);
        own && lineage.trouble(scene).is_some()
    })
}

fn all<'a>(scene: &Scene<'a>) -> BTreeSet<Lineage<'a>> {
    let configured = scene.estate.settings.iter().filter_map(|setting| match setting {
        Setting::Certbot { root, name, .. } => Some(Lineage { root, name }),
        _ => None,
    });
    // Settings may be out of our reach, the links speak for themselves.
    let linked = scene.estate.files.iter().filter(|file| file.link.is_some()).filter_map(|file| {
        let (above, name) = split(file.folder());
        let (root, kind) = split(above);
        let part = PARTS.iter().any(|part| file.name() == format!("{part}.pem"));
        (kind == "live" && part).then_some(Lineage { root, name })
    });
    configured.chain(linked).collect()
}

impl Lineage<'_> {
    fn folder(&self, kind: &str) -> String {
        join(&join(self.root, kind), self.name)
    }

    fn link(&self, part: &str) -> String {
        join(&self.folder("live"), &format!("{part}.pem"))
    }

    fn archived(&self, part: &str, version: u32) -> String {
        join(&self.folder("archive"), &format!("{part}{version}.pem"))
    }

    /// What is wrong with the links.
    fn trouble(&self, scene: &Scene<'_>) -> Option<String> {
        let mut versions = BTreeSet::new();
        for part in PARTS {
            let Some(link) = scene.file(&self.link(part)) else {
                return Some(format!("{part}.pem is missing"));
            };
            match (&link.link, &link.content) {
                (None, _) => return Some(format!("{part}.pem is a file, not a link")),
                (_, Content::Dangling) => return Some(format!("{part}.pem leads to a file that is missing")),
                (_, Content::Empty | Content::Torn { .. }) if self.newest_usable(scene).is_some() => {
                    return Some(format!("{part}.pem leads to a file that is torn"));
                }
                _ => versions.insert(self.version_of(scene, part)),
            };
        }
        (versions.len() > 1).then(|| "the links lead to different versions".to_string())
    }

    /// The version that a link leads to.
    fn version_of(&self, scene: &Scene<'_>, part: &str) -> Option<u32> {
        let link = scene.file(&self.link(part))?.link.as_deref()?;
        split(link).1.strip_prefix(part)?.strip_suffix(".pem")?.parse().ok()
    }

    /// The newest version whose four files are whole and belong together.
    fn newest_usable(&self, scene: &Scene<'_>) -> Option<u32> {
        self.versions(scene).into_iter().rev().find(|version| {
            let part = |part: &str| scene.file(&self.archived(part, *version)).filter(|file| file.is_whole());
            let (Some(certificate), Some(key), Some(_), Some(_)) =
                (part("cert"), part("privkey"), part("chain"), part("fullchain"))
            else {
                return false;
            };
            let known = key.keys().first().and_then(|key| key.digest);
            certificate.leaf().is_some_and(|leaf| known.is_none_or(|key| key == leaf.key))
        })
    }

    fn versions(&self, scene: &Scene<'_>) -> BTreeSet<u32> {
        let folder = self.folder("archive");
        let inside = scene.estate.files.iter().filter(|file| file.folder() == folder);
        inside.filter_map(|file| version(file.name())).collect()
    }

    /// Whether it is part of a version after the current one that has not all parts.
    fn is_half_of_later(&self, scene: &Scene<'_>, file: &File, current: u32) -> bool {
        let later = version(file.name()).filter(|version| *version > current);
        file.folder() == self.folder("archive")
            && later.is_some()
            && later.is_some_and(|version| Some(version) > self.newest_usable(scene))
    }

    fn relink(&self, version: u32) -> Steps {
        let to = |part: &str| format!("../../archive/{}/{part}{version}.pem", self.name);
        PARTS.iter().map(|part| words(["ln", "-sfn", "--", &to(part), &self.link(part)])).collect()
    }
}

/// The number in the name of a file of the archive.
fn version(name: &str) -> Option<u32> {
    let name = name.strip_suffix(".pem")?;
    PARTS.iter().find_map(|part| name.strip_prefix(part)?.parse().ok())
}
