//! The events of an identity as a value.

use alloc::vec::Vec;

use depin_core::{Address, B256, Bytes, Timestamp};

use super::EthrError;

/// One change, as an event of the registry tells it.
///
/// Names and values are kept as they came: whoever owns an identity can write anything there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// `DIDOwnerChanged`: the identity belongs to this address now. Nobody's, when it is zero.
    Owner(Address),
    /// `DIDDelegateChanged`.
    Delegate {
        /// What the delegate may do: `veriKey` or `sigAuth`, filled up with zeros.
        kind: B256,
        /// The account that may.
        delegate: Address,
        /// From when on it may not, in seconds since the Unix epoch.
        valid_to: u64,
    },
    /// `DIDAttributeChanged`.
    Attribute {
        /// For example `did/svc/HubService`, filled up with zeros.
        name: B256,
        /// What it says.
        value: Bytes,
        /// From when on it says nothing, in seconds since the Unix epoch.
        valid_to: u64,
    },
}

/// The changes of an identity in one block, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its time.
    pub time: Timestamp,
    /// What changed.
    pub changes: Vec<Change>,
}

impl Block {
    /// A block with its changes.
    pub const fn new(number: u64, time: Timestamp, changes: Vec<Change>) -> Self {
        Self { number, time, changes }
    }
}

/// All changes of an identity up to some block, the oldest first.
///
/// ```
/// use depin_core::{Address, Timestamp};
/// use depin_identity::methods::ethr::{Block, Change, History};
///
/// let sale = Block::new(7, Timestamp::from_secs(70), vec![Change::Owner(Address::repeat_byte(2))]);
/// let history = History::new(vec![sale.clone()])?;
/// assert_eq!(history.newest(), Some(7));
/// assert!(History::new(vec![sale.clone(), sale]).is_err());
/// # Ok::<(), depin_identity::methods::ethr::EthrError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Block>);

impl History {
    /// Joins blocks to a history.
    ///
    /// # Errors
    /// [`EthrError::BrokenLink`] when their numbers do not rise or their times fall.
    pub fn new(blocks: Vec<Block>) -> Result<Self, EthrError> {
        let mut pairs = blocks.iter().zip(blocks.iter().skip(1));
        let wrong = pairs.find(|(old, new)| new.number <= old.number || new.time < old.time);
        match wrong {
            Some((_, new)) => Err(EthrError::BrokenLink { block: new.number }),
            None => Ok(Self(blocks)),
        }
    }

    /// The blocks, the oldest first.
    pub fn blocks(&self) -> &[Block] {
        &self.0
    }

    /// Number of the block with the newest change, if there is one.
    pub fn newest(&self) -> Option<u64> {
        self.0.last().map(|block| block.number)
    }

    /// How many changes there are.
    pub fn changes(&self) -> usize {
        self.0.iter().map(|block| block.changes.len()).sum()
    }

    /// The part up to and with a block.
    #[cfg(feature = "std")]
    pub(super) fn through(&self, number: u64) -> Self {
        Self(self.0.iter().take_while(|block| block.number <= number).cloned().collect())
    }
}
