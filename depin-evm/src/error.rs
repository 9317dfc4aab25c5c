//! From alloy's errors to the shared one.
//!
//! A caller decides two things from an error: whether to try again, and what to tell a person. Nodes do
//! not agree on codes, so the mapping goes by transport first, then by code. A revert keeps its data as
//! the error's source; see [`Revert::of`](crate::Revert::of).

use alloy::{
    contract,
    rpc::json_rpc::{ErrorPayload, RpcError},
    transports::{TransportError, TransportErrorKind, http::reqwest},
};
use depin_core::{Error, ErrorKind};

use crate::{
    refusal::{is_refusal, is_run},
    revert::Revert,
};

/// The shared error for a failed request to a node.
///
/// Lost connections, overload, answers that are not there yet and refusals in words that nobody knows are
/// [`Unavailable`](ErrorKind::Unavailable), so [`Error::is_retryable`]; a revert is
/// [`Rejected`](ErrorKind::Rejected) and carries its reason, and so is what nodes are known to refuse for good.
///
/// ```
/// use depin_evm::{alloy::transports::TransportErrorKind, transport_error};
///
/// let lost = transport_error(TransportErrorKind::custom_str("connection reset"));
/// assert!(lost.is_retryable());
/// ```
pub fn transport_error(error: TransportError) -> Error {
    let error = without_url(error);
    let (kind, message) = match &error {
        RpcError::ErrorResp(payload) => match payload.as_revert_data() {
            Some(data) => return Revert::new(data).into_error(),
            None => return node_error(payload).source(error),
        },
        RpcError::Transport(kind) => transport_kind(kind),
        RpcError::NullResp => (ErrorKind::Unavailable, "the node does not know this yet"),
        RpcError::UnsupportedFeature(_) => {
            (ErrorKind::Unsupported, "the connection cannot do this; use another transport")
        }
        RpcError::DeserError { .. } => {
            (ErrorKind::Malformed, "the node's answer is not what its method promises")
        }
        RpcError::LocalUsageError(_) | RpcError::SerError(_) => {
            (ErrorKind::Config, "the request cannot be formed")
        }
    };
    // Answers can be long; the source has all of it.
    let detail: String = error.to_string().chars().take(MAX_DETAIL).collect();
    Error::new(kind, message).with("cause", detail).source(error)
}

/// The shared error for a failed contract call.
///
/// ```
/// use depin_evm::{ErrorKind, alloy, contract_error};
///
/// let error = contract_error(alloy::contract::Error::ContractNotDeployed);
/// assert_eq!(error.kind(), ErrorKind::Rejected);
/// ```
pub fn contract_error(error: contract::Error) -> Error {
    match error {
        contract::Error::TransportError(error) => transport_error(error),
        error @ contract::Error::ZeroData(..) => Error::new(
            ErrorKind::NotFound,
            "there is no such contract at the address; compare the deployment with the chain",
        )
        .source(error),
        error @ contract::Error::ContractNotDeployed => {
            Error::new(ErrorKind::Rejected, "the contract was not deployed").source(error)
        }
        error @ contract::Error::PendingTransactionError(_) => {
            Error::unavailable("the transaction is not mined yet").source(error)
        }
        error => {
            Error::new(ErrorKind::Malformed, "the contract's answer does not fit its interface")
                .source(error)
        }
    }
}

/// Whether a call or a transaction was run and failed, by its own code or for lack of gas. Else it was refused before
/// that, as for its fees or for what its account holds, and says nothing of what it calls.
///
/// ```
/// use depin_core::{Error, ErrorKind};
/// use depin_evm::{Revert, alloy::{rpc::json_rpc::{ErrorPayload, RpcError}}, transport_error, was_run};
///
/// assert!(was_run(&Revert::new([]).into_error()));
/// let says = |text: &'static str| {
///     let (code, message) = (-32000, text.into());
///     transport_error(RpcError::ErrorResp(ErrorPayload { code, message, data: None }))
/// };
/// assert!(was_run(&says("execution reverted")));
/// let early = says("max fee per gas less than block base fee");
/// assert_eq!((early.kind(), was_run(&early)), (ErrorKind::Rejected, false));
/// ```
pub fn was_run(error: &Error) -> bool {
    Revert::of(error).is_some() || answer(error).is_some_and(is_run)
}

/// URLs of nodes often hold access keys, which must not reach logs.
fn without_url(error: TransportError) -> TransportError {
    let RpcError::Transport(TransportErrorKind::Custom(cause)) = error else { return error };
    match cause.downcast::<reqwest::Error>() {
        Ok(error) => TransportErrorKind::custom(error.without_url()),
        Err(cause) => RpcError::Transport(TransportErrorKind::Custom(cause)),
    }
}

fn transport_kind(kind: &TransportErrorKind) -> (ErrorKind, &'static str) {
    match kind {
        TransportErrorKind::HttpError(error) if is_final(error.status) => {
            (ErrorKind::Config, "the node refuses requests; check its URL and access key")
        }
        TransportErrorKind::NonRetryable(_) => {
            (ErrorKind::Config, "the connection to the node cannot work; check its URL")
        }
        TransportErrorKind::PubsubUnavailable => {
            (ErrorKind::Unsupported, "the connection has no subscriptions; poll or use websockets")
        }
        _ => (ErrorKind::Unavailable, "the node does not answer; try again"),
    }
}

/// Statuses that the same request meets again. 408 and 429 pass with time.
const fn is_final(status: u16) -> bool {
    matches!(status, 400..=499) && !matches!(status, 408 | 429)
}

fn node_error(payload: &ErrorPayload) -> Error {
    let (kind, message) = match payload.code {
        _ if payload.is_retry_err() => (ErrorKind::Unavailable, "the node is overloaded"),
        INTERNAL => (ErrorKind::Unavailable, "the node failed; try again"),
        METHOD_MISSING => (ErrorKind::Unsupported, "the node lacks this method"),
        REVERTED => (ErrorKind::Rejected, "the contract reverted without a reason"),
        _ if is_refusal(payload) => (ErrorKind::Rejected, "the node refused the request"),
        _ => (
            ErrorKind::Unavailable,
            "the node answers with trouble; try again, or ask another node",
        ),
    };
    let text: String = payload.message.chars().take(MAX_DETAIL).collect();
    Error::new(kind, message).with("cause", text)
}

/// Whether a node answered, in whatever words, that it does not tell: not that it is overloaded.
pub(crate) fn is_answer(error: &Error) -> bool {
    answer(error).is_some_and(|payload| !payload.is_retry_err())
}

/// What a node answered, where that is the error.
fn answer(error: &Error) -> Option<&ErrorPayload> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<TransportError>()?.as_error_resp()
}

/// JSON-RPC and EIP-1474 codes.
pub(crate) const INTERNAL: i64 = -32603;
const METHOD_MISSING: i64 = -32601;
const REVERTED: i64 = 3;

const MAX_DETAIL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: TransportError) -> ErrorKind {
        transport_error(error).kind()
    }

    fn answer(code: i64) -> TransportError {
        says(code, "so it is")
    }

    fn says(code: i64, text: &'static str) -> TransportError {
        RpcError::ErrorResp(ErrorPayload { code, message: text.into(), data: None })
    }

    #[test]
    fn what_passes_with_time_is_retryable() {
        let http = |status| TransportErrorKind::http_error(status, String::new());
        for status in [408, 429, 500, 502, 503] {
            assert_eq!(kind(http(status)), ErrorKind::Unavailable, "{status}");
        }
        assert_eq!(kind(http(401)), ErrorKind::Config);
        assert_eq!(kind(TransportErrorKind::backend_gone()), ErrorKind::Unavailable);
        assert_eq!(kind(RpcError::NullResp), ErrorKind::Unavailable);
        // A node that lacks a block has it later; other nodes say so of whoever asks too often.
        assert_eq!(kind(answer(-32001)), ErrorKind::Unavailable);
        assert_eq!(kind(answer(-32005)), ErrorKind::Unavailable);
        assert_eq!(kind(answer(-32603)), ErrorKind::Unavailable);
    }

    #[test]
    fn what_the_node_decided_is_final() {
        assert_eq!(kind(answer(-32601)), ErrorKind::Unsupported);
        for code in [3, -32600, -32602, -32003, -32015] {
            assert_eq!(kind(answer(code)), ErrorKind::Rejected, "{code}");
        }
        for text in
            ["execution reverted", "Insufficient funds for gas * price + value", "Out of gas"]
        {
            assert_eq!(kind(says(-32000, text)), ErrorKind::Rejected, "{text}");
        }
        assert!(transport_error(answer(-32003)).to_string().contains("so it is"));
    }

    #[test]
    fn what_troubles_a_node_is_nobodys_fault() {
        for text in [
            "so it is",
            "missing trie node 0a (path ) state 0b is not available",
            "upstream is away",
        ] {
            let error = transport_error(says(-32000, text));
            assert!(error.is_retryable() && is_answer(&error), "{error}");
        }
        // Codes of gRPC, as IoTeX gives, and of whatever stands before a node.
        for code in [13, 14, -32011, -32042, -1] {
            assert_eq!(kind(answer(code)), ErrorKind::Unavailable, "{code}");
        }
        // Codes for requests that cannot be, of gateways that have no more to give for now.
        for code in [-32600, -32602, -32003] {
            for text in [
                "Your app has exceeded its compute units per second capacity",
                "Too many requests, please slow down",
                "Monthly quota reached. Please upgrade your plan",
                "backend is temporarily overloaded",
            ] {
                assert_eq!(kind(says(code, text)), ErrorKind::Unavailable, "{code} {text}");
            }
            for text in ["invalid argument 0: hex string has length 39", "missing value for from"] {
                assert_eq!(kind(says(code, text)), ErrorKind::Rejected, "{code} {text}");
            }
        }
        assert!(!is_answer(&transport_error(answer(-32005))));
        assert!(!is_answer(&Error::unavailable("silent")));
    }
}
