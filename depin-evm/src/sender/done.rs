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

    /// Whether a record succeeded in a block that the node does not show to be replaced.
    pub(super) async fn stands(&self, record: &Record) -> Result<bool> {
        let Some(done) = record.done else { return Ok(false) };
        self.remains(done).await
    }

    /// Why no variant of a record is found though its nonce is used. Nothing when it was one that only now is known to
    /// be of the record: then it is to be looked for.
    pub(super) async fn lost(&self, record: &Record) -> Result<Option<Failure>> {
        if self.stands(record).await? {
            return Ok(Some(untold(record)));
        }
        Ok(match self.taker(record).await? {
            Taker::Ours => None,
            Taker::Theirs(taken) => Some(anothers(taken, record.nonce).into()),
            Taker::Unknown => Some(untold(record)),
        })
    }
}

/// That the node is the wrong one to ask.
pub(super) fn untold(record: &Record) -> Failure {
    let Some(done) = record.done else {
        let text = "the transaction's nonce is used, and the node does not show by what; use a node that keeps all \
                    receipts, or all states when another program may have used it";
        let error = Error::unavailable(text).with("transaction", record.newest().hash);
        return Failure::Untold(error.with("nonce", record.nonce));
    };
    let text = "the transaction succeeded earlier, and the node does not tell of it; use a node that has its receipt";
    let error = Error::unavailable(text).with("transaction", done.transaction);
    error.with("block", done.block).source(Succeeded::new(done.transaction, done.block)).into()
}

fn anothers(taken: Mined, nonce: u64) -> Error {
    let text = "another program sent a transaction of this account with the same nonce; \
                use one sender per account, then send again";
    let error = Error::new(ErrorKind::Conflict, text).with("nonce", nonce);
    error.with("transaction", taken.transaction).with("block", taken.block)
}
