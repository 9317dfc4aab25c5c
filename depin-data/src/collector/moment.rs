//! What the owner says about places, done to each moment before it joins a batch.
//!
//! Half of a place is none, so the readings of one moment are judged together. A moment is over when a reading of
//! another one comes, or when it has waited for [`Options::latency`](super::Options::latency). Until then it lies in
//! memory, and nothing of it in the store; what is silenced takes no room in a batch.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use depin_core::{B256, Reading, Result, Signer, Timestamp};

use super::Collector;
use crate::privacy::{Coarsen, Discretion, Zone};

/// The readings of a moment that may go on.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// Without any, readings wait for nobody.
    discretion: Option<Discretion>,
    readings: Vec<Reading>,
    /// What may be told of moments that are over, as long as no batch had room for it.
    told: VecDeque<Reading>,
    since: Timestamp,
}

impl Moment {
    /// Whether a reading is of this moment, of which no more are kept than of a batch.
    fn goes_on_with(&self, reading: &Reading, most: usize) -> bool {
        let same = self.readings.last().is_none_or(|last| last.at() == reading.at());
        same && self.told.is_empty() && self.readings.len() < most
    }

    fn take(&mut self, reading: Reading, now: Timestamp) {
        self.since = if self.readings.is_empty() { now } else { self.since.min(now) };
        self.readings.push(reading);
    }
}

impl Collector {
    /// Tells cells in place of coordinates, in all that is pushed from now on, and finer ones never: neither the store
    /// nor a batch holds them, nor what is sealed to a reader. Of two resolutions the coarser one counts.
    ///
    /// Push what was measured at one moment one after another. Half of a pair, with a reading of another moment
    /// in between, is not told.
    #[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
    #[must_use]
    pub fn coarsened(self, to: Coarsen) -> Self {
        self.discreet(|discretion| discretion.coarsened(to))
    }

    /// Tells nothing that was measured in these [zones](crate::privacy::PrivacyZones), in all that is pushed from now
    /// on: neither the store nor a batch holds it, nor what is sealed to a reader. Push as for
    /// [`coarsened`](Self::coarsened). After a restart nothing is told before a place outside is known.
    #[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
    #[must_use]
    pub fn silent_in(self, zones: impl IntoIterator<Item = Zone>) -> Self {
        self.discreet(|discretion| discretion.silent_in(zones))
    }

    fn discreet(mut self, say: impl FnOnce(Discretion) -> Discretion) -> Self {
        let said = self.moment.discretion.take().unwrap_or_default();
        self.moment.discretion = Some(say(said));
        self
    }

    /// Takes a reading into its moment. Returns the hash of the batch that the end of the one before closed, if any.
    pub(super) fn take(
        &mut self,
        reading: Reading,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Option<B256>> {
        if self.moment.discretion.is_none() {
            return self.take_at_once(reading, now, signer);
        }
        let goes_on = self.moment.goes_on_with(&reading, self.most());
        let sealed = if goes_on { None } else { self.end_moment(signer)? };
        self.moment.take(reading, now);
        Ok(sealed)
    }

    /// Ends the moment if it has waited for long enough.
    pub(super) fn poll_moment(
        &mut self,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Option<B256>> {
        self.moment.since = self.moment.since.min(now);
        let over = self.moment_due().is_some_and(|due| due <= now);
        if over { self.end_moment(signer) } else { Ok(None) }
    }

    /// When the moment is over, if none follows before.
    pub(super) fn moment_due(&self) -> Option<Timestamp> {
        let waits = !self.moment.readings.is_empty() || !self.moment.told.is_empty();
        waits.then(|| self.moment.since.plus(self.options.latency))
    }

    /// Moves what may be told of the moment into the open batch. What finds no room waits, before anything that comes
    /// later.
    pub(super) fn end_moment(&mut self, signer: &dyn Signer) -> Result<Option<B256>> {
        if let Some(discretion) = &mut self.moment.discretion {
            let over = mem::take(&mut self.moment.readings);
            self.moment.told.extend(discretion.apply(over));
        }
        let mut sealed = None;
        while let Some(reading) = self.moment.told.front().cloned() {
            sealed = self.make_room(&reading, signer)?.or(sealed);
            self.moment.told.pop_front();
            self.open.take(reading, self.moment.since);
        }
        Ok(sealed)
    }
}
