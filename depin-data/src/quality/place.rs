//! Where a device was in an epoch.

use std::collections::BTreeMap;

use depin_core::{Batch, Decimal, Timestamp, Verified};

use super::stream;
use crate::geo::{CELL, Cell, LATITUDE, LONGITUDE, Position};

/// The cell of `resolution` that most of the device's signed cells and fixes lie in, of equal ones the
/// first; `None` when it told no place, or only coarser cells.
pub(super) fn whereabouts(batches: &[&Verified<Batch>], resolution: u8) -> Option<Cell> {
    let mut cells: BTreeMap<Cell, usize> = BTreeMap::new();
    let mut halves: BTreeMap<Timestamp, (bool, Decimal)> = BTreeMap::new();
    for place in stream(batches) {
        let (quantity, value) = (place.reading.quantity(), place.reading.value());
        let of = (quantity.name(), quantity.unit());
        let cell = if of == CELL {
            Cell::from_value(value).and_then(|cell| cell.coarser(resolution)).ok()
        } else if of == LATITUDE || of == LONGITUDE {
            let north = of == LATITUDE;
            match halves.insert(place.reading.at(), (north, value)) {
                Some((other, half)) if other != north => {
                    let (latitude, longitude) = if north { (value, half) } else { (half, value) };
                    let position = Position::of(latitude, longitude);
                    position.and_then(|position| Cell::at(position, resolution)).ok()
                }
                _ => None,
            }
        } else {
            None
        };
        if let Some(cell) = cell {
            *cells.entry(cell).or_default() += 1;
        }
    }
    cells.into_iter().rev().max_by_key(|(_, count)| *count).map(|(cell, _)| cell)
}
