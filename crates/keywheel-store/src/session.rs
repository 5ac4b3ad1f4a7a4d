//! One open transaction or connection of either database, so that every statement is written once.

use jiff::Timestamp;
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::serial::Serial;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Connection, Statement};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row as _, SqlSafeStr};

use crate::error::StoreError;

/// Where statements are run.
pub(crate) enum Session<'c> {
    /// A connection to an SQLite file. Nothing here ever waits for anything but the disk: see [`crate::sqlite::run_through`].
    Sqlite(&'c mut Connection),
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
    Sqlite(Vec<Stored>),
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

/// A statement of PostgreSQL with its values.
fn with_values<'q>(
    sql: impl SqlSafeStr,
    values: &'q [Value<'_>],
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::MaybeInt(value) => query.bind(value),
        Value::Text(value) => query.bind(storable(value)),
        Value::MaybeText(value) => query.bind(value.map(storable)),
        Value::Blob(value) => query.bind(value),
        Value::MaybeBlob(value) => query.bind(value),
    })
}

/// Gives a statement of SQLite its values: `$3` is the third of them, wherever it stands.
fn bind(statement: &mut Statement<'_>, values: &[Value<'_>]) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let named = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let value = values
            .get(named.unwrap_or(index) - 1)
            .ok_or(rusqlite::Error::InvalidParameterCount(index, values.len()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = |text: &str| ToSqlOutput::Owned(Stored::Text(storable(text)));
        let null = ToSqlOutput::Owned(Stored::Null);
        Ok(match *self {
            Value::Int(value) | Value::MaybeInt(Some(value)) => ToSqlOutput::Owned(Stored::Integer(value)),
            Value::Text(value) | Value::MaybeText(Some(value)) => text(value),
            Value::Blob(value) | Value::MaybeBlob(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Value::MaybeInt(None) | Value::MaybeText(None) | Value::MaybeBlob(None) => null,
        })
    }
}

/// Runs a statement of SQLite; answers how many rows it changed.
fn execute(connection: &Connection, sql: &str, values: &[Value<'_>]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    statement.raw_execute().map(|changed| changed as u64)
}

/// Runs a query of SQLite; answers all its rows.
fn rows(connection: &Connection, sql: &str, values: &[Value<'_>]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    let columns = statement.column_count();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values: rusqlite::Result<Vec<Stored>> = (0..columns).map(|index| row.get(index)).collect();
        found.push(Row::Sqlite(values?));
    }
    Ok(found)
}

impl Session<'_> {
    /// Runs a statement; answers how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => execute(connection, sql.into_sql_str().as_str(), values)
                .map_err(|error| StoreError::from_sqlite("writing", error)),
            Self::Postgres(connection) => with_values(sql, values)
                .execute(&mut **connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(|error| StoreError::from_driver("writing", error)),
        }
    }

    /// Runs a query; answers all its rows.
    pub(crate) async fn rows(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(connection) => rows(connection, sql.into_sql_str().as_str(), values)
                .map_err(|error| StoreError::from_sqlite("reading", error)),
            Self::Postgres(connection) => with_values(sql, values)
                .fetch_all(&mut **connection)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect())
                .map_err(|error| StoreError::from_driver("reading", error)),
        }
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
            Self::Sqlite(connection) => {
                connection.execute_batch(sql).map_err(|error| StoreError::from_sqlite("writing", error))
            }
            Self::Postgres(connection) => connection
                .execute(sqlx::raw_sql(sql))
                .await
                .map(|_| ())
                .map_err(|error| StoreError::from_driver("writing", error)),
        }
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

impl Row {
    pub(crate) fn int(&self, index: usize) -> Result<i64, StoreError> {
        self.maybe_int(index)?.ok_or(ABSENT)
    }

    pub(crate) fn maybe_int(&self, index: usize) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(columns) => match columns.get(index) {
                Some(Stored::Integer(value)) => Ok(Some(*value)),
                column => absent(column),
            },
            Self::Postgres(row) => postgres(row, index),
        }
    }

    pub(crate) fn text(&self, index: usize) -> Result<String, StoreError> {
        self.maybe_text(index)?.ok_or(ABSENT)
    }

    pub(crate) fn maybe_text(&self, index: usize) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(columns) => match columns.get(index) {
                Some(Stored::Text(value)) => Ok(Some(value.clone())),
                column => absent(column),
            },
            Self::Postgres(row) => postgres(row, index),
        }
    }

    pub(crate) fn blob(&self, index: usize) -> Result<Vec<u8>, StoreError> {
        self.maybe_blob(index)?.ok_or(ABSENT)
    }

    pub(crate) fn maybe_blob(&self, index: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Sqlite(columns) => match columns.get(index) {
                Some(Stored::Blob(value)) => Ok(Some(value.clone())),
                column => absent(column),
            },
            Self::Postgres(row) => postgres(row, index),
        }
    }

    /// The result of a condition: a truth value on PostgreSQL, a number on SQLite.
    pub(crate) fn flag(&self, index: usize) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => self.int(index).map(|value| value != 0),
            Self::Postgres(row) => postgres::<bool>(row, index)?.ok_or(ABSENT),
        }
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

/// A value is missing where the schema wants one.
const ABSENT: StoreError = StoreError::Value { what: "a column without a value" };

/// Nothing, where nothing is stored; any other kind of value is not ours.
fn absent<T>(column: Option<&Stored>) -> Result<Option<T>, StoreError> {
    match column {
        Some(Stored::Null) => Ok(None),
        _ => Err(StoreError::Value { what: "a column of another type" }),
    }
}

fn postgres<'r, T>(row: &'r PgRow, index: usize) -> Result<Option<T>, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(|error| StoreError::from_driver("reading", error))
}

fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Value { what: "a time" })
}

fn serial(bytes: &[u8]) -> Result<Serial, StoreError> {
    Serial::from_bytes(bytes).map_err(|_| StoreError::Value { what: "a serial number" })
}
