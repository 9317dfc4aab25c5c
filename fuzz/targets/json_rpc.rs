#![no_main]
//! JSON-RPC requests: any method with any parameters gets an answer or an error with a code.

use depin_devnet::Devnet;
use depin_evm::alloy::{providers::Provider, transports::RpcError};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some((method, params)) = text.split_once('\n') else { return };
    let Ok(params) = serde_json::from_str::<serde_json::Value>(params) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let provider = Devnet::start().provider();
    let method = method.to_owned();
    let answer = runtime.block_on(provider.raw_request::<_, serde_json::Value>(method.into(), params));
    assert!(matches!(answer, Ok(_) | Err(RpcError::ErrorResp(_))), "{answer:?}");
});
