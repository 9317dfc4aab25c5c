//! The root of a stream of leaves, in memory of one hash per bit of its length.

use alloc::vec::Vec;

use depin_core::B256;

use super::{fold_peaks, node_hash};

/// Takes leaf hashes one by one and knows the root at any moment.
///
/// It keeps the roots of the complete subtrees only (the compact range), at most 64 hashes.
///
/// ```
/// use depin_data::merkle::{Accumulator, leaf_hash, node_hash};
///
/// let [a, b, c] = [b"a", b"b", b"c"].map(|data| leaf_hash(data));
/// let mut accumulator = Accumulator::new();
/// [a, b, c].into_iter().for_each(|leaf| accumulator.push(leaf));
/// assert_eq!(accumulator.root(), node_hash(&node_hash(&a, &b), &c));
/// assert_eq!(accumulator.size(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accumulator {
    size: u64,
    peaks: Vec<B256>,
}

impl Accumulator {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Takes the next leaf hash.
    pub fn push(&mut self, leaf: B256) {
        self.push_each(leaf, |_| {});
    }

    /// As [`push`](Self::push); tells each node that the leaf completes, from the leaf upwards.
    pub(crate) fn push_each(&mut self, leaf: B256, mut completed: impl FnMut(&B256)) {
        let mut node = leaf;
        completed(&node);
        // A set bit is a complete subtree that the new one joins as its right sibling.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
                completed(&node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root over everything so far.
    pub fn root(&self) -> B256 {
        fold_peaks(&self.peaks)
    }

    /// Number of leaves so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Continues a stream of `size` leaves whose complete subtrees have these roots, largest first.
    #[cfg(feature = "std")]
    pub(crate) fn resume(size: u64, peaks: Vec<B256>) -> Self {
        debug_assert_eq!(peaks.len(), size.count_ones() as usize);
        Self { size, peaks }
    }
}
