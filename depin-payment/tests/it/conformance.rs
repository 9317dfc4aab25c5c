//! The suites of the seams that this crate implements.

use depin_core::Amount;
use depin_payment::{Banded, MemoryLedger, ProRata};
use depin_testkit::{distributor, rewards};

#[test]
fn pro_rata_conforms() {
    rewards::conforms(&ProRata::per_epoch(Amount::tokens(1_000)));
    rewards::conforms(&ProRata::per_epoch(Amount::from(1)));
}

#[test]
fn banded_conforms() {
    rewards::conforms(&Banded::per_epoch(Amount::tokens(1_000), [(2, 5_000), (100, 12_500)]));
}

#[tokio::test]
async fn the_memory_ledger_conforms() {
    let ledger = MemoryLedger::default();
    distributor::conforms(&ledger, &ledger).await;
    distributor::supply_is_held(&ledger, &ledger.holders()).await;
}
