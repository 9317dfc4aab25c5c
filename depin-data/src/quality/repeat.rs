//! Old readings sent again as new ones.

use std::collections::HashMap;

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{
    quoted,
    rows::{Row, rows},
};

/// A device does not send an earlier stretch of its readings again with new times. Code `repeat`.
///
/// Looks for stretches in which every change of the quantities, taken together, is that of an earlier
/// stretch, so an added offset does not help. The earlier stretch keeps its points, the later one loses
/// them. How long a stretch has to be follows from what it says: each change counts as many bits as it is
/// rare in this device's stream, and a change that comes twice in a row counts once, so nights without
/// power and calm weather say nothing. From [`BITS`](Self::BITS) on, chance is no explanation.
///
/// A machine that does exactly the same every day does repeat itself: this check is for what is measured, not
/// for what is switched.
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

/// Rows that a repetition is first noticed by.
const SEED: usize = 4;
/// How many earlier places are remembered for each seed, and how many repetitions are followed at once:
/// what bounds time and memory whatever a device sends.
const REMEMBERED: usize = 16;
const FOLLOWED: usize = 128;

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
        let mut seeds: HashMap<[u64; SEED], Vec<usize>> = HashMap::new();
        let mut followed: Vec<Run> = Vec::new();
        for (now, row) in rows.iter().enumerate() {
            followed.retain_mut(|run| run.goes_on(rows, now));
            for run in &followed {
                run.mark(now, self.bits, &mut origins);
            }
            let Some(seed) = seed(rows, now).filter(|_| row.bits > 0) else { continue };
            let earlier = seeds.entry(seed).or_default();
            for then in earlier.iter().rev() {
                let offset = now - then;
                let known = followed.iter().any(|run| run.offset == offset);
                if !known && followed.len() < FOLLOWED {
                    let run = Run::found(rows, now, offset);
                    run.mark(now, self.bits, &mut origins);
                    followed.push(run);
                }
            }
            if earlier.len() >= REMEMBERED {
                earlier.remove(0);
            }
            earlier.push(now);
        }
        origins
    }
}

/// The changes of the last rows.
fn seed(rows: &[Row<'_>], now: usize) -> Option<[u64; SEED]> {
    // The first row has nothing to differ from.
    let first = now.checked_sub(SEED).map(|before| before + 1)?;
    let mut seed = [0; SEED];
    for (change, row) in seed.iter_mut().zip(rows.get(first..=now)?) {
        *change = row.change;
    }
    Some(seed)
}

/// A stretch of rows whose changes are those of the stretch `offset` rows before.
struct Run {
    offset: usize,
    start: usize,
    bits: u32,
    length: usize,
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
        let bits = rows.get(start..=now).unwrap_or_default().iter().map(|row| row.bits);
        let bits = bits.fold(0u32, u32::saturating_add);
        Self { offset, start, bits, length: now - start + 1 }
    }

    fn goes_on(&mut self, rows: &[Row<'_>], now: usize) -> bool {
        let then = now.checked_sub(self.offset).and_then(|then| rows.get(then));
        match (then, rows.get(now)) {
            (Some(then), Some(row)) if then.change == row.change => {
                self.bits = self.bits.saturating_add(row.bits);
                self.length += 1;
                true
            }
            _ => false,
        }
    }

    /// Names the rows up to now, with the one before the first change, once they say enough.
    fn mark(&self, now: usize, bits: u32, origins: &mut [Option<usize>]) {
        if self.bits < bits {
            return;
        }
        for at in (self.start.saturating_sub(1)..=now).rev() {
            let Some(origin) = origins.get_mut(at) else { return };
            if origin.is_some() {
                return;
            }
            *origin = at.checked_sub(self.offset);
        }
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
