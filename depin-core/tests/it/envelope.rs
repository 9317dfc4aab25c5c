//! An envelope is refused for anything that was changed, cut, added or meant for somebody else.

use depin_core::{
    Algorithm, Did, NetworkId, Signer, SoftwareKey,
    cbor::CborError,
    envelope::{Envelope, EnvelopeError, Purpose},
};
use proptest::prelude::*;

const NOTE: Purpose = Purpose::new("note", 1);

fn network() -> NetworkId {
    NetworkId::parse("climate").unwrap()
}

fn sealed(algorithm: Algorithm) -> (SoftwareKey, Vec<u8>) {
    let key = SoftwareKey::from_seed(algorithm, [4; 32]);
    let did: Did = "did:example:station".parse().unwrap();
    let bytes = Envelope::seal(&key, &did, &network(), NOTE, b"payload").unwrap();
    (key, bytes)
}

fn accepts(key: &SoftwareKey, bytes: &[u8]) -> bool {
    Envelope::parse(bytes, &network(), NOTE)
        .is_ok_and(|envelope| envelope.open(key.public_key()).is_ok())
}

#[test]
fn every_single_bit_flip_is_refused() {
    for algorithm in Algorithm::ALL {
        let (key, bytes) = sealed(algorithm);
        assert!(accepts(&key, &bytes));
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepts(&key, &forged), "{algorithm} bit {bit}");
        }
    }
}

#[test]
fn truncation_at_every_length_and_a_trailing_byte_are_typed_errors() {
    let (_, bytes) = sealed(Algorithm::EdDsa);
    for length in 0..bytes.len() {
        let error = Envelope::parse(&bytes[..length], &network(), NOTE).unwrap_err();
        assert_eq!(error, EnvelopeError::Encoding(CborError::Truncated), "length {length}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let error = Envelope::parse(&longer, &network(), NOTE).unwrap_err();
    assert_eq!(error, EnvelopeError::Encoding(CborError::Trailing));
}

#[test]
fn another_network_purpose_or_version_is_named() {
    let (_, bytes) = sealed(Algorithm::EdDsa);
    let drive = NetworkId::parse("drive").unwrap();
    assert_eq!(
        Envelope::parse(&bytes, &drive, NOTE).unwrap_err(),
        EnvelopeError::Network { found: "climate".into() }
    );
    for purpose in [Purpose::new("receipt", 1), Purpose::new("note", 2)] {
        assert_eq!(
            Envelope::parse(&bytes, &network(), purpose).unwrap_err(),
            EnvelopeError::Purpose { found: "note v1".into() }
        );
    }
}

#[test]
fn a_key_of_another_algorithm_never_verifies() {
    let (_, bytes) = sealed(Algorithm::Es256k);
    for other in [Algorithm::Es256, Algorithm::EdDsa] {
        let key = SoftwareKey::from_seed(other, [4; 32]);
        assert!(!accepts(&key, &bytes), "{other}");
    }
}

proptest! {
    #[test]
    fn any_payload_comes_back_and_random_bytes_never_panic(payload: Vec<u8>, noise: Vec<u8>) {
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [4; 32]);
        let did = "did:example:station".parse().unwrap();
        let bytes = Envelope::seal(&key, &did, &network(), NOTE, &payload).unwrap();
        let envelope = Envelope::parse(&bytes, &network(), NOTE).unwrap();
        prop_assert_eq!(envelope.open(key.public_key()).unwrap(), payload.as_slice());
        let _ = Envelope::parse(&noise, &network(), NOTE);
    }
}
