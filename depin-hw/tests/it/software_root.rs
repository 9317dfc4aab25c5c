//! Simulated roots: real tokens that are worth nothing unless the operator says so.

use depin_core::{
    Algorithm, Signer, SoftwareKey, cose,
    evidence::{Attester, Evidence, EvidenceVerifier, TrustTier},
};
use depin_hw::{
    Implementation, Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble, SoftwareRoot,
    policy::PolicyError,
    psa::{Claims, ImplementationId, InstanceId, Lifecycle, Token},
};

use crate::forge::{NOW, cbor, challenge, chip, evidence};

/// Signs as [`chip`] with the key in the protected header, as software roots do.
pub(crate) fn token_with_carried_key(claims: &Claims) -> Evidence {
    token_carrying(&chip(), claims)
}

fn token_carrying(carried: &SoftwareKey, claims: &Claims) -> Evidence {
    let header = cbor(|e| {
        e.map(2).unwrap().i64(cose::ALG).unwrap().i64(-7).unwrap();
        e.i64(cose::KID).unwrap().bytes(&carried.public_key().to_bytes()).unwrap();
    });
    evidence(cose::sign1(&chip(), &header, &claims.encode().unwrap(), b"").unwrap())
}

fn development() -> PsaVerifier {
    PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE))
}

fn refusal(verifier: &PsaVerifier, evidence: &Evidence) -> String {
    verifier.appraise(evidence, &challenge(), NOW).unwrap_err().message().to_owned()
}

/// What the software root says, ready to be changed.
fn simulated_claims() -> Claims {
    let evidence = SoftwareRoot::from_seed([0x41; 32]).attest(&challenge()).unwrap();
    Token::parse(&evidence.bytes).unwrap().peek().clone()
}

#[test]
fn its_token_says_in_the_implementation_id_what_it_is() {
    let claims = simulated_claims();
    assert_eq!(claims.implementation_id, ImplementationId::simulated());
    assert!(claims.implementation_id.as_bytes().starts_with(b"SIMULATED-INSECURE\0"));
    assert_eq!(claims.lifecycle, Lifecycle::AssemblyAndTest);
    assert_eq!(claims.nonce, challenge().binding().as_slice());
    assert_eq!(claims.instance_id, InstanceId::of_key(chip().public_key()));
    let firmware = &claims.components[0];
    assert_eq!(firmware.measurement_value, SoftwareRoot::default_firmware().to_vec());
}

#[test]
fn it_is_refused_unless_it_is_allowed_by_name() {
    let evidence = SoftwareRoot::from_seed([1; 32]).attest(&challenge()).unwrap();
    let simulated = PolicyError::Simulated.to_string();
    for name in ["", "simulated-insecure", "SIMULATED", "SIMULATED-INSECURE "] {
        let verifier = PsaVerifier::new(Policy::default().allow_simulated(name));
        assert_eq!(refusal(&verifier, &evidence), simulated);
    }
    // Neither an entry for its make nor an endorsement of its key is the word of the operator.
    let root = SoftwareRoot::from_seed([1; 32]);
    let make = Implementation::simulated()
        .measurement(SoftwareRoot::COMPONENT, SoftwareRoot::default_firmware().to_vec());
    let verifier = PsaVerifier::new(Policy::default().allow(make));
    assert_eq!(refusal(&verifier, &evidence), simulated);
    let verifier = verifier.endorse(root.instance_id(), root.public_key().clone());
    assert_eq!(refusal(&verifier, &evidence), simulated);

    let appraisal = development().appraise(&evidence, &challenge(), NOW).unwrap();
    assert_eq!(appraisal.tier, TrustTier::Simulated);
    assert_eq!(appraisal.model, SIMULATED_INSECURE);
}

#[test]
fn it_never_counts_as_more_than_simulated() {
    // Claiming a secured chip does not help: simulated roots are in assembly and test, or lie.
    let mut claims = simulated_claims();
    claims.lifecycle = Lifecycle::Secured;
    let refused = refusal(&development(), &token_with_carried_key(&claims));
    assert_eq!(refused, PolicyError::Lifecycle(Lifecycle::Secured).to_string());

    let make = Implementation::simulated()
        .measurement(SoftwareRoot::COMPONENT, SoftwareRoot::default_firmware().to_vec())
        .lifecycle(Lifecycle::Secured);
    let lenient =
        PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE).allow(make));
    let appraisal = lenient.appraise(&token_with_carried_key(&claims), &challenge(), NOW).unwrap();
    assert_eq!(appraisal.tier, TrustTier::Simulated);
}

#[test]
fn the_carried_key_must_be_the_one_its_instance_id_names() {
    let claims = simulated_claims();
    assert!(development().appraise(&token_with_carried_key(&claims), &challenge(), NOW).is_ok());

    let mut stolen = claims.clone();
    stolen.instance_id = SoftwareRoot::from_seed([9; 32]).instance_id();
    let wrong_key = PolicyError::CarriedKey.to_string();
    assert_eq!(refusal(&development(), &token_with_carried_key(&stolen)), wrong_key);

    let bare = crate::forge::signed(&claims, &chip());
    assert_eq!(refusal(&development(), &bare), wrong_key);

    // The right name and key, signed by somebody else.
    let victim = SoftwareKey::from_seed(Algorithm::Es256, [9; 32]);
    let forged = token_carrying(&victim, &stolen);
    assert!(refusal(&development(), &forged).contains("signature does not match"));
}

#[test]
fn other_firmware_must_be_known() {
    let digest = depin_core::B256::repeat_byte(0xf1);
    let evidence = SoftwareRoot::from_seed([1; 32]).measuring(digest).attest(&challenge()).unwrap();
    let unknown = PolicyError::Measurement("App".into()).to_string();
    assert_eq!(refusal(&development(), &evidence), unknown);

    let make = Implementation::simulated().measurement(SoftwareRoot::COMPONENT, digest.to_vec());
    let policy = Policy::default().allow(make).allow_simulated(SIMULATED_INSECURE);
    assert!(PsaVerifier::new(policy).appraise(&evidence, &challenge(), NOW).is_ok());
}

#[test]
fn it_refuses_to_attest_its_own_key() {
    let root = SoftwareRoot::from_seed([1; 32]);
    let own = depin_core::evidence::Challenge { key: root.public_key().clone(), ..challenge() };
    assert!(root.attest(&own).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", SoftwareRoot::from_seed([0x41; 32]));
    assert!(shown.contains(&chip().public_key().to_multikey()), "{shown}");
    assert!(!shown.contains(&"41".repeat(32)) && !shown.contains("65, 65"), "{shown}");
    let shown = format!("{:?}", SimulatedPebble::new(0x1234_5678));
    assert!(!shown.contains("305419896"), "{shown}");
}

#[test]
fn a_pebble_of_any_algorithm_enrolls() {
    for algorithm in Algorithm::ALL {
        let pebble = SimulatedPebble::with_algorithm(3, algorithm);
        let key = pebble.signer().public_key().clone();
        assert_eq!(key.algorithm(), algorithm);
        let challenge = depin_core::evidence::Challenge { key, ..challenge() };
        let evidence = pebble.attester().attest(&challenge).unwrap();
        assert!(development().appraise(&evidence, &challenge, NOW).is_ok());
    }
}
