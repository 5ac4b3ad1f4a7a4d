//! The step API as a client speaks it: one method for each route, a limit on every request and every answer.

mod second_look;

use std::time::Duration;

use jiff::SignedDuration;
use keywheel_wire::step::messages::{
    CertificatesResponse, EncryptedKeyResponse, ErrorResponse, ProvisionersResponse, RekeyRequest, RevokeRequest,
    RootResponse, SignRequest, SignResponse, StatusResponse, VersionResponse,
};
use reqwest::{Method, StatusCode, header};
use rustls::AlertDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::second_look::SecondLook;
use crate::tls::{self, Identity, TlsError, Trust};

/// The longest answer that is read; a long list of provisioners is far below it.
const MAX_ANSWER: usize = 4 << 20;

/// So many pages of provisioners, a hundred on each, are read.
const MAX_PAGES: usize = 1000;

/// Reaching a host that is there does not take longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("keywheel/", env!("CARGO_PKG_VERSION"));

/// One authority, asked by one identity or by none.
#[derive(Debug, Clone)]
pub struct StepClient {
    http: reqwest::Client,
    base: String,
    /// Only with an identity: without one there is nothing that the server could refuse in the handshake.
    second_look: Option<SecondLook>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The client could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library refuses the settings.
    #[error("the HTTP client could not be made")]
    Setup(#[source] reqwest::Error),
    /// The authority said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The authority did not accept the client certificate.
    #[error("the certificate authority did not accept the client certificate in the TLS handshake ({alert})")]
    ClientCertificate {
        /// The alert that it sent.
        alert: String,
        /// Whether it called the certificate expired.
        expired: bool,
    },
    /// The authority shows a certificate that the roots do not vouch for.
    #[error(
        "the server at {base} is not trusted: its certificate does not lead to a root in the --root file, or is not for this name"
    )]
    NotTrusted {
        /// Its address.
        base: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The authority was not reached, or did not answer in time.
    #[error("no answer from {base}")]
    Unreachable {
        /// Its address.
        base: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The authority is there, but cannot answer now.
    #[error("{base} cannot answer now (status {status}): {message}")]
    Busy {
        /// Its address.
        base: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// When to come back, if it said so.
        retry_after: Option<SignedDuration>,
    },
    /// The answer is not one of the step API.
    #[error("the answer of {base} (status {status}) is not one of a certificate authority: {hint}")]
    Garbled {
        /// Its address.
        base: String,
        /// The HTTP status.
        status: u16,
        /// What it seems to be.
        hint: String,
    },
}

impl StepClient {
    /// `base` is `https://host[:port]`; `limit` is for each request, from the connection to the end of the answer.
    pub fn new(
        base: &str,
        trust: &Trust,
        identity: Option<&Identity>,
        limit: SignedDuration,
    ) -> Result<Self, CallError> {
        let limit = Duration::try_from(limit).unwrap_or(CONNECT_LIMIT);
        let settings = tls::client_config(trust, identity)?;
        let second_look = identity.map(|_| SecondLook::new(&settings));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(settings)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(USER_AGENT)
            .connect_timeout(limit.min(CONNECT_LIMIT))
            .timeout(limit)
            .build()
            .map_err(CallError::Setup)?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), second_look })
    }

    /// Whether the authority serves.
    pub async fn health(&self) -> Result<StatusResponse, CallError> {
        self.get("/health").await
    }

    /// Which program it is.
    pub async fn version(&self) -> Result<VersionResponse, CallError> {
        self.get("/version").await
    }

    /// The root with this fingerprint. The caller compares.
    pub async fn root(&self, fingerprint: &str) -> Result<RootResponse, CallError> {
        self.get(&format!("/root/{}", escape(fingerprint))).await
    }

    /// All roots.
    pub async fn roots(&self) -> Result<CertificatesResponse, CallError> {
        self.get("/roots").await
    }

    /// All issuing certificates.
    pub async fn intermediates(&self) -> Result<CertificatesResponse, CallError> {
        self.get("/intermediates").await
    }

    /// The roots of the authorities that it trusts.
    pub async fn federation(&self) -> Result<CertificatesResponse, CallError> {
        self.get("/federation").await
    }

    /// All provisioners, page after page.
    pub async fn provisioners(&self) -> Result<Vec<Map<String, Value>>, CallError> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MAX_PAGES {
            let page: ProvisionersResponse =
                self.get(&format!("/provisioners?limit=100&cursor={}", escape(&cursor))).await?;
            all.extend(page.provisioners);
            // A cursor that does not move would be followed for ever.
            if page.next_cursor.is_empty() || page.next_cursor == cursor {
                break;
            }
            cursor = page.next_cursor;
        }
        Ok(all)
    }

    /// The encrypted private key of a provisioner.
    pub async fn encrypted_key(&self, kid: &str) -> Result<EncryptedKeyResponse, CallError> {
        self.get(&format!("/provisioners/{}/encrypted-key", escape(kid))).await
    }

    /// The current revocation list, DER.
    pub async fn crl(&self) -> Result<Vec<u8>, CallError> {
        self.call(Method::GET, "/crl", None, None).await
    }

    /// A certificate for a request and its token.
    pub async fn sign(&self, request: &SignRequest) -> Result<SignResponse, CallError> {
        self.post("/sign", Some(request), None).await
    }

    /// A certificate for the same key; `bearer` speaks where no client certificate can.
    pub async fn renew(&self, bearer: Option<&str>) -> Result<SignResponse, CallError> {
        self.post::<(), _>("/renew", None, bearer).await
    }

    /// A certificate for another key; `bearer` speaks where no client certificate can.
    pub async fn rekey(&self, request: &RekeyRequest, bearer: Option<&str>) -> Result<SignResponse, CallError> {
        self.post("/rekey", Some(request), bearer).await
    }

    /// The end of a certificate.
    pub async fn revoke(&self, request: &RevokeRequest) -> Result<StatusResponse, CallError> {
        self.post("/revoke", Some(request), None).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, CallError> {
        let answer = self.call(Method::GET, path, None, None).await?;
        self.decode(&answer)
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: Option<&Q>,
        bearer: Option<&str>,
    ) -> Result<A, CallError> {
        let body = request.map(serde_json::to_vec).transpose().map_err(|error| CallError::Garbled {
            base: self.base.clone(),
            status: 0,
            hint: error.to_string(),
        })?;
        let answer = self.call(Method::POST, path, Some(body.unwrap_or_default()), bearer).await?;
        self.decode(&answer)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        bearer: Option<&str>,
    ) -> Result<Vec<u8>, CallError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(id) = request_id() {
            request = request.header("X-Request-Id", id);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.no_answer(error).await),
        };
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(SignedDuration::from_secs);
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if answer.len() + piece.len() > MAX_ANSWER {
                return Err(self.garbled(status, "it is too long".to_owned()));
            }
            answer.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(answer);
        }
        Err(self.refusal(status, &answer, retry_after))
    }

    fn decode<A: DeserializeOwned>(&self, answer: &[u8]) -> Result<A, CallError> {
        serde_json::from_slice(answer).map_err(|error| self.garbled(StatusCode::OK, describe(answer, &error)))
    }

    fn refusal(&self, status: StatusCode, answer: &[u8], retry_after: Option<SignedDuration>) -> CallError {
        let parsed = serde_json::from_slice::<ErrorResponse>(answer);
        // 500 is the authority's own trouble, not a judgement: the same request may work later.
        let later = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        if later || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            let message = match parsed {
                Ok(error) => error.message,
                Err(error) => describe(answer, &error),
            };
            return CallError::Busy { base: self.base.clone(), status: status.as_u16(), message, retry_after };
        }
        match parsed {
            Ok(error) => CallError::Refused { status: status.as_u16(), message: error.message },
            Err(error) => self.garbled(status, describe(answer, &error)),
        }
    }

    fn garbled(&self, status: StatusCode, hint: String) -> CallError {
        CallError::Garbled { base: self.base.clone(), status: status.as_u16(), hint }
    }

    /// Why a request has no answer. A connection that was ended under it may have been a refusal of our certificate.
    async fn no_answer(&self, error: reqwest::Error) -> CallError {
        let ended_under_it = error.is_request() && !error.is_timeout() && !error.is_connect();
        let reason = self.unreachable(error);
        if let (CallError::Unreachable { .. }, true, Some(look)) = (&reason, ended_under_it, &self.second_look)
            && let Some(alert) = look.alert(&self.base).await
            && is_about_our_certificate(alert)
        {
            return refused_by(alert);
        }
        reason
    }

    fn unreachable(&self, error: reqwest::Error) -> CallError {
        let base = self.base.clone();
        match tls_fault(&error) {
            Some(rustls::Error::AlertReceived(alert)) if is_about_our_certificate(*alert) => refused_by(*alert),
            Some(rustls::Error::InvalidCertificate(fault)) => {
                CallError::NotTrusted { base, source: fault.clone().to_string().into() }
            }
            _ => CallError::Unreachable { base, source: Box::new(error.without_url()) },
        }
    }
}

/// Finds what the TLS library said among the causes.
fn tls_fault<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(found) = at.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io::Error does not name what it wraps as its source, only the source of that.
        if let Some(inner) = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            return tls_fault(inner);
        }
        cause = at.source();
    }
    None
}

fn refused_by(alert: AlertDescription) -> CallError {
    CallError::ClientCertificate { alert: format!("{alert:?}"), expired: alert == AlertDescription::CertificateExpired }
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            // An issuer that only has the same name as one of the authority's.
            | AlertDescription::DecryptError
    )
}

/// Says what an answer seems to be when it is not what was expected.
fn describe(answer: &[u8], error: &serde_json::Error) -> String {
    let start = answer.trim_ascii_start();
    if start.is_empty() {
        return "it is empty".to_owned();
    }
    if start.first() == Some(&b'<') {
        return "it is an HTML page, so a proxy or another server answered (is the --ca-url right?)".to_owned();
    }
    if matches!(start.first(), Some(b'{' | b'[')) {
        return format!("its JSON has another shape ({error})");
    }
    let text: String = String::from_utf8_lossy(start).chars().take(80).filter(|c| !c.is_control()).collect();
    format!("it starts with '{text}'")
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    escaped
}

/// A random UUID, by which the logs of both sides are brought together.
fn request_id() -> Option<String> {
    let mut id = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let hex: String = id.iter().map(|octet| format!("{octet:02x}")).collect();
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> StepClient {
        StepClient::new("https://127.0.0.1:1/", &Trust::Anybody, None, SignedDuration::from_secs(2)).unwrap()
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let error = client().health().await.unwrap_err();
        assert!(matches!(&error, CallError::Unreachable { base, .. } if base == "https://127.0.0.1:1"), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let silent = StepClient::new(&base, &Trust::Anybody, None, SignedDuration::from_millis(300)).unwrap();
        let before = std::time::Instant::now();
        assert!(matches!(silent.health().await, Err(CallError::Unreachable { .. })));
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn refusals_are_told_apart_from_trouble_and_from_foreign_pages() {
        let refusal =
            |status: u16, body: &str| client().refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes(), None);
        let json = r#"{"status":0,"message":"no"}"#;
        assert!(matches!(refusal(401, json), CallError::Refused { status: 401, message } if message == "no"));
        assert!(matches!(refusal(501, json), CallError::Refused { status: 501, .. }));
        assert!(matches!(refusal(500, json), CallError::Busy { status: 500, .. }));
        assert!(matches!(refusal(429, json), CallError::Busy { .. }));
        assert!(matches!(refusal(502, "<html>"), CallError::Busy { message, .. } if message.contains("proxy")));
        assert!(
            matches!(refusal(404, "404 page not found\n"), CallError::Garbled { hint, .. } if hint.contains("404 page"))
        );
        assert!(matches!(refusal(400, "<html>"), CallError::Garbled { hint, .. } if hint.contains("proxy")));
    }

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(escape("a b/c?d=é"), "a%20b%2Fc%3Fd%3D%C3%A9");
    }

    #[test]
    fn request_ids_are_random_uuids() {
        let (one, other) = (request_id().unwrap(), request_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
    }
}
