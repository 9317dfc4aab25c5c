//! What the clients of contracts share: events of a receipt, refusals with their kind.

use depin_core::{Address, Amount, Error, ErrorKind, Result};
use depin_evm::{
    Chain, Revert,
    alloy::{
        rpc::types::{TransactionReceipt, TransactionRequest},
        sol_types::{SolEvent, SolInterface},
    },
};

/// Creates a contract, once per `key`.
pub(super) async fn create(chain: &Chain, key: &str, tx: TransactionRequest) -> Result<Address> {
    let receipt = chain.send_once(key, tx).await?;
    receipt.contract_address.ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "the receipt of a deployment lacks the contract")
            .with("transaction", receipt.transaction_hash)
    })
}

/// The events of this kind that the contract itself logged, in their order.
pub(super) fn events<E: SolEvent>(
    receipt: &TransactionReceipt,
    contract: Address,
) -> impl Iterator<Item = E> {
    let own = receipt.logs().iter().filter(move |log| log.address() == contract);
    own.filter_map(|log| Some(log.log_decode::<E>().ok()?.inner.data))
}

/// The first event of this kind that the contract itself logged.
pub(super) fn event<E: SolEvent>(receipt: &TransactionReceipt, contract: Address) -> Result<E> {
    events(receipt, contract).next().ok_or_else(|| {
        let text =
            "the receipt lacks the event of the call; is there another contract at the address?";
        Error::new(ErrorKind::Malformed, text)
            .with("event", E::SIGNATURE)
            .with("transaction", receipt.transaction_hash)
    })
}

/// Gives a refusal of a contract its kind and remedy; leaves other errors alone.
pub(super) fn refused<R: SolInterface>(
    error: Error,
    say: impl FnOnce(&R) -> Option<(ErrorKind, &'static str)>,
) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    let Some((kind, text)) = R::abi_decode(revert.data()).ok().as_ref().and_then(say) else {
        return error;
    };
    let reason = revert.to_string();
    Error::new(kind, text).with("reason", reason).source(error)
}

/// What contracts count in 128 bits.
pub(super) fn narrow(name: &'static str, amount: Amount) -> Result<u128> {
    amount.to_units().try_into().map_err(|_| {
        let text = "the contract counts in 128 bits; choose amounts below 2^128 base units";
        Error::new(ErrorKind::Limit, text).with(name, amount)
    })
}

/// A length that the contract holds in fewer bits.
pub(super) fn too_long(name: &'static str) -> Error {
    Error::new(ErrorKind::Limit, "the contract cannot count that far; choose less time")
        .with("rule", name)
}
