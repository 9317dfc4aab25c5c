//! Quality: what is wrong with verified readings, and what they are worth.
//!
//! Every accepted reading is worth one point. A [`Finding`] takes the points of the readings it names,
//! each at most once, so that every point lost has a reason that can be looked up in signed bytes.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use alloy_primitives::{Address, B256};

use crate::{Batch, Did, EpochId, Result, Verified};

mod notes;

pub use notes::Notes;

/// What is wrong with one reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Hash of the batch.
    pub batch: B256,
    /// Position of the reading in the batch, from 0.
    pub reading: usize,
    /// Stable code such as `out-of-bounds`.
    pub code: Cow<'static, str>,
    /// The reason in words, with the numbers.
    pub detail: String,
}

/// Judges the readings of one device.
///
/// # Contract
/// 1. `inspect` MUST be pure and deterministic: integers and decimals only, no time, no randomness.
/// 2. The batches MUST be taken as one stream in the order given, which is chain order.
/// 3. Findings MUST name batches and readings that were given.
/// 4. `code` MUST be stable across versions; a new meaning gets a new code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a quality check",
    note = "implement `depin_core::quality::QualityCheck`"
)]
pub trait QualityCheck: Send + Sync + fmt::Debug {
    /// Name with parameters, part of the epoch's manifest: two checks that may judge differently MUST
    /// have different names.
    fn name(&self) -> String;

    /// Looks at all batches of one device in one epoch.
    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding>;
}

/// Judges devices against each other: what one device alone cannot show, such as a copied stream or a
/// thermometer that disagrees with all its neighbours.
///
/// An epoch is too large to hold, so a check sees one device at a time and takes a note of it, compares
/// the notes, and looks again only at the devices that it suspects.
///
/// # Contract
/// 1. All three steps MUST be pure and deterministic: integers and decimals only, no time, no randomness.
/// 2. A note MUST NOT be longer than its [`room`](Sent::room), whatever the device sent.
/// 3. `compare` gets the notes of all devices that sent something, by rising DID; suspicions MUST be about
///    these devices, at most one for each, by rising DID. It MUST fail only when a note cannot be read, and SHOULD
///    hold few of them at a time.
/// 4. `inspect` gets what `note` got last; findings MUST name readings in it.
/// 5. `code` MUST be stable across versions; a new meaning gets a new code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a fleet check",
    note = "implement `depin_core::quality::FleetCheck`"
)]
pub trait FleetCheck: Send + Sync + fmt::Debug {
    /// Name with parameters, part of the epoch's manifest: two checks that may judge differently MUST
    /// have different names.
    fn name(&self) -> String;

    /// What to remember of a device.
    fn note(&self, sent: &Sent<'_>) -> Vec<u8>;

    /// Which devices to look at again, and what for, in bytes that only this check reads.
    ///
    /// # Errors
    /// When a note cannot be [read](Notes::read).
    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>>;

    /// Whether it is asked when all other checks of the fleet have been, so that
    /// [`Sent::keeps`] knows what they took.
    fn of_what_is_left(&self) -> bool {
        false
    }

    /// Looks again at what a device sent, with the suspicion of `compare`.
    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding>;
}

/// Most bytes of a [note](FleetCheck::note).
pub const MAX_NOTE: usize = 16 * 1024;
/// A note has at least so many bytes of [room](Sent::room), however many devices there are.
pub const LEAST_NOTE: usize = 1024;

/// What one device sent in an epoch, as a [`FleetCheck`] sees it.
///
/// ```
/// use depin_core::{Did, quality::{LEAST_NOTE, MAX_NOTE, Sent}};
///
/// let device = Did::parse("did:example:a")?;
/// let sent = Sent::new(&device, &[], &[]);
/// assert_eq!((sent.room(), sent.room_for(100).room()), (MAX_NOTE, LEAST_NOTE));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    device: &'a Did,
    batches: &'a [&'a Verified<Batch>],
    indices: &'a [u64],
    lost: &'a [(usize, usize)],
    room: usize,
}

impl<'a> Sent<'a> {
    /// These batches, in chain order, which stand at these places in the log.
    pub const fn new(
        device: &'a Did,
        batches: &'a [&'a Verified<Batch>],
        indices: &'a [u64],
    ) -> Self {
        Self { device, batches, indices, lost: &[], room: MAX_NOTE }
    }

    /// Without the points of some readings, each given by the place of its batch and its position in that,
    /// in rising order.
    #[must_use]
    pub const fn without(self, lost: &'a [(usize, usize)]) -> Self {
        Self { lost, ..self }
    }

    /// With so many bytes for the note, but at least [`LEAST_NOTE`] and at most [`MAX_NOTE`].
    #[must_use]
    pub fn room_for(self, bytes: usize) -> Self {
        Self { room: bytes.clamp(LEAST_NOTE, MAX_NOTE), ..self }
    }

    /// Who sent it.
    pub const fn device(&self) -> &'a Did {
        self.device
    }

    /// The batches, in chain order.
    pub const fn batches(&self) -> &'a [&'a Verified<Batch>] {
        self.batches
    }

    /// Where the batch at this place stands in the log: who was acknowledged first has the lower index. Times
    /// are signed by the device, which can lie; this order nobody makes up afterwards.
    pub fn index(&self, batch: usize) -> u64 {
        self.indices.get(batch).copied().unwrap_or(u64::MAX)
    }

    /// Whether no check that was asked before took the point of a reading, given by the place of its batch and
    /// its position in that. Those asked before are the checks of one device alone and, for a check
    /// that judges [what is left](FleetCheck::of_what_is_left), also the other checks of the fleet.
    pub fn keeps(&self, batch: usize, reading: usize) -> bool {
        self.lost.binary_search(&(batch, reading)).is_err()
    }

    /// Most bytes that the note may have.
    pub const fn room(&self) -> usize {
        self.room
    }
}

/// What one device did in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The device.
    pub device: Did,
    /// Who is paid for it.
    pub beneficiary: Address,
    /// Readings accepted.
    pub readings: u64,
    /// Readings that no finding names.
    pub score: u64,
}

/// What all devices did in one epoch, ordered by DID.
///
/// Reward policies take it only as [`Verified`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributions {
    /// The epoch.
    pub epoch: EpochId,
    /// One entry per device.
    pub entries: Vec<Contribution>,
}
