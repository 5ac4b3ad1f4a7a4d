//! The libraries of tokens, each loaded once for the whole process.

use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::{TokenError, reason};

/// The module where a URI names none, as in the reference: the one that knows all others of a machine.
const DEFAULT: &str = "p11-kit-proxy.so";

static LOADED: Mutex<Vec<(String, Pkcs11)>> = Mutex::new(Vec::new());

/// Loads a module and starts it; one that is there already is used again.
pub(super) fn load(path: Option<&str>) -> Result<(String, Pkcs11), TokenError> {
    let path = path.unwrap_or(DEFAULT);
    let failed = |error: &Error| TokenError::Module { path: path.to_owned(), reason: load_reason(error) };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = loaded.iter().find(|(known, _)| known == path).map(|(_, module)| module.clone());
    let module = match known {
        Some(module) => module,
        None => Pkcs11::new(path).map_err(|error| failed(&error))?,
    };
    // Also one that was loaded before: another part of the process may have ended it.
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(failed(&error)),
    }
    if !loaded.iter().any(|(known, _)| known == path) {
        loaded.push((path.to_owned(), module.clone()));
    }
    Ok((path.to_owned(), module))
}

fn load_reason(error: &Error) -> String {
    match error {
        Error::LibraryLoading(source) => source.to_string(),
        Error::MissingSymbol(name) => format!("it is no PKCS#11 module: it has no {name}"),
        other => reason(other),
    }
}
