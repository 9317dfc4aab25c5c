//! Salted leaves: a part of a batch can be shown, and the rest cannot be guessed.

use std::collections::HashSet;

use depin_core::{
    Algorithm, B256, Reading, Sequence, SignedBatch, Signer, Timestamp, Verifier, cbor::Encoder,
    envelope::Envelope, transport::RefusalCode,
};
use depin_data::{
    batch::{
        BatchError, BatchVerifier, MAX_READINGS, PURPOSE, SaltSeed, leaf, root, salted_leaf,
        seal_salted,
    },
    merkle::{self, Tree, verify_inclusion},
};
use proptest::prelude::*;
use rand::SeedableRng;

use crate::support::{Device, NOW, network, reading};

const SEED: SaltSeed = SaltSeed::from_bytes([7; 16]);

fn sealed(device: &Device, readings: &[Reading], seed: &SaltSeed) -> SignedBatch {
    let (key, start) = (&*device.key, Sequence::new(0));
    seal_salted(key, &device.did, &network(), start, B256::ZERO, readings, seed).unwrap()
}

fn check(device: &Device, batch: &SignedBatch) -> Result<depin_core::Batch, BatchError> {
    BatchVerifier::new(&network(), device.key.public_key()).check(batch)
}

fn device() -> Device {
    Device::new("a", Algorithm::EdDsa)
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    // SHA-256 of 02, sixteen times 07 and the index, the last of them big-endian.
    let salt = SEED.salt(1);
    let input = [&[2], &[7; 16][..], &1u64.to_be_bytes()].concat();
    assert_eq!(salt, sha256(&input)[..16]);

    let device = device();
    let shown = reading("4.9", Timestamp::from_millis(5));
    let batch = sealed(&device, std::slice::from_ref(&shown), &SEED);
    let data =
        [b"\x86\x6btemperature\x63Cel\x05\x18\x31\x20\x50".as_slice(), &SEED.salt(0)].concat();
    let leaf = merkle::leaf_hash(&data);
    assert_eq!(salted_leaf(&shown, &SEED.salt(0)), leaf);
    let payload = Envelope::parse(batch.as_bytes(), &network(), PURPOSE).unwrap().peek().to_vec();
    let expected = [
        b"\xa7\x01\x00\x02\x58\x20".as_slice(),
        &[0; 32],
        b"\x03\x58\x20",
        leaf.as_slice(),
        b"\x04\x81\x82\x6btemperature\x63Cel\x05\x05\x06\x84\x00\x00\x18\x31\x20\x07\x50",
        &[7; 16],
    ]
    .concat();
    assert_eq!(payload, expected);
    let checked = check(&device, &batch).unwrap();
    assert_eq!((checked.salt_seed, checked.root), (Some([7; 16]), leaf));
}

fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(data).into()
}

#[test]
fn some_readings_are_proven_and_the_others_cannot_be_guessed() {
    let device = device();
    let readings: Vec<_> = (0..10).map(|i| reading(&i.to_string(), NOW)).collect();
    let batch = check(&device, &sealed(&device, &readings, &SEED)).unwrap();
    let leaf_at = |i: usize| salted_leaf(&readings[i], &SEED.salt(i as u64));
    let tree: Tree = (0..10).map(leaf_at).collect();
    let path = tree.inclusion(3, 10).unwrap();
    verify_inclusion(&leaf_at(3), 3, 10, &path, &batch.root).unwrap();

    // The neighbour's hash is in the path. Every value that it could have, with every salt that was shown
    // or none, leads elsewhere.
    let neighbour = path[0];
    let guess = |value: u32| reading(&value.to_string(), NOW);
    let guessed = (0..1000).any(|value| {
        let guess = guess(value);
        leaf(&guess) == neighbour || salted_leaf(&guess, &SEED.salt(3)) == neighbour
    });
    assert!(!guessed);
    assert_eq!(leaf_at(2), neighbour);

    // Without salts they are found at once.
    let plain: Tree = readings.iter().map(leaf).collect();
    let neighbour = plain.inclusion(3, 10).unwrap()[0];
    assert!((0..1000).any(|value| leaf(&guess(value)) == neighbour));
}

#[test]
fn equal_readings_have_different_leaves_and_seeds_different_salts() {
    let other = SaltSeed::generate(&mut seeded());
    let mut seen = HashSet::new();
    for seed in [SEED, other] {
        for index in (0..200).chain([u64::from(u32::MAX), u64::MAX]) {
            assert!(seen.insert(seed.salt(index)));
        }
    }
    let same = vec![reading("1", NOW); 64];
    let leaves: HashSet<_> =
        (0..).zip(&same).map(|(i, reading)| salted_leaf(reading, &SEED.salt(i))).collect();
    assert_eq!(leaves.len(), same.len());
    assert!(!format!("{SEED:?}").contains('7'), "a seed is not printed");
}

fn seeded() -> impl rand::CryptoRng + rand::RngCore {
    rand::rngs::StdRng::seed_from_u64(1)
}

#[test]
fn a_salt_cannot_be_left_out_added_or_changed() {
    let device = device();
    let readings = [reading("1", NOW), reading("2", NOW)];
    let roots = [root(&readings, None), root(&readings, Some(&SEED))];
    assert_eq!(
        sealed(&device, &readings, &SEED).as_bytes(),
        sealed(&device, &readings, &SEED).as_bytes()
    );
    let good = payload(&roots[1], Some(&[7; 16]));
    assert!(check(&device, &signed(&device, &good)).is_ok());
    for (root, seed) in [(1, None), (0, Some([7; 16])), (1, Some([8; 16]))] {
        let bytes = payload(&roots[root], seed.as_ref().map(|seed: &[u8; 16]| &seed[..]));
        assert_eq!(check(&device, &signed(&device, &bytes)), Err(BatchError::Root));
    }
    for length in [0, 15, 17, 32] {
        let bytes = payload(&roots[1], Some(&vec![7; length]));
        let error = check(&device, &signed(&device, &bytes)).unwrap_err();
        assert_eq!(error.code(), RefusalCode::Malformed, "a seed of {length} bytes");
    }
    let mut eighth = good.clone();
    eighth[0] = 0xa8;
    eighth.extend_from_slice(&[8, 0]);
    let error = check(&device, &signed(&device, &eighth)).unwrap_err();
    assert!(matches!(error, BatchError::Format(_)), "{error}");
    for length in 0..good.len() {
        assert!(check(&device, &signed(&device, &good[..length])).is_err(), "cut at {length}");
    }
}

/// Readings 1 and 2 Cel now, under any root and seed.
fn payload(root: &B256, seed: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.map(6 + u64::from(seed.is_some())).unwrap();
    e.u8(1).unwrap().u64(0).unwrap().u8(2).unwrap().bytes(&[0; 32]).unwrap();
    e.u8(3).unwrap().bytes(root.as_slice()).unwrap();
    e.u8(4).unwrap().array(1).unwrap().array(2).unwrap();
    e.str("temperature").unwrap().str("Cel").unwrap();
    e.u8(5).unwrap().u64(NOW.millis()).unwrap().u8(6).unwrap().array(8).unwrap();
    for integer in [0, 0, 1, 0, 0, 0, 2, 0] {
        e.i64(integer).unwrap();
    }
    if let Some(seed) = seed {
        e.u8(7).unwrap().bytes(seed).unwrap();
    }
    bytes
}

fn signed(device: &Device, payload: &[u8]) -> SignedBatch {
    let (key, network) = (&*device.key, network());
    SignedBatch::new(Envelope::seal(key, &device.did, &network, PURPOSE, payload).unwrap())
}

#[test]
fn the_largest_batch_may_be_salted() {
    let device = device();
    let batch = sealed(&device, &vec![reading("1", NOW); MAX_READINGS], &SEED);
    assert_eq!(check(&device, &batch).unwrap().readings.len(), MAX_READINGS);
}

proptest! {
    #[test]
    fn what_is_sealed_with_salts_is_what_is_read(
        values in prop::collection::vec(any::<i32>(), 1..40),
        seed: [u8; 16],
    ) {
        let device = device();
        let readings: Vec<_> = values.iter().map(|value| reading(&value.to_string(), NOW)).collect();
        let seed = SaltSeed::from_bytes(seed);
        let batch = check(&device, &sealed(&device, &readings, &seed)).unwrap();
        prop_assert_eq!(&batch.readings, &readings);
        prop_assert_eq!(batch.salt_seed, Some(*seed.as_bytes()));
        let leaves = (0..).zip(&readings).map(|(i, reading)| salted_leaf(reading, &seed.salt(i)));
        prop_assert_eq!(batch.root, merkle::root(leaves));
    }
}
