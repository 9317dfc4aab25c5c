//! What several tests need.

use alloy::{
    eips::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, Bytes, U256},
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol,
};
use depin_devnet::{Clock, Devnet};
use serde_json::Value;

sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    Counter,
    "tests/contracts/Counter.json"
);

pub(crate) const FRIEND: Address = Address::repeat_byte(0x77);

/// A chain that gives the same answers on every run.
pub(crate) fn repeatable() -> Devnet {
    Devnet::builder().clock(Clock::Manual).at(1_700_000_000).build()
}

pub(crate) fn transfer(value: u64) -> TransactionRequest {
    TransactionRequest::default().to(FRIEND).value(U256::from(value))
}

pub(crate) async fn send(provider: &DynProvider, tx: TransactionRequest) -> TransactionReceipt {
    provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap()
}

/// A transfer with everything filled in, for tests that bend one field.
pub(crate) fn filled(nonce: u64) -> TransactionRequest {
    transfer(1)
        .nonce(nonce)
        .gas_limit(21_000)
        .max_fee_per_gas(5_000_000_000)
        .max_priority_fee_per_gas(1_000_000_000)
        .with_chain_id(31_337)
}

pub(crate) async fn sign(signer: PrivateKeySigner, tx: TransactionRequest) -> Bytes {
    tx.build(&EthereumWallet::from(signer)).await.unwrap().encoded_2718().into()
}

/// Asks without alloy's types; the error's code and text when there is one.
pub(crate) async fn ask(
    devnet: &Devnet,
    method: &str,
    params: Value,
) -> Result<Value, (i64, String)> {
    devnet.provider().raw_request(method.to_owned().into(), params).await.map_err(|error| {
        let payload = error.as_error_resp().expect("the chain answered").clone();
        (payload.code, payload.message.into_owned())
    })
}
