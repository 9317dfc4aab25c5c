//! How long one lookup in a status list of 2^20 entries takes, beside reading the bare byte.
//!
//! The indices are scattered over the list and each depends on the answer before, so that neither the
//! caches nor the pipeline of the processor hide what a single question costs.

use std::hint::black_box;

use depin_identity::credentials::status::StatusList;
use depin_testkit::bench::{Row, best_of};

const ENTRIES: usize = 1 << 20;
const LOOKUPS: usize = 1 << 22;
const LIMIT_NANOS: f64 = 20.0;

fn main() {
    let mut list = StatusList::new(ENTRIES).expect("a size within the bounds");
    for index in (0..ENTRIES).step_by(97) {
        list.set(index, true).expect("an index within the list");
    }
    let bytes: Vec<u8> = (0..ENTRIES / 8)
        .map(|at| {
            (0..8).fold(0, |byte, bit| byte << 1 | u8::from(list.get(at * 8 + bit) == Some(true)))
        })
        .collect();
    let list = black_box(list);
    let bytes = black_box(bytes);
    let lookup = chase(|index| list.get(index).unwrap_or_default());
    let bare = chase(|index| bytes[index >> 3] & 0x80 >> (index & 7) != 0);
    let against = format!("bare byte and mask {bare:.2} ns; limit {LIMIT_NANOS} ns");
    Row::new("status_lookup", lookup, "ns", against, lookup / bare).report();
}

/// Nanoseconds a lookup, where each decides where the next one looks.
fn chase(get: impl Fn(usize) -> bool) -> f64 {
    let walk = || {
        let mut index = 1_usize;
        for _ in 0..LOOKUPS {
            let step = if get(index) { 7 } else { 3 };
            index = index.wrapping_mul(1_664_525).wrapping_add(step) & (ENTRIES - 1);
        }
        black_box(index);
    };
    best_of(9, walk).as_secs_f64() * 1e9 / LOOKUPS as f64
}
