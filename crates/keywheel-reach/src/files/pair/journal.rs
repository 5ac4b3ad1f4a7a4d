//! What is durable of a replacement that is under way: the journal, and what it means for the files as they are now.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use keywheel_core::file_pair::{self, CertificateSeen, Observed, Recovery, Request, Targets};
use keywheel_core::fingerprint::{CertificateDigest, KeyDigest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Intent, Pair, PairError};
use crate::files::combined;
use crate::files::layout::Layout;

/// No certificate, key or journal is longer.
const MAX_FILE: u64 = 1 << 20;

/// A request that was or may have been sent.
#[derive(Clone)]
pub struct Pending {
    pub(super) intent: Intent,
    pub(super) journal: Journal,
    /// Where the request went that was put aside for this one.
    pub(super) aside: Option<PathBuf>,
}

/// The file `journal.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) version: u32,
    pub(super) phase: Phase,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The certificate that is to be replaced, as PEM.
    pub(super) old_certificate: String,
    /// SHA-256 of what the two files held at the beginning; nothing where there was no file.
    pub(super) old_certificate_file: Option<[u8; 32]>,
    pub(super) old_key_file: Option<[u8; 32]>,
    /// What the certificate's file will hold.
    pub(super) chain: Option<String>,
    /// Whether the new pair was in place already and was taken back: the next run that may act tries it again.
    #[serde(default)]
    pub(super) rolled_back: bool,
}

/// How far a replacement came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    Requested,
    Issued,
    Installed,
}

impl Pending {
    /// What was made durable.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The chain that the authority answered with, PEM; none before it did.
    pub fn chain(&self) -> Option<&str> {
        self.journal.chain.as_deref()
    }

    /// Whether it was begun for this pair.
    pub fn is_for(&self, pair: &Pair) -> bool {
        self.journal.certificate == pair.certificate().real() && self.journal.key == pair.key().real()
    }

    /// Lets core decide what is to be done, given what the files hold now.
    ///
    /// Files are told apart by the digests of their whole content, since an encrypted key shows nothing else: what is
    /// neither the old nor the new content is somebody else's.
    pub(super) fn judge(&self, layout: Layout) -> Result<Recovery, PairError> {
        let journal = &self.journal;
        let (new_key, new_chain) = self.new_content(layout)?;
        let new_key = KeyDigest(digest(&new_key));
        let old_key = journal.old_key_file.map(KeyDigest);
        // A certificate that was there without its key is nobody's pair; its own digest stands for the unknown key.
        let seen = |content: [u8; 32], key: Option<KeyDigest>| CertificateSeen {
            digest: CertificateDigest(content),
            key: key.unwrap_or(KeyDigest(content)),
        };
        let new_certificate = new_chain.map(|chain| seen(digest(&chain), Some(new_key)));
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
            (Phase::Requested, _) | (_, None) => file_pair::Journal::Requested(request),
            (Phase::Issued | Phase::Installed, Some(new)) => {
                file_pair::Journal::Issued { request, certificate: new.digest }
            }
        };
        let observed = Observed {
            pending: true,
            pending_key: Some(new_key),
            pending_certificate: new_certificate,
            targets: Targets { key: found_key, certificate: found_certificate },
        };
        Ok(file_pair::recover(Some(&entry), &observed))
    }

    /// Whether both files hold what they held at the beginning.
    pub(super) fn is_untouched(&self) -> Result<bool, PairError> {
        let journal = &self.journal;
        Ok(digest_of_file(&journal.key)? == journal.old_key_file
            && digest_of_file(&journal.certificate)? == journal.old_certificate_file)
    }

    /// What the key's file and the certificate's file will hold.
    pub(super) fn new_content(&self, layout: Layout) -> Result<NewContent, PairError> {
        let (key, chain) = (&self.intent.key_pem, self.journal.chain.as_deref());
        let Some(chain) = chain else { return Ok((key.clone(), None)) };
        if layout != Layout::Combined {
            return Ok((key.clone(), Some(Zeroizing::new(chain.as_bytes().to_vec()))));
        }
        let found = match read(&self.journal.key) {
            Ok(found) => found,
            Err(PairError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Zeroizing::default(),
            Err(error) => return Err(error),
        };
        let both = combined::join(key, chain.as_bytes(), &found);
        Ok((both.clone(), Some(both)))
    }
}

/// The content of the key's file, and of the certificate's once it is known.
type NewContent = (Zeroizing<Vec<u8>>, Option<Zeroizing<Vec<u8>>>);

/// The digest of what a file holds; none where there is no file.
pub(in crate::files) fn digest_of_file(path: &Path) -> Result<Option<[u8; 32]>, PairError> {
    match read(path) {
        Ok(content) => Ok(Some(digest(&content))),
        Err(PairError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// SHA-256.
pub(in crate::files) fn digest(content: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref());
    digest
}

/// What a file holds, up to a sensible length.
pub(in crate::files) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PairError> {
    let mut content = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > MAX_FILE => {
            Err(PairError::Read { path: path.to_owned(), source: ErrorKind::FileTooLarge.into() })
        }
        Ok(_) => Ok(content),
        Err(source) => Err(PairError::Read { path: path.to_owned(), source }),
    }
}
