//! The facts of an estate, found by name and by key: what all judgements look things up in.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::renewers::Renewer;
use super::{Certificate, Content, Estate, File, Journal, Key};
use crate::fingerprint::KeyDigest;

/// Everything, with what follows from it at once.
pub(super) struct Scene<'a> {
    pub(super) estate: &'a Estate,
    by_path: BTreeMap<&'a str, &'a File>,
    by_real: BTreeMap<&'a str, &'a File>,
    /// Certificates with the key that their names say is theirs.
    pub(super) pairs: Vec<Pair<'a>>,
    by_certificate: BTreeMap<&'a str, Pair<'a>>,
    by_key: BTreeMap<&'a str, Pair<'a>>,
    keys: BTreeMap<KeyDigest, Vec<&'a File>>,
    certified: BTreeSet<KeyDigest>,
    /// What the links of certbot lead to.
    linked: BTreeSet<&'a str>,
}

/// A certificate and the key that belongs to it by name.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) certificate: &'a File,
    pub(super) key: &'a File,
}

impl<'a> Scene<'a> {
    pub(super) fn new(estate: &'a Estate, renewers: &[Renewer<'a>]) -> Self {
        let mut scene = Self {
            estate,
            by_path: estate.files.iter().map(|file| (file.path.as_str(), file)).collect(),
            by_real: BTreeMap::new(),
            pairs: Vec::new(),
            by_certificate: BTreeMap::new(),
            by_key: BTreeMap::new(),
            keys: BTreeMap::new(),
            certified: BTreeSet::new(),
            linked: BTreeSet::new(),
        };
        for file in &estate.files {
            let shown = scene.by_real.entry(&file.real).or_insert(file);
            if obscurity(file) < obscurity(shown) {
                *shown = file;
            }
            if file.link.is_some() {
                scene.linked.insert(&file.real);
            }
            for key in file.keys().iter().filter_map(|key| key.digest) {
                scene.keys.entry(key).or_default().push(file);
            }
            scene.certified.extend(file.certificates().iter().map(|certificate| certificate.key));
        }
        scene.pairs = super::pairs::find(&scene, renewers);
        for pair in &scene.pairs {
            scene.by_certificate.entry(&pair.certificate.path).or_insert(*pair);
            scene.by_key.entry(&pair.key.path).or_insert(*pair);
        }
        scene
    }

    /// The file of this name, as it is shown or as it really is.
    pub(super) fn file(&self, path: &str) -> Option<&'a File> {
        self.by_path.get(path).or_else(|| self.by_real.get(path)).copied()
    }

    /// Whether this is the name under which people know the file.
    pub(super) fn is_shown(&self, file: &File) -> bool {
        self.by_real.get(file.real.as_str()).is_none_or(|shown| shown.path == file.path)
    }

    /// The files that hold this private key.
    pub(super) fn holders(&self, key: KeyDigest) -> &[&'a File] {
        self.keys.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Whether there is a certificate of this key.
    pub(super) fn is_certified(&self, key: KeyDigest) -> bool {
        self.certified.contains(&key)
    }

    /// The key of a certificate, by name.
    pub(super) fn pair_of(&self, certificate: &File) -> Option<Pair<'a>> {
        self.by_certificate.get(certificate.path.as_str()).copied()
    }

    /// The certificate of a key, by name.
    pub(super) fn pair_of_key(&self, key: &File) -> Option<Pair<'a>> {
        self.by_key.get(key.path.as_str()).copied()
    }

    /// The replacement that was begun for a pair.
    pub(super) fn journal_of(&self, pair: &Pair<'_>) -> Option<&'a Journal> {
        let place = format!("{}/.{}.keywheel", pair.key.folder(), pair.key.name());
        self.estate
            .journals
            .iter()
            .find(|journal| journal.path == place || journal.key.as_deref() == Some(pair.key.real.as_str()))
    }

    /// Whether it is kept from former times, and nobody serves it.
    pub(super) fn is_former(&self, file: &File) -> bool {
        let archived = is_in(&file.path, "archive") || is_in(&file.path, "archives");
        (archived && !self.linked.contains(file.real.as_str()))
            || is_in(&file.path, "backup")
            || file.name().ends_with(".bak")
            || file.name().ends_with(".previous")
            || file.path.contains(".keywheel")
            || file.path.contains(".broken/")
            || self.is_old_generation(file)
    }

    /// Our generations are numbered folders; the current one is shown by its link.
    fn is_old_generation(&self, file: &File) -> bool {
        let folder = file.folder();
        let (above, number) = split(folder);
        above.ends_with(".generations") && number != "current" && !self.linked.contains(file.real.as_str())
    }
}

impl File {
    /// The certificates that it holds.
    pub(super) fn certificates(&self) -> &[Certificate] {
        match &self.content {
            Content::Held { certificates, .. } => certificates,
            _ => &[],
        }
    }

    /// The private keys that it holds.
    pub(super) fn keys(&self) -> &[Key] {
        match &self.content {
            Content::Held { keys, .. } => keys,
            _ => &[],
        }
    }

    /// The first certificate, which is the one that counts.
    pub(super) fn leaf(&self) -> Option<&Certificate> {
        self.certificates().first()
    }

    /// Whether it is as it should be.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.content, Content::Dangling | Content::Empty | Content::Torn { .. })
    }

    /// The folder that it stands in.
    pub(super) fn folder(&self) -> &str {
        split(&self.path).0
    }

    /// Its name in the folder.
    pub(super) fn name(&self) -> &str {
        split(&self.path).1
    }
}

/// The name that people use has the least: a plain file, else a link, and what only links lead to comes last.
fn obscurity(file: &File) -> u8 {
    if is_behind_links(&file.path) { 2 } else { u8::from(file.link.is_some()) }
}

/// Whether it stands where certbot and our generations keep what their links lead to.
pub(super) fn is_behind_links(path: &str) -> bool {
    is_in(path, "archive") || path.contains(".generations/")
}

/// Folder and name of a path.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').map_or((".", path), |(folder, name)| (if folder.is_empty() { "/" } else { folder }, name))
}

/// A name in a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    match folder {
        "." => name.into(),
        "/" => format!("/{name}"),
        _ => format!("{folder}/{name}"),
    }
}

/// Whether one of the folders above has this name.
pub(super) fn is_in(path: &str, folder: &str) -> bool {
    split(path).0.split('/').any(|part| part == folder)
}
