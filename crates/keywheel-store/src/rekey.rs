//! Recording that a certificate takes another's place: core decides, on facts read in the same transaction.

use jiff::Timestamp;
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::provisioner::AfterRekey;
use keywheel_core::rekey::{
    Due, EarlierAnswer, OldCertificate as OldFacts, RekeyDecision, RekeyFacts, RekeyRefusal, RenewFacts,
    RenewalDecision, Successor, asked_again_within, decide, decide_renewal,
};
use keywheel_core::serial::Serial;
use keywheel_core::validity::Validity;

use crate::certificate::{self, NewCertificate, StoredCertificate};
use crate::error::StoreError;
use crate::issue::serial_is_known;
use crate::operation::Operation;
use crate::revocation::{reason_of, see, supersede};
use crate::session::{Session, Value, micros};
use crate::token::{self, TokenOutcome, TokenUse};

/// The certificate that is to be replaced, as it was shown. The store need not know it: it may be another CA's work
/// from before a take-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// The digest of its key.
    pub key: KeyDigest,
    /// Its validity.
    pub validity: Validity,
}

/// A wish to replace a certificate by one with a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RekeyRequest {
    /// The certificate that is to be replaced.
    pub old: OldCertificate,
    /// What will be signed if the answer is [`RekeyOutcome::Recorded`].
    pub new: NewCertificate,
    /// The one-time token that authorised it, if that is how it was authorised.
    pub token: Option<TokenUse>,
    /// Whether the provisioner's claims turn rekeying off.
    pub renewal_disabled: bool,
    /// Whether the provisioner's claims let an expired certificate be replaced.
    pub allow_after_expiry: bool,
    /// What becomes of the old certificate.
    pub after: AfterRekey,
    /// The moment of the decision.
    pub now: Timestamp,
}

/// What became of a [`RekeyRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RekeyOutcome {
    /// The intent is durable: sign exactly these bytes, then call `complete`.
    Recorded,
    /// The same was asked before: this is the answer again. If it is still only intended, sign exactly those bytes, then
    /// call `complete` and hand out what that answers.
    Replay(Box<StoredCertificate>),
    /// No; nothing was recorded but the use of the token.
    Refused(RekeyRefusal),
    /// The token was used before; nothing was recorded.
    TokenUsed,
    /// The serial number is taken; nothing was recorded and the token is still good: draw another number.
    SerialTaken,
}

/// A wish to replace a certificate by one with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalRequest {
    /// The certificate that is to be replaced.
    pub old: OldCertificate,
    /// What will be signed if the answer is [`RenewalOutcome::Recorded`].
    pub new: NewCertificate,
    /// The one-time token that authorised it, if that is how it was authorised.
    pub token: Option<TokenUse>,
    /// Whether the provisioner's claims turn renewal off.
    pub renewal_disabled: bool,
    /// Whether the provisioner's claims let an expired certificate be renewed.
    pub allow_after_expiry: bool,
    /// What becomes of an old certificate after a rekey.
    pub after: AfterRekey,
    /// Whether what was asked just now may be answered with what was answered then.
    pub replay: bool,
    /// The moment of the decision.
    pub now: Timestamp,
}

/// What became of a [`RenewalRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalOutcome {
    /// The intent is durable: sign exactly these bytes, then call `complete`.
    Recorded,
    /// The same was asked just now: this is the answer again. If it is still only intended, sign exactly those bytes, then
    /// call `complete` and hand out what that answers.
    Replay(Box<StoredCertificate>),
    /// No; nothing was recorded but the use of the token.
    Refused(RekeyRefusal),
    /// The token was used before; nothing was recorded.
    TokenUsed,
    /// The serial number is taken; nothing was recorded and the token is still good: draw another number.
    SerialTaken,
}

impl Operation for RekeyRequest {
    type Answer = RekeyOutcome;

    fn doing(&self) -> &'static str {
        "recording a rekey"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<RekeyOutcome, StoreError> {
        session.lock_key(&self.new.key).await?;
        if serial_is_known(session, &self.new.serial).await? {
            return Ok(RekeyOutcome::SerialTaken);
        }
        if let Some(token) = &self.token
            && token::consume(session, token).await? == TokenOutcome::AlreadyUsed
        {
            return Ok(RekeyOutcome::TokenUsed);
        }
        let lineage = take_hold(session, &self.old.serial, self.now).await?;
        match decide(&self.facts(session).await?) {
            RekeyDecision::Refuse(refusal) => Ok(RekeyOutcome::Refused(refusal)),
            RekeyDecision::Replay { serial } => certificate::load(session, &serial)
                .await?
                .map(|stored| RekeyOutcome::Replay(Box::new(stored)))
                .ok_or(StoreError::Value { what: "a rekey without its certificate" }),
            RekeyDecision::Issue { revoke_unseen_successor, old_revocation } => {
                self.record(session, &lineage, revoke_unseen_successor, old_revocation).await?;
                Ok(RekeyOutcome::Recorded)
            }
        }
    }
}

impl RekeyRequest {
    async fn facts(&self, session: &mut Session<'_>) -> Result<RekeyFacts, StoreError> {
        let same_request = self.earlier_answer(session).await?;
        let certified_before = session
            .row(
                "SELECT EXISTS (SELECT 1 FROM certificates WHERE key_digest = $1 AND serial <> $2)",
                &[
                    Value::Blob(self.new.key.as_bytes()),
                    // No certificate has an empty serial number.
                    Value::Blob(same_request.as_ref().map_or(&[], |earlier| earlier.serial.as_bytes())),
                ],
            )
            .await?
            .map_or(Ok(false), |row| row.flag(0))?;
        Ok(RekeyFacts {
            now: self.now,
            old: old_facts(session, &self.old).await?,
            same_request,
            new_key_certified_before: certified_before,
            new_key_is_old_key: self.new.key == self.old.key,
            renewal_disabled: self.renewal_disabled,
            allow_after_expiry: self.allow_after_expiry,
            after: self.after,
        })
    }

    async fn earlier_answer(&self, session: &mut Session<'_>) -> Result<Option<EarlierAnswer>, StoreError> {
        let row = session
            .row(
                "SELECT k.new_serial, c.not_after, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = k.new_serial) \
                 FROM rekeys k JOIN certificates c ON c.serial = k.new_serial \
                 WHERE k.old_serial = $1 AND k.new_key = $2",
                &[Value::Blob(self.old.serial.as_bytes()), Value::Blob(self.new.key.as_bytes())],
            )
            .await?;
        row.map(|row| Ok(EarlierAnswer { serial: row.serial(0)?, not_after: row.time(1)?, revoked: row.flag(2)? }))
            .transpose()
    }

    async fn record(
        &self,
        session: &mut Session<'_>,
        lineage: &Serial,
        revoke_unseen_successor: Option<Serial>,
        old_revocation: Option<Due>,
    ) -> Result<(), StoreError> {
        let (old, new) = (Value::Blob(self.old.serial.as_bytes()), Value::Blob(self.new.serial.as_bytes()));
        certificate::insert(session, &self.new, Some(&self.old.serial), lineage, self.now, self.doing()).await?;
        session
            .execute(
                "INSERT INTO rekeys (old_serial, new_key, new_serial, recorded_at) VALUES ($1, $2, $3, $4)",
                &[old, Value::Blob(self.new.key.as_bytes()), new, micros(self.now)],
            )
            .await?;
        if let Some(unseen) = revoke_unseen_successor {
            supersede(session, &unseen, &self.new.serial, self.now).await?;
            session
                .execute("DELETE FROM supersessions WHERE successor = $1", &[Value::Blob(unseen.as_bytes())])
                .await?;
        }
        if let Some(due) = old_revocation
            && reason_of(session, &self.old.serial).await?.is_none()
        {
            session
                .execute(
                    "INSERT INTO supersessions (old_serial, successor, due_at, when_seen) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (old_serial) DO UPDATE \
                     SET successor = excluded.successor, due_at = excluded.due_at, when_seen = excluded.when_seen",
                    &[old, new, micros(due.at), Value::Int(i64::from(due.when_successor_seen))],
                )
                .await?;
        }
        Ok(())
    }
}

impl Operation for RenewalRequest {
    type Answer = RenewalOutcome;

    fn doing(&self) -> &'static str {
        "recording a renewal"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<RenewalOutcome, StoreError> {
        session.lock_key(&self.new.key).await?;
        if serial_is_known(session, &self.new.serial).await? {
            return Ok(RenewalOutcome::SerialTaken);
        }
        if let Some(token) = &self.token
            && token::consume(session, token).await? == TokenOutcome::AlreadyUsed
        {
            return Ok(RenewalOutcome::TokenUsed);
        }
        let lineage = take_hold(session, &self.old.serial, self.now).await?;
        let facts = RenewFacts {
            now: self.now,
            old: old_facts(session, &self.old).await?,
            just_now: if self.replay { self.just_now(session).await? } else { None },
            renewal_disabled: self.renewal_disabled,
            allow_after_expiry: self.allow_after_expiry,
            after: self.after,
        };
        match decide_renewal(&facts) {
            Ok(RenewalDecision::Issue) => {}
            Ok(RenewalDecision::Replay { serial }) => {
                return certificate::load(session, &serial)
                    .await?
                    .map(|stored| RenewalOutcome::Replay(Box::new(stored)))
                    .ok_or(StoreError::Value { what: "a renewal without its certificate" });
            }
            Err(refusal) => return Ok(RenewalOutcome::Refused(refusal)),
        }
        certificate::insert(session, &self.new, Some(&self.old.serial), &lineage, self.now, self.doing()).await?;
        Ok(RenewalOutcome::Recorded)
    }
}

impl RenewalRequest {
    async fn just_now(&self, session: &mut Session<'_>) -> Result<Option<EarlierAnswer>, StoreError> {
        let since = self.now.saturating_sub(asked_again_within(self.old.validity)).unwrap_or(Timestamp::MIN);
        let row = session
            .row(
                "SELECT c.serial, c.not_after, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial) \
                 FROM certificates c WHERE c.key_digest = $1 AND c.predecessor = $2 AND c.recorded_at >= $3 \
                 ORDER BY c.recorded_at DESC, c.serial LIMIT 1",
                &[Value::Blob(self.old.key.as_bytes()), Value::Blob(self.old.serial.as_bytes()), micros(since)],
            )
            .await?;
        row.map(|row| Ok(EarlierAnswer { serial: row.serial(0)?, not_after: row.time(1)?, revoked: row.flag(2)? }))
            .transpose()
    }
}

/// Locks the old certificate, notes that it is in use (which it is: it asks), and answers the first of its line.
async fn take_hold(session: &mut Session<'_>, old: &Serial, now: Timestamp) -> Result<Serial, StoreError> {
    see(session, old, now).await?;
    session.lock_certificate(old).await?;
    let row = session.row("SELECT lineage FROM certificates WHERE serial = $1", &[Value::Blob(old.as_bytes())]).await?;
    // One that another CA recorded begins its line here.
    row.map_or(Ok(*old), |row| row.serial(0))
}

async fn old_facts(session: &mut Session<'_>, old: &OldCertificate) -> Result<OldFacts, StoreError> {
    let row = session
        .row(
            "SELECT c.serial, c.key_digest, c.first_seen_at FROM rekeys k JOIN certificates c ON c.serial = k.new_serial \
             WHERE k.old_serial = $1 AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial) \
             ORDER BY k.recorded_at DESC, k.new_serial LIMIT 1",
            &[Value::Blob(old.serial.as_bytes())],
        )
        .await?;
    let successor = row
        .map(|row| {
            Ok::<_, StoreError>(Successor {
                serial: row.serial(0)?,
                key: row.key(1)?,
                seen: row.maybe_int(2)?.is_some(),
            })
        })
        .transpose()?;
    Ok(OldFacts { validity: old.validity, revoked: reason_of(session, &old.serial).await?, successor })
}
