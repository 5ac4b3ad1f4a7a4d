//! The writer: a thread that takes whatever requests have arrived, and commits them together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{connect, run_through};
use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::Session;

/// How many requests share one commit at most.
const BATCH: usize = 256;

/// What the writer is told.
pub(super) enum Message {
    /// To do something in its next transaction.
    Run(Box<dyn Job>),
    /// To let go of the file.
    Stop(oneshot::Sender<()>),
}

/// One request that waits for the writer.
pub(super) trait Job: Send {
    /// Runs it; it may be run again.
    fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError>;
    /// Tells whoever waits what became of it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// An operation and who waits for its answer.
pub(super) struct Waiting<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    reply: oneshot::Sender<Result<O::Answer, StoreError>>,
}

impl<O: Operation> Waiting<O> {
    pub(super) fn new(operation: O, reply: oneshot::Sender<Result<O::Answer, StoreError>>) -> Self {
        Self { operation, answer: None, reply }
    }
}

impl<O: Operation> Job for Waiting<O> {
    fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        self.answer = Some(run_through(self.operation.run(&mut Session::Sqlite(connection)))?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        // Whoever asked may have gone; what was committed stays committed.
        let _gone = reply.send(committed.and_then(|()| answer.ok_or(StoreError::Closed)));
    }
}

/// Starts the writer. It ends when it is told to, or when nobody can tell it anything any more.
pub(super) fn start(
    first: Connection,
    path: PathBuf,
    requests: mpsc::Receiver<Message>,
    commits: Arc<AtomicU64>,
) -> Result<(), StoreError> {
    let file = path.clone();
    std::thread::Builder::new()
        .name("keywheel-writer".to_owned())
        .spawn(move || write_batches(first, &path, requests, &commits))
        .map(|_| ())
        .map_err(|source| StoreError::File { path: file, source: Arc::new(source) })
}

fn write_batches(first: Connection, path: &Path, mut requests: mpsc::Receiver<Message>, commits: &AtomicU64) {
    let mut connection = Some(first);
    let mut messages = Vec::new();
    while requests.blocking_recv_many(&mut messages, BATCH) > 0 {
        let mut jobs: Vec<Box<dyn Job>> = Vec::with_capacity(messages.len());
        let mut stop = None;
        for message in messages.drain(..) {
            match message {
                Message::Run(job) => jobs.push(job),
                Message::Stop(stopped) => stop = Some(stopped),
            }
        }
        connection = with_connection(connection, path, jobs);
        commits.fetch_add(1, Ordering::Relaxed);
        if let Some(stopped) = stop {
            requests.close();
            let_go(connection);
            let _gone = stopped.send(());
            return;
        }
    }
    let_go(connection);
}

/// Runs one batch; answers the connection if it is still good. Without one, a new one is opened first.
fn with_connection(connection: Option<Connection>, path: &Path, jobs: Vec<Box<dyn Job>>) -> Option<Connection> {
    if jobs.is_empty() {
        return connection;
    }
    let connection = match connection.map_or_else(|| connect(path), Ok) {
        Ok(connection) => connection,
        Err(error) => {
            answer_all(jobs, &error);
            return None;
        }
    };
    // A panic in one request costs this batch, not the writer: the connection is closed with it, which undoes the batch.
    catch_unwind(AssertUnwindSafe(move || run_batch(connection, jobs))).unwrap_or_else(|_| {
        tracing::error!("a batch of database writes was given up; nothing of it was committed");
        None
    })
}

fn run_batch(mut connection: Connection, mut jobs: Vec<Box<dyn Job>>) -> Option<Connection> {
    if let Err(error) = statement(&connection, "BEGIN IMMEDIATE") {
        answer_all(jobs, &error);
        // Busy is no fault of the connection; after anything else a new one is safer.
        return matches!(error, StoreError::Busy { .. }).then_some(connection);
    }
    if jobs.iter_mut().all(|job| job.run(&mut connection).is_ok()) {
        return commit(connection, jobs);
    }
    // Each is run once more, fenced in so that the failure of one leaves its neighbours alone. Where none fails, the fences
    // are not worth their price: within them SQLite keeps a copy of each page that is changed.
    if statement(&connection, "ROLLBACK").is_err() && !connection.is_autocommit() {
        answer_all(jobs, &StoreError::Closed);
        return None;
    }
    run_fenced(connection, jobs)
}

fn run_fenced(mut connection: Connection, jobs: Vec<Box<dyn Job>>) -> Option<Connection> {
    if let Err(error) = statement(&connection, "BEGIN IMMEDIATE") {
        answer_all(jobs, &error);
        return matches!(error, StoreError::Busy { .. }).then_some(connection);
    }
    let mut done: Vec<Box<dyn Job>> = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.into_iter();
    while let Some(mut job) = jobs.next() {
        match run_one(&mut connection, job.as_mut()) {
            Ok(Ok(())) => done.push(job),
            Ok(Err(refused)) => job.answer(Err(refused)),
            // SQLite gives the whole transaction up by itself when the disk is full or fails.
            Err(lost) => {
                done.push(job);
                done.extend(jobs);
                answer_all(done, &lost);
                return roll_back(connection);
            }
        }
    }
    commit(connection, done)
}

/// Runs one request so that its failure leaves its neighbours alone. The outer error says that the transaction is lost.
fn run_one(connection: &mut Connection, job: &mut dyn Job) -> Result<Result<(), StoreError>, StoreError> {
    statement(connection, "SAVEPOINT request")?;
    match job.run(connection) {
        Ok(()) => {
            statement(connection, "RELEASE request")?;
            Ok(Ok(()))
        }
        Err(error) => {
            let undone =
                statement(connection, "ROLLBACK TO request").and_then(|()| statement(connection, "RELEASE request"));
            if undone.is_ok() { Ok(Err(error)) } else { Err(error) }
        }
    }
}

fn commit(connection: Connection, done: Vec<Box<dyn Job>>) -> Option<Connection> {
    match statement(&connection, "COMMIT") {
        Ok(()) => {
            for job in done {
                job.answer(Ok(()));
            }
            Some(connection)
        }
        Err(error) => {
            // First undone, then told: whoever hears of it may ask again at once.
            let connection = roll_back(connection);
            answer_all(done, &error);
            connection
        }
    }
}

fn roll_back(connection: Connection) -> Option<Connection> {
    // Where SQLite has rolled back by itself this fails, and a new connection is the sure way.
    statement(&connection, "ROLLBACK").is_ok().then_some(connection)
}

fn answer_all(jobs: Vec<Box<dyn Job>>, error: &StoreError) {
    for job in jobs {
        job.answer(Err(error.clone()));
    }
}

fn statement(connection: &Connection, sql: &'static str) -> Result<(), StoreError> {
    let run = || connection.prepare_cached(sql)?.execute([]);
    run().map(|_| ()).map_err(|error| StoreError::from_sqlite("writing", error))
}

fn let_go(connection: Option<Connection>) {
    let Some(connection) = connection else { return };
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, "the last checkpoint was left to the next start");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the database file was not closed cleanly; nothing is lost");
    }
}
