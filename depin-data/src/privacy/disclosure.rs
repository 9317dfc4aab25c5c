//! Some readings of a batch, provable without the others.
//!
//! The device's signature on a batch covers all its readings, so it cannot be shown to somebody who may
//! see a few. A [`Commitment`] is a second, small signature of the device over the root of the batch's
//! readings: made when the owner wants it, kept by the owner, and no part of what ingest takes. A
//! [`Disclosure`] is a commitment and the readings to show, each with its salt and its path to the root.
//!
//! Only batches with [salted leaves](crate::batch::seal_salted) can be disclosed: from the hash of a plain
//! leaf its value can be found by trying.
//!
//! ```text
//! commitment = envelope (depin_core::envelope) with purpose "root" 1 over {
//!   1: bstr .size 32   SHA-256 of the batch as sent
//!   2: bstr .size 32   root over its salted leaves
//!   3: uint            readings in the batch, 1..=1024
//!   4: uint            sequence
//! }
//! disclosure = {
//!   1: bstr            the commitment
//!   2: [+ [index, name, unit, ms, mantissa, exponent, salt (bstr .size 16), [* bstr .size 32]]]
//! }                    by rising index
//! ```
//!
//! That the log holds the batch is said by its [witness](super::witnessed).
//!
//! Who sees a disclosure learns the device, the hash, sequence and size of the batch, and the readings shown
//! with their times. Of the others it learns that they are there.

use alloc::{format, vec::Vec};

use depin_core::{
    B256, Batch, Bytes, Decimal, Did, Error, ErrorKind, NetworkId, PublicKey, Reading, Result,
    Sequence, Signer, Timestamp, Verified, Verifier,
    cbor::{self, CborError, Decoder, Encoder, decode},
    envelope::{Envelope, EnvelopeError, Purpose},
    reading::Quantity,
};

use crate::{
    batch::{MAX_READINGS, SaltSeed, salted_leaf},
    merkle::{MerkleError, Tree, verify_inclusion},
};

/// What the signature on a commitment says it is for.
pub const DISCLOSURE_PURPOSE: Purpose = Purpose::new("root", 1);
/// Most bytes of a disclosure: all readings of the largest batch.
pub const MAX_DISCLOSURE: usize = 512 * 1024;
/// Most hashes of a path in a batch.
const MAX_PATH: u64 = 10;

/// A device's signature over the root of one of its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment(Bytes);

impl Commitment {
    /// Signs the root of a batch; `signer` is the key that signed the batch.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a batch without salts, or whatever the signer objects to.
    pub fn sign(signer: &dyn Signer, network: &NetworkId, batch: &Verified<Batch>) -> Result<Self> {
        seed_of(batch)?;
        let mut payload = Vec::with_capacity(96);
        Encoder::new(&mut payload)
            .map(4)
            .and_then(|e| {
                e.u8(1)?.bytes(batch.hash.as_slice())?.u8(2)?.bytes(batch.root.as_slice())
            })
            .and_then(|e| {
                e.u8(3)?.u64(batch.readings.len() as u64)?.u8(4)?.u64(batch.sequence.value())
            })
            .map_err(|_| Error::new(ErrorKind::Limit, "the commitment cannot be encoded"))?;
        let signed = Envelope::seal(signer, &batch.device, network, DISCLOSURE_PURPOSE, &payload)?;
        Ok(Self(signed.into()))
    }

    /// The signed bytes, as the owner keeps them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Kept bytes; whether they are a commitment shows when a disclosure is verified.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The root and what goes with it, as the bytes say; nobody has checked who signed them.
    #[cfg(feature = "std")]
    pub(super) fn claimed(&self, network: &NetworkId) -> Result<(B256, Shown), DisclosureError> {
        let envelope = Envelope::parse(&self.0, network, DISCLOSURE_PURPOSE)?;
        committed(envelope.peek(), envelope.signer())
    }

    /// The place in a chain that it says it is about.
    #[cfg(feature = "std")]
    pub(crate) fn place(&self, network: &NetworkId) -> Result<(Did, Sequence)> {
        let (_, claimed) = self.claimed(network)?;
        Ok((claimed.device, claimed.sequence))
    }
}

fn seed_of(batch: &Batch) -> Result<SaltSeed> {
    let why = "the batch has no salts, so hidden readings could be guessed; seal it salted";
    let seed = batch.salt_seed.ok_or_else(|| Error::new(ErrorKind::Config, why))?;
    Ok(SaltSeed::from_bytes(seed))
}

/// Some readings of a batch, as bytes to give to somebody.
///
/// ```
/// use depin_core::{Algorithm, B256, Decimal, NetworkId, Reading, Sequence, Signer, SoftwareKey,
///     Timestamp, Unverified, reading::Quantity};
/// use depin_data::{
///     batch::{BatchVerifier, SaltSeed, seal_salted},
///     privacy::{Commitment, Disclosure, DisclosureVerifier},
/// };
///
/// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
/// let at = Timestamp::from_secs(60);
/// let readings = [("temperature", "Cel", 21), ("heart", "beat/min", 71)]
///     .map(|(name, unit, value)| Reading::new(Quantity::new(name, unit), Decimal::from(value), at));
/// let seed = SaltSeed::from_bytes([7; 16]); // a real device generates one for each batch
/// let sealed = seal_salted(&key, &"did:example:a".parse()?, &network, Sequence::new(0), B256::ZERO, &readings, &seed)?;
/// let batch = Unverified::new(sealed).verify(&BatchVerifier::new(&network, key.public_key()))?;
///
/// // The owner: the temperature, not the heart rate.
/// let commitment = Commitment::sign(&key, &network, &batch)?;
/// let disclosure = Disclosure::of(&batch, &commitment, |reading| reading.quantity().name() == "temperature")?;
///
/// // Whoever is shown it:
/// let shown = Unverified::new(disclosure).verify(&DisclosureVerifier::new(&network, key.public_key()))?;
/// assert_eq!(shown.readings, [(0, readings[0].clone())]);
/// assert_eq!((shown.batch, shown.of), (batch.hash, 2));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure(Bytes);

impl Disclosure {
    /// Shows the readings of `batch` for which `show` says so.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a batch without salts, or when nothing is to be shown.
    pub fn of(
        batch: &Verified<Batch>,
        commitment: &Commitment,
        show: impl Fn(&Reading) -> bool,
    ) -> Result<Self> {
        let seed = seed_of(batch)?;
        let leaves =
            (0..).zip(&batch.readings).map(|(i, reading)| salted_leaf(reading, &seed.salt(i)));
        let (tree, size) = (leaves.collect::<Tree>(), batch.readings.len() as u64);
        let shown: Vec<_> =
            (0..).zip(&batch.readings).filter(|(_, reading)| show(reading)).collect();
        if shown.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a disclosure shows at least one reading"));
        }
        let mut bytes = Vec::new();
        let mut e = Encoder::new(&mut bytes);
        let mut write = || -> Result<(), cbor::encode::Error<core::convert::Infallible>> {
            e.map(2)?.u8(1)?.bytes(commitment.as_bytes())?.u8(2)?.array(shown.len() as u64)?;
            for (index, reading) in &shown {
                let (quantity, value) = (reading.quantity(), reading.value());
                e.array(8)?.u64(*index)?.str(quantity.name())?.str(quantity.unit())?;
                e.u64(reading.at().millis())?.i64(value.mantissa())?.i8(value.exponent())?;
                e.bytes(&seed.salt(*index))?;
                let path = tree.inclusion(*index, size).unwrap_or_default();
                e.array(path.len() as u64)?;
                path.iter().try_for_each(|hash| e.bytes(hash.as_slice()).map(drop))?;
            }
            Ok(())
        };
        write().map_err(|_| Error::new(ErrorKind::Limit, "the disclosure cannot be encoded"))?;
        Ok(Self(bytes.into()))
    }

    /// The bytes to give away.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Received bytes; what they prove is decided by verification.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The commitment that it shows a part of.
    ///
    /// # Errors
    /// [`DisclosureError::Limit`], [`DisclosureError::Encoding`] or [`DisclosureError::Format`] when there is none.
    pub fn commitment(&self) -> Result<Commitment, DisclosureError> {
        let mut d = self.decoder()?;
        Ok(Commitment::from_bytes(d.bytes().map_err(|_| DisclosureError::Format)?.to_vec()))
    }

    /// At the commitment.
    fn decoder(&self) -> Result<Decoder<'_>, DisclosureError> {
        if self.0.len() > MAX_DISCLOSURE {
            return Err(DisclosureError::Limit);
        }
        cbor::check(&self.0)?;
        let mut d = Decoder::new(&self.0);
        entries(&mut d, 2)?;
        key(&mut d, 1)?;
        Ok(d)
    }
}

/// What a disclosure proves. Trust it only as [`Verified<Shown>`](Verified).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who measured and signed.
    pub device: Did,
    /// Hash of the signed batch. That the network's log holds it is for the log to [say](super::witnessed).
    pub batch: B256,
    /// Position of the batch in the device's chain.
    pub sequence: Sequence,
    /// How many readings the batch has.
    pub of: u64,
    /// The readings that are shown, with their positions in the batch, which rise.
    pub readings: Vec<(u64, Reading)>,
}

/// Why a disclosure proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// More than [`MAX_DISCLOSURE`].
    #[error("a disclosure has at most 524288 bytes")]
    Limit,
    /// Not deterministic CBOR.
    #[error("the disclosure is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// Not in the shape of a disclosure.
    #[error("the bytes do not follow the format of a disclosure")]
    Format,
    /// The commitment is malformed, for something else, or its signature does not hold.
    #[error("the commitment: {0}")]
    Commitment(#[from] EnvelopeError),
    /// A reading does not belong to the committed root at its position.
    #[error("a reading is not at its position of the committed batch: {0}")]
    Inclusion(#[from] MerkleError),
    /// The witness is malformed, for something else, or not signed by the log.
    #[error("the witness: {0}")]
    Witness(EnvelopeError),
    /// The witness is about another commitment.
    #[error("the log has witnessed another commitment; ask it for this one")]
    OtherCommitment,
}

impl From<DisclosureError> for Error {
    fn from(error: DisclosureError) -> Self {
        let kind = match &error {
            DisclosureError::Limit => ErrorKind::Limit,
            DisclosureError::Encoding(_) | DisclosureError::Format => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Checks disclosures of one device: its signature, and the place of every reading that is shown.
///
/// The key must be the one that the registry has for the device that the disclosure then names.
#[derive(Clone, Debug)]
pub struct DisclosureVerifier {
    network: NetworkId,
    key: PublicKey,
}

impl DisclosureVerifier {
    /// For batches of `network` that the holder of `key` has signed.
    pub fn new(network: &NetworkId, key: &PublicKey) -> Self {
        Self { network: network.clone(), key: key.clone() }
    }
}

impl Verifier<Disclosure> for DisclosureVerifier {
    type Output = Shown;
    type Error = DisclosureError;

    fn check(&self, candidate: &Disclosure) -> Result<Shown, DisclosureError> {
        let mut d = candidate.decoder()?;
        let shape = |_: decode::Error| DisclosureError::Format;
        let envelope =
            Envelope::parse(d.bytes().map_err(shape)?, &self.network, DISCLOSURE_PURPOSE)?;
        let (root, mut shown) = committed(envelope.open(&self.key)?, envelope.signer())?;
        key(&mut d, 2)?;
        let count = d.array().map_err(shape)?.filter(|count| (1..=shown.of).contains(count));
        for _ in 0..count.ok_or(DisclosureError::Format)? {
            let Entry { index, reading, salt, path } = Entry::decode(&mut d)?;
            if shown.readings.last().is_some_and(|(before, _)| *before >= index) {
                return Err(DisclosureError::Format);
            }
            verify_inclusion(&salted_leaf(&reading, &salt), index, shown.of, &path, &root)?;
            shown.readings.push((index, reading));
        }
        Ok(shown)
    }
}

/// The root and what goes with it.
fn committed(payload: &[u8], device: &Did) -> Result<(B256, Shown), DisclosureError> {
    cbor::check(payload)?;
    let mut d = Decoder::new(payload);
    entries(&mut d, 4)?;
    key(&mut d, 1)?;
    let batch = hash(&mut d)?;
    key(&mut d, 2)?;
    let root = hash(&mut d)?;
    key(&mut d, 3)?;
    let of = d.u64().ok().filter(|of| (1..=MAX_READINGS as u64).contains(of));
    key(&mut d, 4)?;
    let sequence = d.u64().ok().map(Sequence::new).ok_or(DisclosureError::Format)?;
    let of = of.ok_or(DisclosureError::Format)?;
    Ok((root, Shown { device: device.clone(), batch, sequence, of, readings: Vec::new() }))
}

/// One shown reading with its proof.
struct Entry {
    index: u64,
    reading: Reading,
    salt: [u8; 16],
    path: Vec<B256>,
}

impl Entry {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DisclosureError> {
        let shape = |_: decode::Error| DisclosureError::Format;
        if d.array().map_err(shape)? != Some(8) {
            return Err(DisclosureError::Format);
        }
        let index = d.u64().map_err(shape)?;
        let (name, unit) = (d.str().map_err(shape)?, d.str().map_err(shape)?);
        if name.len() > Quantity::MAX_LEN || unit.len() > Quantity::MAX_LEN {
            return Err(DisclosureError::Format);
        }
        let at = Timestamp::from_millis(d.u64().map_err(shape)?);
        let value = Decimal::canonical(d.i64().map_err(shape)?, d.i8().map_err(shape)?);
        let value = value.map_err(|_| DisclosureError::Format)?;
        let salt = d.bytes().ok().and_then(|salt| salt.try_into().ok());
        let salt = salt.ok_or(DisclosureError::Format)?;
        let length = d.array().map_err(shape)?.filter(|length| *length <= MAX_PATH);
        let path = (0..length.ok_or(DisclosureError::Format)?)
            .map(|_| hash(d))
            .collect::<Result<_, _>>()?;
        Ok(Self { index, reading: Reading::new(Quantity::new(name, unit), value, at), salt, path })
    }
}

pub(super) fn entries(d: &mut Decoder<'_>, count: u64) -> Result<(), DisclosureError> {
    let found = d.map().is_ok_and(|found| found == Some(count));
    found.then_some(()).ok_or(DisclosureError::Format)
}

pub(super) fn key(d: &mut Decoder<'_>, expected: u8) -> Result<(), DisclosureError> {
    let found = d.u8().is_ok_and(|found| found == expected);
    found.then_some(()).ok_or(DisclosureError::Format)
}

pub(super) fn hash(d: &mut Decoder<'_>) -> Result<B256, DisclosureError> {
    let bytes = d.bytes().ok().and_then(|bytes| B256::try_from(bytes).ok());
    bytes.ok_or(DisclosureError::Format)
}
