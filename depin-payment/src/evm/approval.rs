//! Letting a contract take tokens, so that it can be asked again after a crash.

use depin_core::{Address, Amount, B256, Error, Result, U256, keccak256};
use depin_evm::{
    Chain,
    alloy::rpc::types::{TransactionReceipt, TransactionRequest},
    bindings::NetworkToken,
};
use tokio::sync::Mutex;

/// Deposits of one account into one contract, one after the other: each needs its allowance for itself.
#[derive(Debug, Default)]
pub(super) struct Deposits(Mutex<()>);

impl Deposits {
    /// Allows `amount` of `token` to the recipient of `deposit` and sends it, once per `key`.
    pub(super) async fn make(
        &self,
        chain: &Chain,
        key: &str,
        token: Address,
        contract: Address,
        amount: Amount,
        deposit: TransactionRequest,
    ) -> Result<B256> {
        let _alone = self.0.lock().await;
        let token = NetworkToken::new(token, chain.provider());
        let allowed = chain.read(&token.allowance(chain.account(), contract)).await?;
        if allowed < amount.to_units() {
            // Some tokens let an allowance change only to zero and from zero.
            let steps = [("clear", U256::ZERO), ("approve", amount.to_units())];
            for (step, value) in steps.into_iter().skip(usize::from(allowed.is_zero())) {
                let call = token.approve(contract, value).into_transaction_request();
                chain.send_once(&format!("{step}/{key}"), call).await?;
            }
        }
        chain.send_once(&format!("deposit/{key}"), deposit).await.map(|r| r.transaction_hash)
    }
}

/// A key for what must not be sent twice: the same bytes in the same state wait for the first.
pub(super) fn key_of(
    what: &str,
    contract: Address,
    tx: &TransactionRequest,
    state: B256,
) -> String {
    let input = tx.input.input().map(keccak256).unwrap_or_default();
    format!("{what}/{contract}/{}", crate::typed::hash_words([input, state]))
}

/// What became of a transaction that pays out.
pub(super) enum Sent {
    Mined(Box<TransactionReceipt>),
    /// Tracked by the sender, not mined yet.
    Pending,
}

/// Sends once; a transaction that is not mined in time is no error, for the sender keeps it.
pub(super) async fn send(chain: &Chain, key: &str, tx: TransactionRequest) -> Result<Sent> {
    match chain.send_once(key, tx).await {
        Ok(receipt) => Ok(Sent::Mined(Box::new(receipt))),
        Err(error) if is_tracked(&error) => Ok(Sent::Pending),
        Err(error) => Err(error),
    }
}

/// The sender names the transaction when it has one.
fn is_tracked(error: &Error) -> bool {
    error.is_retryable() && error.context().any(|(key, _)| key == "transaction")
}
