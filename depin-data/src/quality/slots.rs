//! One quantity of one device as the medians of time slots: what can be compared between devices.

use std::collections::BTreeMap;

use depin_core::{Batch, Verified, reading::Quantity};

use super::{place::whereabouts, stream_of};
use crate::geo::Cell;

/// Most slots of a note: 16 bytes each, with room for the head.
pub(super) const MOST: usize = 1_000;

/// The medians by slot, in 10^-6 of the unit, and where they were measured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) cell: Cell,
    pub(super) medians: BTreeMap<u64, i64>,
}

impl Slots {
    /// What a check notes of a device; nothing without a place or a value.
    pub(super) fn note(
        quantity: &Quantity,
        slot: u64,
        resolution: u8,
        batches: &[&Verified<Batch>],
    ) -> Vec<u8> {
        let slots = Self::of(quantity, slot, resolution, batches);
        slots.map(|slots| slots.encode()).unwrap_or_default()
    }

    /// Of what a device measured, cut into slots of `slot` milliseconds; of too many slots the first.
    pub(super) fn of(
        quantity: &Quantity,
        slot: u64,
        resolution: u8,
        batches: &[&Verified<Batch>],
    ) -> Option<Self> {
        let cell = whereabouts(batches, resolution)?;
        let mut slots: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for at in stream_of(quantity, batches) {
            let micros = (at.reading.value().scaled() / 1_000_000)
                .clamp(i128::from(-LIMIT), i128::from(LIMIT));
            let values = slots.entry(at.reading.at().millis() / slot.max(1)).or_default();
            values.push(i64::try_from(micros).unwrap_or(LIMIT));
        }
        let medians = slots.into_iter().take(MOST);
        let medians: BTreeMap<u64, i64> =
            medians.filter_map(|(slot, values)| Some((slot, median(values)?))).collect();
        (!medians.is_empty()).then_some(Self { cell, medians })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.cell.index().to_be_bytes().to_vec();
        for (slot, value) in &self.medians {
            bytes.extend(slot.to_be_bytes());
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (cell, mut rest) = bytes.split_first_chunk::<8>()?;
        let cell = Cell::of(u64::from_be_bytes(*cell)).ok()?;
        let mut medians = BTreeMap::new();
        while let Some((slot, more)) = rest.split_first_chunk::<8>() {
            let (value, more) = more.split_first_chunk::<8>()?;
            medians.insert(u64::from_be_bytes(*slot), i64::from_be_bytes(*value));
            rest = more;
        }
        Some(Self { cell, medians })
    }
}

/// Values beyond 10^12 units are taken as that: differences then fit 64 bits.
const LIMIT: i64 = 1_000_000_000_000_000_000;

/// The middle value, the upper one of two.
pub(super) fn median(mut values: Vec<i64>) -> Option<i64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable(middle).1)
}

/// A fleet by cell.
pub(super) struct Neighbourhood<'a> {
    devices: &'a [Option<Slots>],
    by_cell: BTreeMap<Cell, Vec<usize>>,
    rings: u32,
}

/// Most neighbours that a device is held against: nearer ones first, then by rising DID.
const MOST_NEIGHBOURS: usize = 16;

impl<'a> Neighbourhood<'a> {
    pub(super) fn new(devices: &'a [Option<Slots>], rings: u32) -> Self {
        let mut by_cell: BTreeMap<Cell, Vec<usize>> = BTreeMap::new();
        for (position, slots) in devices.iter().enumerate() {
            if let Some(slots) = slots {
                by_cell.entry(slots.cell).or_default().push(position);
            }
        }
        Self { devices, by_cell, rings }
    }

    /// For each slot of the device what its neighbours measured, where at least `least` of them did.
    pub(super) fn around(&self, device: usize, least: usize) -> BTreeMap<u64, Vec<i64>> {
        let Some(slots) = self.devices.get(device).and_then(Option::as_ref) else {
            return BTreeMap::new();
        };
        let mut near: Vec<(u32, usize)> = Vec::new();
        for cell in slots.cell.around(self.rings) {
            let steps = slots.cell.steps(cell).unwrap_or(self.rings);
            let there = self.by_cell.get(&cell).into_iter().flatten();
            near.extend(there.filter(|other| **other != device).map(|other| (steps, *other)));
        }
        near.sort_unstable();
        let mut values: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (_, other) in near.into_iter().take(MOST_NEIGHBOURS) {
            let medians = self.devices.get(other).and_then(Option::as_ref);
            for (slot, value) in medians.into_iter().flat_map(|slots| &slots.medians) {
                values.entry(*slot).or_default().push(*value);
            }
        }
        values.retain(|_, values| values.len() >= least);
        values
    }
}
