//! Transactions that succeeded, and what a node that does not tell of them proves.
//!
//! Nodes forget: they prune old receipts, index them late, or answer behind one URL with others that never had them. So
//! a receipt that is missing is no sign that nothing happened. A success is written down with its block before anybody
//! hears of it, and stands until the node shows another block in that place.

use alloy::rpc::types::TransactionReceipt;
use depin_core::{Error, ErrorKind, Result};

use super::{TxSender, mined::Mined, record::Record, taken::Taker};
use crate::Succeeded;

/// Why there is no receipt.
pub(super) enum Failure {
    /// Nobody shows what used the nonce.
    Untold(Error),
    /// Anything else.
    Told(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Untold(error) | Failure::Told(error) => error,
        }
    }
}

impl TxSender {
    /// Writes down that a transaction succeeded.
    pub(super) fn done(&self, record: &Record, receipt: &TransactionReceipt) -> Result<()> {
        let done = Mined::of(receipt);
        if done.is_none() || record.done == done {
            return Ok(());
        }
        self.store.update(record.nonce, |record| {
            record.done = done;
            Ok(true)
        })?;
        Ok(())
    }

    /// Where a record succeeded, unless the node shows another block there.
    pub(super) async fn succeeded(&self, record: &Record) -> Result<Option<Mined>> {
        let Some(done) = record.done else { return Ok(None) };
        Ok(self.remains(done).await?.then_some(done))
    }

    /// Why no variant of a record is found though its nonce is used. Nothing when it was one that only now is known to
    /// be of the record: then it is to be looked for.
    pub(super) async fn lost(&self, record: &Record) -> Result<Option<Failure>> {
        if let Some(done) = self.succeeded(record).await? {
            return Ok(Some(pruned(done).into()));
        }
        Ok(match self.taker(record).await? {
            Taker::Ours => None,
            Taker::Theirs(taken) => Some(anothers(taken, record.nonce).into()),
            Taker::Unknown => Some(Failure::Untold(untold(record))),
        })
    }
}

/// That the node is the wrong one to ask of what used a nonce. A success in a block that was replaced says nothing of it.
fn untold(record: &Record) -> Error {
    let text = "the transaction's nonce is used, and the node does not show by what; use a node that keeps all \
                receipts, or all states when another program may have used it";
    let error = Error::unavailable(text).with("transaction", record.newest().hash);
    error.with("nonce", record.nonce)
}

/// That the node is the wrong one to ask for the receipt of what succeeded.
pub(super) fn pruned(done: Mined) -> Error {
    let text = "the transaction succeeded earlier, and the node does not tell of it; use a node that has its receipt";
    let error = Error::unavailable(text).with("transaction", done.transaction);
    error.with("block", done.block).source(Succeeded::new(done.transaction, done.block))
}

fn anothers(taken: Mined, nonce: u64) -> Error {
    let text = "another program sent a transaction of this account with the same nonce; \
                use one sender per account, then send again";
    let error = Error::new(ErrorKind::Conflict, text).with("nonce", nonce);
    error.with("transaction", taken.transaction).with("block", taken.block)
}
