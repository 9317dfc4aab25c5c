//! What a node said about signed bytes.
//!
//! Nodes agree on neither codes nor texts, so both are looked at. The wrong guess costs a fee or a wait
//! but never a second transaction: whatever is tried next has the same nonce. So what is refused in unknown words is
//! sent again for a while before its nonce is filled.

use alloy::{rpc::json_rpc::RpcError, transports::TransportError};
use depin_core::Error;

use crate::{
    error::{INTERNAL, transport_error},
    refusal::is_refusal,
};

/// What a node did with signed bytes.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It has them, perhaps from an earlier time.
    Taken,
    /// The nonce is used on chain, by one of ours or a stranger's.
    Used,
    /// They pay too little to enter or to replace what waits.
    Underpaid,
    /// Perhaps it has them; send them again later.
    Unknown(Error),
    /// It will never take them.
    Refused(Error),
    /// It does not take them now, in words that nobody knows.
    Unclear(Error),
}

impl Outcome {
    pub(crate) fn of<T>(answer: Result<T, TransportError>) -> Self {
        let Err(error) = answer else { return Self::Taken };
        let RpcError::ErrorResp(payload) = &error else {
            return Self::Unknown(transport_error(error));
        };
        let text = payload.message.to_lowercase();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
        if says(TAKEN) {
            Self::Taken
        } else if says(USED) {
            Self::Used
        } else if says(UNDERPAID) {
            Self::Underpaid
        } else if says(LATER) || payload.code == INTERNAL || payload.is_retry_err() {
            Self::Unknown(transport_error(error))
        } else if is_refusal(payload) {
            Self::Refused(transport_error(error))
        } else {
            Self::Unclear(transport_error(error))
        }
    }
}

/// Words of Geth, Erigon, Nethermind, Besu, IoTeX, Anvil and our devnet.
const TAKEN: &[&str] =
    &["already known", "alreadyknown", "known transaction", "already imported", "already exist"];
const USED: &[&str] = &["nonce too low", "nonce is too low", "already been used", "oldnonce"];
const UNDERPAID: &[&str] =
    &["underpriced", "less than block base fee", "fee too low", "feetoolow", "price too low"];
const LATER: &[&str] = &["pool is full", "nonce too high", "nonce is too high", "timeout", "busy"];

#[cfg(test)]
mod tests {
    use alloy::rpc::json_rpc::ErrorPayload;

    use super::*;

    fn outcome(code: i64, text: &'static str) -> Outcome {
        let payload = ErrorPayload { code, message: text.into(), data: None };
        Outcome::of::<()>(Err(RpcError::ErrorResp(payload)))
    }

    #[test]
    fn known_answers_are_understood() {
        assert!(matches!(outcome(-32000, "already known"), Outcome::Taken));
        assert!(matches!(
            outcome(-32003, "nonce too low: next nonce 5, tx nonce 3"),
            Outcome::Used
        ));
        assert!(matches!(
            outcome(-32000, "replacement transaction underpriced"),
            Outcome::Underpaid
        ));
        assert!(matches!(outcome(-32000, "txpool is full"), Outcome::Unknown(_)));
        assert!(matches!(outcome(-32603, "disk trouble"), Outcome::Unknown(_)));
        assert!(matches!(outcome(-32000, "exceeds block gas limit"), Outcome::Refused(_)));
        assert!(matches!(outcome(-32000, "leader is away"), Outcome::Unclear(_)));
    }
}
