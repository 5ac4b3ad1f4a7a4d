//! The error answers of the step API: status codes and the reference's exact texts.

use super::messages::ErrorResponse;

/// Why a request fails, in the terms of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// 400: the request cannot be read or makes no sense; the text says why, without a final full stop.
    BadRequest(String),
    /// 401: not shown to be who the caller says; the reason goes to the log only.
    Unauthorized,
    /// 401 with a reason, which the reference gives only when a certificate to be renewed has expired.
    UnauthorizedBecause(String),
    /// 403: known, but not allowed; the text says why, without a final full stop.
    Forbidden(String),
    /// 404 without detail.
    NotFound,
    /// 404 with a text of its own, such as that for an unknown root.
    NotFoundBecause(String),
    /// 429 or 503 in spirit; the reference has no text for it.
    Busy,
    /// 503: nothing can be recorded, and what is not recorded is not signed.
    Full,
    /// 500: our fault.
    Internal,
    /// 501: a method that this CA does not have.
    NotImplemented,
}

impl ApiError {
    /// The refusal of a fingerprint that is none of our roots.
    #[must_use]
    pub fn unknown_root(fingerprint: &str) -> Self {
        Self::NotFoundBecause(format!("root certificate with fingerprint \"{fingerprint}\" was not found"))
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized | Self::UnauthorizedBecause(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound | Self::NotFoundBecause(_) => 404,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Busy | Self::Full => 503,
        }
    }

    /// The text that the client sees.
    #[must_use]
    pub fn message(&self) -> String {
        let logs = "Please see the certificate authority logs for more info.";
        match self {
            Self::BadRequest(why) => format!("The request could not be completed: {why}."),
            Self::Unauthorized => {
                format!("The request lacked necessary authorization to be completed. {logs}")
            }
            Self::UnauthorizedBecause(why) => {
                format!("The request lacked necessary authorization to be completed: {why}.")
            }
            Self::Forbidden(why) => format!("The request was forbidden by the certificate authority: {why}."),
            Self::NotFound => format!("The requested resource could not be found. {logs}"),
            Self::NotFoundBecause(why) => why.clone(),
            Self::Internal => {
                format!("The certificate authority encountered an Internal Server Error. {logs}")
            }
            Self::NotImplemented => {
                format!("The requested method is not implemented by the certificate authority. {logs}")
            }
            Self::Busy => "The certificate authority is busy. Please try again.".to_owned(),
            Self::Full => "The disk of the certificate authority is full, so that it issues and changes nothing. \
                           Please try again later."
                .to_owned(),
        }
    }

    /// The body to send.
    #[must_use]
    pub fn response(&self) -> ErrorResponse {
        ErrorResponse { status: self.status(), message: self.message() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_the_reference_says() {
        let cases = [
            (
                ApiError::BadRequest("missing csr".into()),
                r#"{"status":400,"message":"The request could not be completed: missing csr."}"#,
            ),
            (
                ApiError::Unauthorized,
                r#"{"status":401,"message":"The request lacked necessary authorization to be completed. Please see the certificate authority logs for more info."}"#,
            ),
            (
                ApiError::Forbidden("x".into()),
                r#"{"status":403,"message":"The request was forbidden by the certificate authority: x."}"#,
            ),
            (
                ApiError::unknown_root("ab"),
                r#"{"status":404,"message":"root certificate with fingerprint \"ab\" was not found"}"#,
            ),
            (
                ApiError::NotImplemented,
                r#"{"status":501,"message":"The requested method is not implemented by the certificate authority. Please see the certificate authority logs for more info."}"#,
            ),
        ];
        for (error, body) in cases {
            assert_eq!(serde_json::to_string(&error.response()).unwrap(), body);
        }
    }
}
