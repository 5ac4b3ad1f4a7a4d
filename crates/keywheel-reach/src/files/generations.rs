//! A directory of generations: each holds a certificate and its key, and one link, `current`, says which one counts.
//!
//! The names that others read are links through `current`, so that one rename switches both. Every file is durable before
//! the link turns to it.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::pair::{PairError, read};
use super::write::{Target, WriteError, remove_if_there, sync_directory};

/// The certificate of a generation.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// The key of a generation.
pub(super) const KEY: &str = "key.pem";

const CURRENT: &str = "current";
const SUFFIX: &[u8] = b".generations";

/// Who may read the key decides the key's own mode; the way to it is open.
const OPEN: u32 = 0o755;

const STICKY: u32 = 0o1000;

const REHEARSAL: &str = "rehearsal";

/// Symbolic links that follow one another; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The directory of the generations of one pair.
#[derive(Debug)]
pub(super) struct Generations {
    directory: PathBuf,
}

/// A link of ours.
#[derive(Debug)]
pub(super) struct Link {
    /// The link itself.
    pub(super) link: PathBuf,
    /// Its directory, without links.
    pub(super) directory: PathBuf,
    /// The directory of generations that it leads into.
    pub(super) generations: PathBuf,
}

/// The link of ours at the end of all others that start at this name; none where there is none.
pub(super) fn link(named: &Path) -> Option<Link> {
    let mut path = named.to_owned();
    for _ in 0..MAX_LINKS {
        let to = std::fs::read_link(&path).ok()?;
        let to = path.parent().map_or_else(|| to.clone(), |parent| parent.join(&to));
        if let Some(generations) = through_current(&to) {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let directory = parent.canonicalize().ok()?;
            let generations = generations.canonicalize().ok()?;
            return Some(Link { link: directory.join(path.file_name()?), directory, generations });
        }
        path = to;
    }
    None
}

/// Whether this very name is a link of ours.
pub(super) fn is_link(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|to| through_current(&to).is_some())
}

/// The directory of generations of a path such as `.svc.key.generations/current/key.pem`.
fn through_current(path: &Path) -> Option<PathBuf> {
    let file = path.file_name()?;
    let current = path.parent()?;
    let generations = current.parent()?;
    let ours = (file == KEY || file == CERTIFICATE)
        && current.file_name()? == CURRENT
        && generations.file_name()?.as_encoded_bytes().ends_with(SUFFIX);
    ours.then(|| generations.to_owned())
}

impl Generations {
    /// The directory that belongs to a key's file.
    pub(super) fn beside(key: &Target) -> Self {
        let mut name = OsString::from(".");
        name.push(key.real().file_name().unwrap_or_default());
        name.push(".generations");
        Self { directory: key.directory().join(name) }
    }

    /// What a link in this directory must say to show a file of the current generation.
    pub(super) fn link_from(&self, directory: &Path, file: &str) -> PathBuf {
        // A relative link survives when the whole tree is moved or mounted elsewhere.
        let start = match self.directory.parent() {
            Some(parent) if parent == directory => PathBuf::from(self.directory.file_name().unwrap_or_default()),
            _ => self.directory.clone(),
        };
        start.join(CURRENT).join(file)
    }

    /// Makes a new generation of these contents durable; nobody sees it yet. Mode, owner and labels are those of the targets.
    pub(super) fn add(
        &self,
        key: &Target,
        key_pem: &[u8],
        certificate: &Target,
        chain: &[u8],
    ) -> Result<u64, PairError> {
        self.make_directory(&self.directory)?;
        self.refuse_planted()?;
        let number = self.numbers()?.last().map_or(1, |last| last.saturating_add(1));
        let generation = self.generation(number);
        self.make_directory(&generation)?;
        key.write_at(&generation.join(KEY), key_pem)?;
        certificate.write_at(&generation.join(CERTIFICATE), chain)?;
        sync_directory(&generation)?;
        sync_directory(&self.directory)?;
        self.sync_parent()?;
        Ok(number)
    }

    /// Rehearses a new generation of so many octets in a directory that is there: room, permissions, owner, labels.
    pub(super) fn rehearse(&self, key: &Target, size: usize) -> Result<(), PairError> {
        if !self.is_there() {
            return Ok(());
        }
        self.refuse_planted()?;
        let rehearsal = self.directory.join(REHEARSAL);
        remove_if_there(&rehearsal)?;
        let written = key.write_at(&rehearsal, &vec![b'\n'; size]);
        let removed = remove_if_there(&rehearsal);
        written?;
        Ok(removed?)
    }

    /// Makes a generation the one that both names show.
    pub(super) fn switch(&self, number: u64) -> Result<(), PairError> {
        let (link, staging) = (self.directory.join(CURRENT), self.directory.join("current.new"));
        remove_if_there(&staging)?;
        std::os::unix::fs::symlink(number.to_string(), &staging).map_err(os("create", &staging))?;
        std::fs::rename(&staging, &link).map_err(os("replace", &link))?;
        Ok(sync_directory(&self.directory)?)
    }

    /// Whether the current generation holds exactly these contents.
    pub(super) fn shows(&self, key_pem: &[u8], chain: &[u8]) -> Result<bool, PairError> {
        Ok(self.current_holds(KEY, key_pem)? && self.current_holds(CERTIFICATE, chain)?)
    }

    /// The newest generation that is not the current one and whose contents these judges accept.
    pub(super) fn find(&self, accept: impl Fn(&[u8], &[u8]) -> bool) -> Result<Option<u64>, PairError> {
        let current = self.current()?;
        for number in self.numbers()?.into_iter().rev().filter(|number| Some(*number) != current) {
            let generation = self.generation(number);
            let (key, certificate) = (read(&generation.join(KEY)), read(&generation.join(CERTIFICATE)));
            if let (Ok(key), Ok(certificate)) = (key, certificate)
                && accept(&key, &certificate)
            {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Removes what a crash left, and every generation but the current one.
    pub(super) fn sweep(&self) -> Result<(), PairError> {
        if !self.directory.exists() {
            return Ok(());
        }
        self.sweep_unfinished()?;
        let current = self.current()?;
        let mut removed = false;
        for number in self.numbers()?.into_iter().filter(|number| Some(*number) != current) {
            let generation = self.generation(number);
            std::fs::remove_dir_all(&generation).map_err(os("remove", &generation))?;
            removed = true;
        }
        if removed {
            sync_directory(&self.directory)?;
        }
        Ok(())
    }

    /// Removes what a crash left beside the generations.
    pub(super) fn sweep_unfinished(&self) -> Result<(), PairError> {
        for leftover in ["current.new", REHEARSAL] {
            remove_if_there(&self.directory.join(leftover))?;
        }
        Ok(())
    }

    /// The number of the current generation.
    ///
    /// A link that is there and cannot be understood is an error, not none: what it leads to is in use, and must not be swept.
    pub(super) fn current(&self) -> Result<Option<u64>, PairError> {
        let path = self.directory.join(CURRENT);
        let to = match std::fs::read_link(&path) {
            Ok(to) => to,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PairError::Read { path, source }),
        };
        match to.to_str().and_then(|name| name.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(PairError::Read { path, source: ErrorKind::InvalidData.into() }),
        }
    }

    /// Whether there is such a directory.
    pub(super) fn is_there(&self) -> bool {
        self.directory.exists()
    }

    /// Removes the directory and all that is in it; nobody's name leads into it any more.
    pub(super) fn remove(&self) -> Result<(), PairError> {
        // Half removed it would still look like a store: it loses its name first.
        let removed = self.removed();
        match std::fs::rename(&self.directory, &removed) {
            Ok(()) => self.sync_parent()?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(os("remove", &self.directory)(error).into()),
        }
        self.sweep_removed()
    }

    /// Finishes a removal that was cut off.
    pub(super) fn sweep_removed(&self) -> Result<(), PairError> {
        let removed = self.removed();
        match std::fs::remove_dir_all(&removed) {
            Ok(()) => self.sync_parent(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(os("remove", &removed)(error).into()),
        }
    }

    /// Whether a file of the current generation holds exactly this.
    pub(super) fn current_holds(&self, file: &str, content: &[u8]) -> Result<bool, PairError> {
        match self.current()? {
            Some(number) => Ok(*read(&self.generation(number).join(file))? == content),
            None => Ok(false),
        }
    }

    fn removed(&self) -> PathBuf {
        let mut name = self.directory.clone().into_os_string();
        name.push(".removed");
        name.into()
    }

    fn sync_parent(&self) -> Result<(), PairError> {
        match self.directory.parent() {
            Some(parent) => Ok(sync_directory(parent)?),
            None => Ok(()),
        }
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// The numbers of all generations, oldest first.
    fn numbers(&self) -> Result<Vec<u64>, PairError> {
        let unread = |source| PairError::Read { path: self.directory.clone(), source };
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn make_directory(&self, path: &Path) -> Result<(), PairError> {
        match DirBuilder::new().mode(OPEN).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path == self.directory => return Ok(()),
            Err(error) => return Err(os("create", path)(error).into()),
        }
        // Who keeps the pair in that directory must be able to make the next generation, though root made this one.
        let parent = path.parent().unwrap_or(path);
        let above = std::fs::symlink_metadata(parent).map_err(os("look at", parent))?;
        // Never through a link that the owner of that directory put there meanwhile.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| os("open", path)(error.into()))?;
        if rustix::process::geteuid().is_root() && above.uid() != 0 {
            let (user, group) = (Uid::from_raw(above.uid()), Gid::from_raw(above.gid()));
            let given = rustix::fs::fchown(&made, Some(user), Some(group));
            given.map_err(|error| os("give away", path)(error.into()))?;
        }
        // Whatever the umask says: a service that may read the key must be able to reach it.
        let opened = rustix::fs::fchmod(&made, Mode::from_raw_mode(OPEN));
        Ok(opened.map_err(|error| os("open the way into", path)(error.into()))?)
    }

    /// In a sticky directory everybody may make files and nobody may replace those of others: a directory of another user
    /// that waits there under our name would let that user replace the pair.
    fn refuse_planted(&self) -> Result<(), PairError> {
        let parent = self.directory.parent().unwrap_or(&self.directory);
        let above = std::fs::metadata(parent).map_err(os("look at", parent))?;
        let found = std::fs::symlink_metadata(&self.directory).map_err(os("look at", &self.directory))?;
        let trusted = [0, above.uid(), rustix::process::geteuid().as_raw()];
        if above.mode() & STICKY != 0 && !trusted.contains(&found.uid()) {
            return Err(PairError::Planted { path: self.directory.clone(), owner: found.uid() });
        }
        Ok(())
    }
}

fn os(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Os { operation, path, source }
}
