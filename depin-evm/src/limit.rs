//! Why a node refuses to tell logs: too many at once, or too often.
//!
//! It makes all the difference: asking for half as much is twice as often. The codes do not tell: -32005 is a range that
//! is too large for some nodes and a rate that is too high for others.

use std::time::Duration;

use alloy::transports::{RpcError, TransportError};
use depin_core::Error;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Fewer blocks at once may be answered.
    TooMuch,
    /// The same may be answered later.
    TooOften,
    Other,
}

impl Refusal {
    /// What a node means that refused a request for logs.
    pub(crate) fn of(error: &TransportError) -> Self {
        let (status, text) = match error {
            RpcError::ErrorResp(payload) if payload.code == 429 => return Self::TooOften,
            RpcError::ErrorResp(payload) => (0, payload.message.to_lowercase()),
            RpcError::Transport(kind) => match kind.as_http_error() {
                Some(error) => (error.status, error.body.to_lowercase()),
                None => return Self::Other,
            },
            _ => return Self::Other,
        };
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        match status {
            429 => Self::TooOften,
            413 | 504 => Self::TooMuch,
            _ if says(&OFTEN) => Self::TooOften,
            // A node that lags behind the others does not have the last blocks yet.
            _ if says(&BEHIND) => Self::Other,
            _ if says(&MUCH) => Self::TooMuch,
            503 => Self::TooOften,
            _ => Self::Other,
        }
    }
}

/// How long to wait before the same is asked again, after so many pauses; not at all when that would be too long.
/// The node's own word counts before ours.
pub(crate) fn pause(error: &TransportError, pauses: u32) -> Option<Duration> {
    if pauses >= MAX_PAUSES {
        return None;
    }
    match named(error) {
        Some(named) => Some(named).filter(|named| *named <= MAX_PAUSE),
        None => Some(FIRST_PAUSE.saturating_mul(1 << pauses)),
    }
}

/// How long to wait before a request is repeated that failed because the node finds requests too frequent, after so many
/// such waits. None when it failed for another reason, or enough was waited: at most seven times, 25 seconds in all or
/// as long as the node asks, if that is not more than a minute each.
///
/// ```
/// use depin_evm::{alloy::transports::TransportErrorKind, pause_after, transport_error};
///
/// let busy = transport_error(TransportErrorKind::http_error(429, String::new()));
/// assert_eq!(pause_after(&busy, 0).unwrap().as_millis(), 200);
/// assert_eq!(pause_after(&busy, 1).unwrap().as_millis(), 400);
/// let lost = transport_error(TransportErrorKind::custom_str("connection reset"));
/// assert!(pause_after(&lost, 0).is_none());
/// ```
pub fn pause_after(error: &Error, pauses: u32) -> Option<Duration> {
    let mut cause = std::error::Error::source(error);
    while let Some(this) = cause {
        if let Some(error) = this.downcast_ref() {
            return (Refusal::of(error) == Refusal::TooOften).then(|| pause(error, pauses))?;
        }
        cause = this.source();
    }
    None
}

/// The pause that the node asks for, in its header or as Infura does.
fn named(error: &TransportError) -> Option<Duration> {
    match error {
        RpcError::Transport(kind) => kind.retry_after(),
        RpcError::ErrorResp(payload) => {
            let data: serde_json::Value = payload.try_data_as()?.ok()?;
            data.pointer("/rate/backoff_seconds")?.as_u64().map(Duration::from_secs)
        }
        _ => None,
    }
}

/// What nodes say of requests that come too often.
pub(crate) const OFTEN: [&str; 14] = [
    "rate limit",
    "rate-limit",
    "ratelimit",
    "rate exceeded",
    "too many request",
    "request limit",
    "request count",
    "requests per",
    "per second",
    "/sec",
    "credits",
    "compute unit",
    "concurrent",
    "throttl",
];
const BEHIND: [&str; 3] = ["head block", "header", "not found"];
const MUCH: [&str; 12] = [
    "range",
    "limit",
    "too many",
    "more than",
    "too large",
    "too big",
    "too wide",
    "exceed",
    "at most",
    "response size",
    "timeout",
    "timed out",
];

/// Pauses for one request: seven of ours are 25 seconds.
const MAX_PAUSES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that a node may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use alloy::{rpc::json_rpc::ErrorPayload, transports::TransportErrorKind};

    use super::*;

    fn answer(code: i64, message: &'static str) -> TransportError {
        RpcError::ErrorResp(ErrorPayload { code, message: message.into(), data: None })
    }

    /// As nodes of well-known providers and clients say it.
    #[test]
    fn ranges_that_nodes_refuse_are_told_from_rates() {
        let ranges = [
            (
                -32602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
            ),
            (
                -32600,
                "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.",
            ),
            (
                -32005,
                "query returned more than 10000 results. Try with this block range [0x1, 0x2].",
            ),
            (-32005, "limit exceeded"),
            (-32005, "query timeout exceeded. Consider reducing your block range."),
            (-32614, "eth_getLogs is limited to a 10,000 range"),
            (-32701, "exceed maximum block range: 50000"),
            (
                -32047,
                "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800",
            ),
            (-32000, "requested too many blocks from 0 to 9999, maximum is set to 2048"),
            (35, "ranges over 10000 blocks are not supported on freetier"),
            (-32600, "Please limit the query to at most 1000 blocks"),
        ];
        for (code, text) in ranges {
            assert_eq!(Refusal::of(&answer(code, text)), Refusal::TooMuch, "{text}");
        }
        let rates = [
            (429, "Your app has exceeded its compute units per second capacity."),
            (-32005, "project ID request rate exceeded"),
            (-32005, "daily request count exceeded, request rate limited"),
            (-32007, "100/second request limit reached - reduce calls per second or upgrade"),
            (-32012, "credits limited to 6000/sec"),
            (-32016, "over rate limit"),
            (-32000, "Too many requests, please slow down"),
        ];
        for (code, text) in rates {
            assert_eq!(Refusal::of(&answer(code, text)), Refusal::TooOften, "{text}");
        }
        let others = [
            (-32000, "block range extends beyond current head block"),
            (-32000, "header not found"),
            (-32601, "the method eth_getLogs does not exist"),
        ];
        for (code, text) in others {
            assert_eq!(Refusal::of(&answer(code, text)), Refusal::Other, "{text}");
        }
    }

    #[test]
    fn the_status_of_an_answer_tells_as_well() {
        let http = |status, body: &str| TransportErrorKind::http_error(status, body.to_owned());
        assert_eq!(Refusal::of(&http(429, "block range")), Refusal::TooOften);
        assert_eq!(Refusal::of(&http(503, "")), Refusal::TooOften);
        assert_eq!(Refusal::of(&http(413, "")), Refusal::TooMuch);
        assert_eq!(Refusal::of(&http(400, "block range is too large")), Refusal::TooMuch);
        assert_eq!(Refusal::of(&http(401, "")), Refusal::Other);
        assert_eq!(Refusal::of(&TransportErrorKind::backend_gone()), Refusal::Other);
    }

    #[test]
    fn pauses_grow_follow_the_node_and_end() {
        let busy = answer(429, "slow down");
        let all: Vec<_> = (0..9).map_while(|pauses| pause(&busy, pauses)).collect();
        assert_eq!(all.len(), 7);
        assert_eq!((all.first(), all.last()), (Some(&FIRST_PAUSE), Some(&(FIRST_PAUSE * 64))));
        let named = |seconds| {
            let after = Some(Duration::from_secs(seconds));
            TransportErrorKind::http_error_with_retry_after(429, String::new(), after)
        };
        assert_eq!(pause(&named(17), 0), Some(Duration::from_secs(17)));
        assert_eq!(pause(&named(17), 7), None, "not for ever");
        assert_eq!(pause(&named(3_600), 0), None, "nobody waits an hour in a call");
    }
}
