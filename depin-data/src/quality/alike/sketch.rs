//! Which devices are worth comparing, without comparing all pairs.
//!
//! The order of eight means over 32 intervals, where the means are far enough apart, survives any offset, factor,
//! rounding and small noise. Every device keeps the 64 of its orders whose digests are least, so that a copy and its
//! original keep the same ones.

use std::collections::BTreeMap;

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
    device: usize,
    slot: usize,
}

/// The orders of a fleet, by digest and device.
pub(super) struct Sketches {
    orders: Vec<Order>,
    /// Those of each device.
    kept: Vec<Vec<Order>>,
}

impl Sketches {
    pub(super) fn of(devices: &[Option<Shapes>]) -> Self {
        let kept: Vec<Vec<Order>> = (0..)
            .zip(devices)
            .map(|(device, shapes)| shapes.as_ref().map(|it| kept(device, it)).unwrap_or_default())
            .collect();
        let mut orders = kept.concat();
        orders.sort_unstable();
        Self { orders, kept }
    }

    /// The devices with which this one has most orders in common, and how many intervals later theirs are.
    pub(super) fn most_alike(
        &self,
        device: usize,
        devices: &[Option<Shapes>],
        most: usize,
    ) -> Vec<(usize, i64)> {
        let Some(own) = devices.get(device).and_then(Option::as_ref) else { return Vec::new() };
        let mut votes: BTreeMap<(usize, i64), u32> = BTreeMap::new();
        for order in self.kept.get(device).into_iter().flatten() {
            for other in self.holders(order.digest).filter(|other| other.device != device) {
                let shift = other.slot as i64 - order.slot as i64;
                *votes.entry((other.device, shift)).or_default() += 1;
            }
        }
        let comparable = |(other, _): &(usize, i64)| {
            let other = devices.get(*other).and_then(Option::as_ref);
            other.is_some_and(|other| own.in_step(other))
        };
        let mut alike: Vec<(u32, (usize, i64))> = votes
            .into_iter()
            .filter(|(pair, count)| *count >= LEAST && comparable(pair))
            .map(|(pair, count)| (u32::MAX - count, pair))
            .collect();
        alike.sort_unstable();
        alike.into_iter().take(most).map(|(_, pair)| pair).collect()
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

/// The orders of a device with the least digests, each where it comes first.
fn kept(device: usize, shapes: &Shapes) -> Vec<Order> {
    let last = (shapes.slots() + 1).saturating_sub(MEANS * PART);
    let order = |slot| Some(Order { digest: digest(shapes, slot)?, device, slot });
    let mut orders: Vec<Order> = (0..last).filter_map(order).collect();
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
