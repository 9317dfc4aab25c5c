//! Sealed bytes open for one reader in one context, and every change shows.

use depin_core::{Did, NetworkId, envelope::Purpose};
use depin_data::privacy::{Context, MAX_SEALED, ReaderKey, ReaderSecret, SealError, seal};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::support::network;

const REPORT: Purpose = Purpose::new("report", 1);

fn device(name: &str) -> Did {
    Did::parse(&format!("did:example:{name}")).unwrap()
}

fn context() -> Context {
    Context::new(&network(), &device("a"), REPORT)
}

#[test]
fn another_reader_network_device_or_purpose_opens_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    let (reader, other) = (ReaderSecret::generate(&mut rng), ReaderSecret::generate(&mut rng));
    let sealed = seal(&reader.public_key(), &context(), b"4.9 Cel", &mut rng).unwrap();
    assert_eq!(sealed.len(), 7 + 48);
    assert_eq!(reader.open(&context(), &sealed).unwrap(), b"4.9 Cel");
    assert_eq!(other.open(&context(), &sealed), Err(SealError::Open));
    for context in [
        Context::new(&NetworkId::parse("drive").unwrap(), &device("a"), REPORT),
        Context::new(&network(), &device("b"), REPORT),
        Context::new(&network(), &device("a"), Purpose::new("report", 2)),
        Context::new(&network(), &device("a"), Purpose::new("disclosure", 1)),
    ] {
        assert_eq!(reader.open(&context, &sealed), Err(SealError::Open), "{context:?}");
    }
}

#[test]
fn every_changed_bit_and_every_cut_shows() {
    let mut rng = StdRng::seed_from_u64(2);
    let reader = ReaderSecret::generate(&mut rng);
    let sealed = seal(&reader.public_key(), &context(), b"hidden", &mut rng).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(reader.open(&context(), &changed), Err(SealError::Open), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert_eq!(reader.open(&context(), &sealed[..end]), Err(SealError::Open));
    }
    // The same content never looks the same twice.
    assert_ne!(sealed, seal(&reader.public_key(), &context(), b"hidden", &mut rng).unwrap());
}

#[test]
fn keys_that_keep_no_secret_are_refused() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [[0; 32], one] {
        let sealed = seal(&ReaderKey::from_bytes(weak), &context(), b"x", &mut rng);
        assert_eq!(sealed, Err(SealError::Key));
    }
}

#[test]
fn what_is_sealed_is_bounded() {
    let mut rng = StdRng::seed_from_u64(4);
    let reader = ReaderSecret::generate(&mut rng);
    let most = vec![7; MAX_SEALED];
    let sealed = seal(&reader.public_key(), &context(), &most, &mut rng).unwrap();
    assert_eq!(reader.open(&context(), &sealed).unwrap(), most);
    let more = [most, vec![7]].concat();
    assert_eq!(seal(&reader.public_key(), &context(), &more, &mut rng), Err(SealError::Limit));
    assert_eq!(reader.open(&context(), &vec![0; MAX_SEALED + 49]), Err(SealError::Limit));
    assert!(!format!("{reader:?}").contains("secret:"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn everything_comes_back_as_it_was(content: Vec<u8>, seed: u64, noise: Vec<u8>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let reader = ReaderSecret::generate(&mut rng);
        let sealed = seal(&reader.public_key(), &context(), &content, &mut rng).unwrap();
        prop_assert_eq!(reader.open(&context(), &sealed).unwrap(), content);
        prop_assert!(reader.open(&context(), &noise).is_err());
    }
}
