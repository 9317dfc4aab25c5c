//! A link parsed once: first without a key, to find whose it is, then with the verdict of a key.

use alloc::vec::Vec;

use depin_core::{
    B256, Batch, Did, NetworkId, PublicKey, Sequence, Unverified, Verifier,
    cbor::Decoder,
    cose::CoseError,
    envelope::{Envelope, EnvelopeError},
    key::{KeyError, Signature},
};

use super::{
    BatchError, Link,
    gap::{self, Gap},
    link::open,
    payload, root,
};

/// A link of a chain whose signature nobody has checked yet.
pub(crate) struct Parsed<'a> {
    envelope: Envelope<'a>,
    is_gap: bool,
}

/// Where a link claims to stand, nothing checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) device: Did,
    /// Where the chain stands after it.
    pub(crate) sequence: Sequence,
}

/// The place that bytes claim, read without looking at the readings.
pub(crate) fn place(bytes: &[u8], network: &NetworkId) -> Option<Place> {
    let (envelope, is_gap) = open(bytes, network).ok()?;
    let sequence = if is_gap {
        let (_, _, last) = gap::decode(envelope.peek()).ok()?;
        last.sequence
    } else {
        let mut d = Decoder::new(envelope.peek());
        d.map().ok()?;
        payload::key(&mut d, 1).ok()?;
        Sequence::new(d.u64().ok()?)
    };
    Some(Place { device: envelope.signer().clone(), sequence })
}

impl<'a> Parsed<'a> {
    /// Everything that needs no key and no payload.
    pub(crate) fn new(bytes: &'a [u8], network: &NetworkId) -> Result<Self, BatchError> {
        let (envelope, is_gap) = open(bytes, network)?;
        Ok(Self { envelope, is_gap })
    }

    /// Who claims to have signed.
    pub(crate) const fn device(&self) -> &Did {
        self.envelope.signer()
    }

    /// What the key would have to verify, for [`verify_all`](depin_core::key::verify_all).
    pub(crate) fn signed(&self, key: &PublicKey) -> Result<(Vec<u8>, Signature), BatchError> {
        Ok(self.envelope.signed(key)?)
    }

    /// The link, if `key` has signed it. `hash` is that of the bytes.
    pub(crate) fn open(self, key: &PublicKey, hash: B256) -> Result<Link, BatchError> {
        self.envelope.open(key)?;
        self.judged(Ok(()), hash)
    }

    /// The link, if the verdict on what is [`signed`](Self::signed) is good.
    pub(crate) fn judged(
        self,
        verdict: Result<(), KeyError>,
        hash: B256,
    ) -> Result<Link, BatchError> {
        verdict.map_err(|error| EnvelopeError::from(CoseError::from(error)))?;
        let Self { envelope, is_gap } = self;
        let envelope = Unverified::new(envelope);
        if is_gap {
            envelope.verify(&SignedGap(hash)).map(Link::Gap)
        } else {
            envelope.verify(&SignedBatch(hash)).map(Link::Batch)
        }
    }
}

/// Checks what is left once a key has verified the signature: the content.
struct SignedBatch(B256);

impl Verifier<Envelope<'_>> for SignedBatch {
    type Output = Batch;
    type Error = BatchError;

    fn check(&self, envelope: &Envelope<'_>) -> Result<Batch, BatchError> {
        batch(envelope, self.0)
    }
}

/// As [`SignedBatch`] for gap markers.
struct SignedGap(B256);

impl Verifier<Envelope<'_>> for SignedGap {
    type Output = Gap;
    type Error = BatchError;

    fn check(&self, envelope: &Envelope<'_>) -> Result<Gap, BatchError> {
        let (first, previous, last) = gap::decode(envelope.peek())?;
        let device = envelope.signer().clone();
        Ok(Gap { hash: self.0, device, first, previous, last })
    }
}

/// The batch in an envelope whose signature holds.
pub(super) fn batch(envelope: &Envelope<'_>, hash: B256) -> Result<Batch, BatchError> {
    let content = payload::decode(envelope.peek())?;
    if root(&content.readings, content.seed.as_ref()) != content.root {
        return Err(BatchError::Root);
    }
    Ok(Batch {
        hash,
        device: envelope.signer().clone(),
        sequence: content.sequence,
        previous: content.previous,
        root: content.root,
        readings: content.readings,
        salt_seed: content.seed.map(|seed| *seed.as_bytes()),
        sealed: content.sealed,
    })
}
