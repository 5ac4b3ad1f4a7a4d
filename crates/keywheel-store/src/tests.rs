//! The same suite on both databases, with a real PostgreSQL that the tests start and stop themselves.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::provisioner::AfterRekey;
use keywheel_core::serial::Serial;
use keywheel_core::validity::Validity;

use crate::{Issuer, NewCertificate, OldCertificate, OpenMode, RekeyRequest, Store, TokenUse};

/// Makes a test of each named function for each database.
macro_rules! on_each_database {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::tests::World::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::tests::World::postgres().await).await;
            })*
        }
    };
}

mod issuing;
mod keeping;
mod postgres_server;
mod rekeying;
mod revoking;
mod writer;

/// An empty database of its own for one test.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: format!("sqlite:{}", folder.path().join("store.db").display()), folder }
    }

    pub(crate) async fn postgres() -> Self {
        Self { url: postgres_server::new_database().await, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url, OpenMode::Create).await.unwrap()
    }
}

/// A moment, so many seconds after the tests' beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn serial(number: u64) -> Serial {
    Serial::from_bytes(&number.to_be_bytes()).unwrap()
}

pub(crate) fn key(number: u8) -> KeyDigest {
    KeyDigest([number; 32])
}

/// A DER sequence of these bytes.
pub(crate) fn sequence(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82], &length[..], content].concat()
}

pub(crate) fn tbs_of(number: u64) -> Vec<u8> {
    sequence(format!("to be signed: certificate {number}").as_bytes())
}

/// What stands for the signed certificate: to be signed, and a signature.
pub(crate) fn signed(tbs: &[u8], signature: u8) -> Vec<u8> {
    sequence(&[tbs, &[0x03, 0x02, 0x00, signature]].concat())
}

pub(crate) fn validity() -> Validity {
    Validity { not_before: at(0), not_after: at(86_400) }
}

pub(crate) fn new_certificate(number: u64, key_number: u8) -> NewCertificate {
    NewCertificate {
        serial: serial(number),
        tbs: tbs_of(number),
        subject: format!("CN=host{number}.example"),
        names: vec![format!("host{number}.example"), "10.0.0.1".to_owned()],
        key: key(key_number),
        not_before: validity().not_before,
        not_after: validity().not_after,
        issuer: Some(Issuer { kind: "JWK".to_owned(), name: "admin".to_owned(), id: "kid".to_owned() }),
    }
}

/// The wish of certificate `old` with key `old_key` to get certificate `new` with key `new_key`.
pub(crate) fn rekey((old, old_key): (u64, u8), (new, new_key): (u64, u8)) -> RekeyRequest {
    RekeyRequest {
        old: OldCertificate { serial: serial(old), key: key(old_key), validity: validity() },
        new: new_certificate(new, new_key),
        token: None,
        renewal_disabled: false,
        allow_after_expiry: false,
        after: AfterRekey::RevokeWhenSuccessorSeen { at_latest: SignedDuration::from_mins(10) },
        now: at(100),
    }
}

pub(crate) fn token(name: &str) -> TokenUse {
    TokenUse { token: name.to_owned(), request: None, expires_at: at(300) }
}

/// Records and completes a certificate.
pub(crate) async fn issue(store: &Store, number: u64, key_number: u8) {
    let outcome = store.record_issue(new_certificate(number, key_number), None, at(10)).await.unwrap();
    assert_eq!(outcome, crate::IssueOutcome::Recorded);
    complete(store, number).await;
}

pub(crate) async fn complete(store: &Store, number: u64) {
    store.complete(serial(number), signed(&tbs_of(number), 1), at(11)).await.unwrap();
}
