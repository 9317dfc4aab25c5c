//! From single readings to batches that are stored: what a device's firmware calls.
//!
//! A reading waits for others, so that one signature serves many, but never longer than the network allows.
//! While batches cannot be sent, waiting costs nothing, so batches grow instead of becoming more: that is
//! what lasts longest in a small store. Everything that is sealed lies in an [`Outbox`], which survives power
//! loss; readings that still wait do not, and [`Options::hold`] bounds how many those are.
//!
//! A device whose store is blank, new or lost, seals nothing before the log has told it where its chain stands:
//! [`Collector::forward`] asks. Until then readings wait in memory, at most [`Options::most`] of them. A device that
//! is to collect before it was ever online is told at the factory that its chain is empty:
//! [`reconcile(None)`](Outbox::reconcile), which its store remembers.

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};
use core::{fmt, mem, time::Duration};

use depin_core::{
    B256, Error, ErrorKind, Reading, Result, SignedBatch, Signer, Timestamp, reading::Quantity,
};

#[cfg(feature = "hpke")]
use crate::{batch::Extras, privacy::Sealing};
use crate::{
    batch::{self, MAX_QUANTITIES, MAX_READINGS, SaltSeed},
    outbox::Outbox,
};

mod forward;
#[cfg_attr(not(feature = "geo"), path = "at_once.rs")]
mod moment;

pub use forward::{Backoff, Next};

/// Most bytes of a reading in a batch: index, time, mantissa, exponent.
const READING: usize = 3 + 9 + 9 + 1;
/// Bytes of a batch beside readings, quantities and the DID: header, hashes, signature, seed.
const FRAME: usize = 400;

/// When a batch is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Longest time that a reading waits while everything before it is stored. 10 s unless said.
    pub latency: Duration,
    /// Longest time that a reading waits while batches cannot be sent: what power loss may take. 10 min
    /// unless said.
    pub hold: Duration,
    /// Readings of a batch while everything before it is stored. 256 unless said.
    pub target: usize,
    /// Readings of a batch while batches cannot be sent, and most readings in memory.
    /// [`MAX_READINGS`] unless said.
    pub most: usize,
    /// Most bytes of a batch, about, and never more than the store takes. [`batch::MAX_BYTES`] unless said.
    pub bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latency: Duration::from_secs(10),
            hold: Duration::from_secs(600),
            target: 256,
            most: MAX_READINGS,
            bytes: batch::MAX_BYTES,
        }
    }
}

/// Batches readings and keeps the batches until they are stored.
///
/// Times are those of the device's clock, wherever it jumps: one that goes back begins the wait of the open
/// batch again, one that goes forward ends it, and readings keep the times and the order in which they came.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Algorithm, Decimal, NetworkId, Reading, Signer, SoftwareKey, Timestamp, reading::Quantity};
/// use depin_data::{collector::{Collector, Options}, outbox::Outbox, receipt::ReceiptVerifier};
///
/// let (network, key) = (NetworkId::parse("climate")?, SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let receipts = ReceiptVerifier::new(&network, SoftwareKey::from_seed(Algorithm::EdDsa, [2; 32]).public_key());
/// let mut outbox = Outbox::new(&network, &"did:example:a".parse()?, receipts);
/// outbox.reconcile(None)?; // It has never sent.
/// let mut collector = Collector::new(outbox, Options::default());
///
/// let (quantity, start) = (Quantity::new("t", "Cel"), Timestamp::from_secs(1_700_000_000));
/// collector.push(Reading::new(quantity, Decimal::from(3), start), start, &key)?;
/// assert_eq!(collector.due(), Some(start.plus(Duration::from_secs(10))));
/// assert!(collector.poll(start, &key)?.is_none());
/// assert!(collector.poll(start.plus(Duration::from_secs(10)), &key)?.is_some());
/// # Ok::<(), depin_data::Error>(())
/// ```
pub struct Collector {
    outbox: Outbox,
    options: Options,
    open: Open,
    seeds: Option<Box<dyn FnMut() -> SaltSeed + Send>>,
    #[cfg(feature = "hpke")]
    sealing: Option<Sealing>,
    #[cfg(feature = "geo")]
    moment: moment::Moment,
    backoff: Backoff,
}

/// The batch that is not sealed yet.
#[derive(Debug, Default)]
struct Open {
    readings: Vec<Reading>,
    quantities: BTreeSet<Quantity>,
    /// Bytes of the quantities as they are written.
    names: usize,
    since: Timestamp,
}

impl Collector {
    /// Collects into `outbox`.
    pub fn new(outbox: Outbox, options: Options) -> Self {
        let (open, backoff) = (Open::default(), Backoff::new(outbox.did()));
        Self {
            outbox,
            options,
            open,
            seeds: None,
            #[cfg(feature = "hpke")]
            sealing: None,
            #[cfg(feature = "geo")]
            moment: moment::Moment::default(),
            backoff,
        }
    }

    /// Seals to a reader which of the readings the [`Sealing`] names; nobody else can open them.
    #[cfg(feature = "hpke")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hpke")))]
    #[must_use]
    pub fn sealed(mut self, to: Sealing) -> Self {
        self.sealing = Some(to);
        self
    }

    /// Gives every batch [salted leaves](SaltSeed), with seeds from here.
    #[must_use]
    pub fn salted(mut self, seeds: impl FnMut() -> SaltSeed + Send + 'static) -> Self {
        self.seeds = Some(Box::new(seeds));
        self
    }

    /// Takes a reading in. Returns the hash of the batch that this closed, if any.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] or [`ErrorKind::Limit`] for a reading that no batch can carry, which is not
    /// taken. [`ErrorKind::Unavailable`] or [`ErrorKind::Limit`] when the open batch is full and cannot be
    /// sealed now: the reading is not taken and what was taken before is kept.
    pub fn push(
        &mut self,
        reading: Reading,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Option<B256>> {
        batch::check(&reading)?;
        let sealed = self.take(reading, now, signer)?;
        // What cannot be sealed yet waits in memory; the next call tries again.
        Ok(self.poll_open(now, signer).unwrap_or_default().or(sealed))
    }

    /// Closes the open batch if it is time and the outbox is [placed](Outbox::is_placed). Call it when
    /// [`due`](Self::due) says so.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn poll(&mut self, now: Timestamp, signer: &dyn Signer) -> Result<Option<B256>> {
        let ended = self.poll_moment(now, signer)?;
        Ok(self.poll_open(now, signer)?.or(ended))
    }

    /// When [`poll`](Self::poll) is to be called, if anything waits.
    pub fn due(&self) -> Option<Timestamp> {
        [self.open_due(), self.moment_due()].into_iter().flatten().min()
    }

    /// Closes the open batch now; returns its hash, or nothing when no reading waits.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] while the outbox is not [placed](Outbox::is_placed), or what the signer or the
    /// store says; the readings wait on.
    #[cfg_attr(feature = "std", tracing::instrument(level = "debug", skip_all))]
    pub fn seal(&mut self, signer: &dyn Signer) -> Result<Option<B256>> {
        let ended = self.end_moment(signer)?;
        Ok(self.seal_open(signer)?.or(ended))
    }

    fn seal_open(&mut self, signer: &dyn Signer) -> Result<Option<B256>> {
        if self.open.readings.is_empty() {
            return Ok(None);
        }
        let seed = self.seeds.as_mut().map(|seeds| seeds());
        let batch = self.push_batch(signer, seed.as_ref())?;
        #[cfg(feature = "std")]
        crate::observe::sealed(self.open.readings.len());
        let room = mem::take(&mut self.open).emptied();
        self.open.readings = room;
        Ok(Some(batch.hash()))
    }

    #[cfg(not(feature = "hpke"))]
    fn push_batch(&mut self, signer: &dyn Signer, seed: Option<&SaltSeed>) -> Result<SignedBatch> {
        self.outbox.push_salted(signer, &self.open.readings, seed)
    }

    #[cfg(feature = "hpke")]
    fn push_batch(&mut self, signer: &dyn Signer, seed: Option<&SaltSeed>) -> Result<SignedBatch> {
        let Some(sealing) = &mut self.sealing else {
            return self.outbox.push_salted(signer, &self.open.readings, seed);
        };
        let place = (self.outbox.network(), self.outbox.did());
        let (shown, sealed) = sealing.part(place, &self.open.readings)?;
        let extras = Extras { seed, sealed: sealed.as_deref() };
        self.outbox.push_with(signer, &shown, extras)
    }

    /// Readings of the open batch, not sealed yet: power loss would take them. Those of a moment that is not over are
    /// not among them, where the owner says what is told of places: they may never be.
    pub fn open(&self) -> &[Reading] {
        &self.open.readings
    }

    /// What is sealed.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What is sealed, to discard from it, change its key or reconcile it with the log.
    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What to send now, if anything.
    ///
    /// # Errors
    /// As [`Outbox::next`].
    pub fn next(&mut self, signer: &dyn Signer) -> Result<Option<SignedBatch>> {
        self.outbox.next(signer)
    }

    fn take_at_once(
        &mut self,
        reading: Reading,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Option<B256>> {
        let sealed = self.make_room(&reading, signer)?;
        self.open.take(reading, now);
        Ok(sealed)
    }

    /// Closes the open batch if it cannot take this reading as well.
    fn make_room(&mut self, reading: &Reading, signer: &dyn Signer) -> Result<Option<B256>> {
        if self.fits(reading) { Ok(None) } else { self.seal_open(signer) }
    }

    fn poll_open(&mut self, now: Timestamp, signer: &dyn Signer) -> Result<Option<B256>> {
        self.open.since = self.open.since.min(now);
        let due = self.open_due().is_some_and(|due| due <= now);
        if due && self.outbox.is_placed() { self.seal_open(signer) } else { Ok(None) }
    }

    /// When the open batch is to be closed, if there is one.
    fn open_due(&self) -> Option<Timestamp> {
        let count = self.open.readings.len();
        let (wait, most) = if self.outbox.is_empty() {
            (self.options.latency, self.options.target)
        } else {
            (self.options.hold.max(self.options.latency), self.most())
        };
        match count {
            0 => None,
            _ if count >= most.min(self.most()) => Some(self.open.since),
            _ => Some(self.open.since.plus(wait)),
        }
    }

    fn most(&self) -> usize {
        self.options.most.clamp(1, MAX_READINGS)
    }

    /// Whether the open batch takes one more.
    fn fits(&self, reading: &Reading) -> bool {
        let open = &self.open;
        let new = !open.quantities.contains(reading.quantity());
        let count = open.readings.len() + 1;
        let names = open.names + if new { written(reading.quantity()) } else { 0 };
        let bytes = FRAME + self.outbox.did().as_str().len() + names + count * READING;
        open.readings.is_empty()
            || (count <= self.most()
                && open.quantities.len() + usize::from(new) <= MAX_QUANTITIES
                && bytes <= self.options.bytes.min(self.outbox.largest()))
    }
}

impl Open {
    fn take(&mut self, reading: Reading, since: Timestamp) {
        self.since = if self.readings.is_empty() { since } else { self.since.min(since) };
        if self.quantities.insert(reading.quantity().clone()) {
            self.names += written(reading.quantity());
        }
        self.readings.push(reading);
    }

    /// The memory of the readings, to be used again.
    fn emptied(mut self) -> Vec<Reading> {
        self.readings.clear();
        self.readings
    }
}

/// Bytes of a quantity in a batch: two texts and three heads.
fn written(quantity: &Quantity) -> usize {
    quantity.name().len() + quantity.unit().len() + 5
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("outbox", &self.outbox)
            .field("options", &self.options)
            .field("open", &self.open.readings.len())
            .finish_non_exhaustive()
    }
}

/// What no repetition heals.
fn is_permanent(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Unavailable)
}
