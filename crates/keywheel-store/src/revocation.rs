//! Revocations, and the certificates that are to be revoked once their successor works.

use jiff::Timestamp;
use keywheel_core::revocation::ReasonCode;
use keywheel_core::serial::Serial;

use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::{Row, Session, Value, micros};
use crate::token::{self, TokenOutcome, TokenUse};

/// That a certificate is no longer to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which one. It need not be one that this store knows.
    pub serial: Serial,
    /// Since when.
    pub revoked_at: Timestamp,
    /// Why, in the words of the standard.
    pub reason: ReasonCode,
    /// Why, in somebody's own words; may be empty.
    pub text: String,
    /// Who revoked it: a provisioner, the certificate's holder, the CA itself.
    pub by: String,
    /// When the certificate ends, if that is known; taken from the certificate where that is known and this is absent.
    pub expires_at: Option<Timestamp>,
}

/// What became of the wish to revoke a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// It is revoked now.
    Revoked,
    /// It was revoked before; the earlier reason and time stand.
    AlreadyRevoked,
}

/// A certificate that will be revoked as superseded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supersession {
    /// The old certificate.
    pub old: Serial,
    /// The one that took its place.
    pub successor: Serial,
    /// When the old one is revoked at the latest.
    pub due_at: Timestamp,
    /// Whether it is revoked as soon as the successor is seen in use.
    pub when_seen: bool,
}

/// Revokes a certificate inside a running transaction.
pub(crate) async fn revoke(session: &mut Session<'_>, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
    session.lock_certificate(&revocation.serial).await?;
    let serial = Value::Blob(revocation.serial.as_bytes());
    let inserted = session
        .execute(
            "INSERT INTO revocations (serial, revoked_at, reason_code, reason, revoked_by, expires_at) \
             VALUES ($1, $2, $3, $4, $5, COALESCE($6, (SELECT not_after FROM certificates WHERE serial = $1))) \
             ON CONFLICT (serial) DO NOTHING",
            &[
                serial,
                micros(revocation.revoked_at),
                Value::Int(i64::from(revocation.reason.code())),
                Value::Text(&revocation.text),
                Value::Text(&revocation.by),
                Value::MaybeInt(revocation.expires_at.map(Timestamp::as_microsecond)),
            ],
        )
        .await?;
    session.execute("DELETE FROM supersessions WHERE old_serial = $1", &[serial]).await?;
    Ok(if inserted == 1 { RevokeOutcome::Revoked } else { RevokeOutcome::AlreadyRevoked })
}

/// Revokes a certificate because another took its place.
pub(crate) async fn supersede(
    session: &mut Session<'_>,
    old: &Serial,
    successor: &Serial,
    now: Timestamp,
) -> Result<(), StoreError> {
    let revocation = Revocation {
        serial: *old,
        revoked_at: now,
        reason: ReasonCode::Superseded,
        text: format!("superseded by {successor}"),
        by: "rekey".to_owned(),
        expires_at: None,
    };
    revoke(session, &revocation).await.map(|_| ())
}

/// Why a certificate was revoked, if it was.
pub(crate) async fn reason_of(session: &mut Session<'_>, serial: &Serial) -> Result<Option<ReasonCode>, StoreError> {
    let row =
        session.row("SELECT reason_code FROM revocations WHERE serial = $1", &[Value::Blob(serial.as_bytes())]).await?;
    row.map(|row| reason(row.int(0)?)).transpose()
}

/// Notes the first use of a certificate that took another's place, and revokes that other one if it waited for this.
///
/// Answers whether anything was written.
pub(crate) async fn see(session: &mut Session<'_>, serial: &Serial, now: Timestamp) -> Result<bool, StoreError> {
    let value = Value::Blob(serial.as_bytes());
    let row = session
        .row("SELECT predecessor FROM certificates WHERE serial = $1 AND first_seen_at IS NULL", &[value])
        .await?;
    let Some(predecessor) = row.map(|row| row.maybe_serial(0)).transpose()?.flatten() else {
        return Ok(false);
    };
    session.lock_certificate(&predecessor).await?;
    session.lock_certificate(serial).await?;
    // A revoked successor is refused wherever it is shown; that is no use of it.
    let seen = session
        .execute(
            "UPDATE certificates SET first_seen_at = $2 WHERE serial = $1 AND first_seen_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM revocations WHERE serial = $1)",
            &[value, micros(now)],
        )
        .await?;
    if seen == 0 {
        return Ok(false);
    }
    let waiting = session
        .row(
            "SELECT 1 FROM supersessions WHERE old_serial = $1 AND successor = $2 AND when_seen = 1",
            &[Value::Blob(predecessor.as_bytes()), value],
        )
        .await?;
    if waiting.is_some() {
        supersede(session, &predecessor, serial, now).await?;
    }
    Ok(true)
}

/// Revokes certificates; answers one outcome each. Used for one revocation and for taking over another CA's.
pub(crate) struct Revoke(pub(crate) Vec<Revocation>);

impl Operation for Revoke {
    type Answer = Vec<RevokeOutcome>;

    fn doing(&self) -> &'static str {
        "revoking"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for revocation in &self.0 {
            outcomes.push(revoke(session, revocation).await?);
        }
        Ok(outcomes)
    }
}

/// Revokes a certificate by the authority of a one-time token.
pub(crate) struct RevokeWithToken {
    pub(crate) revocation: Revocation,
    pub(crate) token: TokenUse,
}

impl Operation for RevokeWithToken {
    type Answer = Option<RevokeOutcome>;

    fn doing(&self) -> &'static str {
        "revoking"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        match token::consume(session, &self.token).await? {
            TokenOutcome::AlreadyUsed => Ok(None),
            TokenOutcome::Consumed => revoke(session, &self.revocation).await.map(Some),
        }
    }
}

/// Whether [`see`] would write something: asked first, since nearly every certificate was seen before.
pub(crate) struct IsUnseen(pub(crate) Serial);

impl Operation for IsUnseen {
    type Answer = bool;

    fn doing(&self) -> &'static str {
        "looking whether a certificate was seen before"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        let row = session
            .row(
                "SELECT 1 FROM certificates WHERE serial = $1 AND first_seen_at IS NULL AND predecessor IS NOT NULL",
                &[Value::Blob(self.0.as_bytes())],
            )
            .await?;
        Ok(row.is_some())
    }
}

/// [`see`] as an operation of its own.
pub(crate) struct See {
    pub(crate) serial: Serial,
    pub(crate) now: Timestamp,
}

impl Operation for See {
    type Answer = bool;

    fn doing(&self) -> &'static str {
        "noting that a certificate is in use"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        see(session, &self.serial, self.now).await
    }
}

/// Which revocations to read.
pub(crate) enum Revocations {
    /// That of this certificate.
    Of(Serial),
    /// Those that belong on a CRL made now, by serial number.
    ///
    /// RFC 5280 keeps an entry until it has been on one CRL that was issued after the certificate's end.
    ForCrl { now: Timestamp },
}

impl Operation for Revocations {
    type Answer = Vec<Revocation>;

    fn doing(&self) -> &'static str {
        "reading revocations"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let rows = match self {
            Self::Of(serial) => {
                session
                    .rows(
                        "SELECT serial, revoked_at, reason_code, reason, revoked_by, expires_at \
                         FROM revocations WHERE serial = $1",
                        &[Value::Blob(serial.as_bytes())],
                    )
                    .await?
            }
            Self::ForCrl { now } => {
                session
                    .rows(
                        "SELECT serial, revoked_at, reason_code, reason, revoked_by, expires_at FROM revocations \
                         WHERE expires_at IS NULL OR expires_at >= COALESCE( \
                         (SELECT this_update FROM crls WHERE der IS NOT NULL ORDER BY number DESC LIMIT 1), $1) \
                         OR expires_at >= $1 ORDER BY serial",
                        &[micros(*now)],
                    )
                    .await?
            }
        };
        rows.iter().map(stored).collect()
    }
}

/// Reads the supersessions that are due.
pub(crate) struct Due {
    pub(crate) now: Timestamp,
}

/// A successor that was never issued retires nobody: the join with `der IS NOT NULL` sees to that.
const DUE: &str = "SELECT s.old_serial, s.successor, s.due_at, s.when_seen FROM supersessions s \
                   JOIN certificates c ON c.serial = s.successor AND c.der IS NOT NULL \
                   WHERE s.due_at <= $1 ORDER BY s.due_at, s.old_serial LIMIT 500";

impl Operation for Due {
    type Answer = Vec<Supersession>;

    fn doing(&self) -> &'static str {
        "reading due supersessions"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let rows = session.rows(DUE, &[micros(self.now)]).await?;
        rows.iter()
            .map(|row| {
                Ok(Supersession {
                    old: row.serial(0)?,
                    successor: row.serial(1)?,
                    due_at: row.time(2)?,
                    when_seen: row.int(3)? != 0,
                })
            })
            .collect()
    }
}

/// Revokes what is due, at most 500 at a time; answers which certificates.
pub(crate) struct ApplyDue {
    pub(crate) now: Timestamp,
}

impl Operation for ApplyDue {
    type Answer = Vec<Serial>;

    fn doing(&self) -> &'static str {
        "revoking superseded certificates"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let mut revoked = Vec::new();
        for due in (Due { now: self.now }).run(session).await? {
            session.lock_certificate(&due.old).await?;
            // Another node may have been faster, or a new rekey may have put the date off.
            let still_due = session
                .row(
                    "SELECT 1 FROM supersessions WHERE old_serial = $1 AND successor = $2 AND due_at <= $3",
                    &[Value::Blob(due.old.as_bytes()), Value::Blob(due.successor.as_bytes()), micros(self.now)],
                )
                .await?;
            if still_due.is_some() {
                supersede(session, &due.old, &due.successor, self.now).await?;
                revoked.push(due.old);
            }
        }
        Ok(revoked)
    }
}

fn stored(row: &Row) -> Result<Revocation, StoreError> {
    Ok(Revocation {
        serial: row.serial(0)?,
        revoked_at: row.time(1)?,
        reason: reason(row.int(2)?)?,
        text: row.text(3)?,
        by: row.text(4)?,
        expires_at: row.maybe_time(5)?,
    })
}

fn reason(code: i64) -> Result<ReasonCode, StoreError> {
    ReasonCode::from_code(code).map_err(|_| StoreError::Value { what: "a revocation reason" })
}
