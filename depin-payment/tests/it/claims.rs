//! Claims through faults; the benchmark `claims_100k` does the same with many more, and asks for each kind of
//! fault, which so few need not meet.

pub(crate) mod faults;
mod gas;
mod race;
mod reorg;
mod storm;
mod world;

use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_claim_lands_once_whatever_is_lost_dropped_replaced_reverted_or_reorganised() {
    let report = storm::run(10, 30, Duration::from_secs(3)).await;
    println!("{report}");
    assert_eq!((report.landed, report.lost, report.double), (300, 0, 0), "{report}");
    assert!(report.blocks_were_taken_back(), "{report}");
}
