//! A tree in memory, with all its complete nodes.

use alloc::vec::Vec;
use core::convert::Infallible;

use depin_core::B256;

use super::{Accumulator, path};

/// Leaf hashes with every complete node above them: makes roots and paths of any past size.
///
/// ```
/// use depin_data::merkle::{Tree, leaf_hash, verify_consistency, verify_inclusion};
///
/// let tree: Tree = (0..100u8).map(|i| leaf_hash(&[i])).collect();
/// let (old, new) = (tree.root(60).unwrap(), tree.root(100).unwrap());
/// let path = tree.inclusion(7, 100).unwrap();
/// verify_inclusion(&leaf_hash(&[7]), 7, 100, &path, &new)?;
/// verify_consistency(60, &old, 100, &new, &tree.consistency(60, 100).unwrap())?;
/// # Ok::<(), depin_data::merkle::MerkleError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tree {
    edge: Accumulator,
    levels: Vec<Vec<B256>>,
}

impl Tree {
    /// An empty tree.
    pub const fn new() -> Self {
        Self { edge: Accumulator::new(), levels: Vec::new() }
    }

    /// Takes the next leaf hash.
    pub fn push(&mut self, leaf: B256) {
        let (levels, mut level) = (&mut self.levels, 0);
        self.edge.push_each(leaf, |node| {
            if levels.len() == level {
                levels.push(Vec::new());
            }
            levels.get_mut(level).into_iter().for_each(|nodes| nodes.push(*node));
            level += 1;
        });
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Root of the first `size` leaves; `None` past the end.
    pub fn root(&self, size: u64) -> Option<B256> {
        (size <= self.size()).then(|| always(path::root(size, self.nodes())))
    }

    /// Inclusion path of leaf `index` in the tree of the first `size` leaves; `None` past the end.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<B256>> {
        let inside = index < size && size <= self.size();
        inside.then(|| always(path::inclusion(index, size, self.nodes())))
    }

    /// Consistency path from the first `old` leaves to the first `size`, empty for an empty old tree;
    /// `None` past the end.
    pub fn consistency(&self, old: u64, size: u64) -> Option<Vec<B256>> {
        let inside = old <= size && size <= self.size();
        inside.then(|| always(path::consistency(old, size, self.nodes())))
    }

    /// Every node below the size exists, so the fallback is never read.
    fn nodes(&self) -> impl FnMut(u32, u64) -> Result<B256, Infallible> + '_ {
        |level, index| {
            let nodes = usize::try_from(level).ok().and_then(|level| self.levels.get(level));
            let index = usize::try_from(index).ok();
            let node = nodes.zip(index).and_then(|(nodes, index)| nodes.get(index));
            debug_assert!(node.is_some(), "complete nodes are in memory");
            Ok(node.copied().unwrap_or_default())
        }
    }
}

fn always<T>(result: Result<T, Infallible>) -> T {
    let Ok(value) = result;
    value
}

impl FromIterator<B256> for Tree {
    fn from_iter<I: IntoIterator<Item = B256>>(leaves: I) -> Self {
        let mut tree = Self::new();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}
