//! Sessions with one token: opened when needed, kept for the next signature, opened anew after the token was lost.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Limit, Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::error::{TokenError, reason};

/// So many signatures at once keep every token busy that is not a rack of its own.
const DEFAULT_SESSIONS: u32 = 16;

/// The PIN of a token.
pub(super) type PinText = Zeroizing<String>;

/// The sessions with one token.
pub(super) struct Sessions {
    module: Pkcs11,
    pin: Option<PinText>,
    most: u32,
    state: Mutex<State>,
    returned: Condvar,
}

/// A session for one caller; it goes back when dropped.
pub(super) struct Lease<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
    slot: Slot,
    generation: u64,
}

struct State {
    /// Where the token was found; `None` before that, and after it was lost.
    slot: Option<Slot>,
    /// Counts how often it was found: sessions and handles of an earlier time are worth nothing.
    generation: u64,
    idle: Vec<Session>,
    out: u32,
    /// The PIN was refused: another try might lock the token.
    refused: bool,
}

impl Sessions {
    pub(super) fn new(module: Pkcs11, pin: Option<PinText>, most: Option<u32>) -> Self {
        let state = State { slot: None, generation: 0, idle: Vec::new(), out: 0, refused: false };
        Self { module, pin, most: most.unwrap_or(DEFAULT_SESSIONS), state: Mutex::new(state), returned: Condvar::new() }
    }

    /// Takes a session, opening one where none is idle. Where the token is not open, `find` says where it is now; it is told
    /// whether no session is left that it could disturb.
    pub(super) fn lease(
        &self,
        find: impl Fn(bool) -> Result<(Slot, TokenInfo), TokenError>,
    ) -> Result<Lease<'_>, TokenError> {
        let mut state = self.state();
        loop {
            let slot = match state.slot {
                Some(slot) => slot,
                None => {
                    let (slot, info) = find(state.out == 0)?;
                    self.open(&mut state, slot, &info)?;
                    slot
                }
            };
            let mut session = state.idle.pop();
            if session.is_none() && state.out < self.most {
                session = match self.module.open_ro_session(slot) {
                    Ok(session) => Some(session),
                    // The token has fewer than expected; those that are out come back.
                    Err(Error::Pkcs11(RvError::SessionCount, _)) if state.out > 0 => None,
                    Err(error) => return Err(failed("its slot", "open a session", &error)),
                };
            }
            if session.is_some() {
                state.out += 1;
                return Ok(Lease { sessions: self, session, slot, generation: state.generation });
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives up all sessions of that time; the next one looks for the token again.
    pub(super) fn lost(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.idle.clear();
            state.slot = None;
            self.returned.notify_all();
        }
    }

    /// Whether this is the PIN that the token was opened with; none at all is no other.
    pub(super) fn same_pin(&self, other: Option<&PinText>) -> bool {
        match (&self.pin, other) {
            (Some(own), Some(other)) => verify_slices_are_equal(own.as_bytes(), other.as_bytes()).is_ok(),
            _ => true,
        }
    }

    /// Opens the first session and logs in: while one session is open, all of them are.
    fn open(&self, state: &mut State, slot: Slot, info: &TokenInfo) -> Result<(), TokenError> {
        let token = info.label().to_owned();
        let session = self.module.open_ro_session(slot).map_err(|error| failed(&token, "open a session", &error))?;
        if self.pin.is_some() || info.login_required() {
            if self.pin.is_none() && !info.protected_authentication_path() {
                return Err(TokenError::PinRequired { token });
            }
            if state.refused {
                return Err(TokenError::WrongPin { token });
            }
            if info.user_pin_locked() {
                return Err(TokenError::PinLocked { token });
            }
            if info.user_pin_final_try() {
                return Err(TokenError::PinLastTry { token });
            }
            let pin = self.pin.as_ref().map(|pin| AuthPin::new(pin.as_str().into()));
            match session.login(UserType::User, pin.as_ref()) {
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                    state.refused = true;
                    return Err(TokenError::WrongPin { token });
                }
                Err(Error::Pkcs11(RvError::PinLocked, _)) => return Err(TokenError::PinLocked { token }),
                Err(error) => return Err(failed(&token, "let this process log in", &error)),
            }
        }
        state.slot = Some(slot);
        state.generation += 1;
        state.idle.push(session);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many sessions a token has, where it says so.
pub(super) fn most_of(info: &TokenInfo) -> Option<u32> {
    match info.max_session_count() {
        Limit::Max(most) => u32::try_from(most).ok().map(|most| most.max(1)),
        Limit::Unavailable | Limit::Infinite => None,
    }
}

impl Lease<'_> {
    /// The session; it is there until the lease is dropped.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// When the token was found.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Another session, which may also write.
    pub(super) fn writer(&self) -> Result<Session, Error> {
        self.sessions.module.open_rw_session(self.slot)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        state.out = state.out.saturating_sub(1);
        // One of an earlier time is closed instead.
        if let Some(session) = self.session.take()
            && state.slot.is_some()
            && state.generation == self.generation
        {
            state.idle.push(session);
        }
        self.sessions.returned.notify_one();
    }
}

fn failed(token: &str, doing: &'static str, error: &Error) -> TokenError {
    TokenError::Failed { token: token.to_owned(), doing, reason: reason(error) }
}
