//! The nodes of a tree in one array, made on several threads.
//!
//! Hashing dominates, and every hash but the last few has others beside it: leaves are hashed and sorted
//! in one run per thread, the runs are merged, and each level of the tree is cut into as many pieces.

use std::{cmp::Ordering, num::NonZero, thread};

use alloy_primitives::keccak256_uncached;
use depin_core::B256;

/// Fewer items than this per thread are not worth starting one.
const WORTH_IT: usize = 4_096;
/// More threads than this only wait for memory.
const MOST: usize = 16;

/// Nodes as the JavaScript library lays them out, and where the leaf of each row went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    nodes: Vec<B256>,
    positions: Vec<u32>,
}

impl Nodes {
    /// The tree over the leaves of `rows`, of which there are at most 2^31.
    pub(super) fn build<R: Sync>(rows: &[R], leaf: impl Fn(&R) -> B256 + Sync) -> Self {
        let (leaves, order) = ordered(rows, leaf);
        let size = (2 * leaves.len()).saturating_sub(1);
        let mut nodes = vec![B256::ZERO; size];
        let mut positions = vec![0; leaves.len()];
        // The smallest leaf lies last.
        for (((_, index), at), place) in
            order.iter().zip((0..size).rev()).zip(nodes.iter_mut().rev())
        {
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            if let (Some(leaf), Some(position), Ok(at)) =
                (leaves.get(index), positions.get_mut(index), u32::try_from(at))
            {
                (*place, *position) = (*leaf, at);
            }
        }
        drop((leaves, order));
        join_levels(&mut nodes, rows.len());
        Self { nodes, positions }
    }

    pub(super) fn root(&self) -> Option<B256> {
        self.nodes.first().copied()
    }

    pub(super) fn as_slice(&self) -> &[B256] {
        &self.nodes
    }

    /// Where the leaf of each row lies among the nodes.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Siblings from the leaf of a row up to the root.
    pub(super) fn path(&self, row: usize) -> Option<Vec<B256>> {
        let leaf = usize::try_from(*self.positions.get(row)?).ok()?;
        siblings(leaf).map(|at| self.nodes.get(at).copied()).collect()
    }
}

/// Where the siblings lie on the way from a node to the root.
pub(super) fn siblings(node: usize) -> impl Iterator<Item = usize> {
    let parent = |at: usize| (at > 0).then(|| (at - 1) / 2);
    let way = std::iter::successors(Some(node), move |at| parent(*at));
    way.take_while(|at| *at > 0).map(|at| if at % 2 == 1 { at + 1 } else { at - 1 })
}

/// The parent of two nodes, which does not know left from right.
pub(super) fn pair(a: &B256, b: &B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(low.as_slice());
    both[32..].copy_from_slice(high.as_slice());
    keccak256_uncached(both)
}

/// Sorts on several threads, unless it is sorted already.
pub(super) fn sort<T: Send>(items: &mut [T], order: impl Fn(&T, &T) -> Ordering + Sync) {
    if items.is_sorted_by(|a, b| order(a, b).is_le()) {
        return;
    }
    let piece = piece(items.len());
    thread::scope(|scope| {
        for run in items.chunks_mut(piece) {
            scope.spawn(|| run.sort_unstable_by(&order));
        }
    });
    merge(items, piece, order);
}

/// Merges sorted runs: the stable sort of std finds them and does nothing else.
fn merge<T>(items: &mut [T], piece: usize, order: impl Fn(&T, &T) -> Ordering) {
    if piece < items.len() {
        items.sort_by(order);
    }
}

/// How many items each thread gets.
fn piece(items: usize) -> usize {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST);
    items.div_ceil(threads).max(WORTH_IT)
}

/// First eight bytes of a leaf and the number of its row.
type Place = (u64, u32);

/// The leaves of the rows, and their places in the order of the leaves.
fn ordered<R: Sync>(rows: &[R], leaf: impl Fn(&R) -> B256 + Sync) -> (Vec<B256>, Vec<Place>) {
    let mut leaves = vec![B256::ZERO; rows.len()];
    let mut order: Vec<Place> = vec![(0, 0); rows.len()];
    let piece = piece(rows.len());
    let alone = rows.len() <= piece;
    thread::scope(|scope| {
        let pieces = rows.chunks(piece).zip(leaves.chunks_mut(piece)).zip(order.chunks_mut(piece));
        for (((rows, leaves), order), first) in pieces.zip((0..).step_by(piece)) {
            let leaf = &leaf;
            let mut work = move || {
                for (((row, made), place), index) in
                    rows.iter().zip(&mut *leaves).zip(&mut *order).zip(first..)
                {
                    *made = leaf(row);
                    *place = (prefix(made), index);
                }
                let full = |index: u32| leaves.get(usize::try_from(index - first).ok()?);
                order.sort_unstable_by(|a, b| by_leaf(a, b, full));
            };
            if alone {
                work()
            } else {
                scope.spawn(work);
            }
        }
    });
    let full = |index: u32| leaves.get(usize::try_from(index).ok()?);
    merge(&mut order, piece, |a, b| by_leaf(a, b, full));
    (leaves, order)
}

/// Eight bytes decide almost always, and sorting pairs of words moves a third of the memory.
fn by_leaf<'a>(a: &Place, b: &Place, full: impl Fn(u32) -> Option<&'a B256>) -> Ordering {
    a.0.cmp(&b.0).then_with(|| full(a.1).cmp(&full(b.1)))
}

/// The first eight bytes as a number, which orders as the bytes do.
fn prefix(leaf: &B256) -> u64 {
    leaf.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Fills the inner nodes of a tree over `leaves` leaves, level by level from below.
fn join_levels(nodes: &mut [B256], leaves: usize) {
    let inner = leaves.saturating_sub(1);
    let depth = usize::BITS - inner.leading_zeros();
    for level in (0..depth).rev() {
        let (start, end) = ((1 << level) - 1, (2 << level) - 1);
        // Children of a level begin where the level ends.
        let (upper, children) = nodes.split_at_mut(end);
        let parents = &mut upper[start..end.min(inner)];
        let piece = piece(parents.len());
        thread::scope(|scope| {
            for (parents, children) in parents.chunks_mut(piece).zip(children.chunks(2 * piece)) {
                let mut work = move || {
                    for (parent, [left, right]) in parents.iter_mut().zip(children.as_chunks().0) {
                        *parent = pair(left, right);
                    }
                };
                if end < WORTH_IT {
                    work()
                } else {
                    scope.spawn(work);
                }
            }
        });
    }
}
