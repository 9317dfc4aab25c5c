//! The log's word that a disclosure is of a batch that it holds.
//!
//! A disclosure shows what a device signed. That the network counted the very same readings only the log can
//! say: who is shown a part cannot hash the whole, so no receipt helps him. The log has the whole, compares the
//! commitment with it, and signs. Device and log then both stand for what is shown, and either one that says
//! something else elsewhere has contradicted its own signature.
//!
//! ```text
//! witness = envelope (depin_core::envelope) with purpose "witness" 1, of the key of the log, over {
//!   1: bstr .size 32   SHA-256 of the commitment
//!   2: uint            index of the batch in the log
//!   3: uint            when, by the log's clock, in ms
//! }
//! ```

use alloc::vec::Vec;

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Result, Timestamp,
    cbor::{self, Decoder, Encoder},
    envelope::{Envelope, Purpose},
};
use sha2::{Digest, Sha256};

use super::disclosure::{Commitment, Disclosure, DisclosureError, entries, hash, key};
use crate::{
    batch,
    receipt::{HeadSigner, ReceiptVerifier},
};

/// What the signature on a witness says it is for.
pub const WITNESS_PURPOSE: Purpose = Purpose::new("witness", 1);

/// What a log says of a disclosure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Witnessed {
    /// The log.
    pub log: Did,
    /// Where in it the batch is.
    pub index: u64,
    /// When it looked.
    pub at: Timestamp,
}

/// Signs that `commitment` is of these `bytes` of a batch, which the log holds at `index`.
pub(crate) fn sign(
    signer: &HeadSigner,
    network: &NetworkId,
    commitment: &Commitment,
    (index, bytes): (u64, &[u8]),
    at: Timestamp,
) -> Result<Vec<u8>> {
    let (root, claimed) = commitment.claimed(network)?;
    let other = || {
        let text = "the commitment is not of the batch that the log holds at its place";
        Error::new(ErrorKind::Rejected, text).with("index", index)
    };
    let held = batch::claim(bytes, network).map_err(|_| other())?;
    let same = B256::from_slice(&Sha256::digest(bytes)) == claimed.batch
        && held.device == claimed.device
        && held.sequence == claimed.sequence
        && held.readings.len() as u64 == claimed.of
        && batch::root(&held.readings, held.salt_seed.as_ref()) == root;
    if !same {
        return Err(other());
    }
    let mut payload = Vec::with_capacity(64);
    Encoder::new(&mut payload)
        .map(3)
        .and_then(|e| e.u8(1)?.bytes(digest(commitment).as_slice())?.u8(2)?.u64(index))
        .and_then(|e| e.u8(3)?.u64(at.millis()))
        .map_err(|_| Error::new(ErrorKind::Limit, "the witness cannot be encoded"))?;
    signer.seal(WITNESS_PURPOSE, &payload)
}

/// Checks what [`Ingest::witness`](crate::ingest::Ingest::witness) answered for the commitment of this
/// disclosure, against the key of the log. The disclosure itself is checked by its
/// [verifier](super::DisclosureVerifier), against the key of the device.
///
/// # Errors
/// [`DisclosureError::Witness`] when the log has not signed that, [`DisclosureError::OtherCommitment`] when it
/// is about another commitment, [`DisclosureError::Format`] when either is malformed.
pub fn witnessed(
    receipts: &ReceiptVerifier,
    disclosure: &Disclosure,
    witness: &[u8],
) -> Result<Witnessed, DisclosureError> {
    witness_of(receipts, &disclosure.commitment()?, witness)
}

/// As [`witnessed`], for the commitment itself.
pub(crate) fn witness_of(
    receipts: &ReceiptVerifier,
    commitment: &Commitment,
    witness: &[u8],
) -> Result<Witnessed, DisclosureError> {
    let envelope = Envelope::parse(witness, receipts.network(), WITNESS_PURPOSE)
        .map_err(DisclosureError::Witness)?;
    let payload = envelope.open(receipts.key()).map_err(DisclosureError::Witness)?;
    cbor::check(payload)?;
    let mut d = Decoder::new(payload);
    entries(&mut d, 3)?;
    key(&mut d, 1)?;
    if hash(&mut d)? != digest(commitment) {
        return Err(DisclosureError::OtherCommitment);
    }
    key(&mut d, 2)?;
    let index = d.u64().map_err(|_| DisclosureError::Format)?;
    key(&mut d, 3)?;
    let at = d.u64().map_err(|_| DisclosureError::Format)?;
    Ok(Witnessed { log: envelope.signer().clone(), index, at: Timestamp::from_millis(at) })
}

fn digest(commitment: &Commitment) -> B256 {
    B256::from_slice(&Sha256::digest(commitment.as_bytes()))
}
