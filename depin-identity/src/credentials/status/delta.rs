//! Signed changes of a list, for devices that were offline: about 200 bytes instead of a list.
//!
//! A delta leads from one version of one list to a later one. It names the indices that change with
//! their new values, says how long the result may be believed, and binds the digest of the result, so
//! that it fits nothing but the list it was made for. Format: deterministic CBOR
//! `[from, elapsed, life, digest, changes]` (ms, ms, s, 16 bytes, bytes) in our COSE envelope; each
//! change is a varint (LEB128) of twice the distance to the change before, plus the new value.

use alloc::{format, vec::Vec};
use core::time::Duration;

use depin_core::{
    Error, ErrorKind, NetworkId, Signer, Timestamp,
    cbor::{self, Decoder, Encoder, decode},
    document::{DidDocument, Relationships},
    envelope::{Envelope, EnvelopeError, Purpose},
};
use sha2::{Digest, Sha256};

use super::{PublishedList, StatusList};

/// What a delta is signed as.
pub const PURPOSE: Purpose = Purpose::new("status", 1);

/// Most bytes of a delta; past this a new list is cheaper.
pub const MAX_LEN: usize = 64 * 1024;

/// Why a delta is refused. The list stays as it was.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// Not an envelope for this network and purpose, or its signature does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Longer than [`MAX_LEN`].
    #[error("a delta has at most {MAX_LEN} bytes; fetch the list")]
    TooLong,
    /// The payload does not follow the format.
    #[error("the delta does not follow its format")]
    Shape,
    /// Signed by somebody other than the issuer of the list, or with a key that may not assert.
    #[error("the delta is not signed by the issuer of the list")]
    Signer,
    /// It starts from another version: it was applied already, or one before it is missing.
    #[error("the delta starts from {from}, but the list is of {held}; fetch what is between")]
    Order {
        /// The version that it starts from.
        from: Timestamp,
        /// The version at hand.
        held: Timestamp,
    },
    /// It names an entry outside of the list, or one that has the new value already.
    #[error("the delta does not fit the list")]
    Change,
    /// It does not lead to what the issuer signed: it was made for another list.
    #[error("the delta does not lead to the list that its issuer signed")]
    Result,
}

impl From<DeltaError> for Error {
    fn from(error: DeltaError) -> Self {
        let kind = match error {
            DeltaError::Envelope(envelope) => return envelope.into(),
            DeltaError::TooLong => ErrorKind::Limit,
            DeltaError::Shape => ErrorKind::Malformed,
            DeltaError::Order { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

struct Payload<'a> {
    from: Timestamp,
    elapsed: Duration,
    life: Duration,
    digest: [u8; 16],
    changes: &'a [u8],
}

impl PublishedList {
    /// Signs the way from this version to a later one, as the issuer.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when `newer` is no later version of this list, [`ErrorKind::Limit`] when
    /// the result is longer than [`MAX_LEN`], and whatever the signer objects to.
    pub fn delta(
        &self,
        newer: &Self,
        signer: &dyn Signer,
        network: &NetworkId,
    ) -> Result<Vec<u8>, Error> {
        let (from, to) = (self.terms.as_of, newer.terms.as_of);
        let same = (&self.terms.id, &self.terms.issuer, &self.terms.purposes)
            == (&newer.terms.id, &newer.terms.issuer, &newer.terms.purposes);
        if !same || to <= from || self.list.entries() != newer.list.entries() {
            return Err(Error::new(ErrorKind::Conflict, "not a later version of the same list"));
        }
        let payload = Payload {
            from,
            elapsed: to.since(from),
            life: newer.terms.fresh_until.since(to),
            digest: digest(newer),
            changes: &write_changes(&self.list, &newer.list),
        };
        let bytes =
            Envelope::seal(signer, &self.terms.issuer, network, PURPOSE, &write(&payload)?)?;
        if bytes.len() > MAX_LEN { Err(DeltaError::TooLong.into()) } else { Ok(bytes) }
    }

    /// Moves to the version that a delta leads to. `document` is the present one of the list's issuer.
    ///
    /// # Errors
    /// Any [`DeltaError`]; the list stays as it was then.
    pub fn apply(
        &mut self,
        delta: &[u8],
        network: &NetworkId,
        document: &DidDocument,
    ) -> Result<(), DeltaError> {
        if delta.len() > MAX_LEN {
            return Err(DeltaError::TooLong);
        }
        let envelope = Envelope::parse(delta, network, PURPOSE)?;
        if *envelope.signer() != self.terms.issuer || document.id != self.terms.issuer {
            return Err(DeltaError::Signer);
        }
        let mut keys = document.keys(Relationships::ASSERTION);
        let opened = keys.find_map(|key| envelope.open(key).ok());
        let payload = read(opened.ok_or(DeltaError::Signer)?)?;
        if payload.from != self.terms.as_of {
            return Err(DeltaError::Order { from: payload.from, held: self.terms.as_of });
        }
        let mut next = self.clone();
        next.terms.as_of = payload.from.plus(payload.elapsed);
        next.terms.fresh_until = next.terms.as_of.plus(payload.life);
        read_changes(payload.changes, &mut next.list)?;
        if digest(&next) != payload.digest {
            return Err(DeltaError::Result);
        }
        *self = next;
        Ok(())
    }
}

/// Names a version of a list. Half of SHA-256 is enough: only the issuer could look for two lists with
/// one digest, and it may publish what it likes anyway.
fn digest(list: &PublishedList) -> [u8; 16] {
    let mut hash = Sha256::new();
    for text in [list.terms.id.as_str(), list.terms.issuer.as_str()] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.update(list.terms.as_of.millis().to_be_bytes());
    hash.update(list.list.as_bytes());
    let full = hash.finalize();
    full.first_chunk().copied().expect("invariant: sha-256 has 32 bytes")
}

fn write(payload: &Payload<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let too_long = || Error::new(ErrorKind::Overflow, "the delta covers too long a time");
    let elapsed = u64::try_from(payload.elapsed.as_millis()).map_err(|_| too_long())?;
    Encoder::new(&mut bytes)
        .array(5)
        .and_then(|e| e.u64(payload.from.millis())?.u64(elapsed)?.u64(payload.life.as_secs()))
        .and_then(|e| e.bytes(&payload.digest)?.bytes(payload.changes))
        .map_err(|_| too_long())?;
    Ok(bytes)
}

fn read(bytes: &[u8]) -> Result<Payload<'_>, DeltaError> {
    cbor::check(bytes).map_err(|_| DeltaError::Shape)?;
    let mut decoder = Decoder::new(bytes);
    let mut payload = || -> Result<_, decode::Error> {
        if decoder.array()? != Some(5) {
            return Err(decode::Error::message("not five items"));
        }
        Ok(Payload {
            from: Timestamp::from_millis(decoder.u64()?),
            elapsed: Duration::from_millis(decoder.u64()?),
            life: Duration::from_secs(decoder.u64()?),
            digest: decoder
                .bytes()?
                .try_into()
                .map_err(|_| decode::Error::message("not 16 bytes"))?,
            changes: decoder.bytes()?,
        })
    };
    payload().ok().filter(|payload| !payload.elapsed.is_zero()).ok_or(DeltaError::Shape)
}

fn write_changes(old: &StatusList, new: &StatusList) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    let pairs = old.as_bytes().iter().zip(new.as_bytes()).enumerate();
    for (at, (was, is)) in pairs.filter(|(_, (was, is))| was != is) {
        for index in (0..8).filter(|bit| (was ^ is) & (0x80 >> bit) != 0).map(|bit| at * 8 + bit) {
            let value = new.get(index).unwrap_or_default();
            write_varint(&mut bytes, ((index - next) as u64) << 1 | u64::from(value));
            next = index + 1;
        }
    }
    bytes
}

fn read_changes(mut bytes: &[u8], list: &mut StatusList) -> Result<(), DeltaError> {
    let mut next = 0_usize;
    while !bytes.is_empty() {
        let change = read_varint(&mut bytes)?;
        let value = change & 1 == 1;
        let gap = usize::try_from(change >> 1).map_err(|_| DeltaError::Change)?;
        let index = next.checked_add(gap).ok_or(DeltaError::Change)?;
        if list.set(index, value).map_err(|_| DeltaError::Change)? == value {
            return Err(DeltaError::Change);
        }
        next = index + 1;
    }
    Ok(())
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// At most four bytes, in the shortest form: an index and a value have 25 bits.
fn read_varint(bytes: &mut &[u8]) -> Result<u64, DeltaError> {
    let mut value = 0;
    for at in 0..4 {
        let (byte, rest) = bytes.split_first().ok_or(DeltaError::Shape)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return if *byte == 0 && at > 0 { Err(DeltaError::Shape) } else { Ok(value) };
        }
    }
    Err(DeltaError::Shape)
}
