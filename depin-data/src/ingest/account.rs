//! What one device may take of ingest: a rate of batches and readings, and a share of the places.
//!
//! An account is charged for what the log stores, so a stranger who replays what a device has signed uses up nothing of
//! it. What forks of the device cost is charged apart, so that it hinders nothing but further forks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use depin_core::{Sequence, Timestamp};

/// How long to wait for a place of one's own to become free.
const TURN: Duration = Duration::from_secs(1);

/// So many per second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// Neither is less than 1.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        const fn at_least_one(number: u32) -> u32 {
            if number == 0 { 1 } else { number }
        }
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }
}

/// What one device may take.
///
/// ```
/// use depin_data::ingest::{DeviceLimits, Rate};
///
/// let mut limits = DeviceLimits::default();
/// limits.batches = Rate::new(1, 600);
/// assert_eq!(limits.in_flight, 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceLimits {
    /// Batches that are stored.
    pub batches: Rate,
    /// Readings that are stored; 16 bytes of sealed ones count as one.
    pub readings: Rate,
    /// Batches at a time on their way into the log.
    pub in_flight: usize,
}

impl Default for DeviceLimits {
    /// 10 batches and 4,096 readings a second; 4,096 batches and 2^20 readings at once, which is a month
    /// offline at a batch every ten minutes; 64 at a time.
    fn default() -> Self {
        Self { batches: Rate::new(10, 4096), readings: Rate::new(4096, 1 << 20), in_flight: 64 }
    }
}

/// Forks of a device of which signatures have to tell whether they convict it.
const ACCUSED: Rate = Rate::new(1, 32);

/// How many readings sealed ones count as, however many they are.
pub(super) fn hidden(sealed: Option<&[u8]>) -> u64 {
    sealed.map_or(0, |sealed| sealed.len().div_ceil(16) as u64)
}

/// What was taken and is not yet made up for by time, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    owed: u64,
    at: Timestamp,
}

impl Bucket {
    /// Time makes up for what was taken. A clock that was set back makes up for nothing and is followed.
    fn settle(&mut self, rate: Rate, now: Timestamp) {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let made_up = passed.saturating_mul(rate.per_second.into());
        (self.owed, self.at) = (self.owed.saturating_sub(made_up), now);
    }

    /// Takes `cost`, or says how long to wait. What is larger than the burst passes when nothing is owed.
    fn take(&mut self, rate: Rate, cost: u64) -> Result<u64, Duration> {
        let most = u64::from(rate.burst) * 1000;
        let cost = cost.saturating_mul(1000).min(most);
        let over = self.owed.saturating_add(cost).saturating_sub(most);
        if over > 0 {
            return Err(Duration::from_millis(over.div_ceil(rate.per_second.into())));
        }
        self.owed += cost;
        Ok(cost)
    }
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    batches: Bucket,
    readings: Bucket,
    accused: Bucket,
    /// The highest position that was stored here.
    tip: Option<Sequence>,
    /// Time of the latest reading that was stored here.
    latest: Option<Timestamp>,
}

/// The account of one device.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<State>);

impl Account {
    /// Every change is one step, so a panic elsewhere leaves no half of it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time of the latest reading that was stored.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.state().latest
    }

    /// Whether something is on its way into the log.
    pub(super) fn is_busy(&self) -> bool {
        self.state().in_flight > 0
    }

    /// Charges for finding out whether a fork convicts, or says how long to wait.
    pub(super) fn accuse(&self, now: Timestamp) -> Result<(), Duration> {
        let state = &mut *self.state();
        state.accused.settle(ACCUSED, now);
        state.accused.take(ACCUSED, 1).map(drop)
    }

    /// Takes a place and charges for it, or says how long to wait. What is at or before the stored tip
    /// cannot be stored again and is free.
    pub(super) fn enter(
        &self,
        limits: &DeviceLimits,
        sequence: Sequence,
        readings: u64,
        now: Timestamp,
    ) -> Result<Entry<'_>, Duration> {
        let state = &mut *self.state();
        if state.tip.is_some_and(|tip| sequence <= tip) {
            return Ok(Entry { account: self, charged: None });
        }
        if state.in_flight >= limits.in_flight.max(1) {
            return Err(TURN);
        }
        state.batches.settle(limits.batches, now);
        state.readings.settle(limits.readings, now);
        let batches = state.batches.take(limits.batches, 1)?;
        let readings = state.readings.take(limits.readings, readings).inspect_err(|_| {
            state.batches.owed -= batches;
        })?;
        state.in_flight += 1;
        Ok(Entry { account: self, charged: Some((batches, readings)) })
    }
}

/// A batch on its way into the log. What was charged is given back unless it was [`stored`](Self::stored).
pub(super) struct Entry<'a> {
    account: &'a Account,
    /// Thousandths of a batch and of readings; `None` when free.
    charged: Option<(u64, u64)>,
}

impl Entry<'_> {
    pub(super) fn stored(mut self, tip: Sequence, latest: Option<Timestamp>) {
        let state = &mut *self.account.state();
        state.in_flight = state.in_flight.saturating_sub(usize::from(self.charged.is_some()));
        state.tip = state.tip.max(Some(tip));
        state.latest = state.latest.max(latest);
        self.charged = None;
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let Some((batches, readings)) = self.charged else { return };
        let state = &mut *self.account.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.batches.owed = state.batches.owed.saturating_sub(batches);
        state.readings.owed = state.readings.owed.saturating_sub(readings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn limits() -> DeviceLimits {
        DeviceLimits { batches: Rate::new(2, 3), readings: Rate::new(100, 1000), in_flight: 2 }
    }

    fn store(account: &Account, sequence: u64, now: Timestamp) -> Result<(), Duration> {
        let entry = account.enter(&limits(), Sequence::new(sequence), 1, now)?;
        entry.stored(Sequence::new(sequence), Some(now));
        Ok(())
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_rules() {
        let account = Account::default();
        for sequence in 0..3 {
            assert_eq!(store(&account, sequence, NOW), Ok(()));
        }
        assert_eq!(store(&account, 3, NOW), Err(Duration::from_millis(500)));
        assert_eq!(
            store(&account, 3, NOW.plus(Duration::from_millis(499))),
            Err(Duration::from_millis(1))
        );
        assert_eq!(store(&account, 3, NOW.plus(Duration::from_millis(500))), Ok(()));
        assert_eq!(account.latest(), Some(NOW.plus(Duration::from_millis(500))));
    }

    #[test]
    fn what_was_not_stored_is_given_back_and_what_is_old_is_free() {
        let account = Account::default();
        for _ in 0..10 {
            assert!(account.enter(&limits(), Sequence::new(0), 1000, NOW).is_ok());
        }
        store(&account, 5, NOW).unwrap();
        let replays: Vec<_> = (0..10)
            .map(|_| account.enter(&limits(), Sequence::new(5), 1000, NOW).is_ok())
            .collect();
        assert_eq!(replays, [true; 10]);
        let _first = account.enter(&limits(), Sequence::new(6), 1, NOW).unwrap();
        let _second = account.enter(&limits(), Sequence::new(7), 1, NOW).unwrap();
        assert_eq!(account.enter(&limits(), Sequence::new(8), 1, NOW).err(), Some(TURN));
    }

    #[test]
    fn readings_are_limited_beside_batches_and_no_batch_is_too_large_for_ever() {
        let account = Account::default();
        let entry = account.enter(&limits(), Sequence::new(0), 5000, NOW).unwrap();
        entry.stored(Sequence::new(0), None);
        let wait = account.enter(&limits(), Sequence::new(1), 100, NOW).err();
        assert_eq!(wait, Some(Duration::from_secs(1)));
        let later = NOW.plus(Duration::from_secs(1));
        assert!(account.enter(&limits(), Sequence::new(1), 100, later).is_ok());
    }

    #[test]
    fn a_clock_that_jumps_neither_locks_a_device_out_nor_lets_it_go_free() {
        let (account, early) = (Account::default(), Timestamp::from_secs(1000));
        for sequence in 0..3 {
            store(&account, sequence, NOW).unwrap();
        }
        assert_eq!(store(&account, 3, early), Err(Duration::from_millis(500)));
        assert_eq!(store(&account, 3, early.plus(Duration::from_millis(500))), Ok(()));
        for sequence in 4..7 {
            assert_eq!(store(&account, sequence, NOW), Ok(()), "a jump forward gives one burst");
        }
        assert!(store(&account, 7, NOW).is_err());
    }
}
