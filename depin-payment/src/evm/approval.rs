//! Letting a contract take tokens, so that it can be asked again after a crash.

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, U256, keccak256};
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
    /// Sends `deposit` once per `key`, and allows `amount` of `token` to its recipient before where that is needed.
    ///
    /// An approval has no key: it may be made again, and another deposit may have used it up meanwhile.
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
        let key = format!("deposit/{key}");
        // First as it is: a deposit that was made needs no allowance, and one without an allowance is refused
        // before it costs anything.
        let refused = match chain.send_once(&key, deposit.clone()).await {
            Ok(receipt) => return Ok(receipt.transaction_hash),
            Err(error) if error.kind() == ErrorKind::Rejected => error,
            Err(error) => return Err(error),
        };
        let token = NetworkToken::new(token, chain.provider());
        let allowed = chain.read(&token.allowance(chain.account(), contract)).await?;
        if allowed >= amount.to_units() {
            return Err(refused);
        }
        // Some tokens let an allowance change only to zero and from zero.
        let values = [U256::ZERO, amount.to_units()];
        for value in values.into_iter().skip(usize::from(allowed.is_zero())) {
            chain.send(token.approve(contract, value).into_transaction_request()).await?;
        }
        chain.send_once(&key, deposit).await.map(|receipt| receipt.transaction_hash)
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
