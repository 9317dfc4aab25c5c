//! Claims through faults; the benchmark `claims_100k` does the same with a hundred times as many.

mod faults;
mod storm;

use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_claim_lands_once_whatever_is_lost_dropped_replaced_reverted_or_reorganised() {
    let report = storm::run(20, 50, Duration::from_millis(500)).await;
    println!("{report}");
    assert_eq!((report.landed, report.lost, report.double), (1_000, 0, 0), "{report}");
    assert!(report.each_fault_happened(), "{report}");
}
