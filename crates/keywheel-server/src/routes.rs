//! The routes of the step API, each under `/` and under `/1.0`, and what each reads and answers.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_DISPOSITION, EXPIRES};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use jiff::Timestamp;
use keywheel_engine::authority::{Authority, Caller, Issued, RevokeRequest, Revoker, SignRequest};
use keywheel_wire::pem;
use keywheel_wire::step::error::ApiError;
use keywheel_wire::step::messages::{
    self, CertificatesResponse, EncryptedKeyResponse, ProvisionersResponse, RootResponse, SignResponse, StatusResponse,
    VersionResponse,
};
use keywheel_wire::x509::request as certificate_request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::accept::Peer;
use crate::answer::{Failure, json, plain, with_type};
use crate::{Limits, request_id};

/// What every route knows.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) authority: Authority,
    pub(crate) version: Arc<str>,
    pub(crate) limits: Arc<Limits>,
}

type Answer = Result<Response, Failure>;

/// How much of a body that is too large is read and thrown away before the answer goes out all the same.
const MAX_THROWN_AWAY: usize = 16 * 1024 * 1024;

/// Every route, for connections over TLS.
pub(crate) fn secure(app: App) -> Router {
    let api = public()
        .route("/version", get(version))
        .route("/roots", get(roots))
        .route("/intermediates", get(intermediates))
        .route("/federation", get(federation))
        .route("/provisioners", get(provisioners))
        .route("/provisioners/{kid}/encrypted-key", get(encrypted_key))
        .route("/sign", post(sign))
        .route("/renew", post(renew))
        .route("/re-sign", post(renew))
        .route("/rekey", post(rekey))
        .route("/revoke", post(revoke));
    finish(api, app)
}

/// What may be asked for in plain HTTP: nothing of it is secret, and all of it is signed or known by its fingerprint.
pub(crate) fn insecure(app: App) -> Router {
    finish(public(), app)
}

fn public() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/root/{sha}", get(root))
        .route("/roots.pem", get(roots_pem))
        .route("/intermediates.pem", get(intermediates_pem))
        .route("/crl", get(crl))
}

fn finish(api: Router<App>, app: App) -> Router {
    Router::new()
        .merge(api.clone())
        .nest("/1.0", api)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(app.limits.body))
        .layer(from_fn_with_state(app.clone(), accompany))
        .with_state(app)
}

/// Gives each request its id, its time limit, its line in the log and its place in the metrics.
async fn accompany(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id::choose(request.headers().get(request_id::HEADER));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let route = route.strip_prefix("/1.0").filter(|rest| !rest.is_empty()).unwrap_or(route).to_owned();
    let path = request.uri().path().to_owned();
    let remote = request.extensions().get::<Peer>().map(|peer| peer.address.to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", request_id = %id, %method, path, remote);

    let peer = request.extensions().get::<Peer>().cloned();
    let work = async {
        // The first use of a successor retires what it replaced: also where the request itself asks for nothing.
        if let Some(leaf) = peer.as_ref().and_then(|peer| peer.certificate.as_ref())
            && let Err(error) = app.authority.note_use(leaf, Timestamp::now()).await
        {
            tracing::warn!(error = crate::answer::chain(&error), "the use of a certificate was not noted");
        }
        match received(request, app.limits.body).await {
            Ok(request) => next.run(request).await,
            Err(refused) => refused,
        }
    };
    let work = work.instrument(span.clone());
    let response = match tokio::time::timeout(app.limits.request, work).await {
        Ok(response) => response,
        Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "The request took too long."),
    };
    let mut response = response;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(request_id::HEADER, value);
    }
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    metrics::counter!("keywheel_requests_total", "route" => route.clone(), "status" => status.to_string()).increment(1);
    metrics::histogram!("keywheel_request_seconds", "route" => route).record(elapsed.as_secs_f64());
    span.in_scope(|| {
        tracing::info!(status, micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), "answered")
    });
    response
}

/// The same request with its body read to the end, also where nobody wants it: over HTTP/2 an answer that comes before
/// the end of the body reaches some clients as a broken stream, and not as the answer.
async fn received(request: Request, limit: usize) -> Result<Request, Response> {
    let (parts, mut body) = request.into_parts();
    let mut kept = Vec::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(plain(StatusCode::BAD_REQUEST, "The request could not be completed: error reading the body."));
        };
        let Some(data) = frame.data_ref() else { continue };
        total = total.saturating_add(data.len());
        if total <= limit {
            kept.extend_from_slice(data);
        } else if total > MAX_THROWN_AWAY {
            break;
        }
    }
    if total > limit {
        return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large."));
    }
    Ok(Request::from_parts(parts, Body::from(kept)))
}

async fn not_found() -> Response {
    with_type(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
}

async fn health(State(app): State<App>) -> Answer {
    app.authority.health().await?;
    Ok(json(StatusCode::OK, &StatusResponse::ok()))
}

async fn version(State(app): State<App>) -> Response {
    json(StatusCode::OK, &VersionResponse { version: app.version.to_string(), require_client_authentication: false })
}

async fn root(State(app): State<App>, fingerprint: Result<Path<String>, PathRejection>) -> Answer {
    // What is no text is no fingerprint either.
    let Path(fingerprint) = fingerprint.unwrap_or_else(|_| Path(String::new()));
    let der = app.authority.root(&fingerprint)?;
    Ok(json(StatusCode::OK, &RootResponse { ca: pem_of(&der) }))
}

async fn roots(State(app): State<App>) -> Response {
    certificates(&app.authority.roots())
}

async fn intermediates(State(app): State<App>) -> Response {
    certificates(&app.authority.intermediates())
}

async fn federation(State(app): State<App>) -> Response {
    certificates(&app.authority.federation())
}

async fn roots_pem(State(app): State<App>) -> Response {
    bundle(&app.authority.roots())
}

async fn intermediates_pem(State(app): State<App>) -> Response {
    bundle(&app.authority.intermediates())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    limit: String,
}

async fn provisioners(State(app): State<App>, page: Result<Query<Page>, QueryRejection>) -> Answer {
    let Ok(Query(page)) = page else {
        return Err(ApiError::BadRequest("error parsing the query".to_owned()).into());
    };
    let limit = match page.limit.as_str() {
        "" => 0,
        text => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).unwrap_or(0),
            Err(_) => return Err(ApiError::BadRequest(format!("limit '{}' is not an integer", clip(text))).into()),
        },
    };
    let limit = if limit == 0 { 20 } else { limit.min(100) };
    let found = app.authority.provisioners(&page.cursor, limit);
    Ok(json(StatusCode::OK, &ProvisionersResponse { provisioners: found.provisioners, next_cursor: found.next_cursor }))
}

async fn encrypted_key(State(app): State<App>, kid: Result<Path<String>, PathRejection>) -> Answer {
    let Ok(Path(kid)) = kid else { return Err(ApiError::NotFound.into()) };
    Ok(json(StatusCode::OK, &EncryptedKeyResponse { key: app.authority.encrypted_key(&kid)? }))
}

async fn sign(State(app): State<App>, body: Bytes) -> Answer {
    let body: messages::SignRequest = read(&body)?;
    if body.csr.is_empty() {
        return Err(ApiError::BadRequest("missing csr".to_owned()).into());
    }
    let csr = request(&body.csr)?.der().to_vec();
    if body.ott.is_empty() {
        return Err(ApiError::BadRequest("missing ott".to_owned()).into());
    }
    let request = SignRequest {
        csr,
        token: body.ott,
        not_before: body.not_before,
        not_after: body.not_after,
        template_data: body.template_data,
    };
    issued(&app, "sign", app.authority.sign(request, Timestamp::now()).await?)
}

async fn renew(State(app): State<App>, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Answer {
    let caller = caller(peer.as_deref(), &headers)?;
    issued(&app, "renew", app.authority.renew(caller, Timestamp::now()).await?)
}

async fn rekey(State(app): State<App>, peer: Option<Extension<Peer>>, headers: HeaderMap, body: Bytes) -> Answer {
    let caller = caller(peer.as_deref(), &headers)?;
    let body: messages::RekeyRequest = read(&body)?;
    if body.csr.is_empty() {
        return Err(ApiError::BadRequest("missing csr".to_owned()).into());
    }
    let csr = request(&body.csr)?;
    issued(&app, "rekey", app.authority.rekey(caller, csr, Timestamp::now()).await?)
}

async fn revoke(State(app): State<App>, peer: Option<Extension<Peer>>, body: Bytes) -> Answer {
    let body: messages::RevokeRequest = read(&body)?;
    let (how, revoker) = match (body.ott, peer) {
        (token, _) if !token.is_empty() => ("token", Revoker::Token(token)),
        (_, peer) => ("certificate", Revoker::Tls(peer.into_iter().filter_map(|peer| leaf(&peer)).collect())),
    };
    let request = RevokeRequest {
        serial: body.serial,
        reason_code: body.reason_code,
        reason: body.reason,
        passive: body.passive,
    };
    app.authority.revoke(revoker, request, Timestamp::now()).await?;
    metrics::counter!("keywheel_revocations_total", "by" => how).increment(1);
    Ok(json(StatusCode::OK, &StatusResponse::ok()))
}

async fn crl(State(app): State<App>, uri: Uri) -> Answer {
    let list = app.authority.crl(Timestamp::now()).await?;
    let wants_pem = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("pem")));
    let mut response = if wants_pem {
        with_type(StatusCode::OK, "application/x-pem-file", pem::encode("X509 CRL", &list.der).to_string())
    } else {
        with_type(StatusCode::OK, "application/pkix-crl", list.der)
    };
    let name = if wants_pem { "attachment; filename=\"crl.pem\"" } else { "attachment; filename=\"crl.der\"" };
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    let expires = list.expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(value) = HeaderValue::from_str(&expires) {
        response.headers_mut().insert(EXPIRES, value);
    }
    Ok(response)
}

fn leaf(peer: &Peer) -> Option<Vec<u8>> {
    peer.certificate.as_ref().map(|certificate| certificate.der().to_vec())
}

/// The client certificate, or where there is none the token of the `Authorization` header.
fn caller(peer: Option<&Peer>, headers: &HeaderMap) -> Result<Caller, Failure> {
    if let Some(certificate) = peer.and_then(|peer| peer.certificate.clone()) {
        return Ok(Caller::Tls(certificate));
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Caller::Token(token)),
        _ => Err(ApiError::BadRequest("missing client certificate".to_owned()).into()),
    }
}

/// Reads the body as the reference does: the first JSON value, whatever the content type says.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    messages::decode_first(body).map_err(|error| {
        tracing::debug!(%error, "the body is not what it should be");
        ApiError::BadRequest("error decoding json".to_owned()).into()
    })
}

/// The reference reads the request while it reads the JSON, hence its message.
fn request(text: &str) -> Result<certificate_request::Request, Failure> {
    match certificate_request::Request::from_pem(text.as_bytes()) {
        Ok(request) => Ok(request),
        Err(error) => {
            tracing::debug!(error = crate::answer::chain(&error), "the certificate request cannot be read");
            Err(ApiError::BadRequest("error decoding json".to_owned()).into())
        }
    }
}

fn issued(app: &App, by: &'static str, issued: Issued) -> Answer {
    if !issued.replayed {
        metrics::counter!("keywheel_certificates_total", "by" => by).increment(1);
    }
    let cert_chain: Vec<String> = issued.chain.iter().map(|der| pem_of(der)).collect();
    let answer = SignResponse {
        crt: cert_chain.first().cloned().unwrap_or_default(),
        ca: cert_chain.get(1).cloned().unwrap_or_default(),
        cert_chain,
        tls_options: Some(app.authority.tls_options()),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

/// 201, as the reference answers here although nothing is created.
fn certificates(list: &[Vec<u8>]) -> Response {
    json(StatusCode::CREATED, &CertificatesResponse { crts: list.iter().map(|der| pem_of(der)).collect() })
}

fn bundle(list: &[Vec<u8>]) -> Response {
    with_type(StatusCode::OK, "application/x-pem-file", list.iter().map(|der| pem_of(der)).collect::<String>())
}

fn pem_of(der: &[u8]) -> String {
    pem::encode("CERTIFICATE", der).to_string()
}

/// What of a client's words goes into an answer.
fn clip(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(64).collect()
}
