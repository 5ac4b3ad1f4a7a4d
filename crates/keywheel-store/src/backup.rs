//! Backups: an SQLite file with the same schema, whichever database it was made from, restored into either.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use sqlx::AssertSqlSafe;

use crate::check::{begin_reading, check_session};
use crate::error::StoreError;
use crate::schema;
use crate::session::{Row, Session, Value};
use crate::sqlite::{create_private, run_through, sync_folder_of};
use crate::store::{Database, Store};

/// How many rows are held in memory at once.
const PAGE: i64 = 500;

/// A table as it is copied: its columns, the first `keys` of which are its primary key. No key is empty or negative.
struct Table {
    name: &'static str,
    keys: usize,
    columns: &'static [(&'static str, Kind)],
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    Text,
    Blob,
}

/// Everything but leases, which mean nothing elsewhere.
const TABLES: &[Table] = &[
    Table {
        name: "certificates",
        keys: 1,
        columns: &[
            ("serial", Kind::Blob),
            ("tbs", Kind::Blob),
            ("der", Kind::Blob),
            ("subject", Kind::Text),
            ("names", Kind::Text),
            ("key_digest", Kind::Blob),
            ("not_before", Kind::Int),
            ("not_after", Kind::Int),
            ("provisioner_type", Kind::Text),
            ("provisioner_name", Kind::Text),
            ("provisioner_id", Kind::Text),
            ("predecessor", Kind::Blob),
            ("lineage", Kind::Blob),
            ("recorded_at", Kind::Int),
            ("issued_at", Kind::Int),
            ("first_seen_at", Kind::Int),
        ],
    },
    Table {
        name: "rekeys",
        keys: 2,
        columns: &[
            ("old_serial", Kind::Blob),
            ("new_key", Kind::Blob),
            ("new_serial", Kind::Blob),
            ("recorded_at", Kind::Int),
        ],
    },
    Table {
        name: "revocations",
        keys: 1,
        columns: &[
            ("serial", Kind::Blob),
            ("revoked_at", Kind::Int),
            ("reason_code", Kind::Int),
            ("reason", Kind::Text),
            ("revoked_by", Kind::Text),
            ("expires_at", Kind::Int),
        ],
    },
    Table {
        name: "supersessions",
        keys: 1,
        columns: &[
            ("old_serial", Kind::Blob),
            ("successor", Kind::Blob),
            ("due_at", Kind::Int),
            ("when_seen", Kind::Int),
        ],
    },
    Table {
        name: "used_tokens",
        keys: 1,
        columns: &[("token", Kind::Text), ("expires_at", Kind::Int), ("request", Kind::Blob), ("serial", Kind::Blob)],
    },
    Table {
        name: "crls",
        keys: 1,
        columns: &[
            ("number", Kind::Int),
            ("tbs", Kind::Blob),
            ("der", Kind::Blob),
            ("this_update", Kind::Int),
            ("next_update", Kind::Int),
        ],
    },
    // The last one: a new database has rows in it already, which make way.
    Table { name: COUNTERS, keys: 1, columns: &[("name", Kind::Text), ("value", Kind::Int)] },
];

const COUNTERS: &str = "counters";

/// Writes a backup; under its name there is a whole and checked one, or nothing.
pub(crate) async fn backup(database: &Database, path: &Path) -> Result<(), StoreError> {
    if path.try_exists().map_err(|error| file_error(path, error))? {
        return Err(StoreError::BackupExists { path: path.to_owned() });
    }
    let partial = beside(path, ".partial");
    create_private(&partial).map_err(|error| file_error(&partial, error))?;
    let outcome = match write_backup(database, &partial).await {
        Ok(()) => publish(&partial, path),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // The first error is the one to tell.
        std::fs::remove_file(&partial).ok();
    }
    outcome
}

async fn write_backup(database: &Database, partial: &Path) -> Result<(), StoreError> {
    match database {
        Database::Sqlite(store) => {
            let mut source = store.connect()?;
            let file = partial.to_str().ok_or_else(|| {
                file_error(partial, std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8"))
            })?;
            Session::Sqlite(&mut source).execute("VACUUM INTO $1", &[Value::Text(file)]).await?;
        }
        Database::Postgres(store) => {
            let mut source = store.connect().await?;
            let mut target = connect(partial, false)?;
            schema::migrate(&mut Session::Sqlite(&mut target)).await?;
            let mut source = Session::Postgres(&mut source);
            begin_reading(&mut source).await?;
            let mut session = Session::Sqlite(&mut target);
            session.raw("BEGIN IMMEDIATE").await?;
            copy(&mut source, &mut session).await?;
            session.raw("COMMIT").await?;
            close(target)?;
        }
    }
    let mut written = connect(partial, true)?;
    sound(&mut written, partial)?;
    close(written)
}

fn publish(partial: &Path, path: &Path) -> Result<(), StoreError> {
    std::fs::File::open(partial).and_then(|file| file.sync_all()).map_err(|error| file_error(partial, error))?;
    // A link fails where a rename would replace a file that was made meanwhile.
    std::fs::hard_link(partial, path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::BackupExists { path: path.to_owned() },
        _ => file_error(path, error),
    })?;
    std::fs::remove_file(partial).map_err(|error| file_error(partial, error))?;
    sync_folder_of(path).map_err(|error| file_error(path, error))
}

/// Reads a backup into an empty database.
pub(crate) async fn restore(store: &Store, database: &Database, path: &Path) -> Result<(), StoreError> {
    if !path.try_exists().map_err(|error| file_error(path, error))? {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let mut backup = connect(path, true)?;
    schema::require_current(&mut Session::Sqlite(&mut backup)).await?;
    sound(&mut backup, path)?;
    let mut source = Session::Sqlite(&mut backup);
    begin_reading(&mut source).await?;
    match database {
        Database::Sqlite(target) => fill(&mut source, &mut Session::Sqlite(&mut target.connect()?)).await?,
        Database::Postgres(target) => fill(&mut source, &mut Session::Postgres(&mut target.connect().await?)).await?,
    }
    close(backup)?;
    store.ping().await
}

/// Fills an empty database in one transaction, which nobody else can write into meanwhile.
async fn fill(source: &mut Session<'_>, target: &mut Session<'_>) -> Result<(), StoreError> {
    match target {
        Session::Sqlite(_) => target.raw("BEGIN IMMEDIATE").await?,
        Session::Postgres(_) => {
            target
                .raw(
                    "BEGIN; LOCK TABLE certificates, rekeys, revocations, supersessions, used_tokens, crls, counters \
                     IN EXCLUSIVE MODE",
                )
                .await?;
        }
    }
    // The caller drops the connection on an error, and the transaction with it.
    require_empty(target).await?;
    copy(source, target).await?;
    target.raw("COMMIT").await
}

async fn require_empty(session: &mut Session<'_>) -> Result<(), StoreError> {
    for table in TABLES.iter().filter(|table| table.name != COUNTERS) {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        if session.row(AssertSqlSafe(sql), &[]).await?.is_some() {
            return Err(StoreError::NotEmpty { table: table.name });
        }
    }
    Ok(())
}

async fn copy(source: &mut Session<'_>, target: &mut Session<'_>) -> Result<(), StoreError> {
    target.execute("DELETE FROM counters", &[]).await?;
    for table in TABLES {
        copy_table(table, source, target).await?;
    }
    Ok(())
}

async fn copy_table(table: &Table, source: &mut Session<'_>, target: &mut Session<'_>) -> Result<(), StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let keys = names[..table.keys].join(", ");
    let after = placeholders(table.keys);
    let select = format!(
        "SELECT {} FROM {} WHERE ({keys}) > ({after}) ORDER BY {keys} LIMIT {PAGE}",
        names.join(", "),
        table.name,
    );
    let insert = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), placeholders(names.len()));
    let mut last: Vec<Cell> = table.columns[..table.keys].iter().map(|(_, kind)| Cell::lowest(*kind)).collect();
    loop {
        let position: Vec<Value<'_>> = last.iter().map(Cell::value).collect();
        let rows = source.rows(AssertSqlSafe(select.clone()), &position).await?;
        let Some(last_row) = rows.last() else { return Ok(()) };
        let next = cells(table, last_row)?;
        for row in &rows {
            let cells = cells(table, row)?;
            let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
            target.execute(AssertSqlSafe(insert.clone()), &values).await?;
        }
        last = next.into_iter().take(table.keys).collect();
    }
}

fn placeholders(count: usize) -> String {
    (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

impl Cell {
    fn lowest(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Some(-1)),
            Kind::Text => Self::Text(Some(String::new())),
            Kind::Blob => Self::Blob(Some(Vec::new())),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(value) => Value::MaybeInt(*value),
            Self::Text(value) => Value::MaybeText(value.as_deref()),
            Self::Blob(value) => Value::MaybeBlob(value.as_deref()),
        }
    }
}

fn cells(table: &Table, row: &Row) -> Result<Vec<Cell>, StoreError> {
    table
        .columns
        .iter()
        .enumerate()
        .map(|(index, (_, kind))| {
            Ok(match kind {
                Kind::Int => Cell::Int(row.maybe_int(index)?),
                Kind::Text => Cell::Text(row.maybe_text(index)?),
                Kind::Blob => Cell::Blob(row.maybe_blob(index)?),
            })
        })
        .collect()
}

fn sound(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |finding: String| StoreError::BackupDamaged { path: path.to_owned(), finding };
    match run_through(check_session(&mut Session::Sqlite(connection))) {
        Ok(report) => report.findings.into_iter().next().map_or(Ok(()), |finding| Err(damaged(finding))),
        Err(StoreError::Broken { source, .. }) => Err(damaged(source.to_string())),
        Err(error) => Err(error),
    }
}

/// A backup is one file: no log beside it.
fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let failed = |error| StoreError::from_sqlite("opening the backup", error);
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    if !read_only {
        connection.execute_batch("PRAGMA journal_mode = DELETE").map_err(failed)?;
    }
    Ok(connection)
}

fn close(connection: Connection) -> Result<(), StoreError> {
    connection.close().map_err(|(_, error)| StoreError::from_sqlite("closing the backup", error))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn file_error(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source: Arc::new(error) }
}
