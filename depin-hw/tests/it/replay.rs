//! Nonces count once, for a while, and not without bound.

use std::time::Duration;

use depin_core::{
    Error, ErrorKind, Timestamp,
    evidence::{Attester, Challenge, EvidenceVerifier, Nonce},
};
use depin_hw::{Nonces, Policy, PsaVerifier, SIMULATED_INSECURE, SoftwareRoot, nonce::NonceError};
use rand::{SeedableRng, rngs::StdRng};

use crate::forge::{NOW, challenge};

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

#[test]
fn replayed_evidence_finds_its_nonce_gone() {
    let mut nonces = Nonces::default();
    let nonce = nonces.issue(&mut rng(), NOW).unwrap();
    let challenge = Challenge { nonce, ..challenge() };
    let evidence = SoftwareRoot::from_seed([1; 32]).attest(&challenge).unwrap();
    let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));

    assert_eq!(nonces.redeem(&nonce, NOW), Ok(()));
    assert!(verifier.appraise(&evidence, &challenge, NOW).is_ok());
    assert_eq!(nonces.redeem(&nonce, NOW), Err(NonceError::Unknown));
}

#[test]
fn a_nonce_that_was_never_issued_is_refused() {
    assert_eq!(Nonces::default().redeem(&Nonce::new([0; 32]), NOW), Err(NonceError::Unknown));
}

#[test]
fn a_late_nonce_is_refused_and_gone() {
    let mut nonces = Nonces::new(Duration::from_secs(10), 4);
    let nonce = nonces.issue(&mut rng(), NOW).unwrap();
    let late = NOW.plus(Duration::from_secs(10));
    assert_eq!(nonces.redeem(&nonce, late), Err(NonceError::Expired));
    assert_eq!(nonces.redeem(&nonce, NOW), Err(NonceError::Unknown));

    let nonce = nonces.issue(&mut rng(), NOW).unwrap();
    assert_eq!(nonces.redeem(&nonce, Timestamp::from_millis(late.millis() - 1)), Ok(()));
}

#[test]
fn unanswered_nonces_are_bounded_and_make_room_when_they_expire() {
    let (mut nonces, mut rng) = (Nonces::new(Duration::from_secs(10), 3), rng());
    let issued: Vec<_> = (0..3).map(|_| nonces.issue(&mut rng, NOW).unwrap()).collect();
    assert_eq!(nonces.issue(&mut rng, NOW), Err(NonceError::Full));
    let later = NOW.plus(Duration::from_secs(11));
    assert!(nonces.issue(&mut rng, later).is_ok());
    assert_eq!(nonces.redeem(&issued[0], later), Err(NonceError::Unknown));
}

#[test]
fn a_full_issuer_can_be_asked_again() {
    let full = Error::from(NonceError::Full);
    assert!(full.is_retryable());
    assert_eq!(Error::from(NonceError::Expired).kind(), ErrorKind::Rejected);
}
