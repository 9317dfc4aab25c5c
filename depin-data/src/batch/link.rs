//! A link of a device's chain: a batch, or a marker where batches were given up.

use alloc::vec::Vec;

use depin_core::{
    B256, Batch, Did, NetworkId, Reading, Sequence, SignedBatch, Timestamp, Verified,
    envelope::{Envelope, EnvelopeError},
    log::{ChainTip, NewBatch},
};

use super::{
    BatchError, BatchVerifier, PURPOSE, Parsed, SaltSeed, bounded,
    gap::{self, GAP_PURPOSE, Gap},
    payload,
};

/// What an entry of the log is, verified: see [`BatchVerifier::link`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a chain consists of batches and of holes")]
pub enum Link {
    /// Readings.
    Batch(Verified<Batch>),
    /// No readings: the device gave some up.
    Gap(Verified<Gap>),
}

impl Link {
    /// Who signed.
    pub fn device(&self) -> &Did {
        match self {
            Self::Batch(batch) => &batch.device,
            Self::Gap(gap) => &gap.device,
        }
    }

    /// Where it stands in the chain; a gap where it begins.
    pub fn sequence(&self) -> Sequence {
        match self {
            Self::Batch(batch) => batch.sequence,
            Self::Gap(gap) => gap.first,
        }
    }

    /// The hash that it names as the one before.
    pub fn previous(&self) -> B256 {
        match self {
            Self::Batch(batch) => batch.previous,
            Self::Gap(gap) => gap.previous,
        }
    }

    /// The end of a gap; `None` for a batch.
    pub fn covers(&self) -> Option<ChainTip> {
        match self {
            Self::Batch(_) => None,
            Self::Gap(gap) => Some(gap.last),
        }
    }

    /// The readings; a gap has none.
    pub fn readings(&self) -> &[Reading] {
        match self {
            Self::Batch(batch) => &batch.readings,
            Self::Gap(_) => &[],
        }
    }

    /// Readings for one reader alone, if there are any.
    pub fn sealed(&self) -> Option<&[u8]> {
        match self {
            Self::Batch(batch) => batch.sealed.as_deref(),
            Self::Gap(_) => None,
        }
    }

    /// Where the chain stands after this link, if it goes on from `tip`. See [`tip_after`].
    pub fn tip_after(&self, tip: Option<ChainTip>) -> Option<ChainTip> {
        let hash = match self {
            Self::Batch(batch) => batch.hash,
            Self::Gap(gap) => gap.hash,
        };
        tip_after(tip, self.sequence(), self.previous(), hash, self.covers())
    }

    /// As a log takes it. `batch` are the bytes that were verified.
    pub fn into_new(self, received: Timestamp, batch: SignedBatch) -> NewBatch {
        let (sequence, previous, covers) = (self.sequence(), self.previous(), self.covers());
        let device = match self {
            Self::Batch(batch) => batch.into_inner().device,
            Self::Gap(gap) => gap.into_inner().device,
        };
        NewBatch { device, sequence, previous, covers, received, batch }
    }
}

/// Where a chain stands after a link at `sequence` with these `previous` and own `hash`, or `None` when it
/// does not go on from `tip`.
///
/// A batch goes on directly. A gap (`covers` says where it ends) may begin at or before the tip, because its
/// device cannot know what the log took last; it must end after the tip.
pub fn tip_after(
    tip: Option<ChainTip>,
    sequence: Sequence,
    previous: B256,
    hash: B256,
    covers: Option<ChainTip>,
) -> Option<ChainTip> {
    let (next, before) = match tip {
        Some(tip) => (tip.sequence.next()?, tip.hash),
        None => (Sequence::new(0), B256::ZERO),
    };
    let direct = sequence == next && previous == before;
    match covers {
        None => direct.then_some(ChainTip { sequence, hash }),
        Some(end) => (end.sequence >= next && (direct || sequence < next)).then_some(end),
    }
}

impl BatchVerifier {
    /// Verifies whatever may stand in a device's chain: a batch or a gap marker.
    ///
    /// # Errors
    /// As for batches.
    pub fn link(&self, candidate: &SignedBatch) -> Result<Link, BatchError> {
        Parsed::new(candidate.as_bytes(), &self.network)?.open(&self.key, candidate.hash())
    }
}

/// Who a batch or gap marker says has signed it: to find the key, and for nothing else.
///
/// # Errors
/// The first [`BatchError`] that needs no key and no payload.
pub fn claimed_signer(bytes: &[u8], network: &NetworkId) -> Result<Did, BatchError> {
    Ok(open(bytes, network)?.0.signer().clone())
}

/// The envelope of a link, and whether it is a gap marker.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    network: &NetworkId,
) -> Result<(Envelope<'a>, bool), BatchError> {
    bounded(bytes)?;
    match Envelope::parse(bytes, network, PURPOSE) {
        Err(wrong @ EnvelopeError::Purpose { .. }) => {
            let gap = Envelope::parse(bytes, network, GAP_PURPOSE).map_err(|_| wrong)?;
            Ok((gap, true))
        }
        batch => Ok((batch?, false)),
    }
}

/// What a link says, signature not checked: for a device's own store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) device: Did,
    pub(crate) sequence: Sequence,
    pub(crate) previous: B256,
    pub(crate) covers: Option<ChainTip>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) salt_seed: Option<SaltSeed>,
    pub(crate) sealed: Option<Vec<u8>>,
}

pub(crate) fn claim(bytes: &[u8], network: &NetworkId) -> Result<Claim, BatchError> {
    let (envelope, is_gap) = open(bytes, network)?;
    let device = envelope.signer().clone();
    if is_gap {
        let (sequence, previous, last) = gap::decode(envelope.peek())?;
        return Ok(Claim {
            device,
            sequence,
            previous,
            covers: Some(last),
            readings: Vec::new(),
            salt_seed: None,
            sealed: None,
        });
    }
    let content = payload::decode(envelope.peek())?;
    let payload::Content { sequence, previous, readings, seed: salt_seed, sealed, .. } = content;
    Ok(Claim { device, sequence, previous, covers: None, readings, salt_seed, sealed })
}
