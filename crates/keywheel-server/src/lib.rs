//! Serves: the step API over TLS, a small part of it in plain HTTP, and metrics.

mod accept;
mod answer;
mod metric;
mod request_id;
mod routes;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use keywheel_engine::authority::Authority;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The sockets to serve on, already bound.
pub struct Listeners {
    /// The step API over TLS.
    pub https: TcpListener,
    /// Roots, health and revocation list in plain HTTP (`insecureAddress`).
    pub http: Option<TcpListener>,
    /// Prometheus metrics (`metricsAddress`).
    pub metrics: Option<TcpListener>,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `GET /version` says.
    pub version: String,
    /// Limits on everything from outside.
    pub limits: Limits,
}

/// Limits on everything from outside.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Octets of a request body.
    pub body: usize,
    /// Connections at once on each socket; further ones wait to be accepted.
    pub connections: u32,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the headers of a request.
    pub headers: Duration,
    /// Time for a whole request.
    pub request: Duration,
    /// Time after which a connection without a request is closed.
    pub idle: Duration,
    /// Time for requests in flight to finish after the shutdown was asked for.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: keywheel_wire::step::messages::MAX_REQUEST_BODY,
            connections: 4096,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(15),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// Why serving could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server's own certificate could not be made or used.
    #[error("cannot make the server's own certificate; nothing is served")]
    OwnCertificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Metrics were asked for, but another recorder has the process already.
    #[error("cannot collect metrics; nothing is served")]
    Metrics(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Serves until `shutdown` turns true, then finishes what is in flight; runs the authority's loops meanwhile.
///
/// # Errors
/// Where serving cannot start; once it has started only `shutdown` ends it.
pub async fn serve(
    authority: Authority,
    listeners: Listeners,
    settings: Settings,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let Settings { version, limits } = settings;
    let limits = Arc::new(limits);
    let metrics = match listeners.metrics {
        Some(listener) => Some((listener, metric::recorder()?)),
        None => None,
    };
    let tls = tls::Tls::start(&authority).await?;
    let app = routes::App { authority: authority.clone(), version: version.into(), limits: limits.clone() };

    let loops = tokio::spawn({
        let (authority, shutdown) = (authority.clone(), shutdown.clone());
        async move { authority.run(shutdown).await }
    });
    let refresh = tokio::spawn(tls.clone().keep_fresh(authority, shutdown.clone()));
    let mut doors = tokio::task::JoinSet::new();
    doors.spawn(accept::run(listeners.https, Some(tls), routes::secure(app.clone()), limits.clone(), shutdown.clone()));
    if let Some(listener) = listeners.http {
        doors.spawn(accept::run(listener, None, routes::insecure(app), limits.clone(), shutdown.clone()));
    }
    if let Some((listener, handle)) = metrics {
        doors.spawn(accept::run(listener, None, metric::router(handle), limits, shutdown));
    }
    while doors.join_next().await.is_some() {}
    for task in [loops, refresh] {
        if let Err(error) = task.await {
            tracing::error!(%error, "a loop of the authority ended in a fault");
        }
    }
    Ok(())
}

/// Serves `GET /metrics` alone, for a part of the program that knows its numbers itself, until `shutdown` turns true.
pub async fn serve_metrics<T, F>(listener: TcpListener, text: T, shutdown: watch::Receiver<bool>)
where
    T: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = String> + Send + 'static,
{
    accept::run(listener, None, metric::router_of(text), Arc::new(Limits::default()), shutdown).await;
}
