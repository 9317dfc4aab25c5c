//! Words and codes by which nodes refuse something for good.
//!
//! Nodes share one code, -32000, for what can never be and for whatever else troubles them: a state that is not loaded
//! yet, an upstream that is away. Taking trouble for a refusal blames whoever asked. So only what is known to be a
//! refusal is one, and all else passes with time or with another node.

use alloy::rpc::json_rpc::ErrorPayload;

use crate::limit::OFTEN;

/// Whether the node refuses what was asked for, now and later.
pub(crate) fn is_refusal(answer: &ErrorPayload) -> bool {
    is_run(answer) || says(answer, UNRUN) || CODES.contains(&answer.code) && !is_busy(answer)
}

/// Whether what was asked for was run, and failed: nothing that is wrong with its fees or its account comes so far.
pub(crate) fn is_run(answer: &ErrorPayload) -> bool {
    says(answer, RUN) || RUN_CODES.contains(&answer.code) && !is_busy(answer)
}

fn is_busy(answer: &ErrorPayload) -> bool {
    says(answer, BUSY) || says(answer, &OFTEN)
}

fn says(answer: &ErrorPayload, words: &[&str]) -> bool {
    let text = answer.message.to_lowercase();
    words.iter().any(|words| text.contains(words))
}

/// By which gateways say, with codes for requests that cannot be, that they are out of something for now.
const BUSY: &[&str] = &[
    "quota",
    "capacity",
    "overload",
    "too busy",
    "try again",
    "retry",
    "temporar",
    "unavailable",
    "timeout",
    "timed out",
    "upgrade",
    "free tier",
    "daily",
    "monthly",
];

/// No request of the protocol; no such parameters; a rejected transaction.
const CODES: &[i64] = &[-32700, -32600, -32602, -32003];

/// A failed execution, of Geth and of Parity's heirs.
const RUN_CODES: &[i64] = &[3, -32015];

/// What a run ended with, in words of Geth, Erigon, Nethermind, Besu, Reth, IoTeX, Hardhat, Anvil and our devnet.
const RUN: &[&str] = &[
    "revert",
    "out of gas",
    "gas required exceeds",
    "always failing",
    "vm exception",
    "vm execution error",
    "evm error",
    "execution halted",
    "invalid opcode",
    "bad instruction",
    "invalid jump",
    "stack underflow",
    "stack overflow",
    "stack limit reached",
    "write protection",
    "code size exceeded",
    "address collision",
];

/// Why it did not come to a run, in words of the same.
const UNRUN: &[&str] = &[
    "evm refused",
    "initcode size",
    // What the account lacks.
    "insufficient funds",
    "insufficientfunds",
    "insufficient balance",
    "insufficient sender balance",
    "lack of funds",
    "exceeds account balance",
    // What is wrong with a transaction.
    "block gas limit",
    "gas limit too high",
    "gas limit is too high",
    "gaslimitexceeded",
    "exceeds the gas limit",
    "intrinsic gas",
    "intrinsicgas",
    "floor data gas",
    "gas uint64 overflow",
    "less than block base fee",
    "max priority fee per gas higher",
    "priority fee is greater",
    "exceeds the configured cap",
    "invalid sender",
    "invalidsender",
    "not an eoa",
    "senders with deployed code",
    "invalid signature",
    "invalid transaction",
    "invalid chain id",
    "wrong chain id",
    "without chain id",
    "invalid chainid",
    "replay-protected",
    "transaction type not supported",
    "oversized data",
    "negative value",
    "nonce has max value",
    "failed to decode signed transaction",
    "rlp:",
];
