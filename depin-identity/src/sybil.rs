//! One chip, one identity: names of hardware that do not tell which hardware it is.
//!
//! A chip can attest as many keys as it likes, so a network that counts keys counts some owners many
//! times. A [`Nullifier`] is the same for every identity of one chip in one network, and unrelated to
//! the one in any other network; a registry that takes each nullifier once takes each chip once.
//!
//! What it hides depends on the hardware's id. PSA instance ids and the like are 32 bytes that nobody
//! guesses, but whoever has once seen the id, in evidence or an appraisal, can compute the nullifier in
//! every network. A serial number can simply be tried out: for such hardware use [`Nullifier::keyed`],
//! whose [`Pepper`] the registrar keeps.
//!
//! ```
//! use depin_core::{NetworkId, Signer, SoftwareKey, Algorithm, Timestamp, Unverified, Verified,
//!     evidence::{Appraisal, Appraising, Challenge, Evidence, EvidenceVerifier, Nonce, TrustTier}};
//! use depin_identity::{methods::key::did_key, sybil::Nullifier};
//!
//! // Stands for the verifier of a real attestation format.
//! #[derive(Debug)]
//! struct OneChip;
//! impl EvidenceVerifier for OneChip {
//!     fn appraise(&self, evidence: &Evidence, asked: &Challenge, now: Timestamp) -> depin_core::Result<Appraisal> {
//!         Ok(Appraisal::new(asked.clone(), evidence, b"chip 7".to_vec(), "Chip".into(), TrustTier::Simulated, now))
//!     }
//! }
//! fn appraise(network: &str, device: &SoftwareKey) -> depin_core::Result<Verified<Appraisal>> {
//!     let (key, nonce) = (device.public_key().clone(), Nonce::new([0; 32]));
//!     let challenge = Challenge { network: NetworkId::parse(network)?, nonce, did: did_key(&key), key };
//!     let evidence = Evidence { format: "example".into(), bytes: vec![] };
//!     Unverified::new(evidence).verify(&Appraising { verifier: &OneChip, challenge: &challenge, now: Timestamp::EPOCH })
//! }
//!
//! let honest = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
//! let sybil = SoftwareKey::from_seed(Algorithm::EdDsa, [2; 32]);
//! let first = Nullifier::of(&appraise("climate", &honest)?)?;
//! assert_eq!(first, Nullifier::of(&appraise("climate", &sybil)?)?, "one chip with two keys");
//! assert_ne!(first, Nullifier::of(&appraise("drive", &honest)?)?, "networks cannot compare notes");
//! # Ok::<(), depin_core::Error>(())
//! ```

use core::fmt;

use depin_core::{B256, Error, ErrorKind, Result, Verified, evidence::Appraisal};
use hmac::Mac;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::mac::mac;

/// Separates these names from every other use of HMAC.
const TAG: &[u8] = b"depin/nullifier/v1";
/// Separates the names that need a pepper from those that do not.
const KEYED_TAG: &[u8] = b"depin/nullifier-keyed/v1";

/// The name of one piece of hardware in one network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nullifier(B256);

impl Nullifier {
    /// HMAC-SHA-256 of the network that asked for the appraisal, keyed with the hardware's id.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the appraisal names no hardware.
    pub fn of(appraisal: &Verified<Appraisal>) -> Result<Self> {
        Self::within(appraisal.challenge.network.as_str(), appraisal)
    }

    /// As [`of`](Self::of), for hardware whose ids can be guessed: only who has the pepper can compute it.
    ///
    /// The two kinds of nullifier never agree, so a network must choose one of them for good.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn keyed(pepper: &Pepper, appraisal: &Verified<Appraisal>) -> Result<Self> {
        let hardware = id(appraisal)?;
        let network = appraisal.challenge.network.as_str().as_bytes();
        Ok(Self(name(&*pepper.0, &[KEYED_TAG, hardware, network])))
    }

    /// In a namespace that is no network's.
    pub(crate) fn within(namespace: &str, appraisal: &Verified<Appraisal>) -> Result<Self> {
        let hardware = id(appraisal)?;
        // HMAC fills short keys with zeros and hashes long ones: the length keeps such ids apart.
        let length = (hardware.len() as u64).to_be_bytes();
        Ok(Self(name(hardware, &[TAG, &length, namespace.as_bytes()])))
    }

    /// Reads back one that was stored.
    pub const fn from_b256(word: B256) -> Self {
        Self(word)
    }

    /// The word that a registry stores.
    pub const fn as_b256(&self) -> &B256 {
        &self.0
    }
}

impl From<Nullifier> for B256 {
    fn from(nullifier: Nullifier) -> Self {
        nullifier.0
    }
}

impl fmt::Display for Nullifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Nullifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nullifier({})", self.0)
    }
}

/// The registrar's secret in [`Nullifier::keyed`]: wiped when dropped, never printed.
///
/// It must be kept: a registrar who loses it can no longer recognise the hardware he admitted.
pub struct Pepper(Zeroizing<[u8; 32]>);

impl Pepper {
    /// A fresh one.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// One that was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

fn id(appraisal: &Verified<Appraisal>) -> Result<&[u8]> {
    if appraisal.hardware.is_empty() {
        let message = "the appraisal names no hardware; use a verifier that identifies the root";
        return Err(Error::new(ErrorKind::Rejected, message).with("model", &appraisal.model));
    }
    Ok(&appraisal.hardware)
}

fn name(key: &[u8], parts: &[&[u8]]) -> B256 {
    B256::new(mac(key, parts).finalize().into_bytes().into())
}
