//! How a pair lies on disk: told, or changed without changing what it holds.

use std::path::{Path, PathBuf};

use keywheel_reach::files::conversion;
use keywheel_reach::files::layout::Layout;
use keywheel_reach::files::pair::{PairError, Recovered};

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
    // Opening the pair goes on with a conversion that was cut off.
    let before = before(options)?;
    let file = options.file.clone().or_else(|| conversion::combined_file(certificate, key));
    let now = options.to.unwrap_or(before);
    if options.to.is_some() {
        // Two that do not belong together are no pair, however they lie.
        match &file {
            Some(file) if !certificate.exists() || !key.exists() => check(file, file)?,
            _ => check(certificate, key)?,
        }
    }
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
    Ok(LayoutReport { before, now, file: file.filter(|_| now == Layout::Combined) })
}

/// How the two lie; names that are not there yet, as what is in the one file that is to become two.
fn before(options: &LayoutOptions) -> Result<Layout, ClientError> {
    let (certificate, key) = (&options.certificate, &options.key);
    let pair = place::open(certificate, key, None)?;
    if pair.key().exists() && pair.certificate().exists() {
        return Ok(pair.layout());
    }
    if options.to != Some(Layout::Combined) && options.file.as_deref().is_some_and(Path::exists) {
        return Ok(Layout::Combined);
    }
    let missing = if pair.key().exists() { certificate } else { key };
    let source = std::io::Error::from(std::io::ErrorKind::NotFound).into();
    Err(ClientError::Input { what: "the file", file: missing.clone(), source })
}

fn convert(certificate: &Path, key: &Path, to: Layout) -> Result<(), ClientError> {
    let mut pair = place::open(certificate, key, None)?;
    // What an earlier conversion left is swept, even where there is nothing more to do.
    match pair.recover().map_err(|error| failed(key, error))? {
        Recovered::Nothing | Recovered::Undone => {}
        _ if pair.layout() == to => return Ok(()),
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
