//! Which epoch a reading counts in, and what a device has done in each.
//!
//! The rule of [`Windows`](super::Windows), in one place. Without windows everything counts in the epoch whose
//! range of the log it is in.

use std::collections::BTreeMap;

use depin_core::{
    Amount, Did, EpochId, Timestamp, Verified, quality::Contributions, reward::Payout,
};

use super::{EpochRecord, MAX_AHEAD, Past};

/// Code of readings whose epoch is settled, or whose time is before the first window. They earn nothing.
pub const TOO_LATE: &str = "too-late";
/// Code of readings that lie more than [`MAX_AHEAD`] epochs ahead. They earn nothing.
pub const TOO_EARLY: &str = "too-early";

/// What a device has done in an epoch that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The epoch.
    pub epoch: EpochId,
    /// Readings in its window so far.
    pub readings: u64,
    /// Those that no finding names.
    pub score: u64,
    /// What the device was paid for it when it closed; zero before.
    pub paid: Amount,
}

/// Readings that came when their epoch was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Who sent them.
    pub device: Did,
    /// The epoch in whose window they lie.
    pub epoch: EpochId,
    /// How many they are.
    pub readings: u64,
    /// Those that no finding names.
    pub score: u64,
}

/// An epoch that takes no more readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What everybody did in it, late or not; paid to whom the devices belong now.
    pub contributions: Verified<Contributions>,
    /// What was paid for it when it closed.
    pub paid: BTreeMap<Did, Amount>,
}

/// Where a reading counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Epoch(EpochId),
    TooLate,
    TooEarly,
}

impl EpochRecord {
    /// Where a reading of this moment counts.
    pub(super) fn place_of(&self, at: Timestamp) -> Place {
        let Some(windows) = self.windows else { return Place::Epoch(self.epoch) };
        match windows.epoch_of(at) {
            Some(epoch) if self.is_open(epoch) => Place::Epoch(epoch),
            Some(epoch) if epoch > self.epoch => Place::TooEarly,
            _ => Place::TooLate,
        }
    }

    /// Whether readings of an epoch are taken when this one closes.
    pub(super) fn is_open(&self, epoch: EpochId) -> bool {
        let Some(windows) = self.windows else { return false };
        let oldest = match windows.settled_by(self.epoch) {
            Some(settled) => settled.max(self.windows_since),
            None if windows.takes_late() => self.windows_since,
            None => self.epoch,
        };
        (oldest..=EpochId::new(self.epoch.value().saturating_add(MAX_AHEAD))).contains(&epoch)
    }

    /// The epoch that settles when this one closes.
    pub fn settles(&self) -> Option<EpochId> {
        let settled = self.windows.and_then(|windows| windows.settled_by(self.epoch));
        settled.filter(|settled| *settled >= self.windows_since)
    }
}

/// What a device did in each epoch: readings, and how many of them lost their point.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<EpochId, (u64, u64)>);

impl Tally {
    pub(super) fn count(&mut self, epoch: EpochId, readings: u64) {
        let (count, _) = self.0.entry(epoch).or_default();
        *count = count.saturating_add(readings);
    }

    pub(super) fn lose(&mut self, epoch: EpochId) {
        let (_, lost) = self.0.entry(epoch).or_default();
        *lost = lost.saturating_add(1);
    }

    /// Readings and score in an epoch.
    pub(super) fn of(&self, epoch: EpochId) -> (u64, u64) {
        self.0
            .get(&epoch)
            .map_or((0, 0), |(readings, lost)| (*readings, readings.saturating_sub(*lost)))
    }

    /// By rising epoch: the epoch, readings and score.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EpochId, u64, u64)> {
        self.0.keys().map(|epoch| {
            let (readings, score) = self.of(*epoch);
            (*epoch, readings, score)
        })
    }
}

/// The work that stays open after an epoch: what was open before and what came in it, without what settles.
pub(super) fn open_after(
    record: &EpochRecord,
    past: Option<&Past>,
    tally: Option<&Tally>,
) -> Vec<Work> {
    if record.windows.is_none() {
        return Vec::new();
    }
    let before = past.into_iter().flat_map(|past| past.open.iter().copied());
    let mut open: BTreeMap<EpochId, Work> = before.map(|work| (work.epoch, work)).collect();
    for (epoch, readings, score) in tally.into_iter().flat_map(Tally::iter) {
        let none = Work { epoch, readings: 0, score: 0, paid: Amount::ZERO };
        let work = open.entry(epoch).or_insert(none);
        work.readings = work.readings.saturating_add(readings);
        work.score = work.score.saturating_add(score);
    }
    let stays = |epoch| match record.settles() {
        Some(settled) => epoch > settled,
        None => epoch > record.epoch || record.windows.is_some_and(|windows| windows.takes_late()),
    };
    open.into_values().filter(|work| stays(work.epoch)).collect()
}

/// Notes what devices were paid for an epoch when it closed.
pub(super) fn note_paid(pasts: &mut BTreeMap<Did, Past>, epoch: EpochId, payouts: &[Payout]) {
    for payout in payouts {
        let Some(past) = pasts.get_mut(&payout.device) else { continue };
        let place = past.open.binary_search_by_key(&epoch, |work| work.epoch);
        let place = place.unwrap_or_else(|place| {
            // A policy may pay who did nothing.
            let paid = Amount::ZERO;
            past.open.insert(place, Work { epoch, readings: 0, score: 0, paid });
            place
        });
        if let Some(work) = past.open.get_mut(place) {
            work.paid = payout.amount;
        }
    }
}
