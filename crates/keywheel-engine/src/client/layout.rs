//! How a pair lies on disk: told, or changed without changing what it holds.

use std::path::{Path, PathBuf};

use keywheel_reach::files::conversion;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::files::pair::{Pair, PairError, Recovered};

use super::error::ClientError;
use super::{load, place};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct LayoutOptions {
    /// The certificate's name.
    pub certificate: PathBuf,
    /// The key's name.
    pub key: PathBuf,
    /// The file that is to hold both, or holds both.
    pub file: Option<PathBuf>,
    /// How the pair is to lie.
    pub to: Option<Layout>,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutReport {
    /// How it lay.
    pub before: Layout,
    /// How it lies now.
    pub now: Layout,
    /// The file that holds both, where one does.
    pub file: Option<PathBuf>,
}

/// Tells how a pair lies, or lets it lie otherwise; both names go on showing what they show, at every moment.
pub fn run(options: &LayoutOptions) -> Result<LayoutReport, ClientError> {
    let (certificate, key) = (&options.certificate, &options.key);
    let file = options.file.clone().or_else(|| conversion::combined_file(certificate, key));
    let is_combined = conversion::combined_file(certificate, key).is_some();
    // A conversion that was cut off shows two layouts; where it went is said by what is asked for now.
    let before = if is_combined { Layout::Combined } else { before(options)? };
    let now = options.to.unwrap_or(before);
    match (before, now) {
        (Layout::Combined, Layout::Combined) => {}
        (_, Layout::Combined) => {
            let Some(file) = &file else {
                return Err(ClientError::Usage("flag '--to combined' requires the '--file' flag".to_owned()));
            };
            conversion::combine(certificate, key, file).map_err(|error| failed(key, error))?;
        }
        (Layout::Combined, _) => {
            let Some(file) = &file else {
                return Err(ClientError::Usage("the file that holds both is not known: use '--file'".to_owned()));
            };
            conversion::separate(certificate, key, file).map_err(|error| failed(key, error))?;
            convert(certificate, key, now)?;
        }
        _ => convert(certificate, key, now)?,
    }
    if options.to.is_some() {
        // What is said to be done was looked at: a certificate and a key, whole, of which the one is for the other.
        check(certificate, key)?;
    }
    Ok(LayoutReport { before, now, file: file.filter(|_| now == Layout::Combined) })
}

/// How the two lie, where they are not links to one file.
fn before(options: &LayoutOptions) -> Result<Layout, ClientError> {
    let (certificate, key) = (&options.certificate, &options.key);
    match Pair::open(certificate, key, None) {
        Ok(pair) if pair.key().exists() && pair.certificate().exists() => Ok(pair.layout()),
        // Names that are not there yet, for what is in one file.
        Ok(_) | Err(PairError::HalfCombined(_)) if options.file.as_deref().is_some_and(Path::exists) => {
            Ok(if options.to == Some(Layout::Combined) { Layout::Flat } else { Layout::Combined })
        }
        Ok(pair) => {
            let missing = if pair.key().exists() { certificate } else { key };
            let source = std::io::Error::from(std::io::ErrorKind::NotFound).into();
            Err(ClientError::Input { what: "the file", file: missing.clone(), source })
        }
        Err(error) => Err(place::not_opened(key, error)),
    }
}

fn convert(certificate: &Path, key: &Path, to: Layout) -> Result<(), ClientError> {
    let mut pair = place::open(certificate, key, None)?;
    if pair.layout() == to {
        return Ok(());
    }
    match pair.recover().map_err(|error| failed(key, error))? {
        Recovered::Nothing | Recovered::Undone => {}
        _ => return Err(failed(key, PairError::Begun(pair.place().to_owned()))),
    }
    pair.convert(to).map_err(|error| failed(key, error))
}

/// Public halves are compared where the key is open; an encrypted one is taken on trust, as its bytes did not change.
fn check(certificate: &Path, key: &Path) -> Result<(), ClientError> {
    match load::pair(certificate, key, None) {
        Err(ClientError::PasswordRequired { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn failed(key: &Path, error: PairError) -> ClientError {
    ClientError::Layout { file: key.to_owned(), source: error.into() }
}
