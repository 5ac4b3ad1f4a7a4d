//! Looking for damage and contradictions in what is remembered.

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Database;

/// How much damage is listed at most.
const FINDINGS: usize = 100;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// How many certificates are remembered.
    pub certificates: u64,
    /// How many of them were recorded but never signed: harmless, each is a request that was cut off.
    pub unsigned: u64,
    /// How many revocations are remembered.
    pub revocations: u64,
    /// What is wrong, at most the first hundred; empty if all is well.
    pub findings: Vec<String>,
}

impl CheckReport {
    /// Whether nothing wrong was found.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What must never be, and how many rows say that it is.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "serial numbers that more than one certificate has",
        "SELECT COUNT(*) FROM (SELECT serial FROM certificates GROUP BY serial HAVING COUNT(*) > 1) AS twice",
    ),
    (
        "certificates that more than one rekey has",
        "SELECT COUNT(*) FROM (SELECT new_serial FROM rekeys GROUP BY new_serial HAVING COUNT(*) > 1) AS twice",
    ),
    (
        "rekeys whose certificate is missing",
        "SELECT COUNT(*) FROM rekeys k LEFT JOIN certificates c ON c.serial = k.new_serial WHERE c.serial IS NULL",
    ),
    (
        "rekeys whose certificate has another key",
        "SELECT COUNT(*) FROM rekeys k JOIN certificates c ON c.serial = k.new_serial WHERE c.key_digest <> k.new_key",
    ),
    (
        "rekeys whose certificate names another predecessor",
        "SELECT COUNT(*) FROM rekeys k JOIN certificates c ON c.serial = k.new_serial \
         WHERE c.predecessor IS NULL OR c.predecessor <> k.old_serial",
    ),
    (
        "certificates whose line begins in the middle of another",
        "SELECT COUNT(*) FROM certificates c JOIN certificates l ON l.serial = c.lineage WHERE l.lineage <> l.serial",
    ),
    (
        "certificates with a predecessor of another line",
        "SELECT COUNT(*) FROM certificates c JOIN certificates p ON p.serial = c.predecessor \
         WHERE p.lineage <> c.lineage",
    ),
    (
        "tokens that were used for a certificate that is missing",
        "SELECT COUNT(*) FROM used_tokens t LEFT JOIN certificates c ON c.serial = t.serial \
         WHERE t.serial IS NOT NULL AND c.serial IS NULL",
    ),
    ("certificates that end before they begin", "SELECT COUNT(*) FROM certificates WHERE not_after < not_before"),
    (
        "certificates that are to be revoked for a successor that is missing",
        "SELECT COUNT(*) FROM supersessions s LEFT JOIN certificates c ON c.serial = s.successor \
         WHERE c.serial IS NULL",
    ),
    (
        "certificates that are to be revoked but are so already",
        "SELECT COUNT(*) FROM supersessions s JOIN revocations r ON r.serial = s.old_serial",
    ),
    (
        "revocations with a reason that the standard does not know",
        "SELECT COUNT(*) FROM revocations WHERE reason_code NOT IN (0, 1, 2, 3, 4, 5, 6, 8, 9, 10)",
    ),
    (
        "CRLs with a number that was never drawn",
        "SELECT COUNT(*) FROM crls WHERE number > (SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'crl')",
    ),
];

/// Checks an open database on a connection of its own.
pub(crate) async fn check(database: &Database) -> Result<CheckReport, StoreError> {
    match database {
        Database::Sqlite(store) => check_session(&mut Session::Sqlite(&mut store.connect()?)).await,
        Database::Postgres(store) => check_session(&mut Session::Postgres(&mut store.connect().await?)).await,
    }
}

/// Checks one consistent moment of a database.
pub(crate) async fn check_session(session: &mut Session<'_>) -> Result<CheckReport, StoreError> {
    begin_reading(session).await?;
    let report = examine(session).await;
    session.raw("ROLLBACK").await?;
    report
}

/// Begins a transaction that sees one moment throughout.
pub(crate) async fn begin_reading(session: &mut Session<'_>) -> Result<(), StoreError> {
    match session {
        Session::Sqlite(_) => session.raw("BEGIN").await,
        Session::Postgres(_) => session.raw("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
    }
}

async fn examine(session: &mut Session<'_>) -> Result<CheckReport, StoreError> {
    let mut findings = Vec::new();
    if let Session::Sqlite(_) = session {
        for row in session.rows("PRAGMA integrity_check(100)", &[]).await? {
            let finding = row.text(0)?;
            if finding != "ok" {
                findings.push(finding);
            }
        }
    }
    for (what, sql) in CONTRADICTIONS {
        let rows = count(session, sql).await?;
        if rows > 0 {
            findings.push(format!("{what}: {rows}"));
        }
    }
    findings.truncate(FINDINGS);
    Ok(CheckReport {
        certificates: count(session, "SELECT COUNT(*) FROM certificates").await?,
        unsigned: count(session, "SELECT COUNT(*) FROM certificates WHERE der IS NULL").await?,
        revocations: count(session, "SELECT COUNT(*) FROM revocations").await?,
        findings,
    })
}

async fn count(session: &mut Session<'_>, sql: &'static str) -> Result<u64, StoreError> {
    let rows = session.row(sql, &[]).await?.map_or(Ok(0), |row| row.int(0))?;
    u64::try_from(rows).map_err(|_| StoreError::Value { what: "a count" })
}
