//! Where the authority is, how it is trusted, and the ways to ask it: over HTTP or in this process.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use jiff::SignedDuration;

use super::error::ClientError;

/// How long one request may take unless the caller says otherwise.
pub const DEFAULT_TIME_LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// An authority that is reached over HTTPS.
#[derive(Debug, Clone)]
pub struct CaAccess {
    url: String,
    root: PathBuf,
    time_limit: SignedDuration,
}

impl CaAccess {
    /// `url` may lack its scheme; anything but https is refused, a path is dropped. `root` holds the trusted roots.
    pub fn new(url: &str, root: PathBuf) -> Result<Self, ClientError> {
        let _ = url;
        Ok(Self { url: url.to_owned(), root, time_limit: DEFAULT_TIME_LIMIT })
    }

    /// The same with another limit for each request.
    pub fn with_time_limit(self, time_limit: SignedDuration) -> Self {
        Self { time_limit, ..self }
    }

    /// `https://host[:port]`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file of the trusted roots.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }
}

/// Who certifies: an authority over HTTPS, or one in this process (`--offline`).
#[derive(Clone)]
pub enum Certifier {
    /// Over HTTPS.
    Remote(CaAccess),
    /// In this process.
    Local(LocalAuthority),
}

/// What an authority in this process is asked for.
#[derive(Debug, Clone)]
pub enum LocalRequest {
    /// A certificate for the request, authorised by the token.
    Sign {
        /// The request.
        request_der: Vec<u8>,
        /// The one-time token.
        token: String,
        /// As the caller typed it, or empty.
        not_before: String,
        /// As the caller typed it, or empty.
        not_after: String,
    },
    /// A certificate for the same key again.
    Renew {
        /// The leaf first.
        chain_der: Vec<Vec<u8>>,
    },
    /// A certificate for another key.
    Rekey {
        /// The leaf first.
        chain_der: Vec<Vec<u8>>,
        /// The request of the new key.
        request_der: Vec<u8>,
    },
    /// The end of a certificate.
    Revoke {
        /// Decimal or 0x-hexadecimal.
        serial: String,
        /// The one-time token, if the certificate itself does not authorise.
        token: Option<String>,
        /// The certificate that revokes itself, the leaf first, or nothing.
        chain_der: Vec<Vec<u8>>,
        /// The reason of RFC 5280.
        reason_code: u8,
        /// In words.
        reason: String,
    },
}

/// The answer of an authority in this process: the chain, leaf first (empty after a revocation).
pub type LocalAnswer = Pin<Box<dyn Future<Output = Result<Vec<Vec<u8>>, ClientError>> + Send>>;

/// An authority in this process.
#[derive(Clone)]
pub struct LocalAuthority {
    ask: Arc<dyn Fn(LocalRequest) -> LocalAnswer + Send + Sync>,
    name: String,
}

impl LocalAuthority {
    /// `name` is the first DNS name of the authority, which its tokens are addressed to.
    pub fn new(name: String, ask: impl Fn(LocalRequest) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), name }
    }

    /// The first DNS name of the authority.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks and waits.
    pub async fn ask(&self, request: LocalRequest) -> Result<Vec<Vec<u8>>, ClientError> {
        (self.ask)(request).await
    }
}

/// Asks whether the authority serves; the answer is its status, normally "ok".
pub async fn health(access: &CaAccess) -> Result<String, ClientError> {
    let _ = access;
    todo!()
}

/// The version that the authority says it is.
pub async fn version(access: &CaAccess) -> Result<String, ClientError> {
    let _ = access;
    todo!()
}

/// All roots of the authority, as PEM.
pub async fn roots(access: &CaAccess) -> Result<Vec<String>, ClientError> {
    let _ = access;
    todo!()
}

/// The roots of the authorities that it is federated with, as PEM.
pub async fn federation(access: &CaAccess) -> Result<Vec<String>, ClientError> {
    let _ = access;
    todo!()
}

/// The root with this SHA-256 fingerprint, as PEM, fetched without any trust and compared.
pub async fn root_by_fingerprint(url: &str, fingerprint: &str) -> Result<String, ClientError> {
    let _ = (url, fingerprint);
    todo!()
}

/// The provisioners of the authority, all pages of them, as in its `ca.json`.
pub async fn provisioners(access: &CaAccess) -> Result<Vec<serde_json::Value>, ClientError> {
    let _ = access;
    todo!()
}
