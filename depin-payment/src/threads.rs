//! Sorting on as many threads as the machine runs at once.
//!
//! Everything here gives the same answer on any number of threads; lists that are not worth a thread are handled on
//! the caller's.

use std::{cmp::Ordering, num::NonZero, thread};

/// Fewer items than this per thread are not worth starting one.
pub(crate) const WORTH_IT: usize = 4_096;
/// More threads than this only wait for memory.
const MOST: usize = 16;

/// Sorts, unless it is sorted already. Items that compare equal come in any order.
pub(crate) fn sort<T: Send>(items: &mut [T], order: impl Fn(&T, &T) -> Ordering + Sync) {
    if items.is_sorted_by(|a, b| order(a, b).is_le()) {
        return;
    }
    let piece = piece(items.len());
    if items.len() <= piece {
        return items.sort_unstable_by(order);
    }
    thread::scope(|scope| {
        for run in items.chunks_mut(piece) {
            scope.spawn(|| run.sort_unstable_by(&order));
        }
    });
    merge(items, piece, order);
}

/// Merges sorted runs: the stable sort of std finds them and does nothing else.
pub(crate) fn merge<T>(items: &mut [T], piece: usize, order: impl Fn(&T, &T) -> Ordering) {
    if piece < items.len() {
        items.sort_by(order);
    }
}

/// How many items each thread gets.
pub(crate) fn piece(items: usize) -> usize {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST);
    items.div_ceil(threads).max(WORTH_IT)
}
