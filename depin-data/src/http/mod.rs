//! Ingest over HTTP/1.1, and the transport that speaks to it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/batches`, body `application/cose` | 200 with a [receipt](crate::receipt) as `application/cbor`, or a problem |
//! | `GET /v1/head` | the signed tree head as `application/cose` |
//! | `GET /v1/batches?from=0&limit=64` | `[[index, ms of receipt, signed bytes], ..]` as `application/cbor`, possibly fewer than asked |
//! | `GET /v1/stream?from=42&device=did:..&quantity=..&cell=..` | batches there are and come, with receipts, as a CBOR sequence: see [`StreamClient`] |
//! | `GET /healthz` | 200 while the log answers |
//!
//! Problems are RFC 9457 documents (`application/problem+json`); those of a refused batch have the members
//! `code` (a [`RefusalCode`](depin_core::transport::RefusalCode)), `batch` (hash of what was read) and
//! `device`. A refusal is 401 for a bad signature, 403 for a device that may not send, 409 when the
//! device's chain says no, 413 when too large, else 422. Encryption is the business of what stands in
//! front; every batch and every receipt is signed anyway.

mod client;
mod problem;
mod routes;
mod server;
mod stream;

pub use client::HttpTransport;
pub use server::{HttpServer, Limits, serve, serve_with};
pub use stream::StreamClient;

const COSE: &str = "application/cose";
const CBOR: &str = "application/cbor";
const PROBLEM: &str = "application/problem+json";

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
