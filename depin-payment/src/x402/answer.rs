//! The answer that a payment bought, kept so that it can be given again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

impl Answer {
    pub(super) fn of(parts: &http::response::Parts, body: Bytes) -> Self {
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Self { head: Head { status: parts.status.as_u16(), headers: headers.collect() }, body }
    }

    /// The response; what a damaged book garbled is left out.
    pub(super) fn to_response(&self) -> http::Response<Bytes> {
        let mut response = http::Response::new(self.body.clone());
        *response.status_mut() = http::StatusCode::from_u16(self.head.status).unwrap_or_default();
        for (name, value) in &self.head.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value)) {
                response.headers_mut().append(name, value);
            }
        }
        // Who paid for it gets it, and no cache gives it to others, unless the service says otherwise.
        let headers = response.headers_mut();
        headers
            .entry(http::header::CACHE_CONTROL)
            .or_insert(http::HeaderValue::from_static("private"));
        response
    }
}
