//! SQLite: one writer that commits the requests that have arrived together, readers beside it, checkpoints off both paths.
//!
//! Its calls block, so each runs on a thread that may wait: the writer's own, or one that the runtime keeps for such work.

mod readers;
mod writer;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::error::StoreError;
use crate::operation::Operation;
use crate::reserve;
use crate::schema;
use crate::session::Session;
use crate::store::OpenMode;
use readers::Readers;
use writer::{Message, Waiting};

/// How many requests may wait for the writer; more are told to come again.
const QUEUE: usize = 4096;
/// How long another process (an offline command beside the running CA) may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// The log is cut back at this size even if writers must wait for it.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;
/// More statements than there are, so that each is prepared once for a connection.
const STATEMENTS: usize = 128;

/// An open SQLite file.
pub(crate) struct SqliteStore {
    writer: mpsc::Sender<Message>,
    readers: Arc<Readers>,
    path: PathBuf,
    checkpointer: AbortHandle,
}

impl SqliteStore {
    /// Opens a file; answers also the schema version that was found.
    pub(crate) async fn open(path: &Path, mode: OpenMode) -> Result<(Self, i64), StoreError> {
        let path = path.to_owned();
        let (path, connection, found) = aside(move || {
            prepare_file(&path, mode)?;
            let mut connection = connect(&path)?;
            if mode == OpenMode::Create {
                bring_home(&path, &connection);
            }
            let mut session = Session::Sqlite(&mut connection);
            let found = match mode {
                OpenMode::Create | OpenMode::Migrate => run_through(schema::migrate(&mut session))?,
                OpenMode::Current => run_through(schema::require_current(&mut session))?,
            };
            if mode == OpenMode::Create {
                reserve::keep(&path);
            }
            Ok((path, connection, found))
        })
        .await?;
        let (writer, requests) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let checkpointer = tokio::spawn(checkpoint_now_and_then(path.clone(), Arc::clone(&commits))).abort_handle();
        writer::start(connection, path.clone(), requests, commits)?;
        let readers = Arc::new(Readers::new(path.clone()));
        Ok((Self { writer, readers, path, checkpointer }, found))
    }

    /// Runs an operation in the writer's next transaction; answers when that is committed.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let doing = operation.doing();
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Waiting::new(operation, reply));
        self.writer.try_send(Message::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy { doing, source: None },
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs an operation that only reads, on what is committed at its first statement.
    pub(crate) async fn read<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        Readers::read(&self.readers, operation).await
    }

    /// A connection of its own, for what takes long. To be used where waiting is allowed: see [`aside`].
    pub(crate) fn connect(&self) -> Result<Connection, StoreError> {
        connect(&self.path)
    }

    /// Gives the room that was kept aside to the database; whether there was any.
    pub(crate) fn give_up_reserve(&self) -> bool {
        reserve::give_up(&self.path)
    }

    /// Lets what has arrived be committed, then lets go of the file.
    pub(crate) async fn close(&self) {
        self.checkpointer.abort();
        self.readers.close().await;
        let (stopped, wait) = oneshot::channel();
        if self.writer.send(Message::Stop(stopped)).await.is_ok() {
            // An error only says that the writer is gone already.
            let _stopped = wait.await;
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.checkpointer.abort();
    }
}

/// Runs what waits for the disk on a thread that may wait.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // Only a panic or the end of the runtime lets it fail.
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
}

/// As [`aside`], for work that also waits for PostgreSQL.
pub(crate) async fn driven_aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Handle::current();
    aside(move || runtime.block_on(work)).await
}

/// Runs work on an SQLite session to its end, here and now: what is written once for both databases is written to be awaited,
/// but nothing of SQLite ever has to be.
pub(crate) fn run_through<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(StoreError::Closed),
    }
}

/// Opens a file that is there.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error| StoreError::from_sqlite("opening the database", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .execute_batch(&format!(
            // FULL: each commit is fsynced, so that what was answered survives a power cut; NORMAL would lose the last commits.
            // No automatic checkpoint: whoever waits for a commit would wait for it too.
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
             PRAGMA journal_size_limit = {LOG_LIMIT}; PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY"
        ))
        .map_err(failed)?;
    Ok(connection)
}

/// Brings what a crash has left in the log into the file, before anything is added: else the log of a server that is killed
/// again and again, never long after its start, would grow from start to start.
fn bring_home(path: &Path, connection: &Connection) {
    if !std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0) {
        return;
    }
    // Somebody else who reads the file, such as a backup, is not waited for.
    let brought = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
    if let Err(error) = connection.busy_timeout(PATIENCE).and(brought) {
        tracing::warn!(%error, "what stands in the log of the database stays there until a checkpoint succeeds");
    }
}

/// Makes the file where that is wanted, readable for its owner only; SQLite gives its log the same mode.
fn prepare_file(path: &Path, mode: OpenMode) -> Result<(), StoreError> {
    let failed = |source: std::io::Error| StoreError::File { path: path.to_owned(), source: Arc::new(source) };
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    if mode != OpenMode::Create {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    create_private(path).or_else(|error| match error.kind() {
        // Another process was faster.
        std::io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(failed(error)),
    })
}

/// Makes an empty file of mode 0600 that a power cut does not take away again.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()?;
    sync_folder_of(path)
}

/// Makes a change of the folder itself durable: a new or renamed file.
pub(crate) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// Moves committed pages from the log to the file, beside the writer, whenever something was committed.
async fn checkpoint_now_and_then(path: PathBuf, commits: Arc<AtomicU64>) {
    let mut connection: Option<Connection> = None;
    let mut checkpointed = 0;
    loop {
        tokio::time::sleep(CHECKPOINT_PAUSE).await;
        let committed = commits.load(Ordering::Relaxed);
        if committed == checkpointed {
            continue;
        }
        let (path, open) = (path.clone(), connection.take());
        match aside(move || checkpoint(&path, open)).await {
            Ok(open) => {
                connection = Some(open);
                checkpointed = committed;
            }
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the log of the database grows until one succeeds")
            }
        }
    }
}

fn checkpoint(path: &Path, open: Option<Connection>) -> Result<Connection, StoreError> {
    let connection = match open {
        Some(open) => open,
        None => connect(path)?,
    };
    let too_long = std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > LOG_LIMIT);
    // A passive one never makes anybody wait; under unbroken load it may never come to the log's end, hence the other.
    let statement = if too_long { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    connection.execute_batch(statement).map_err(|error| StoreError::from_sqlite("writing", error))?;
    reserve::keep(path);
    Ok(connection)
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
