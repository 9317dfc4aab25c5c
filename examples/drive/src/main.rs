//! A network that pays drivers for the roads they map.
//!
//! Two receivers replay real tracks. Their owner's surroundings are silenced before anything is signed, every
//! fresh cell of road earns once, and two cheats go away with nothing. Copy this folder to start a network of
//! your own: `network.rs` composes it, `fresh.rs` says what is worth paying for, `tracks.rs` is where
//! positions come from.

mod fresh;
mod network;
mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Result, ensure};
use depin::{
    Address, Device, Did, EpochId, ErrorKind, Hardware, ManualClock, Network, Reading,
    core::quality::Finding,
    data::{geo::Position, privacy::Zone},
    hw::SimulatedPebble,
};
use rand::rngs::OsRng;

use crate::{fresh::RESOLUTION, tracks::DAY};

/// Metres around home that nobody learns about.
const SILENCE: u32 = 1_000;
/// Readings in a batch.
const BATCH: usize = 256;

/// A receiver and what came of its day.
struct Driver {
    story: &'static str,
    device: Device,
    measured: usize,
    silent: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = Arc::new(ManualClock::at(DAY));
    let network = network::compose(clock.clone()).await?;
    println!("1. The drivers come home, and their devices forget where that is");
    let (car, aircraft) = (tracks::garmin()?, tracks::nmea()?);
    let home = tracks::place(&car)?;
    // Whoever knows the shift of a zone knows its middle: draw it once, from real randomness, and keep it.
    let zone = Zone::around(home, SILENCE, &mut OsRng)?;
    clock.advance(std::time::Duration::from_secs(86_400));
    let mut drivers = Vec::new();
    for (story, track, zone) in [
        ("drives through the Alps", car.clone(), Some(zone.clone())),
        ("lands near Kolomna", aircraft, None),
        ("says it was in Rome in between", tracks::teleporting(&car)?, None),
        (
            "signs what the first one drove, as if before",
            tracks::backdated(&car),
            Some(zone.clone()),
        ),
    ] {
        drivers.push(join(&network, story, track, zone, drivers.len() as u64).await?);
    }
    for driver in &drivers {
        let Driver { story, measured, silent, .. } = driver;
        println!("   {story}: {measured} fixes, {silent} of them kept to itself");
    }
    ensure!(nobody_knows(&network, drivers[0].device.did(), &zone).await?, "the home is signed");
    println!("   no position within the zone is in the log: there is nothing to leak\n");

    println!("2. The day is over: fresh cells of resolution {RESOLUTION} earn, once");
    let epoch = network.close_epoch(EpochId::new(0)).await?;
    let mut reasons: BTreeMap<Did, BTreeSet<String>> = BTreeMap::new();
    let mut note = |device: &Did, found: &Finding| {
        reasons.entry(device.clone()).or_default().insert(found.code.to_string());
    };
    network.explain(epoch.id(), &mut note).await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["driver", "fixes", "fresh", "lost", "why", "tokens"]);
    for Driver { story, device, .. } in &drivers {
        let why: Vec<_> = reasons.remove(device.did()).into_iter().flatten().collect();
        let worked = epoch.contributions().iter().find(|entry| entry.device == *device.did());
        let (signed, fresh) = worked.map_or((0, 0), |entry| (entry.readings / 2, entry.score / 2));
        let paid = network.claim(device.did()).await?;
        table.add_row([
            (*story).to_owned(),
            signed.to_string(),
            fresh.to_string(),
            (signed - fresh).to_string(),
            why.join(", "),
            paid.to_string(),
        ]);
    }
    println!("{table}\n");
    println!("3. Anybody can check: {}", network.audit(epoch.id()).await?);
    Ok(())
}

/// Enrolls a receiver that is silent in the owner's zone, and gives it the whole track to send.
async fn join(
    network: &Network,
    story: &'static str,
    track: Vec<Reading>,
    zone: Option<Zone>,
    number: u64,
) -> Result<Driver> {
    let owner = Address::with_last_byte(u8::try_from(number)? + 1);
    let hardware = Hardware::from(SimulatedPebble::new(number)).silent_in(zone);
    let device = network.enroll(hardware, owner).await?;
    for batch in track.chunks(BATCH) {
        match device.send(batch).await {
            // All of it was measured at home.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            sent => drop(sent?),
        }
    }
    let measured = track.len() / 2;
    let silent = measured - tracks::signed_by(network, device.did()).await?.len() / 2;
    Ok(Driver { story, device, measured, silent })
}

/// Looks for a position inside the zone in everything that the device has signed.
async fn nobody_knows(network: &Network, device: &Did, zone: &Zone) -> Result<bool> {
    let told = tracks::signed_by(network, device).await?;
    let places = told.chunks_exact(2).map(|fix| Position::of(fix[0].value(), fix[1].value()));
    for place in places {
        if zone.holds(place?) {
            return Ok(false);
        }
    }
    Ok(true)
}
