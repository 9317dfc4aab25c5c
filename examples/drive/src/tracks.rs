//! Where positions come from: a table made of a GPX file, and what a receiver says in NMEA 0183.

use std::time::Duration;

use anyhow::{Context, Result};
use depin::{
    Decimal, Did, Network, Quantity, Reading, Timestamp,
    data::{
        batch::claimed_signer,
        formats::csv::{Table, TimeFormat},
        geo::{LATITUDE, LONGITUDE, Position},
    },
};
use nmea::ParseResult;

/// Midnight of the day onto which all tracks are shifted.
pub const DAY: Timestamp = Timestamp::from_secs(1_767_225_600);

/// The drive, 3,540 fixes.
pub fn garmin() -> Result<Vec<Reading>> {
    let [north, east] = [LATITUDE, LONGITUDE].map(|(name, unit)| Quantity::new(name, unit));
    let table = Table::new("time", TimeFormat::Rfc3339).column("lat", north).column("lon", east);
    let mut track = Vec::new();
    for row in table.read(include_bytes!("../data/garmin_drive.csv").as_slice())? {
        track.extend(row?.readings);
    }
    Ok(onto_the_day(track))
}

/// The landing, a fix a second while it was fast. Sentences whose checksum does not hold are left out.
pub fn nmea() -> Result<Vec<Reading>> {
    let mut track = Vec::new();
    for line in include_str!("../data/gnss_rmc.nmea").lines() {
        let Ok(ParseResult::RMC(fix)) = nmea::parse_str(line) else { continue };
        let (Some(time), Some(north), Some(east)) = (fix.fix_time, fix.lat, fix.lon) else {
            continue;
        };
        let at = DAY.plus(Duration::from_secs(seconds(&time.to_string())?));
        track.extend(fix_at(at, &format!("{north:.7}"), &format!("{east:.7}"))?);
    }
    Ok(track)
}

fn seconds(time: &str) -> Result<u64> {
    let parts = time.split([':', '.']).take(3).map(str::parse::<u64>);
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    Ok(parts.iter().fold(0, |seconds, part| seconds * 60 + part))
}

/// Another drive, made up: the way back half a degree further north, with thirty excursions to Rome.
pub fn teleporting(track: &[Reading]) -> Result<Vec<Reading>> {
    let (times, places) = (track.chunks_exact(2), track.chunks_exact(2).rev());
    let mut spoofed = Vec::with_capacity(track.len());
    for (number, (time, place)) in times.zip(places).enumerate() {
        let north = Position::of(place[0].value(), place[1].value())?.latitude() + 5_000_000;
        let north = Decimal::new(north.into(), -7)?.to_string();
        let (north, east) = match number % 118 {
            0..20 => ("41.8902", "12.4922".to_owned()),
            _ => (&*north, place[1].value().to_string()),
        };
        spoofed.extend(fix_at(time[0].at(), north, &east)?);
    }
    Ok(spoofed)
}

/// The same track, an hour earlier.
pub fn backdated(track: &[Reading]) -> Vec<Reading> {
    let earlier = |reading: &Reading| {
        let at = Timestamp::from_millis(reading.at().millis() - 3_600_000);
        Reading::new(reading.quantity().clone(), reading.value(), at)
    };
    track.iter().map(earlier).collect()
}

/// Where a track begins.
pub fn place(track: &[Reading]) -> Result<Position> {
    let [north, east, ..] = track else { anyhow::bail!("the track is empty") };
    Ok(Position::of(north.value(), east.value())?)
}

/// What a device has signed, as it stands in the log.
pub async fn signed_by(network: &Network, device: &Did) -> Result<Vec<Reading>> {
    let record = network.registry().device(device).await?.context("the device is enrolled")?;
    let verifier = depin::data::batch::BatchVerifier::new(network.id(), &record.key);
    let size = usize::try_from(network.log().head().await?.size)?;
    let mut readings = Vec::new();
    for entry in network.log().read(0, size).await? {
        if claimed_signer(entry.batch.as_bytes(), network.id())? == *device {
            let batch = depin::Unverified::new(entry.batch).verify(&verifier)?;
            readings.extend_from_slice(&batch.readings);
        }
    }
    Ok(readings)
}

fn fix_at(at: Timestamp, north: &str, east: &str) -> Result<[Reading; 2]> {
    let reading = |(name, unit), value| {
        Ok::<_, depin::Error>(Reading::new(Quantity::new(name, unit), Decimal::parse(value)?, at))
    };
    Ok([reading(LATITUDE, north)?, reading(LONGITUDE, east)?])
}

/// Moves a track by whole days.
fn onto_the_day(track: Vec<Reading>) -> Vec<Reading> {
    let moved = |reading: Reading| {
        let at = DAY.plus(Duration::from_millis(reading.at().millis() % 86_400_000));
        Reading::new(reading.quantity().clone(), reading.value(), at)
    };
    track.into_iter().map(moved).collect()
}
