//! Two devices with one stream.

use std::{collections::BTreeMap, ops::RangeInclusive};

use depin_core::{
    Did, Timestamp,
    quality::{Finding, FleetCheck, Sent},
    reading::Quantity,
};

use super::{
    Place, quoted,
    rows::{Digest, Row, rows},
    stream,
};

/// No device sends another one's stream. Code `copied`.
///
/// Compares windows of 16 or, where these say too little, 64 changes of the quantities, taken together as [`Repeat`](super::Repeat) does,
/// each in proportion to the one before: neither an added offset nor a factor nor another clock hides
/// anything, as long as nothing was rounded away. Only windows count that are no chance, by at least 48 bits of
/// surprise in the device's own stream. The note of a device is a sample of its windows, at most 1,000, fewer where
/// there is less [room](Sent::room): those with the least digests, so that two devices with one stream sample the
/// same ones. Three windows in common with one device that had them first are a copy.
///
/// What says nothing, such as a night, belongs to the stretch beside it.
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
/// assert_eq!(check.name(), "copied(\"temperature\" \"Cel\", 3 windows of 16 or 64 changes in proportion and 48 bits)");
/// ```
#[derive(Clone, Debug)]
pub struct Copied {
    quantities: Vec<Quantity>,
    whole_moments: bool,
}

/// Changes of a window: fewer where they say enough.
const WINDOWS: [usize; 2] = [16, 64];
const BITS: u64 = 48;
const LEAST: usize = 3;
const SAMPLE: usize = 1_000;
/// Devices that a window is looked for in: the first ones, or a fleet of copies takes quadratic time.
const MOST_HOLDERS: usize = 64;

/// A window of changes: what it is and in which batch of the log it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    digest: u64,
    index: u64,
}

impl Window {
    const LENGTH: usize = 16;
}

impl Copied {
    /// These quantities, given as name and unit and measured at the same moments, come from one device only.
    pub fn new<'a>(quantities: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let quantities = quantities.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        Self { quantities: quantities.collect(), whole_moments: false }
    }

    /// All readings of a copied moment lose their points, also those of other quantities: who copies all that is
    /// measured has not measured where it was either.
    pub fn whole_moments(self) -> Self {
        Self { whole_moments: true, ..self }
    }
}

/// The digests of windows that say enough, with the rows that they take, the one before the first change included.
fn windows(rows: &[Row<'_>]) -> Vec<(RangeInclusive<usize>, u64)> {
    let window = |(last, _): (usize, &Row<'_>)| {
        let telling = |length: usize| {
            // The first row has nothing to differ from.
            let first = (last + 1).checked_sub(length).filter(|first| *first > 0)?;
            // The first one is what the next is in proportion to.
            let changes = rows.get(first + 1..=last)?;
            let says = changes.iter().map(|row| row.surprise).sum::<u64>();
            (says >= 16 * BITS).then_some((first, changes))
        };
        let (first, changes) = WINDOWS.into_iter().find_map(telling)?;
        let mut digest = Digest::default();
        changes.iter().for_each(|row| digest.take(row.shape));
        Some((first - 1..=last, digest.0))
    };
    rows.iter().enumerate().filter_map(window).collect()
}

/// The windows with the least digests, each once, where it is for the first time.
fn sample(quantities: &[Quantity], sent: &Sent<'_>) -> Vec<Window> {
    let rows = rows(quantities, sent.batches());
    let window = |(taken, digest): (RangeInclusive<usize>, u64)| {
        let last = rows.get(*taken.end()).and_then(|row| row.places.last())?;
        Some(Window { digest, index: sent.index(last.nth) })
    };
    let mut windows: Vec<Window> = windows(&rows).into_iter().filter_map(window).collect();
    windows.sort_unstable();
    windows.dedup_by_key(|window| window.digest);
    windows.truncate(SAMPLE.min(sent.room() / Window::LENGTH));
    windows
}

/// A digest, where in the log its window ends, and of which device.
type Held = (u64, u64, usize);

/// What is held against each device: for each digest in common where another had it first.
fn suspicions(notes: &[Vec<Window>]) -> Vec<BTreeMap<u64, u64>> {
    let of = |(device, windows): (usize, &Vec<Window>)| -> Vec<Held> {
        windows.iter().map(|window| (window.digest, window.index, device)).collect()
    };
    let mut all: Vec<Held> = notes.iter().enumerate().flat_map(of).collect();
    all.sort_unstable();
    // Device by device, or a farm of copies would fill the memory with its pairs.
    let mut common = vec![0; notes.len()];
    notes.iter().map(|windows| suspicion(windows, &all, &mut common)).collect()
}

/// What is held against the device with these windows; `common` has a zero for each device, and again after.
fn suspicion(windows: &[Window], all: &[Held], common: &mut [usize]) -> BTreeMap<u64, u64> {
    let count = |common: &mut [usize], by: fn(usize) -> usize| {
        for (_, _, original) in windows.iter().flat_map(|window| originals(window, all)) {
            if let Some(common) = common.get_mut(*original) {
                *common = by(*common);
            }
        }
    };
    count(common, |common| common + 1);
    let shared = |original: usize| common.get(original).is_some_and(|count| *count >= LEAST);
    let held = windows.iter().filter_map(|window| {
        let mut first = originals(window, all);
        first.find(|held| shared(held.2)).map(|(digest, index, _)| (*digest, *index))
    });
    let held = held.collect();
    count(common, |_| 0);
    held
}

/// Devices that had a window before, of which the first ones count.
fn originals<'a>(window: &Window, all: &'a [Held]) -> impl Iterator<Item = &'a Held> {
    let Window { digest, index } = *window;
    let start = all.partition_point(|(other, ..)| *other < digest);
    let holders = all.get(start..).unwrap_or_default().iter().take(MOST_HOLDERS);
    holders.take_while(move |held| (held.0, held.1) < (digest, index))
}

impl FleetCheck for Copied {
    fn name(&self) -> String {
        let names: Vec<String> = self.quantities.iter().map(quoted).collect();
        let whole = if self.whole_moments { ", whole moments" } else { "" };
        let names = names.join(", ");
        format!(
            "copied({names}, {LEAST} windows of 16 or 64 changes in proportion and {BITS} bits{whole})"
        )
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let sample = sample(&self.quantities, sent);
        let words = sample.iter().flat_map(|window| [window.digest, window.index]);
        words.flat_map(u64::to_be_bytes).collect()
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let samples: Vec<Vec<Window>> = notes.iter().map(|(_, note)| pairs(note)).collect();
        let suspicions = suspicions(&samples);
        let found = notes.iter().zip(samples).zip(suspicions);
        found
            .filter(|(_, suspicion)| !suspicion.is_empty())
            .map(|(((device, _), sample), suspicion)| {
                // Windows up to the last one of the sample were compared.
                let compared = sample.last().map_or(0, |last| last.digest);
                let words = suspicion.into_iter().flat_map(|(digest, index)| [digest, index]);
                let words = [compared].into_iter().chain(words);
                (device.clone(), words.flat_map(u64::to_be_bytes).collect())
            })
            .collect()
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some((compared, common)) = suspicion.split_first_chunk() else { return Vec::new() };
        let (compared, common) = (u64::from_be_bytes(*compared), pairs(common));
        let firsts: BTreeMap<u64, u64> =
            common.iter().map(|window| (window.digest, window.index)).collect();
        let rows = rows(&self.quantities, sent.batches());
        let mut copied: BTreeMap<usize, u64> = BTreeMap::new();
        // Up to here the stretch is nobody else's, or known to be copied.
        let (mut own, mut last_first) = (0, None);
        for (taken, digest) in windows(&rows) {
            if let Some(first) = firsts.get(&digest) {
                let start = own.min(*taken.start());
                copied.extend((start..=*taken.end()).map(|row| (row, *first)));
                (own, last_first) = (*taken.end(), Some(*first));
            } else if digest <= compared {
                // A window of the sample that nobody else has ends a copied stretch; others say nothing.
                (own, last_first) = (usize::MAX, None);
            }
        }
        if let Some(first) = last_first {
            copied.extend((own..rows.len()).map(|row| (row, first)));
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

fn finding((place, first): (Place<'_>, u64)) -> Finding {
    let detail = format!(
        "part of a stretch of changes that another device had in batch {first} of the log first"
    );
    place.finding("copied", detail)
}

/// Pairs of digest and index.
fn pairs(bytes: &[u8]) -> Vec<Window> {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    let window = |pair: &[u8; Window::LENGTH]| {
        let (digest, index) = pair.split_at(8);
        Window { digest: word(digest), index: word(index) }
    };
    bytes.as_chunks().0.iter().map(window).collect()
}
