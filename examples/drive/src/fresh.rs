//! What is worth paying for: a cell of road that nobody has mapped in this epoch.
//!
//! A check of your own is one type: what to note of a device, what to compare, which readings lose their point.

use std::collections::{BTreeMap, HashMap, HashSet};

use depin::{
    Did, Reading, Timestamp, Verified,
    core::{
        Batch,
        quality::{Finding, FleetCheck, MAX_NOTE},
    },
    data::geo::{Cell, LATITUDE, LONGITUDE, Position},
};

/// Cells of about 76 metres a side.
pub const RESOLUTION: u8 = 10;

/// The first fix in a cell earns; all others, also those of other devices, lose their points. Code `not-fresh`.
///
/// A note holds what a device claims, believed or not: here who lies about a cell can still keep others from
/// earning it. A network with money in it would note believed fixes only, as `Travel` sees them.
#[derive(Debug)]
pub struct Fresh;

/// A latitude and a longitude of one moment, and where they stand.
struct Fix<'a> {
    batch: &'a Batch,
    readings: [usize; 2],
    at: Timestamp,
    cell: u64,
}

impl FleetCheck for Fresh {
    fn name(&self) -> String {
        format!("fresh(resolution {RESOLUTION})")
    }

    /// The cells of a device with the time of its first fix in each, 16 bytes a cell.
    fn note(&self, _: &Did, batches: &[&Verified<Batch>]) -> Vec<u8> {
        let mut first: BTreeMap<u64, u64> = BTreeMap::new();
        for fix in fixes(batches) {
            first.entry(fix.cell).or_insert(fix.at.millis());
        }
        let entry = |(cell, at): (u64, u64)| [cell.to_be_bytes(), at.to_be_bytes()].concat();
        first.into_iter().take(MAX_NOTE / 16).flat_map(entry).collect()
    }

    /// Names for every device the cells that another one was the first in.
    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let mut winners: HashMap<&[u8], (&[u8], usize)> = HashMap::new();
        for (device, (_, note)) in notes.iter().enumerate() {
            for (cell, at) in note.chunks_exact(16).map(|entry| entry.split_at(8)) {
                let winner = winners.entry(cell).or_insert((at, device));
                *winner = (*winner).min((at, device));
            }
        }
        let lost = |(device, (did, note)): (usize, &(Did, Vec<u8>))| {
            let cells = note.chunks_exact(16).map(|entry| &entry[..8]);
            let lost = cells.filter(|cell| winners.get(cell).is_some_and(|(_, at)| *at != device));
            (did.clone(), lost.flatten().copied().collect())
        };
        notes.iter().enumerate().map(lost).collect()
    }

    fn inspect(&self, lost: &[u8], batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let cells = lost.as_chunks().0.iter().map(|cell| u64::from_be_bytes(*cell));
        let mut taken: HashSet<u64> = cells.collect();
        let mut findings = Vec::new();
        for fix in fixes(batches) {
            if taken.insert(fix.cell) {
                continue;
            }
            let cell = Cell::of(fix.cell).map(|cell| cell.to_string()).unwrap_or_default();
            findings.extend(fix.readings.map(|reading| Finding {
                batch: fix.batch.hash,
                reading,
                code: "not-fresh".into(),
                detail: format!("the cell {cell} was mapped before {}", fix.at),
            }));
        }
        findings
    }
}

fn fixes<'a>(batches: &'a [&'a Verified<Batch>]) -> impl Iterator<Item = Fix<'a>> {
    batches.iter().flat_map(|batch| {
        let pairs = batch.readings.windows(2).enumerate();
        pairs.filter_map(|(position, pair)| {
            let [north, east] = pair else { return None };
            let is = |reading: &Reading, kind: (&str, &str)| {
                (reading.quantity().name(), reading.quantity().unit()) == kind
            };
            let one = is(north, LATITUDE) && is(east, LONGITUDE) && north.at() == east.at();
            let place = one.then(|| Position::of(north.value(), east.value()))?.ok()?;
            let cell = Cell::at(place, RESOLUTION).ok()?.index();
            Some(Fix { batch, readings: [position, position + 1], at: north.at(), cell })
        })
    })
}
