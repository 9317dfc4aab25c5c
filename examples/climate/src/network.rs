//! The network itself: this is the part you would change first.

use std::{path::Path, sync::Arc, time::Duration};

use depin::{
    ManualClock, Network, Result,
    data::quality::{Bounds, Duplicate, Gap, Jump, Only, Stuck},
    dec,
    payment::ProRata,
    presets, tokens,
};

use crate::stations::UNITS;

const HOUR: Duration = Duration::from_secs(3600);

/// Composes the climate network on the embedded chain, in `data` if it shall survive a restart.
pub async fn compose(clock: Arc<ManualClock>, data: Option<&Path>) -> Result<Network> {
    let preset = match data {
        Some(folder) => presets::devnet_at(folder).await?,
        None => presets::devnet().await?,
    };
    Network::builder(preset)
        .name("climate")
        .clock(clock)
        .check(Bounds::new("temperature", "Cel", dec(-60)..=dec(60)))
        .check(Bounds::new("water_temperature", "Cel", dec(-5)..=dec(45)))
        .check(Bounds::new("humidity", "%RH", dec(0)..=dec(105)))
        .check(Bounds::new("pressure", "hPa", dec(300)..=dec(1100)))
        // A calm anemometer reads a little below zero.
        .check(Bounds::new("wind", "m/s", dec(-1)..=dec(120)))
        .check(Stuck::new("temperature", "Cel", 36, 6 * HOUR))
        .check(Stuck::new("water_temperature", "Cel", 36, 6 * HOUR))
        .check(Jump::new("temperature", "Cel", dec(15), HOUR))
        .check(Gap::new("temperature", "Cel", HOUR, 1))
        .check(Duplicate::same_moment())
        .check(Only::new(UNITS))
        .rewards(ProRata::per_epoch(tokens(1_000)))
        .build()
        .await
}
