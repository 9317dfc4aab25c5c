//! Which devices are worth comparing, without comparing all pairs.
//!
//! The order of eight means over 32 intervals, where the means are far enough apart, survives any offset, factor,
//! rounding and small noise. Every device keeps the 64 of its orders whose digests are least, so that a copy and its
//! original keep the same ones.

use std::{collections::BTreeMap, iter::repeat_n};

use depin_core::Result;

use super::{super::rows::Digest, shapes::Shapes};

/// Means of an order, and the intervals of each.
const MEANS: usize = 8;
const PART: usize = 4;
/// Means are apart by at least this part of what the highest and the lowest are apart, and those by as many steps
/// of the sensor.
const APART: i64 = 32;
const STEPS: i64 = 8;
/// Orders that a device keeps.
const KEPT: usize = 64;
/// Devices that an order is looked for in: a window of them that begins elsewhere for each order, so that no order
/// that a whole region has takes quadratic time.
const MOST_HOLDERS: usize = 64;
/// Orders in common, at one shift in time, from which on devices are compared.
const LEAST: u32 = 2;

/// An order: its digest, the device, and the interval in which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    digest: u64,
    device: u32,
    slot: u32,
}

/// The orders of a fleet that several devices have; others say nothing.
pub(super) struct Sketches {
    /// By digest and device.
    orders: Vec<Order>,
    /// Places among the orders, by device.
    by_device: Vec<u32>,
    /// How long the intervals of each device are; 0 of one without.
    every: Vec<u64>,
}

impl Sketches {
    /// Devices are taken one after the other, so that no more than one has to be in memory.
    pub(super) fn of(devices: impl Iterator<Item = Result<Option<Shapes>>>) -> Result<Self> {
        let (mut orders, mut every) = (Vec::new(), Vec::new());
        for (device, shapes) in (0..).zip(devices) {
            let shapes = shapes?;
            every.push(shapes.as_ref().map_or(0, Shapes::every));
            orders.extend(shapes.iter().flat_map(|shapes| kept(device, shapes)));
        }
        orders.sort_unstable();
        retain_shared(&mut orders);
        orders.shrink_to_fit();
        let device = |place: &u32| (orders.get(*place as usize).map(|order| order.device), *place);
        let mut by_device: Vec<u32> = (0..).take(orders.len()).collect();
        by_device.sort_unstable_by_key(device);
        Ok(Self { orders, by_device, every })
    }

    /// The devices with which this one has most orders in common, and how many intervals later theirs are.
    pub(super) fn most_alike(&self, device: usize, most: usize) -> Vec<(usize, i64)> {
        let mut votes: BTreeMap<(usize, i64), u32> = BTreeMap::new();
        for order in self.kept_by(device) {
            for other in self.holders(order.digest).filter(|other| other.device != order.device) {
                let shift = i64::from(other.slot) - i64::from(order.slot);
                *votes.entry((other.device as usize, shift)).or_default() += 1;
            }
        }
        let comparable = |(other, _): &(usize, i64)| self.in_step(device, *other);
        let mut alike: Vec<(u32, (usize, i64))> = votes
            .into_iter()
            .filter(|(pair, count)| *count >= LEAST && comparable(pair))
            .map(|(pair, count)| (u32::MAX - count, pair))
            .collect();
        alike.sort_unstable();
        alike.into_iter().take(most).map(|(_, pair)| pair).collect()
    }

    /// Whether the intervals of a device are as long as those of another.
    fn in_step(&self, device: usize, other: usize) -> bool {
        let pair = self.every.get(device).zip(self.every.get(other));
        pair.is_some_and(|(own, other)| own.abs_diff(*other) <= own / 64)
    }

    /// Those of a device that others have, too.
    fn kept_by(&self, device: usize) -> impl Iterator<Item = &Order> {
        let order = |place: &u32| self.orders.get(*place as usize);
        let before = |place: &u32| order(place).is_some_and(|it| (it.device as usize) < device);
        let first = self.by_device.partition_point(before);
        let rest = self.by_device.get(first..).unwrap_or_default().iter().filter_map(order);
        rest.take_while(move |order| order.device as usize == device)
    }

    fn holders(&self, digest: u64) -> impl Iterator<Item = &Order> {
        let start = self.orders.partition_point(|order| order.digest < digest);
        let rest = self.orders.get(start..).unwrap_or_default();
        let count = rest.partition_point(|order| order.digest == digest);
        let holders = rest.get(..count).unwrap_or_default();
        let from = if count > MOST_HOLDERS { digest as usize % count } else { 0 };
        holders.iter().cycle().skip(from).take(count.min(MOST_HOLDERS))
    }
}

/// Keeps of sorted orders those that are not alone with their digest.
fn retain_shared(orders: &mut Vec<Order>) {
    let same = orders.chunk_by(|a, b| a.digest == b.digest);
    let shared: Vec<bool> = same.flat_map(|same| repeat_n(same.len() > 1, same.len())).collect();
    let mut shared = shared.into_iter();
    orders.retain(|_| shared.next() == Some(true));
}

/// The orders of a device with the least digests, each where it comes first.
fn kept(device: u32, shapes: &Shapes) -> Vec<Order> {
    let last = (shapes.slots() + 1).saturating_sub(MEANS * PART);
    let order = |slot: u32| Some(Order { digest: digest(shapes, slot as usize)?, device, slot });
    let mut orders: Vec<Order> = (0..).take(last).filter_map(order).collect();
    orders.sort_unstable();
    orders.dedup_by_key(|order| order.digest);
    orders.truncate(KEPT);
    orders
}

/// The order of the means from an interval on; `None` where noise could change it.
fn digest(shapes: &Shapes, slot: usize) -> Option<u64> {
    let series = shapes.series.first()?;
    let mut means = [(0, 0); MEANS];
    for (position, mean) in means.iter_mut().enumerate() {
        let start = slot + position * PART;
        *mean = (series.mean(start..start + PART)?, position);
    }
    means.sort_unstable();
    let range = means.last()?.0 - means.first()?.0;
    let near = |pair: &[(i64, usize)]| match pair {
        [a, b] => (b.0 - a.0) * APART < range,
        _ => true,
    };
    // Means are in twelfths.
    let flat = range < 12 * STEPS * i64::from(series.quantum);
    if flat || means.windows(2).any(near) {
        return None;
    }
    let mut digest = Digest::default();
    means.iter().for_each(|(_, position)| digest.take(*position as u64));
    Some(digest.0)
}
