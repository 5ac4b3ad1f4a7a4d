//! Schema versions, checks, backups and restores.

use std::os::unix::fs::PermissionsExt;

use keywheel_core::revocation::ReasonCode;
use sqlx::{Connection, Executor, PgConnection};

use super::*;
use crate::{CertificateBody, DatabaseKind, Revocation, StoreError};

on_each_database! {
    a_database_without_a_schema_is_only_opened_to_be_made
    a_newer_schema_is_refused
    two_processes_may_make_one_database_at_once
    a_backup_restores_into_either_database
    a_backup_replaces_no_file_and_a_restore_no_rows
    a_damaged_backup_is_not_restored
    a_check_finds_contradictions
}

/// Runs SQL behind the store's back.
async fn meddle(world: &World, sql: &'static str) {
    if let Some(path) = world.url.strip_prefix("sqlite:") {
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    } else {
        let mut connection = PgConnection::connect(&world.url).await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn opened(url: &str, mode: OpenMode) -> Result<Store, StoreError> {
    Store::open(url, mode).await
}

async fn a_database_without_a_schema_is_only_opened_to_be_made(world: World) {
    let refused = opened(&world.url, OpenMode::Current).await.map(|_| ());
    match &refused {
        Err(StoreError::Missing { .. }) if world.url.starts_with("sqlite:") => {}
        Err(StoreError::SchemaOlder { found: 0, .. }) if world.url.starts_with("postgres:") => {}
        other => panic!("{other:?}"),
    }
    let made = opened(&world.url, OpenMode::Create).await.unwrap();
    assert_eq!(made.schema_found(), 0);
    let kind = if world.url.starts_with("sqlite:") { DatabaseKind::Sqlite } else { DatabaseKind::Postgres };
    assert_eq!(made.kind(), kind);
    made.ping().await.unwrap();
    made.close().await;
    assert!(made.ping().await.is_err());
    assert!(made.consume_token(token("late")).await.is_err());
    for mode in [OpenMode::Current, OpenMode::Migrate, OpenMode::Create] {
        assert_eq!(opened(&world.url, mode).await.unwrap().schema_found(), Store::schema_known());
    }
}

async fn a_newer_schema_is_refused(world: World) {
    world.open().await.close().await;
    meddle(&world, "INSERT INTO keywheel_schema (version, name) VALUES (1000, 'the future')").await;
    for mode in [OpenMode::Current, OpenMode::Migrate, OpenMode::Create] {
        let refused = opened(&world.url, mode).await.map(|_| ());
        assert!(matches!(refused, Err(StoreError::SchemaNewer { found: 1000, .. })), "{refused:?}");
    }
}

async fn two_processes_may_make_one_database_at_once(world: World) {
    let (one, other) = tokio::join!(opened(&world.url, OpenMode::Create), opened(&world.url, OpenMode::Create));
    issue(&one.unwrap(), 1, 1).await;
    assert!(other.unwrap().certificate(serial(1)).await.unwrap().is_some());
}

/// Something in every table.
async fn fill(store: &Store) {
    for number in 1..=1100 {
        store.record_issue(new_certificate(number, 1), None, at(10)).await.unwrap();
    }
    issue(store, 5001, 50).await;
    let mut request = rekey((5001, 50), (5002, 51));
    request.token = Some(token("used"));
    store.record_rekey(request).await.unwrap();
    complete(store, 5002).await;
    let revocation = Revocation {
        serial: serial(1),
        revoked_at: at(50),
        reason: ReasonCode::KeyCompromise,
        text: "why".to_owned(),
        by: "who".to_owned(),
        expires_at: None,
    };
    store.revoke(revocation).await.unwrap();
    let number = store.reserve_crl_number(at(60)).await.unwrap();
    let tbs = tbs_of(1);
    let crl = crate::NewCrl { number, tbs: tbs.clone(), this_update: at(60), next_update: at(70) };
    store.record_crl(crl).await.unwrap();
    store.complete_crl(number, signed(&tbs, 1)).await.unwrap();
}

async fn a_backup_restores_into_either_database(world: World) {
    let store = world.open().await;
    fill(&store).await;
    let backup = world.folder.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    for target in [World::sqlite(), World::postgres().await] {
        let restored = target.open().await;
        restored.restore(&backup).await.unwrap();
        let report = restored.check().await.unwrap();
        assert_eq!((report.certificates, report.unsigned, report.revocations), (1102, 1100, 1));
        assert_eq!(report.findings, Vec::<String>::new());
        for number in [1, 2, 1100, 5001, 5002] {
            let (there, here) = (restored.certificate(serial(number)).await, store.certificate(serial(number)).await);
            assert_eq!(there.unwrap().unwrap(), here.unwrap().unwrap());
        }
        assert_eq!(restored.revocation(serial(1)).await.unwrap(), store.revocation(serial(1)).await.unwrap());
        assert_eq!(restored.current_crl().await.unwrap(), store.current_crl().await.unwrap());
        assert_eq!(
            restored.due_supersessions(at(9999)).await.unwrap(),
            store.due_supersessions(at(9999)).await.unwrap()
        );
        assert_eq!(restored.consume_token(token("used")).await.unwrap(), crate::TokenOutcome::AlreadyUsed);
        let again = restored.record_rekey(rekey((5001, 50), (7000, 51))).await.unwrap();
        assert!(matches!(again, crate::RekeyOutcome::Replay(stored) if stored.serial == serial(5002)));
        assert!(restored.reserve_crl_number(at(0)).await.unwrap() > store.current_crl().await.unwrap().unwrap().number);
    }
}

async fn a_backup_replaces_no_file_and_a_restore_no_rows(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    let backup = world.folder.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    let before = std::fs::read(&backup).unwrap();
    let refused = store.backup(&backup).await;
    assert!(matches!(refused, Err(StoreError::BackupExists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&backup).unwrap(), before);
    let refused = store.restore(&backup).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty { table: "certificates" })), "{refused:?}");
    let missing = store.restore(&world.folder.path().join("none.db")).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
    // What was refused leaves no lock behind.
    issue(&store, 2, 2).await;
    let left: Vec<_> = std::fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("backup"))
        .collect();
    assert_eq!(left, ["backup.db"]);
}

async fn a_damaged_backup_is_not_restored(world: World) {
    let source = World::sqlite();
    let store = source.open().await;
    fill(&store).await;
    let backup = world.folder.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    let whole = std::fs::read(&backup).unwrap();
    let target = world.open().await;
    // Cut off, and a page in the middle overwritten.
    let mut scribbled = whole.clone();
    scribbled[whole.len() / 2..whole.len() / 2 + 4096].fill(0x5a);
    for damaged in [&whole[..whole.len() / 2], &scribbled, b"no database at all, but long enough to be read as one"] {
        std::fs::write(&backup, damaged).unwrap();
        let refused = target.restore(&backup).await;
        assert!(refused.is_err());
        assert_eq!(target.check().await.unwrap(), crate::CheckReport::default());
    }
    std::fs::write(&backup, &whole).unwrap();
    target.restore(&backup).await.unwrap();
}

async fn a_check_finds_contradictions(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    store.record_rekey(rekey((1, 1), (2, 2))).await.unwrap();
    let report = store.check().await.unwrap();
    assert_eq!((report.certificates, report.unsigned), (2, 1));
    assert!(report.is_sound(), "{report:?}");
    meddle(&world, "UPDATE rekeys SET new_key = old_serial").await;
    assert_eq!(store.check().await.unwrap().findings, ["rekeys whose certificate has another key: 1"]);
    meddle(&world, "DELETE FROM certificates WHERE predecessor IS NOT NULL").await;
    assert_eq!(
        store.check().await.unwrap().findings,
        [
            "rekeys whose certificate is missing: 1",
            "certificates that are to be revoked for a successor that is missing: 1"
        ]
    );
    let backup = world.folder.path().join("backup.db");
    let refused = store.backup(&backup).await;
    assert!(matches!(refused, Err(StoreError::BackupDamaged { .. })), "{refused:?}");
    assert!(!backup.exists());
    assert_eq!(
        store.certificate(serial(1)).await.unwrap().unwrap().body,
        CertificateBody::Signed(signed(&tbs_of(1), 1))
    );
}
