//! What can go wrong with the database, told apart by what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

/// What a driver says, of whichever database.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked.
///
/// Cloneable, because the requests that shared one commit share its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The address names no database that this program knows.
    #[error("\"{url}\" is no database address: write sqlite:<path> or postgres://<user>@<host>/<database>")]
    Address {
        /// The address without its password.
        url: String,
        /// What the driver says about it, if it got so far.
        #[source]
        source: Option<Cause>,
    },
    /// The database file is not there and was not to be made.
    #[error("there is no database at {}: nothing was created; check the path", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The database file or its folder could not be made or read.
    #[error("cannot use the database file {}: nothing was changed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Somebody else holds the database, or too many requests wait: try again.
    #[error("the database is busy ({doing}): nothing was changed; try again")]
    Busy {
        /// What was being done.
        doing: &'static str,
        /// What the driver says, unless the queue was full.
        #[source]
        source: Option<Cause>,
    },
    /// No room is left on the disk.
    #[error("the disk of the database is full ({doing}): nothing was changed; make room and try again")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        #[source]
        source: Cause,
    },
    /// The database does not answer. Whether a commit in flight took effect is not known.
    #[error("the database does not answer ({doing}): try again; the same request asked again is safe")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        #[source]
        source: Cause,
    },
    /// The database answered with something that cannot be right.
    #[error("the database is not as it should be ({doing}): run \"keywheel db check\"")]
    Broken {
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        #[source]
        source: Cause,
    },
    /// A stored value is not of the form that this program writes.
    #[error("the database holds a value that cannot be read ({what}): run \"keywheel db check\"")]
    Value {
        /// Which value.
        what: &'static str,
    },
    /// The database was written by a newer program.
    #[error(
        "the database has schema {found}, this program knows only up to {known}: nothing was changed; \
         use the newer keywheel that wrote it"
    )]
    SchemaNewer {
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database must be migrated first.
    #[error(
        "the database has schema {found}, this program needs {known}: back it up, then run \"keywheel db migrate\""
    )]
    SchemaOlder {
        /// The version found; 0 for an empty database.
        found: i64,
        /// The version needed.
        known: i64,
    },
    /// A restore was asked for into a database that already remembers something.
    #[error("the database to restore into is not empty (table {table}): nothing was changed; restore into a new one")]
    NotEmpty {
        /// The first table in which a row was found.
        table: &'static str,
    },
    /// The file to write a backup to exists already.
    #[error("{} exists already: no backup was made; name a new file", path.display())]
    BackupExists {
        /// The file.
        path: PathBuf,
    },
    /// The backup is damaged.
    #[error("the backup {} is damaged ({finding}): nothing was changed; use another one", path.display())]
    BackupDamaged {
        /// The file.
        path: PathBuf,
        /// The first finding.
        finding: String,
    },
    /// A signature was offered for a certificate or a CRL that was never recorded, or for other bytes than those recorded.
    #[error("{what} was not recorded with these bytes: it was not stored and must not be handed out")]
    NotRecorded {
        /// What was offered.
        what: String,
    },
    /// The store is closed, or its writer is gone.
    #[error("the database is closed: nothing was changed; start again")]
    Closed,
}

impl StoreError {
    /// Whether the same request may well succeed later without anybody changing anything but the disk or the network.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Full { .. } | Self::Unavailable { .. })
    }

    /// Sorts an error of PostgreSQL or of the way there by what can be done about it.
    pub(crate) fn from_driver(doing: &'static str, error: sqlx::Error) -> Self {
        Self::of_kind(kind_of(&error), doing, Arc::new(error))
    }

    /// Sorts an error of SQLite by what can be done about it.
    pub(crate) fn from_sqlite(doing: &'static str, error: rusqlite::Error) -> Self {
        let kind = error.sqlite_error().map_or(Kind::Broken, |error| sqlite_kind(error.extended_code));
        Self::of_kind(kind, doing, Arc::new(error))
    }

    fn of_kind(kind: Kind, doing: &'static str, source: Cause) -> Self {
        match kind {
            Kind::Busy => Self::Busy { doing, source: Some(source) },
            Kind::Full => Self::Full { doing, source },
            Kind::Unavailable => Self::Unavailable { doing, source },
            Kind::Broken => Self::Broken { doing, source },
        }
    }
}

enum Kind {
    Busy,
    Full,
    Unavailable,
    Broken,
}

fn kind_of(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => {
            Kind::Unavailable
        }
        sqlx::Error::PoolTimedOut => Kind::Busy,
        sqlx::Error::Database(database) => postgres_kind(&database.code().unwrap_or_default()),
        _ => Kind::Broken,
    }
}

/// The low byte of an SQLite result code is the primary code.
fn sqlite_kind(code: i32) -> Kind {
    match code & 0xff {
        // BUSY, LOCKED
        5 | 6 => Kind::Busy,
        // FULL
        13 => Kind::Full,
        // PERM, READONLY, IOERR, CANTOPEN: a mount or its rights, not the contents
        3 | 8 | 10 | 14 => Kind::Unavailable,
        _ => Kind::Broken,
    }
}

/// SQLSTATE classes of PostgreSQL.
fn postgres_kind(code: &str) -> Kind {
    match code {
        // serialization failure, deadlock, lock not available, statement cancelled by its time limit, too many connections
        "40001" | "40P01" | "55P03" | "57014" | "53300" => Kind::Busy,
        "53100" => Kind::Full,
        // shutting down, starting up, read-only standby
        "57P01" | "57P02" | "57P03" | "25006" => Kind::Unavailable,
        _ if code.starts_with("08") || code.starts_with("53") => Kind::Unavailable,
        _ => Kind::Broken,
    }
}
