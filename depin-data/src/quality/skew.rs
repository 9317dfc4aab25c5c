//! Clocks that are early or late against everybody around them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use depin_core::{
    Did, Result,
    quality::{Finding, FleetCheck, Notes, Sent},
    reading::Quantity,
};

use super::{
    millis,
    neighbours::LEAST,
    of_devices, quoted,
    slots::{self, Around, Neighbourhood, Slots},
    stream,
};

/// A device's day happens when its neighbours' day does. Code `clock-skew`.
///
/// Sun and weather come to all devices of a neighbourhood at about the same time. The device's slot medians
/// are laid over those of its neighbours (chosen as by [`Neighbours`](super::Neighbours)) with every shift
/// up to `most` slots, each time without the median difference of every 24 slots. When some shift leaves less than
/// half of the disagreement that there is without a shift, and more slots are nearer with it than are further away
/// (or a sensor that was wrong for an hour would look late), the device's clock is wrong, and all of its
/// readings lose their points: a time is part of each. Where noise hides the weather, a shift of more than one
/// slot also tells when it fits better day after day: by more than five standard errors of the gain of 24
/// slots over at least twelve times 24, or four over twice as many.
///
/// Who measures more seldom than once in a slot is moreover judged by what he and his neighbours have on the line
/// between their values, at one slot of as many as his interval takes, so that they need not measure in the same
/// ones: there an error of more than the interval shows, and one of less need not.
///
/// Nothing that happens cannot be late: where the neighbours' values hardly change, or over fewer than 24
/// slots, nothing is judged. A slot should be as long as weather takes to pass from one device to the next.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::FleetCheck;
/// use depin_data::quality::Skew;
///
/// let check = Skew::new("temperature", "Cel", Duration::from_secs(900), 12, 7, 1);
/// assert_eq!(
///     check.name(),
///     "skew(\"temperature\" \"Cel\", 12 slots of 900000ms, 1 rings of resolution 7)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Skew {
    quantity: Quantity,
    slot: Duration,
    most: u8,
    resolution: u8,
    rings: u32,
}

/// Slots that a judgement takes.
const LEAST_SLOTS: usize = 24;
/// Days of so many slots that a judgement takes when less than half is explained.
const LEAST_DAYS: i128 = 12;

impl Skew {
    /// The quantity `name` in `unit`, in slots of this length shifted by at most `most`, fits best unshifted
    /// to what devices measure in cells of this H3 `resolution` at most `rings` steps away.
    pub fn new(
        name: &str,
        unit: &str,
        slot: Duration,
        most: u8,
        resolution: u8,
        rings: u32,
    ) -> Self {
        Self { quantity: Quantity::new(name, unit), slot, most, resolution, rings }
    }

    fn slot(&self) -> u64 {
        millis(self.slot).max(1)
    }

    /// The slots that may be held against one of the device's own.
    fn near(&self, own: &Slots) -> impl Iterator<Item = u64> {
        let most = u64::from(self.most);
        let mut next = 0;
        own.medians.iter().flat_map(move |(slot, _)| {
            let near = slot.saturating_sub(most).max(next)..slot.saturating_add(most + 1);
            next = near.end;
            near
        })
    }

    /// By how many slots the clocks of the devices that are asked for are wrong.
    fn shifts(
        &self,
        notes: &dyn Notes,
        read: impl Fn(&[u8]) -> Option<Slots>,
        asked: impl Fn(usize) -> bool,
    ) -> Result<BTreeMap<usize, i64>> {
        let shift = |at: usize, own: &Slots, around: &Around| {
            let medians = self.near(own).filter_map(|slot| {
                Some((slot, around.others(slot, own.median(slot), LEAST)?.median()))
            });
            asked(at)
                .then(|| self.shift(&own.medians.iter().copied().collect(), &medians.collect()))?
        };
        Ok(Neighbourhood::new(notes, self.rings, read)?.judge(shift)?.into_iter().collect())
    }

    /// The shift that explains most, in slots, when it explains enough.
    fn shift(&self, own: &BTreeMap<u64, i64>, around: &BTreeMap<u64, i64>) -> Option<i64> {
        let unshifted = Fit::of(own, around, 0)?;
        let shifts = (1..=i64::from(self.most)).flat_map(|shift| [shift, -shift]);
        let fits = shifts.filter_map(|shift| Some((shift, Fit::of(own, around, shift)?)));
        let (shift, best) = fits.min_by_key(|(_, fit)| fit.mean())?;
        let half = best.mean().saturating_mul(2) < unshifted.mean() && best.nearer(&unshifted);
        (half || shift.abs() > 1 && best.beats(&unshifted)).then_some(shift)
    }
}

/// How a device's values, some slots later, fit those around it.
struct Fit {
    /// Sum and count of the distances in each day of slots, without the median difference of that day.
    days: BTreeMap<u64, (i128, i128)>,
    /// The distance in each slot.
    away: BTreeMap<u64, i64>,
}

impl Fit {
    fn of(own: &BTreeMap<u64, i64>, around: &BTreeMap<u64, i64>, shift: i64) -> Option<Self> {
        let mut differences: BTreeMap<u64, Vec<(u64, i64)>> = BTreeMap::new();
        for (slot, value) in around {
            let Some(own) = slot.checked_add_signed(shift).and_then(|slot| own.get(&slot)) else {
                continue;
            };
            let difference = own.saturating_sub(*value);
            differences.entry(slot / LEAST_SLOTS as u64).or_default().push((*slot, difference));
        }
        let (mut days, mut away) = (BTreeMap::new(), BTreeMap::new());
        for (day, differences) in differences {
            let median = slots::median(differences.iter().map(|(_, it)| *it).collect())?;
            let apart = |difference: i64| difference.saturating_sub(median).saturating_abs();
            let sum: i128 = differences.iter().map(|(_, it)| i128::from(apart(*it))).sum();
            days.insert(day, (sum, differences.len() as i128));
            away.extend(differences.into_iter().map(|(slot, it)| (slot, apart(it))));
        }
        (away.len() >= LEAST_SLOTS).then_some(Self { days, away })
    }

    /// Whether more slots are nearer than in `other` than are further away.
    fn nearer(&self, other: &Self) -> bool {
        let pairs = self.away.iter().filter_map(|(slot, own)| Some((own, other.away.get(slot)?)));
        let (mut nearer, mut further) = (0, 0);
        for (own, other) in pairs {
            nearer += usize::from(own < other);
            further += usize::from(own > other);
        }
        nearer > further
    }

    /// Mean distance.
    fn mean(&self) -> i128 {
        let of = |(sum, count): (i128, i128), day: &(i128, i128)| (sum + day.0, count + day.1);
        let (sum, count) = self.days.values().fold((0, 0), of);
        sum / count.max(1)
    }

    /// Whether this fits better day after day and not by chance: the mean gain of a day is more than five of
    /// its standard errors over at least twelve days, or four over twice as many.
    fn beats(&self, other: &Self) -> bool {
        let mean = |(sum, count): &(i128, i128)| sum / (*count).max(1);
        // Means are less than 2^62 and squares of at most a thousand of them are added up.
        let gain =
            |(day, own): (&u64, &(i128, i128))| Some((mean(other.days.get(day)?) - mean(own)) >> 6);
        let gains: Vec<i128> = self.days.iter().filter_map(gain).collect();
        let count = gains.len() as i128;
        let sum: i128 = gains.iter().sum();
        let squares: i128 = gains.iter().map(|gain| gain * gain).sum();
        let errors = if count < 2 * LEAST_DAYS { 5 } else { 4 };
        // `sum^2 / count > errors^2 * variance`.
        let square = sum.saturating_mul(sum);
        let spread = squares.saturating_mul(count).saturating_sub(square);
        count >= LEAST_DAYS
            && sum > 0
            && square.saturating_mul(count - 1) > spread.saturating_mul(errors * errors)
    }
}

impl FleetCheck for Skew {
    fn name(&self) -> String {
        let Self { most, resolution, rings, .. } = self;
        let (quantity, slot) = (quoted(&self.quantity), self.slot());
        format!(
            "skew({quantity}, {most} slots of {slot}ms, {rings} rings of resolution {resolution})"
        )
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        Slots::note(&self.quantity, self.slot(), self.resolution, sent)
    }

    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let stride = |note: &[u8]| Slots::decode(note).map_or(1, |slots| slots.stride());
        let strides = (0..notes.len()).map(|at| Ok(stride(&notes.read(at)?)));
        let strides: Vec<u64> = strides.collect::<Result<_>>()?;
        let mut shifts = self.shifts(notes, Slots::decode, |_| true)?;
        for stride in strides.iter().copied().filter(|it| *it > 1).collect::<BTreeSet<_>>() {
            let every = |note: &[u8]| Slots::decode(note).map(|slots| slots.every(stride));
            let seldom = self.shifts(notes, every, |at| strides.get(at) == Some(&stride))?;
            let seldom =
                seldom.into_iter().map(|(at, it)| (at, it.saturating_mul(stride.cast_signed())));
            shifts = seldom.chain(shifts).collect();
        }
        let shifts = shifts.into_iter().map(|(at, shift)| (at, shift.to_be_bytes().to_vec()));
        Ok(of_devices(notes, shifts))
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some(shift) = suspicion.first_chunk::<8>() else { return Vec::new() };
        let shift = i64::from_be_bytes(*shift);
        let away = i128::from(shift) * i128::from(self.slot());
        let name = self.quantity.name();
        let judge = |at: super::Place<'_>| {
            let detail =
                format!("{name} of the neighbours fits when this clock is {away} ms ahead");
            at.finding("clock-skew", detail)
        };
        stream(sent.batches()).map(judge).collect()
    }
}
