//! The tree for distributors that remember in a bitmap who claimed.
//!
//! There every row has a number, an amount is due once, and the bit of the number is set when it was paid.
//! Each distribution needs its own contract or bitmap; cumulative trees serve any number of epochs.

use alloy_primitives::{KECCAK256_EMPTY, U256, keccak256_uncached};
use depin_core::{Address, Amount, B256, Error, ErrorKind, Result};

use super::{RewardTree, leads_to, nobody, nodes::Nodes};

/// How a leaf is made of index, account and amount. Inner nodes are the same for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// `keccak256(keccak256(abi.encode(uint256, address, uint256)))`, as OpenZeppelin's StandardMerkleTree.
    #[default]
    Standard,
    /// `keccak256(abi.encodePacked(uint256, address, uint256))`, as Uniswap's MerkleDistributor. Its 84
    /// bytes cannot be those of an inner node, which has 64.
    Packed,
}

impl Encoding {
    /// The leaf of a row.
    pub fn leaf(self, index: u64, account: Address, amount: Amount) -> B256 {
        let index = U256::from(index).to_be_bytes::<32>();
        let amount = amount.to_units().to_be_bytes::<32>();
        match self {
            Self::Standard => {
                let words = [index, account.into_word().0, amount];
                keccak256_uncached(keccak256_uncached(words.as_flattened()))
            }
            Self::Packed => {
                let mut packed = [0; 84];
                packed[..32].copy_from_slice(&index);
                packed[32..52].copy_from_slice(account.as_slice());
                packed[52..].copy_from_slice(&amount);
                keccak256_uncached(packed)
            }
        }
    }
}

/// What the owner of a row presents to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedClaim {
    /// The number of the row, from 0.
    pub index: u64,
    /// Who is paid.
    pub account: Address,
    /// How much.
    pub amount: Amount,
    /// The path from the leaf to the root.
    pub proof: Vec<B256>,
}

/// A tree over numbered rows. An account may have several.
///
/// ```
/// use depin_core::{Address, Amount};
/// use depin_payment::tree::indexed::{Encoding, IndexedTree, verify};
///
/// let ann = Address::repeat_byte(1);
/// let rows = vec![(ann, Amount::tokens(3)), (ann, Amount::tokens(4))];
/// let tree = IndexedTree::build(rows, Encoding::Packed)?;
/// let claim = tree.claim(1).expect("the second row");
/// assert!(verify(tree.root(), Encoding::Packed, &claim));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedTree {
    rows: Vec<(Address, Amount)>,
    encoding: Encoding,
    nodes: Nodes,
}

impl IndexedTree {
    /// Builds the tree; the index of a row is its place in `rows`.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`RewardTree::MAX_LEN`] rows, [`ErrorKind::Rejected`] for the zero address, which no
    /// token pays.
    pub fn build(rows: Vec<(Address, Amount)>, encoding: Encoding) -> Result<Self> {
        if rows.len() > RewardTree::MAX_LEN {
            return Err(Error::new(ErrorKind::Limit, "more rows than a reward tree holds")
                .with("rows", rows.len()));
        }
        if rows.iter().any(|(account, _)| account.is_zero()) {
            return Err(nobody());
        }
        let numbered: Vec<_> = (0..).zip(&rows).collect();
        let nodes = Nodes::build(&numbered, |(index, (account, amount))| {
            encoding.leaf(*index, *account, *amount)
        });
        Ok(Self { rows, encoding, nodes })
    }

    /// The root; that of an empty tree is the hash of no bytes and admits nothing.
    pub fn root(&self) -> B256 {
        self.nodes.root().unwrap_or(KECCAK256_EMPTY)
    }

    /// How its leaves are made.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The rows as given.
    pub fn rows(&self) -> &[(Address, Amount)] {
        &self.rows
    }

    /// What the owner of a row presents to be paid, if there is such a row.
    pub fn claim(&self, index: u64) -> Option<IndexedClaim> {
        let row = usize::try_from(index).ok()?;
        let (account, amount) = *self.rows.get(row)?;
        Some(IndexedClaim { index, account, amount, proof: self.nodes.path(row)? })
    }
}

/// Whether a claim leads to `root`, as OpenZeppelin's `MerkleProof` decides it; never with a proof of more
/// than 64 nodes.
pub fn verify(root: B256, encoding: Encoding, claim: &IndexedClaim) -> bool {
    leads_to(root, encoding.leaf(claim.index, claim.account, claim.amount), &claim.proof)
}
