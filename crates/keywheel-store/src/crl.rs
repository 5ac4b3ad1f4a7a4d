//! Revocation lists: their numbers, what was to be signed, and the newest one.

use jiff::Timestamp;

use crate::error::StoreError;
use crate::issue::signed_part;
use crate::operation::Operation;
use crate::session::{Session, Value, micros};

/// What is written down before a CRL is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCrl {
    /// Its number, from `reserve_crl_number`.
    pub number: u64,
    /// The DER of the TBSCertList: exactly what will be signed.
    pub tbs: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due at the latest.
    pub next_update: Timestamp,
}

/// A signed CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCrl {
    /// Its number.
    pub number: u64,
    /// The whole CRL in DER.
    pub der: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due at the latest.
    pub next_update: Timestamp,
}

/// Draws the next number.
///
/// It is at least the time in seconds, so that it grows even when a backup was restored that knows less.
pub(crate) struct ReserveNumber {
    pub(crate) now: Timestamp,
}

impl Operation for ReserveNumber {
    type Answer = u64;

    fn doing(&self) -> &'static str {
        "drawing the number of a CRL"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<u64, StoreError> {
        let seconds = self.now.as_second();
        let row = session
            .row(
                "UPDATE counters SET value = CASE WHEN value >= $1 THEN value + 1 ELSE $1 END \
                 WHERE name = 'crl' RETURNING value",
                &[Value::Int(seconds)],
            )
            .await?
            .ok_or(StoreError::Value { what: "the counter of CRLs is missing" })?;
        number(row.int(0)?)
    }
}

/// Writes down what will be signed.
pub(crate) struct Record(pub(crate) NewCrl);

impl Operation for Record {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "recording a CRL"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let new = &self.0;
        let inserted = session
            .execute(
                "INSERT INTO crls (number, tbs, this_update, next_update) \
                 SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM counters WHERE name = 'crl' AND value >= $1) \
                 ON CONFLICT (number) DO NOTHING",
                &[
                    Value::Int(stored_number(new.number)?),
                    Value::Blob(&new.tbs),
                    micros(new.this_update),
                    micros(new.next_update),
                ],
            )
            .await?;
        if inserted == 1 { Ok(()) } else { Err(not_recorded(new.number)) }
    }
}

/// Stores the signed CRL in place of its intent, and forgets all but the newest few.
pub(crate) struct Complete {
    pub(crate) number: u64,
    pub(crate) der: Vec<u8>,
}

impl Operation for Complete {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "storing a signed CRL"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let tbs = signed_part(&self.der).ok_or_else(|| not_recorded(self.number))?;
        let number = Value::Int(stored_number(self.number)?);
        let stored = session
            .execute(
                "UPDATE crls SET der = $2, tbs = NULL WHERE number = $1 AND tbs = $3",
                &[number, Value::Blob(&self.der), Value::Blob(tbs)],
            )
            .await?;
        if stored == 0 {
            return Err(not_recorded(self.number));
        }
        session
            .execute(
                "DELETE FROM crls WHERE number < \
                 (SELECT MIN(number) FROM (SELECT number FROM crls ORDER BY number DESC LIMIT 8) AS newest)",
                &[],
            )
            .await?;
        Ok(())
    }
}

/// Reads the signed CRL with the highest number.
pub(crate) struct Current;

impl Operation for Current {
    type Answer = Option<StoredCrl>;

    fn doing(&self) -> &'static str {
        "reading the CRL"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let row = session
            .row(
                "SELECT number, der, this_update, next_update FROM crls \
                 WHERE der IS NOT NULL ORDER BY number DESC LIMIT 1",
                &[],
            )
            .await?;
        row.map(|row| {
            Ok(StoredCrl {
                number: number(row.int(0)?)?,
                der: row.blob(1)?,
                this_update: row.time(2)?,
                next_update: row.time(3)?,
            })
        })
        .transpose()
    }
}

/// Lets the next number be higher than this one: after taking over another CA's lists.
pub(crate) struct RaiseNumber(pub(crate) u64);

impl Operation for RaiseNumber {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "raising the number of CRLs"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .execute(
                "UPDATE counters SET value = $1 WHERE name = 'crl' AND value < $1",
                &[Value::Int(stored_number(self.0)?)],
            )
            .await?;
        Ok(())
    }
}

fn number(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(|_| StoreError::Value { what: "the number of a CRL" })
}

fn stored_number(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| not_recorded(number))
}

fn not_recorded(number: u64) -> StoreError {
    StoreError::NotRecorded { what: format!("CRL {number}") }
}
