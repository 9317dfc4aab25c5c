//! More devices in one place than the network needs.

use std::{cmp::Reverse, collections::BTreeMap};

use depin_core::{
    Did, Result,
    quality::{Finding, FleetCheck, Notes, Sent},
};

use super::{Place, kept, of_devices, place::whereabouts, stream};
use crate::geo::Cell;

/// A cell pays for as many devices as it has use for. Codes `crowded` and `no-place`.
///
/// **The bound.** The devices of an H3 cell keep together as many points as the `capacity` of them that have most, and no
/// point more, whoever sends what and in whatever order it comes. Each keeps its part of that, in proportion to the points that
/// [no other check](FleetCheck::of_what_is_left) took, rounded down or up, and spread evenly over what it sent. Ten devices
/// in a room for one earn as much as one, so there is nothing to gain by adding some, and no rank to fight for.
/// (WeatherXM pays the best ten of a cell, Helium scales all by the density of several resolutions: use one check for each
/// resolution; the points lost overlap, so the strictest decides.)
///
/// What counts is what earns, and nothing else: one that sends hardly anything takes up hardly any room, and one that
/// sends nonsense, what others measured, or [what earns nothing](super::Only::beside) takes up none. So nobody
/// is crowded out by devices that earn nothing themselves. Whoever registers many devices that all do plausible work
/// takes his part of the cell: what that costs, the network's registry and stakes decide.
///
/// Where parts are no whole points, the hash of a device's last batch draws the lot, among those with as many points. Who
/// tries many last batches can win it, which is a point at most for each of his devices.
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

    /// What a cell with more devices than it has use for leaves to each of them, given their positions.
    fn shares(&self, mut crowd: Vec<(Worth, usize)>) -> Vec<(usize, Share)> {
        let devices = crowd.len() as u64;
        let capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        // Who has as many points stands together, so that the ends of parts are drawn among equals.
        crowd.sort_unstable_by_key(|(it, at)| (Reverse(it.points), it.lot, *at));
        let sum = |some: &[(Worth, usize)]| -> u128 {
            some.iter().map(|(it, _)| u128::from(it.points)).sum()
        };
        let (busiest, all) = (sum(crowd.get(..capacity).unwrap_or(&crowd)), sum(&crowd).max(1));
        let mut before = 0;
        let share = |(worth, at): (Worth, usize)| {
            let after = before + u128::from(worth.points);
            // Points are less than 2^32 and devices than 2^21. Parts end where the next ones begin, so they add up.
            let points = after * busiest / all - before * busiest / all;
            before = after;
            let points = u64::try_from(points).unwrap_or(worth.points);
            (at, Share { cell: worth.cell, devices, points })
        };
        crowd.into_iter().map(share).collect()
    }
}

impl FleetCheck for Density {
    fn name(&self) -> String {
        format!("density({} in a cell of resolution {})", self.capacity, self.resolution)
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let cell = whereabouts(sent.batches(), self.resolution);
        let lot = sent.batches().last().and_then(|batch| batch.hash.first_chunk().copied());
        let lot = lot.map_or(0, u64::from_be_bytes);
        let points = kept(sent).count() as u64;
        cell.map(|cell| [cell.index(), points, lot].map(u64::to_be_bytes).concat())
            .unwrap_or_default()
    }

    fn of_what_is_left(&self) -> bool {
        true
    }

    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let mut crowds: BTreeMap<u64, Vec<(Worth, usize)>> = BTreeMap::new();
        let mut suspicions: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for at in 0..notes.len() {
            match Worth::decode(&notes.read(at)?) {
                Some(worth) if worth.points > 0 => {
                    crowds.entry(worth.cell).or_default().push((worth, at));
                }
                Some(_) => {}
                None => {
                    suspicions.insert(at, Vec::new());
                }
            }
        }
        crowds.retain(|_, crowd| crowd.len() as u64 > self.capacity.into());
        let shares = crowds.into_values().flat_map(|crowd| self.shares(crowd));
        suspicions.extend(shares.map(|(at, share)| (at, share.encode())));
        Ok(of_devices(notes, suspicions))
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some(share) = Share::decode(suspicion) else {
            let detail = "the device told no place that a cell could be known by";
            let finding = |at: Place<'_>| at.finding("no-place", detail.into());
            return stream(sent.batches()).map(finding).collect();
        };
        let kept: Vec<Place<'_>> = kept(sent).collect();
        let mut turns: Vec<u32> = (0..).map(turn).take(kept.len()).collect();
        let points = usize::try_from(share.points).unwrap_or(usize::MAX);
        if points >= turns.len() {
            return Vec::new();
        }
        let limit = *turns.select_nth_unstable(points).1;
        let detail = share.detail(self.capacity, kept.len());
        let lost = (0..).map(turn).zip(kept).filter(|(turn, _)| *turn >= limit);
        lost.map(|(_, at)| at.finding("crowded", detail.clone())).collect()
    }
}

/// When a reading has its turn: no two have the same. Multiples of the golden ratio fill the circle evenly, however
/// many there are, and the first of more are the first of fewer.
const fn turn(rank: u32) -> u32 {
    rank.wrapping_mul(0x9e37_79b9)
}

/// Where a device is, and what it would earn alone.
#[derive(Clone, Copy)]
struct Worth {
    cell: u64,
    points: u64,
    lot: u64,
}

impl Worth {
    fn decode(note: &[u8]) -> Option<Self> {
        let [cell, points, lot] = words(note)?;
        Some(Self { cell, points: points.min(u32::MAX.into()), lot })
    }
}

/// What a crowded cell leaves to one of its devices.
struct Share {
    cell: u64,
    devices: u64,
    points: u64,
}

impl Share {
    fn encode(&self) -> Vec<u8> {
        [self.cell, self.devices, self.points].map(u64::to_be_bytes).concat()
    }

    fn decode(suspicion: &[u8]) -> Option<Self> {
        let [cell, devices, points] = words(suspicion)?;
        Some(Self { cell, devices, points })
    }

    fn detail(&self, capacity: u32, points: usize) -> String {
        let Self { cell, devices, points: part } = self;
        let cell = Cell::of(*cell).map(|cell| cell.to_string()).unwrap_or_default();
        format!(
            "{devices} devices share cell {cell}, which has use for {capacity}: {part} of {points} points are this one's part"
        )
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks();
    let words: Vec<u64> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
    words.try_into().ok().filter(|_| rest.is_empty())
}
