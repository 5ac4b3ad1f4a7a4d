//! The places of a certificate and its key: taken, repaired after an earlier run, with errors in a client's words.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keywheel_reach::files::layout::Layout;
use keywheel_reach::files::lock::LockError;
use keywheel_reach::files::pair::{Pair, PairError, Recovered};
use keywheel_reach::files::write::{PRIVATE, Target, WriteError};

use super::afterwards::Afterwards;
use super::error::ClientError;

/// Room for a key and its chain in one file.
const ROOM_FOR_PKCS12: usize = 64 * 1024;

/// Takes both places; nobody else replaces them until the pair is dropped.
pub(super) fn open(certificate: &Path, key: &Path, wanted: Option<Layout>) -> Result<Pair, ClientError> {
    Pair::open(certificate, key, wanted).map_err(|error| not_opened(key, error))
}

/// Why a pair was not taken.
pub(super) fn not_opened(key: &Path, error: PairError) -> ClientError {
    match error {
        PairError::SameFile(_)
        | PairError::NotCombined(_)
        | PairError::OfAnotherPair(_)
        | PairError::HalfCombined(_) => ClientError::Usage(format!("{error}; nothing was changed")),
        PairError::Lock(LockError::Held(_)) => ClientError::Locked { file: key.to_owned() },
        PairError::Write(WriteError::NotAFile { ref path, .. } | WriteError::Os { ref path, .. }) => {
            ClientError::Target { file: path.clone(), source: error.into() }
        }
        error => ClientError::Target { file: key.to_owned(), source: error.into() },
    }
}

/// Finishes or undoes what an earlier run left.
pub(super) fn recover(pair: &Pair, notes: &mut Vec<String>) -> Result<Recovered, ClientError> {
    let recovered = pair.recover().map_err(|error| {
        // Without a journal there was no earlier run: something beside the files cannot be removed.
        if !pair.place().exists() {
            return refused(pair, error);
        }
        ClientError::Recover { file: pair.key().named().to_owned(), source: error.into() }
    })?;
    match &recovered {
        Recovered::Finished { .. } => notes.push("an earlier run was cut off; its new pair is in place now".to_owned()),
        Recovered::SetAside(place) => notes.push(format!(
            "an earlier run was cut off, and the files were changed since: what it had is in {}",
            place.display()
        )),
        Recovered::Nothing | Recovered::Undone | Recovered::Pending(_) | Recovered::RolledBack(_) => {}
    }
    Ok(recovered)
}

/// Lets the pair lie as is wanted, if anything is; what the files hold stays the same.
pub(super) fn convert(pair: &mut Pair, wanted: Option<Layout>) -> Result<(), ClientError> {
    let Some(layout) = wanted.filter(|wanted| *wanted != pair.layout()) else { return Ok(()) };
    pair.convert(layout).map_err(|error| not_converted(pair, error))
}

/// What a run will be refused after it began, or a daemon each time, is refused at once.
pub(super) fn check_conversion(pair: &Pair, wanted: Option<Layout>) -> Result<(), ClientError> {
    let Some(layout) = wanted else { return Ok(()) };
    pair.check_conversion(layout).map_err(|error| not_converted(pair, error))
}

fn not_converted(pair: &Pair, error: PairError) -> ClientError {
    match error {
        PairError::OtherConversion { .. } | PairError::NarrowerWay(_) => {
            ClientError::Usage(format!("{error}; nothing was changed"))
        }
        error => refused(pair, error),
    }
}

/// Forgets what was begun and what was replaced: the new files are in use.
pub(super) fn retire(pair: &Pair) -> Result<(), ClientError> {
    pair.retire().map_err(|error| ClientError::LeftOver { file: pair.key().named().to_owned(), source: error.into() })
}

/// Forgets what was begun: the files are in place, and whoever uses them was told. What was replaced stays beside them.
pub(super) fn close(pair: &Pair) -> Result<(), ClientError> {
    pair.discard().map_err(|error| ClientError::LeftOver { file: pair.key().named().to_owned(), source: error.into() })
}

/// What is said where a pair that was taken back is put in place once more.
pub(super) const TRIED_AGAIN: &str =
    "an earlier run brought the old pair back, since the new one was not taken; that new pair is tried again";

/// What is said where it is not.
pub(super) fn note_of_pair_not_tried_again(pair: &Pair) -> String {
    format!(
        "an earlier run brought the old pair back; the new one of that run does not fit this one, and is kept in {}.aside-*",
        pair.place().display()
    )
}

/// What is said where a request without an answer is not gone on with.
pub(super) fn note_of_kept_key(pair: &Pair) -> String {
    format!(
        "an earlier run got no answer to another request; the key of that request is kept in {}.aside-*",
        pair.place().display()
    )
}

/// A failure before the authority was asked.
pub(super) fn refused(pair: &Pair, error: PairError) -> ClientError {
    let file = match &error {
        PairError::Write(WriteError::Os { path, .. } | WriteError::NotAFile { path, .. }) => path.clone(),
        _ => pair.key().named().to_owned(),
    };
    ClientError::Target { file, source: error.into() }
}

/// One file that will be written: it must be possible.
pub(super) fn target(file: &Path, room: usize) -> Result<Target, ClientError> {
    let refused = |error: WriteError| ClientError::Target { file: file.to_owned(), source: error.into() };
    let target = Target::resolve(file, PRIVATE).map_err(refused)?;
    target.rehearse(room).map_err(refused)?;
    Ok(target)
}

/// The PKCS#12 file that goes with a pair must be possible too; it comes in place of no other file of the run.
pub(super) fn second_form(
    afterwards: &Afterwards,
    pair: &Pair,
    others: &[Option<&Path>],
) -> Result<Option<Target>, ClientError> {
    let Some(wanted) = &afterwards.pkcs12 else { return Ok(None) };
    let target = self::target(&wanted.file, ROOM_FOR_PKCS12)?;
    let of_pair = [pair.certificate().real(), pair.key().real()];
    for other in of_pair.into_iter().chain(others.iter().copied().flatten()) {
        if is_one_file(target.real(), other) {
            return Err(ClientError::Usage(format!(
                "flag '--p12' names {}, which this run needs as it is; nothing was changed",
                other.display()
            )));
        }
    }
    Ok(Some(target))
}

/// Whether two names are one file, by whatever links.
fn is_one_file(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => Target::resolve(other, PRIVATE).is_ok_and(|other| other.real() == one),
    }
}

/// The files among these that exist.
pub(super) fn existing<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Vec<PathBuf> {
    targets.into_iter().filter(|target| target.exists()).map(|target| target.named().to_owned()).collect()
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(at) = cause {
        let next = at.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = at.source();
    }
    text
}
