//! The certificate authority: authorises, decides, records, signs, and records again.

mod error;
mod issue;
mod settings;

pub use error::{AuthorityError, OpenError};

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use keywheel_wire::private_key::PrivateKey;
use keywheel_wire::step::messages::TlsOptions;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// What is needed to open a certificate authority.
pub struct AuthorityOptions {
    /// The `ca.json` to read; read again by [`Authority::reload`].
    pub config_file: PathBuf,
    /// The password of the issuing CA's key, where it is encrypted.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// The database to use instead of the one that `ca.json` names (`sqlite:<path>` or `postgres://…`).
    pub database: Option<String>,
    /// Start with an empty database although `ca.json` names one that cannot be read.
    pub fresh_database: bool,
}

/// A certificate authority that is open: its settings, its keys and its store.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    options: AuthorityOptions,
}

/// A certificate that was issued (or issued before and asked for again).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf first, then the intermediates, each DER; never the root.
    pub chain: Vec<Vec<u8>>,
    /// True where the same request was answered before with this certificate.
    pub replayed: bool,
}

/// A request for a first certificate.
#[derive(Clone, Debug, Default)]
pub struct SignRequest {
    /// The certificate signing request, DER.
    pub csr: Vec<u8>,
    /// The one-time token.
    pub token: String,
    /// Wanted start: RFC 3339 time, Go duration from now, or empty.
    pub not_before: String,
    /// Wanted end: RFC 3339 time, Go duration from now, or empty.
    pub not_after: String,
    /// Data of the user for the template (`.Insecure.User`).
    pub template_data: Option<serde_json::Value>,
}

/// Who asks for a renewal or a new key.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The certificate chain of a TLS client that proved to hold its key, leaf first.
    Tls(Vec<Vec<u8>>),
    /// A token that carries and is signed by the certificate.
    Token(String),
}

/// Who asks for a revocation.
#[derive(Clone, Debug)]
pub enum Revoker {
    /// The certificate chain of a TLS client, leaf first: revokes itself.
    Tls(Vec<Vec<u8>>),
    /// A one-time token of a provisioner.
    Token(String),
}

/// A request to revoke a certificate.
#[derive(Clone, Debug, Default)]
pub struct RevokeRequest {
    /// Serial number, decimal or 0x-hexadecimal.
    pub serial: String,
    /// Reason code of RFC 5280.
    pub reason_code: i64,
    /// Why, in the words of the one who asks.
    pub reason: String,
    /// Must be true: only passive revocation exists.
    pub passive: bool,
}

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// The signed list, DER.
    pub der: Vec<u8>,
    /// When the next one is due.
    pub expires: Timestamp,
}

/// What the server shows to its clients: a certificate of this authority for its own names.
pub struct ServerIdentity {
    /// Leaf first, then the intermediates, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// When the leaf begins and ends.
    pub validity: (Timestamp, Timestamp),
}

/// Where `ca.json` wants the server to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The step API over TLS (`:443`, `127.0.0.1:8443`).
    pub https: String,
    /// Plain HTTP.
    pub http: Option<String>,
    /// Metrics.
    pub metrics: Option<String>,
}

/// A page of provisioners.
#[derive(Clone, Debug)]
pub struct ProvisionerPage {
    /// The objects as they stand in `ca.json`.
    pub provisioners: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where the next page starts; empty on the last one.
    pub next_cursor: String,
}

impl Authority {
    /// Reads `ca.json`, opens keys and store.
    pub async fn open(_options: AuthorityOptions, _now: Timestamp) -> Result<Self, OpenError> {
        todo!()
    }

    /// Reads `ca.json` again and, where it is right, goes on with it; where it is wrong nothing is changed.
    pub async fn reload(&self) -> Result<(), OpenError> {
        todo!()
    }

    /// Issues a first certificate for a one-time token.
    pub async fn sign(&self, _request: SignRequest, _now: Timestamp) -> Result<Issued, AuthorityError> {
        todo!()
    }

    /// Issues a certificate with the same key and a new lifetime.
    pub async fn renew(&self, _caller: Caller, _now: Timestamp) -> Result<Issued, AuthorityError> {
        todo!()
    }

    /// Issues a certificate with the key of `csr` (DER) in place of the caller's.
    pub async fn rekey(&self, _caller: Caller, _csr: Vec<u8>, _now: Timestamp) -> Result<Issued, AuthorityError> {
        todo!()
    }

    /// Revokes a certificate.
    pub async fn revoke(&self, _revoker: Revoker, _request: RevokeRequest, _now: Timestamp) -> Result<(), AuthorityError> {
        todo!()
    }

    /// The root certificates, DER.
    pub fn roots(&self) -> Vec<Vec<u8>> {
        todo!()
    }

    /// The root certificate with this SHA-256 fingerprint (hexadecimal, dashes ignored).
    pub fn root(&self, _fingerprint: &str) -> Result<Vec<u8>, AuthorityError> {
        todo!()
    }

    /// The intermediate certificates, issuing one first, DER.
    pub fn intermediates(&self) -> Vec<Vec<u8>> {
        todo!()
    }

    /// The roots and the federated roots, DER.
    pub fn federation(&self) -> Vec<Vec<u8>> {
        todo!()
    }

    /// A page of the provisioners.
    pub fn provisioners(&self, _cursor: &str, _limit: usize) -> ProvisionerPage {
        todo!()
    }

    /// The encrypted key (compact JWE) of the provisioner with this key id.
    pub fn encrypted_key(&self, _kid: &str) -> Result<String, AuthorityError> {
        todo!()
    }

    /// The current revocation list.
    pub async fn crl(&self, _now: Timestamp) -> Result<Crl, AuthorityError> {
        todo!()
    }

    /// A fresh certificate for the server's own names.
    pub async fn server_identity(&self, _now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        todo!()
    }

    /// The TLS settings of `ca.json`.
    pub fn tls_options(&self) -> TlsOptions {
        todo!()
    }

    /// Counts up at each reload.
    pub fn generation(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Where to listen: `address`, `insecureAddress`, `metricsAddress` of `ca.json`.
    pub fn addresses(&self) -> Addresses {
        todo!()
    }

    /// Whether the store answers.
    pub async fn health(&self, _now: Timestamp) -> Result<(), AuthorityError> {
        todo!()
    }

    /// Runs the loops (revocation list, superseded certificates, used tokens) until `shutdown` turns true.
    pub async fn run(&self, _shutdown: watch::Receiver<bool>) {
        todo!()
    }
}
