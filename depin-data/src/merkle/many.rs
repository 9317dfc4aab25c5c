//! Whole trees at once: leaves and levels hashed [side by side](super::lanes).

use alloc::vec::Vec;

use depin_core::B256;
use sha2::{Digest, Sha256};

use super::{
    empty_root,
    lanes::{self, BLOCK, Block, LANES, Lanes, SHORT},
    leaf_hash, node_bytes, node_hash,
};

/// Hashes leaves as [`leaf_hash`] does, many short ones faster than one after the other.
///
/// ```
/// use depin_data::merkle::{Leaves, leaf_hash};
///
/// let mut leaves = Leaves::new();
/// (0..100u8).for_each(|i| leaves.push(&[i]));
/// assert_eq!(leaves.finish(), (0..100u8).map(|i| leaf_hash(&[i])).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct Leaves {
    hashes: Vec<B256>,
    /// Leaves whose hash is to come: their blocks, places and lengths.
    blocks: [Block; LANES],
    waiting: [(usize, usize); LANES],
    count: usize,
    side_by_side: bool,
}

impl Default for Leaves {
    fn default() -> Self {
        Self::new()
    }
}

impl Leaves {
    /// None yet.
    pub fn new() -> Self {
        let (blocks, waiting) = ([[0; BLOCK]; LANES], [(0, 0); LANES]);
        let side_by_side = lanes::pays(LANES);
        Self { hashes: Vec::new(), blocks, waiting, count: 0, side_by_side }
    }

    /// Takes the data of the next leaf.
    pub fn push(&mut self, data: &[u8]) {
        let length = 1 + data.len();
        let slot = self.blocks.get_mut(self.count).zip(self.waiting.get_mut(self.count));
        let Some((block, waiting)) = slot.filter(|_| length <= SHORT && self.side_by_side) else {
            self.hashes.push(leaf_hash(data));
            return;
        };
        *block = [0; BLOCK];
        if let Some(message) = block.get_mut(1..length) {
            message.copy_from_slice(data);
        }
        lanes::pad(block, length, length);
        *waiting = (self.hashes.len(), length);
        self.hashes.push(B256::ZERO);
        self.count += 1;
        if self.count == LANES {
            self.settle();
        }
    }

    /// The hashes, in the order of the leaves.
    pub fn finish(mut self) -> Vec<B256> {
        self.settle();
        self.hashes
    }

    fn settle(&mut self) {
        let mut hashes = [B256::ZERO; LANES];
        if lanes::pays(self.count) {
            let mut lanes = Lanes::new();
            lanes.update(&self.blocks);
            hashes = lanes.hashes();
        } else {
            let leaves = self.blocks.iter().zip(&self.waiting).take(self.count);
            for (hash, (block, (_, length))) in hashes.iter_mut().zip(leaves) {
                let message = block.get(..*length).unwrap_or_default();
                *hash = B256::new(Sha256::digest(message).into());
            }
        }
        for ((place, _), hash) in self.waiting.iter().zip(hashes).take(self.count) {
            self.hashes.get_mut(*place).into_iter().for_each(|slot| *slot = hash);
        }
        self.count = 0;
    }
}

/// Root over leaf hashes; that of no leaves is `SHA-256("")`.
///
/// It holds all leaves in memory, unlike an [`Accumulator`](super::Accumulator), and is faster.
///
/// ```
/// use depin_data::merkle::{leaf_hash, node_hash, root};
///
/// let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
/// assert_eq!(root([a, b]), node_hash(&a, &b));
/// ```
pub fn root(leaves: impl IntoIterator<Item = B256>) -> B256 {
    let mut level: Vec<B256> = leaves.into_iter().collect();
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied().unwrap_or_else(empty_root)
}

/// The level above; the last node moves up when it has no sibling.
fn parents(level: &[B256]) -> Vec<B256> {
    let (pairs, single) = level.as_chunks::<2>();
    let mut parents = joined(pairs);
    parents.extend(single);
    parents
}

/// The nodes over pairs.
pub(super) fn joined(pairs: &[[B256; 2]]) -> Vec<B256> {
    let mut parents = Vec::with_capacity(pairs.len() + 1);
    for pairs in pairs.chunks(LANES) {
        if lanes::pays(pairs.len()) {
            parents.extend(nodes(pairs).iter().take(pairs.len()));
        } else {
            parents.extend(pairs.iter().map(|[left, right]| node_hash(left, right)));
        }
    }
    parents
}

/// Nodes over at most as many pairs as there are lanes.
fn nodes(pairs: &[[B256; 2]]) -> [B256; LANES] {
    let (mut first, mut second) = ([[0; BLOCK]; LANES], [[0; BLOCK]; LANES]);
    for ((first, second), [left, right]) in first.iter_mut().zip(&mut second).zip(pairs) {
        let bytes = node_bytes(left, right);
        if let Some((head, [last])) = bytes.split_first_chunk() {
            *first = *head;
            second[0] = *last;
            lanes::pad(second, 1, bytes.len());
        }
    }
    let mut lanes = Lanes::new();
    lanes.update(&first);
    lanes.update(&second);
    lanes.hashes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Accumulator;

    fn leaves(count: u64) -> Vec<B256> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn nodes_side_by_side_are_nodes_one_by_one() {
        for count in 0..=LANES {
            let leaves = leaves(2 * count as u64);
            let (pairs, _) = leaves.as_chunks();
            for ([left, right], node) in pairs.iter().zip(nodes(pairs)) {
                assert_eq!(node, node_hash(left, right));
            }
        }
    }

    #[test]
    fn roots_level_by_level_are_those_of_the_stream() {
        let mut stream = Accumulator::new();
        for count in 0..300 {
            let leaves = leaves(count);
            assert_eq!(root(leaves.iter().copied()), stream.root(), "{count}");
            stream.push(leaf_hash(&count.to_be_bytes()));
        }
    }

    #[test]
    fn leaves_of_mixed_lengths_keep_their_order() {
        let data = |i: usize| vec![i as u8; (i * 13) % 120];
        for count in 0..60 {
            let mut leaves = Leaves::new();
            (0..count).for_each(|i| leaves.push(&data(i)));
            let expected: Vec<_> = (0..count).map(|i| leaf_hash(&data(i))).collect();
            assert_eq!(leaves.finish(), expected);
        }
    }
}
