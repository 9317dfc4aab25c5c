//! 100,000 claims from 1,000 accounts through the transaction sender, with faults; fails unless each lands once.
//!
//! `DEPIN_CLAIMS=accounts,each` chooses other numbers.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

#[path = "../tests/it/claims/faults.rs"]
mod faults;
#[path = "../tests/it/claims/storm.rs"]
mod storm;

use std::{process::ExitCode, time::Duration};

use depin_testkit::bench::Row;

#[tokio::main]
async fn main() -> ExitCode {
    let chosen = std::env::var("DEPIN_CLAIMS").unwrap_or_default();
    let chosen = chosen.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (accounts, each): (u16, u64) = chosen.unwrap_or((1_000, 100));
    let report = storm::run(accounts, each, Duration::from_secs(3)).await;
    println!("{report}");
    let claims = u64::from(accounts) * each;
    let seconds = report.time.as_secs_f64();
    let against = format!("claims that should land; lost={} double={}", report.lost, report.double);
    let ratio = report.landed as f64 / claims as f64;
    Row::new("claims_100k", report.landed as f64, "claims", against, ratio).report();
    Row::new("claims_100k_time", seconds, "s", "limit of 300 s", seconds / 300.0).report();
    let good = report.landed == claims && report.lost == 0 && report.double == 0;
    if good && report.each_fault_happened() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
