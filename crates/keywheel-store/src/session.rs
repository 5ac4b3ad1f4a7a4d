//! One open transaction or connection of either database, so that every statement is written once.

use jiff::Timestamp;
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::serial::Serial;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, Row as _, SqlSafeStr};

use crate::error::StoreError;

/// Where statements are run.
pub(crate) enum Session<'c> {
    /// A connection to an SQLite file.
    Sqlite(&'c mut SqliteConnection),
    /// A connection to a PostgreSQL server.
    Postgres(&'c mut PgConnection),
}

/// A value for a placeholder. Absent ones are typed too: PostgreSQL asks for it.
#[derive(Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(&'v str),
    MaybeText(Option<&'v str>),
    Blob(&'v [u8]),
    MaybeBlob(Option<&'v [u8]>),
}

/// One row of an answer; columns are counted from 0.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A moment as it is stored.
pub(crate) fn micros(time: Timestamp) -> Value<'static> {
    Value::Int(time.as_microsecond())
}

/// PostgreSQL stores no zero character; names from outside may hold one.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match *value {
                Value::Int(value) => query.bind(value),
                Value::MaybeInt(value) => query.bind(value),
                Value::Text(value) => query.bind(storable(value)),
                Value::MaybeText(value) => query.bind(value.map(storable)),
                Value::Blob(value) => query.bind(value),
                Value::MaybeBlob(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Session<'_> {
    /// Runs a statement; answers how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                bound!(sql, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Self::Postgres(connection) => {
                bound!(sql, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
        }
        .map_err(|error| StoreError::from_driver("writing", error))
    }

    /// Runs a query; answers all its rows.
    pub(crate) async fn rows(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(connection) => bound!(sql, values)
                .fetch_all(&mut **connection)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(connection) => bound!(sql, values)
                .fetch_all(&mut **connection)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        }
        .map_err(|error| StoreError::from_driver("reading", error))
    }

    /// Runs a query that has at most one row.
    pub(crate) async fn row(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs statements without placeholders and without preparing them: transactions, pragmas, migrations.
    pub(crate) async fn raw(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => connection.execute(sqlx::raw_sql(sql)).await.map(|_| ()),
            Self::Postgres(connection) => connection.execute(sqlx::raw_sql(sql)).await.map(|_| ()),
        }
        .map_err(|error| StoreError::from_driver("writing", error))
    }

    /// Keeps other nodes from changing what is known about this certificate until the end of the transaction, whether
    /// this store has it or not.
    ///
    /// Where several are locked, the older of a line comes first. SQLite has one writer at a time and needs no lock.
    pub(crate) async fn lock_certificate(&mut self, serial: &Serial) -> Result<(), StoreError> {
        // Where two numbers end alike, one waits for the other without need; that does no harm.
        let mut end = [0; 8];
        for (to, from) in end.iter_mut().rev().zip(serial.as_bytes().iter().rev()) {
            *to = *from;
        }
        self.lock(i64::from_be_bytes(end)).await
    }

    /// Keeps other nodes from certifying this key until the end of the transaction. Comes before any certificate's lock.
    pub(crate) async fn lock_key(&mut self, key: &KeyDigest) -> Result<(), StoreError> {
        let mut start = [0; 8];
        start.copy_from_slice(&key.as_bytes()[..8]);
        self.lock(i64::from_be_bytes(start)).await
    }

    async fn lock(&mut self, number: i64) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.rows("SELECT pg_advisory_xact_lock($1)", &[Value::Int(number)]).await?;
        }
        Ok(())
    }
}

macro_rules! column {
    ($row:expr, $kind:ty, $index:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get::<$kind, _>($index),
            Row::Postgres(row) => row.try_get::<$kind, _>($index),
        }
        .map_err(|error| StoreError::from_driver("reading", error))
    };
}

impl Row {
    pub(crate) fn int(&self, index: usize) -> Result<i64, StoreError> {
        column!(self, i64, index)
    }

    pub(crate) fn maybe_int(&self, index: usize) -> Result<Option<i64>, StoreError> {
        column!(self, Option<i64>, index)
    }

    pub(crate) fn text(&self, index: usize) -> Result<String, StoreError> {
        column!(self, String, index)
    }

    pub(crate) fn maybe_text(&self, index: usize) -> Result<Option<String>, StoreError> {
        column!(self, Option<String>, index)
    }

    pub(crate) fn blob(&self, index: usize) -> Result<Vec<u8>, StoreError> {
        column!(self, Vec<u8>, index)
    }

    pub(crate) fn maybe_blob(&self, index: usize) -> Result<Option<Vec<u8>>, StoreError> {
        column!(self, Option<Vec<u8>>, index)
    }

    /// The result of a condition: a truth value on PostgreSQL, a number on SQLite.
    pub(crate) fn flag(&self, index: usize) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get::<i64, _>(index).map(|value| value != 0),
            Self::Postgres(row) => row.try_get::<bool, _>(index),
        }
        .map_err(|error| StoreError::from_driver("reading", error))
    }

    pub(crate) fn time(&self, index: usize) -> Result<Timestamp, StoreError> {
        timestamp(self.int(index)?)
    }

    pub(crate) fn maybe_time(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        self.maybe_int(index)?.map(timestamp).transpose()
    }

    pub(crate) fn serial(&self, index: usize) -> Result<Serial, StoreError> {
        serial(&self.blob(index)?)
    }

    pub(crate) fn maybe_serial(&self, index: usize) -> Result<Option<Serial>, StoreError> {
        self.maybe_blob(index)?.as_deref().map(serial).transpose()
    }

    pub(crate) fn key(&self, index: usize) -> Result<KeyDigest, StoreError> {
        let bytes: [u8; 32] =
            self.blob(index)?.try_into().map_err(|_| StoreError::Value { what: "the digest of a key" })?;
        Ok(KeyDigest(bytes))
    }
}

fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Value { what: "a time" })
}

fn serial(bytes: &[u8]) -> Result<Serial, StoreError> {
    Serial::from_bytes(bytes).map_err(|_| StoreError::Value { what: "a serial number" })
}
