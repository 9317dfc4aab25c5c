//! Two devices with one stream.

mod evidence;
mod holders;
mod notes;

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

use depin_core::{
    Did, Result, Timestamp,
    quality::{Finding, FleetCheck, Notes, Sent},
    reading::Quantity,
};

use self::{
    evidence::{Compared, Differ, Evidence},
    notes::{DIGEST, Original, Window, encode},
};
use super::{
    Place, kept, of_devices, quoted,
    rows::{Digest, Row, rows_of},
    stream,
};

/// No device sends another one's stream. Code `copied`.
///
/// Compares windows of 16 or, where these say too little, 64 or 256 changes of the quantities, taken together as
/// [`Repeat`](super::Repeat) does, each in proportion to the one before: neither an added offset nor a factor nor another
/// clock hides anything, as long as nothing was rounded away. Only windows count that are no chance, by at least 48 bits of
/// surprise in the device's own stream. The note of a device is a sample of its windows, at most 256, fewer where
/// there is less [room](Sent::room): those with the least digests, so that two devices with one stream sample the
/// same ones. A device that has three windows in common with one that had them first is looked at again; of a stream that is
/// copied in parts they are likely from a fortieth of all windows on.
///
/// **The bound.** Coarse sensors of one room agree for hours and copy nothing. Suppose that two honest ones
/// differ in a change by a 32nd of it at least, or by a 32nd of the time since the one before, sooner or later. Then one that
/// changes by `n` of the steps that it shows, after `m` readings (32 at most) without a change, does what the other does
/// with a probability of 1 / ((1 + n/32) (1 + m/16)), and says as many bits as that is improbable. Copied is a stretch of
/// windows of which the changes say 20 bits, each counted for three quarters, less two for each window between that differs: by
/// Ville's inequality two honest devices have one with a probability below 2^-20 for each window of the sample that it
/// may begin with, which is 2^-12 in all. Of sixteen sensors of a room with steps of 0.1 to 0.5 Cel that err by
/// 0.02 Cel (standard deviation), each for itself, and measure every 1, 10 or 60 minutes for 1,440 readings, none lost any. A copy
/// is found the sooner the more a device tells: of hundredths of a degree after some thirty changes, of half degrees every
/// hour after some four hundred.
///
/// What says nothing, such as a night, belongs to the stretch beside it. What other checks took the point of is
/// left out, so that junk between two copied readings does not hide that one follows on the other.
///
/// **Who was first** says the [place in the log](Sent::index) of the batch in which a window ends, not a time: times are
/// signed by the device, and whoever reads along could sign what he read under earlier ones. Of a feed that is
/// split over ten identities one earns.
///
/// Who reads the log, or its stream, reads what has its place already, and comes after it. So does who copies a device
/// that was offline for days: what it keeps to itself nobody has. Copied first can only be what leaves a device
/// on another way than the log, such as a radio or a broker in the clear that strangers listen to; that
/// must be encrypted. And as an epoch has no memory, a copy that is sent in a later epoch than the original is not
/// seen; [windows](crate::epoch::Windows) keep it from being paid under the original's times.
///
/// Copies with noise, or rounded after they were scaled, have other changes and are not seen: see
/// [`Alike`](super::Alike).
///
/// ```
/// use depin_core::quality::FleetCheck;
/// use depin_data::quality::Copied;
///
/// let check = Copied::new([("temperature", "Cel")]);
/// assert_eq!(check.name(), "copied(\"temperature\" \"Cel\", 3 windows of 16 to 256 changes in proportion and 48 bits, 20 in a stretch)");
/// ```
#[derive(Clone, Debug)]
pub struct Copied {
    quantities: Vec<Quantity>,
    whole_moments: bool,
    differ: Differ,
}

/// Changes of a window: fewer where they say enough.
const WINDOWS: [usize; 3] = [16, 64, 256];
const BITS: u64 = 48;
/// Bits from which on longer windows are not needed. What a change says hangs a little on the rest of the stream, so that of
/// windows that say hardly enough a copy has longer ones too.
const AMPLE: u64 = 60;
const LEAST: usize = 3;
const SAMPLE: usize = 256;

impl Copied {
    /// These quantities, given as name and unit and measured at the same moments, come from one device only.
    pub fn new<'a>(quantities: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let quantities = quantities.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        Self { quantities: quantities.collect(), whole_moments: false, differ: Differ::Change }
    }

    /// All readings of a copied moment lose their points, also those of other quantities: who copies all that is
    /// measured has not measured where it was either.
    pub fn whole_moments(self) -> Self {
        Self { whole_moments: true, ..self }
    }

    /// What is metered: two honest devices differ in each reading by a 256th of what it shows, rather than in a change by a
    /// part of it.
    ///
    /// So roofs under one sky, or loads that are switched together, agree for long while they show a few steps only, and
    /// differ soon where they show many. Two meters of one load are one too many: of them one earns. Values count from
    /// zero, so [`Bounds`](super::Bounds) have to forbid what an offset would make of a night. Temperatures in `Cel` do not
    /// count from zero, and are judged by their changes all the same.
    ///
    /// ```
    /// use depin_core::quality::FleetCheck;
    /// use depin_data::quality::Copied;
    ///
    /// let check = Copied::new([("ac_power", "W")]).metered();
    /// assert!(check.name().ends_with(", 20 in a stretch, metered)"));
    /// ```
    pub fn metered(self) -> Self {
        Self { differ: Differ::Share, ..self }
    }
}

/// The digests of windows that say enough, with the rows that they take, the one before the first change included.
fn windows(rows: &[Row<'_>]) -> Vec<(RangeInclusive<usize>, u64)> {
    let sums = Sums::of(rows);
    let mut windows = Vec::new();
    for last in 0..rows.len() {
        let mut shorter_says = 0;
        for length in WINDOWS {
            // The first row has nothing to differ from.
            let Some(first) = (last + 1).checked_sub(length).filter(|first| *first > 0) else {
                break;
            };
            // The first change is what the next is in proportion to.
            let says = sums.says(first, last);
            if says >= 16 * BITS && shorter_says < 16 * AMPLE {
                windows.push((first - 1..=last, sums.digest(first, last)));
            }
            shorter_says = says;
        }
    }
    windows
}

/// What the rows up to each say and show, so that no window has to be walked through.
struct Sums(Vec<(u64, u64)>);

impl Sums {
    /// An odd factor, by which a row shows something else in each place.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn of(rows: &[Row<'_>]) -> Self {
        let mut sum = (0u64, 0u64);
        let sums = rows.iter().map(|row| {
            let shown = sum.1.wrapping_mul(Self::FACTOR).wrapping_add(row.shape);
            sum = (sum.0.saturating_add(row.surprise), shown);
            sum
        });
        Self(sums.collect())
    }

    fn at(&self, row: usize) -> (u64, u64) {
        self.0.get(row).copied().unwrap_or_default()
    }

    /// Sixteenths of a bit that the rows after one up to another say.
    fn says(&self, before: usize, last: usize) -> u64 {
        self.at(last).0.saturating_sub(self.at(before).0)
    }

    fn digest(&self, before: usize, last: usize) -> u64 {
        let rows = u32::try_from(last.saturating_sub(before)).unwrap_or(u32::MAX);
        let shift = Self::FACTOR.wrapping_pow(rows);
        let mut digest = Digest::default();
        digest.take(self.at(last).1.wrapping_sub(self.at(before).1.wrapping_mul(shift)));
        digest.0 >> (64 - 8 * DIGEST)
    }
}

/// What stands for the device's own work.
fn own_rows<'a>(quantities: &[Quantity], sent: &Sent<'a>) -> Vec<Row<'a>> {
    rows_of(quantities, kept(sent))
}

/// The windows by rising digest, each once, where it is for the first time.
fn sample(quantities: &[Quantity], sent: &Sent<'_>) -> Vec<Window> {
    let rows = own_rows(quantities, sent);
    let window = |(taken, digest): (RangeInclusive<usize>, u64)| {
        let last = rows.get(*taken.end()).and_then(|row| row.places.last())?;
        Some(Window { digest, index: sent.index(last.nth) })
    };
    let mut windows: Vec<Window> = windows(&rows).into_iter().filter_map(window).collect();
    windows.sort_unstable();
    windows.dedup_by_key(|window| window.digest);
    windows.truncate(SAMPLE);
    windows
}

impl FleetCheck for Copied {
    fn name(&self) -> String {
        let names: Vec<String> = self.quantities.iter().map(quoted).collect();
        let whole = if self.whole_moments { ", whole moments" } else { "" };
        let metered = if self.differ == Differ::Share { ", metered" } else { "" };
        let (names, stretch) = (names.join(", "), evidence::BITS);
        format!(
            "copied({names}, {LEAST} windows of 16 to 256 changes in proportion and {BITS} bits, {stretch} in a stretch{metered}{whole})"
        )
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        encode(&sample(&self.quantities, sent), sent.room())
    }

    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let held = holders::originals(notes)?.into_iter().enumerate();
        let held = held.filter(|(_, originals)| !originals.is_empty());
        Ok(of_devices(notes, held.map(|(at, it)| (at, Original::encode_all(&it)))))
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let rows = own_rows(&self.quantities, sent);
        let windows = windows(&rows);
        let evidence = Evidence::of(&self.quantities, &rows, self.differ);
        let mut copied: BTreeMap<usize, u64> = BTreeMap::new();
        for original in Original::decode_all(suspicion) {
            mark(&original, &windows, &evidence, rows.len(), &mut copied);
        }
        let copied = copied.into_iter().filter_map(|(row, first)| Some((rows.get(row)?, first)));
        if self.whole_moments {
            let moments: BTreeMap<Timestamp, u64> =
                copied.map(|(row, first)| (row.at, first)).collect();
            let judge = |at: Place<'_>| Some(finding((at, *moments.get(&at.reading.at())?)));
            return stream(sent.batches()).filter_map(judge).collect();
        }
        copied
            .flat_map(|(row, first)| row.places.iter().map(move |at| finding((*at, first))))
            .collect()
    }
}

/// Notes of each row that is copied from this device where it had that first.
fn mark(
    original: &Original,
    windows: &[(RangeInclusive<usize>, u64)],
    evidence: &Evidence,
    rows: usize,
    copied: &mut BTreeMap<usize, u64>,
) {
    let firsts: HashMap<u64, u64> =
        original.windows.iter().map(|window| (window.digest, window.index)).collect();
    // A window that was compared and that the other does not have ends a copied stretch; others say nothing.
    let compared = windows.iter().filter_map(|(rows, digest)| {
        let first = firsts.get(digest).copied();
        let compared = first.is_some() || *digest <= original.compared;
        compared.then(|| Compared { rows: rows.clone(), first })
    });
    let compared: Vec<Compared> = compared.collect();
    let mut stretches = evidence.stretches(&compared).into_iter().peekable();
    // Up to here the stretch is nobody else's, or known to be copied.
    let (mut own, mut last_first) = (0, None);
    for (position, Compared { rows: taken, first }) in compared.iter().enumerate() {
        stretches.next_if(|stretch| *stretch.end() < position);
        let told = stretches.peek().is_some_and(|stretch| stretch.contains(&position));
        if let Some(first) = first.filter(|_| told) {
            let start = own.min(*taken.start());
            copied.extend((start..=*taken.end()).map(|row| (row, first)));
            (own, last_first) = (*taken.end(), Some(first));
        } else {
            (own, last_first) = (usize::MAX, None);
        }
    }
    if let Some(first) = last_first {
        copied.extend((own..rows).map(|row| (row, first)));
    }
}

fn finding((place, first): (Place<'_>, u64)) -> Finding {
    let detail = format!(
        "part of a stretch of changes that another device had in batch {first} of the log first"
    );
    place.finding("copied", detail)
}
