//! What people type: test, ci, contracts, bench.

fn main() {}
