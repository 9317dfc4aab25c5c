//! One chip, one identity: what a nullifier tells and what it hides.

use depin_core::{Algorithm, B256, ErrorKind, Signer, Verified, evidence::Appraisal};
use depin_identity::{
    methods::key::did_key,
    sybil::{Nullifier, Pepper},
};
use proptest::prelude::*;

use crate::chip::{appraise, key};

fn identity(network: &str, chip: &[u8], seed: u8) -> Verified<Appraisal> {
    let key = key(Algorithm::EdDsa, seed);
    appraise(network, chip, &did_key(key.public_key()), key.public_key())
}

#[test]
fn a_second_identity_of_one_chip_has_the_same_nullifier() {
    let first = Nullifier::of(&identity("climate", b"chip", 1)).unwrap();
    assert_eq!(Nullifier::of(&identity("climate", b"chip", 2)).unwrap(), first);
    assert_ne!(Nullifier::of(&identity("climate", b"chap", 1)).unwrap(), first);
}

#[test]
fn networks_cannot_link_one_chip() {
    let climate = Nullifier::of(&identity("climate", b"chip", 1)).unwrap();
    assert_ne!(Nullifier::of(&identity("drive", b"chip", 1)).unwrap(), climate);
}

#[test]
fn the_recipe_is_the_documented_one() {
    // HMAC-SHA-256 computed with Python's hmac module over the parts behind their lengths.
    let known = "0x31a4a8c96b9b518b75c36bee0d986a4c2402085bae861276b03c1853c68ee54e";
    let nullifier = Nullifier::of(&identity("climate", b"chip", 1)).unwrap();
    assert_eq!(nullifier.to_string(), known);
}

/// HMAC alone takes these pairs for the same key.
#[test]
fn ids_that_hmac_pads_or_hashes_alike_stay_apart() {
    let long = [7; 65];
    let hashed: [u8; 32] = {
        use sha2::Digest;
        sha2::Sha256::digest(long).into()
    };
    for (one, other) in [(&b"chip"[..], &b"chip\0"[..]), (&long, &hashed)] {
        let of = |id| Nullifier::of(&identity("climate", id, 1)).unwrap();
        assert_ne!(of(one), of(other));
    }
}

#[test]
fn an_appraisal_without_hardware_gives_none() {
    let error = Nullifier::of(&identity("climate", b"", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let error = Nullifier::keyed(&Pepper::from_bytes([1; 32]), &identity("climate", b"", 1));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Rejected);
}

/// The attack on serial numbers: try them all. With a pepper there is nothing to compare with.
#[test]
fn a_guessable_serial_is_found_without_a_pepper_and_not_with_one() {
    let serial = 4_711_u32.to_be_bytes();
    let plain = Nullifier::of(&identity("climate", &serial, 1)).unwrap();
    let pepper = Pepper::generate(&mut rand::thread_rng());
    let keyed = Nullifier::keyed(&pepper, &identity("climate", &serial, 1)).unwrap();
    assert_eq!(Nullifier::keyed(&pepper, &identity("climate", &serial, 2)).unwrap(), keyed);

    let guesser = Pepper::from_bytes([0; 32]);
    let guesses = (4_700..4_720_u32).map(|serial| identity("climate", &serial.to_be_bytes(), 3));
    let guesses: Vec<_> = guesses.collect();
    assert!(guesses.iter().any(|guess| Nullifier::of(guess).unwrap() == plain));
    assert!(guesses.iter().all(|guess| Nullifier::of(guess).unwrap() != keyed));
    assert!(guesses.iter().all(|guess| Nullifier::keyed(&guesser, guess).unwrap() != keyed));
}

#[test]
fn a_pepper_is_not_printed() {
    assert_eq!(format!("{:?}", Pepper::from_bytes([0xab; 32])), "Pepper(..)");
}

proptest! {
    #[test]
    fn chips_and_networks_never_share_a_nullifier(
        one in prop::collection::vec(any::<u8>(), 1..80),
        other in prop::collection::vec(any::<u8>(), 1..80),
        network in "[a-z]{1,12}",
        second in "[a-z]{1,12}",
    ) {
        let of = |network: &str, chip: &[u8]| B256::from(Nullifier::of(&identity(network, chip, 1)).unwrap());
        prop_assert_eq!(of(&network, &one) == of(&second, &other), one == other && network == second);
    }
}
