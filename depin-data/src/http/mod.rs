//! Ingest over HTTP/1.1, and the transport that speaks to it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/batches`, body `application/cose` | 200 with a [receipt](crate::receipt) as `application/cbor`, or a problem |
//! | `POST /v1/standing`, body `application/cose` | 200 with the signed [standing](crate::wire) as `application/cose` for the device that signed the question, or a problem |
//! | `GET /v1/head` | the signed tree head as `application/cose` |
//! | `GET /v1/batches?from=0&limit=64` | `[[index, ms of receipt, signed bytes], ..]` as `application/cbor`, possibly fewer than asked |
//! | `GET /v1/stream?from=42&device=did:..&quantity=..&cell=..` | batches there are and come, with receipts, as a CBOR sequence: see [`StreamClient`] |
//! | `GET /v1/receipts?device=did:..&sequence=7` | the receipt of what holds this place of a chain; with `&batch=0x..` of that hash or none |
//! | `GET /v1/consistency?from=5&to=9` | `[*hash]`: that the tree of 9 batches continues that of 5 (RFC 9162), as `application/cbor` |
//! | `POST /v1/witnesses`, body a [commitment](crate::privacy::Commitment) as `application/cose` | that it is of a batch in the log, [signed](crate::privacy::witnessed), as `application/cose` |
//! | `GET /healthz` | 200 while the log answers |
//!
//! Who sends too much is told 429 (one device) or 503 (all together) with `Retry-After`; [`HttpTransport`] makes
//! that an error with [`retry_after`](depin_core::Error::retry_after). Bodies come as they are: any content
//! encoding but `identity` is 415, so nothing unpacks to more than was sent. [`Limits`] bound connections, in all and
//! of one address, which is served in a quarter of the places unless a proxy stands in front ([`Limits::shares`]).
//!
//! # Bundles
//!
//! [`serve_bundles`] answers on an address of its own with what lies in a [folder](crate::bundle::BundleFolder),
//! so that no download takes the place of a device; [`Bundles`] is its client.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/bundles?from=0&limit=1024` | `[[epoch, bytes], ..]` as `application/cbor` |
//! | `GET /v1/bundles/{epoch}` | the [bundle](crate::bundle), `application/octet-stream`; `Range: bytes=n-` goes on there |
//!
//! # For operators
//!
//! [`serve_operator`] answers on an address of its own, which must be private: it asks nobody who they are,
//! shows what devices sent and judges it again. Everything is JSON unless said otherwise.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/dead-letters?code=&device=&since=&until=&open=true&from=0&limit=64` | `{letters, next}`; times in ms |
//! | `GET /v1/dead-letters/{position}` | the letter, explained |
//! | `GET /v1/dead-letters/{position}/bytes` | the bytes as received, `application/octet-stream` |
//! | `POST /v1/dead-letters/{position}/replay` | the answer of today |
//! | `POST /v1/replays?..`, filtered as the list | `{answers, next}` |
//! | `GET /v1/forks?from=0&limit=64` | forks among the letters, with the id of each |
//! | `GET /v1/forks/{position}` | the [evidence](crate::evidence), `application/cbor` |
//! | `GET /v1/lags?limit=64` | the sources that are furthest behind |
//!
//! A `POST` with an `Origin` is refused, so that no page in an operator's browser can replay anything.
//!
//! Problems are RFC 9457 documents (`application/problem+json`); those of a refused batch have the members
//! `code` (a [`RefusalCode`](depin_core::transport::RefusalCode)), `batch` (hash of what was read), `device` and
//! `signed`: the same in hex as the log has [signed](crate::wire) it for the nonce in the request's header
//! `depin-nonce` (32 hex digits). A refusal is 401 for a bad signature, 403 for a device that may not send, 409 when the
//! device's chain says no, 413 when too large, else 422. Encryption is the business of what stands in
//! front. Whoever is on the way can delay and drop, and nothing else: batches, receipts, heads and refusals are
//! signed, and [`HttpTransport`] takes no refusal for an answer that the log has not signed for this very
//! request.

mod addresses;
mod bundles;
mod client;
mod connect;
mod operator;
mod problem;
mod query;
mod queue;
mod routes;
mod server;
mod stream;

pub use bundles::{Bundles, serve_bundles};
pub use client::HttpTransport;
pub use operator::serve_operator;
pub use server::{HttpServer, Limits, serve, serve_with};
pub use stream::StreamClient;

const COSE: &str = "application/cose";
const CBOR: &str = "application/cbor";
const PROBLEM: &str = "application/problem+json";
/// Header of a request: 32 hex digits that a refusal is signed for.
const NONCE: &str = "depin-nonce";

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
