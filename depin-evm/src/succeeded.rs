//! What is known of a transaction without its receipt.

use alloy::primitives::B256;
use depin_core::Error;

/// That a transaction succeeded, of which the node does not tell any more: it was written down when it did, and the node
/// shows no other block in the place of its own.
///
/// Who needs nothing of the receipt, no events and no gas, need not wait for a node that has it.
///
/// ```
/// use depin_core::{B256, Error};
/// use depin_evm::Succeeded;
///
/// let (transaction, block) = (B256::repeat_byte(7), 12);
/// let untold = Error::unavailable("pruned").source(Succeeded::new(transaction, block));
/// let known = Succeeded::of(&untold).unwrap();
/// assert_eq!((known.transaction(), known.block()), (transaction, block));
/// assert_eq!(Succeeded::of(&Error::unavailable("silent")), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{transaction} succeeded in block {block}")]
pub struct Succeeded {
    transaction: B256,
    block: u64,
}

impl Succeeded {
    /// A transaction, and the number of the block in which it succeeded.
    pub const fn new(transaction: B256, block: u64) -> Self {
        Self { transaction, block }
    }

    /// What is known by an error of this crate, if anything is.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(this) = cause {
            if let Some(succeeded) = this.downcast_ref() {
                return Some(succeeded);
            }
            cause = this.source();
        }
        None
    }

    /// Its hash.
    pub const fn transaction(&self) -> B256 {
        self.transaction
    }

    /// Where it succeeded.
    pub const fn block(&self) -> u64 {
        self.block
    }
}
