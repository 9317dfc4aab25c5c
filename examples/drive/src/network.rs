//! The network itself: this is the part you would change first.

use std::sync::Arc;

use depin::{
    ManualClock, Network, Result,
    data::quality::{Travel, presets::drive},
    dec,
    payment::ProRata,
    presets, tokens,
};

use crate::fresh::Fresh;

/// Metres a second that a vehicle makes at most; light aircraft are welcome.
const TOP_SPEED: i32 = 90;

/// Composes the network on the embedded chain.
pub async fn compose(clock: Arc<ManualClock>) -> Result<Network> {
    Network::builder(presets::devnet().await?)
        .name("drive")
        .clock(clock)
        .quality(drive(dec(TOP_SPEED)))
        // Who teleports is not believed in between either.
        .check(Travel::new(dec(TOP_SPEED), dec(50)).all_or_nothing(5))
        .fleet_check(Fresh)
        .rewards(ProRata::per_epoch(tokens(1_000)))
        .build()
        .await
}
