//! The libraries of tokens, each loaded once for the whole process.

use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::{TokenError, reason};

/// The module where a URI names none, as in the reference: the one that knows all others of a machine.
const DEFAULT: &str = "p11-kit-proxy.so";

static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

struct Loaded {
    path: String,
    module: Pkcs11,
    /// How many tokens of it are open in this process.
    tokens: usize,
}

/// Loads a module and starts it; one that is there already is used again.
pub(super) fn load(path: Option<&str>) -> Result<(String, Pkcs11), TokenError> {
    let path = path.unwrap_or(DEFAULT);
    let failed = |error: &Error| TokenError::Module { path: path.to_owned(), reason: load_reason(error) };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = loaded.iter().find(|known| known.path == path) {
        // Another part of the process may have ended it.
        start(&known.module).map_err(|error| failed(&error))?;
        return Ok((path.to_owned(), known.module.clone()));
    }
    let module = Pkcs11::new(path).map_err(|error| failed(&error))?;
    start(&module).map_err(|error| failed(&error))?;
    loaded.push(Loaded { path: path.to_owned(), module: module.clone(), tokens: 0 });
    Ok((path.to_owned(), module))
}

/// Counts a token that stays open.
pub(super) fn is_used(path: &str) {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = loaded.iter_mut().find(|known| known.path == path) {
        known.tokens += 1;
    }
}

/// Ends a module and starts it again, since some see only then that a token is back; not where another token of it is open.
pub(super) fn restart(path: &str) -> bool {
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = loaded.iter().find(|known| known.path == path && known.tokens <= 1) else { return false };
    known.module.clone().finalize().is_ok() && start(&known.module).is_ok()
}

fn start(module: &Pkcs11) -> Result<(), Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        started => started,
    }
}

fn load_reason(error: &Error) -> String {
    match error {
        Error::LibraryLoading(source) => source.to_string(),
        Error::MissingSymbol(name) => format!("it is no PKCS#11 module: it has no {name}"),
        other => reason(other),
    }
}
