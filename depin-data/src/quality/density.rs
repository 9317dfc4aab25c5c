//! More devices in one place than the network needs.

use std::{cmp::Reverse, collections::BTreeMap};

use depin_core::{
    Did,
    quality::{Finding, FleetCheck, Sent},
};

use super::{Place, place::whereabouts, stream};
use crate::geo::{CELL, Cell, LATITUDE, LONGITUDE};

/// A cell pays for as many devices as it has use for. Codes `crowded` and `no-place`.
///
/// In an H3 cell with more devices than its capacity all of them share what its `capacity` busiest ones would have
/// earned alone: of the readings that kept their points until here, each device keeps the same share, spread evenly
/// over them. Ten devices in a room for one earn as much as
/// one, so there is nothing to gain by adding some, and no rank to fight for. (WeatherXM pays the best ten
/// of a cell, Helium scales all by the density of several resolutions: use one check for each resolution;
/// the points lost overlap, so the strictest decides.)
///
/// A device counts with the measurements, not places, that [no other check](FleetCheck::of_what_is_left) found fault with,
/// and with nothing else: one that sends hardly
/// anything takes up hardly any room, and one that sends nonsense, or what others measured, takes up none. So nobody
/// is crowded out by devices that earn nothing themselves. Whoever registers many devices that all do plausible work
/// takes his part of the cell: what that costs, the network's registry and stakes decide.
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

impl Density {
    /// What a cell with more devices than it has use for pays them.
    fn share(&self, cell: u64, mut crowd: Vec<u64>) -> Share {
        crowd.sort_unstable_by_key(|readings| Reverse(*readings));
        let sum = |some: &[u64]| some.iter().fold(0u128, |sum, it| sum + u128::from(*it));
        let capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        let (busiest, all) = (sum(crowd.get(..capacity).unwrap_or(&crowd)), sum(&crowd));
        // A million devices have less than 2^84 readings.
        let part = (busiest << 32).checked_div(all).and_then(|part| u64::try_from(part).ok());
        Share { cell, devices: crowd.len() as u64, part: part.unwrap_or(1 << 32) }
    }
}

impl FleetCheck for Density {
    fn name(&self) -> String {
        format!("density({} in a cell of resolution {})", self.capacity, self.resolution)
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let cell = whereabouts(sent.batches(), self.resolution);
        let place = |at: &Place<'_>| {
            let of = (at.reading.quantity().name(), at.reading.quantity().unit());
            [CELL, LATITUDE, LONGITUDE].contains(&of)
        };
        let worth = kept(sent).filter(|at| !place(at)).count() as u64;
        cell.map(|cell| [cell.index(), worth].map(u64::to_be_bytes).concat()).unwrap_or_default()
    }

    fn of_what_is_left(&self) -> bool {
        true
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let notes = notes.iter().map(|(device, note)| (device, Worth::decode(note)));
        let mut crowds: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for worth in notes.clone().filter_map(|(_, worth)| worth).filter(|it| it.readings > 0) {
            crowds.entry(worth.cell).or_default().push(worth.readings);
        }
        crowds.retain(|_, crowd| crowd.len() as u64 > self.capacity.into());
        let shares: BTreeMap<u64, Share> =
            crowds.into_iter().map(|(cell, crowd)| (cell, self.share(cell, crowd))).collect();
        let suspicion = |worth: Option<Worth>| match worth {
            Some(worth) => shares.get(&worth.cell).map(Share::encode),
            None => Some(Vec::new()),
        };
        notes.filter_map(|(device, worth)| Some((device.clone(), suspicion(worth)?))).collect()
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some(share) = Share::decode(suspicion) else {
            let detail = "the device told no place that a cell could be known by";
            let finding = |at: Place<'_>| at.finding("no-place", detail.into());
            return stream(sent.batches()).map(finding).collect();
        };
        let (crowd, capacity) = (share.devices, self.capacity);
        let cell = Cell::of(share.cell).map(|cell| cell.to_string()).unwrap_or_default();
        let detail = format!(
            "{crowd} devices share cell {cell}, which has use for {capacity} and pays {}% of what they sent",
            (share.part * 100) >> 32
        );
        // Multiples of the golden ratio fill the circle evenly, whatever share is asked for.
        let lost = |rank: u32| u64::from(rank.wrapping_mul(0x9e37_79b9)) >= share.part;
        let lost = (0u32..).zip(kept(sent)).filter(|(rank, _)| lost(*rank));
        lost.map(|(_, at)| at.finding("crowded", detail.clone())).collect()
    }
}

/// The readings that kept their points until here.
fn kept<'a>(sent: &Sent<'a>) -> impl Iterator<Item = Place<'a>> {
    let sent = *sent;
    stream(sent.batches()).filter(move |at| sent.keeps(at.nth, at.position))
}

/// Where a device is, and how many of its measurements kept their points.
struct Worth {
    cell: u64,
    readings: u64,
}

impl Worth {
    fn decode(note: &[u8]) -> Option<Self> {
        let [cell, readings] = words(note)?;
        Some(Self { cell, readings })
    }
}

/// What a cell pays each of its devices.
struct Share {
    cell: u64,
    devices: u64,
    /// In 2^-32.
    part: u64,
}

impl Share {
    fn encode(&self) -> Vec<u8> {
        [self.cell, self.devices, self.part].map(u64::to_be_bytes).concat()
    }

    fn decode(suspicion: &[u8]) -> Option<Self> {
        let [cell, devices, part] = words(suspicion)?;
        Some(Self { cell, devices, part: part.min(1 << 32) })
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks();
    let words: Vec<u64> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
    words.try_into().ok().filter(|_| rest.is_empty())
}
