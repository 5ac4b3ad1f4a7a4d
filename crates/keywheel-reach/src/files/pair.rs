//! Replacing a certificate and its key together: a journal beside the key lets the next start finish or undo.
//!
//! The journal is a directory, `.<key file>.keywheel`, readable by its owner only:
//!
//! | it holds | that means | the next start |
//! |---|---|---|
//! | no `journal.json` | nothing was asked yet | removes it |
//! | phase `requested` | the authority may have certified `key.pem` | asks again, with the same key and request |
//! | phase `issued` | the certificate is in the journal | puts both in place |
//! | phase `installed` | both are in place; who uses them may not know yet | tells them, then removes it |
//! | `rolled_back` | both were in place and were taken back | puts both in place again |
//!
//! The journal goes away only after both files are durable in their places and everybody was told. What was replaced stays
//! beside it until the new pair is known to be in use.

mod journal;

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use keywheel_core::file_pair::{DiscardReason, Recovery};
use zeroize::Zeroizing;

pub use self::journal::Pending;
use self::journal::{Journal, Phase};
pub(super) use self::journal::{digest, digest_of_file, read};
use super::conversion;
use super::layout::{self, Files, Layout};
use super::lock::{Lock, LockError};
use super::write::{Target, WriteError, remove_if_there, sync_directory, write_private};

const JOURNAL: &str = "journal.json";
const KEY: &str = "key.pem";
const REQUEST: &str = "request.pem";

/// So many replacements that did not fit the files any more are kept for a person to look at; older ones are removed.
const KEPT_ASIDE: usize = 4;

/// The version of the journal's format.
const VERSION: u32 = 1;

/// A certificate and a key that are replaced together; nobody else replaces them while this lives.
#[derive(Debug)]
pub struct Pair {
    files: Files,
    place: PathBuf,
    _lock: Lock,
}

/// What is made durable before the authority is asked.
#[derive(Clone)]
pub struct Intent {
    /// The new private key, exactly as its file will hold it.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// The request, exactly as it will be sent; empty where the key stays and the answer is there already.
    pub request_pem: Vec<u8>,
    /// The certificate that is to be replaced, as PEM; empty where there is none.
    pub old_certificate: String,
}

/// What an earlier run had left.
pub enum Recovered {
    /// Nothing.
    Nothing,
    /// A beginning; nothing had been asked, it was removed.
    Undone,
    /// A request without an answer.
    Pending(Box<Pending>),
    /// A pair that was in place and was taken back, since whoever uses it did not take it. The files hold the old pair.
    RolledBack(Box<Pending>),
    /// A certificate and its key, now in their places. The journal stays until [`Pair::discard`]: whoever uses the files
    /// may not have been told of them.
    Finished {
        /// The certificate that was replaced, as PEM; empty where there was none.
        old_certificate: String,
    },
    /// Something that does not fit the files any more; it was put aside here.
    SetAside(PathBuf),
}

/// Why a pair was not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// Both names are one file.
    #[error("certificate and key would both be written to {}: name two files, or one with --combined", .0.display())]
    SameFile(PathBuf),
    /// A file that should hold a certificate and its key does not.
    #[error("{} does not hold both a certificate and its key", .0.display())]
    NotCombined(PathBuf),
    /// A file holds what would be lost if it were made two.
    #[error("{} holds more than a certificate and its key, which two files would not hold: take it out first", .0.display())]
    HoldsMore(PathBuf),
    /// One of two files holds what the other should hold alone.
    #[error(
        "{} holds both a certificate and a key, but another file was named beside it: use --combined for it alone, or \
         'keywheel certificate layout' to make two files or one of them",
        .0.display()
    )]
    HalfCombined(PathBuf),
    /// One of the two names is a link into the generations of another pair.
    #[error("{} is a link into the generations of another pair: name the certificate and the key of one pair", .0.display())]
    OfAnotherPair(PathBuf),
    /// A file is in the way.
    #[error("{} is there already and holds something else: it was left alone", .0.display())]
    Exists(PathBuf),
    /// A replacement is under way.
    #[error("a replacement of the pair was begun ({}): run it again first, so that it ends", .0.display())]
    Begun(PathBuf),
    /// There is no such conversion.
    #[error("a pair whose layout is {} cannot become {} here: use 'keywheel certificate layout'", .from.name(), .to.name())]
    OtherConversion {
        /// The layout that was found.
        from: Layout,
        /// The layout that was asked for.
        to: Layout,
    },
    /// Another process has the pair.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file was not read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another user has begun a replacement.
    #[error(
        "{} belongs to another user (uid {owner}), who began a replacement that may have been answered: run this as that user",
        .place.display()
    )]
    OfAnother {
        /// The journal.
        place: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A directory of generations of somebody who could replace the pair by it.
    #[error("{} belongs to another user (uid {owner}), in a directory where everybody may make files: it was left alone", .path.display())]
    Planted {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Those who read the certificate could not reach it any more.
    #[error(
        "the generations would lie beside the key, in {}, where not everybody can go who can read the certificate now",
        .0.display()
    )]
    NarrowerWay(PathBuf),
    /// The journal can be changed or read by others.
    #[error("{} is not a private directory: look at what is in it (it may hold the only copy of a key) and move it away", .0.display())]
    NotPrivate(PathBuf),
    /// The journal is not one.
    #[error("the journal {} cannot be understood: look at it and move its directory away", .path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The journal is that of a newer version.
    #[error("the journal {} was written by a newer version of this program", .0.display())]
    Newer(PathBuf),
    /// There is no journal of a pair that could be taken back.
    #[error("there is no earlier pair to go back to")]
    NothingToTakeBack,
    /// What was replaced is not there any more.
    #[error("what {} held before is not there any more", .0.display())]
    PreviousLost(PathBuf),
    /// Something else changed the files while the authority was asked.
    #[error("the files were changed by something else meanwhile and were left alone; the new pair waits in {}", .0.display())]
    Changed(PathBuf),
}

impl Pair {
    /// Takes the pair; both files may be missing still. Files that are there lie as they lie; new ones as is `wanted`.
    pub fn open(certificate: &Path, key: &Path, wanted: Option<Layout>) -> Result<Self, PairError> {
        conversion::finish(certificate, key)?;
        let found = Files::find(certificate, key, wanted)?;
        let lock = lock_of(&found.key);
        let lock = Lock::take(&lock)?;
        // What was seen before the lock was had may be old.
        let mut files = Files::find(certificate, key, wanted)?;
        files.finish_conversion()?;
        let pair = Self { place: place_of(&files.key), files, _lock: lock };
        pair.sweep_other_lock(key)?;
        Ok(pair)
    }

    /// A run that was killed while both names became links to one file has left the lock of the key's own name.
    fn sweep_other_lock(&self, key: &Path) -> Result<(), PairError> {
        let other = lock_of(&conversion::own_name(key)?);
        if other != lock_of(self.key()) && other.exists() {
            drop(Lock::take(&other)?);
        }
        Ok(())
    }

    /// The certificate.
    pub fn certificate(&self) -> &Target {
        &self.files.certificate
    }

    /// The key.
    pub fn key(&self) -> &Target {
        &self.files.key
    }

    /// How the two lie on disk.
    pub fn layout(&self) -> Layout {
        self.files.layout
    }

    /// Whether [`Pair::convert`] would do it.
    pub fn check_conversion(&self, to: Layout) -> Result<(), PairError> {
        self.files.check_conversion(to)
    }

    /// Changes how the two lie, flat or in generations; what they hold stays the same at every moment.
    pub fn convert(&mut self, to: Layout) -> Result<(), PairError> {
        self.files.convert(to)
    }

    /// Rehearses both writes: room, permissions, owners, labels.
    pub fn rehearse(&self, certificate_size: usize, key_size: usize) -> Result<(), PairError> {
        // The journal holds a second copy of everything.
        self.certificate().rehearse(certificate_size)?;
        self.key().rehearse(2 * (certificate_size + key_size))?;
        self.rehearse_generation(certificate_size + key_size)
    }

    /// Rehearses the write of a certificate whose key stays: it may lie where it cannot be replaced.
    pub fn rehearse_certificate(&self, size: usize) -> Result<(), PairError> {
        self.certificate().rehearse(size)?;
        self.rehearse_generation(size)
    }

    fn rehearse_generation(&self, size: usize) -> Result<(), PairError> {
        match self.files.layout {
            Layout::Generations => self.files.generations().rehearse(self.key(), size),
            Layout::Flat | Layout::Combined => Ok(()),
        }
    }

    /// Finishes or undoes what an earlier run left.
    pub fn recover(&self) -> Result<Recovered, PairError> {
        match std::fs::symlink_metadata(&self.place) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.sweep()?;
                return Ok(Recovered::Nothing);
            }
            Err(source) => return Err(PairError::Read { path: self.place.clone(), source }),
            Ok(_) => self.check_place()?,
        }
        let Some(journal) = self.read_journal()? else {
            self.discard()?;
            self.sweep()?;
            return Ok(Recovered::Undone);
        };
        if journal.phase == Phase::Installed {
            return Ok(Recovered::Finished { old_certificate: journal.old_certificate });
        }
        let intent = Intent {
            key_pem: read(&self.place.join(KEY))?,
            request_pem: read(&self.place.join(REQUEST))?.to_vec(),
            old_certificate: journal.old_certificate.clone(),
        };
        let mut pending = Pending { intent, journal, aside: None };
        // What was taken back whole is not put in place by looking at it; what was cut off on the way back is.
        if pending.journal.rolled_back && pending.is_untouched()? {
            return Ok(Recovered::RolledBack(Box::new(pending)));
        }
        match pending.judge(self.files.layout)? {
            // A renewal begins after the answer; its key is that of the file.
            Recovery::Resume if pending.intent.request_pem.is_empty() => {
                self.discard()?;
                Ok(Recovered::Undone)
            }
            Recovery::Resume => Ok(Recovered::Pending(Box::new(pending))),
            Recovery::Nothing | Recovery::Discard(DiscardReason::NeverRequested) => {
                self.discard()?;
                Ok(Recovered::Undone)
            }
            Recovery::Finish { .. } => {
                self.install(&mut pending)?;
                Ok(Recovered::Finished { old_certificate: pending.journal.old_certificate })
            }
            // A key that may have been certified is never thrown away by a program.
            Recovery::Discard(_) | Recovery::Stuck => Ok(Recovered::SetAside(self.set_aside()?)),
        }
    }

    /// Makes the new key and the request durable, read back; after this the authority may be asked.
    ///
    /// A request of an earlier run that nobody goes on with is put aside: its key may have been certified.
    pub fn begin(&self, intent: Intent) -> Result<Pending, PairError> {
        let aside = match self.read_journal()? {
            // A renewal that was taken back has no key of its own: to keep it would leave a copy of the old key behind.
            Some(journal) if journal.phase != Phase::Installed && !self.is_of_renewal()? => Some(self.set_aside()?),
            _ => None,
        };
        self.discard()?;
        match DirBuilder::new().mode(0o700).create(&self.place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.check_place()?,
            Err(source) => {
                let operation = "create";
                return Err(WriteError::Os { operation, path: self.place.clone(), source }.into());
            }
        }
        write_private(&self.place.join(KEY), &intent.key_pem)?;
        write_private(&self.place.join(REQUEST), &intent.request_pem)?;
        let journal = Journal {
            version: VERSION,
            phase: Phase::Requested,
            certificate: self.certificate().real().to_owned(),
            key: self.key().real().to_owned(),
            old_certificate: intent.old_certificate.clone(),
            old_certificate_file: digest_of_file(self.certificate().real())?,
            old_key_file: digest_of_file(self.key().real())?,
            chain: None,
            rolled_back: false,
        };
        let pending = Pending { intent, journal, aside };
        self.write_journal(&pending.journal)?;
        sync_directory(self.key().directory())?;
        Ok(pending)
    }

    /// Forgets a request that was refused; the one that was put aside for it is the one to go on with again.
    pub fn withdraw(&self, pending: &Pending) -> Result<(), PairError> {
        self.discard()?;
        let Some(aside) = &pending.aside else { return Ok(()) };
        let renamed = std::fs::rename(aside, &self.place);
        renamed.map_err(|source| WriteError::Os { operation: "put back", path: aside.clone(), source })?;
        Ok(sync_directory(self.key().directory())?)
    }

    /// Makes the certificate durable in the journal; after this it will be in its place sooner or later.
    pub fn issued(&self, pending: &mut Pending, chain_pem: &str) -> Result<(), PairError> {
        pending.journal.phase = Phase::Issued;
        pending.journal.chain = Some(chain_pem.to_owned());
        self.write_journal(&pending.journal)
    }

    /// Puts certificate and key in their places; the journal stays, to say that nobody was told yet.
    pub fn install(&self, pending: &mut Pending) -> Result<(), PairError> {
        // An earlier run may have been told other names; what it promised is kept.
        let wanted = Some(self.files.layout);
        let mut files = Files::find(&pending.journal.certificate, &pending.journal.key, wanted)?;
        let Recovery::Finish { install_key, install_certificate } = pending.judge(files.layout)? else {
            return Err(PairError::Changed(self.set_aside()?));
        };
        let (key, chain) = pending.new_content(files.layout)?;
        let chain = chain.unwrap_or_default();
        files.certificate.sweep()?;
        files.key.sweep()?;
        match files.layout {
            Layout::Generations if install_key || install_certificate => files.install_generation(&key, &chain)?,
            Layout::Generations => files.link_names()?,
            Layout::Combined => layout::replace(&[(&files.key, &key)], install_key)?,
            Layout::Flat => {
                let both = [(&files.key, &key, install_key), (&files.certificate, &chain, install_certificate)];
                let wanted: Vec<_> = both.into_iter().filter(|(.., wanted)| *wanted).collect();
                let contents: Vec<_> = wanted.into_iter().map(|(target, content, _)| (target, content)).collect();
                layout::replace(&contents, true)?;
            }
        }
        // A rename that an earlier run made may still be in the air.
        sync_directory(files.certificate.directory())?;
        sync_directory(files.key.directory())?;
        pending.journal.phase = Phase::Installed;
        pending.journal.rolled_back = false;
        self.write_journal(&pending.journal)
    }

    /// Brings the old pair back: whoever uses the files did not take the new one. The new one waits in the journal.
    ///
    /// Cut off or refused half-way, it goes forward again, by the same path as after any other cut.
    pub fn roll_back(&self) -> Result<(), PairError> {
        let Some(journal) = self.read_journal()? else { return Err(PairError::NothingToTakeBack) };
        let Err(error) = self.put_back(journal) else { return Ok(()) };
        match self.recover() {
            // Both files are the old ones; what failed was to tidy up after them.
            Ok(Recovered::RolledBack(_)) => Ok(()),
            _ => Err(error),
        }
    }

    fn put_back(&self, mut journal: Journal) -> Result<(), PairError> {
        let mut files = Files::find(&journal.certificate, &journal.key, Some(self.files.layout))?;
        journal.phase = Phase::Issued;
        journal.rolled_back = true;
        self.write_journal(&journal)?;
        files.put_back(journal.old_key_file, journal.old_certificate_file)
    }

    /// Removes what was replaced: the new pair is in use. Then forgets the journal.
    pub fn retire(&self) -> Result<(), PairError> {
        self.files.forget_previous()?;
        self.discard()
    }

    /// Forgets the journal, its key included.
    pub fn discard(&self) -> Result<(), PairError> {
        // Without its journal the rest means nothing, so the journal goes first, durably.
        remove_if_there(&self.place.join(JOURNAL))?;
        match std::fs::metadata(&self.place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            _ => sync_directory(&self.place)?,
        }
        let removed = std::fs::remove_dir_all(&self.place);
        removed.map_err(|source| WriteError::Os { operation: "remove", path: self.place.clone(), source })?;
        sync_directory(self.key().directory())?;
        Ok(())
    }

    /// Where the journal is, while there is one.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Keeps the journal under another name, for a person to look at.
    fn set_aside(&self) -> Result<PathBuf, PairError> {
        let mut prefix = self.place.file_name().unwrap_or_default().to_owned();
        prefix.push(".aside-");
        let mut numbers = self.numbers_aside(&prefix)?;
        let named = |number: u64| {
            let mut name = prefix.clone();
            name.push(number.to_string());
            self.key().directory().join(name)
        };
        let newest = named(numbers.last().map_or(1, |last| last.saturating_add(1)));
        let os = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| WriteError::Os { operation, path, source }
        };
        std::fs::rename(&self.place, &newest).map_err(os("put aside", &self.place))?;
        numbers.truncate((numbers.len() + 1).saturating_sub(KEPT_ASIDE));
        for number in numbers {
            let oldest = named(number);
            std::fs::remove_dir_all(&oldest).map_err(os("remove", &oldest))?;
        }
        sync_directory(self.key().directory())?;
        Ok(newest)
    }

    /// The numbers of what was put aside, oldest first.
    fn numbers_aside(&self, prefix: &OsStr) -> Result<Vec<u64>, PairError> {
        let unread = |source| PairError::Read { path: self.key().directory().to_owned(), source };
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.key().directory()).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
            numbers.extend(number.and_then(|number| std::str::from_utf8(number).ok()?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn sweep(&self) -> Result<(), PairError> {
        self.certificate().sweep()?;
        self.key().sweep()?;
        self.files.sweep_generations()
    }

    fn check_place(&self) -> Result<(), PairError> {
        let found = std::fs::symlink_metadata(&self.place);
        let found = found.map_err(|source| PairError::Read { path: self.place.clone(), source })?;
        let mine = found.uid() == rustix::process::geteuid().as_raw();
        if found.is_dir() && mine && found.mode() & 0o077 == 0 {
            return Ok(());
        }
        if found.is_dir() && !mine {
            return Err(PairError::OfAnother { place: self.place.clone(), owner: found.uid() });
        }
        Err(PairError::NotPrivate(self.place.clone()))
    }

    fn read_journal(&self) -> Result<Option<Journal>, PairError> {
        let path = self.place.join(JOURNAL);
        let text = match read(&path) {
            // Only that it is not there says that nothing was asked; that it cannot be looked at does not.
            Err(PairError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let journal: Journal =
            serde_json::from_slice(&text).map_err(|source| PairError::Journal { path: path.clone(), source })?;
        if journal.version > VERSION {
            return Err(PairError::Newer(path));
        }
        Ok(Some(journal))
    }

    fn is_of_renewal(&self) -> Result<bool, PairError> {
        Ok(read(&self.place.join(REQUEST))?.is_empty())
    }

    fn write_journal(&self, journal: &Journal) -> Result<(), PairError> {
        let path = self.place.join(JOURNAL);
        let text =
            serde_json::to_vec_pretty(journal).map_err(|source| PairError::Journal { path: path.clone(), source })?;
        Ok(write_private(&path, &text)?)
    }
}

/// Who holds this replaces the pair of the key.
pub(super) fn lock_of(key: &Target) -> PathBuf {
    let mut lock = place_of(key).into_os_string();
    lock.push(".lock");
    lock.into()
}

fn place_of(key: &Target) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(key.real().file_name().unwrap_or_default());
    name.push(".keywheel");
    key.directory().join(name)
}

#[cfg(test)]
mod tests;
