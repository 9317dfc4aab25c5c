//! What comparing a fleet takes in memory: as much for long series as for short ones.

use std::time::Duration;

use allocation_counter::measure;
use depin_core::{
    Decimal, Did, Reading,
    quality::{FleetCheck, Sent},
    reading::Quantity,
};
use depin_data::{
    geo::{CELL, Cell, Position},
    quality::{Alike, Copied, Neighbours, Skew},
};
use depin_testkit::quality::believed;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

const DEVICES: i32 = 40;
const TEMPERATURE: (&str, &str) = ("temperature", "Cel");

/// A walk in hundredths of a degree, one step a minute, four devices in a cell.
fn measured(device: i32, readings: u32) -> Vec<Reading> {
    let home = Position::try_new(400_000_000 + 1_000_000 * (device / 4), 110_000_000).unwrap();
    let home = Cell::at(home, 7).unwrap().value();
    let mut rng = StdRng::seed_from_u64(device.unsigned_abs().into());
    let mut value = 1_000;
    let walk = (0..readings).map(|minute| {
        value += rng.gen_range(-30..=30);
        let at = NOW.plus(Duration::from_secs(60) * minute);
        let value = Decimal::new(value, -2).unwrap();
        Reading::new(Quantity::new(TEMPERATURE.0, TEMPERATURE.1), value, at)
    });
    [Reading::new(Quantity::new(CELL.0, CELL.1), home, NOW)].into_iter().chain(walk).collect()
}

fn notes(check: &dyn FleetCheck, readings: u32) -> Vec<(Did, Vec<u8>)> {
    let note = |device| {
        let did = Did::parse(&format!("did:example:{device:04}")).unwrap();
        let parts: Vec<Vec<Reading>> =
            measured(device, readings).chunks(256).map(<[Reading]>::to_vec).collect();
        let chain = believed(&did, &parts);
        let batches: Vec<_> = chain.iter().collect();
        let indices: Vec<u64> = (0..).step_by(DEVICES as usize).take(batches.len()).collect();
        let note = check.note(&Sent::new(&did, &batches, &indices));
        (did, note)
    };
    (0..DEVICES).map(note).collect()
}

#[test]
fn comparing_long_series_takes_no_more_memory_than_comparing_short_ones() {
    // So far that all agree: what is held against a device is as long as what it did.
    let (minute, far) = (Duration::from_secs(60), Decimal::from(1_000));
    let (name, unit) = TEMPERATURE;
    let checks: [Box<dyn FleetCheck>; 4] = [
        Box::new(Copied::new([TEMPERATURE])),
        Box::new(Alike::new([(name, unit, Decimal::new(4, -2).unwrap())], minute)),
        Box::new(Neighbours::new(name, unit, far, minute, 7, 1)),
        Box::new(Skew::new(name, unit, minute, 1, 7, 1)),
    ];
    for check in checks {
        let [short, long] = [250, 1_000].map(|readings| {
            let notes = notes(&*check, readings);
            measure(|| drop(check.compare(&notes).unwrap())).bytes_max
        });
        // A few devices at a time are read, of 16 bytes a value and some work.
        let most = short + 256 * 1024;
        assert!(long <= most, "{}: {long} bytes, and {short} of a quarter", check.name());
    }
}
