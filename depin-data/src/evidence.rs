//! A forked history as signed evidence: two links of one device's chain that cannot both be true.
//!
//! Each link of a chain states hashes: a batch its own at its sequence and that of the batch before it, a
//! gap marker those of the last batch it gives up and of the one before the gap. A chain has one hash at each
//! place and each hash has one place; two links that say otherwise and that the same key signed are a fork, and
//! whoever holds the device's keys can see that without a log, a registry or us.
//!
//! Links of different keys prove nothing. A device that changes its key signs anew what waits, in the places
//! that it had signed with the key before, so an honest device contradicts itself across the change. It earns
//! nothing by that: once the registry names the next key, ingest refuses what the one before signed, so of
//! such a pair only one link is ever stored.
//!
//! The same content signed twice is no fork: ECDSA may sign it with other bytes each time, as a device does
//! that lost power before it kept what it had sent. A place that one key signed anew with other content is one,
//! whatever the reason: a device that gives up what was refused and signs its followers anew makes evidence against
//! itself, and whoever slashes should ask for two links that were both stored or both offered as true.
//!
//! # The bytes
//!
//! Deterministic CBOR, the batch with the smaller SHA-256 first, so that one pair has one encoding and its
//! hash names the evidence:
//!
//! ```text
//! fork  = {0: "depin fork v1", 1: bstr, 2: bstr}           two signed batches or gap markers
//! fault = {0: "depin fork fault v1", 1: tstr network, 2: tstr did, 3: uint position}
//! ```
//!
//! The SHA-256 of the fault is what a slash names: one place of one chain, however many pairs show it.

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, PublicKey, Result, Sequence, SignedBatch, Verifier,
    cbor::{self, CborError, Decoder, Encoder},
    cose::Sign1,
};
use sha2::{Digest, Sha256};

use crate::batch::{self, BatchError, BatchVerifier, Link};

const TAG: &str = "depin fork v1";
const FAULT_TAG: &str = "depin fork fault v1";

/// Most bytes of encoded evidence.
pub const MAX_BYTES: usize = 2 * batch::MAX_BYTES + 64;

/// Why bytes are no evidence of a fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// Not deterministic CBOR.
    #[error("the evidence is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// Not the one encoding of evidence.
    #[error("the evidence breaks its format: {0}")]
    Format(&'static str),
    /// One of the two is no link of a chain of this network that these keys have signed.
    #[error("one of the two is not what the device has signed: {0}")]
    Link(#[from] BatchError),
    /// The two were signed with different keys of the device, as a change of its key makes them.
    #[error("the two were signed with different keys; show two links of one key")]
    Keys,
    /// The two were signed by different devices.
    #[error("the two were signed by different devices")]
    Devices,
    /// Both can be true, or are the same content signed twice.
    #[error("the two do not contradict each other")]
    Consistent,
}

impl From<ForkError> for Error {
    fn from(error: ForkError) -> Self {
        let kind = match &error {
            ForkError::Encoding(_) | ForkError::Format(_) => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Two signed links of a chain, as evidence before it is checked.
///
/// ```
/// use depin_core::{Algorithm, B256, Decimal, NetworkId, Reading, Sequence, Signer, SoftwareKey, Timestamp,
///     Unverified, reading::Quantity};
/// use depin_data::{batch::seal, evidence::{Fork, ForkVerifier}};
///
/// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
/// let batch = |value: i32| {
///     let reading = Reading::new(Quantity::new("t", "Cel"), Decimal::from(value), Timestamp::from_secs(1));
///     seal(&key, &"did:example:a".parse()?, &network, Sequence::new(7), B256::ZERO, &[reading])
/// };
/// let fork = Fork::new(batch(3)?, batch(4)?);
///
/// let received = Unverified::new(Fork::parse(&fork.encode())?);
/// let proof = received.verify(&ForkVerifier::new(&network, &[key.public_key().clone()]))?;
/// assert_eq!((proof.device.as_str(), proof.position), ("did:example:a", Sequence::new(7)));
/// assert_eq!(proof.id, fork.id());
///
/// // A third history of the same place is other evidence of the same fault.
/// let other = Unverified::new(Fork::new(batch(3)?, batch(5)?));
/// let other = other.verify(&ForkVerifier::new(&network, &[key.public_key().clone()]))?;
/// assert!(other.id != proof.id && other.fault() == proof.fault());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork([SignedBatch; 2]);

impl Fork {
    /// Of two links, in either order.
    pub fn new(one: SignedBatch, other: SignedBatch) -> Self {
        Self(if one.hash() <= other.hash() { [one, other] } else { [other, one] })
    }

    /// Reads evidence; whether it proves anything is for [`ForkVerifier`] to say.
    ///
    /// # Errors
    /// [`ForkError::Encoding`] or [`ForkError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ForkError> {
        if bytes.len() > MAX_BYTES {
            return Err(ForkError::Format("too many bytes"));
        }
        cbor::check(bytes)?;
        let mut d = Decoder::new(bytes);
        let mut read = || {
            let head = (d.map()?, d.u8()?, d.str()?, d.u8()?);
            let first = d.bytes()?;
            Ok::<_, cbor::decode::Error>((head, first, d.u8()?, d.bytes()?))
        };
        let ((Some(3), 0, TAG, 1), first, 2, second) =
            read().map_err(|_| ForkError::Format("shape"))?
        else {
            return Err(ForkError::Format("shape"));
        };
        let batches = [first, second].map(|bytes| SignedBatch::new(bytes.to_vec()));
        if batches[0].hash() >= batches[1].hash() {
            return Err(ForkError::Format("the two are out of order or the same"));
        }
        Ok(Self(batches))
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let [first, second] = self.0.each_ref().map(SignedBatch::as_bytes);
        let mut bytes = Vec::with_capacity(64 + first.len() + second.len());
        let written = Encoder::new(&mut bytes)
            .map(3)
            .and_then(|e| e.u8(0)?.str(TAG)?.u8(1)?.bytes(first)?.u8(2)?.bytes(second))
            .is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        bytes
    }

    /// SHA-256 of the [bytes](Self::encode): names this evidence.
    pub fn id(&self) -> B256 {
        B256::new(Sha256::digest(self.encode()).into())
    }

    /// The two, the one with the smaller hash first.
    pub const fn links(&self) -> &[SignedBatch; 2] {
        &self.0
    }
}

/// A fork that its device has signed with one key. Trust it only as [`Verified<Equivocation>`](depin_core::Verified).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Equivocation {
    /// The network that both are for.
    pub network: NetworkId,
    /// Who signed both.
    pub device: Did,
    /// The place of the chain that has two hashes; of a hash that has two places, the earlier.
    pub position: Sequence,
    /// SHA-256 of the two, the smaller first.
    pub links: [B256; 2],
    /// Names the evidence, see [`Fork::id`].
    pub id: B256,
}

impl Equivocation {
    /// Names the fault, which many pairs of links can show: a device that gave one place of its chain several hashes
    /// did wrong once, whoever shows which two of them. What costs a stake goes by this, not by the evidence.
    ///
    /// SHA-256 of network, device and place.
    pub fn fault(&self) -> B256 {
        let mut bytes = Vec::with_capacity(256);
        let written = Encoder::new(&mut bytes)
            .map(4)
            .and_then(|e| e.u8(0)?.str(FAULT_TAG)?.u8(1)?.str(self.network.as_str()))
            .and_then(|e| e.u8(2)?.str(self.device.as_str())?.u8(3)?.u64(self.position.value()))
            .is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        B256::new(Sha256::digest(bytes).into())
    }
}

/// Checks evidence offline, with every key that the device ever had: one of them must have signed both links.
///
/// That the keys belong to the device that the links name is for the caller to know; see
/// [`DeviceRegistry::keys`](depin_core::registry::DeviceRegistry::keys).
#[derive(Clone, Debug)]
pub struct ForkVerifier {
    network: NetworkId,
    keys: Vec<BatchVerifier>,
}

impl ForkVerifier {
    /// For forks in `network` of the device that holds `keys`.
    pub fn new(network: &NetworkId, keys: &[PublicKey]) -> Self {
        let keys = keys.iter().map(|key| BatchVerifier::new(network, key)).collect();
        Self { network: network.clone(), keys }
    }

    /// Both links, if one key has signed both.
    fn links(&self, [first, second]: &[SignedBatch; 2]) -> Result<[Link; 2], ForkError> {
        let mut verdicts = [Err(BatchError::unsigned()), Err(BatchError::unsigned())];
        for key in self.keys.iter().rev() {
            let now = match [key.link(first), key.link(second)] {
                [Ok(one), Ok(other)] => return Ok([one, other]),
                now => now,
            };
            for (verdict, now) in verdicts.iter_mut().zip(now) {
                if verdict.is_err() {
                    *verdict = now.map(drop);
                }
            }
        }
        for verdict in verdicts {
            verdict?;
        }
        Err(ForkError::Keys)
    }
}

impl Verifier<Fork> for ForkVerifier {
    type Output = Equivocation;
    type Error = ForkError;

    fn check(&self, fork: &Fork) -> Result<Equivocation, ForkError> {
        let [first, second] = &fork.0;
        let [one, other] = self.links(&fork.0)?;
        if one.device() != other.device() {
            return Err(ForkError::Devices);
        }
        if is_same_content(first, second) {
            return Err(ForkError::Consistent);
        }
        let position =
            conflict(&statements(&one), &statements(&other)).ok_or(ForkError::Consistent)?;
        let (network, device) = (self.network.clone(), one.device().clone());
        let links = [first.hash(), second.hash()];
        Ok(Equivocation { network, device, position, links, id: fork.id() })
    }
}

/// Whether two links differ in nothing but the signature: then they convict nobody, whoever signed them.
pub(crate) fn is_same_content(one: &SignedBatch, other: &SignedBatch) -> bool {
    payload(one) == payload(other)
}

/// What was signed, without the signature.
fn payload(batch: &SignedBatch) -> Option<&[u8]> {
    Sign1::parse(batch.as_bytes()).ok().map(|sign1| sign1.payload())
}

/// The hashes that a link states, with their places in the chain.
fn statements(link: &Link) -> [Option<(Sequence, B256)>; 2] {
    let end = match link {
        Link::Batch(batch) => (batch.sequence, batch.hash),
        Link::Gap(gap) => (gap.last.sequence, gap.last.hash),
    };
    let before = link.sequence().value().checked_sub(1).map(Sequence::new);
    [Some(end), before.map(|before| (before, link.previous()))]
}

/// The first place with two hashes, or of a hash with two places.
fn conflict(
    one: &[Option<(Sequence, B256)>],
    other: &[Option<(Sequence, B256)>],
) -> Option<Sequence> {
    let pairs = one.iter().flatten().flat_map(|one| other.iter().flatten().map(move |b| (one, b)));
    let contradict = pairs.filter(|((place, hash), (other_place, other_hash))| {
        (place == other_place) != (hash == other_hash)
    });
    contradict.map(|((place, _), (other, _))| *place.min(other)).min()
}
