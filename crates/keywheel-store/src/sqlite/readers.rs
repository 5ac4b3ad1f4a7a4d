//! The readers of an SQLite file: a few connections that are opened when they are needed and kept.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{PATIENCE, aside, connect, run_through};
use crate::error::StoreError;
use crate::operation::Operation;
use crate::session::Session;

/// How many may read at once.
const READERS: u32 = 4;

/// Connections that only read.
pub(super) struct Readers {
    path: PathBuf,
    seats: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// None is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seats: Arc::new(Semaphore::new(READERS as usize)), idle: Mutex::new(Vec::new()) }
    }

    /// Runs an operation that only reads.
    pub(super) async fn read<O: Operation>(readers: &Arc<Self>, operation: O) -> Result<O::Answer, StoreError> {
        let seat = tokio::time::timeout(PATIENCE, readers.seats.clone().acquire_owned()).await;
        let seat = seat
            .map_err(|_| StoreError::Busy { doing: operation.doing(), source: None })?
            .map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(readers);
        aside(move || {
            let mut connection = readers.connection()?;
            let answer = run_through(operation.run(&mut Session::Sqlite(&mut connection)));
            // After a failure a new one is safer.
            if answer.is_ok() {
                readers.idle().push(connection);
            }
            drop(seat);
            answer
        })
        .await
    }

    /// Lets what is being read be read, then closes the connections.
    pub(super) async fn close(&self) {
        // An error says that it is closed already.
        let all_seats = self.seats.acquire_many(READERS).await;
        self.seats.close();
        drop(all_seats);
        self.idle().clear();
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let connection = connect(&self.path)?;
        connection
            .execute_batch("PRAGMA query_only = ON")
            .map_err(|error| StoreError::from_sqlite("opening the database", error))?;
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
