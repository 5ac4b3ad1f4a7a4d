//! PostgreSQL: a pool of connections, each request in its own transaction, conflicts tried again.

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, PgPool, Postgres};

use crate::error::StoreError;
use crate::operation::Operation;
use crate::schema;
use crate::session::Session;
use crate::store::OpenMode;

const CONNECTIONS: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a transaction that lost against another one is run again.
const ATTEMPTS: u32 = 8;

/// An open PostgreSQL database.
pub(crate) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects; answers also the schema version that was found.
    pub(crate) async fn open(options: PgConnectOptions, mode: OpenMode) -> Result<(Self, i64), StoreError> {
        let options = options.application_name("keywheel").disable_statement_logging();
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            .connect_with(options)
            .await
            .map_err(|error| match error {
                // Nobody answering at the start is no sign of load.
                error @ sqlx::Error::PoolTimedOut => {
                    StoreError::Unavailable { doing: "connecting", source: std::sync::Arc::new(error) }
                }
                error => StoreError::from_driver("connecting", error),
            })?;
        let mut connection = pool.acquire().await.map_err(|error| StoreError::from_driver("connecting", error))?;
        let mut session = Session::Postgres(&mut connection);
        warn_of_lost_commits(&mut session).await?;
        let found = match mode {
            OpenMode::Create | OpenMode::Migrate => schema::migrate(&mut session).await?,
            OpenMode::Current => schema::require_current(&mut session).await?,
        };
        drop(connection);
        Ok((Self { pool }, found))
    }

    /// Runs an operation in a transaction; answers when that is committed.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let mut attempt = 1;
        loop {
            match self.attempt(&operation).await {
                Err(error) if attempt < ATTEMPTS && is_conflict(&error) => {
                    tracing::debug!(%error, attempt, "a transaction lost against another one and is run again");
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 5)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<O: Operation>(&self, operation: &O) -> Result<O::Answer, StoreError> {
        let failed = |error| StoreError::from_driver(operation.doing(), error);
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        // An error drops the transaction, which rolls it back.
        let answer = operation.run(&mut Session::Postgres(&mut transaction)).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(answer)
    }

    /// Runs an operation that only reads, of one statement.
    pub(crate) async fn read<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let mut connection =
            self.pool.acquire().await.map_err(|error| StoreError::from_driver(operation.doing(), error))?;
        operation.run(&mut Session::Postgres(&mut connection)).await
    }

    /// A connection of its own, for what takes long.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let failed = |error| StoreError::from_driver("connecting", error);
        let mut connection = self.pool.connect_options().connect().await.map_err(failed)?;
        connection.execute("SET lock_timeout = '10s'").await.map_err(failed)?;
        Ok(connection)
    }

    /// Lets what runs end, then closes the connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A request must not hang on a lock or a lost peer for ever, and a commit is durable when it is answered.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection
        .execute(
            "SET lock_timeout = '10s'; SET statement_timeout = '30s'; \
             SET idle_in_transaction_session_timeout = '30s'; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')",
        )
        .await?;
    Ok(())
}

/// What the server's owner has chosen cannot be changed from here.
async fn warn_of_lost_commits(session: &mut Session<'_>) -> Result<(), StoreError> {
    for setting in ["fsync", "full_page_writes"] {
        let row = session.row("SELECT current_setting($1)", &[crate::session::Value::Text(setting)]).await?;
        if row.map(|row| row.text(0)).transpose()?.as_deref() == Some("off") {
            tracing::warn!(setting, "the PostgreSQL server has it off: a power cut there can lose issued certificates");
        }
    }
    Ok(())
}

/// Whether the same transaction may well succeed if it is run again at once.
fn is_conflict(error: &StoreError) -> bool {
    match error {
        StoreError::Busy { source: None, .. } => true,
        StoreError::Busy { source: Some(source), .. } | StoreError::Broken { source, .. } => source
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error)
            .and_then(|database| database.code())
            // serialization failure, deadlock, unique violation: another node wrote the same row first
            .is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01" | "23505")),
        _ => false,
    }
}
