//! Merkle trees of RFC 9162 section 2.1 over SHA-256, as Certificate Transparency has them.
//!
//! A batch is a tree over its readings and the log is a tree over its batches, so that one reading can
//! be proven from a signed tree head with a few hashes. [`Accumulator`] makes roots from a stream,
//! [`root`] faster from all leaves at once, [`Tree`] holds every node and makes paths, and the two `verify_` functions check them in a bounded
//! number of steps.

use alloc::format;

use depin_core::{B256, Error, ErrorKind, SignedBatch};
use sha2::{Digest, Sha256};

mod accumulator;
mod lanes;
mod many;
pub(crate) mod path;
mod tree;

pub use accumulator::Accumulator;
pub use many::{Leaves, root};
pub use path::{verify_consistency, verify_inclusion};
pub use tree::Tree;

/// Most hashes in a path: one per bit of a tree size.
pub const MAX_PATH: usize = 64;

/// Why a path proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// The leaf lies past the end of the tree, the older tree is empty or larger than the newer.
    #[error("the path is for a leaf or tree that is not inside the tree")]
    Range,
    /// The path has too few or too many hashes for these positions.
    #[error("the path has the wrong length for this tree")]
    Length,
    /// The path leads to another root.
    #[error("the path leads to another root")]
    Root,
}

impl From<MerkleError> for Error {
    fn from(error: MerkleError) -> Self {
        Self::new(ErrorKind::Rejected, format!("{error}")).source(error)
    }
}

/// Hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> B256 {
    B256::new(Sha256::new_with_prefix([0]).chain_update(data).finalize().into())
}

/// Leaf of a batch in the tree of a [log](depin_core::log): [`leaf_hash`] of the batch's hash.
///
/// ```
/// use depin_core::SignedBatch;
/// use depin_data::merkle::{batch_leaf, leaf_hash};
///
/// let batch = SignedBatch::new(b"signed bytes".as_slice());
/// assert_eq!(batch_leaf(&batch), leaf_hash(batch.hash().as_slice()));
/// ```
pub fn batch_leaf(batch: &SignedBatch) -> B256 {
    leaf_hash(batch.hash().as_slice())
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &B256, right: &B256) -> B256 {
    B256::new(Sha256::digest(node_bytes(left, right)).into())
}

fn node_bytes(left: &B256, right: &B256) -> [u8; 65] {
    let mut bytes = [1; 65];
    let (_, children) = bytes.split_at_mut(1);
    let (first, second) = children.split_at_mut(32);
    first.copy_from_slice(left.as_slice());
    second.copy_from_slice(right.as_slice());
    bytes
}

fn empty_root() -> B256 {
    B256::new(Sha256::digest([]).into())
}

/// Folds the roots of complete subtrees, largest first, into the root over all of them.
fn fold_peaks(peaks: &[B256]) -> B256 {
    let folded = peaks.iter().copied().rev().reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or_else(empty_root)
}
