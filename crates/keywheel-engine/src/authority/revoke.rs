//! Revocation: by a provisioner's token, or by the certificate's own holder.

use jiff::Timestamp;
use keywheel_core::revocation::ReasonCode;
use keywheel_core::serial::Serial;
use keywheel_core::token::Purpose;
use keywheel_store::{Revocation, RevokeOutcome, Store};
use keywheel_wire::x509::certificate::Certificate;

use super::issue::not_stored;
use super::replace::held;
use super::settings::Settings;
use super::{AuthorityError, RevokeRequest, Revoker, token};

/// The longest text that is kept of why somebody revokes.
const MAX_REASON: usize = 1024;

/// Revokes a certificate.
pub(super) async fn revoke(
    store: &Store,
    settings: &Settings,
    revoker: Revoker,
    request: RevokeRequest,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let malformed = |text: &str| AuthorityError::Malformed(text.to_owned());
    if request.serial.is_empty() {
        return Err(malformed("missing serial"));
    }
    let serial = Serial::parse(&request.serial).map_err(|_| {
        let shown: String = request.serial.chars().filter(|letter| !letter.is_control()).take(64).collect();
        AuthorityError::Malformed(format!(
            "'{shown}' is not a valid serial number - use a base 10 representation or a base 16 representation with '0x' prefix"
        ))
    })?;
    let reason = ReasonCode::from_code(request.reason_code).map_err(|_| malformed("reasonCode out of bounds"))?;
    if !request.passive {
        return Err(AuthorityError::NotSupported("only passive revocation is implemented".to_owned()));
    }
    let mut revocation = Revocation {
        serial,
        revoked_at: now,
        reason,
        text: request.reason.chars().take(MAX_REASON).collect(),
        by: "its holder".to_owned(),
        expires_at: None,
    };
    if let Revoker::Held(chain) = &revoker {
        held(settings, chain, now)?;
    }
    let outcome = match revoker {
        Revoker::Token(compact) => {
            let authorized = token::authorize(settings, &compact, Purpose::Revoke, now)?;
            token::note_voucher(store, settings, &authorized, now).await?;
            let named = Serial::parse(&authorized.claims.registered.subject).ok();
            if named != Some(serial) {
                return Err(AuthorityError::NotAuthenticated("the token is for another serial number".to_owned()));
            }
            revocation.by = format!("provisioner {}", authorized.entry.provisioner.name);
            let outcome = store.revoke_with_token(revocation, authorized.one_time).await.map_err(not_stored)?;
            outcome.ok_or_else(|| AuthorityError::NotAuthenticated("the token was used before".to_owned()))?
        }
        Revoker::Tls(chain) | Revoker::Held(chain) => {
            if holder(&chain, now)?.serial() != serial {
                return Err(malformed("serial number in client certificate different than body"));
            }
            store.revoke(revocation).await.map_err(not_stored)?
        }
    };
    match outcome {
        RevokeOutcome::Revoked => Ok(()),
        RevokeOutcome::AlreadyRevoked => Err(already(serial)),
    }
}

/// The certificate of a TLS client; an expired one counts as none.
fn holder(chain: &[Vec<u8>], now: Timestamp) -> Result<Certificate, AuthorityError> {
    let missing = || AuthorityError::Malformed("missing ott or client certificate".to_owned());
    let leaf = Certificate::from_der(chain.first().ok_or_else(missing)?)
        .map_err(|error| AuthorityError::NotAuthenticated(error.to_string()))?;
    if now > leaf.not_after() || now < leaf.not_before() {
        return Err(missing());
    }
    Ok(leaf)
}

fn already(serial: Serial) -> AuthorityError {
    AuthorityError::Malformed(format!("certificate with serial number '{serial}' is already revoked"))
}
