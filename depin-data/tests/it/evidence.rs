//! Evidence of forks: what proves one, and what is made up to look like one.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, NetworkId, Sequence, SignedBatch, Signer, SoftwareKey, Unverified, Verified,
    cbor::Encoder, log::ChainTip,
};
use depin_data::{
    batch::{BatchVerifier, seal, seal_gap},
    evidence::{Equivocation, Fork, ForkError, ForkVerifier, MAX_BYTES},
    outbox::{Outbox, RamStore},
    receipt::ReceiptVerifier,
};
use proptest::prelude::*;

use crate::support::{Device, NOW, network, reading};

fn batch(device: &Device, sequence: u64, previous: B256, value: &str) -> SignedBatch {
    device.seal_at(sequence, previous, &[reading(value, NOW)])
}

fn gap(device: &Device, first: u64, previous: B256, last: u64, hash: B256) -> SignedBatch {
    let last = ChainTip { sequence: Sequence::new(last), hash };
    let first = Sequence::new(first);
    seal_gap(&*device.key, &device.did, &network(), first, previous, last).unwrap()
}

fn verify(device: &Device, fork: Fork) -> Result<Verified<Equivocation>, ForkError> {
    let parsed = Fork::parse(&fork.encode()).unwrap();
    assert_eq!(parsed, fork);
    Unverified::new(parsed).verify(&ForkVerifier::new(&network(), &[device.key()]))
}

const P: B256 = B256::repeat_byte(7);
const Q: B256 = B256::repeat_byte(8);

#[test]
fn two_truths_about_one_place_are_a_fork() {
    for algorithm in Algorithm::ALL {
        let device = Device::new("a", algorithm);
        let one = batch(&device, 5, P, "1");
        let after = |hash| batch(&device, 6, hash, "3");
        for (other, position) in [
            (batch(&device, 5, P, "2"), 5),
            (batch(&device, 5, Q, "2"), 4),
            // Goes on from something else than what was signed.
            (after(Q), 5),
            // One hash cannot be that of two places.
            (batch(&device, 9, P, "2"), 4),
            // Gap markers state hashes too.
            (gap(&device, 2, Q, 5, Q), 5),
            (gap(&device, 5, Q, 9, Q), 4),
            (gap(&device, 6, Q, 9, P), 4),
        ] {
            for fork in [Fork::new(one.clone(), other.clone()), Fork::new(other, one.clone())] {
                let id = fork.id();
                let proof = verify(&device, fork).unwrap();
                assert_eq!((&proof.device, proof.position.value()), (&device.did, position));
                assert_eq!(proof.id, id);
            }
        }
    }
}

#[test]
fn an_honest_history_holds_no_fork() {
    let mut device = Device::new("a", Algorithm::EdDsa);
    let mut links: Vec<_> = (0..6).map(|_| device.measure()).collect();
    let (second, fourth) = (links[1].hash(), links[3].hash());
    // It gave up 2 and 3, and may have sent the third all the same.
    links.push(gap(&device, 2, second, 3, fourth));
    links.push(gap(&device, 0, B256::ZERO, 3, fourth));
    for one in &links {
        for other in links.iter().filter(|other| *other != one) {
            let found = verify(&device, Fork::new(one.clone(), other.clone()));
            assert_eq!(found, Err(ForkError::Consistent));
        }
    }
}

#[test]
fn the_same_content_signed_twice_is_no_fork() {
    // A batch with another signature over the same content, as randomised ECDSA makes.
    let device = Device::new("a", Algorithm::Es256);
    let one = batch(&device, 5, P, "1");
    let mut high = one.as_bytes().to_vec();
    let at = high.len() - 1;
    high[at] ^= 1;
    let twin = Fork::new(one.clone(), SignedBatch::new(high));
    assert!(
        matches!(verify(&device, twin), Err(ForkError::Link(_))),
        "nor one that anybody can make"
    );
    let both = Fork::new(one.clone(), one);
    assert!(matches!(Fork::parse(&both.encode()), Err(ForkError::Format(_))));
    let verdict = Unverified::new(both).verify(&ForkVerifier::new(&network(), &[device.key()]));
    assert_eq!(verdict, Err(ForkError::Consistent));
}

#[test]
fn nobody_else_can_make_evidence_against_a_device() {
    let (victim, attacker) =
        (Device::new("victim", Algorithm::EdDsa), Device::new("x", Algorithm::EdDsa));
    let real = batch(&victim, 5, P, "1");
    let forged = Device { did: victim.did.clone(), ..Device::new("x", Algorithm::EdDsa) };
    let fake = batch(&forged, 5, P, "2");
    assert!(matches!(verify(&victim, Fork::new(real.clone(), fake)), Err(ForkError::Link(_))));
    // Of two devices, also when one key stands for both.
    let own = batch(&attacker, 5, P, "2");
    assert!(matches!(verify(&victim, Fork::new(real.clone(), own)), Err(ForkError::Link(_))));
    let alias = Device { did: attacker.did, key: Arc::clone(&victim.key), next: 0, previous: P };
    let other = batch(&alias, 5, P, "2");
    assert_eq!(verify(&victim, Fork::new(real.clone(), other)), Err(ForkError::Devices));
    // Signed for another network.
    let drive = NetworkId::parse("drive").unwrap();
    let (sequence, readings) = (Sequence::new(5), [reading("2", NOW)]);
    let abroad = seal(&*victim.key, &victim.did, &drive, sequence, P, &readings).unwrap();
    assert!(matches!(verify(&victim, Fork::new(real, abroad)), Err(ForkError::Link(_))));
}

#[test]
fn two_truths_signed_with_two_keys_are_no_fork() {
    let old = Device::new("a", Algorithm::EdDsa);
    let new = Device { did: old.did.clone(), ..Device::new("b", Algorithm::Es256k) };
    let fork = Fork::new(batch(&old, 5, P, "1"), batch(&new, 5, P, "2"));
    assert!(matches!(verify(&old, fork.clone()), Err(ForkError::Link(_))));
    let both = ForkVerifier::new(&network(), &[old.key(), new.key()]);
    assert_eq!(Unverified::new(fork).verify(&both), Err(ForkError::Keys));
    // Two of either key are one, also where more keys are known.
    for device in [&old, &new] {
        let fork = Fork::new(batch(device, 5, P, "1"), batch(device, 5, P, "2"));
        assert!(Unverified::new(fork).verify(&both).is_ok());
    }
}

/// Everything that a device shows: what it sends first, markers too, and all that is kept.
fn shown(outbox: &mut Outbox, key: &SoftwareKey) -> Vec<SignedBatch> {
    let first = outbox.next(key).unwrap().unwrap();
    let mut all = outbox.pending().unwrap();
    if !all.contains(&first) {
        all.push(first);
    }
    all
}

#[test]
fn what_a_device_showed_before_and_after_a_change_of_key_is_no_evidence() {
    for (algorithm, case) in [(Algorithm::EdDsa, 0), (Algorithm::Es256, 1), (Algorithm::EdDsa, 2)] {
        let (old, next) = (Device::new("a", algorithm), Device::new("b", algorithm));
        let log = SoftwareKey::from_seed(Algorithm::EdDsa, [9; 32]);
        let receipts = ReceiptVerifier::new(&network(), log.public_key());
        let store = RamStore::new(4, 1024);
        let mut outbox = Outbox::open(&network(), &old.did, receipts, store).unwrap();
        outbox.reconcile(None).unwrap();
        let fill = |outbox: &mut Outbox, key: &SoftwareKey, count| {
            (0..count).for_each(|_| drop(outbox.push(key, &[reading("1", NOW)]).unwrap()));
        };
        fill(&mut outbox, &old.key, 6);
        let mut before = shown(&mut outbox, &old.key);
        fill(&mut outbox, &old.key, 20);
        let waiting = outbox.pending().unwrap();
        before.extend(shown(&mut outbox, &old.key));
        // The log holds the second of those that wait, or nothing, or what a thief signed for its place.
        let verifier = BatchVerifier::new(&network(), &old.key());
        let sequence = verifier.link(&waiting[1]).unwrap().sequence();
        let tips = [Some(waiting[1].hash()), None, Some(Q)];
        let tip = tips[case].map(|hash| ChainTip { sequence, hash });
        outbox.rekey(&*next.key, tip).unwrap();
        let mut after = shown(&mut outbox, &next.key);
        // So many that some of those signed anew have to go: a marker of the next key comes first.
        fill(&mut outbox, &next.key, 20);
        after.extend(shown(&mut outbox, &next.key));

        let keys = [old.key(), next.key()];
        let verifier = ForkVerifier::new(&network(), &keys);
        for (links, key) in [(&before, &keys[0]), (&after, &keys[1])] {
            let one = BatchVerifier::new(&network(), key);
            let covers = |link| one.link(link).unwrap().covers();
            assert!(links.iter().any(|link| covers(link).is_some()), "a marker is among them");
        }
        for one in &before {
            for other in &after {
                let fork = Fork::new(one.clone(), other.clone());
                assert_eq!(Unverified::new(fork).verify(&verifier), Err(ForkError::Keys));
            }
        }
        for links in [&before, &after] {
            for pair in links.windows(2).filter(|pair| pair[0] != pair[1]) {
                let fork = Fork::new(pair[0].clone(), pair[1].clone());
                assert_eq!(Unverified::new(fork).verify(&verifier), Err(ForkError::Consistent));
            }
        }
    }
}

#[test]
fn evidence_has_one_encoding() {
    let device = Device::new("a", Algorithm::EdDsa);
    let (one, other) = (batch(&device, 5, P, "1"), batch(&device, 5, P, "2"));
    let fork = Fork::new(one, other);
    let good = fork.encode();
    for length in 0..good.len() {
        assert!(Fork::parse(&good[..length]).is_err(), "{length}");
    }
    let [first, second] = fork.links();
    let write = |tag: &str, first: &SignedBatch, second: &SignedBatch| {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes)
            .map(3)
            .and_then(|e| e.u8(0)?.str(tag)?.u8(1)?.bytes(first.as_bytes()))
            .and_then(|e| e.u8(2)?.bytes(second.as_bytes()))
            .unwrap();
        bytes
    };
    assert_eq!(write("depin fork v1", first, second), good);
    assert!(Fork::parse(&write("depin fork v1", second, first)).is_err());
    assert!(Fork::parse(&write("depin fork v2", first, second)).is_err());
    assert!(Fork::parse(&[good, vec![0]].concat()).is_err());
    assert!(Fork::parse(&vec![0; MAX_BYTES + 1]).is_err());
    assert!(BatchVerifier::new(&network(), &device.key()).link(first).is_ok());
}

proptest! {
    #[test]
    fn random_evidence_never_panics(bytes: Vec<u8>, flip in 0..600_usize, bit in 0..8_u8) {
        let _ = Fork::parse(&bytes);
        let device = Device::new("a", Algorithm::EdDsa);
        let fork = Fork::new(batch(&device, 5, P, "1"), batch(&device, 5, P, "2"));
        let mut bent = fork.encode();
        let at = flip % bent.len();
        bent[at] ^= 1 << bit;
        if let Ok(parsed) = Fork::parse(&bent) {
            let verdict = Unverified::new(parsed).verify(&ForkVerifier::new(&network(), &[device.key()]));
            prop_assert!(verdict.is_err(), "a flipped bit at {} proves something else", at);
        }
    }
}
