//! JSON-RPC: from a method's name and parameters to an answer.
//!
//! Reads take the lock only to fetch what they need; EVM runs for calls and estimates go on outside
//! of it, over a shared immutable state.

mod accounts;
mod calls;
mod control;
mod fees;
mod filters;
mod history;
mod params;
#[cfg(feature = "http")]
pub(crate) mod wire;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Devnet,
    error::{Error, ErrorKind},
};
use params::Params;

/// A JSON answer or the reason there is none.
type Answer = Result<Box<RawValue>, Error>;

/// Answers one request.
///
/// # Errors
/// Unknown methods, bad parameters, and whatever the method itself refuses.
pub(crate) fn answer(devnet: &Devnet, method: &str, raw: Option<&RawValue>) -> Answer {
    let params = Params::parse(raw)?;
    match method {
        "web3_clientVersion" => fixed(params, CLIENT),
        "eth_syncing" => fixed(params, false),
        "net_version" => fixed(params, devnet.chain_id().to_string()),
        "net_listening" => fixed(params, true),
        "web3_sha3" => accounts::sha3(params),
        "eth_chainId" => accounts::chain_id(devnet, params),
        "eth_accounts" => fixed(params, devnet.addresses()),
        "eth_getBalance" => accounts::balance(devnet, params),
        "eth_getCode" => accounts::code(devnet, params),
        "eth_getStorageAt" => accounts::storage(devnet, params),
        "eth_getTransactionCount" => accounts::nonce(devnet, params),
        "eth_getProof" => accounts::proof(devnet, params),
        "eth_call" => calls::call(devnet, params),
        "eth_estimateGas" => calls::estimate_gas(devnet, params),
        "eth_sendRawTransaction" => calls::send_raw(devnet, params),
        "eth_sendRawTransactionSync" => calls::send_raw_sync(devnet, params),
        "eth_gasPrice" => fees::gas_price(devnet, params),
        "eth_maxPriorityFeePerGas" => fees::priority_fee(params),
        "eth_blobBaseFee" => fees::blob_base_fee(params),
        "eth_feeHistory" => fees::history(devnet, params),
        _ if method.starts_with("evm_") || method.starts_with("anvil_") => {
            control::answer(devnet, method, params)
        }
        "eth_getLogs"
        | "eth_newFilter"
        | "eth_newBlockFilter"
        | "eth_newPendingTransactionFilter"
        | "eth_getFilterChanges"
        | "eth_getFilterLogs"
        | "eth_uninstallFilter" => filters::answer(devnet, method, params),
        _ => history::answer(devnet, method, params),
    }
}

fn fixed(params: Params<'_>, value: impl Serialize) -> Answer {
    params.end()?;
    json(value)
}

fn json(value: impl Serialize) -> Answer {
    to_raw_value(&value)
        .map_err(|reason| Error::rejected(format!("the answer has no JSON form: {reason}")))
}

fn unknown_method(method: &str) -> Error {
    let method: String = method.chars().take(64).collect();
    Error::new(
        ErrorKind::Unsupported,
        format!("the method {method} does not exist/is not available"),
    )
}

const CLIENT: &str = concat!("depin-devnet/v", env!("CARGO_PKG_VERSION"), "/cancun");
