//! Problem documents (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use depin_core::{
    Error,
    transport::{Refusal, RefusalCode},
};
use serde_json::json;

use super::PROBLEM;

/// A problem with its status and what it says.
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    refusal: Option<Refusal>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), refusal: None }
    }

    /// Ingest or the log cannot answer now, or is damaged; the batch is not at fault.
    pub(super) fn of(error: &Error) -> Self {
        if error.is_retryable() {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, error.message());
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the log is damaged; its operator must act")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            RefusalCode::BadSignature => StatusCode::UNAUTHORIZED,
            RefusalCode::NotRegistered | RefusalCode::NotActive => StatusCode::FORBIDDEN,
            RefusalCode::Fork | RefusalCode::SequenceGap => StatusCode::CONFLICT,
            RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { status, detail: refusal.detail.clone(), refusal: Some(refusal) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("problem");
        let status = self.status.as_u16();
        let body = match &self.refusal {
            Some(refusal) => json!({
                "type": format!("urn:depin:refusal:{}", refusal.code), "title": title,
                "status": status, "detail": self.detail, "code": refusal.code.as_str(),
                "batch": refusal.batch.to_string(),
                "device": refusal.device.as_ref().map(depin_core::Did::as_str),
            }),
            None => json!({
                "type": "about:blank", "title": title, "status": status, "detail": self.detail,
            }),
        };
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        match self.status {
            // RFC 9110 section 11.6.1: a 401 names its scheme.
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("COSE-Sign1"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
