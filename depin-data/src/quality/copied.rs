//! Two devices with one stream.

use std::{collections::BTreeMap, ops::RangeInclusive};

use depin_core::{
    Did, Timestamp,
    quality::{Finding, FleetCheck, Sent},
    reading::Quantity,
};

use super::{
    Place, quoted,
    rows::{Digest, Row, rows_of},
    stream,
    varint::{folded, put, take, unfolded},
};

/// No device sends another one's stream. Code `copied`.
///
/// Compares windows of 16 or, where these say too little, 64 changes of the quantities, taken together as [`Repeat`](super::Repeat) does,
/// each in proportion to the one before: neither an added offset nor a factor nor another clock hides
/// anything, as long as nothing was rounded away. Only windows count that are no chance, by at least 48 bits of
/// surprise in the device's own stream. The note of a device is a sample of its windows, at most 256, fewer where
/// there is less [room](Sent::room): those with the least digests, so that two devices with one stream sample the
/// same ones. Three windows in common with one device that had them first are a copy; of a stream that is copied in parts
/// they are likely from a fortieth of all windows on.
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
const SAMPLE: usize = 256;
/// Devices that a window is looked for in: the first ones, or a fleet of copies takes quadratic time.
const MOST_HOLDERS: usize = 64;

/// A window of changes: what it is and in which batch of the log it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    digest: u64,
    index: u64,
}

/// Bytes of a digest in a note. Three have to agree, which by chance happens to two given devices hardly ever; among the
/// pairs of a million devices with a million readings each about once.
const DIGEST: usize = 5;

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
        Some((first - 1..=last, digest.0 >> (64 - 8 * DIGEST)))
    };
    rows.iter().enumerate().filter_map(window).collect()
}

/// What stands for the device's own work: the readings that no check of it alone took the point of.
fn own_rows<'a>(quantities: &[Quantity], sent: &Sent<'a>) -> Vec<Row<'a>> {
    let sent = *sent;
    let kept = stream(sent.batches()).filter(move |at| sent.keeps(at.nth, at.position));
    rows_of(quantities, kept)
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

/// The first ones, as many as there is room for.
fn encode(mut windows: &[Window], room: usize) -> Vec<u8> {
    loop {
        let bytes = write(windows.to_vec());
        if bytes.len() <= room {
            return bytes;
        }
        let fewer = windows.len() * room / bytes.len();
        windows = windows.get(..fewer).unwrap_or_default();
    }
}

/// Batch by batch: how far it stands behind the one before, how many windows end in it, and their digests.
fn write(mut windows: Vec<Window>) -> Vec<u8> {
    windows.sort_unstable_by_key(|window| (window.index, window.digest));
    let (mut bytes, mut before) = (Vec::new(), 0u64);
    for batch in windows.chunk_by(|a, b| a.index == b.index) {
        let index = batch.first().map_or(before, |window| window.index);
        put(&mut bytes, folded(index.wrapping_sub(before).cast_signed()));
        put(&mut bytes, batch.len() as u64);
        for window in batch {
            bytes.extend(window.digest.to_be_bytes().iter().skip(8 - DIGEST));
        }
        before = index;
    }
    bytes
}

fn read(mut bytes: &[u8]) -> Vec<Window> {
    let (mut windows, mut index) = (Vec::with_capacity(bytes.len() / DIGEST), 0u64);
    while let Some(step) = take(&mut bytes) {
        index = index.wrapping_add_signed(unfolded(step));
        for _ in 0..take(&mut bytes).unwrap_or_default() {
            let Some((digest, rest)) = bytes.split_first_chunk::<DIGEST>() else { return windows };
            let digest = digest.iter().fold(0, |digest, byte| digest << 8 | u64::from(*byte));
            windows.push(Window { digest, index });
            bytes = rest;
        }
    }
    windows
}

/// Digests that several devices have, in rising order: of an honest fleet next to none, and nothing else is held
/// against anybody.
fn shared(notes: &[(Did, Vec<u8>)]) -> Vec<u64> {
    let most = notes.iter().map(|(_, note)| note.len() / DIGEST).sum();
    let mut digests: Vec<u64> = Vec::with_capacity(most);
    for (_, note) in notes {
        digests.extend(read(note).iter().map(|window| window.digest));
    }
    digests.sort_unstable();
    let runs = digests.chunk_by(|a, b| a == b).filter(|run| run.len() > 1);
    runs.filter_map(|run| run.first().copied()).collect()
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
        encode(&sample(&self.quantities, sent), sent.room())
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let shared = shared(notes);
        let sample = |(_, note): &(Did, Vec<u8>)| -> Vec<Window> {
            let mut windows = read(note);
            windows.retain(|window| shared.binary_search(&window.digest).is_ok());
            windows.shrink_to_fit();
            windows
        };
        let samples: Vec<Vec<Window>> = notes.iter().map(sample).collect();
        let suspicions = notes.iter().zip(suspicions(&samples));
        suspicions
            .filter(|(_, suspicion)| !suspicion.is_empty())
            .map(|((device, note), suspicion)| {
                // Windows up to the last one of the sample were compared.
                let compared = read(note).iter().map(|window| window.digest).max();
                let words = suspicion.into_iter().flat_map(|(digest, index)| [digest, index]);
                let words = [compared.unwrap_or_default()].into_iter().chain(words);
                (device.clone(), words.flat_map(u64::to_be_bytes).collect())
            })
            .collect()
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some((compared, common)) = suspicion.split_first_chunk() else { return Vec::new() };
        let (compared, common) = (u64::from_be_bytes(*compared), pairs(common));
        let firsts: BTreeMap<u64, u64> =
            common.iter().map(|window| (window.digest, window.index)).collect();
        let rows = own_rows(&self.quantities, sent);
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

/// Pairs of digest and index, as a suspicion has them.
fn pairs(bytes: &[u8]) -> Vec<Window> {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    let window = |pair: &[u8; 16]| {
        let (digest, index) = pair.split_at(8);
        Window { digest: word(digest), index: word(index) }
    };
    bytes.as_chunks().0.iter().map(window).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SAMPLE, Window, encode, read};

    proptest! {
        #[test]
        fn a_note_holds_the_least_digests_and_is_read_back(
            windows in prop::collection::btree_map(0u64..1 << 40, any::<u64>(), 0..SAMPLE),
            batches in 1u64..500,
            room in 1_024usize..4_000,
        ) {
            let windows: Vec<Window> = windows
                .into_iter()
                .map(|(digest, index)| Window { digest, index: index / (u64::MAX / batches) })
                .collect();
            let note = encode(&windows, room);
            prop_assert!(note.len() <= room);
            let mut back = read(&note);
            back.sort_unstable();
            prop_assert!(windows.starts_with(&back));
            prop_assert!(back.len() == windows.len() || back.len() * 8 >= room * 7 / 8);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).len() <= bytes.len());
        }
    }

    #[test]
    fn a_window_takes_five_bytes_and_a_little() {
        let window =
            |at: u64| Window { digest: at << 30 | at, index: 1_000_000 + at / 64 * 10_000 };
        let windows: Vec<Window> = (0..256).map(window).collect();
        assert!(encode(&windows, usize::MAX).len() <= 256 * 5 + 4 * 6);
    }
}
