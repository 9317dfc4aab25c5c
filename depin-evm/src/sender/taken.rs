//! Nonces that another program used: shown by its transaction, never guessed from what is missing.
//!
//! Nodes forget: they prune receipts, index them late, or answer behind one URL with others that never had them. So that
//! a nonce is used and no receipt is found says nothing about who used it. The block in which the account's count of
//! transactions passed the nonce says it: its body has the transaction. A node that lacks the state of that time
//! cannot show it, and then nothing is concluded.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    providers::Provider,
};
use depin_core::Result;
use serde_json::value::RawValue;

use super::{
    TxSender,
    body::{Body, Used},
    mined::Mined,
    record::Record,
    void::Void,
};
use crate::{chain::ask, error::is_answer};

/// Who used a nonce that no variant of its record is found for.
pub(super) enum Taker {
    /// This sender, by a variant that the record has now.
    Ours,
    /// Another program, and that is written down.
    Theirs(Mined),
    /// The node cannot show it.
    Unknown,
}

impl TxSender {
    /// Who used a record's nonce, as far as the node shows it.
    ///
    /// A store that was restored from an older copy lacks variants that were signed since. So what does the same as the
    /// record is never taken for another program's: it is one of those, or else nothing is concluded.
    pub(super) async fn taker(&self, record: &Record) -> Result<Taker> {
        let Some(block) = self.used_in(record.nonce).await? else { return Ok(Taker::Unknown) };
        let told = shown(self.told(block).await)?.flatten();
        let Some(body) = told.as_deref().and_then(Body::parse) else { return Ok(Taker::Unknown) };
        let is_ours = |hash| record.has(hash);
        let used = body.used_by(self.account(), record.nonce, is_ours);
        used.map_or(Ok(Taker::Unknown), |used| {
            let taken = Mined { transaction: used.hash, block, hash: body.hash };
            self.attribute(record, &used, taken)
        })
    }

    /// A block with all its transactions.
    pub(super) async fn told(&self, block: u64) -> Result<Option<Box<RawValue>>> {
        let params = (BlockNumberOrTag::Number(block), true);
        ask(self.provider.raw_request("eth_getBlockByNumber".into(), params)).await
    }

    /// Writes down whose a transaction is, by the record as it is now: variants may have been added since it was read.
    fn attribute(&self, record: &Record, used: &Used<'_>, taken: Mined) -> Result<Taker> {
        let Some(act) = used.act() else { return Ok(Taker::Unknown) };
        let mut taker = Taker::Unknown;
        self.store.update(record.nonce, |now| {
            if now.has(taken.transaction) {
                // Without a receipt a variant that was known before tells nothing.
                taker = if record.has(taken.transaction) { Taker::Unknown } else { Taker::Ours };
                return Ok(false);
            }
            if !now.calls(act.to(), act.value, &act.input)? {
                taker = Taker::Theirs(taken);
                return Ok(now.spend(Void::Theirs { taken: Some(taken) }));
            }
            let Some(variant) = used.signed() else { return Ok(false) };
            tracing::info!(transaction = %variant.hash, "a forgotten variant is recalled");
            now.recall(variant);
            taker = Taker::Ours;
            Ok(true)
        })?;
        Ok(taker)
    }

    /// The block in which a nonce was used, as far back as the node has the account's counts.
    async fn used_in(&self, nonce: u64) -> Result<Option<u64>> {
        let mut used = ask(self.provider.get_block_number()).await?;
        if self.is_used_at(nonce, used).await? != Some(true) {
            return Ok(None);
        }
        let mut step = 1_u64;
        let mut unused = loop {
            let earlier = used.saturating_sub(step);
            match self.is_used_at(nonce, earlier).await? {
                Some(true) if earlier > 0 => (used, step) = (earlier, step.saturating_mul(2)),
                Some(false) => break earlier,
                _ => return Ok(None),
            }
        };
        while unused + 1 < used {
            let middle = unused + (used - unused) / 2;
            match self.is_used_at(nonce, middle).await? {
                Some(true) => used = middle,
                Some(false) => unused = middle,
                None => return Ok(None),
            }
        }
        Ok(Some(used))
    }

    /// Whether a nonce was used when a block was the latest; `None` when the node does not know any more.
    async fn is_used_at(&self, nonce: u64, number: u64) -> Result<Option<bool>> {
        Ok(self.used_at(number).await?.map(|used| used > nonce))
    }

    /// How many nonces were used when a block was the latest.
    pub(super) async fn used_at(&self, number: u64) -> Result<Option<u64>> {
        let count = self.provider.get_transaction_count(self.account());
        shown(ask(count.block_id(BlockId::number(number))).await)
    }
}

/// What the node shows: nothing, when it refuses to, as each kind does in words of its own.
fn shown<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if !error.is_retryable() || is_answer(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use alloy::rpc::types::TransactionRequest;
    use depin_core::ChainId;
    use depin_devnet::Devnet;

    use super::{
        super::{Patience, Store, record::Variant, tend::Sending},
        *,
    };

    /// Between the look at a record and the look at the chain another caller may have the nonce filled.
    #[tokio::test]
    async fn what_was_signed_since_a_record_was_read_is_nobody_elses() {
        let devnet = Devnet::builder().automine(false).build();
        let signer = devnet.account(0);
        let store = Store::open(None, "test").unwrap();
        let chain = ChainId::new(devnet.chain_id());
        let started = TxSender::start(devnet.provider(), signer, chain, store, Patience::default());
        let sender = started.await.unwrap();
        let tx = TransactionRequest::default().to(sender.account()).input(vec![1].into());
        let ready = sender.prepare(tx).await.unwrap();
        let first = Variant::sign(&sender.signer, ready, 0, false).unwrap();
        let sign = |nonce| Ok(Record::new(nonce, Some("rent".into()), first));
        drop(sender.store.allocate(Some("rent"), 0, 0, sign).unwrap());

        let old = sender.store.record(0).unwrap();
        let filled = sender.fill(0, "test", Sending::First).await.unwrap();
        sender.broadcast(filled, Sending::First).await.unwrap();
        devnet.mine(1);
        assert!(matches!(sender.taker(&old).await.unwrap(), Taker::Ours));
        let now = sender.store.record(0).unwrap();
        assert_eq!(now.void, None);
        assert!(matches!(sender.taker(&now).await.unwrap(), Taker::Unknown), "without its receipt");
    }
}
