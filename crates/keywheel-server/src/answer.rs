//! What the step API answers: JSON bodies, and each cause of a failure as the status and text that clients know.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use keywheel_engine::authority::AuthorityError;
use keywheel_wire::step::error::ApiError;
use keywheel_wire::step::messages::{ErrorResponse, encode_line};
use serde::Serialize;

/// A failure on its way to the client.
pub(crate) struct Failure {
    error: ApiError,
    retry_after: Option<i64>,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<AuthorityError> for Failure {
    /// The detail of what must not be told stands in the log, under the id of the request.
    fn from(cause: AuthorityError) -> Self {
        let mut retry_after = None;
        let error = match cause {
            AuthorityError::Malformed(why) => ApiError::BadRequest(why),
            AuthorityError::NotAuthenticated(detail) => {
                tracing::info!(detail, "not authenticated");
                ApiError::Unauthorized
            }
            AuthorityError::Unauthorized(why) => ApiError::UnauthorizedBecause(why),
            AuthorityError::Forbidden(why) => ApiError::Forbidden(why),
            AuthorityError::NotFound(why) if why.is_empty() => ApiError::NotFound,
            AuthorityError::NotFound(why) => ApiError::NotFoundBecause(why),
            AuthorityError::NotSupported(detail) => {
                tracing::info!(detail, "not supported");
                ApiError::NotImplemented
            }
            AuthorityError::Busy { retry_after: pause, source } => {
                tracing::warn!(error = chain(source.as_ref()), "the store is busy or away");
                retry_after = Some(pause.as_secs().max(1));
                ApiError::Busy
            }
            AuthorityError::Full { retry_after: pause, source } => {
                tracing::error!(error = chain(source.as_ref()), "the disk of the store is full");
                retry_after = Some(pause.as_secs().max(1));
                ApiError::Full
            }
            AuthorityError::KeyAway { retry_after: pause, source } => {
                tracing::error!(error = chain(source.as_ref()), "the issuing key cannot be used now");
                retry_after = Some(pause.as_secs().max(1));
                ApiError::Busy
            }
            AuthorityError::Broken { doing, source } => {
                tracing::error!(error = chain(source.as_ref()), doing, "something is broken here");
                ApiError::Internal
            }
        };
        Self { error, retry_after }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = self.error.message();
        tracing::debug!(status = self.error.status(), message, "refused");
        let status = StatusCode::from_u16(self.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &self.error.response());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A failure that the reference has no words for.
pub(crate) fn plain(status: StatusCode, message: &str) -> Response {
    json(status, &ErrorResponse { status: status.as_u16(), message: message.to_owned() })
}

/// A JSON answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match encode_line(body) {
        Ok(line) => with_type(status, "application/json", line),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An answer of another content type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
