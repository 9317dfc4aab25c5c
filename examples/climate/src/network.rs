//! The network itself: this is the part you would change first.

use std::{path::Path, sync::Arc, time::Duration};

use depin::{ManualClock, Network, Result, data::quality, payment::ProRata, presets, tokens};

/// The fastest of the stations measures every five minutes; the preset learns who is slower.
const CADENCE: Duration = Duration::from_secs(300);

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
        .quality(weather())
        .rewards(ProRata::per_epoch(tokens(1_000)))
        .build()
        .await
}

/// What is wrong with weather, by the preset. Its checks of stations against each other are left out: with
/// hundreds of stations the same days are replayed more than once, which is a copy, and all in one place.
fn weather() -> quality::presets::Preset {
    let mut preset = quality::presets::climate(CADENCE);
    preset.fleet.clear();
    preset
}

/// A log that several ingest processes can write; what this one has of it is kept in `data`.
#[cfg(feature = "nats")]
async fn shared_log(url: &str, data: Option<&Path>) -> Result<depin::data::log::JetStreamLog> {
    use depin::data::{
        log::{
            JetStreamLog, RedbLog,
            jetstream::{Acknowledge, JetStreamOptions},
        },
        nats::NatsOptions,
    };

    let mut options = JetStreamOptions::default();
    let view = match data {
        Some(folder) => RedbLog::open(folder.join("view"))?,
        None => {
            // Without a folder nothing of this run is meant to last.
            options.acknowledge = Acknowledge::OnceTaken;
            RedbLog::open_in_memory()?
        }
    };
    let network = depin::NetworkId::parse(NAME)?;
    JetStreamLog::open_with(&NatsOptions::new(url), &network, view, options).await
}

#[cfg(not(feature = "nats"))]
async fn shared_log(_: &str, _: Option<&Path>) -> Result<depin::data::log::MemoryLog> {
    Err(depin::Error::new(depin::ErrorKind::Config, "--nats needs --features nats"))
}
