//! What is particular to SQLite: the writer, its shared commits, its log, and other processes beside it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::operation::Operation;
use crate::session::{Session, Value};
use crate::{StoreError, TokenOutcome};

fn path(world: &World) -> String {
    world.url.strip_prefix("sqlite:").unwrap().to_owned()
}

/// Writes a row, then fails.
struct Spoiled;

impl Operation for Spoiled {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "spoiling"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session.execute("INSERT INTO used_tokens (token, expires_at) VALUES ('spoiled', $1)", &[Value::Int(1)]).await?;
        session.execute("INSERT INTO used_tokens (token, expires_at) VALUES ('spoiled', $1)", &[Value::Int(1)]).await?;
        Ok(())
    }
}

/// Writes a row, then panics.
struct Panics;

impl Operation for Panics {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "panicking"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .execute("INSERT INTO used_tokens (token, expires_at) VALUES ('panicked', $1)", &[Value::Int(1)])
            .await?;
        panic!("as the test wants it");
    }
}

struct Pragma(&'static str);

impl Operation for Pragma {
    type Answer = String;

    fn doing(&self) -> &'static str {
        "asking for a setting"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<String, StoreError> {
        let row = session.row(self.0, &[]).await?.unwrap();
        row.text(0).or_else(|_| row.int(0).map(|value| value.to_string()))
    }
}

#[tokio::test]
async fn a_commit_is_durable_and_takes_no_checkpoint_with_it() {
    let world = World::sqlite();
    let store = world.open().await;
    assert_eq!(store.write(Pragma("SELECT journal_mode FROM pragma_journal_mode")).await.unwrap(), "wal");
    // 2 is FULL.
    assert_eq!(store.write(Pragma("SELECT synchronous FROM pragma_synchronous")).await.unwrap(), "2");
    assert_eq!(store.write(Pragma("PRAGMA wal_autocheckpoint")).await.unwrap(), "0");
    for file in [path(&world), format!("{}-wal", path(&world))] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_request_does_not_spoil_its_neighbours() {
    let world = World::sqlite();
    let store = world.open().await;
    // Held by another process, the file makes all of these wait for one common transaction.
    let other = Connection::open(path(&world)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for number in 0..50 {
        let (one, two) = (store.clone(), store.clone());
        good.push(tokio::spawn(async move { one.consume_token(token(&format!("good {number}"))).await }));
        bad.push(tokio::spawn(async move { two.write(Spoiled).await }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.execute_batch("COMMIT").unwrap();
    for outcome in good {
        assert_eq!(outcome.await.unwrap().unwrap(), TokenOutcome::Consumed);
    }
    for outcome in bad {
        assert!(matches!(outcome.await.unwrap(), Err(StoreError::Broken { .. })));
    }
    let tokens: i64 = other.query_row("SELECT COUNT(*) FROM used_tokens", [], |row| row.get(0)).unwrap();
    assert_eq!(tokens, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_arrive_together_share_commits() {
    let world = World::sqlite();
    let store = world.open().await;
    let other = Connection::open(path(&world)).unwrap();
    let version = || -> i64 { other.query_row("PRAGMA data_version", [], |row| row.get(0)).unwrap() };
    let before = version();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.consume_token(token(&format!("{number}"))).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    other.execute_batch("ROLLBACK").unwrap();
    for outcome in waiting {
        assert_eq!(outcome.await.unwrap(), TokenOutcome::Consumed);
    }
    assert_ne!(version(), before);
    // Each commit ends with one frame in the log that carries the size of the database: the fifth to eighth octet.
    let log = std::fs::read(format!("{}-wal", path(&world))).unwrap();
    let commits = log[32..].chunks(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count();
    assert!(commits < 20, "{commits} commits for the schema and 200 requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_request_does_not_stop_the_writer() {
    let world = World::sqlite();
    let store = world.open().await;
    assert!(matches!(store.write(Panics).await, Err(StoreError::Closed)));
    assert_eq!(store.consume_token(token("panicked")).await.unwrap(), TokenOutcome::Consumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_the_whole_batch_and_the_next_one_succeeds() {
    let world = World::sqlite();
    let store = world.open().await;
    store.write(Pragma("PRAGMA max_page_count = 1")).await.unwrap();
    let mut new = new_certificate(1, 1);
    new.tbs = sequence(&[7; 60_000]);
    let full = store.record_issue(new.clone(), Some(token("a")), at(1)).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert!(full.unwrap_err().is_retryable());
    store.write(Pragma("PRAGMA max_page_count = 1000000")).await.unwrap();
    let outcome = store.record_issue(new, Some(token("a")), at(1)).await.unwrap();
    assert_eq!(outcome, crate::IssueOutcome::Recorded, "the token was not spent by the failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_checkpointed_beside_the_writer() {
    let world = World::sqlite();
    let store = world.open().await;
    issue(&store, 1, 1).await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if holds(&std::fs::read(path(&world)).unwrap(), "host1.example") {
            return;
        }
    }
    panic!("after five seconds nothing has come from the log into the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_in_the_log_comes_into_the_file_without_another_commit() {
    let world = World::sqlite();
    let store = world.open().await;
    issue(&store, 1, 1).await;
    // The files as a crash would leave them: the log is not brought back.
    let crashed = World::sqlite();
    for ending in ["", "-wal"] {
        std::fs::copy(format!("{}{ending}", path(&world)), format!("{}{ending}", path(&crashed))).unwrap();
    }
    let restarted = crashed.open().await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if holds(&std::fs::read(path(&crashed)).unwrap(), "host1.example") {
            assert!(restarted.certificate(serial(1)).await.unwrap().is_some());
            return;
        }
    }
    panic!("after five seconds what the crash left is still in the log");
}

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}
