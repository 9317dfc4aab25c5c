//! A verifier that believes which chip it is told of, for tests of what comes after it.

use depin_core::{
    Algorithm, Did, NetworkId, PublicKey, Result, SoftwareKey, Timestamp, Unverified, Verified,
    evidence::{Appraisal, Appraising, Challenge, Evidence, EvidenceVerifier, Nonce, TrustTier},
};

#[derive(Debug)]
struct Chip<'a>(&'a [u8], TrustTier);

impl EvidenceVerifier for Chip<'_> {
    fn appraise(
        &self,
        evidence: &Evidence,
        asked: &Challenge,
        now: Timestamp,
    ) -> Result<Appraisal> {
        let model = "Chip".into();
        Ok(Appraisal::new(asked.clone(), evidence, self.0.to_vec(), model, self.1, now))
    }
}

/// The appraisal of a chip with this id that attested this DID and key.
pub(crate) fn appraise(
    network: &str,
    chip: &[u8],
    did: &Did,
    key: &PublicKey,
) -> Verified<Appraisal> {
    appraise_as(TrustTier::Affirming, network, chip, did, key)
}

pub(crate) fn appraise_as(
    tier: TrustTier,
    network: &str,
    chip: &[u8],
    did: &Did,
    key: &PublicKey,
) -> Verified<Appraisal> {
    let challenge = Challenge {
        network: NetworkId::parse(network).unwrap(),
        nonce: Nonce::new([9; 32]),
        did: did.clone(),
        key: key.clone(),
    };
    let evidence = Evidence { format: "test".into(), bytes: vec![1] };
    let now = Timestamp::from_secs(5);
    let question = Appraising { verifier: &Chip(chip, tier), challenge: &challenge, now };
    Unverified::new(evidence).verify(&question).unwrap()
}

/// A key that follows from a number.
pub(crate) fn key(algorithm: Algorithm, seed: u8) -> SoftwareKey {
    SoftwareKey::from_seed(algorithm, [seed; 32])
}
