//! A token that is open: found by its URI, logged in to once, shared by everything in this process that needs it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use keywheel_wire::pkcs11::uri::{Pin, Pkcs11Uri};
use zeroize::Zeroizing;

use super::error::{TokenError, reason};
use super::module;
use super::sessions::{Lease, PinText, Sessions, most_of};

/// A file with a PIN has one line.
const MAX_PIN: u64 = 1024;

/// The tokens that this process has open. A token knows whether a process is logged in, not who in it.
static OPEN: Mutex<Vec<Arc<Token>>> = Mutex::new(Vec::new());

/// A token that is open.
pub struct Token {
    uri: Pkcs11Uri,
    module_path: String,
    module: Pkcs11,
    slot: Slot,
    label: String,
    sessions: Sessions,
}

/// Why something was not done in a session.
pub(super) enum Problem {
    /// The library said no.
    Library(Error),
    /// The rest.
    Token(TokenError),
}

impl Token {
    /// Opens the token that a URI names. `pin` is used where the URI has none.
    ///
    /// # Errors
    /// When the module, the token or the PIN is missing or wrong.
    pub fn open(uri: &Pkcs11Uri, pin: Option<&[u8]>) -> Result<Arc<Self>, TokenError> {
        if !uri.names_token() {
            return Err(TokenError::TokenNotNamed);
        }
        let pin = pin_of(uri, pin)?;
        let (module_path, module) = module::load(uri.module_path.as_deref())?;
        let wanted = Pkcs11Uri { id: None, object: None, pin: None, ..uri.clone() };
        let (slot, info) = find(&module_path, &module, &wanted)?;

        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = open.iter().find(|token| token.module_path == module_path && token.slot == slot) {
            if !token.sessions.same_pin(pin.as_ref()) {
                return Err(TokenError::OtherPin { token: token.label.clone() });
            }
            // It may have been lost since.
            token.with("answer", |_, _| Ok(()))?;
            return Ok(Arc::clone(token));
        }
        let most = [uri.max_sessions, most_of(&info)].into_iter().flatten().min();
        let token = Arc::new(Self {
            uri: wanted,
            sessions: Sessions::new(module.clone(), pin, most),
            module_path,
            module,
            slot,
            label: info.label().to_owned(),
        });
        token.with("answer", |_, _| Ok(()))?;
        module::is_used(&token.module_path);
        open.push(Arc::clone(&token));
        Ok(token)
    }

    /// The token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Does something in a session of its own. A token that was lost is looked for once more.
    pub(super) fn with<T>(
        &self,
        doing: &'static str,
        action: impl Fn(&Session, u64) -> Result<T, Problem>,
    ) -> Result<T, TokenError> {
        let mut again = true;
        loop {
            let lease = self.lease()?;
            let Some(session) = lease.session() else { continue };
            match action(session, lease.generation()) {
                Ok(done) => return Ok(done),
                Err(Problem::Token(error)) => return Err(error),
                Err(Problem::Library(error)) if again && is_lost(&error) => {
                    again = false;
                    self.sessions.lost(lease.generation());
                }
                Err(Problem::Library(error)) => {
                    if is_lost(&error) {
                        self.sessions.lost(lease.generation());
                    }
                    return Err(self.failed(doing, &error));
                }
            }
        }
    }

    /// Does something in a session that may write. It is not done twice, whatever happens.
    pub(super) fn write<T>(
        &self,
        doing: &'static str,
        action: impl FnOnce(&Session) -> Result<T, Problem>,
    ) -> Result<T, TokenError> {
        let lease = self.lease()?;
        let session = lease.writer().map_err(|error| self.failed("open a session for writing", &error))?;
        action(&session).map_err(|problem| match problem {
            Problem::Token(error) => error,
            Problem::Library(error) => self.failed(doing, &error),
        })
    }

    fn lease(&self) -> Result<Lease<'_>, TokenError> {
        self.sessions.lease(|is_alone| match find(&self.module_path, &self.module, &self.uri) {
            Err(TokenError::NoToken { .. }) if is_alone && module::restart(&self.module_path) => {
                find(&self.module_path, &self.module, &self.uri)
            }
            found => found,
        })
    }

    fn failed(&self, doing: &'static str, error: &Error) -> TokenError {
        TokenError::Failed { token: self.label.clone(), doing, reason: reason(error) }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("label", &self.label).finish_non_exhaustive()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

/// The PIN that the URI has or names, else the one that was given beside it.
fn pin_of(uri: &Pkcs11Uri, given: Option<&[u8]>) -> Result<Option<PinText>, TokenError> {
    let failed = |file: &str, source| TokenError::PinFile { file: file.to_owned(), source };
    let not_text = || io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
    match &uri.pin {
        Some(Pin::Value(pin)) => Ok(Some(pin.clone())),
        Some(Pin::File(file)) => {
            let mut content = Zeroizing::new(Vec::with_capacity(MAX_PIN as usize + 1));
            File::open(file)
                .and_then(|opened| opened.take(MAX_PIN + 1).read_to_end(&mut content))
                .map_err(|source| failed(file, source))?;
            let text = std::str::from_utf8(&content).map_err(|_| failed(file, not_text()))?.trim_end();
            // An empty one would be tried, and tries are counted.
            if text.is_empty() || content.len() as u64 > MAX_PIN {
                let source = io::Error::new(io::ErrorKind::InvalidData, "it is empty, or longer than a PIN can be");
                return Err(failed(file, source));
            }
            Ok(Some(Zeroizing::new(text.to_owned())))
        }
        Some(Pin::Prompt) | None => given
            .map(|pin| std::str::from_utf8(pin).map(|pin| Zeroizing::new(pin.to_owned())))
            .transpose()
            .map_err(|_| failed("given", not_text())),
    }
}

/// The one slot whose token is meant.
fn find(module_path: &str, module: &Pkcs11, wanted: &Pkcs11Uri) -> Result<(Slot, TokenInfo), TokenError> {
    let failed = |error: &Error| TokenError::Module { path: module_path.to_owned(), reason: reason(error) };
    // One that was finished by another part of the process is started again.
    let slots = match module.get_slots_with_token() {
        Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {
            module::load(Some(module_path))?;
            module.get_slots_with_token()
        }
        slots => slots,
    };
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for slot in slots.map_err(|error| failed(&error))? {
        // A token that is just being drawn out has nothing to say, and is not the one.
        let Ok(info) = module.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        if is_meant(wanted, slot, &info) {
            found.push((slot, info));
        } else {
            seen.push(format!("'{}' with serial={}", info.label(), info.serial_number()));
        }
    }
    let described = || describe_token(wanted);
    if found.len() > 1 {
        return Err(TokenError::SeveralTokens { module: module_path.to_owned(), wanted: described() });
    }
    found.pop().ok_or_else(|| TokenError::NoToken {
        module: module_path.to_owned(),
        wanted: described(),
        seen: match seen.as_slice() {
            [] => "it shows none at all: is the token plugged in, and its configuration found?".to_owned(),
            seen => format!("it shows {}", seen.join(", ")),
        },
    })
}

fn is_meant(wanted: &Pkcs11Uri, slot: Slot, info: &TokenInfo) -> bool {
    let same = |wanted: Option<&String>, own: &str| wanted.is_none_or(|wanted| wanted.trim_end() == own.trim_end());
    same(wanted.token.as_ref(), info.label())
        && same(wanted.serial.as_ref(), info.serial_number())
        && same(wanted.manufacturer.as_ref(), info.manufacturer_id())
        && same(wanted.model.as_ref(), info.model())
        && wanted.slot_id.is_none_or(|wanted| wanted == slot.id())
}

fn describe_token(wanted: &Pkcs11Uri) -> String {
    let named = Pkcs11Uri { module_path: None, max_sessions: None, ..wanted.clone() }.to_string();
    named.trim_start_matches("pkcs11:").to_owned()
}

/// Whether a token that was drawn out and put back, or a service that was started anew, would answer so.
fn is_lost(error: &Error) -> bool {
    let Error::Pkcs11(answer, _) = error else { return false };
    matches!(
        answer,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::GeneralError
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::UserNotLoggedIn
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::CryptokiNotInitialized
    )
}
