//! Where the authority is, how it is trusted, and the ways to ask it: over HTTP or in this process.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use jiff::SignedDuration;
use keywheel_core::fingerprint::CertificateDigest;
use keywheel_reach::step_client::StepClient;
use keywheel_reach::tls::{Identity, Trust};
use keywheel_wire::x509::certificate::Certificate;
use serde_json::{Map, Value};

use super::error::ClientError;
use super::{ask, load};

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
        Ok(Self { url: base_of(url)?, root, time_limit: DEFAULT_TIME_LIMIT })
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
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A client that trusts the roots of this moment.
    pub(super) fn client(&self, identity: Option<&Identity>) -> Result<StepClient, ClientError> {
        let trust = Trust::Roots(load::roots(&self.root)?);
        StepClient::new(&self.url, &trust, identity, self.time_limit).map_err(ask::failed)
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

impl Certifier {
    /// The address of the authority, or its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Remote(access) => access.url(),
            Self::Local(authority) => authority.name(),
        }
    }
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
        /// Data for the template.
        template_data: Option<Value>,
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
    provisioners: Vec<Map<String, Value>>,
    root_fingerprint: Option<String>,
}

impl LocalAuthority {
    /// `name` is the first DNS name of the authority, which its tokens are addressed to.
    pub fn new(name: String, ask: impl Fn(LocalRequest) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), name, provisioners: Vec::new(), root_fingerprint: None }
    }

    /// With its provisioners, as they stand in `ca.json`, so that tokens can be made.
    pub fn with_provisioners(self, provisioners: Vec<Map<String, Value>>) -> Self {
        Self { provisioners, ..self }
    }

    /// With the SHA-256 of its root, in hexadecimal, for the tokens.
    pub fn with_root_fingerprint(self, fingerprint: String) -> Self {
        Self { root_fingerprint: Some(fingerprint), ..self }
    }

    /// The first DNS name of the authority.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its provisioners.
    pub fn provisioners(&self) -> &[Map<String, Value>] {
        &self.provisioners
    }

    /// The SHA-256 of its root.
    pub fn root_fingerprint(&self) -> Option<&str> {
        self.root_fingerprint.as_deref()
    }

    /// Asks and waits.
    pub async fn ask(&self, request: LocalRequest) -> Result<Vec<Vec<u8>>, ClientError> {
        (self.ask)(request).await
    }
}

/// Asks whether the authority serves; the answer is its status, normally "ok".
pub async fn health(access: &CaAccess) -> Result<String, ClientError> {
    Ok(access.client(None)?.health().await.map_err(ask::failed)?.status)
}

/// The version that the authority says it is.
pub async fn version(access: &CaAccess) -> Result<String, ClientError> {
    Ok(access.client(None)?.version().await.map_err(ask::failed)?.version)
}

/// All roots of the authority, as PEM.
pub async fn roots(access: &CaAccess) -> Result<Vec<String>, ClientError> {
    Ok(access.client(None)?.roots().await.map_err(ask::failed)?.crts)
}

/// The roots of the authorities that it is federated with, as PEM.
pub async fn federation(access: &CaAccess) -> Result<Vec<String>, ClientError> {
    Ok(access.client(None)?.federation().await.map_err(ask::failed)?.crts)
}

/// The provisioners of the authority, all pages of them, as in its `ca.json`.
pub async fn provisioners(access: &CaAccess) -> Result<Vec<Value>, ClientError> {
    let provisioners = access.client(None)?.provisioners().await.map_err(ask::failed)?;
    Ok(provisioners.into_iter().map(Value::Object).collect())
}

/// The root with this SHA-256 fingerprint, as PEM, fetched without any trust and compared.
pub async fn root_by_fingerprint(url: &str, fingerprint: &str) -> Result<String, ClientError> {
    let base = base_of(url)?;
    let wanted = CertificateDigest::parse(fingerprint.trim())
        .map_err(|_| ClientError::Usage(format!("invalid value '{fingerprint}' for flag '--fingerprint'")))?;
    let client = StepClient::new(&base, &Trust::Anybody, None, DEFAULT_TIME_LIMIT).map_err(ask::failed)?;
    let answer = client.root(&wanted.to_string()).await.map_err(ask::failed)?;
    let root = Certificate::from_pem(answer.ca.as_bytes()).map_err(|error| ClientError::Garbled(error.into()))?;
    if root.digest() != wanted {
        return Err(ClientError::Untrusted(
            format!("{base} sent a root with fingerprint {} instead of {wanted}; it was not kept", root.digest())
                .into(),
        ));
    }
    // Not the text that came: it could hold more than the certificate that was compared.
    Ok(root.to_pem())
}

/// The `https://host[:port]` that a text means.
fn base_of(url: &str) -> Result<String, ClientError> {
    let wrong = |what: &str| ClientError::Usage(format!("invalid value '{url}' for flag '--ca-url'; {what}"));
    let text = url.trim();
    let rest = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err(wrong("must have https scheme")),
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
        return Err(wrong("must name a host"));
    }
    // An IPv6 address needs brackets before a port can follow it.
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("https://[{host}]"));
    }
    Ok(format!("https://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reduced_to_scheme_host_and_port() {
        for (typed, base) in [
            ("ca.example.com", "https://ca.example.com"),
            ("ca.example.com:9000", "https://ca.example.com:9000"),
            ("https://ca.example.com:9000/path?query", "https://ca.example.com:9000"),
            ("HTTPS://ca.example.com/", "https://ca.example.com"),
            ("::1", "https://[::1]"),
            ("[::1]:9000", "https://[::1]:9000"),
        ] {
            assert_eq!(base_of(typed).unwrap(), base);
        }
    }

    #[test]
    fn anything_but_https_is_refused() {
        let refused = |typed: &str| base_of(typed).unwrap_err().to_string();
        assert_eq!(
            refused("http://ca.example.com"),
            "invalid value 'http://ca.example.com' for flag '--ca-url'; must have https scheme"
        );
        assert!(refused("https://").contains("must name a host"));
        assert!(refused("https://user@host").contains("must name a host"));
    }
}
