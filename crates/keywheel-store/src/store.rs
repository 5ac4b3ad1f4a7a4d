//! The store itself: one method for each thing to remember or to ask, each of them one transaction.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::serial::Serial;
use sqlx::postgres::PgConnectOptions;

use crate::certificate::{NewCertificate, Query, StoredCertificate};
use crate::check::CheckReport;
use crate::crl::{NewCrl, StoredCrl};
use crate::error::StoreError;
use crate::issue::{self, IssueOutcome};
use crate::lease::{self, Lease};
use crate::operation::Operation;
use crate::postgres::PostgresStore;
use crate::rekey::{RekeyOutcome, RekeyRequest, RenewalOutcome, RenewalRequest};
use crate::revocation::{self, Revocation, RevokeOutcome, Supersession};
use crate::session::Session;
use crate::sqlite::{SqliteStore, driven_aside};
use crate::token::{self, TokenOutcome, TokenUse};
use crate::{backup, check, crl, schema};

/// How many rows one pruning forgets at most, so that no other request waits long for it.
const PRUNE_LIMIT: u32 = 1000;

/// What may be done to a database when it is opened. A schema newer than this program is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It is made if it is missing, and brought to this program's schema.
    Create,
    /// It must be there, and is brought to this program's schema.
    Migrate,
    /// It must be there and have this program's schema.
    Current,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file, used by the processes of one machine.
    Sqlite,
    /// A server, used by several nodes.
    Postgres,
}

/// An open database. Cheap to clone; the clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    found: i64,
}

pub(crate) enum Database {
    Sqlite(Box<SqliteStore>),
    Postgres(PostgresStore),
}

enum Address {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Store {
    /// Opens `sqlite:<path>` or `postgres://<user>@<host>/<database>`.
    pub async fn open(url: &str, mode: OpenMode) -> Result<Self, StoreError> {
        let (database, found) = match address(url)? {
            Address::Sqlite(path) => {
                let (store, found) = SqliteStore::open(&path, mode).await?;
                (Database::Sqlite(Box::new(store)), found)
            }
            Address::Postgres(options) => {
                let (store, found) = PostgresStore::open(*options, mode).await?;
                (Database::Postgres(store), found)
            }
        };
        Ok(Self { database: Arc::new(database), found })
    }

    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        match *self.database {
            Database::Sqlite(_) => DatabaseKind::Sqlite,
            Database::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// The schema version that was found when it was opened; 0 if there was none.
    pub fn schema_found(&self) -> i64 {
        self.found
    }

    /// The schema version that this program works with.
    pub fn schema_known() -> i64 {
        schema::KNOWN
    }

    /// Lets what has arrived be committed, then lets go of the database. Every later request is refused.
    pub async fn close(&self) {
        match &*self.database {
            Database::Sqlite(store) => store.close().await,
            Database::Postgres(store) => store.close().await,
        }
    }

    /// After [`StoreError::Full`]: gives the room that was kept aside for that to the database. Whether there was any; it is kept
    /// aside again as soon as the disk has room.
    pub fn give_up_reserve(&self) -> bool {
        match &*self.database {
            Database::Sqlite(store) => store.give_up_reserve(),
            Database::Postgres(_) => false,
        }
    }

    /// Whether the database answers a reader; for health checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(Ping).await
    }

    /// Records a certificate that nothing precedes, and uses its token up, before it is signed.
    pub async fn record_issue(
        &self,
        new: NewCertificate,
        token: Option<TokenUse>,
        now: Timestamp,
    ) -> Result<IssueOutcome, StoreError> {
        self.write(issue::Record { new, token, now }).await
    }

    /// Records a certificate that takes another's place, with a new key, before it is signed. Core decides whether it may.
    pub async fn record_rekey(&self, request: RekeyRequest) -> Result<RekeyOutcome, StoreError> {
        self.write(request).await
    }

    /// Records a certificate that takes another's place, with the same key, before it is signed. Core decides whether it may.
    pub async fn record_renewal(&self, request: RenewalRequest) -> Result<RenewalOutcome, StoreError> {
        self.write(request).await
    }

    /// Stores a signed certificate. Answers the one to hand out: if the same was signed twice at once, the first of them.
    pub async fn complete(&self, serial: Serial, der: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, StoreError> {
        self.write(issue::Complete { serial, der, now }).await
    }

    /// The certificate with this serial number.
    pub async fn certificate(&self, serial: Serial) -> Result<Option<StoredCertificate>, StoreError> {
        Ok(self.read(Query::Serial(serial)).await?.into_iter().next())
    }

    /// The certificates with this key, oldest first.
    pub async fn certificates_by_key(&self, key: KeyDigest) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(Query::Key(key)).await
    }

    /// All certificates of the line that this one belongs to, oldest first.
    pub async fn lineage(&self, serial: Serial) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(Query::Line(serial)).await
    }

    /// Certificates whose subject or names contain the text, or whose serial number it is; newest first.
    /// The next page is asked for with the `recorded_at` of the last one.
    pub async fn find_certificates(
        &self,
        text: &str,
        limit: u32,
        recorded_before: Option<Timestamp>,
    ) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(Query::Search { text: text.to_owned(), limit, before: recorded_before }).await
    }

    /// Certificates that were recorded before this time and whose signature never came back, oldest first.
    pub async fn unsigned_certificates(
        &self,
        recorded_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(Query::Unsigned { recorded_before, limit }).await
    }

    /// Uses a one-time token up that authorises something else than a certificate.
    pub async fn consume_token(&self, token: TokenUse) -> Result<TokenOutcome, StoreError> {
        self.write(token::Consume(token)).await
    }

    /// Forgets up to a thousand tokens that are refused for their age anyway; answers how many.
    pub async fn prune_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(token::Prune { now, limit: PRUNE_LIMIT }).await
    }

    /// Notes that a certificate is in use. The first use of a successor revokes its predecessor where that waited for it.
    ///
    /// Writes only at the first use, so it may be called at each. Answers whether this was the first.
    pub async fn mark_seen(&self, serial: Serial, now: Timestamp) -> Result<bool, StoreError> {
        if !self.read(revocation::IsUnseen(serial)).await? {
            return Ok(false);
        }
        self.write(revocation::See { serial, now }).await
    }

    /// Revokes a certificate.
    pub async fn revoke(&self, revocation: Revocation) -> Result<RevokeOutcome, StoreError> {
        let outcomes = self.write(revocation::Revoke(vec![revocation])).await?;
        outcomes.into_iter().next().ok_or(StoreError::Closed)
    }

    /// Revokes a certificate and uses the token up that authorised it, both or neither.
    ///
    /// `None` if the token was used before; then nothing was revoked.
    pub async fn revoke_with_token(
        &self,
        revocation: Revocation,
        token: TokenUse,
    ) -> Result<Option<RevokeOutcome>, StoreError> {
        self.write(revocation::RevokeWithToken { revocation, token }).await
    }

    /// Takes over another CA's revocations, all or none; answers how many were new.
    pub async fn import_revocations(&self, revocations: Vec<Revocation>) -> Result<usize, StoreError> {
        let outcomes = self.write(revocation::Revoke(revocations)).await?;
        Ok(outcomes.iter().filter(|outcome| **outcome == RevokeOutcome::Revoked).count())
    }

    /// The revocation of this certificate, if it was revoked.
    pub async fn revocation(&self, serial: Serial) -> Result<Option<Revocation>, StoreError> {
        Ok(self.read(revocation::Revocations::Of(serial)).await?.into_iter().next())
    }

    /// The revocations that belong on a CRL made now, by serial number.
    pub async fn revocations_for_crl(&self, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
        self.read(revocation::Revocations::ForCrl { now }).await
    }

    /// Superseded certificates whose time has come, at most 500.
    pub async fn due_supersessions(&self, now: Timestamp) -> Result<Vec<Supersession>, StoreError> {
        self.read(revocation::Due { now }).await
    }

    /// Revokes superseded certificates whose time has come, at most 500; answers which.
    pub async fn apply_due_supersessions(&self, now: Timestamp) -> Result<Vec<Serial>, StoreError> {
        self.write(revocation::ApplyDue { now }).await
    }

    /// Draws the next CRL number: higher than every one before, and at least the time in seconds.
    pub async fn reserve_crl_number(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(crl::ReserveNumber { now }).await
    }

    /// Records a CRL before it is signed.
    pub async fn record_crl(&self, new: NewCrl) -> Result<(), StoreError> {
        self.write(crl::Record(new)).await
    }

    /// Stores a signed CRL; the oldest ones are forgotten.
    pub async fn complete_crl(&self, number: u64, der: Vec<u8>) -> Result<(), StoreError> {
        self.write(crl::Complete { number, der }).await
    }

    /// The newest signed CRL.
    pub async fn current_crl(&self) -> Result<Option<StoredCrl>, StoreError> {
        self.read(crl::Current).await
    }

    /// Lets the next CRL number be higher than this one: after taking over another CA's lists.
    pub async fn raise_crl_number(&self, at_least: u64) -> Result<(), StoreError> {
        self.write(crl::RaiseNumber(at_least)).await
    }

    /// Takes a lease, or prolongs it if `holder` has it already. `None` while another one holds it.
    pub async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        time_to_live: SignedDuration,
    ) -> Result<Option<Lease>, StoreError> {
        self.write(lease::Take { name: name.to_owned(), holder: holder.to_owned(), now, time_to_live }).await
    }

    /// Gives a lease back before its time, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.write(lease::Release { name: name.to_owned(), holder: holder.to_owned() }).await
    }

    /// Looks for damage and contradictions. Takes long on a large database; others may use it meanwhile.
    pub async fn check(&self) -> Result<CheckReport, StoreError> {
        let database = Arc::clone(&self.database);
        driven_aside(async move { check::check(&database).await }).await
    }

    /// Writes everything but leases into a new file: one consistent moment, readable for its owner only.
    ///
    /// Whatever the database is, the backup is an SQLite database with the same schema, and restores into either.
    pub async fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let (database, path) = (Arc::clone(&self.database), path.to_owned());
        driven_aside(async move { backup::backup(&database, &path).await }).await
    }

    /// Reads a backup into this database, which must be empty; all or nothing.
    pub async fn restore(&self, path: &Path) -> Result<(), StoreError> {
        let (store, path) = (self.clone(), path.to_owned());
        driven_aside(async move { backup::restore(&store, &store.database, &path).await }).await
    }

    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        match &*self.database {
            Database::Sqlite(store) => store.write(operation).await,
            Database::Postgres(store) => store.write(operation).await,
        }
    }

    async fn read<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        match &*self.database {
            Database::Sqlite(store) => store.read(operation).await,
            Database::Postgres(store) => store.read(operation).await,
        }
    }
}

struct Ping;

impl Operation for Ping {
    type Answer = ();

    fn doing(&self) -> &'static str {
        "asking whether the database answers"
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session.row("SELECT COUNT(*) FROM counters", &[]).await.map(|_| ())
    }
}

fn address(url: &str) -> Result<Address, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Address { url: without_password(url), source: Some(Arc::new(error)) })?;
        return Ok(Address::Postgres(Box::new(options)));
    }
    let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        // In memory nothing is remembered, and each connection would have its own.
        Some(path) if !path.is_empty() && !path.starts_with(":memory:") => Ok(Address::Sqlite(PathBuf::from(path))),
        _ => Err(StoreError::Address { url: without_password(url), source: None }),
    }
}

/// The address with the user's part hidden where it holds a password, which must not come into a log.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_an_error_shows_no_password() {
        assert_eq!(without_password("postgres://ca:s3cret@db/keywheel"), "postgres://…@db/keywheel");
        assert_eq!(without_password("mysql://ca:p@ss@db/x"), "mysql://…@db/x");
        assert_eq!(without_password("badger"), "badger");
    }

    #[test]
    fn only_a_file_or_a_server_is_an_address() {
        for url in ["", "keywheel.db", "sqlite:", "sqlite::memory:", "mysql://db/x"] {
            assert!(matches!(address(url), Err(StoreError::Address { .. })), "{url}");
        }
        for (url, path) in [("sqlite:a/b.db", "a/b.db"), ("sqlite:///var/b.db", "/var/b.db"), ("sqlite:/b.db", "/b.db")]
        {
            assert!(matches!(address(url), Ok(Address::Sqlite(found)) if found == Path::new(path)), "{url}");
        }
    }
}
