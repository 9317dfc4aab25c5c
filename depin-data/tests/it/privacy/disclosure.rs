//! Disclosures: shown readings are proven, hidden ones cannot be guessed, and nothing can be shifted.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, Batch, Decimal, ErrorKind, NetworkId, Reading, Sequence, Signer, Timestamp,
    Unverified, Verified, Verifier, cbor::Decoder, reading::Quantity,
};
use depin_data::{
    batch::{BatchVerifier, SaltSeed, leaf, salted_leaf, seal, seal_salted},
    log::MemoryLog,
    merkle::MerkleError,
    privacy::{
        Commitment, Disclosure, DisclosureError, DisclosureVerifier, MAX_DISCLOSURE, Shown,
        witnessed,
    },
    receipt::ReceiptVerifier,
};
use proptest::prelude::*;

use crate::support::{Device, NOW, Net, network};

fn reading(name: &str, value: i32, second: u64) -> Reading {
    let at = Timestamp::from_secs(NOW.secs() + second);
    Reading::new(Quantity::new(name, "count"), Decimal::from(value), at)
}

fn batch(device: &Device, sequence: u64, readings: &[Reading]) -> Verified<Batch> {
    let seed = SaltSeed::from_bytes([sequence as u8 + 1; 16]);
    let sequence = Sequence::new(sequence);
    let (key, did) = (&*device.key, &device.did);
    let sealed = seal_salted(key, did, &network(), sequence, B256::ZERO, readings, &seed).unwrap();
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    Unverified::new(sealed).verify(&verifier).unwrap()
}

fn commit(device: &Device, batch: &Verified<Batch>) -> Commitment {
    Commitment::sign(&*device.key, &network(), batch).unwrap()
}

fn check(device: &Device, bytes: &[u8]) -> Result<Shown, DisclosureError> {
    let verifier = DisclosureVerifier::new(&network(), device.key.public_key());
    verifier.check(&Disclosure::from_bytes(bytes.to_vec()))
}

fn readings() -> Vec<Reading> {
    (0..7).map(|i| reading(if i % 2 == 0 { "steps" } else { "heart" }, 60 + i, i as u64)).collect()
}

#[test]
fn every_selection_of_every_size_is_proven() {
    for algorithm in Algorithm::ALL {
        let device = Device::new("shows", algorithm);
        for count in [1, 2, 3, 7] {
            let readings = &readings()[..count];
            let batch = batch(&device, 5, readings);
            let commitment = commit(&device, &batch);
            for mask in 1..1u32 << count {
                let chosen = |i: usize| mask >> i & 1 == 1;
                let show = |reading: &Reading| {
                    chosen(readings.iter().position(|other| other == reading).unwrap())
                };
                let disclosure = Disclosure::of(&batch, &commitment, show).unwrap();
                let shown = check(&device, disclosure.as_bytes()).unwrap();
                let expected: Vec<_> = (0..count)
                    .filter(|i| chosen(*i))
                    .map(|i| (i as u64, readings[i].clone()))
                    .collect();
                assert_eq!(shown.readings, expected);
                assert_eq!((shown.batch, shown.of), (batch.hash, count as u64));
                assert_eq!((shown.device, shown.sequence), (device.did.clone(), Sequence::new(5)));
            }
        }
    }
}

/// An attacker who is shown the steps tries every heart rate against the hash beside the path.
#[test]
fn a_hidden_value_is_guessed_without_salts_and_not_with_them() {
    let (steps, heart) = (reading("steps", 8000, 0), reading("heart", 71, 1));
    let guesses = || (0..1 << 12).map(|value| reading("heart", value, 1));

    // Unsalted: the sibling in the path is the hash of one of few values.
    let sibling = leaf(&heart);
    assert_eq!(guesses().find(|guess| leaf(guess) == sibling), Some(heart.clone()));

    let device = Device::new("hides", Algorithm::EdDsa);
    let batch = batch(&device, 0, &[steps, heart]);
    let commitment = commit(&device, &batch);
    let show = |reading: &Reading| reading.quantity().name() == "steps";
    let disclosure = Disclosure::of(&batch, &commitment, show).unwrap();
    let (salt, sibling) = salt_and_sibling(disclosure.as_bytes());
    // What the attacker has: the salt of the reading that was shown, and the sibling.
    let hit = |guess: &Reading| leaf(guess) == sibling || salted_leaf(guess, &salt) == sibling;
    assert_eq!(guesses().find(hit), None);
    // With the salt of the hidden reading it would be as easy as without one.
    let seed = SaltSeed::from_bytes(batch.salt_seed.unwrap());
    assert!(guesses().any(|guess| salted_leaf(&guess, &seed.salt(1)) == sibling));
}

fn salt_and_sibling(disclosure: &[u8]) -> ([u8; 16], B256) {
    let mut d = Decoder::new(disclosure);
    d.map().unwrap();
    d.u8().unwrap();
    d.bytes().unwrap();
    d.u8().unwrap();
    d.array().unwrap();
    d.array().unwrap();
    (0..6).for_each(|_| d.skip().unwrap());
    let salt = d.bytes().unwrap().try_into().unwrap();
    d.array().unwrap();
    (salt, B256::from_slice(d.bytes().unwrap()))
}

#[test]
fn hidden_readings_and_the_seed_leave_no_trace_in_the_bytes() {
    let device = Device::new("hides", Algorithm::EdDsa);
    let batch = batch(&device, 0, &readings());
    let commitment = commit(&device, &batch);
    let show = |reading: &Reading| reading.quantity().name() == "steps";
    let bytes = Disclosure::of(&batch, &commitment, show).unwrap().as_bytes().to_vec();
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(contains(b"steps") && !contains(b"heart"));
    let seed = batch.salt_seed.unwrap();
    assert!(!contains(&seed));
    let salt = |i| SaltSeed::from_bytes(seed).salt(i);
    assert!(contains(&salt(0)) && !contains(&salt(1)));
}

#[test]
fn a_reading_of_another_batch_position_or_time_is_refused() {
    let device = Device::new("cheats", Algorithm::EdDsa);
    let (first, second) = (batch(&device, 0, &readings()), batch(&device, 1, &readings()[1..]));
    let commitment = commit(&device, &first);

    // Another batch of the same device under this one's commitment.
    let swapped = Disclosure::of(&second, &commitment, |_| true).unwrap();
    let refused = check(&device, swapped.as_bytes()).unwrap_err();
    assert!(matches!(refused, DisclosureError::Inclusion(_)), "{refused:?}");

    let show = |reading: &Reading| reading.value() == Decimal::from(62);
    let honest = Disclosure::of(&first, &commitment, show).unwrap().as_bytes().to_vec();
    assert!(check(&device, &honest).is_ok());
    let head = honest.len() - entry(&honest).len();
    // [8 items, index 2, ...]: another index, of which the path is then not the one.
    for index in [0, 1, 3, 6, 7, 23] {
        let mut forged = honest.clone();
        forged[head + 1] = index;
        assert!(matches!(check(&device, &forged), Err(DisclosureError::Inclusion(_))), "{index}");
    }
    // Every single changed bit of the entry: name, unit, time, value, salt, path.
    for bit in 0..entry(&honest).len() * 8 {
        let mut forged = honest.clone();
        forged[head + bit / 8] ^= 1 << (bit % 8);
        assert!(check(&device, &forged).is_err(), "bit {bit}");
    }
}

/// The one entry of a disclosure.
fn entry(disclosure: &[u8]) -> &[u8] {
    let mut d = Decoder::new(disclosure);
    d.map().unwrap();
    d.u8().unwrap();
    d.bytes().unwrap();
    d.u8().unwrap();
    assert_eq!(d.array().unwrap(), Some(1));
    &disclosure[d.position()..]
}

#[test]
fn a_commitment_of_somebody_else_or_for_something_else_proves_nothing() {
    let (device, other) = (Device::new("a", Algorithm::Es256), Device::new("b", Algorithm::Es256));
    let batch = batch(&device, 0, &readings());
    let by = |signer: &dyn Signer, network: &NetworkId| {
        let commitment = Commitment::sign(signer, network, &batch).unwrap();
        Disclosure::of(&batch, &commitment, |_| true).unwrap()
    };
    let refused = |disclosure: &Disclosure| {
        assert!(matches!(
            check(&device, disclosure.as_bytes()),
            Err(DisclosureError::Commitment(_))
        ));
    };
    refused(&by(&*other.key, &network()));
    refused(&by(&*device.key, &NetworkId::parse("drive").unwrap()));
    // The batch's own signature is for another purpose.
    let sealed = device.seal_at(0, B256::ZERO, &readings());
    let posing = Commitment::from_bytes(sealed.as_bytes().to_vec());
    refused(&Disclosure::of(&batch, &posing, |_| true).unwrap());
    // And ingest would take no commitment for a batch.
    let commitment = commit(&device, &batch);
    let as_batch = depin_core::SignedBatch::new(commitment.as_bytes().to_vec());
    assert!(BatchVerifier::new(&network(), device.key.public_key()).check(&as_batch).is_err());
}

#[test]
fn batches_without_salts_are_not_disclosed() {
    let device = Device::new("plain", Algorithm::EdDsa);
    let (key, did) = (&*device.key, &device.did);
    let sealed = seal(key, did, &network(), Sequence::new(0), B256::ZERO, &readings()).unwrap();
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let plain = Unverified::new(sealed).verify(&verifier).unwrap();
    assert_eq!(Commitment::sign(key, &network(), &plain).unwrap_err().kind(), ErrorKind::Config);
    let salted = batch(&device, 0, &readings());
    let nothing = Disclosure::of(&salted, &commit(&device, &salted), |_| false);
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn disclosures_are_bounded_and_in_one_encoding() {
    let device = Device::new("large", Algorithm::EdDsa);
    let all: Vec<_> = (0..1024).map(|i| reading("r", i, i as u64)).collect();
    let batch = batch(&device, 0, &all);
    let commitment = commit(&device, &batch);
    let whole = Disclosure::of(&batch, &commitment, |_| true).unwrap();
    assert!(whole.as_bytes().len() <= MAX_DISCLOSURE, "{}", whole.as_bytes().len());
    assert_eq!(check(&device, whole.as_bytes()).unwrap().readings.len(), 1024);
    assert_eq!(check(&device, &vec![0; MAX_DISCLOSURE + 1]), Err(DisclosureError::Limit));

    let small = Disclosure::of(&batch, &commitment, |r| r.value() == Decimal::from(7)).unwrap();
    let bytes = small.as_bytes();
    println!("one of 1024 readings is shown in {} bytes", bytes.len());
    for end in 0..bytes.len() {
        assert!(check(&device, &bytes[..end]).is_err());
    }
    // The same entry twice.
    let entry = entry(bytes);
    let head = bytes.len() - entry.len();
    let twice = [&bytes[..head - 1], &[0x82], entry, entry].concat();
    assert_eq!(check(&device, &twice), Err(DisclosureError::Format));
    assert!(matches!(
        check(&device, &[&bytes[..head - 1], &[0x80]].concat()),
        Err(DisclosureError::Format)
    ));
    assert_ne!(Err(DisclosureError::Inclusion(MerkleError::Root)), check(&device, bytes));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let device = Device::new("a", Algorithm::EdDsa);
        let _ = check(&device, &bytes);
        let _ = check(&device, &[vec![0xa2, 1, 0x41, 0, 2], bytes].concat());
    }
}

#[tokio::test]
async fn the_log_stands_for_what_is_shown_and_for_nothing_else() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("shows");
    let seed = SaltSeed::from_bytes([3; 16]);
    let (first, none) = (Sequence::new(0), B256::ZERO);
    let seal = |readings: &[Reading]| {
        seal_salted(&*device.key, &device.did, &network(), first, none, readings, &seed).unwrap()
    };
    let sealed = seal(&readings());
    net.taken(&sealed).await;
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let open = |sealed| Unverified::new(sealed).verify(&verifier).unwrap();
    let counted = open(sealed);
    let commitment = commit(&device, &counted);
    let disclosure = Disclosure::of(&counted, &commitment, |_| true).unwrap();
    let witness = net.ingest.witness(&commitment).await.unwrap();
    let said = witnessed(&net.receipts, &disclosure, &witness).unwrap();
    assert_eq!((said.index, said.at), (0, NOW));

    // The device signs what it likes: another batch for the same place, or the hash of the counted one with
    // the root of another.
    let other = open(seal(&readings()[..3]));
    let mut forged = other.clone().into_inner();
    forged.hash = counted.hash;
    let forged = Commitment::sign(&*device.key, &network(), &trusted(forged)).unwrap();
    for lie in [commit(&device, &other), forged] {
        let error = net.ingest.witness(&lie).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        let shown = Disclosure::of(&other, &lie, |_| true).unwrap();
        let borrowed = witnessed(&net.receipts, &shown, &witness);
        assert_eq!(borrowed.unwrap_err(), DisclosureError::OtherCommitment);
    }
    // Nobody else speaks for the log, and not every byte is a witness.
    let key = device.key.public_key();
    let another = ReceiptVerifier::new(&network(), key);
    let unsigned = witnessed(&another, &disclosure, &witness).unwrap_err();
    assert!(matches!(unsigned, DisclosureError::Witness(_)));
    for cut in 0..witness.len() {
        assert!(witnessed(&net.receipts, &disclosure, &witness[..cut]).is_err());
    }
    let noise = Commitment::from_bytes(b"noise".to_vec());
    assert_eq!(net.ingest.witness(&noise).await.unwrap_err().kind(), ErrorKind::Rejected);
    #[cfg(feature = "http")]
    over_http(&net, &disclosure, [&commit(&device, &other), &noise]).await;
}

#[cfg(feature = "http")]
async fn over_http(net: &Net, disclosure: &Disclosure, lies: [&Commitment; 2]) {
    use depin_data::http::{HttpTransport, serve};
    let commitment = disclosure.commitment().unwrap();
    let server = serve(net.ingest.clone(), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let rng = &mut rand::thread_rng();
    let transport = HttpTransport::new(&server.url(), net.receipts.clone(), rng).unwrap();
    let witness = transport.witness(&commitment).await.unwrap();
    assert_eq!(witnessed(&net.receipts, disclosure, &witness).unwrap().index, 0);
    for lie in lies {
        let error = transport.witness(lie).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    }
    // A server that speaks for another log is no witness.
    let stranger = Device::new("stranger", Algorithm::EdDsa);
    let another = ReceiptVerifier::new(&network(), stranger.key.public_key());
    let transport = HttpTransport::new(&server.url(), another, rng).unwrap();
    let error = transport.witness(&commitment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// As if somebody had verified it.
fn trusted(batch: Batch) -> Verified<Batch> {
    struct Yes;
    impl Verifier<Batch> for Yes {
        type Output = Batch;
        type Error = DisclosureError;

        fn check(&self, candidate: &Batch) -> Result<Batch, DisclosureError> {
            Ok(candidate.clone())
        }
    }
    Unverified::new(batch).verify(&Yes).unwrap()
}
