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
    pub(super) async fn make(
        &self,
        chain: &Chain,
        key: &str,
        token: Address,
        contract: Address,
        amount: Amount,
        deposit: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        let _alone = self.0.lock().await;
        // First as it is: a deposit that was made needs no allowance, and one without an allowance is refused
        // before it costs anything.
        let refused = match chain.send_once(key, deposit.clone()).await {
            Err(error) if error.kind() == ErrorKind::Rejected => error,
            answer => return answer,
        };
        if !allow(chain, token, contract, amount).await? {
            return Err(refused);
        }
        chain.send_once(key, deposit).await
    }
}

/// Lets `spender` take `amount` of the account's tokens; answers whether that was needed.
///
/// An approval has no key: it may be made again, and what needs it may have used it up meanwhile.
async fn allow(chain: &Chain, token: Address, spender: Address, amount: Amount) -> Result<bool> {
    let token = NetworkToken::new(token, chain.provider());
    let allowed = chain.read(&token.allowance(chain.account(), spender)).await?;
    if allowed >= amount.to_units() {
        return Ok(false);
    }
    approve(chain, *token.address(), spender, amount).await?;
    Ok(true)
}

/// Lets `spender` take exactly `amount` of the account's tokens, whatever it was allowed before.
pub(super) async fn approve(
    chain: &Chain,
    token: Address,
    spender: Address,
    amount: Amount,
) -> Result<()> {
    let token = NetworkToken::new(token, chain.provider());
    let allowed = chain.read(&token.allowance(chain.account(), spender)).await?;
    // Some tokens let an allowance change only to zero and from zero, and answer nothing, which nobody reads.
    let by_zero = !allowed.is_zero() && !amount.is_zero();
    let values = [U256::ZERO, amount.to_units()];
    for value in values.into_iter().skip(usize::from(!by_zero)) {
        chain.send(token.approve(spender, value).into_transaction_request()).await?;
    }
    Ok(())
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
