//! The log streamed to consumers elsewhere, and the client that believes nothing unproven.
//!
//! A response is a CBOR sequence (RFC 8742): one item per batch that is wanted, and a last one when
//! nothing came for a while. It ends by itself after at most [`WAIT`] in which the log did not grow, or after some
//! hundred thousand batches that are not wanted, and the client asks again from where that came, so that servers can stop and proxies need no settings.
//!
//! ```text
//! batch = [index, ms of receipt, signed bytes, receipt (bytes) / null]
//! last  = [index to go on from, size of the log]
//! ```

use std::time::Duration;

mod client;
mod serve;

pub use client::StreamClient;
pub(super) use serve::router;

/// Longest time that a response waits for the next batch.
const WAIT: Duration = Duration::from_secs(20);
/// Media type of a CBOR sequence.
const SEQUENCE: &str = "application/cbor-seq";
/// Header of a refusal that names the oldest index there is.
const OLDEST: &str = "depin-oldest";
