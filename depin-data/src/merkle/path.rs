//! Inclusion and consistency paths: made from complete subtrees, checked against roots.
//!
//! Makers ask for nodes `(level, i)`, the root over leaves `i * 2^level .. (i + 1) * 2^level`, which a
//! growing tree never changes. All loops run at most once per bit of the tree size.

use alloc::vec::Vec;

use depin_core::B256;

use super::{MerkleError, fold_peaks, node_hash};

/// Checks that `leaf` is at `index` of the tree of `size` leaves with this root
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// Says what is wrong with the path.
pub fn verify_inclusion(
    leaf: &B256,
    index: u64,
    size: u64,
    path: &[B256],
    root: &B256,
) -> Result<(), MerkleError> {
    if index >= size {
        return Err(MerkleError::Range);
    }
    let (mut node, mut index, mut last) = (*leaf, index, size - 1);
    for sibling in path {
        if last == 0 {
            return Err(MerkleError::Length);
        }
        if index & 1 == 1 || index == last {
            node = node_hash(sibling, &node);
            // At the right edge (index == last > 0), levels without a sibling are skipped.
            let skipped = index.trailing_zeros();
            (index, last) = (index >> skipped, last >> skipped);
        } else {
            node = node_hash(&node, sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    settle(last, node == *root)
}

/// Checks that the tree of `size` leaves with `root` begins with the tree of `old_size` leaves with
/// `old_root` (RFC 9162 section 2.1.4.2). Nothing can be said about an empty old tree.
///
/// # Errors
/// Says what is wrong with the path.
pub fn verify_consistency(
    old_size: u64,
    old_root: &B256,
    size: u64,
    root: &B256,
    path: &[B256],
) -> Result<(), MerkleError> {
    if old_size == 0 || old_size > size {
        return Err(MerkleError::Range);
    }
    if old_size == size {
        return if path.is_empty() {
            settle(0, old_root == root)
        } else {
            Err(MerkleError::Length)
        };
    }
    // A complete old tree is itself the first node, and is not repeated in the path.
    let complete = old_size.is_power_of_two();
    let (first, rest) = match path.split_first() {
        _ if complete && !path.is_empty() => (old_root, path),
        Some(split) => split,
        None => return Err(MerkleError::Length),
    };
    let skipped = (old_size - 1).trailing_ones();
    let (mut index, mut last) = ((old_size - 1) >> skipped, (size - 1) >> skipped);
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(MerkleError::Length);
        }
        if index & 1 == 1 || index == last {
            (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
            let skipped = index.trailing_zeros();
            (index, last) = (index >> skipped, last >> skipped);
        } else {
            new = node_hash(&new, sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    settle(last, old == *old_root && new == *root)
}

const fn settle(last: u64, equal: bool) -> Result<(), MerkleError> {
    match (last, equal) {
        (0, true) => Ok(()),
        (0, false) => Err(MerkleError::Root),
        _ => Err(MerkleError::Length),
    }
}

/// Roots of the complete subtrees over leaves `start..end`, largest first. `start` must be a multiple of
/// the smallest power of two that is not less than `end - start`, as it is in the recursion of RFC 9162.
pub(crate) fn peaks<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(u32, u64) -> Result<B256, E>,
) -> Result<Vec<B256>, E> {
    let (mut at, mut peaks) = (start, Vec::new());
    while at < end {
        let level = (end - at).ilog2();
        peaks.push(node(level, at >> level)?);
        at += 1 << level;
    }
    Ok(peaks)
}

/// Root of the first `size` leaves.
pub(crate) fn root<E>(
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<B256, E>,
) -> Result<B256, E> {
    Ok(fold_peaks(&peaks(0, size, &mut node)?))
}

/// Inclusion path of leaf `index < size` (RFC 9162 section 2.1.3.1).
pub(crate) fn inclusion<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<B256, E>,
) -> Result<Vec<B256>, E> {
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle { (middle, end) } else { (start, middle) };
        path.push(fold_peaks(&peaks(sibling.0, sibling.1, &mut node)?));
        (start, end) = if index < middle { (start, middle) } else { (middle, end) };
    }
    path.reverse();
    Ok(path)
}

/// Consistency path from `old <= size` (RFC 9162 section 2.1.4.1); an empty tree needs none.
pub(crate) fn consistency<E>(
    old: u64,
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<B256, E>,
) -> Result<Vec<B256>, E> {
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    if old == 0 {
        return Ok(path);
    }
    while old < end {
        let middle = start + split(end - start);
        let sibling = if old <= middle { (middle, end) } else { (start, middle) };
        path.push(fold_peaks(&peaks(sibling.0, sibling.1, &mut node)?));
        (start, end) = if old <= middle { (start, middle) } else { (middle, end) };
    }
    if start > 0 {
        path.push(fold_peaks(&peaks(start, end, &mut node)?));
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two smaller than `length`, which is at least 2.
const fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}
