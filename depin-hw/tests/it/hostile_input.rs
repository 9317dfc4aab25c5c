//! Bytes that are no token, or one that was tampered with.

use depin_core::{
    Algorithm, Signer, SoftwareKey,
    cose::{self, CoseError},
    evidence::{Attester, EvidenceVerifier},
};
use depin_hw::{
    Implementation, Policy, PsaVerifier, SIMULATED_INSECURE, SoftwareRoot,
    psa::{Claims, InstanceId, MAX_TOKEN, PsaError, Token},
};
use minicbor::data::Tag;
use proptest::prelude::*;

use crate::forge::{
    BOARD, BOOTLOADER, NOW, board_claims, bytes, cbor, challenge, chip, evidence, map, signed,
    signed_payload, with,
};

fn verifier() -> PsaVerifier {
    let board = Implementation::new(BOARD, "board").measurement("BL", BOOTLOADER);
    PsaVerifier::new(Policy::default().allow(board).allow_simulated(SIMULATED_INSECURE))
        .endorse(InstanceId::of_key(chip().public_key()), chip().public_key().clone())
}

#[test]
fn a_token_is_bounded_in_size() {
    let filler = bytes(&vec![0; MAX_TOKEN]);
    let token = signed_payload(&with(-70_000, filler), &chip());
    assert_eq!(Token::parse(&token).unwrap_err(), PsaError::Size { len: token.len() });
}

#[test]
fn a_token_needs_its_tag() {
    let token = signed_payload(&board_claims(&challenge()).encode().unwrap(), &chip());
    assert_eq!(token[0], 0xd2);
    assert_eq!(Token::parse(&token[1..]).unwrap_err(), PsaError::Untagged);
    let wrapped = [
        cbor(|e| {
            e.tag(Tag::new(61)).unwrap();
        }),
        token,
    ]
    .concat();
    assert_eq!(Token::parse(&wrapped).unwrap_err(), PsaError::Cose(CoseError::Structure));
}

#[test]
fn nothing_may_follow_the_claims_or_the_token() {
    let claims = board_claims(&challenge()).encode().unwrap();
    let longer = signed_payload(&[claims.as_slice(), &[0]].concat(), &chip());
    assert_eq!(Token::parse(&longer).unwrap_err(), PsaError::Trailing);
    let longer = [signed_payload(&claims, &chip()), vec![0]].concat();
    assert_eq!(Token::parse(&longer).unwrap_err(), PsaError::Cose(CoseError::Structure));
}

#[test]
fn a_critical_header_that_nobody_knows_is_refused() {
    let header = cbor(|e| {
        e.map(3).unwrap().i64(cose::ALG).unwrap().i64(-7).unwrap();
        e.i64(cose::CRIT).unwrap().array(1).unwrap().i64(-70_001).unwrap();
        e.i64(-70_001).unwrap().bool(true).unwrap();
    });
    let claims = board_claims(&challenge()).encode().unwrap();
    let token = cose::sign1(&chip(), &header, &claims, b"").unwrap();
    let error = Token::parse(&token).unwrap().verify(chip().public_key()).cloned();
    assert_eq!(error, Err(PsaError::Cose(CoseError::Critical)));
}

#[test]
fn an_algorithm_outside_the_signature_is_no_algorithm() {
    let claims = board_claims(&challenge()).encode().unwrap();
    let token = signed_payload(&claims, &chip());
    let sign1 = cose::Sign1::parse(&token).unwrap();
    let moved = cbor(|e| {
        e.tag(Tag::new(18)).unwrap().array(4).unwrap().bytes(b"").unwrap();
        e.map(1).unwrap().i64(cose::ALG).unwrap().i64(-7).unwrap();
        e.bytes(sign1.payload()).unwrap().bytes(sign1.signature()).unwrap();
    });
    let error = Token::parse(&moved).unwrap().verify(chip().public_key()).cloned();
    assert_eq!(error, Err(PsaError::Cose(CoseError::Algorithm)));
}

#[test]
fn announced_lengths_cost_nothing() {
    for bomb in [
        vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        [vec![0x81; 15_000], vec![0]].concat(),
        [vec![0xc1; 15_000], vec![0]].concat(),
    ] {
        let deep = bomb.len() > 10;
        let outcome = Claims::decode(&with(-70_000, bomb.clone()));
        assert_eq!(outcome.is_ok(), deep, "deep vendor claims are walked over, lies are refused");
        assert!(Claims::decode(&with(2399, bomb.clone())).is_err());
        assert!(Claims::decode(&bomb).is_err());
    }
    assert_eq!(Claims::decode(&map(&[])), Err(PsaError::Missing(depin_hw::psa::Claim::Profile)));
}

#[test]
fn a_signature_with_high_s_counts_as_the_rfc_allows() {
    // Hardware does not normalise. The other form of the same signature is no second token: nonces
    // count once.
    let genuine = signed(&board_claims(&challenge()), &chip());
    let mut high = genuine.bytes;
    let start = high.len() - 32;
    let s = p256_order_minus(&high[start..]);
    high[start..].copy_from_slice(&s);
    assert!(verifier().appraise(&evidence(high), &challenge(), NOW).is_ok());
}

/// The order of P-256 (FIPS 186-5) minus a number below it.
fn p256_order_minus(s: &[u8]) -> [u8; 32] {
    let order =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let (mut difference, mut borrow) = ([0; 32], 0i16);
    for at in (0..32).rev() {
        let digit = i16::from(order[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = digit.rem_euclid(256) as u8;
    }
    difference
}

#[test]
fn a_key_of_another_curve_is_no_attestation_key() {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [0x41; 32]);
    let mut claims = board_claims(&challenge());
    claims.instance_id = InstanceId::of_key(key.public_key());
    let verifier = verifier().endorse(claims.instance_id, key.public_key().clone());
    let error = verifier.appraise(&signed(&claims, &key), &challenge(), NOW).unwrap_err();
    assert!(error.to_string().contains("ES256"), "{error}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(verifier().appraise(&evidence(bytes.clone()), &challenge(), NOW).is_err());
        let _ = Claims::decode(&bytes);
    }

    #[test]
    fn random_claims_never_panic(
        key in prop::sample::select(vec![10i64, 256, 265, 268, 2394, 2395, 2396, 2398, 2399, 2400, 7]),
        value: Vec<u8>,
    ) {
        let token = signed_payload(&with(key, value), &chip());
        prop_assert!(verifier().appraise(&evidence(token), &challenge(), NOW).is_err());
    }

    #[test]
    fn mutated_tokens_never_pass(
        at in any::<prop::sample::Index>(),
        cut in 0usize..8,
        patch in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let genuine = SoftwareRoot::from_seed([1; 32]).attest(&challenge()).unwrap().bytes;
        let start = at.index(genuine.len());
        let end = (start + cut).min(genuine.len());
        let mutated = [&genuine[..start], &patch, &genuine[end..]].concat();
        prop_assume!(mutated != genuine);
        prop_assert!(verifier().appraise(&evidence(mutated), &challenge(), NOW).is_err());
    }
}
