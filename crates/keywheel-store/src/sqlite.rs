//! SQLite: one writer that commits the requests that have arrived together, readers beside it, checkpoints off both paths.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::error::StoreError;
use crate::operation::Operation;
use crate::reserve;
use crate::schema;
use crate::session::Session;
use crate::store::OpenMode;

/// How many requests may wait for the writer; more are told to come again.
const QUEUE: usize = 4096;
/// How many requests share one commit at most.
const BATCH: usize = 256;
/// How long another process (an offline command beside the running CA) may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// The log is cut back at this size even if writers must wait for it.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;

/// An open SQLite file.
pub(crate) struct SqliteStore {
    writer: mpsc::Sender<Message>,
    readers: SqlitePool,
    options: SqliteConnectOptions,
    checkpointer: AbortHandle,
}

/// One request that waits for the writer.
trait Job: Send {
    fn run<'a>(&'a mut self, session: Session<'a>)
    -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

enum Message {
    Run(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

struct Waiting<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    reply: oneshot::Sender<Result<O::Answer, StoreError>>,
}

impl<O: Operation> Job for Waiting<O> {
    fn run<'a>(
        &'a mut self,
        mut session: Session<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>> {
        Box::pin(async move {
            self.answer = Some(self.operation.run(&mut session).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        // Whoever asked may have gone; what was committed stays committed.
        let _gone = reply.send(committed.and_then(|()| answer.ok_or(StoreError::Closed)));
    }
}

impl SqliteStore {
    /// Opens a file; answers also the schema version that was found.
    pub(crate) async fn open(path: &Path, mode: OpenMode) -> Result<(Self, i64), StoreError> {
        prepare_file(path, mode)?;
        let options = options(path);
        let mut connection = connect(&options).await?;
        let mut session = Session::Sqlite(&mut connection);
        let found = match mode {
            OpenMode::Create | OpenMode::Migrate => schema::migrate(&mut session).await?,
            OpenMode::Current => schema::require_current(&mut session).await?,
        };
        if mode == OpenMode::Create {
            reserve::keep(path);
        }
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        let (writer, requests) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let checkpointer = tokio::spawn(checkpoint_now_and_then(options.clone(), Arc::clone(&commits))).abort_handle();
        tokio::spawn(write_batches(connection, options.clone(), requests, commits));
        Ok((Self { writer, readers, options, checkpointer }, found))
    }

    /// Runs an operation in the writer's next transaction; answers when that is committed.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let doing = operation.doing();
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Waiting { operation, answer: None, reply });
        self.writer.try_send(Message::Run(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy { doing, source: None },
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs an operation that only reads, on what is committed at its first statement.
    pub(crate) async fn read<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let mut connection =
            self.readers.acquire().await.map_err(|error| StoreError::from_driver(operation.doing(), error))?;
        operation.run(&mut Session::Sqlite(&mut connection)).await
    }

    /// A connection of its own, for what takes long.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        connect(&self.options).await
    }

    /// Gives the room that was kept aside to the database; whether there was any.
    pub(crate) fn give_up_reserve(&self) -> bool {
        reserve::give_up(self.options.get_filename())
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

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // Each commit is fsynced: what was answered survives a power cut. NORMAL would lose the last commits.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        // A checkpoint inside a commit makes whoever waits for that commit wait for it too.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", LOG_LIMIT.to_string())
        .pragma("cache_size", "-16000")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    options.connect().await.map_err(|error| StoreError::from_driver("opening the database", error))
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

/// The writer: takes whatever requests have arrived, and commits them together.
async fn write_batches(
    first: SqliteConnection,
    options: SqliteConnectOptions,
    mut requests: mpsc::Receiver<Message>,
    commits: Arc<AtomicU64>,
) {
    let mut connection = Some(first);
    let mut messages = Vec::new();
    while requests.recv_many(&mut messages, BATCH).await > 0 {
        let mut jobs: Vec<Box<dyn Job>> = Vec::with_capacity(messages.len());
        let mut stop = None;
        for message in messages.drain(..) {
            match message {
                Message::Run(job) => jobs.push(job),
                Message::Stop(stopped) => stop = Some(stopped),
            }
        }
        connection = with_connection(connection, &options, jobs).await;
        commits.fetch_add(1, Ordering::Relaxed);
        if let Some(stopped) = stop {
            requests.close();
            if let Some(connection) = connection.take() {
                let_go(connection).await;
            }
            let _gone = stopped.send(());
            return;
        }
    }
    if let Some(connection) = connection {
        let_go(connection).await;
    }
}

/// Runs one batch; answers the connection if it is still good. Without one, a new one is opened first.
async fn with_connection(
    connection: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    jobs: Vec<Box<dyn Job>>,
) -> Option<SqliteConnection> {
    if jobs.is_empty() {
        return connection;
    }
    let connection = match connection {
        Some(connection) => connection,
        None => match connect(options).await {
            Ok(connection) => connection,
            Err(error) => {
                answer_all(jobs, &error);
                return None;
            }
        },
    };
    // A task of its own: a panic in one request then costs this batch, not the writer.
    match tokio::spawn(run_batch(connection, jobs)).await {
        Ok(connection) => connection,
        Err(failure) => {
            tracing::error!(%failure, "a batch of database writes was given up; nothing of it was committed");
            None
        }
    }
}

async fn run_batch(mut connection: SqliteConnection, jobs: Vec<Box<dyn Job>>) -> Option<SqliteConnection> {
    if let Err(error) = Session::Sqlite(&mut connection).raw("BEGIN IMMEDIATE").await {
        answer_all(jobs, &error);
        // Busy is no fault of the connection; after anything else a new one is safer.
        return matches!(error, StoreError::Busy { .. }).then_some(connection);
    }
    let mut done: Vec<Box<dyn Job>> = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.into_iter();
    while let Some(mut job) = jobs.next() {
        match run_one(&mut connection, job.as_mut()).await {
            Ok(Ok(())) => done.push(job),
            Ok(Err(refused)) => job.answer(Err(refused)),
            // SQLite gives the whole transaction up by itself when the disk is full or fails.
            Err(lost) => {
                done.push(job);
                done.extend(jobs);
                answer_all(done, &lost);
                return roll_back(connection).await;
            }
        }
    }
    match Session::Sqlite(&mut connection).raw("COMMIT").await {
        Ok(()) => {
            for job in done {
                job.answer(Ok(()));
            }
            Some(connection)
        }
        Err(error) => {
            // First undone, then told: whoever hears of it may ask again at once.
            let connection = roll_back(connection).await;
            answer_all(done, &error);
            connection
        }
    }
}

/// Runs one request so that its failure leaves its neighbours alone. The outer error says that the transaction is lost.
async fn run_one(connection: &mut SqliteConnection, job: &mut dyn Job) -> Result<Result<(), StoreError>, StoreError> {
    Session::Sqlite(connection).raw("SAVEPOINT request").await?;
    match job.run(Session::Sqlite(connection)).await {
        Ok(()) => {
            Session::Sqlite(connection).raw("RELEASE request").await?;
            Ok(Ok(()))
        }
        Err(error) => match Session::Sqlite(connection).raw("ROLLBACK TO request; RELEASE request").await {
            Ok(()) => Ok(Err(error)),
            Err(_) => Err(error),
        },
    }
}

async fn roll_back(mut connection: SqliteConnection) -> Option<SqliteConnection> {
    // Where SQLite has rolled back by itself this fails, and a new connection is the sure way.
    Session::Sqlite(&mut connection).raw("ROLLBACK").await.is_ok().then_some(connection)
}

fn answer_all(jobs: Vec<Box<dyn Job>>, error: &StoreError) {
    for job in jobs {
        job.answer(Err(error.clone()));
    }
}

async fn let_go(mut connection: SqliteConnection) {
    if let Err(error) = Session::Sqlite(&mut connection).raw("PRAGMA wal_checkpoint(TRUNCATE)").await {
        tracing::debug!(%error, "the last checkpoint was left to the next start");
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the database file was not closed cleanly; nothing is lost");
    }
}

/// Moves committed pages from the log to the file, beside the writer, whenever something was committed.
async fn checkpoint_now_and_then(options: SqliteConnectOptions, commits: Arc<AtomicU64>) {
    let log = log_of(options.get_filename());
    let mut connection: Option<SqliteConnection> = None;
    let mut checkpointed = 0;
    loop {
        tokio::time::sleep(CHECKPOINT_PAUSE).await;
        let committed = commits.load(Ordering::Relaxed);
        if committed == checkpointed {
            continue;
        }
        let too_long = tokio::fs::metadata(&log).await.is_ok_and(|log| log.len() > LOG_LIMIT);
        // A passive one never makes anybody wait; under unbroken load it may never come to the log's end, hence the other.
        let statement = if too_long { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        if connection.is_none() {
            connection = connect(&options).await.ok();
        }
        let Some(open) = connection.as_mut() else { continue };
        match Session::Sqlite(open).raw(statement).await {
            Ok(()) => {
                checkpointed = committed;
                reserve::keep(options.get_filename());
            }
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the log of the database grows until one succeeds");
                connection = None;
            }
        }
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
