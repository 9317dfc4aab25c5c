//! The root of a stream of leaves, in memory of one hash per bit of its length.

use alloc::vec::Vec;

use depin_core::B256;

#[cfg(feature = "redb")]
use super::many::joined;
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

    /// Takes the next leaf hashes at once, and gives all nodes that they complete: level by level from the
    /// leaves upwards, from left to right.
    #[cfg(feature = "redb")]
    pub(crate) fn extend(&mut self, leaves: Vec<B256>) -> Vec<Vec<B256>> {
        let (mut levels, mut smallest_first) = (Vec::new(), Vec::<B256>::new());
        let (mut old, mut level) = (self.size, leaves);
        self.size += level.len() as u64;
        while !level.is_empty() {
            // A set bit is a complete subtree that waits for a right sibling at this level.
            let left = if old & 1 == 1 { self.peaks.pop() } else { None };
            let row: Vec<_> = left.into_iter().chain(level.iter().copied()).collect();
            let (pairs, single) = row.as_chunks::<2>();
            smallest_first.extend(single);
            levels.push(std::mem::replace(&mut level, joined(pairs)));
            old >>= 1;
        }
        self.peaks.extend(smallest_first.into_iter().rev());
        levels
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

#[cfg(all(test, feature = "redb"))]
mod tests {
    use super::*;

    #[test]
    fn many_leaves_at_once_are_leaves_one_by_one() {
        for (first, count) in (0..40).flat_map(|first| (0..70).map(move |count| (first, count))) {
            let leaf = |n: u64| crate::merkle::leaf_hash(&n.to_be_bytes());
            let mut single = Accumulator::new();
            (0..first).for_each(|n| single.push(leaf(n)));
            let mut many = single.clone();
            let mut expected: Vec<Vec<B256>> = Vec::new();
            for n in first..first + count {
                let mut level = 0;
                single.push_each(leaf(n), |node| {
                    expected.resize(expected.len().max(level + 1), Vec::new());
                    expected[level].push(*node);
                    level += 1;
                });
            }
            assert_eq!(many.extend((first..first + count).map(leaf).collect()), expected);
            assert_eq!(many, single, "{count} after {first}");
        }
    }
}
