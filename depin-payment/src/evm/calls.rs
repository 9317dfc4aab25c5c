//! What the clients of contracts share: events of a receipt, refusals with their kind.

use std::time::Duration;

use depin_core::{Address, Amount, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain, Revert,
    alloy::{
        contract::SolCallBuilder,
        providers::Provider,
        rpc::types::{TransactionReceipt, TransactionRequest},
        sol_types::{SolCall, SolEvent, SolInterface},
    },
    pause_after,
};
use futures_util::future::try_join_all;

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

/// Asks all questions, some at the same time, and answers in their order.
pub(super) async fn read_all<P: Provider, C: SolCall>(
    chain: &Chain,
    calls: &[SolCallBuilder<P, C>],
) -> Result<Vec<C::Return>> {
    let mut answers = Vec::with_capacity(calls.len());
    for calls in calls.chunks(AT_ONCE) {
        let asked = calls.iter().map(|call| patiently(|| chain.read(call)));
        answers.extend(try_join_all(asked).await?);
    }
    Ok(answers)
}

/// Asks again, a few times and less and less often, when the node does not answer now: one lost answer among
/// thousands should not cost all of them. A node that finds that too often is given the time that it asks for.
pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let (mut waits, mut pauses) = (0, 0);
    loop {
        let error = match ask().await {
            Err(error) if error.is_retryable() => error,
            answer => return answer,
        };
        let wait = if let Some(pause) = pause_after(&error, pauses) {
            pauses = pauses.saturating_add(1);
            pause
        } else if let Some(wait) = WAITS.get(waits) {
            waits = waits.saturating_add(1);
            Duration::from_millis(*wait)
        } else {
            return Err(error);
        };
        tokio::time::sleep(wait).await;
    }
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

/// Whether a token that did not revert says no all the same: some answer nothing, some false.
pub(super) fn declines(answer: &[u8]) -> bool {
    !answer.is_empty() && U256::try_from_be_slice(answer) != Some(U256::ONE)
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

/// Questions to a node at the same time.
pub(super) const AT_ONCE: usize = 32;
/// Milliseconds before each of the questions after the first.
const WAITS: [u64; 4] = [20, 80, 320, 1_280];
