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
//!
//! The journal goes away only after both files are durable in their places and everybody was told.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use keywheel_core::file_pair::{self, CertificateSeen, DiscardReason, Observed, Recovery, Request, Targets};
use keywheel_core::fingerprint::{CertificateDigest, KeyDigest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::lock::{Lock, LockError};
use super::write::{PRIVATE, Target, WriteError, remove_if_there, sync_directory, write_private};

const JOURNAL: &str = "journal.json";
const KEY: &str = "key.pem";
const REQUEST: &str = "request.pem";

/// So many replacements that did not fit the files any more are kept for a person to look at; older ones are removed.
const KEPT_ASIDE: usize = 4;

/// No certificate, key or journal is longer.
const MAX_FILE: u64 = 1 << 20;

/// The version of the journal's format.
const VERSION: u32 = 1;

/// A certificate and a key that are replaced together; nobody else replaces them while this lives.
#[derive(Debug)]
pub struct Pair {
    certificate: Target,
    key: Target,
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

/// A request that was or may have been sent.
#[derive(Clone)]
pub struct Pending {
    intent: Intent,
    journal: Journal,
    /// Where the request went that was put aside for this one.
    aside: Option<PathBuf>,
}

/// What an earlier run had left.
pub enum Recovered {
    /// Nothing.
    Nothing,
    /// A beginning; nothing had been asked, it was removed.
    Undone,
    /// A request without an answer.
    Pending(Box<Pending>),
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
    #[error("certificate and key would both be written to {}: name two files", .0.display())]
    SameFile(PathBuf),
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
    /// Something else changed the files while the authority was asked.
    #[error("the files were changed by something else meanwhile and were left alone; the new pair waits in {}", .0.display())]
    Changed(PathBuf),
}

#[derive(Clone, Serialize, Deserialize)]
struct Journal {
    version: u32,
    phase: Phase,
    certificate: PathBuf,
    key: PathBuf,
    /// The certificate that is to be replaced, as PEM.
    old_certificate: String,
    /// SHA-256 of what the two files held at the beginning; nothing where there was no file.
    old_certificate_file: Option<[u8; 32]>,
    old_key_file: Option<[u8; 32]>,
    /// What the certificate's file will hold.
    chain: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Requested,
    Issued,
    Installed,
}

impl Pair {
    /// Takes the pair; both files may be missing still.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let certificate = Target::resolve(certificate, PRIVATE)?;
        let key = Target::resolve(key, PRIVATE)?;
        if is_one_file(&certificate, &key) {
            return Err(PairError::SameFile(key.named().to_owned()));
        }
        let place = place_of(&key);
        let mut lock = place.clone().into_os_string();
        lock.push(".lock");
        let lock = Lock::take(Path::new(&lock))?;
        Ok(Self { certificate, key, place, _lock: lock })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Target {
        &self.certificate
    }

    /// The key.
    pub fn key(&self) -> &Target {
        &self.key
    }

    /// Rehearses both writes: room, permissions, owners, labels.
    pub fn rehearse(&self, certificate_size: usize, key_size: usize) -> Result<(), PairError> {
        // The journal holds a second copy of everything.
        self.certificate.rehearse(certificate_size)?;
        self.key.rehearse(2 * (certificate_size + key_size))?;
        Ok(())
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
        match pending.judge()? {
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
            Some(journal) if journal.phase != Phase::Installed => Some(self.set_aside()?),
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
            certificate: self.certificate.real().to_owned(),
            key: self.key.real().to_owned(),
            old_certificate: intent.old_certificate.clone(),
            old_certificate_file: digest_of_file(self.certificate.real())?,
            old_key_file: digest_of_file(self.key.real())?,
            chain: None,
        };
        let pending = Pending { intent, journal, aside };
        self.write_journal(&pending.journal)?;
        sync_directory(self.key.directory())?;
        Ok(pending)
    }

    /// Forgets a request that was refused; the one that was put aside for it is the one to go on with again.
    pub fn withdraw(&self, pending: &Pending) -> Result<(), PairError> {
        self.discard()?;
        let Some(aside) = &pending.aside else { return Ok(()) };
        let renamed = std::fs::rename(aside, &self.place);
        renamed.map_err(|source| WriteError::Os { operation: "put back", path: aside.clone(), source })?;
        Ok(sync_directory(self.key.directory())?)
    }

    /// Makes the certificate durable in the journal; after this it will be in its place sooner or later.
    pub fn issued(&self, pending: &mut Pending, chain_pem: &str) -> Result<(), PairError> {
        pending.journal.phase = Phase::Issued;
        pending.journal.chain = Some(chain_pem.to_owned());
        self.write_journal(&pending.journal)
    }

    /// Puts certificate and key in their places; the journal stays, to say that nobody was told yet.
    pub fn install(&self, pending: &mut Pending) -> Result<(), PairError> {
        let Recovery::Finish { install_key, install_certificate } = pending.judge()? else {
            return Err(PairError::Changed(self.set_aside()?));
        };
        let journal = &pending.journal;
        let chain = journal.chain.as_deref().unwrap_or_default().as_bytes();
        // An earlier run may have been told other names; what it promised is kept.
        let certificate = Target::resolve(&journal.certificate, PRIVATE)?;
        let key = Target::resolve(&journal.key, PRIVATE)?;
        certificate.sweep()?;
        key.sweep()?;
        // Both are durable under other names before either is visible: between the renames nothing can fail for want
        // of room, and almost no time passes.
        let staged_key = install_key.then(|| key.stage(&pending.intent.key_pem)).transpose()?;
        let staged_certificate = install_certificate.then(|| certificate.stage(chain)).transpose()?;
        for staged in [staged_key, staged_certificate].into_iter().flatten() {
            staged.commit()?;
        }
        // A rename that an earlier run made may still be in the air.
        sync_directory(certificate.directory())?;
        sync_directory(key.directory())?;
        pending.journal.phase = Phase::Installed;
        pending.journal.chain = None;
        self.write_journal(&pending.journal)?;
        // It has its place now; a second copy is one too many.
        Ok(remove_if_there(&self.place.join(KEY))?)
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
        sync_directory(self.key.directory())?;
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
            self.key.directory().join(name)
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
        sync_directory(self.key.directory())?;
        Ok(newest)
    }

    /// The numbers of what was put aside, oldest first.
    fn numbers_aside(&self, prefix: &OsStr) -> Result<Vec<u64>, PairError> {
        let unread = |source| PairError::Read { path: self.key.directory().to_owned(), source };
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.key.directory()).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
            numbers.extend(number.and_then(|number| std::str::from_utf8(number).ok()?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn sweep(&self) -> Result<(), WriteError> {
        self.certificate.sweep()?;
        self.key.sweep()
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
        if !path.exists() {
            return Ok(None);
        }
        let text = read(&path)?;
        let journal: Journal =
            serde_json::from_slice(&text).map_err(|source| PairError::Journal { path: path.clone(), source })?;
        if journal.version > VERSION {
            return Err(PairError::Newer(path));
        }
        Ok(Some(journal))
    }

    fn write_journal(&self, journal: &Journal) -> Result<(), PairError> {
        let path = self.place.join(JOURNAL);
        let text =
            serde_json::to_vec_pretty(journal).map_err(|source| PairError::Journal { path: path.clone(), source })?;
        Ok(write_private(&path, &text)?)
    }
}

impl Pending {
    /// What was made durable.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Whether it was begun for this pair.
    pub fn is_for(&self, pair: &Pair) -> bool {
        self.journal.certificate == pair.certificate.real() && self.journal.key == pair.key.real()
    }

    /// Lets core decide what is to be done, given what the files hold now.
    ///
    /// Files are told apart by the digests of their whole content, since an encrypted key shows nothing else: what is
    /// neither the old nor the new content is somebody else's.
    fn judge(&self) -> Result<Recovery, PairError> {
        let journal = &self.journal;
        let new_key = KeyDigest(digest(&self.intent.key_pem));
        let old_key = journal.old_key_file.map(KeyDigest);
        // A certificate that was there without its key is nobody's pair; its own digest stands for the unknown key.
        let seen = |content: [u8; 32], key: Option<KeyDigest>| CertificateSeen {
            digest: CertificateDigest(content),
            key: key.unwrap_or(KeyDigest(content)),
        };
        let new_certificate = journal.chain.as_deref().map(|chain| seen(digest(chain.as_bytes()), Some(new_key)));
        let old_certificate = journal.old_certificate_file.map(|content| seen(content, old_key));
        let found_key = digest_of_file(&journal.key)?.map(KeyDigest);
        // A key that this replacement knows nothing of may be the only copy of somebody's key: it is not overwritten.
        if found_key.is_some() && found_key != Some(new_key) && found_key != old_key {
            return Ok(Recovery::Stuck);
        }
        let known = [new_certificate, old_certificate];
        let found_certificate = digest_of_file(&journal.certificate)?.map(|content| {
            let known = known.into_iter().flatten().find(|known| known.digest == CertificateDigest(content));
            // A certificate of somebody else is taken to belong to the key beside it.
            known.unwrap_or_else(|| seen(content, found_key))
        });
        let request = Request {
            old_certificate: old_certificate.map_or(CertificateDigest([0; 32]), |old| old.digest),
            new_key,
            before: Targets { key: old_key, certificate: old_certificate },
        };
        let entry = match (journal.phase, new_certificate) {
            (Phase::Issued, Some(new)) => file_pair::Journal::Issued { request, certificate: new.digest },
            _ => file_pair::Journal::Requested(request),
        };
        let observed = Observed {
            pending: true,
            pending_key: Some(new_key),
            pending_certificate: new_certificate,
            targets: Targets { key: found_key, certificate: found_certificate },
        };
        Ok(file_pair::recover(Some(&entry), &observed))
    }
}

/// Whether two targets are one file, by name or by a hard link.
fn is_one_file(one: &Target, other: &Target) -> bool {
    if one.real() == other.real() {
        return true;
    }
    match (std::fs::metadata(one.real()), std::fs::metadata(other.real())) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn place_of(key: &Target) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(key.real().file_name().unwrap_or_default());
    name.push(".keywheel");
    key.directory().join(name)
}

fn digest_of_file(path: &Path) -> Result<Option<[u8; 32]>, PairError> {
    match read(path) {
        Ok(content) => Ok(Some(digest(&content))),
        Err(PairError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn digest(content: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref());
    digest
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PairError> {
    let mut content = Zeroizing::new(Vec::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > MAX_FILE => {
            Err(PairError::Read { path: path.to_owned(), source: ErrorKind::FileTooLarge.into() })
        }
        Ok(_) => Ok(content),
        Err(source) => Err(PairError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
