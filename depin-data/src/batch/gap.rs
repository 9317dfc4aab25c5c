//! Gap markers: what a device signs when its store was full and the oldest batches had to go.
//!
//! A marker is a link of the device's chain as a batch is: sent, receipted and logged. It ties what the log
//! holds to the first batch that the device still has, so that batches signed before the drop stay as they
//! are, and the hole in the readings is the device's own signed word.

use alloc::vec::Vec;

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Result, Sequence, SignedBatch, Signer,
    cbor::{self, Decoder, Encoder},
    envelope::{Envelope, Purpose},
    log::ChainTip,
};

use super::{BatchError, payload};

/// What the signature of a gap marker says it is for.
pub const GAP_PURPOSE: Purpose = Purpose::new("gap", 1);

/// A hole in a device's chain, signed by the device. Trust it only as
/// [`Verified<Gap>`](depin_core::Verified).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Hash of the signed bytes; names the marker everywhere.
    pub hash: B256,
    /// Who signed.
    pub device: Did,
    /// The first batch that is given up.
    pub first: Sequence,
    /// Hash of the batch before it, zero when it is the first of the chain.
    pub previous: B256,
    /// The last batch that is given up, not before the first: the chain goes on after it.
    pub last: ChainTip,
}

/// Signs that the batches from `first` to `last` are given up.
///
/// `previous` is the hash of the batch before `first`, zero when that is the start of the chain. Whatever the
/// log already holds of them stays there.
///
/// # Errors
/// [`ErrorKind::Malformed`] when `last` is before `first`, or whatever the signer objects to.
///
/// ```
/// use depin_core::{Algorithm, B256, NetworkId, Sequence, Signer, SoftwareKey, log::ChainTip};
/// use depin_data::batch::{BatchVerifier, Link, seal_gap};
///
/// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
/// let last = ChainTip { sequence: Sequence::new(9), hash: B256::repeat_byte(9) };
/// let marker = seal_gap(&key, &"did:example:a".parse()?, &network, Sequence::new(0), B256::ZERO, last)?;
///
/// let link = BatchVerifier::new(&network, key.public_key()).link(&marker)?;
/// assert!(matches!(&link, Link::Gap(gap) if gap.last == last));
/// assert_eq!(link.tip_after(None), Some(last));
/// # Ok::<(), depin_data::Error>(())
/// ```
pub fn seal_gap(
    signer: &dyn Signer,
    did: &Did,
    network: &NetworkId,
    first: Sequence,
    previous: B256,
    last: ChainTip,
) -> Result<SignedBatch> {
    if last.sequence < first {
        return Err(BatchError::Format(BACKWARDS).into());
    }
    let mut payload = Vec::with_capacity(96);
    Encoder::new(&mut payload)
        .map(4)
        .and_then(|e| e.u8(1)?.u64(first.value())?.u8(2)?.bytes(previous.as_slice()))
        .and_then(|e| e.u8(3)?.u64(last.sequence.value())?.u8(4)?.bytes(last.hash.as_slice()))
        .map_err(|_| Error::new(ErrorKind::Limit, "the gap marker cannot be encoded"))?;
    Ok(SignedBatch::new(Envelope::seal(signer, did, network, GAP_PURPOSE, &payload)?))
}

const BACKWARDS: &str = "a gap ends before it begins";

/// First sequence, hash before it, end.
pub(super) type Hole = (Sequence, B256, ChainTip);

pub(super) fn decode(bytes: &[u8]) -> Result<Hole, BatchError> {
    const SHAPE: BatchError = BatchError::Format("a gap is a map of two numbers and two hashes");
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    if d.map().ok().flatten() != Some(4) {
        return Err(SHAPE);
    }
    let (first, previous) = position(&mut d, 1).ok_or(SHAPE)?;
    let (sequence, hash) = position(&mut d, 3).ok_or(SHAPE)?;
    if sequence < first {
        return Err(BatchError::Format(BACKWARDS));
    }
    Ok((first, previous, ChainTip { sequence, hash }))
}

/// A sequence under the key `label`, and a hash under the next.
fn position(d: &mut Decoder<'_>, label: u8) -> Option<(Sequence, B256)> {
    payload::key(d, label).ok()?;
    let sequence = Sequence::new(d.u64().ok()?);
    payload::key(d, label + 1).ok()?;
    Some((sequence, payload::hash(d).ok()?))
}
