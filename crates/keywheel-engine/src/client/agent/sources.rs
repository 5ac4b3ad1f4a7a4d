//! The files that say what is kept fresh, and the certificates that they name: read where they changed, told in short.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keywheel_core::validity::Validity;

use super::config::{ConfigError, Content, Defaults, MAX_FILE, Profile, Settings, Surroundings};
use crate::client::{load, place};

/// The file of a directory that holds `[agent]` and `[defaults]`.
const MAIN: &str = "agent.toml";

/// More files are a mistake.
const MAX_FILES: usize = 200_000;

/// By what a file is known to be the same as before, without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: i64,
    nanoseconds: u32,
    size: u32,
}

/// What is kept of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) validity: Validity,
    pub(super) stamp: Stamp,
    /// Whether an earlier run left something to go on with.
    pub(super) is_begun: bool,
}

/// One entry with what is known of its certificate.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: Arc<str>,
    pub(super) certificate: Box<Path>,
    /// Nothing where the certificate's file holds the key, too.
    pub(super) key: Option<Box<Path>>,
    pub(super) profile: Arc<Profile>,
    pub(super) line: usize,
    /// Which of the files that were found says so.
    pub(super) source: usize,
    pub(super) facts: Result<Facts, Box<str>>,
}

/// What a look at all files brought.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The files that are new or changed, and why one cannot be used.
    pub(super) found: Vec<(Arc<Path>, Result<(), ConfigError>)>,
    /// What all of them say. In one piece: a large one goes back to the system as a whole, many small ones leave holes.
    pub(super) entries: Vec<Loaded>,
    /// The files that are not there any more.
    pub(super) gone: Vec<Arc<Path>>,
    /// The settings, where their file was read again.
    pub(super) settings: Option<Settings>,
    /// Where the files could not even be listed.
    pub(super) failed: Option<ConfigError>,
}

/// Reads the files; what it has read before is not read again unless it changed.
#[derive(Debug)]
pub(super) struct Loader {
    path: PathBuf,
    surroundings: Surroundings,
    defaults: Option<Defaults>,
    profiles: HashSet<Arc<Profile>>,
    seen: BTreeMap<Arc<Path>, Stamp>,
}

impl Loaded {
    pub(super) fn key(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.certificate)
    }
}

impl Loader {
    pub(super) fn new(path: PathBuf, surroundings: Surroundings) -> Self {
        Self { path, surroundings, defaults: None, profiles: HashSet::new(), seen: BTreeMap::new() }
    }

    /// Looks at all files. It reads disks and parses certificates: not for a thread that others wait for.
    pub(super) fn scan(&mut self) -> Scan {
        let files = match self.list() {
            Ok(files) => files,
            Err(failed) => return Scan { failed: Some(failed), ..Scan::default() },
        };
        let mut scan = Scan::default();
        let is_directory = self.path.is_dir();
        let leads = |file: &Path| !is_directory || file.file_name().is_some_and(|name| name == MAIN);
        let leader = files.keys().find(|file| leads(file)).cloned();
        // What the others said by default they say no more.
        let mut all_again = leader.is_none() && self.defaults.take().is_some();
        let followers = files.keys().filter(|file| Some(*file) != leader.as_ref()).cloned();
        for file in leader.clone().into_iter().chain(followers) {
            let stamp = files.get(&file).copied().unwrap_or_default();
            if !all_again && self.seen.get(&file) == Some(&stamp) {
                continue;
            }
            let is_leader = Some(&file) == leader.as_ref();
            let found = match self.read(&file, is_leader) {
                Ok(content) if !is_leader && (content.settings.is_some() || content.defaults.is_some()) => {
                    let message = format!("[agent] and [defaults] belong into {MAIN} of this directory");
                    Err(ConfigError { file: file.to_path_buf(), line: 0, message })
                }
                Ok(content) => {
                    if is_leader {
                        all_again |= self.defaults != content.defaults;
                        self.defaults = content.defaults.clone();
                        scan.settings = Some(content.settings.clone().unwrap_or_default());
                    }
                    self.load(content, &mut scan);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            self.seen.insert(file.clone(), stamp);
            scan.found.push((file, found));
        }
        scan.gone = self.seen.keys().filter(|file| !files.contains_key(*file)).cloned().collect();
        self.seen.retain(|file, _| files.contains_key(file));
        // What no entry has any more is kept by nobody but this set.
        self.profiles.retain(|profile| Arc::strong_count(profile) > 1);
        scan
    }

    /// Reads a file at the next look although it stays as it is.
    pub(super) fn read_again(&mut self, file: &Path) {
        if let Some(stamp) = self.seen.get_mut(file) {
            *stamp = Stamp::default();
        }
    }

    /// The files that count.
    fn list(&self) -> Result<BTreeMap<Arc<Path>, Stamp>, ConfigError> {
        let failed = |path: &Path, error: std::io::Error| ConfigError {
            file: path.to_owned(),
            line: 0,
            message: format!("it cannot be read: {error}"),
        };
        let whole = self.path.metadata().map_err(|error| failed(&self.path, error))?;
        if !whole.is_dir() {
            return Ok(BTreeMap::from([(Arc::from(self.path.as_path()), Stamp::of(&whole))]));
        }
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path).map_err(|error| failed(&self.path, error))? {
            let path = entry.map_err(|error| failed(&self.path, error))?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || path.extension().is_none_or(|kind| kind != "toml") {
                continue;
            }
            match path.metadata() {
                Ok(metadata) if metadata.is_file() => files.insert(Arc::from(path), Stamp::of(&metadata)),
                // Removed since it was listed, or a link that leads nowhere yet.
                _ => continue,
            };
            if files.len() > MAX_FILES {
                return Err(failed(&self.path, std::io::Error::other(format!("it has more than {MAX_FILES} files"))));
            }
        }
        Ok(files)
    }

    fn read(&self, file: &Path, is_leader: bool) -> Result<Content, ConfigError> {
        let refused = |message: String| ConfigError { file: file.to_owned(), line: 0, message };
        let mut text = String::new();
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_FILE + 1).read_to_string(&mut text))
            .map_err(|error| refused(format!("it cannot be read: {error}")))?;
        if text.len() as u64 > MAX_FILE {
            return Err(refused(format!("it is longer than {} MiB: make several of it", MAX_FILE >> 20)));
        }
        Content::parse(file, &text, self.defaults.as_ref().filter(|_| !is_leader), &self.surroundings)
    }

    fn load(&mut self, content: Content, scan: &mut Scan) {
        for entry in content.entries {
            let profile = Arc::new(entry.profile);
            let profile = match self.profiles.get(&profile) {
                Some(known) => known.clone(),
                None => {
                    self.profiles.insert(profile.clone());
                    profile
                }
            };
            let facts = facts(&entry.certificate, &entry.key).map_err(String::into_boxed_str);
            let key = (entry.key != entry.certificate).then(|| entry.key.into_boxed_path());
            scan.entries.push(Loaded {
                name: entry.name.into(),
                certificate: entry.certificate.into_boxed_path(),
                key,
                profile,
                line: entry.line,
                source: scan.found.len(),
                facts,
            });
        }
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
            size: u32::try_from(metadata.len()).unwrap_or(u32::MAX),
        }
    }

    /// Of the file as it is now, if it is there.
    pub(super) fn now(file: &Path) -> Option<Self> {
        file.metadata().ok().map(|metadata| Self::of(&metadata))
    }
}

/// Reads a certificate, keeps its times, and looks whether its key is there.
pub(super) fn facts(certificate: &Path, key: &Path) -> Result<Facts, String> {
    // Before the content: if it changes meanwhile, the next look finds another stamp.
    let stamp = Stamp::now(certificate).unwrap_or_default();
    let chain = load::chain(certificate).map_err(|error| place::with_causes(&error))?;
    let leaf = load::leaf(&chain).map_err(|error| place::with_causes(&error))?;
    let validity = Validity { not_before: leaf.not_before(), not_after: leaf.not_after() };
    if let Err(error) = key.metadata() {
        return Err(format!("the key {} cannot be used: {error}", key.display()));
    }
    Ok(Facts { validity, stamp, is_begun: is_begun(key) })
}

/// Whether a replacement was begun and not ended: its journal stands beside the key.
fn is_begun(key: &Path) -> bool {
    let beside = |key: &Path| {
        let Some(name) = key.file_name() else { return false };
        let mut journal = std::ffi::OsString::from(".");
        journal.push(name);
        journal.push(".keywheel");
        key.with_file_name(journal).exists()
    };
    beside(key) || key.read_link().is_ok() && key.canonicalize().is_ok_and(|real| beside(&real))
}

/// One certificate that is to be looked at again.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) slot: u32,
    pub(super) name: Arc<str>,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) seen: Stamp,
}

/// What is new about these: certificates that something else has replaced since, and those that were never read.
pub(super) fn news(looks: Vec<Look>) -> Vec<(Look, Result<Facts, String>)> {
    let differs = |look: &Look| {
        look.seen == Stamp::default() || Stamp::now(&look.certificate).is_some_and(|now| now != look.seen)
    };
    let news = looks.into_iter().filter(differs);
    news.map(|look| {
        let facts = facts(&look.certificate, &look.key);
        (look, facts)
    })
    .collect()
}
