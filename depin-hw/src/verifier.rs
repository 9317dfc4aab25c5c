//! The judge of PSA tokens: signature first, then policy.

use alloc::{collections::BTreeMap, string::String};

use depin_core::{
    PublicKey, Result, Timestamp,
    evidence::{Appraisal, Challenge, Evidence, EvidenceVerifier},
};

use crate::{
    policy::{Policy, PolicyError},
    psa::{InstanceId, Token},
};

/// Media types that carry a PSA token, without parameters. The second is of the legacy profile.
const MEDIA_TYPES: [&str; 2] = ["application/eat+cwt", "application/psa-attestation-token"];

/// Verifies PSA tokens up to endorsed attestation keys, and judges them by a [`Policy`].
///
/// An endorsement is what a manufacturer vouches for: this instance id has this attestation key. The one
/// exception are software roots, which nobody endorses: when the policy allows them by name, the key that
/// the token carries counts if the instance id is its hash. That proves possession of a key that anyone
/// can make, and no hardware, which the tier [`Simulated`](depin_core::evidence::TrustTier::Simulated)
/// says; no other token may bring its own key.
///
/// One chip can answer for many DIDs. [`Appraisal::hardware`] is its instance id, so that a registry can
/// count it once.
///
/// ```
/// use depin_core::evidence::{Attester, Challenge, EvidenceVerifier, Nonce, TrustTier};
/// use depin_core::{NetworkId, Signer, Timestamp};
/// use depin_hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble};
///
/// let pebble = SimulatedPebble::new(7);
/// let challenge = Challenge {
///     network: NetworkId::parse("climate")?,
///     nonce: Nonce::new([3; 32]),
///     did: "did:example:station".parse()?,
///     key: pebble.signer().public_key().clone(),
/// };
/// let evidence = pebble.attester().attest(&challenge)?;
///
/// let production = PsaVerifier::new(Policy::default());
/// assert!(production.appraise(&evidence, &challenge, Timestamp::EPOCH).is_err());
///
/// let development = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
/// let appraisal = development.appraise(&evidence, &challenge, Timestamp::EPOCH)?;
/// assert_eq!(appraisal.tier, TrustTier::Simulated);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PsaVerifier {
    policy: Policy,
    endorsed: BTreeMap<InstanceId, PublicKey>,
}

impl PsaVerifier {
    /// A verifier that knows no device yet.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, endorsed: BTreeMap::new() }
    }

    /// Trusts `key` as the attestation key of one instance; a second endorsement replaces the first.
    #[must_use]
    pub fn endorse(mut self, instance: InstanceId, key: PublicKey) -> Self {
        self.endorsed.insert(instance, key);
        self
    }

    /// The key to verify with. Only claims that a later check confirms may lead to it.
    fn attestation_key(&self, token: &Token<'_>) -> Result<PublicKey, PolicyError> {
        let claims = token.peek();
        if let Some(key) = self.endorsed.get(&claims.instance_id) {
            return Ok(key.clone());
        }
        if !claims.implementation_id.is_simulated() {
            return Err(PolicyError::Unendorsed(claims.instance_id));
        }
        if !self.policy.allows_simulated() {
            return Err(PolicyError::Simulated);
        }
        let carried = token.carried_key();
        carried
            .filter(|key| InstanceId::of_key(key) == claims.instance_id)
            .ok_or(PolicyError::CarriedKey)
    }
}

impl EvidenceVerifier for PsaVerifier {
    fn appraise(
        &self,
        evidence: &Evidence,
        challenge: &Challenge,
        now: Timestamp,
    ) -> Result<Appraisal> {
        let media_type = evidence.format.split(';').next().unwrap_or_default().trim();
        if !MEDIA_TYPES.contains(&media_type) {
            return Err(PolicyError::Format.into());
        }
        let token = Token::parse(&evidence.bytes)?;
        let key = self.attestation_key(&token)?;
        if key == challenge.key {
            return Err(PolicyError::SharedKey.into());
        }
        let claims = token.verify(&key)?;
        if claims.nonce != challenge.binding().as_slice() {
            return Err(PolicyError::Binding.into());
        }
        let (make, tier) = self.policy.judge(claims)?;
        Ok(Appraisal::new(
            challenge.clone(),
            evidence,
            claims.instance_id.as_bytes().to_vec(),
            String::from(make.model()),
            tier,
            now,
        ))
    }
}
