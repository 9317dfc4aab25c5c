//! What a device measured, at equal intervals, without unit and offset: what a note holds.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

use depin_core::{quality::Sent, reading::Quantity};

use super::super::{
    interval, stream,
    varint::{folded, put, take, unfolded},
};

/// Values of a note, of all quantities together: four bytes each. Where the intervals stand in the log takes the rest of
/// the room, two bytes and more for each batch.
const MOST: usize = 4_000;
const HEAD: usize = 20;
/// Quantities of a note at most, each with the bits that were cut off.
const MOST_QUANTITIES: usize = 64;
/// Stands for no value.
const NONE: i32 = i32::MIN;
/// Bits that all but a sixteenth of the values keep, counted from their median; others are cut to four times as much.
const KEPT: u32 = 29;

/// The values of several quantities, one an interval.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shapes {
    /// When the first interval is, in its middle.
    start: u64,
    every: u64,
    pub(super) series: Vec<Series>,
    /// From which interval on the batches are that stand there in the log.
    logged: Vec<(usize, u64)>,
}

/// The values of one quantity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    values: Vec<i32>,
    /// Bits that were cut off of the values, in 10^-12 of the unit.
    shift: u32,
    /// The least change from one value to the next: what the sensor resolves.
    pub(super) quantum: u32,
}

impl Shapes {
    /// Of several readings in one interval the first counts.
    pub(super) fn of(quantities: &[Quantity], every: u64, sent: &Sent<'_>) -> Option<Self> {
        if quantities.len() > MOST_QUANTITIES {
            return None;
        }
        let mut times: Vec<u64> = Vec::new();
        let mut readings: Vec<(u64, usize, i128, u64)> = Vec::new();
        for at in stream(sent.batches()) {
            let quantity = quantities.iter().position(|of| of == at.reading.quantity());
            if let Some(quantity) = quantity {
                let (time, value) = (at.reading.at().millis(), at.reading.value().scaled());
                times.push(time);
                readings.push((time, quantity, value, sent.index(at.nth)));
            }
        }
        times.sort_unstable();
        times.dedup();
        let start = *times.first()?;
        // A timer that is a little slow keeps the interval that was asked for.
        let own = interval(times.into_iter(), every);
        let every = if own / 5 < every / 4 { every } else { own };
        let most = MOST / quantities.len().max(1);
        let mut slots = vec![BTreeMap::new(); quantities.len()];
        let mut indices: BTreeMap<usize, u64> = BTreeMap::new();
        for (time, quantity, value, index) in readings {
            let slot = (time - start).saturating_add(every / 2) / every;
            let slot = usize::try_from(slot).ok().filter(|slot| *slot < most);
            if let Some((slot, values)) = slot.zip(slots.get_mut(quantity)) {
                values.entry(slot).or_insert(value);
                indices.entry(slot).or_insert(index);
            }
        }
        let mut logged: Vec<(usize, u64)> = indices.into_iter().collect();
        let last = logged.last()?.0;
        logged.dedup_by_key(|(_, index)| *index);
        let length = fitting(last + 1, quantities.len(), &logged, sent.room());
        logged.retain(|(slot, _)| *slot < length);
        slots.iter_mut().for_each(|values| values.retain(|slot, _| *slot < length));
        let series = slots.iter().map(|values| Series::of(values, length)).collect();
        Some(Self { start, every, series, logged })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.start.to_be_bytes(), self.every.to_be_bytes()].concat();
        bytes.extend(u32::try_from(self.slots()).unwrap_or(u32::MAX).to_be_bytes());
        for series in &self.series {
            bytes.extend(series.shift.to_be_bytes());
            bytes.extend(series.values.iter().flat_map(|value| value.to_be_bytes()));
        }
        let mut before = (0, 0);
        for logged in &self.logged {
            put_logged(&mut bytes, before, *logged);
            before = *logged;
        }
        bytes
    }

    /// The note of so many quantities, or `None` for what is none.
    pub(super) fn decode(bytes: &[u8], quantities: usize) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        let (every, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (start, every) = (u64::from_be_bytes(*start), u64::from_be_bytes(*every));
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let words = quantities.checked_mul(length.checked_add(1)?)?;
        let (values, mut rest) = rest.split_at_checked(words.checked_mul(4)?)?;
        let words: Vec<i32> =
            values.as_chunks().0.iter().map(|value| i32::from_be_bytes(*value)).collect();
        let series = words.chunks_exact(length.checked_add(1)?).filter_map(|part| {
            let (shift, values) = part.split_first()?;
            Some(Series::new(values.to_vec(), u32::try_from(*shift).ok()?))
        });
        let series: Vec<Series> = series.collect();
        let (mut logged, mut before) = (Vec::new(), (0usize, 0u64));
        while !rest.is_empty() {
            let slots = usize::try_from(take(&mut rest)?).ok()?;
            let index = before.1.wrapping_add_signed(unfolded(take(&mut rest)?));
            before = (before.0.checked_add(slots)?, index);
            logged.push(before);
        }
        let is_one = every > 0 && length > 0 && series.len() == quantities && quantities > 0;
        is_one.then_some(Self { start, every, series, logged })
    }

    pub(super) const fn every(&self) -> u64 {
        self.every
    }

    /// The middle of an interval.
    pub(super) fn time(&self, slot: usize) -> u64 {
        self.start.saturating_add(self.every.saturating_mul(slot as u64))
    }

    /// Intervals, of each quantity.
    pub(super) fn slots(&self) -> usize {
        self.series.first().map_or(0, |series| series.values.len())
    }

    /// Where the batch of an interval stands in the log.
    pub(super) fn logged(&self, slot: usize) -> Option<u64> {
        let after = self.logged.partition_point(|(first, _)| *first <= slot);
        self.logged.get(after.checked_sub(1)?).map(|(_, index)| *index)
    }

    /// Whether something was measured in an interval.
    fn measured(&self, slot: usize) -> bool {
        self.series.iter().any(|series| series.value(slot).is_some())
    }

    /// Where `other`, whose intervals `shift` later show the same, had these intervals in the log, when it had
    /// most of them before.
    pub(super) fn preceded_by(
        &self,
        other: &Self,
        shift: i64,
        slots: Range<usize>,
    ) -> Option<RangeInclusive<u64>> {
        let (mut before, mut after, mut range) = (0, 0, None::<RangeInclusive<u64>>);
        for slot in slots.filter(|slot| self.measured(*slot)) {
            let theirs = slot.checked_add_signed(isize::try_from(shift).ok()?);
            let Some(theirs) = theirs.filter(|slot| other.measured(*slot)) else { continue };
            let (Some(own), Some(theirs)) = (self.logged(slot), other.logged(theirs)) else {
                continue;
            };
            if theirs < own {
                before += 1
            } else {
                after += 1
            }
            let (least, most) = range.map_or((theirs, theirs), RangeInclusive::into_inner);
            range = Some(least.min(theirs)..=most.max(theirs));
        }
        range.filter(|_| before > after)
    }
}

/// How many of `length` intervals there is room for.
fn fitting(length: usize, quantities: usize, logged: &[(usize, u64)], room: usize) -> usize {
    let heads = HEAD + 4 * quantities;
    let fits = |slots: usize, runs: usize| heads + 4 * quantities * slots + runs <= room;
    let (mut runs, mut before) = (Vec::new(), (0, 0));
    for it in logged {
        let without = runs.len();
        put_logged(&mut runs, before, *it);
        if !fits(it.0 + 1, runs.len()) {
            // Up to here, or less when there is no room for the intervals of the batch before.
            return it.0.min(room.saturating_sub(heads + without) / (4 * quantities).max(1));
        }
        before = *it;
    }
    length.min(room.saturating_sub(heads + runs.len()) / (4 * quantities).max(1))
}

fn put_logged(bytes: &mut Vec<u8>, before: (usize, u64), (slot, index): (usize, u64)) {
    put(bytes, slot.saturating_sub(before.0) as u64);
    put(bytes, folded(index.wrapping_sub(before.1).cast_signed()));
}

impl Series {
    fn of(values: &BTreeMap<usize, i128>, length: usize) -> Self {
        let mut sorted: Vec<i128> = values.values().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        // Scaled decimals are less than 2^124.
        let mut away: Vec<u128> = sorted.iter().map(|value| value.abs_diff(median)).collect();
        away.sort_unstable();
        let reach = away.get(away.len() * 15 / 16).copied().unwrap_or_default();
        let shift = (u128::BITS - reach.leading_zeros()).saturating_sub(KEPT);
        let mut series = vec![NONE; length];
        for (slot, value) in values {
            let value = ((value - median) >> shift).clamp((NONE + 1).into(), i32::MAX.into());
            if let Some(to) = series.get_mut(*slot) {
                *to = i32::try_from(value).unwrap_or(NONE);
            }
        }
        Self::new(series, shift)
    }

    fn new(values: Vec<i32>, shift: u32) -> Self {
        let present: Vec<i32> = values.iter().copied().filter(|value| *value != NONE).collect();
        let changes =
            present.windows(2).filter_map(|pair| Some(pair.last()?.abs_diff(*pair.first()?)));
        let quantum = changes.filter(|change| *change > 0).min().unwrap_or(u32::MAX);
        Self { values, shift, quantum }
    }

    /// What so many 10^-12 of the unit are in sixteenths of these values, at most 2^36.
    pub(super) fn sixteenths(&self, scaled: u128) -> u64 {
        let sixteenths = scaled.saturating_mul(16).checked_shr(self.shift).unwrap_or_default();
        u64::try_from(sixteenths).unwrap_or(u64::MAX).min(1 << 36)
    }

    /// The value of an interval.
    pub(super) fn value(&self, slot: usize) -> Option<i64> {
        self.values.get(slot).filter(|value| **value != NONE).map(|value| i64::from(*value))
    }

    /// The mean of at least three quarters of some intervals, in twelfths.
    pub(super) fn mean(&self, slots: Range<usize>) -> Option<i64> {
        let values = self.values.get(slots)?;
        let (mut sum, mut count) = (0, 0);
        for value in values.iter().filter(|value| **value != NONE) {
            (sum, count) = (sum + i64::from(*value), count + 1);
        }
        (count * 4 >= values.len() as i64 * 3).then(|| sum * 12 / count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{MOST, Series, Shapes};

    fn shapes(logged: Vec<(usize, u64)>) -> Shapes {
        let values: BTreeMap<usize, i128> =
            (0..40).map(|slot| (slot, (slot * slot) as i128)).collect();
        let series = vec![Series::of(&values, 50), Series::of(&BTreeMap::new(), 50)];
        Shapes { start: 7, every: 60, series, logged }
    }

    #[test]
    fn a_note_is_read_back_and_any_other_bytes_are_none() {
        let shapes = shapes(vec![(0, 5), (3, 1 << 60), (39, 6)]);
        let note = shapes.encode();
        assert_eq!(Shapes::decode(&note, 2), Some(shapes));
        let cut = |length| Shapes::decode(note.get(..length)?, 2);
        assert!((0..note.len() - 30).all(|length| cut(length).is_none()));
        assert_eq!(Shapes::decode(&[0; 64], 2), None, "no interval");
        assert_eq!(Shapes::decode(&note, 0), None);
        assert_eq!(Shapes::decode(&[0xff; 64], 2), None);
    }

    #[test]
    fn intervals_stand_where_their_batch_stands() {
        let own = shapes(vec![(0, 5), (3, 9), (39, 6)]);
        let at = |slot| own.logged(slot);
        assert_eq!([at(0), at(2), at(3), at(38), at(39)], [5, 5, 9, 9, 6].map(Some));
        assert_eq!(shapes(vec![(2, 5)]).logged(1), None);
        let other = shapes(vec![(0, 4), (4, 8), (6, 10)]);
        // Two intervals later the other shows the same: 4, 4, 8, 8 against 5, 5, 5, 9.
        assert_eq!(own.preceded_by(&other, 2, 0..4), Some(4..=8));
        assert_eq!(own.preceded_by(&other, 2, 4..30), None);
        assert_eq!(own.preceded_by(&other, 100, 0..30), None);
    }

    #[test]
    fn as_many_intervals_are_noted_as_there_is_room_for() {
        for each in [1, 3, 50] {
            let logged: Vec<(usize, u64)> =
                (0..1_000).step_by(each).map(|slot| (slot, 1_000_000 * slot as u64)).collect();
            for room in [1_024, 4_000, 16_384] {
                let length = super::fitting(1_000, 2, &logged, room);
                let mut runs = Vec::new();
                let mut before = (0, 0);
                for it in logged.iter().filter(|it| it.0 < length) {
                    super::put_logged(&mut runs, before, *it);
                    before = *it;
                }
                let noted = super::HEAD + 8 + 8 * length + runs.len();
                assert!(noted <= room && (length == 1_000 || noted + 40 > room), "{each} {room}");
            }
        }
        const {
            assert!(
                MOST * 4 + super::HEAD + 4 * super::MOST_QUANTITIES
                    <= depin_core::quality::MAX_NOTE
            )
        };
    }

    #[test]
    fn a_few_wild_values_do_not_blur_the_others() {
        let mut values: BTreeMap<usize, i128> = (0..100).map(|slot| (slot, slot as i128)).collect();
        values.insert(3, i128::MAX >> 3);
        values.insert(90, i128::MIN >> 3);
        let series = Series::of(&values, 100);
        assert_eq!(series.value(60).zip(series.value(50)).map(|(a, b)| a - b), Some(10));
        assert_eq!(series.quantum, 1);
        assert_eq!(
            (series.value(3), series.value(90)),
            (Some(i64::from(i32::MAX)), Some(i64::from(-i32::MAX)))
        );
    }
}
