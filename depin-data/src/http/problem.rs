//! Problem documents (RFC 9457).

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use depin_core::{
    Bytes, Error, ErrorKind,
    transport::{Refusal, RefusalCode},
};
use serde_json::json;

use super::PROBLEM;
use crate::ingest::Throttled;

/// A problem with its status and what it says.
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// What was refused, and the words of the log for it.
    refusal: Option<Box<(Refusal, Bytes)>>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), refusal: None, retry_after: None }
    }

    /// One device asks too much, all together do, what was asked for is not there, or the log is damaged;
    /// the batch is not at fault.
    pub(super) fn of(error: &Error) -> Self {
        use core::error::Error as _;
        let by_device = error.source().is_some_and(|source| source.is::<Throttled>());
        let status = match error.kind() {
            _ if by_device => StatusCode::TOO_MANY_REQUESTS,
            _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Rejected => StatusCode::CONFLICT,
            _ => {
                let why = "the log is damaged; its operator must act";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, why);
            }
        };
        Self { retry_after: error.retry_after(), ..Self::new(status, error.message()) }
    }
}

impl Problem {
    /// A refusal, and the same signed by the log.
    pub(super) fn refused(refusal: Refusal, signed: Vec<u8>) -> Self {
        let status = match refusal.code {
            RefusalCode::BadSignature => StatusCode::UNAUTHORIZED,
            RefusalCode::NotRegistered | RefusalCode::NotActive => StatusCode::FORBIDDEN,
            RefusalCode::Fork | RefusalCode::SequenceGap | RefusalCode::Superseded => {
                StatusCode::CONFLICT
            }
            RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = refusal.detail.clone();
        Self { refusal: Some(Box::new((refusal, signed.into()))), ..Self::new(status, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("problem");
        let status = self.status.as_u16();
        let body = match self.refusal.as_deref() {
            Some((refusal, signed)) => json!({
                "type": format!("urn:depin:refusal:{}", refusal.code), "title": title,
                "status": status, "detail": self.detail, "code": refusal.code.as_str(),
                "batch": refusal.batch.to_string(),
                "device": refusal.device.as_ref().map(depin_core::Did::as_str),
                "signed": signed.to_string(),
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
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let delay = self.retry_after.unwrap_or_default().as_millis().div_ceil(1000).max(1);
                let seconds = HeaderValue::from(u64::try_from(delay).unwrap_or(u64::MAX));
                headers.insert(header::RETRY_AFTER, seconds);
            }
            _ => {}
        }
        response
    }
}
