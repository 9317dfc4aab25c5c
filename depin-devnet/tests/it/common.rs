//! What several tests need.

use alloy::{
    primitives::{Address, U256},
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol,
};

sol!(
    #[sol(rpc)]
    Counter,
    "tests/contracts/Counter.json"
);

pub(crate) const FRIEND: Address = Address::repeat_byte(0x77);

pub(crate) fn transfer(value: u64) -> TransactionRequest {
    TransactionRequest::default().to(FRIEND).value(U256::from(value))
}

pub(crate) async fn send(provider: &DynProvider, tx: TransactionRequest) -> TransactionReceipt {
    provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap()
}
