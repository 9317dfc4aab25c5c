//! When an epoch may close: windows of event time, and how far each source has come.
//!
//! A source is a device. Its *watermark* is the time of its latest stored reading; it only rises. The window
//! of epoch `n` is `[start + n * length, start + (n + 1) * length)`. A source is expected in it when its
//! watermark has reached the window before: who was silent for a whole window keeps nobody waiting. The
//! epoch is complete when the watermarks of all expected sources have passed its window, and late `lateness`
//! after its end, whoever is missing then.
//!
//! A reading counts in the epoch in whose window its time lies. One that comes when that epoch is closed is a
//! *correction* of it, until it settles `settling` epochs later; then the rest of its pool is paid. One that
//! comes before its epoch waits for it.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use depin_core::{
    Did, EpochId, Error, ErrorKind, NetworkId, Reading, Result, Timestamp, log::BatchLog,
};

use super::MAX_DEVICES;
use crate::{audit::PAGE, batch::claim};

/// Windows of equal length in event time, one for each epoch.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{EpochId, Timestamp};
/// use depin_data::epoch::Windows;
///
/// let hours = Windows::new(Timestamp::EPOCH, Duration::from_secs(3600), Duration::from_secs(600))?;
/// let second = EpochId::new(1);
/// assert_eq!(hours.window(second), Some(Timestamp::from_secs(3600)..Timestamp::from_secs(7200)));
/// assert_eq!(hours.epoch_of(Timestamp::from_secs(7199)), Some(second));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    start: u64,
    length: u64,
    lateness: u64,
    settling: u64,
}

/// Epochs that late readings have, unless said otherwise.
const SETTLING: u64 = 24;
/// Most epochs that late readings may have.
pub const MAX_SETTLING: u64 = 256;
/// How many epochs ahead of the one that closes a reading may lie.
pub const MAX_AHEAD: u64 = 64;

impl Windows {
    /// Windows of `length` from `start` on, waited for until `lateness` after their end, and settled 24 epochs
    /// later. Parts of a millisecond are dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a window has no length.
    pub fn new(start: Timestamp, length: Duration, lateness: Duration) -> Result<Self> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if millis(length) == 0 {
            let message = "a window has no length; take at least a millisecond";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let (length, lateness) = (millis(length), millis(lateness));
        Ok(Self { start: start.millis(), length, lateness, settling: SETTLING })
    }

    /// Takes late readings until so many epochs after their own, at most [`MAX_SETTLING`]; with 0, never.
    ///
    /// What an epoch has no room for ([`MAX_BATCHES`](super::MAX_BATCHES)) comes in the range of the next one and
    /// is late too: a correction that is paid when its epoch settles. With 0 it earns nothing, and each of its
    /// readings has the finding [`TOO_LATE`](super::TOO_LATE); take 0 only where windows are short enough for
    /// what devices send.
    #[must_use]
    pub fn settling(mut self, epochs: u64) -> Self {
        self.settling = epochs.min(MAX_SETTLING);
        self
    }

    /// Whether late readings are taken.
    pub const fn takes_late(&self) -> bool {
        self.settling > 0
    }

    /// The epoch that settles when this one closes: the oldest that still takes readings. None for the first
    /// epochs, and where late readings are not taken.
    pub fn settled_by(&self, epoch: EpochId) -> Option<EpochId> {
        let settled = epoch.value().checked_sub(self.settling).map(EpochId::new);
        settled.filter(|_| self.takes_late())
    }

    /// When an epoch closes, whoever is missing; none past the end of time.
    pub fn deadline(&self, epoch: EpochId) -> Option<Timestamp> {
        let end = self.window(epoch)?.end.millis().checked_add(self.lateness)?;
        Some(Timestamp::from_millis(end))
    }

    /// From when on a source must have been heard to be expected in an epoch: the window before.
    pub fn expected_since(&self, epoch: EpochId) -> Option<Timestamp> {
        let start = self.window(epoch)?.start.millis();
        Some(Timestamp::from_millis(start.saturating_sub(self.length)))
    }

    /// As a record has them: start, length, lateness and settling.
    pub(super) const fn parts(&self) -> [u64; 4] {
        [self.start, self.length, self.lateness, self.settling]
    }

    pub(super) fn from_parts([start, length, lateness, settling]: [u64; 4]) -> Option<Self> {
        let valid = length > 0 && settling <= MAX_SETTLING;
        valid.then_some(Self { start, length, lateness, settling })
    }

    /// The window of an epoch; none past the end of time.
    pub fn window(&self, epoch: EpochId) -> Option<Range<Timestamp>> {
        let start = self.start.checked_add(epoch.value().checked_mul(self.length)?)?;
        let end = start.checked_add(self.length)?;
        Some(Timestamp::from_millis(start)..Timestamp::from_millis(end))
    }

    /// The epoch in whose window a moment lies; none before the first.
    pub fn epoch_of(&self, at: Timestamp) -> Option<EpochId> {
        let since = at.millis().checked_sub(self.start)?;
        since.checked_div(self.length).map(EpochId::new)
    }

    /// Whether an epoch may close.
    pub fn readiness(&self, epoch: EpochId, sources: &Watermarks, now: Timestamp) -> Readiness {
        let Some(Range { end, .. }) = self.window(epoch) else {
            return Readiness::Waiting(Vec::new());
        };
        let expected = self.expected(epoch, sources);
        let missing: Vec<Did> =
            expected.filter(|(_, at)| *at < end).map(|(source, _)| source.clone()).collect();
        if self.deadline(epoch).is_some_and(|deadline| now >= deadline) {
            return if missing.is_empty() { Readiness::Complete } else { Readiness::Late(missing) };
        }
        // Before the window has passed, silence is no completeness.
        let passed = now >= end && missing.is_empty();
        if passed { Readiness::Complete } else { Readiness::Waiting(missing) }
    }

    /// The sources that an epoch waits for, with the time of their latest reading.
    pub fn expected<'a>(
        &self,
        epoch: EpochId,
        sources: &'a Watermarks,
    ) -> impl Iterator<Item = (&'a Did, Timestamp)> {
        let since = self.expected_since(epoch);
        let all = sources.latest.iter().map(|(source, at)| (source, *at));
        all.filter(move |(_, at)| since.is_some_and(|since| *at >= since))
    }
}

/// Whether an epoch may close, by the rule of its [`Windows`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an epoch is complete, late, or waited for")]
pub enum Readiness {
    /// All expected sources have passed its window.
    Complete,
    /// The time to wait is over, and these sources have not passed its window.
    Late(Vec<Did>),
    /// Not yet: these sources have not passed its window, or the window itself has not passed.
    Waiting(Vec<Did>),
}

/// How far each source has come: one moment a device, whatever it sent.
///
/// After a restart, a fresh one [reads](Self::read) the log again.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{EpochId, Timestamp};
/// use depin_data::epoch::{Readiness, Watermarks, Windows};
///
/// let minutes = Windows::new(Timestamp::EPOCH, Duration::from_secs(60), Duration::from_secs(10))?;
/// let (a, b) = ("did:example:a".parse()?, "did:example:b".parse()?);
/// let mut sources = Watermarks::new();
/// sources.observe(&a, Timestamp::from_secs(61))?;
/// sources.observe(&b, Timestamp::from_secs(50))?;
/// let at = |secs| minutes.readiness(EpochId::new(0), &sources, Timestamp::from_secs(secs));
/// assert_eq!(at(62), Readiness::Waiting(vec![b.clone()]));
/// assert_eq!(at(70), Readiness::Late(vec![b.clone()]));
/// sources.observe(&b, Timestamp::from_secs(60))?;
/// let now = Timestamp::from_secs(62);
/// assert_eq!(minutes.readiness(EpochId::new(0), &sources, now), Readiness::Complete);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    latest: BTreeMap<Did, Timestamp>,
    /// The first batch of the log that was not read.
    next: u64,
}

impl Watermarks {
    /// Nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was seen when the first `next` batches of the log were read, by source.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`MAX_DEVICES`] sources.
    pub fn resume(latest: BTreeMap<Did, Timestamp>, next: u64) -> Result<Self> {
        if latest.len() > MAX_DEVICES {
            return Err(too_many());
        }
        Ok(Self { latest, next })
    }

    /// A source has sent a reading of this moment.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`MAX_DEVICES`] sources.
    pub fn observe(&mut self, source: &Did, at: Timestamp) -> Result<()> {
        if let Some(latest) = self.latest.get_mut(source) {
            *latest = at.max(*latest);
            return Ok(());
        }
        if self.latest.len() >= MAX_DEVICES {
            return Err(too_many());
        }
        self.latest.insert(source.clone(), at);
        Ok(())
    }

    /// Forgets sources that were last heard before a moment: no epoch waits for them any more.
    pub fn forget(&mut self, before: Timestamp) {
        self.latest.retain(|_, at| *at >= before);
    }

    /// Reads what the log has more than last time. What it has forgotten was closed long ago.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the log is damaged, [`ErrorKind::Limit`] past [`MAX_DEVICES`] sources.
    pub async fn read(&mut self, log: &dyn BatchLog, network: &NetworkId) -> Result<()> {
        self.next = self.next.max(log.oldest().await?);
        loop {
            let entries = log.read(self.next, PAGE).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                let claim = claim(entry.batch.as_bytes(), network)?;
                if let Some(at) = claim.readings.iter().map(Reading::at).max() {
                    self.observe(&claim.device, at)?;
                }
                self.next = entry.index.saturating_add(1);
            }
        }
    }

    /// The time of a source's latest reading.
    pub fn of(&self, source: &Did) -> Option<Timestamp> {
        self.latest.get(source).copied()
    }

    /// How many sources there are.
    pub fn len(&self) -> usize {
        self.latest.len()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Limit, "more devices than an epoch can have; split the network")
}
