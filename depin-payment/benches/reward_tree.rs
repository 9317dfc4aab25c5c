//! A million accounts: the whole tree beside nothing but its hashes, and the memory it takes.
//!
//! Also builds the 100,000-account tree whose root the JavaScript library gave.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use alloy_primitives::keccak256_uncached;
use depin_core::{Address, Amount, U256};
use depin_payment::RewardTree;
use depin_testkit::bench::Row;

const ACCOUNTS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const ROOT_100K: &str = "0x5e4865502005fe8199ace9028645ab63a43b1be81f24f25a2637facf0ec555e1";

fn rows(count: u64) -> Vec<(Address, Amount)> {
    let row = |i: u64| {
        let hash = keccak256_uncached(i.to_be_bytes());
        let amount = U256::from(i) * U256::from(10u64.pow(15)) + U256::from(1);
        (Address::from_slice(&hash[..20]), Amount::units(amount))
    };
    (0..count).map(row).collect()
}

/// `3n - 1` hashes as the tree makes them: n of 64 bytes, n of 32, n - 1 of 64.
fn bare_keccaks(count: u64) -> Duration {
    let start = Instant::now();
    let mut wide = [7; 64];
    for i in 0..count {
        wide[..8].copy_from_slice(&i.to_be_bytes());
        black_box(keccak256_uncached(keccak256_uncached(wide)));
    }
    for i in 1..count {
        wide[..8].copy_from_slice(&i.to_le_bytes());
        black_box(keccak256_uncached(wide));
    }
    start.elapsed()
}

/// The most memory the process ever had, where the system tells.
fn peak_mebibytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn main() {
    let known = RewardTree::build(rows(100_000)).expect("the accounts differ");
    assert_eq!(known.root().to_string(), ROOT_100K, "the root of the JavaScript library");
    drop(known);

    // Interleaved, so that a busy machine slows both.
    let (mut tree, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let input = rows(ACCOUNTS);
        let start = Instant::now();
        let built = RewardTree::build(input).expect("the accounts differ");
        tree = tree.min(start.elapsed());
        black_box(built.root());
        drop(built);
        bare = bare.min(bare_keccaks(ACCOUNTS));
    }
    let ratio = tree.as_secs_f64() / bare.as_secs_f64();
    Row::new("reward_tree_1m", tree.as_secs_f64(), "s", "3n-1 bare keccaks, at most 1.4x", ratio)
        .report();
    if let Some(peak) = peak_mebibytes() {
        Row::new("reward_tree_1m_peak", peak, "MiB", "limit of 250 MB", peak * 1.048_576 / 250.0)
            .report();
    }
}
