//! The batch format: round trips, and every way to write it wrong.

use depin_core::{
    Algorithm, B256, Decimal, NetworkId, Reading, Sequence, SignedBatch, Signer, Timestamp,
    Verifier,
    cbor::{CborError, Encoder},
    envelope::{Envelope, EnvelopeError, Purpose},
    reading::Quantity,
    transport::RefusalCode,
};
use depin_data::{
    batch::{
        BatchError, BatchVerifier, MAX_BYTES, MAX_READINGS, PURPOSE, claimed_signer, leaf, seal,
    },
    merkle::{self, Tree},
};
use proptest::prelude::*;

use crate::support::{Device, NOW, network, reading};

fn device() -> Device {
    Device::new("station", Algorithm::Es256k)
}

fn check(device: &Device, bytes: &[u8]) -> Result<depin_core::Batch, BatchError> {
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    verifier.check(&SignedBatch::new(bytes.to_vec()))
}

/// Signs any payload as a batch.
fn signed(device: &Device, payload: &[u8]) -> Vec<u8> {
    Envelope::seal(&*device.key, &device.did, &network(), PURPOSE, payload).unwrap()
}

fn payload_of(bytes: &[u8]) -> Vec<u8> {
    Envelope::parse(bytes, &network(), PURPOSE).unwrap().peek().to_vec()
}

fn sample(device: &Device) -> SignedBatch {
    let wind = Quantity::new("wind", "m/s");
    let readings = [
        reading("4.9", NOW),
        Reading::new(
            wind,
            Decimal::parse("-0.001").unwrap(),
            Timestamp::from_millis(NOW.millis() - 7),
        ),
        reading("1000000", NOW.plus(core::time::Duration::from_secs(60))),
    ];
    device.seal_at(3, B256::repeat_byte(9), &readings)
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    let device = device();
    let batch =
        device.seal_at(3, B256::repeat_byte(9), &[reading("4.9", Timestamp::from_millis(5))]);
    let leaf = merkle::leaf_hash(b"\x85\x6btemperature\x63Cel\x05\x18\x31\x20");
    let expected = [
        b"\xa6\x01\x03\x02\x58\x20".as_slice(),
        &[9; 32],
        b"\x03\x58\x20",
        leaf.as_slice(),
        b"\x04\x81\x82\x6btemperature\x63Cel\x05\x05\x06\x84\x00\x00\x18\x31\x20",
    ];
    assert_eq!(payload_of(batch.as_bytes()), expected.concat());
}

#[test]
fn what_was_sealed_is_what_is_verified() {
    for algorithm in Algorithm::ALL {
        let device = Device::new("station", algorithm);
        let sealed = sample(&device);
        let batch = check(&device, sealed.as_bytes()).unwrap();
        assert_eq!((batch.device, batch.hash), (device.did.clone(), sealed.hash()));
        assert_eq!((batch.sequence, batch.previous), (Sequence::new(3), B256::repeat_byte(9)));
        assert_eq!(batch.readings.len(), 3);
        assert_eq!(batch.readings[1].at().millis(), NOW.millis() - 7);
        assert_eq!(batch.root, merkle::root(batch.readings.iter().map(leaf)));
        assert_eq!(claimed_signer(sealed.as_bytes(), &network()), Ok(device.did));
    }
}

#[test]
fn one_reading_is_proven_without_the_others() {
    let batch = check(&device(), sample(&device()).as_bytes()).unwrap();
    let tree: Tree = batch.readings.iter().map(leaf).collect();
    let path = tree.inclusion(2, 3).unwrap();
    merkle::verify_inclusion(&leaf(&batch.readings[2]), 2, 3, &path, &batch.root).unwrap();
}

#[test]
fn every_truncation_and_every_appended_byte_is_refused() {
    let device = device();
    let bytes = sample(&device).as_bytes().to_vec();
    for length in 0..bytes.len() {
        let error = check(&device, &bytes[..length]).unwrap_err();
        assert_eq!(error, BatchError::Envelope(EnvelopeError::Encoding(CborError::Truncated)));
        assert_eq!(error.code(), RefusalCode::Malformed);
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let trailing = BatchError::Envelope(EnvelopeError::Encoding(CborError::Trailing));
    assert_eq!(check(&device, &longer), Err(trailing));

    let payload = payload_of(&bytes);
    for length in 0..payload.len() {
        let error = check(&device, &signed(&device, &payload[..length])).unwrap_err();
        assert_eq!(error, BatchError::Encoding(CborError::Truncated), "payload of {length}");
    }
    let longer = signed(&device, &[payload.as_slice(), &[0]].concat());
    assert_eq!(check(&device, &longer), Err(BatchError::Encoding(CborError::Trailing)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let device = Device::new("station", Algorithm::EdDsa);
    let bytes = device.seal_at(0, B256::ZERO, &[reading("4.9", NOW)]).as_bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let named = claimed_signer(&flipped, &network());
        // A flip in the DID names another device, whose key then does not match.
        let ours = named.is_ok_and(|did| did == device.did);
        assert!(!ours || check(&device, &flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn wrong_network_purpose_version_and_key_have_their_codes() {
    let device = device();
    let payload = payload_of(sample(&device).as_bytes());
    let other_network = NetworkId::parse("drive").unwrap();
    let seal = |network: &NetworkId, purpose| {
        let bytes = Envelope::seal(&*device.key, &device.did, network, purpose, &payload).unwrap();
        check(&device, &bytes).map_err(|error| error.code())
    };
    assert_eq!(seal(&other_network, PURPOSE), Err(RefusalCode::WrongNetwork));
    assert_eq!(seal(&network(), Purpose::new("batch", 2)), Err(RefusalCode::WrongPurpose));
    assert_eq!(seal(&network(), Purpose::new("tree-head", 1)), Err(RefusalCode::WrongPurpose));
    for algorithm in Algorithm::ALL {
        let stranger = Device::new("stranger", algorithm);
        let error = check(&stranger, sample(&device).as_bytes()).unwrap_err();
        assert_eq!(error.code(), RefusalCode::BadSignature, "{algorithm}");
    }
}

#[test]
fn too_much_is_refused_before_it_is_looked_at() {
    let device = device();
    let huge = vec![0xff; MAX_BYTES + 1];
    assert_eq!(check(&device, &huge), Err(BatchError::Bytes));
    assert_eq!(claimed_signer(&huge, &network()), Err(BatchError::Bytes));

    let readings = vec![reading("1", NOW); MAX_READINGS + 1];
    let too_many =
        seal(&*device.key, &device.did, &network(), Sequence::new(0), B256::ZERO, &readings);
    assert_eq!(too_many.unwrap_err().kind(), depin_core::ErrorKind::Limit);
    let most = device.seal_at(0, B256::ZERO, &readings[1..]);
    assert_eq!(check(&device, most.as_bytes()).unwrap().readings.len(), MAX_READINGS);
}

#[test]
fn length_and_depth_bombs_are_refused() {
    let device = device();
    for bomb in [
        b"\xa6\x01\x00\x02\x5b\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(),
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x9a\x7f\xff\xff\xff",
        &[0x81; 4000],
        &[0xc1; 4000],
    ] {
        let error = check(&device, &signed(&device, bomb)).unwrap_err();
        assert!(matches!(error, BatchError::Encoding(_)), "{error}");
        assert!(check(&device, bomb).is_err());
    }
}

type Change = fn(&mut Parts);

/// The parts of a payload, to be written wrongly one at a time.
struct Parts {
    keys: [u8; 6],
    quantities: Vec<(&'static str, &'static str)>,
    base: u64,
    integers: Vec<i64>,
    root: B256,
}

impl Parts {
    /// Two readings: 4.9 Cel and 7 %RH a second later.
    fn good() -> Self {
        let temperature = Quantity::new("t", "Cel");
        let humidity = Quantity::new("h", "%RH");
        let leaves = [
            leaf(&Reading::new(
                temperature,
                Decimal::parse("4.9").unwrap(),
                Timestamp::from_millis(5),
            )),
            leaf(&Reading::new(humidity, Decimal::from(7), Timestamp::from_millis(1005))),
        ];
        Self {
            keys: [1, 2, 3, 4, 5, 6],
            quantities: vec![("t", "Cel"), ("h", "%RH")],
            base: 5,
            integers: vec![0, 0, 49, -1, 1, 1000, 7, 0],
            root: merkle::root(leaves),
        }
    }

    fn verdict(&self) -> Result<(), BatchError> {
        let device = device();
        let mut bytes = Vec::new();
        let mut e = Encoder::new(&mut bytes);
        e.map(6).unwrap().u8(self.keys[0]).unwrap().u64(0).unwrap();
        e.u8(self.keys[1]).unwrap().bytes(&[0; 32]).unwrap();
        e.u8(self.keys[2]).unwrap().bytes(self.root.as_slice()).unwrap();
        e.u8(self.keys[3]).unwrap().array(self.quantities.len() as u64).unwrap();
        for (name, unit) in &self.quantities {
            e.array(2).unwrap().str(name).unwrap().str(unit).unwrap();
        }
        e.u8(self.keys[4]).unwrap().u64(self.base).unwrap();
        e.u8(self.keys[5]).unwrap().array(self.integers.len() as u64).unwrap();
        for integer in &self.integers {
            e.i64(*integer).unwrap();
        }
        check(&device, &signed(&device, &bytes)).map(|_| ())
    }
}

#[test]
fn only_the_one_encoding_is_accepted() {
    assert_eq!(Parts::good().verdict(), Ok(()));
    let wrong: [(&str, Change); 19] = [
        ("another key", |p| p.keys[5] = 7),
        ("an unused quantity", |p| p.quantities.push(("x", ""))),
        ("a quantity twice", |p| p.quantities[1] = ("t", "Cel")),
        ("indices not by first use", |p| (p.integers[0], p.integers[4]) = (1, 0)),
        ("an index past the end", |p| p.integers[4] = 2),
        ("a negative index", |p| p.integers[4] = -1),
        ("no name", |p| p.quantities[0].0 = ""),
        ("a long name", |p| p.quantities[0].0 = "123456789012345678901234567890123"),
        ("a long unit", |p| p.quantities[0].1 = "123456789012345678901234567890123"),
        ("a control character", |p| p.quantities[0].0 = "t\n"),
        ("a base that is not the first time", |p| p.integers[1] = 1),
        ("a time below zero", |p| p.integers[5] = -6),
        ("a time past 2^63", |p| (p.base, p.integers[5]) = (i64::MAX as u64, 1)),
        ("a base past 2^63", |p| p.base = 1 << 63),
        ("a trailing zero", |p| (p.integers[6], p.integers[7]) = (70, -1)),
        ("an exponent out of range", |p| p.integers[3] = -13),
        ("half a reading", |p| p.integers.truncate(6)),
        ("no readings", |p| (p.integers, p.quantities) = (vec![], vec![])),
        ("zero with an exponent", |p| (p.integers[6], p.integers[7]) = (0, 1)),
    ];
    for (what, change) in wrong {
        let mut parts = Parts::good();
        change(&mut parts);
        let error = parts.verdict().expect_err(what);
        assert!(matches!(error, BatchError::Format(_)), "{what}: {error:?}");
        assert_eq!(error.code(), RefusalCode::Malformed, "{what}");
    }
    let root = Parts { root: B256::ZERO, ..Parts::good() };
    assert_eq!(root.verdict(), Err(BatchError::Root));
    let crowd = Parts {
        integers: [0, 0, 1, 0].repeat(MAX_READINGS + 1),
        quantities: vec![("t", "")],
        ..Parts::good()
    };
    assert_eq!(crowd.verdict(), Err(BatchError::Readings));
    assert_eq!(crowd.verdict().map_err(|error| error.code()), Err(RefusalCode::TooLarge));
}

#[test]
fn non_canonical_cbor_is_refused() {
    let device = device();
    let payload = payload_of(sample(&device).as_bytes());
    assert_eq!(payload[..3], [0xa6, 1, 3]);
    let longer = [&[0xa6, 1, 0x18, 3], &payload[3..]].concat();
    let error = check(&device, &signed(&device, &longer));
    assert_eq!(error, Err(BatchError::Encoding(CborError::NotShortest)));
    let indefinite = [&[0xbf], &payload[1..], &[0xff]].concat();
    let error = check(&device, &signed(&device, &indefinite));
    assert_eq!(error, Err(BatchError::Encoding(CborError::Indefinite)));
    let swapped = [&[0xa6, 2, 1, 1], &payload[3..]].concat();
    assert!(check(&device, &signed(&device, &swapped)).is_err());
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let quantity = ("[a-zé]{1,8}", "[%a-z/2]{0,8}");
    (quantity, any::<i64>(), -12i8..=6, 0..=i64::MAX as u64).prop_filter_map(
        "a decimal",
        |((name, unit), mantissa, exponent, at)| {
            let value = Decimal::new(mantissa, exponent).ok()?;
            Some(Reading::new(Quantity::new(&name, &unit), value, Timestamp::from_millis(at)))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_readings_round_trip(readings in prop::collection::vec(any_reading(), 1..40), sequence: u64) {
        let device = Device::new("station", Algorithm::EdDsa);
        let sealed = device.seal_at(sequence, B256::repeat_byte(1), &readings);
        let batch = check(&device, sealed.as_bytes()).unwrap();
        prop_assert_eq!(&batch.readings, &readings);
        // One content, one encoding.
        let again = device.seal_at(sequence, B256::repeat_byte(1), &batch.readings);
        prop_assert_eq!(payload_of(again.as_bytes()), payload_of(sealed.as_bytes()));
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload: Vec<u8>, flip in any::<prop::sample::Index>(), bits: u8) {
        let device = Device::new("station", Algorithm::EdDsa);
        prop_assert!(check(&device, &signed(&device, &payload)).is_err());
        let mut good = payload_of(sample(&device).as_bytes());
        let at = flip.index(good.len());
        good[at] ^= bits;
        if let Ok(batch) = check(&device, &signed(&device, &good)) {
            // What passes is written in the one way that we would have written it.
            let again = device.seal_at(batch.sequence.value(), batch.previous, &batch.readings);
            prop_assert_eq!(payload_of(again.as_bytes()), good);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(check(&device(), &bytes).is_err());
        prop_assert!(claimed_signer(&bytes, &network()).is_err());
    }
}
