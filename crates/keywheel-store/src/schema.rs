//! The schema's versions, carried in the program as text.

use crate::error::StoreError;
use crate::session::{Session, Value};

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Never changed once released; a new version is a new entry.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "certificates",
        sqlite: include_str!("../migrations/sqlite/0001_certificates.sql"),
        postgres: include_str!("../migrations/postgres/0001_certificates.sql"),
    },
    Migration {
        version: 2,
        name: "requests",
        sqlite: include_str!("../migrations/sqlite/0002_requests.sql"),
        postgres: include_str!("../migrations/postgres/0002_requests.sql"),
    },
    Migration {
        version: 3,
        name: "rekeys in one tree",
        sqlite: include_str!("../migrations/sqlite/0003_rekeys_in_one_tree.sql"),
        postgres: include_str!("../migrations/postgres/0003_rekeys_in_one_tree.sql"),
    },
];

/// The newest version that this program knows.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The version of a database; 0 for one without our tables.
pub(crate) async fn version(session: &mut Session<'_>) -> Result<i64, StoreError> {
    let exists = match session {
        Session::Sqlite(_) => {
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'keywheel_schema')"
        }
        Session::Postgres(_) => "SELECT to_regclass('keywheel_schema') IS NOT NULL",
    };
    if !session.row(exists, &[]).await?.map_or(Ok(false), |row| row.flag(0))? {
        return Ok(0);
    }
    let row = session.row("SELECT COALESCE(MAX(version), 0) FROM keywheel_schema", &[]).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Refuses a database that this program must not touch.
pub(crate) async fn require_current(session: &mut Session<'_>) -> Result<i64, StoreError> {
    match version(session).await? {
        found if found > KNOWN => Err(StoreError::SchemaNewer { found, known: KNOWN }),
        found if found < KNOWN => Err(StoreError::SchemaOlder { found, known: KNOWN }),
        found => Ok(found),
    }
}

/// Brings a database to the newest version, in one transaction; answers the version found.
pub(crate) async fn migrate(session: &mut Session<'_>) -> Result<i64, StoreError> {
    // Two processes may start on one database at once; the second one waits and then finds nothing to do.
    match session {
        Session::Sqlite(_) => session.raw("BEGIN IMMEDIATE").await?,
        // The number means nothing but this lock.
        Session::Postgres(_) => session.raw("BEGIN; SELECT pg_advisory_xact_lock(7089346117)").await?,
    }
    let outcome = match apply(session).await {
        Ok(found) => session.raw("COMMIT").await.map(|()| found),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // What failed is reported; that the connection is also gone adds nothing.
        session.raw("ROLLBACK").await.ok();
    }
    outcome
}

async fn apply(session: &mut Session<'_>) -> Result<i64, StoreError> {
    let found = version(session).await?;
    if found > KNOWN {
        return Err(StoreError::SchemaNewer { found, known: KNOWN });
    }
    if found == 0 {
        session
            .raw("CREATE TABLE IF NOT EXISTS keywheel_schema (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
            .await?;
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        let sql = match session {
            Session::Sqlite(_) => migration.sqlite,
            Session::Postgres(_) => migration.postgres,
        };
        session.raw(sql).await?;
        session
            .execute(
                "INSERT INTO keywheel_schema (version, name) VALUES ($1, $2)",
                &[Value::Int(migration.version), Value::Text(migration.name)],
            )
            .await?;
    }
    Ok(found)
}
