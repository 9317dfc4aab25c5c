//! What is worth paying for: a cell of road that nobody has mapped in this epoch.
//!
//! A check of your own is one type: what to note of a device, what to compare, which readings lose their point.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use depin::{
    Did, Reading, Timestamp, Verified,
    core::{
        Batch, Result,
        quality::{Finding, FleetCheck, Notes, Sent},
    },
    data::geo::{Cell, LATITUDE, LONGITUDE, Position},
};

/// Cells of about 76 metres a side.
pub const RESOLUTION: u8 = 10;

/// The first fix in a cell earns; all others, also those of other devices, lose their points. Code `not-fresh`.
///
/// First is who has the lower place in the log: times are signed by the device, and who reads along could sign earlier
/// ones. A fix counts when all other checks left both its readings their points, so that neither who lies about a
/// cell, as `Travel` sees it, nor who copies a track keeps others from earning it.
#[derive(Debug)]
pub struct Fresh;

/// A latitude and a longitude of one moment, and where they stand.
struct Fix<'a> {
    /// Place of the batch in the chain.
    nth: usize,
    batch: &'a Batch,
    readings: [usize; 2],
    at: Timestamp,
    cell: u64,
}

impl FleetCheck for Fresh {
    fn name(&self) -> String {
        format!("fresh(resolution {RESOLUTION})")
    }

    /// The cells of a device with where its first fix in each stands in the log and in what it sent. Cells for which
    /// there is no room, those that it came to last, earn nothing.
    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let mut first: BTreeMap<u64, Visit> = BTreeMap::new();
        let kept = |fix: &Fix<'_>| fix.readings.iter().all(|at| sent.keeps(fix.nth, *at));
        for fix in fixes(sent.batches()).filter(kept) {
            let visit = Visit { index: sent.index(fix.nth), place: fix.place(), cell: fix.cell };
            first.entry(fix.cell).or_insert(visit);
        }
        let mut first: Vec<Visit> = first.into_values().collect();
        first.sort_unstable();
        first.iter().take(sent.room() / Visit::LENGTH).flat_map(Visit::encode).collect()
    }

    fn of_what_is_left(&self) -> bool {
        true
    }

    /// Names for every device the fixes that were the first in their cells.
    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let visits =
            |note: &[u8]| -> Vec<Visit> { note.as_chunks().0.iter().map(Visit::decode).collect() };
        let mut winners: HashMap<u64, u64> = HashMap::new();
        for note in notes.iter() {
            for visit in visits(&note?.1) {
                let winner = winners.entry(visit.cell).or_insert(visit.index);
                *winner = visit.index.min(*winner);
            }
        }
        let earning = |note: Result<(&Did, Cow<'_, [u8]>)>| {
            let (did, note) = note?;
            let mut visits = visits(&note);
            visits.retain(|visit| winners.get(&visit.cell) == Some(&visit.index));
            let earning = visits.iter().flat_map(|visit| visit.place.to_be_bytes()).collect();
            Ok((did.clone(), earning))
        };
        notes.iter().map(earning).collect()
    }

    fn inspect(&self, earning: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let earning = earning.as_chunks().0.iter().map(|place| u64::from_be_bytes(*place));
        let earning: HashSet<u64> = earning.collect();
        let mut findings = Vec::new();
        for fix in fixes(sent.batches()).filter(|fix| !earning.contains(&fix.place())) {
            let cell = Cell::of(fix.cell).map(|cell| cell.to_string()).unwrap_or_default();
            findings.extend(fix.readings.map(|reading| Finding {
                batch: fix.batch.hash,
                reading,
                code: "not-fresh".into(),
                detail: format!(
                    "the cell {cell} was mapped before {}, or this fix is not believed",
                    fix.at
                ),
            }));
        }
        findings
    }
}

impl Fix<'_> {
    /// Where it stands in what the device sent.
    fn place(&self) -> u64 {
        (self.nth as u64) << 32 | self.readings[0] as u64
    }
}

/// The first fix of a device in a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    index: u64,
    place: u64,
    cell: u64,
}

impl Visit {
    const LENGTH: usize = 24;

    fn encode(&self) -> Vec<u8> {
        [self.index, self.place, self.cell].map(u64::to_be_bytes).concat()
    }

    fn decode(bytes: &[u8; Self::LENGTH]) -> Self {
        let [index, place, cell] =
            [0, 8, 16].map(|at| u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte])));
        Self { index, place, cell }
    }
}

fn fixes<'a>(batches: &'a [&'a Verified<Batch>]) -> impl Iterator<Item = Fix<'a>> {
    batches.iter().enumerate().flat_map(|(nth, batch)| {
        let pairs = batch.readings.windows(2).enumerate();
        pairs.filter_map(move |(position, pair)| {
            let [north, east] = pair else { return None };
            let is = |reading: &Reading, kind: (&str, &str)| {
                (reading.quantity().name(), reading.quantity().unit()) == kind
            };
            let one = is(north, LATITUDE) && is(east, LONGITUDE) && north.at() == east.at();
            let place = one.then(|| Position::of(north.value(), east.value()))?.ok()?;
            let cell = Cell::at(place, RESOLUTION).ok()?.index();
            Some(Fix { nth, batch, readings: [position, position + 1], at: north.at(), cell })
        })
    })
}
