//! The nodes of a tree in one array, made on several threads.
//!
//! Hashing dominates, and every hash but the last few has others beside it: leaves are hashed and sorted
//! in one run per thread, the runs are merged, and each level of the tree is cut into as many pieces.

use std::{cmp::Ordering, thread};

use alloy_primitives::keccak256_uncached;
use depin_core::B256;

use crate::threads::{WORTH_IT, merge, piece};

/// Nodes as the JavaScript library lays them out, and where the leaf of each row went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    /// After a first place that stays free: so the children of place `i` are at `2i` and `2i + 1`, and the leaves
    /// are one half.
    heap: Vec<B256>,
    positions: Vec<u32>,
}

impl Nodes {
    /// The tree over the leaves of `rows`, of which there are at most 2^31.
    pub(super) fn build<R: Sync>(rows: &[R], leaf: impl Fn(&R) -> B256 + Sync) -> Self {
        let mut heap = vec![B256::ZERO; rows.len().saturating_mul(2)];
        // Until inner nodes are made, the leaves lie in their half, in the order of the rows.
        let (inner, leaves) = heap.split_at_mut(rows.len());
        let order = ordered(rows, inner, leaf);
        let positions = lay_out(inner, leaves, &order);
        drop(order);
        join_levels(&mut heap);
        if let Some(free) = heap.first_mut() {
            *free = B256::ZERO;
        }
        Self { heap, positions }
    }

    pub(super) fn root(&self) -> Option<B256> {
        self.as_slice().first().copied()
    }

    pub(super) fn as_slice(&self) -> &[B256] {
        self.heap.get(1..).unwrap_or_default()
    }

    /// Where the leaf of each row lies among the nodes.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Siblings from the leaf of a row up to the root.
    pub(super) fn path(&self, row: usize) -> Option<Vec<B256>> {
        let leaf = usize::try_from(*self.positions.get(row)?).ok()?;
        siblings(leaf).map(|at| self.as_slice().get(at).copied()).collect()
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

/// First eight bytes of a leaf and the number of its row.
type Place = (u64, u32);

/// Makes the leaves of the rows, and answers their places in the order of the leaves.
fn ordered<R: Sync>(
    rows: &[R],
    leaves: &mut [B256],
    leaf: impl Fn(&R) -> B256 + Sync,
) -> Vec<Place> {
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
    order
}

/// Copies the leaves to where they belong, the smallest last, and answers for each row where that is among the nodes.
fn lay_out(made: &[B256], leaves: &mut [B256], order: &[Place]) -> Vec<u32> {
    let mut positions = vec![0; order.len()];
    let piece = piece(order.len());
    let alone = order.len() <= piece;
    thread::scope(|scope| {
        for (leaves, order) in leaves.rchunks_mut(piece).zip(order.chunks(piece)) {
            let mut work = move || {
                for (leaf, (_, index)) in leaves.iter_mut().rev().zip(order) {
                    if let Some(made) = usize::try_from(*index).ok().and_then(|at| made.get(at)) {
                        *leaf = *made;
                    }
                }
            };
            if alone {
                work()
            } else {
                scope.spawn(work);
            }
        }
        let last = order.len().saturating_mul(2).saturating_sub(1);
        for ((_, index), at) in order.iter().zip((0..last).rev()) {
            let position = usize::try_from(*index).ok().and_then(|row| positions.get_mut(row));
            if let (Some(position), Ok(at)) = (position, u32::try_from(at)) {
                *position = at;
            }
        }
    });
    positions
}

/// Eight bytes decide almost always, and sorting pairs of words moves a third of the memory.
fn by_leaf<'a>(a: &Place, b: &Place, full: impl Fn(u32) -> Option<&'a B256>) -> Ordering {
    a.0.cmp(&b.0).then_with(|| full(a.1).cmp(&full(b.1)))
}

/// The first eight bytes as a number, which orders as the bytes do.
fn prefix(leaf: &B256) -> u64 {
    leaf.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Fills the half of the inner nodes from that of the leaves, level by level from below.
fn join_levels(heap: &mut [B256]) {
    let leaves = heap.len() / 2;
    let depth = usize::BITS - leaves.saturating_sub(1).leading_zeros();
    for level in (0..depth).rev() {
        let (start, end) = (1 << level, 2 << level);
        // Children of a level begin where the level ends.
        let (upper, children) = heap.split_at_mut(end);
        let parents = &mut upper[start..end.min(leaves)];
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
