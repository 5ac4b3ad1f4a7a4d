//! Leases: of several nodes, one does a thing.

use jiff::{SignedDuration, Timestamp};

use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::{Session, Value, micros};

/// The right to do something until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Grows each time the lease changes hands: a holder with a lower number is late and must change nothing.
    pub fence: u64,
    /// Until when it holds.
    pub expires_at: Timestamp,
}

/// Takes a lease, or prolongs one's own.
pub(crate) struct Take {
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) now: Timestamp,
    pub(crate) time_to_live: SignedDuration,
}

impl Operation for Take {
    type Answer = Option<Lease>;

    fn doing(&self) -> &'static str {
        "taking a lease"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let expires_at = self.now.saturating_add(self.time_to_live).unwrap_or(Timestamp::MAX);
        let row = session
            .row(
                "INSERT INTO leases (name, holder, fence, expires_at) VALUES ($1, $2, 1, $3) \
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, \
                 fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END \
                 WHERE leases.holder = excluded.holder OR leases.expires_at <= $4 RETURNING fence",
                &[Value::Text(&self.name), Value::Text(&self.holder), micros(expires_at), micros(self.now)],
            )
            .await?;
        row.map(|row| {
            let fence = u64::try_from(row.int(0)?).map_err(|_| StoreError::Value { what: "the fence of a lease" })?;
            Ok(Lease { fence, expires_at })
        })
        .transpose()
    }
}

/// Gives one's own lease back before its time.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) holder: String,
}

impl Operation for Release {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "giving a lease back"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        // The row stays: its fence must go on growing.
        session
            .execute(
                "UPDATE leases SET expires_at = 0 WHERE name = $1 AND holder = $2",
                &[Value::Text(&self.name), Value::Text(&self.holder)],
            )
            .await?;
        Ok(())
    }
}
