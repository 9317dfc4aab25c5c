//! Signed batches: the wire format, sealing on the device, verification everywhere else.
//!
//! # The bytes
//!
//! A batch is a COSE_Sign1 as [`depin_core::envelope`] writes it (DID as key id, critical domain of
//! network, [`PURPOSE`] and version) over this payload in deterministic CBOR, at most [`MAX_BYTES`] in all:
//!
//! ```text
//! payload = {
//!   1: uint                  sequence, from 0
//!   2: bstr .size 32         SHA-256 of the device's previous batch as sent; zeros for the first
//!   3: bstr .size 32         RFC 9162 root over the readings' leaves
//!   4: [*256 [name, unit]]   quantities, in the order of first use, each used, none twice;
//!                            name is tstr of 1..=32 bytes, unit tstr of 0..=32, no control characters
//!   5: uint                  time of the first reading, ms since the Unix epoch, below 2^63
//!   6: [*4096 int]           four integers for each of at most 1024 readings:
//!                              index into 4,
//!                              ms since the reading before (signed; 0 for the first),
//!                              mantissa (64 bits), exponent (-12..=6)
//!   ? 7: bstr .size 16       seed of the leaves' salts, fresh in each batch that has one
//!   ? 8: bstr .size 49..     readings that one reader alone can open: crate::privacy::seal_readings
//! }
//! ```
//!
//! A value is `mantissa * 10^exponent` without trailing zeros in the mantissa, as
//! [`Decimal`](depin_core::Decimal) keeps it. Whatever could be written in a second way is refused, so
//! one content has one encoding and a hash names it.
//!
//! Sealed readings are signed and stored with the rest and stand for nothing: they are in no tree, no check sees them
//! and none is paid for. A batch may consist of them alone; then 4 and 6 are empty, 5 is 0, and there is no 7.
//! Otherwise there is at least one reading.
//!
//! A leaf is self-contained, so that one reading can be shown without the rest:
//!
//! ```text
//! leaf = SHA-256(0x00 || [name, unit, ms since the Unix epoch, mantissa, exponent])
//! ```
//!
//! Measured values can be guessed and then their hashes recognised. In a batch with a seed every leaf holds a
//! salt of its own, so that the leaves beside a reading that is shown tell nothing:
//!
//! ```text
//! salt = first 16 bytes of SHA-256(0x02 || seed || index of the reading, 8 bytes big-endian)
//! leaf = SHA-256(0x00 || [name, unit, ms since the Unix epoch, mantissa, exponent, salt (bstr)])
//! ```
//!
//! # Where batches are missing
//!
//! A device whose store is full drops its oldest batches and signs that it did. The marker takes their place
//! in the chain: the same envelope with [`GAP_PURPOSE`], over
//!
//! ```text
//! payload = {
//!   1: uint                  sequence of the first batch that is given up
//!   2: bstr .size 32         SHA-256 of the batch before it as sent; zeros where 1 is 0
//!   3: uint                  sequence of the last batch that is given up, not less than 1
//!   4: bstr .size 32         SHA-256 of that batch as signed: what the next batch names as its previous
//! }
//! ```
//!
//! A receipt may be lost, so a marker may give up what the log holds: its hashes must agree with those that
//! the log knows, and it must end after the last of them. See [`tip_after`].

use alloc::format;

use depin_core::{
    B256, Batch, Did, Error, ErrorKind, NetworkId, PublicKey, Reading, Result, Sequence,
    SignedBatch, Signer, Verifier,
    cbor::CborError,
    cose::CoseError,
    envelope::{Envelope, EnvelopeError, Purpose},
    transport::RefusalCode,
};

mod gap;
mod leaf;
mod link;
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only ingest needs all of it"))]
mod parsed;
mod payload;

pub(crate) use link::{Claim, claim};
pub(crate) use parsed::Parsed;
#[cfg(feature = "std")]
pub(crate) use parsed::{Place, place};
pub(crate) use payload::check;
#[cfg(feature = "hpke")]
pub(crate) use payload::{decode_readings, encode_readings};

pub use gap::{GAP_PURPOSE, Gap, seal_gap};
pub use leaf::{SaltSeed, leaf, root, salted_leaf};
pub use link::{Link, claimed_signer, tip_after};

/// What the signature says it is for.
pub const PURPOSE: Purpose = Purpose::new("batch", 1);
/// Most readings in a batch.
pub const MAX_READINGS: usize = 1024;
/// Most bytes of a signed batch.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most different quantities in a batch.
pub const MAX_QUANTITIES: usize = 256;

/// Why bytes are not an acceptable batch. [`code`](Self::code) is what the device is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// More than [`MAX_BYTES`].
    #[error("the batch has more than 65536 bytes; put fewer readings into it")]
    Bytes,
    /// More than [`MAX_READINGS`].
    #[error("the batch has more than 1024 readings; split it")]
    Readings,
    /// The envelope is malformed, for something else, or its signature does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is not deterministic CBOR.
    #[error("the payload is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// The payload is not the one encoding of a batch.
    #[error("the payload breaks the batch format: {0}")]
    Format(&'static str),
    /// The readings do not hash to the root in the batch.
    #[error("the readings do not hash to the root in the batch")]
    Root,
}

impl BatchError {
    /// The refusal that this is.
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::Bytes | Self::Readings => RefusalCode::TooLarge,
            Self::Envelope(EnvelopeError::Network { .. }) => RefusalCode::WrongNetwork,
            Self::Envelope(EnvelopeError::Purpose { .. }) => RefusalCode::WrongPurpose,
            Self::Envelope(EnvelopeError::Cose(CoseError::Signature(_) | CoseError::Confusion)) => {
                RefusalCode::BadSignature
            }
            _ => RefusalCode::Malformed,
        }
    }
}

#[cfg(feature = "std")]
impl BatchError {
    /// No key verifies it.
    pub(crate) fn unsigned() -> Self {
        Self::Envelope(CoseError::from(depin_core::key::KeyError::Signature).into())
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        let kind = match error.code() {
            RefusalCode::TooLarge => ErrorKind::Limit,
            RefusalCode::Malformed => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).with("code", error.code()).source(error)
    }
}

/// Signs readings as the next batch of a device's chain.
///
/// `previous` is the [hash](SignedBatch::hash) of the device's batch before, zero for the first. The
/// [`Outbox`](crate::outbox::Outbox) keeps count of both.
///
/// # Errors
/// [`ErrorKind::Limit`] for no readings or more than the format takes, [`ErrorKind::Malformed`] for a
/// quantity that it cannot carry, or whatever the signer objects to.
///
/// ```
/// use depin_core::{Algorithm, B256, Decimal, NetworkId, Reading, Sequence, Signer, SoftwareKey,
///     Timestamp, Unverified, reading::Quantity};
/// use depin_data::batch::{BatchVerifier, seal};
///
/// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
/// let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::parse("4.9")?, Timestamp::from_secs(60));
/// let sealed = seal(&key, &"did:example:a".parse()?, &network, Sequence::new(0), B256::ZERO, &[reading.clone()])?;
///
/// let batch = Unverified::new(sealed.clone()).verify(&BatchVerifier::new(&network, key.public_key()))?;
/// assert_eq!(batch.readings, [reading]);
/// assert_eq!(batch.hash, sealed.hash());
/// # Ok::<(), depin_data::Error>(())
/// ```
pub fn seal(
    signer: &dyn Signer,
    did: &Did,
    network: &NetworkId,
    sequence: Sequence,
    previous: B256,
    readings: &[Reading],
) -> Result<SignedBatch> {
    seal_with(signer, did, network, sequence, previous, readings, Extras::default())
}

/// What a batch holds beside its readings.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "the format has no more")]
pub struct Extras<'a> {
    /// Salts the leaves, so that parts of the batch can be shown without telling the rest.
    pub seed: Option<&'a SaltSeed>,
    /// Readings for one reader alone, as `privacy::seal_readings` seals them.
    pub sealed: Option<&'a [u8]>,
}

/// As [`seal`], with more than readings; where something is sealed, `readings` may be empty.
///
/// # Errors
/// As for [`seal`].
pub fn seal_with(
    signer: &dyn Signer,
    did: &Did,
    network: &NetworkId,
    sequence: Sequence,
    previous: B256,
    readings: &[Reading],
    extras: Extras<'_>,
) -> Result<SignedBatch> {
    let payload = payload::encode(sequence, previous, readings, extras)?;
    let bytes = Envelope::seal(signer, did, network, PURPOSE, &payload)?;
    if bytes.len() > MAX_BYTES {
        return Err(BatchError::Bytes.into());
    }
    Ok(SignedBatch::new(bytes))
}

/// As [`seal`], with salted leaves: parts of the batch can be shown without telling the rest.
///
/// # Errors
/// As for [`seal`].
pub fn seal_salted(
    signer: &dyn Signer,
    did: &Did,
    network: &NetworkId,
    sequence: Sequence,
    previous: B256,
    readings: &[Reading],
    seed: &SaltSeed,
) -> Result<SignedBatch> {
    let extras = Extras { seed: Some(seed), sealed: None };
    seal_with(signer, did, network, sequence, previous, readings, extras)
}

fn bounded(bytes: &[u8]) -> Result<(), BatchError> {
    if bytes.len() > MAX_BYTES { Err(BatchError::Bytes) } else { Ok(()) }
}

/// Checks batches that one key has signed: format, network, signature over the received bytes, root.
///
/// The key must be the one that belongs to the [claimed signer](claimed_signer); whether the batch fits
/// into the device's chain is the log's to say.
#[derive(Clone, Debug)]
pub struct BatchVerifier {
    network: NetworkId,
    key: PublicKey,
}

impl BatchVerifier {
    /// For batches of `network` that the holder of `key` has signed.
    pub fn new(network: &NetworkId, key: &PublicKey) -> Self {
        Self { network: network.clone(), key: key.clone() }
    }
}

impl Verifier<SignedBatch> for BatchVerifier {
    type Output = Batch;
    type Error = BatchError;

    fn check(&self, candidate: &SignedBatch) -> Result<Batch, BatchError> {
        bounded(candidate.as_bytes())?;
        let envelope = Envelope::parse(candidate.as_bytes(), &self.network, PURPOSE)?;
        envelope.open(&self.key)?;
        parsed::batch(&envelope, candidate.hash())
    }
}
