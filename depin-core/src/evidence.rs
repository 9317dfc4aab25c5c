//! Hardware attestation: what a device proves about itself, and what a network concludes.
//!
//! The roles are those of RFC 9334. An [`Attester`] answers a nonce with [`Evidence`]; an
//! [`EvidenceVerifier`] checks it against the very nonce, DID and key and yields an [`Appraisal`]. The
//! binding makes relayed or replayed evidence worthless.

use alloc::{string::String, vec::Vec};
use core::fmt;

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use crate::{Did, Error, NetworkId, PublicKey, Result, Timestamp, Verifier};

/// A fresh random challenge that a network gives to one device, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// Wraps random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", B256::new(self.0))
    }
}

/// Who must have made the evidence, and for which question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The network that asks.
    pub network: NetworkId,
    /// The question, fresh.
    pub nonce: Nonce,
    /// The identity that wants to enroll.
    pub did: Did,
    /// The key that this identity signs with.
    pub key: PublicKey,
}

impl Challenge {
    /// The 32 bytes that evidence must carry: SHA-256 over a tag and every field, each with its length.
    ///
    /// They fit the nonce or report data of every attestation format.
    pub fn binding(&self) -> B256 {
        let multikey = self.key.to_multikey();
        let fields = [
            self.network.as_str().as_bytes(),
            &self.nonce.0,
            self.did.as_str().as_bytes(),
            multikey.as_bytes(),
        ];
        let mut hash = Sha256::new_with_prefix(b"depin/evidence/v1");
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        B256::new(hash.finalize().into())
    }
}

/// Signed claims of a root of trust, as it made them.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Media type of the format, for example `application/eat+cwt`.
    pub format: String,
    /// The token, never re-encoded.
    pub bytes: Vec<u8>,
}

impl Evidence {
    /// SHA-256 of the token.
    pub fn hash(&self) -> B256 {
        B256::new(Sha256::digest(&self.bytes).into())
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({}, {} bytes)", self.format, self.bytes.len())
    }
}

/// How far the network trusts the hardware, in the words of AR4SI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum TrustTier {
    /// Something is known to be wrong. Also what missing input yields.
    Contraindicated,
    /// A software root of trust: fit for development, worth nothing against an attacker.
    Simulated,
    /// Genuine, with warnings such as a debug state.
    Warning,
    /// Genuine hardware in a known good state.
    Affirming,
}

/// What a verifier concluded about one device.
///
/// Only as [`Verified<Appraisal>`](crate::Verified) does a registry accept it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appraisal {
    /// The question it answers: network, nonce, DID and key.
    pub challenge: Challenge,
    /// Hash of the evidence.
    pub evidence: B256,
    /// Identity of the hardware root, stable over re-attestation.
    pub hardware: Vec<u8>,
    /// Model as the hardware names it.
    pub model: String,
    /// The verdict.
    pub tier: TrustTier,
    /// When it was made.
    pub at: Timestamp,
}

impl Appraisal {
    /// An appraisal of `evidence` that answers `challenge`.
    pub fn new(
        challenge: Challenge,
        evidence: &Evidence,
        hardware: Vec<u8>,
        model: String,
        tier: TrustTier,
        at: Timestamp,
    ) -> Self {
        Self { challenge, evidence: evidence.hash(), hardware, model, tier, at }
    }

    /// SHA-256 that names the appraisal; a registry records it.
    pub fn hash(&self) -> B256 {
        let mut hash = Sha256::new_with_prefix(b"depin/appraisal/v1");
        hash.update(self.challenge.binding());
        hash.update(self.evidence);
        for field in [self.hardware.as_slice(), self.model.as_bytes()] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.update([self.tier as u8]);
        hash.update(self.at.millis().to_be_bytes());
        B256::new(hash.finalize().into())
    }
}

/// A device's root of trust.
///
/// # Contract
/// 1. The evidence MUST carry [`Challenge::binding`] of the very challenge.
/// 2. The attestation key MUST differ from the key in the challenge.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an attester",
    note = "implement `depin_core::evidence::Attester`"
)]
pub trait Attester: Send + Sync + fmt::Debug {
    /// Answers a challenge.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the hardware does not answer now.
    fn attest(&self, challenge: &Challenge) -> Result<Evidence>;
}

/// A network's judge of evidence: cryptographic verification, then policy.
///
/// # Contract
/// 1. `appraise` MUST refuse evidence whose binding is not that of `challenge`.
/// 2. It MUST verify over the bytes as received, up to a root that was configured.
/// 3. It MUST fail closed: a missing claim, reference value or root is a refusal.
/// 4. It MUST refuse simulated roots unless they were allowed by name.
/// 5. It MUST be pure: time is an argument, no I/O.
/// 6. The appraisal MUST repeat the challenge it was given.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot verify evidence",
    note = "implement `depin_core::evidence::EvidenceVerifier`"
)]
pub trait EvidenceVerifier: Send + Sync + fmt::Debug {
    /// Verifies and judges.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) or
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed), naming the claim.
    fn appraise(
        &self,
        evidence: &Evidence,
        challenge: &Challenge,
        now: Timestamp,
    ) -> Result<Appraisal>;
}

/// One question put to one verifier: what turns `Unverified<Evidence>` into `Verified<Appraisal>`.
#[derive(Clone, Copy, Debug)]
pub struct Appraising<'a> {
    /// The judge.
    pub verifier: &'a dyn EvidenceVerifier,
    /// The question.
    pub challenge: &'a Challenge,
    /// The present moment.
    pub now: Timestamp,
}

impl Verifier<Evidence> for Appraising<'_> {
    type Output = Appraisal;
    type Error = Error;

    fn check(&self, evidence: &Evidence) -> Result<Appraisal> {
        let appraisal = self.verifier.appraise(evidence, self.challenge, self.now)?;
        if appraisal.challenge != *self.challenge || appraisal.evidence != evidence.hash() {
            return Err(Error::new(
                crate::ErrorKind::Rejected,
                "the verifier appraised other evidence or another challenge",
            ));
        }
        Ok(appraisal)
    }
}
