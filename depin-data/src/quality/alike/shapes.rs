//! What a device measured, at equal intervals, without unit and offset: what a note holds.

use std::{collections::BTreeMap, ops::Range};

use depin_core::{quality::Sent, reading::Quantity};

use super::super::{interval, stream};

/// Values of a note, of all quantities together: four bytes each, with room for the head.
const MOST: usize = 4_000;
const HEAD: usize = 16;
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
        let mut readings: Vec<(u64, usize, i128)> = Vec::new();
        for at in stream(sent.batches()) {
            let quantity = quantities.iter().position(|of| of == at.reading.quantity());
            if let Some(quantity) = quantity {
                times.push(at.reading.at().millis());
                readings.push((at.reading.at().millis(), quantity, at.reading.value().scaled()));
            }
        }
        times.sort_unstable();
        times.dedup();
        let start = *times.first()?;
        // A timer that is a little slow keeps the interval that was asked for.
        let own = interval(times.into_iter(), every);
        let every = if own / 5 < every / 4 { every } else { own };
        let heads = HEAD + 4 * quantities.len();
        let most = MOST.min(sent.room().saturating_sub(heads) / 4) / quantities.len().max(1);
        let mut slots = vec![BTreeMap::new(); quantities.len()];
        for (time, quantity, value) in readings {
            let slot = (time - start).saturating_add(every / 2) / every;
            let slot = usize::try_from(slot).ok().filter(|slot| *slot < most);
            if let Some((slot, values)) = slot.zip(slots.get_mut(quantity)) {
                values.entry(slot).or_insert(value);
            }
        }
        let last = slots.iter().filter_map(|values| values.keys().next_back()).max()?;
        let series = slots.iter().map(|values| Series::of(values, last + 1)).collect();
        Some(Self { start, every, series })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.start.to_be_bytes(), self.every.to_be_bytes()].concat();
        for series in &self.series {
            bytes.extend(series.shift.to_be_bytes());
            bytes.extend(series.values.iter().flat_map(|value| value.to_be_bytes()));
        }
        bytes
    }

    /// The note of so many quantities, or `None` for what is none.
    pub(super) fn decode(bytes: &[u8], quantities: usize) -> Option<Self> {
        let (head, values) = bytes.split_first_chunk::<HEAD>()?;
        let (start, every) = head.split_first_chunk::<8>()?;
        let (start, every) =
            (u64::from_be_bytes(*start), u64::from_be_bytes(*every.first_chunk()?));
        let words: Vec<i32> =
            values.as_chunks().0.iter().map(|value| i32::from_be_bytes(*value)).collect();
        let length = words.len().checked_div(quantities).filter(|length| *length > 1)?;
        let series = words.chunks_exact(length).take(quantities).filter_map(|part| {
            let (shift, values) = part.split_first()?;
            Some(Series::new(values.to_vec(), u32::try_from(*shift).ok()?))
        });
        let series: Vec<Series> = series.collect();
        (every > 0).then_some(Self { start, every, series })
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

    /// Whether intervals are as long as the other's.
    pub(super) fn in_step(&self, other: &Self) -> bool {
        self.every.abs_diff(other.every) <= self.every / 64
    }

    /// By how much this is later than `other`, whose intervals `shift` later show the same; `None` when it is earlier.
    pub(super) fn delay(&self, other: &Self, shift: i64) -> Option<u64> {
        let shifted = i128::from(other.start) + i128::from(shift) * i128::from(other.every);
        u64::try_from(i128::from(self.start) - shifted).ok()
    }
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

    #[test]
    fn a_note_is_read_back_and_any_other_bytes_are_none() {
        let values: BTreeMap<usize, i128> =
            (0..40).map(|slot| (slot, (slot * slot) as i128)).collect();
        let series = vec![Series::of(&values, 50), Series::of(&BTreeMap::new(), 50)];
        let shapes = Shapes { start: 7, every: 60, series };
        let note = shapes.encode();
        assert_eq!(Shapes::decode(&note, 2), Some(shapes));
        for length in 0..20 {
            assert_eq!(Shapes::decode(&note[..length], 2), None);
        }
        assert_eq!(Shapes::decode(&[0; 64], 2), None, "no interval");
        assert_eq!(Shapes::decode(&note, 0), None);
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
