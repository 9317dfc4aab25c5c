//! Old readings sent again as new ones.

use std::collections::HashMap;

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{
    quoted,
    rows::{Digest, Row, rows, sixteenths},
};

/// A device does not send an earlier stretch of its readings again with new times. Code `repeat`.
///
/// Looks for stretches in which every change of the quantities, taken together, is that of an earlier
/// stretch, so an added offset does not help. The earlier stretch keeps its points, the later one loses
/// them. How long a stretch has to be follows from what it says: each change counts as many bits as it is
/// rare in this device's stream, and one that comes twice in a row as many as it rarely lasts, up to eight bits in
/// all while it does, so nights without power, calm weather and fog say nothing. Where a stretch begins or
/// ends with what says nothing and is as on most other days at its time, that is no part of it. From [`BITS`](Self::BITS) on, chance is no explanation.
///
/// Days resemble each other, and a machine that is switched does the same every day. So a stretch moreover
/// has to agree with the earlier one more than the rest of the stream agrees with itself at the same
/// distance: where half of all changes are those of the day before, each of them says one bit and no more.
///
/// An epoch has no memory: what was sent in an earlier epoch is not seen. Readings that are scaled or
/// changed by noise do not repeat exactly; judge those by [`Neighbours`](super::Neighbours) and
/// [`Relation`](super::Relation).
///
/// ```
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Repeat;
///
/// let check = Repeat::new([("temperature", "Cel"), ("humidity", "%RH")]);
/// assert_eq!(check.name(), "repeat(\"temperature\" \"Cel\", \"humidity\" \"%RH\", 64 bits)");
/// ```
#[derive(Clone, Debug)]
pub struct Repeat {
    quantities: Vec<Quantity>,
    bits: u32,
}

/// Sixteenths of a bit by which a repetition is first noticed, and most rows that they may take.
const SEED: u64 = 16 * 16;
const SEED_ROWS: usize = 256;
/// How many earlier places are remembered for each seed, and how many repetitions are followed at once:
/// what bounds time and memory whatever a device sends.
const REMEMBERED: usize = 16;
const FOLLOWED: usize = 128;
/// Sixteenths of a bit from which on a row at either end of a repetition is part of it; others are where they are not
/// what most other days have at their time: how many days, of how many milliseconds, and how much later.
const TELLING: u64 = 4;
const DAYS: u64 = 7;
const DAY: u64 = 86_400_000;
const NEAR: u64 = 1_800_000;
/// Rows as ever that outweigh one that is not, and how many such rows more end the search for the end.
const CONTRADICTS: i64 = 4;
const MOST_CONTRADICTING: i64 = 4;
/// Rows by which the rest of the stream is judged.
const SAMPLE: usize = 512;

impl Repeat {
    /// Bits from which on a repetition is none by chance: among a million rows there are 2^39 pairs of
    /// places.
    pub const BITS: u32 = 64;

    /// These quantities, given as name and unit and measured at the same moments, do not repeat together.
    pub fn new<'a>(quantities: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let quantities = quantities.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        Self { quantities: quantities.collect(), bits: Self::BITS }
    }

    /// Takes a repetition of at least so many bits for one.
    pub fn bits(self, bits: u32) -> Self {
        Self { bits, ..self }
    }

    /// For each row the earlier one that it repeats.
    fn origins(&self, rows: &[Row<'_>]) -> Vec<Option<usize>> {
        let mut origins = vec![None; rows.len()];
        let mut seeds: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut followed: Vec<Run> = Vec::new();
        let least = SEED.min(16 * u64::from(self.bits));
        for (now, row) in rows.iter().enumerate() {
            followed.retain_mut(|run| {
                let goes_on = run.goes_on(rows, now);
                if !goes_on {
                    run.mark(rows, self.bits, &mut origins);
                }
                goes_on
            });
            let Some(seed) = seed(rows, now, least).filter(|_| row.surprise > 0) else { continue };
            let earlier = seeds.entry(seed).or_default();
            for then in earlier.iter().rev() {
                let offset = now - then;
                let known = followed.iter().any(|run| run.offset == offset);
                if !known && followed.len() < FOLLOWED {
                    followed.push(Run::found(rows, now, offset));
                }
            }
            if earlier.len() >= REMEMBERED {
                earlier.remove(0);
            }
            earlier.push(now);
        }
        followed.iter().for_each(|run| run.mark(rows, self.bits, &mut origins));
        origins
    }
}

/// The changes of the last rows, as many as say enough.
fn seed(rows: &[Row<'_>], now: usize, least: u64) -> Option<u64> {
    let (mut digest, mut surprise) = (Digest::default(), 0);
    // The first row has nothing to differ from.
    for row in rows.get(1..=now)?.iter().rev().take(SEED_ROWS) {
        digest.take(row.change);
        surprise += row.surprise;
        if surprise >= least {
            return Some(digest.0);
        }
    }
    None
}

/// A stretch of rows whose changes are those of the stretch `offset` rows before.
struct Run {
    offset: usize,
    start: usize,
    length: usize,
    /// In sixteenths of a bit.
    surprise: u64,
}

impl Run {
    /// The stretch that ends now, from its first row on.
    fn found(rows: &[Row<'_>], now: usize, offset: usize) -> Self {
        let same = |at: &usize| {
            let then = at.checked_sub(offset).filter(|then| *then > 0);
            then.and_then(|then| rows.get(then)).map(|row| row.change)
                == rows.get(*at).map(|row| row.change)
        };
        let start = (1..=now).rev().take_while(same).last().unwrap_or(now);
        let surprise = rows.get(start..=now).unwrap_or_default().iter().map(|row| row.surprise);
        Self { offset, start, length: now - start + 1, surprise: surprise.sum() }
    }

    fn goes_on(&mut self, rows: &[Row<'_>], now: usize) -> bool {
        let then = now.checked_sub(self.offset).and_then(|then| rows.get(then));
        match (then, rows.get(now)) {
            (Some(then), Some(row)) if then.change == row.change => {
                self.surprise += row.surprise;
                self.length += 1;
                true
            }
            _ => false,
        }
    }

    /// Names the rows of the stretch, with the one before the first change, when they say enough.
    fn mark(&self, rows: &[Row<'_>], bits: u32, origins: &mut [Option<usize>]) {
        let stretch = self.start.saturating_sub(1)..self.start + self.length;
        let Some(origins) = origins.get_mut(stretch.clone()) else { return };
        let known = origins.iter().all(Option::is_some);
        let least = 16 * u64::from(bits);
        if known || self.surprise < least || self.against_the_rest(rows) < least {
            return;
        }
        let before = self.as_ever(rows, stretch.clone());
        let after = self.as_ever(rows, stretch.clone().rev());
        let telling = stretch.start + before..stretch.end.saturating_sub(after);
        for (at, origin) in stretch.zip(origins).filter(|(at, _)| telling.contains(at)) {
            *origin = origin.or(at.checked_sub(self.offset));
        }
    }

    /// How many rows from an end of the stretch on are no part of it: up to where most more are as ever than are not,
    /// each of which weighs [`CONTRADICTS`]. One morning's early light does not make a night a replay.
    fn as_ever(&self, rows: &[Row<'_>], inwards: impl Iterator<Item = usize>) -> usize {
        let (mut score, mut best, mut cut) = (0, 0, 0);
        for (count, at) in (1..).zip(inwards) {
            score += if self.is_as_ever(rows, at) { 1 } else { -CONTRADICTS };
            if score > best {
                (best, cut) = (score, count);
            }
            if best - score > MOST_CONTRADICTING * CONTRADICTS {
                break;
            }
        }
        cut
    }

    /// Whether a row says nothing and on most other days there is the same at its time: who replays a day may do so
    /// up to a night, and then the night is as ever.
    fn is_as_ever(&self, rows: &[Row<'_>], at: usize) -> bool {
        let stretch = self.start..self.start + self.length;
        let Some(row) = rows.get(at).filter(|row| row.surprise < TELLING) else { return false };
        let days = (1..=DAYS).flat_map(|day| {
            let time = row.at.millis();
            [time.checked_sub(day * DAY), time.checked_add(day * DAY)]
        });
        let (mut days_seen, mut same) = (0, 0);
        for time in days.flatten() {
            let other = rows.partition_point(|row| row.at.millis() < time);
            let near = rows.get(other).filter(|other| other.at.millis() - time <= NEAR);
            if let Some(near) = near.filter(|_| !stretch.contains(&other)) {
                days_seen += 1;
                same += usize::from(near.shows(row));
            }
        }
        same * 2 > days_seen
    }

    /// Sixteenths of a bit that the changes of the stretch say, each by how rarely the rest of the stream agrees with itself at
    /// this distance.
    fn against_the_rest(&self, rows: &[Row<'_>]) -> u64 {
        let stretch = self.start..self.start + self.length;
        let step = rows.len() / SAMPLE + 1;
        let rest = (self.offset + 1..rows.len()).step_by(step);
        let (mut all, mut agreeing) = (2, 1);
        for at in rest.filter(|at| !stretch.contains(at)) {
            let pair = rows.get(at).zip(rows.get(at - self.offset));
            // That one night is like another says nothing of the days.
            if let Some((now, then)) = pair.filter(|(now, _)| now.surprise > 0) {
                all += 1;
                agreeing += u64::from(now.change == then.change);
            }
        }
        let changes = rows.get(stretch).unwrap_or_default().iter().filter(|row| row.surprise > 0);
        // As if the rest had one agreement and one disagreement more.
        (changes.count() as u64).saturating_mul(sixteenths(all, agreeing))
    }
}

impl QualityCheck for Repeat {
    fn name(&self) -> String {
        let names: Vec<String> = self.quantities.iter().map(quoted).collect();
        format!("repeat({}, {} bits)", names.join(", "), self.bits)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let rows = rows(&self.quantities, batches);
        let origins = self.origins(&rows);
        let mut findings = Vec::new();
        for (row, origin) in rows.iter().zip(&origins) {
            let Some(then) = origin.and_then(|origin| rows.get(origin)) else { continue };
            for place in &row.places {
                let detail = format!("what was measured at {} comes again", then.at);
                findings.push(place.finding("repeat", detail));
            }
        }
        findings
    }
}
