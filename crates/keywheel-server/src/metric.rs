//! Prometheus metrics on an address of their own.

use std::sync::{Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::ServeError;

const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The recorder of this process: installed at the first call.
pub(crate) fn recorder() -> Result<PrometheusHandle, ServeError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| ServeError::Metrics(Box::new(error)))?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// `GET /metrics`.
pub(crate) fn router(handle: PrometheusHandle) -> Router {
    Router::new().route(
        "/metrics",
        get(async move || {
            // Without upkeep the samples of the histograms pile up; a scrape is a good moment for it.
            handle.run_upkeep();
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
        }),
    )
}

/// `GET /metrics` of another part of the program, which knows its numbers itself.
pub(crate) fn router_of<T, F>(text: T) -> Router
where
    T: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = String> + Send + 'static,
{
    let answer = move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text().await) }
    };
    Router::new().route("/metrics", get(answer))
}

fn describe() {
    metrics::describe_counter!("keywheel_requests_total", "Requests by route and status");
    metrics::describe_histogram!(
        "keywheel_request_seconds",
        metrics::Unit::Seconds,
        "Time to answer a request, by route"
    );
    metrics::describe_counter!("keywheel_tls_handshake_failures_total", "TLS handshakes that failed");
    metrics::describe_counter!("keywheel_certificates_total", "Certificates issued, by what asked for them");
    metrics::describe_counter!("keywheel_revocations_total", "Certificates revoked, by what asked for it");
    metrics::describe_gauge!(
        "keywheel_server_certificate_not_after_seconds",
        "End of the server's own certificate, Unix time"
    );
}
