//! A weather network from enrollment to audited payout, on real measurements.

fn main() {}
