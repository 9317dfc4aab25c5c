//! Conformance of [`Attester`] and [`EvidenceVerifier`].
//!
//! The two are tested as a pair, since only a verifier can say what a piece of evidence holds. A [`Pair`]
//! names them, with what the clauses need to attack them.

use depin_core::{
    Algorithm, ErrorKind, NetworkId, PublicKey, Result, Signer, SoftwareKey, Timestamp, Unverified,
    evidence::{Appraisal, Appraising, Attester, Challenge, Evidence, EvidenceVerifier, Nonce},
};

/// Most single-bit changes of one piece of evidence that are tried; larger evidence is sampled evenly.
const MOST_FLIPS: usize = 4096;

/// An attester, and a verifier that trusts it.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The root of trust.
    pub attester: &'a dyn Attester,
    /// Its attestation key.
    pub attestation_key: &'a PublicKey,
    /// A verifier that was configured to trust the attester.
    pub verifier: &'a dyn EvidenceVerifier,
    /// The same kind of verifier, configured with no root, reference value or allowed simulation.
    pub distrusting: &'a dyn EvidenceVerifier,
}

/// Runs every clause of both contracts.
///
/// # Panics
/// When a clause does not hold.
pub fn conforms(pair: Pair<'_>) {
    let challenge = challenge();
    let evidence = pair.attester.attest(&challenge).expect("attester: it answers a challenge");
    let genuine = appraise(pair.verifier, &evidence, &challenge)
        .expect("attester clause 1: evidence that carries the binding is accepted");

    attestation_key_is_no_device_key(pair, &challenge);
    binding_is_exact(pair, &challenge, &evidence);
    received_bytes_count(pair.verifier, &challenge, &evidence);
    missing_trust_refuses(pair, &challenge, &evidence);
    appraising_is_pure(pair.verifier, &challenge, &evidence, &genuine);

    assert_eq!(genuine.challenge, challenge, "clause 6: the appraisal repeats the challenge");
    assert_eq!(genuine.evidence, evidence.hash(), "clause 6: the appraisal names its evidence");
    let judge = Appraising { verifier: pair.verifier, challenge: &challenge, now: NOW };
    let verified = Unverified::new(evidence).verify(&judge);
    assert_eq!(*verified.expect("clause 6: core accepts the appraisal"), genuine);
}

fn attestation_key_is_no_device_key(pair: Pair<'_>, challenge: &Challenge) {
    let own = Challenge { key: pair.attestation_key.clone(), ..challenge.clone() };
    // An attester may leave the refusal to the verifier, but evidence must not come through both.
    if let Ok(evidence) = pair.attester.attest(&own) {
        refused(
            appraise(pair.verifier, &evidence, &own),
            "attester clause 2: the attestation key is not the device key",
        );
    }
}

fn binding_is_exact(pair: Pair<'_>, challenge: &Challenge, evidence: &Evidence) {
    for (field, other) in others(challenge) {
        let what = format!("clause 1: evidence for another {field} is refused");
        refused(appraise(pair.verifier, evidence, &other), &what);
        let fresh = pair.attester.attest(&other).expect("attester: it answers any challenge");
        let what = format!("attester clause 1: the binding covers the {field}");
        appraise(pair.verifier, &fresh, &other).expect(&what);
        refused(appraise(pair.verifier, &fresh, challenge), &what);
    }
}

fn received_bytes_count(
    verifier: &dyn EvidenceVerifier,
    challenge: &Challenge,
    evidence: &Evidence,
) {
    let changed = |bytes| Evidence { format: evidence.format.clone(), bytes };
    let bits = evidence.bytes.len() * 8;
    for bit in (0..bits).step_by(bits.div_ceil(MOST_FLIPS).max(1)) {
        let mut bytes = evidence.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let what = format!("clause 2: bit {bit} cannot change");
        refused(appraise(verifier, &changed(bytes), challenge), &what);
    }
    for length in 0..evidence.bytes.len() {
        let bytes = evidence.bytes[..length].to_vec();
        let what = format!("clause 2: the first {length} bytes are not enough");
        refused(appraise(verifier, &changed(bytes), challenge), &what);
    }
    for tail in [0x00, 0x80, 0xff] {
        let bytes = [evidence.bytes.as_slice(), &[tail]].concat();
        let what = "clause 2: nothing may follow the evidence";
        refused(appraise(verifier, &changed(bytes), challenge), what);
    }
}

fn missing_trust_refuses(pair: Pair<'_>, challenge: &Challenge, evidence: &Evidence) {
    refused(
        appraise(pair.distrusting, evidence, challenge),
        "clauses 3 and 4: without root, reference value or permission by name there is no trust",
    );
    for format in ["", "text/plain", "application/octet-stream"] {
        let odd = Evidence { format: format.into(), bytes: evidence.bytes.clone() };
        let what = format!("clause 3: evidence of format \"{format}\" is refused");
        refused(appraise(pair.verifier, &odd, challenge), &what);
    }
}

fn appraising_is_pure(
    verifier: &dyn EvidenceVerifier,
    challenge: &Challenge,
    evidence: &Evidence,
    genuine: &Appraisal,
) {
    let again = appraise(verifier, evidence, challenge).expect("clause 5: same question");
    assert_eq!(&again, genuine, "clause 5: same question, same answer");
    assert_eq!(genuine.at, NOW, "clause 5: time is the argument");
}

fn refused(outcome: Result<Appraisal>, what: &str) {
    match outcome {
        Ok(appraisal) => panic!("{what}; but it was appraised as {:?}", appraisal.tier),
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Malformed),
            "{what}; but as rejected or malformed, not {error:?}"
        ),
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn appraise(
    verifier: &dyn EvidenceVerifier,
    evidence: &Evidence,
    challenge: &Challenge,
) -> Result<Appraisal> {
    verifier.appraise(evidence, challenge, NOW)
}

/// A challenge to a device with a key of its own.
fn challenge() -> Challenge {
    Challenge {
        network: NetworkId::parse("conformance").expect("a valid network name"),
        nonce: Nonce::new([0x11; 32]),
        did: "did:example:device".parse().expect("a valid did"),
        key: device_key(0x22),
    }
}

/// The challenge with one field changed, for each field.
fn others(challenge: &Challenge) -> [(&'static str, Challenge); 4] {
    let network = NetworkId::parse("conformance-2").expect("a valid network name");
    let did = "did:example:device2".parse().expect("a valid did");
    [
        ("network", Challenge { network, ..challenge.clone() }),
        ("nonce", Challenge { nonce: Nonce::new([0x12; 32]), ..challenge.clone() }),
        ("did", Challenge { did, ..challenge.clone() }),
        ("key", Challenge { key: device_key(0x23), ..challenge.clone() }),
    ]
}

fn device_key(seed: u8) -> PublicKey {
    SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]).public_key().clone()
}

#[cfg(test)]
mod tests {
    use depin_core::{
        Error,
        cose::{self, Sign1},
        evidence::TrustTier,
    };

    use super::*;

    /// The smallest honest pair: a signature over the binding.
    #[derive(Debug)]
    struct Signs(SoftwareKey);

    impl Attester for Signs {
        fn attest(&self, challenge: &Challenge) -> Result<Evidence> {
            let header = cose::plain_header(Algorithm::EdDsa);
            let bytes = cose::sign1(&self.0, &header, challenge.binding().as_slice(), b"")?;
            Ok(Evidence { format: "application/x-signed-binding".into(), bytes })
        }
    }

    /// Trusts one key, and forgets the checks that are switched off.
    #[derive(Debug)]
    struct Trusts {
        root: Option<PublicKey>,
        checks_signature: bool,
        checks_binding: bool,
        checks_format: bool,
        checks_key: bool,
    }

    impl EvidenceVerifier for Trusts {
        fn appraise(
            &self,
            evidence: &Evidence,
            challenge: &Challenge,
            now: Timestamp,
        ) -> Result<Appraisal> {
            let no = || Error::new(ErrorKind::Rejected, "no");
            let root = self.root.as_ref().ok_or_else(no)?;
            let sign1 = Sign1::parse(&evidence.bytes)?;
            let format = evidence.format == "application/x-signed-binding";
            let signed = sign1.is_tagged() && sign1.verify(root, b"", &[]).is_ok();
            let bound = sign1.payload() == challenge.binding().as_slice();
            let holds = (format || !self.checks_format)
                && (signed || !self.checks_signature)
                && (bound || !self.checks_binding)
                && (challenge.key != *root || !self.checks_key);
            let tier = TrustTier::Simulated;
            let name = || String::from("signed binding");
            let challenge = challenge.clone();
            holds
                .then(|| Appraisal::new(challenge, evidence, vec![], name(), tier, now))
                .ok_or_else(no)
        }
    }

    fn run(change: impl FnOnce(&mut Trusts)) {
        let attester = Signs(SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]));
        let key = attester.0.public_key().clone();
        let trusts = |root| Trusts {
            root,
            checks_signature: true,
            checks_binding: true,
            checks_format: true,
            checks_key: true,
        };
        let (mut verifier, distrusting) = (trusts(Some(key.clone())), trusts(None));
        change(&mut verifier);
        conforms(Pair {
            attester: &attester,
            attestation_key: &key,
            verifier: &verifier,
            distrusting: &distrusting,
        });
    }

    #[test]
    fn an_honest_pair_conforms() {
        run(|_| ());
    }

    #[test]
    #[should_panic = "clause 2"]
    fn a_verifier_without_signature_check_is_caught() {
        run(|verifier| verifier.checks_signature = false);
    }

    #[test]
    #[should_panic = "clause 1"]
    fn a_verifier_without_binding_check_is_caught() {
        run(|verifier| verifier.checks_binding = false);
    }

    #[test]
    #[should_panic = "clause 3"]
    fn a_verifier_of_any_format_is_caught() {
        run(|verifier| verifier.checks_format = false);
    }

    #[test]
    #[should_panic = "attester clause 2"]
    fn a_pair_that_shares_its_key_with_the_device_is_caught() {
        run(|verifier| verifier.checks_key = false);
    }
}
