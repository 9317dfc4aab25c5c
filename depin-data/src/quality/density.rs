//! More devices in one place than the network needs.

use std::collections::BTreeMap;

use depin_core::{
    Batch, Did, Verified,
    quality::{Finding, FleetCheck},
};

use super::{place::whereabouts, stream};
use crate::geo::Cell;

/// A cell pays for as many devices as it has use for. Codes `crowded` and `no-place`.
///
/// In an H3 cell with more devices than its capacity all of them share it: each keeps `capacity` of
/// `devices` of its readings, spread evenly over its stream. Ten devices in a room for one earn as much as
/// one, so there is nothing to gain by adding some, and no rank to fight for. (WeatherXM pays the best ten
/// of a cell, Helium scales all by the density of several resolutions: use one check for each resolution;
/// the points lost overlap, so the strictest decides.)
///
/// A device that tells no place, by [cell](crate::geo::CELL) or by coordinates, loses everything.
///
/// ```
/// use depin_core::quality::FleetCheck;
/// use depin_data::quality::Density;
///
/// assert_eq!(Density::new(7, 10).name(), "density(10 in a cell of resolution 7)");
/// ```
#[derive(Clone, Debug)]
pub struct Density {
    resolution: u8,
    capacity: u32,
}

impl Density {
    /// At most `capacity` devices, taken as at least one, in a cell of this H3 resolution.
    pub fn new(resolution: u8, capacity: u32) -> Self {
        Self { resolution, capacity: capacity.max(1) }
    }
}

impl FleetCheck for Density {
    fn name(&self) -> String {
        format!("density({} in a cell of resolution {})", self.capacity, self.resolution)
    }

    fn note(&self, _: &Did, batches: &[&Verified<Batch>]) -> Vec<u8> {
        let cell = whereabouts(batches, self.resolution);
        cell.map(|cell| cell.index().to_be_bytes().to_vec()).unwrap_or_default()
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let mut crowds: BTreeMap<&[u8], u32> = BTreeMap::new();
        for (_, cell) in notes {
            let crowd = crowds.entry(cell).or_default();
            *crowd = crowd.saturating_add(1);
        }
        let suspicion = |(device, cell): &(Did, Vec<u8>)| {
            let crowd = *crowds.get(cell.as_slice())?;
            let suspicious = cell.is_empty() || crowd > self.capacity;
            suspicious.then(|| (device.clone(), [cell.as_slice(), &crowd.to_be_bytes()].concat()))
        };
        notes.iter().filter_map(suspicion).collect()
    }

    fn inspect(&self, suspicion: &[u8], batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let Some((cell, crowd)) = suspicion.split_last_chunk::<4>() else { return Vec::new() };
        let Ok(cell) = <[u8; 8]>::try_from(cell) else {
            let finding = |at: super::Place<'_>| {
                at.finding(
                    "no-place",
                    "the device told no place that a cell could be known by".into(),
                )
            };
            return stream(batches).map(finding).collect();
        };
        let cell =
            Cell::of(u64::from_be_bytes(cell)).map(|cell| cell.to_string()).unwrap_or_default();
        let crowd = u32::from_be_bytes(*crowd);
        let share = (u64::from(self.capacity) << 32) / u64::from(crowd.max(1));
        let mut findings = Vec::new();
        for (position, at) in (0u32..).zip(stream(batches)) {
            // Multiples of the golden ratio fill the circle evenly, whatever share is asked for.
            if u64::from(position.wrapping_mul(0x9e37_79b9)) >= share {
                let capacity = self.capacity;
                let detail =
                    format!("{crowd} devices share cell {cell}, which has use for {capacity}");
                findings.push(at.finding("crowded", detail));
            }
        }
        findings
    }
}
