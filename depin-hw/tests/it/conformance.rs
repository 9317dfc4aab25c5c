//! The seams' own suite.

use depin_core::{Signer, evidence::Attester};
use depin_hw::{Implementation, Policy, PsaVerifier, SIMULATED_INSECURE, SoftwareRoot};
use depin_testkit::evidence::{Pair, conforms};

use crate::forge::{BOARD, BOOTLOADER, board_claims, chip, signed};

#[test]
fn the_software_root_and_the_psa_verifier_conform() {
    let root = SoftwareRoot::from_seed([1; 32]);
    conforms(Pair {
        attester: &root,
        attestation_key: root.public_key(),
        verifier: &PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE)),
        distrusting: &PsaVerifier::new(Policy::default()),
    });
}

/// A board as real hardware would be: endorsed, secured, with a known boot loader.
#[derive(Debug)]
struct Board;

impl Attester for Board {
    fn attest(
        &self,
        challenge: &depin_core::evidence::Challenge,
    ) -> depin_core::Result<depin_core::evidence::Evidence> {
        Ok(signed(&board_claims(challenge), &chip()))
    }
}

#[test]
fn an_endorsed_board_and_the_psa_verifier_conform() {
    let key = chip().public_key().clone();
    let board = Implementation::new(BOARD, "board").measurement("BL", BOOTLOADER);
    let instance = depin_hw::psa::InstanceId::of_key(&key);
    conforms(Pair {
        attester: &Board,
        attestation_key: &key,
        verifier: &PsaVerifier::new(Policy::default().allow(board)).endorse(instance, key.clone()),
        distrusting: &PsaVerifier::new(Policy::default()),
    });
}
