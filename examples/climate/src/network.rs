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

/// Its name, which every signature covers.
const NAME: &str = "climate";

/// Composes the climate network on the embedded chain, in `data` if it shall survive a restart, with its log in
/// the stream of a NATS server if there is one.
pub async fn compose(
    clock: Arc<ManualClock>,
    data: Option<&Path>,
    nats: Option<&str>,
) -> Result<Network> {
    let preset = match data {
        Some(folder) => presets::devnet_at(folder).await?,
        None => presets::devnet().await?,
    };
    let builder = Network::builder(preset);
    let builder = match nats {
        Some(url) => builder.log(shared_log(url, data).await?),
        None => builder,
    };
    builder
        .name(NAME)
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

/// A log that several ingest processes can write; what this one has of it is kept in `data`.
#[cfg(feature = "nats")]
async fn shared_log(url: &str, data: Option<&Path>) -> Result<depin::data::log::JetStreamLog> {
    use depin::data::{
        log::{JetStreamLog, RedbLog},
        nats::NatsOptions,
    };

    let view = match data {
        Some(folder) => RedbLog::open(folder.join("view"))?,
        None => RedbLog::open_in_memory()?,
    };
    JetStreamLog::open(&NatsOptions::new(url), &depin::NetworkId::parse(NAME)?, view).await
}

#[cfg(not(feature = "nats"))]
async fn shared_log(_: &str, _: Option<&Path>) -> Result<depin::data::log::MemoryLog> {
    Err(depin::Error::new(depin::ErrorKind::Config, "--nats needs --features nats"))
}
