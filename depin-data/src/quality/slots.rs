//! One quantity of one device as the medians of time slots, and what others nearby have in the same slots.
//!
//! Whom a device is held against is no choice that somebody could prepare for: all devices in the cells around it
//! count, each with one value in a slot. To pick some of many, by name, by distance or by lot, would let
//! whoever can foresee the pick decide with a few well chosen devices what a crowd would have outvoted, and nothing that
//! an epoch commits to is hidden from who sends last before it closes. So nobody is picked; what a neighbourhood measured is
//! sorted once and serves all devices of a cell, each without its own value, so that a crowd costs no more
//! than its sorting.

use std::collections::BTreeMap;

use depin_core::{
    Batch, Result, Verified,
    quality::{Notes, Sent},
    reading::Quantity,
};

use super::{
    interval,
    place::whereabouts,
    stream_of,
    varint::{folded, put, take, unfolded},
};
use crate::geo::Cell;

/// Most slots of a note. One takes four or five bytes where values are steady, so that they all fit until many devices
/// share the room.
pub(super) const MOST: usize = 1_000;

/// The medians by rising slot, in 10^-6 of the unit, and where they were measured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) cell: Cell,
    pub(super) medians: Vec<(u64, i64)>,
    /// Whether there were more slots than are noted, which are the first.
    pub(super) cut: bool,
}

impl Slots {
    /// What a check notes of a device; nothing without a place or a value.
    pub(super) fn note(quantity: &Quantity, slot: u64, resolution: u8, sent: &Sent<'_>) -> Vec<u8> {
        let slots = Self::of(quantity, slot, resolution, sent.batches());
        slots.map(|slots| slots.encode(sent.room())).unwrap_or_default()
    }

    /// Of what a device measured, cut into slots of `slot` milliseconds.
    fn of(
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
        let cut = slots.len() > MOST;
        let medians = slots.into_iter().take(MOST);
        let medians: Vec<(u64, i64)> =
            medians.filter_map(|(slot, values)| Some((slot, median(values)?))).collect();
        (!medians.is_empty()).then_some(Self { cell, medians, cut })
    }

    /// Slots from one value to the next, usually: a power of two up to [`WIDEST`].
    pub(super) fn stride(&self) -> u64 {
        interval(self.medians.iter().map(|(slot, _)| *slot), 1).min(WIDEST).next_power_of_two()
    }

    /// On a line between values, what was there in every slot whose number is so many times another one, which is its
    /// number then; nothing where two values are further apart than twice that.
    pub(super) fn every(&self, stride: u64) -> Self {
        let between = |pair: &[(u64, i64)]| -> Vec<(u64, i64)> {
            let [(from, a), (to, b)] = *pair else { return Vec::new() };
            let apart = to.saturating_sub(from);
            if apart == 0 || apart > stride.saturating_mul(2) {
                return Vec::new();
            }
            let value = |at: u64| {
                // Values are at most 10^18 and at most two strides apart.
                let part = i128::from(b.saturating_sub(a)) * i128::from(at * stride - from);
                let value = i128::from(a) + part / i128::from(apart);
                (at, i64::try_from(value).unwrap_or(a))
            };
            (from.div_ceil(stride)..to.div_ceil(stride)).map(value).collect()
        };
        let medians = self.medians.windows(2).flat_map(between).collect();
        Self { cell: self.cell, medians, cut: self.cut }
    }

    /// As many slots as there is room for.
    fn encode(&self, room: usize) -> Vec<u8> {
        let mut bytes = [&self.cell.index().to_be_bytes()[..], &[u8::from(self.cut)]].concat();
        let mut before = (0, 0);
        for (slot, value) in &self.medians {
            let end = bytes.len();
            put(&mut bytes, slot.wrapping_sub(before.0));
            put(&mut bytes, folded(value.wrapping_sub(before.1)));
            if bytes.len() > room {
                bytes.truncate(end);
                bytes.get_mut(8..9).into_iter().for_each(|cut| cut.fill(1));
                break;
            }
            before = (*slot, *value);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (cell, rest) = bytes.split_first_chunk::<8>()?;
        let cell = Cell::of(u64::from_be_bytes(*cell)).ok()?;
        let (cut, mut rest) = rest.split_first()?;
        let mut medians = Vec::new();
        let (mut slot, mut value) = (0u64, 0i64);
        while !rest.is_empty() {
            slot = slot.checked_add(take(&mut rest)?)?;
            value = value.wrapping_add(unfolded(take(&mut rest)?));
            medians.push((slot, value.clamp(-LIMIT, LIMIT)));
        }
        let rising = medians.is_sorted_by(|a, b| a.0 < b.0) && !medians.is_empty();
        rising.then_some(Self { cell, medians, cut: *cut != 0 })
    }

    /// The median of a slot.
    pub(super) fn median(&self, slot: u64) -> Option<i64> {
        let place = self.medians.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.medians.get(place).map(|(_, value)| *value)
    }
}

/// Most slots that one may leave out who measures seldom.
const WIDEST: u64 = 64;

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

/// A fleet by cell. Notes are read where they are needed, so that no more than one neighbourhood's slots are in memory.
pub(super) struct Neighbourhood<'a, R> {
    notes: &'a dyn Notes,
    read: R,
    by_cell: BTreeMap<Cell, Vec<usize>>,
    rings: u32,
}

impl<'a, R: Fn(&[u8]) -> Option<Slots>> Neighbourhood<'a, R> {
    /// Of devices whose notes are read by `read`.
    pub(super) fn new(notes: &'a dyn Notes, rings: u32, read: R) -> Result<Self> {
        let mut by_cell: BTreeMap<Cell, Vec<usize>> = BTreeMap::new();
        for position in 0..notes.len() {
            if let Some(slots) = read(&notes.read(position)?) {
                by_cell.entry(slots.cell).or_default().push(position);
            }
        }
        Ok(Self { notes, read, by_cell, rings })
    }

    fn slots(&self, position: usize) -> Result<Option<Slots>> {
        Ok((self.read)(&self.notes.read(position)?))
    }

    /// What `judge` says of each device, given all that was measured around it; by rising position.
    pub(super) fn judge<T>(
        &self,
        judge: impl Fn(usize, &Slots, &Around) -> Option<T>,
    ) -> Result<Vec<(usize, T)>> {
        let mut verdicts = Vec::new();
        for (cell, here) in &self.by_cell {
            let around = self.around(*cell)?;
            for at in here {
                let verdict = self.slots(*at)?.and_then(|slots| judge(*at, &slots, &around));
                verdicts.extend(verdict.map(|verdict| (*at, verdict)));
            }
        }
        verdicts.sort_unstable_by_key(|(at, _)| *at);
        Ok(verdicts)
    }

    fn around(&self, cell: Cell) -> Result<Around> {
        let near = cell.around(self.rings);
        let mut values: Vec<(u64, i64)> = Vec::new();
        for at in near.iter().filter_map(|cell| self.by_cell.get(cell)).flatten() {
            values.extend(self.slots(*at)?.into_iter().flat_map(|slots| slots.medians));
        }
        values.sort_unstable();
        Ok(Around(values))
    }
}

/// What the devices in a cell and around it measured, by slot and value.
pub(super) struct Around(Vec<(u64, i64)>);

impl Around {
    /// The others of a device that has the value `own` in the slot, when they are at least `least`.
    pub(super) fn others(&self, slot: u64, own: Option<i64>, least: usize) -> Option<Others<'_>> {
        let start = self.0.partition_point(|(other, _)| *other < slot);
        let rest = self.0.get(start..).unwrap_or_default();
        let all = rest.get(..rest.partition_point(|(other, _)| *other == slot))?;
        let own = own.and_then(|own| all.binary_search(&(slot, own)).ok());
        let others = Others { all, own };
        (others.len() >= least.max(1)).then_some(others)
    }
}

/// What others measured in a slot.
pub(super) struct Others<'a> {
    /// By rising value.
    all: &'a [(u64, i64)],
    /// Where the device itself stands.
    own: Option<usize>,
}

impl Others<'_> {
    fn len(&self) -> usize {
        self.all.len() - usize::from(self.own.is_some())
    }

    /// The value of a rank; at least one value is there.
    fn value(&self, rank: usize) -> i64 {
        let rank = rank + usize::from(self.own.is_some_and(|own| own <= rank));
        self.all.get(rank).or_else(|| self.all.last()).map_or(0, |(_, value)| *value)
    }

    /// The middle value, the upper one of two.
    pub(super) fn median(&self) -> i64 {
        self.value(self.len() / 2)
    }

    /// The middle distance from a value, the upper one of two. As many values as are at most as far away stand
    /// together, so it is the least reach of any that do.
    pub(super) fn deviation(&self, from: i64) -> i64 {
        let half = self.len() / 2;
        let below = |first: usize| from.saturating_sub(self.value(first));
        let above = |first: usize| self.value(first + half).saturating_sub(from);
        let (mut low, mut high) = (0, self.len() - half);
        while low < high {
            let middle = low.midpoint(high);
            if above(middle) < below(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let near = [low.checked_sub(1), Some(low).filter(|low| *low < self.len() - half)];
        let reach = |first: usize| below(first).max(above(first));
        near.into_iter().flatten().map(reach).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::Position;

    fn cell() -> Cell {
        Cell::at(Position::try_new(470_000_000, 110_000_000).unwrap(), 7).unwrap()
    }

    proptest! {
        #[test]
        fn others_are_all_but_oneself(values in prop::collection::vec(-9i64..9, 1..30), own in 0usize..30) {
            let mut all: Vec<(u64, i64)> = values.iter().map(|value| (5, *value)).collect();
            all.extend([(4, 100), (6, -100)]);
            all.sort_unstable();
            let around = Around(all);
            let mut rest = values.clone();
            let own = (own < values.len()).then(|| rest.remove(own));
            let Some(others) = around.others(5, own, 1) else {
                prop_assert!(rest.is_empty());
                return Ok(());
            };
            let middle = median(rest.clone()).unwrap();
            prop_assert_eq!(others.median(), middle);
            for from in [middle, -20, 0, 20] {
                let away = rest.iter().map(|value| value.abs_diff(from) as i64).collect();
                prop_assert_eq!(Some(others.deviation(from)), median(away));
            }
            prop_assert!(around.others(5, own, rest.len() + 1).is_none());
        }

        #[test]
        fn a_note_is_read_back_as_far_as_there_is_room(
            gaps in prop::collection::vec((1u64..1 << 40, -LIMIT..=LIMIT), 1..200),
            room in 0usize..3_000,
        ) {
            let mut slot = 0;
            let medians = gaps.iter().map(|(gap, value)| { slot += gap; (slot, *value) }).collect();
            let slots = Slots { cell: cell(), medians, cut: false };
            let note = slots.encode(room);
            prop_assert!(note.len() <= room.max(9));
            match Slots::decode(&note) {
                Some(read) => {
                    prop_assert!(slots.medians.starts_with(&read.medians));
                    prop_assert_eq!(read.cut, read.medians.len() < slots.medians.len());
                }
                None => prop_assert_eq!(note.len(), 9),
            }
        }

        #[test]
        fn no_bytes_make_a_note_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = [&cell().index().to_be_bytes()[..], &bytes].concat();
            if let Some(slots) = Slots::decode(&bytes) {
                prop_assert!(slots.medians.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }

    #[test]
    fn who_measures_seldom_is_on_the_line_between() {
        let of = |medians| Slots { cell: cell(), medians, cut: false };
        let seldom = of(vec![(2, 0), (6, 40), (10, 0), (30, 9), (34, 29)]);
        assert_eq!(seldom.stride(), 4);
        assert_eq!(seldom.every(4).medians, [(1, 20), (2, 20), (8, 19)], "20 slots are no line");
        let odd = of(vec![(1, -7), (4, -10), (7, -13), (10, -16)]);
        assert_eq!((odd.stride(), odd.every(4).medians), (4, vec![(1, -10), (2, -14)]));
        let far = of(vec![(0, LIMIT), (1 << 40, -LIMIT)]);
        assert_eq!((far.stride(), far.every(64).medians), (WIDEST, Vec::new()));
        let far = of(vec![(u64::MAX - 100, LIMIT), (u64::MAX, -LIMIT)]);
        assert!(far.every(64).medians.is_sorted());
    }

    #[test]
    fn a_steady_quantity_takes_five_bytes_a_slot() {
        let medians =
            (0..1_000).map(|slot| (1_900_000 + slot, 20_000_000 + 500_000 * (slot as i64 % 3)));
        let slots = Slots { cell: cell(), medians: medians.collect(), cut: false };
        assert!(slots.encode(usize::MAX).len() <= 5_000);
    }
}
