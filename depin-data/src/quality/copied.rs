//! Two devices with one stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use depin_core::{
    Batch, Did, Timestamp, Verified,
    quality::{Finding, FleetCheck},
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
/// surprise in the device's own stream. The note of a device is a sample of at most 1,000 of its windows:
/// those with the least digests, so that two devices with one stream sample the same ones. Three windows in
/// common are a copy.
///
/// What says nothing, such as a night, belongs to the stretch beside it.
///
/// Who measured a stretch first, by the times signed, keeps the points. Where the times are the same as well,
/// nothing that is signed says who copied whom, and all lose them: a feed split over ten identities earns
/// nothing, and who reads along can only harm himself as long as batches are not shown to others before
/// their epoch is over.
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
/// Devices that a window is looked for in: the first by time, or a fleet of copies takes quadratic time.
const MOST_HOLDERS: usize = 64;

/// A window of changes: what it is and when it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    digest: u64,
    at: u64,
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

/// The windows that say enough, with the rows that they take, the one before the first change included.
fn windows(rows: &[Row<'_>]) -> Vec<(RangeInclusive<usize>, Window)> {
    let window = |(last, row): (usize, &Row<'_>)| {
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
        Some((first - 1..=last, Window { digest: digest.0, at: row.at.millis() }))
    };
    rows.iter().enumerate().filter_map(window).collect()
}

/// The windows with the least digests, each once, at its first time.
fn sample(rows: &[Row<'_>]) -> Vec<Window> {
    let mut windows: Vec<Window> = windows(rows).into_iter().map(|(_, window)| window).collect();
    windows.sort_unstable();
    windows.dedup_by_key(|window| window.digest);
    windows.truncate(SAMPLE);
    windows
}

/// A digest, when its window was measured, and by which device.
type Held = (u64, u64, usize);

/// What is held against each device: for each digest in common the time of who had it first.
fn suspicions(notes: &[Vec<Window>]) -> Vec<BTreeMap<u64, u64>> {
    let of = |(device, windows): (usize, &Vec<Window>)| -> Vec<Held> {
        windows.iter().map(|window| (window.digest, window.at, device)).collect()
    };
    let mut all: Vec<Held> = notes.iter().enumerate().flat_map(of).collect();
    all.sort_unstable();
    // Device by device, or a farm of copies would fill the memory with its pairs.
    notes.iter().enumerate().map(|(device, windows)| suspicion(device, windows, &all)).collect()
}

fn suspicion(device: usize, windows: &[Window], all: &[Held]) -> BTreeMap<u64, u64> {
    let mut common: BTreeMap<usize, usize> = BTreeMap::new();
    for window in windows {
        for (_, _, original) in originals(window.digest, device, all) {
            *common.entry(*original).or_default() += 1;
        }
    }
    let shared = |original: &usize| common.get(original).is_some_and(|count| *count >= LEAST);
    let held = windows.iter().filter_map(|window| {
        let mut first = originals(window.digest, device, all);
        first.find(|(_, _, original)| shared(original)).map(|(digest, at, _)| (*digest, *at))
    });
    held.collect()
}

/// The other devices that had a window first.
fn originals(digest: u64, device: usize, all: &[Held]) -> impl Iterator<Item = &Held> {
    let start = all.partition_point(|(other, _, _)| *other < digest);
    let holders = all.get(start..).unwrap_or_default();
    let first = holders.first().map_or(0, |(_, at, _)| *at);
    let ties = holders.iter().take_while(move |held| (held.0, held.1) == (digest, first));
    ties.take(MOST_HOLDERS).filter(move |held| held.2 != device)
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

    fn note(&self, _: &Did, batches: &[&Verified<Batch>]) -> Vec<u8> {
        let sample = sample(&rows(&self.quantities, batches));
        let words = sample.iter().flat_map(|window| [window.digest, window.at]);
        words.flat_map(u64::to_be_bytes).collect()
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let windows: Vec<Vec<Window>> = notes.iter().map(|(_, note)| pairs(note)).collect();
        let suspicions = suspicions(&windows);
        let found = notes.iter().zip(suspicions).filter(|(_, suspicion)| !suspicion.is_empty());
        found
            .map(|((device, _), suspicion)| {
                let words = suspicion.into_iter().flat_map(|(digest, at)| [digest, at]);
                (device.clone(), words.flat_map(u64::to_be_bytes).collect())
            })
            .collect()
    }

    fn inspect(&self, suspicion: &[u8], batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let rows = rows(&self.quantities, batches);
        let common = pairs(suspicion);
        let firsts: BTreeMap<u64, u64> =
            common.iter().map(|window| (window.digest, window.at)).collect();
        let sampled: BTreeSet<u64> = sample(&rows).iter().map(|window| window.digest).collect();
        let mut copied: BTreeMap<usize, u64> = BTreeMap::new();
        // Up to here the stretch is nobody else's, or known to be copied.
        let (mut own, mut last_first) = (0, None);
        for (taken, window) in windows(&rows) {
            if let Some(first) = firsts.get(&window.digest) {
                let start = own.min(*taken.start());
                copied.extend((start..=*taken.end()).map(|row| (row, *first)));
                (own, last_first) = (*taken.end(), Some(*first));
            } else if sampled.contains(&window.digest) {
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
            return stream(batches).filter_map(judge).collect();
        }
        copied
            .flat_map(|(row, first)| row.places.iter().map(move |at| finding((*at, first))))
            .collect()
    }
}

fn finding((place, first): (Place<'_>, u64)) -> Finding {
    let first = Timestamp::from_millis(first);
    let detail = format!(
        "part of a stretch of changes that another device signed up to {first} first or as well"
    );
    place.finding("copied", detail)
}

/// Pairs of digest and time.
fn pairs(bytes: &[u8]) -> Vec<Window> {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    let window = |pair: &[u8; 16]| {
        let (digest, at) = pair.split_at(8);
        Window { digest: word(digest), at: word(at) }
    };
    bytes.as_chunks().0.iter().map(window).collect()
}
