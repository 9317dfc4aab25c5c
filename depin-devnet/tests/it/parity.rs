//! Gas, status, addresses and logs equal anvil's to the unit.

use crate::workload::{Anvil, differences};

#[tokio::test]
async fn two_hundred_random_transactions_end_as_on_anvil() {
    let Some(anvil) = Anvil::start() else { return };
    let differences = differences(&anvil, 7).await;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
