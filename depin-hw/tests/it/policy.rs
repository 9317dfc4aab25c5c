//! Verified is not yet trusted.

use depin_core::{
    ErrorKind, Signer,
    evidence::{Appraisal, Challenge, Evidence, EvidenceVerifier, TrustTier},
};
use depin_hw::{
    Implementation, Policy, PsaVerifier,
    policy::PolicyError,
    psa::{Claims, Component, ImplementationId, InstanceId, Lifecycle},
};

use crate::forge::{BOARD, BOOTLOADER, NOW, board_claims, challenge, chip, device, signed};

fn board() -> Implementation {
    Implementation::new(BOARD, "weather board").measurement("BL", BOOTLOADER)
}

fn appraise(
    make: Implementation,
    change: impl FnOnce(&mut Claims),
) -> Result<Appraisal, PolicyError> {
    let mut claims = board_claims(&challenge());
    change(&mut claims);
    judge(&endorsed(Policy::default().allow(make)), &signed(&claims, &chip()), &challenge())
}

fn endorsed(policy: Policy) -> PsaVerifier {
    let key = chip().public_key().clone();
    PsaVerifier::new(policy).endorse(InstanceId::of_key(&key), key)
}

fn judge(
    verifier: &PsaVerifier,
    evidence: &Evidence,
    challenge: &Challenge,
) -> Result<Appraisal, PolicyError> {
    verifier.appraise(evidence, challenge, NOW).map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let cause = std::error::Error::source(&error).and_then(|it| it.downcast_ref());
        PolicyError::clone(cause.expect("a policy error"))
    })
}

#[test]
fn a_secured_board_with_known_software_is_affirmed() {
    let appraisal = appraise(board(), |_| ()).unwrap();
    assert_eq!(appraisal.tier, TrustTier::Affirming);
    assert_eq!(appraisal.model, "weather board");
    assert_eq!(appraisal.hardware, InstanceId::of_key(chip().public_key()).as_bytes());
    assert_eq!(appraisal.at, NOW);
}

#[test]
fn an_empty_policy_refuses_genuine_hardware() {
    let evidence = signed(&board_claims(&challenge()), &chip());
    let refused = judge(&endorsed(Policy::default()), &evidence, &challenge());
    assert_eq!(refused, Err(PolicyError::Implementation(BOARD)));
}

#[test]
fn an_instance_that_nobody_endorsed_is_refused() {
    let evidence = signed(&board_claims(&challenge()), &chip());
    let verifier = PsaVerifier::new(Policy::default().allow(board()));
    let instance = InstanceId::of_key(chip().public_key());
    assert_eq!(judge(&verifier, &evidence, &challenge()), Err(PolicyError::Unendorsed(instance)));
}

#[test]
fn another_make_is_refused() {
    let other = ImplementationId::new([0xab; 32]);
    let refused = appraise(board(), |claims| claims.implementation_id = other);
    assert_eq!(refused, Err(PolicyError::Implementation(other)));
}

#[test]
fn states_other_than_secured_need_permission_and_are_never_affirmed() {
    for state in [
        Lifecycle::Unknown,
        Lifecycle::AssemblyAndTest,
        Lifecycle::Provisioning,
        Lifecycle::Debug,
        Lifecycle::RootDebug,
        Lifecycle::Decommissioned,
    ] {
        let refused = appraise(board(), |claims| claims.lifecycle = state);
        assert_eq!(refused, Err(PolicyError::Lifecycle(state)));
        let warned = appraise(board().lifecycle(state), |claims| claims.lifecycle = state);
        assert_eq!(warned.unwrap().tier, TrustTier::Warning);
    }
}

#[test]
fn software_is_compared_type_by_type() {
    let wrong = appraise(board(), |claims| claims.components[0].measurement_value[0] ^= 1);
    assert_eq!(wrong, Err(PolicyError::Measurement("BL".into())));

    let swapped = appraise(board().measurement("App", [0xa9; 32]), |claims| {
        claims.components.push(Component::new("App", BOOTLOADER, [0x51; 32]));
    });
    assert_eq!(swapped, Err(PolicyError::Measurement("App".into())));

    let extra = appraise(board(), |claims| {
        claims.components.push(Component::new("App", [0xa9; 32], [0x51; 32]));
    });
    assert_eq!(extra, Err(PolicyError::Measurement("App".into())));

    let absent = appraise(board().measurement("App", [0xa9; 32]), |_| ());
    assert_eq!(absent, Err(PolicyError::Unmeasured("App".into())));

    let untyped = appraise(board(), |claims| claims.components[0].measurement_type = None);
    assert_eq!(untyped, Err(PolicyError::Untyped));

    let next_release = board().measurement("BL", [0xb2; 32]);
    let updated = appraise(next_release, |claims| {
        claims.components[0].measurement_value = vec![0xb2; 32];
    });
    assert_eq!(updated.unwrap().tier, TrustTier::Affirming);
}

#[test]
fn a_make_without_reference_values_is_refused() {
    let bare = Implementation::new(BOARD, "weather board");
    assert_eq!(appraise(bare, |_| ()), Err(PolicyError::NoReference(BOARD)));
}

#[test]
fn hardware_cannot_bring_its_own_key() {
    // The software root's trick, a key in the header, under the name of a real make.
    let evidence = crate::software_root::token_with_carried_key(&board_claims(&challenge()));
    let policy = Policy::default().allow(board()).allow_simulated("SIMULATED-INSECURE");
    let refused = judge(&PsaVerifier::new(policy), &evidence, &challenge());
    let instance = InstanceId::of_key(chip().public_key());
    assert_eq!(refused, Err(PolicyError::Unendorsed(instance)));
}

#[test]
fn evidence_of_one_device_is_worthless_to_another() {
    let evidence = signed(&board_claims(&challenge()), &chip());
    let verifier = endorsed(Policy::default().allow(board()));
    let thief = Challenge { key: device(2).public_key().clone(), ..challenge() };
    assert_eq!(judge(&verifier, &evidence, &thief), Err(PolicyError::Binding));
    let renamed = Challenge { did: "did:example:other".parse().unwrap(), ..challenge() };
    assert_eq!(judge(&verifier, &evidence, &renamed), Err(PolicyError::Binding));
}

#[test]
fn a_longer_nonce_that_starts_with_the_binding_is_refused() {
    let padded = appraise(board(), |claims| claims.nonce.extend([0; 16]));
    assert_eq!(padded, Err(PolicyError::Binding));
}

#[test]
fn a_device_cannot_sign_with_its_attestation_key() {
    let shared = Challenge { key: chip().public_key().clone(), ..challenge() };
    let evidence = signed(&board_claims(&shared), &chip());
    let verifier = endorsed(Policy::default().allow(board()));
    assert_eq!(judge(&verifier, &evidence, &shared), Err(PolicyError::SharedKey));
}
