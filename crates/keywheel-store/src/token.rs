//! One-time tokens stay one-time: across restarts and across nodes.

use jiff::Timestamp;
use keywheel_core::serial::Serial;

use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::{Session, Value, micros};

/// A one-time token that is to be used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// What makes it the same token. Give a digest (of its `jti`, or of the whole token): PostgreSQL's index takes no long text.
    pub token: String,
    /// A digest of the whole request that it authorises, where the same request may be answered again with its certificate.
    pub request: Option<[u8; 32]>,
    /// From when on it is refused for its age anyway, leeway included; until then it is remembered.
    pub expires_at: Timestamp,
}

/// Whether a token was still unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It was; now it is used up.
    Consumed,
    /// Somebody used it before.
    AlreadyUsed,
}

/// Uses a token up.
pub(crate) async fn consume(session: &mut Session<'_>, token: &TokenUse) -> Result<TokenOutcome, StoreError> {
    consume_for(session, token, None).await
}

/// Uses a token up for a certificate.
pub(crate) async fn consume_for(
    session: &mut Session<'_>,
    token: &TokenUse,
    serial: Option<&Serial>,
) -> Result<TokenOutcome, StoreError> {
    let inserted = session
        .execute(
            "INSERT INTO used_tokens (token, expires_at, request, serial) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (token) DO NOTHING",
            &[
                Value::Text(&token.token),
                micros(token.expires_at),
                Value::MaybeBlob(token.request.as_ref().map(<[u8; 32]>::as_slice)),
                Value::MaybeBlob(serial.map(Serial::as_bytes)),
            ],
        )
        .await?;
    Ok(if inserted == 1 { TokenOutcome::Consumed } else { TokenOutcome::AlreadyUsed })
}

/// The certificate that this token was used for by the very same request, while it is good.
pub(crate) async fn answered(
    session: &mut Session<'_>,
    token: &TokenUse,
    now: Timestamp,
) -> Result<Option<Serial>, StoreError> {
    let Some(request) = &token.request else { return Ok(None) };
    let row = session
        .row(
            "SELECT c.serial FROM used_tokens t JOIN certificates c ON c.serial = t.serial \
             WHERE t.token = $1 AND t.request = $2 AND c.not_after >= $3 \
             AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)",
            &[Value::Text(&token.token), Value::Blob(request), micros(now)],
        )
        .await?;
    row.map(|row| row.serial(0)).transpose()
}

/// Uses one token up, and nothing else.
pub(crate) struct Consume(pub(crate) TokenUse);

impl Operation for Consume {
    type Answer = TokenOutcome;

    fn doing(&self) -> &'static str {
        "using up a token"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<TokenOutcome, StoreError> {
        consume(session, &self.0).await
    }
}

/// Forgets tokens that are refused for their age anyway, a limited number at a time.
pub(crate) struct Prune {
    pub(crate) now: Timestamp,
    pub(crate) limit: u32,
}

impl Operation for Prune {
    type Answer = u64;

    fn doing(&self) -> &'static str {
        "forgetting expired tokens"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<u64, StoreError> {
        session
            .execute(
                "DELETE FROM used_tokens WHERE token IN \
                 (SELECT token FROM used_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
                &[micros(self.now), Value::Int(i64::from(self.limit))],
            )
            .await
    }
}
