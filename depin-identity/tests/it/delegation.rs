//! Attacks on delegation chains.

use std::collections::BTreeSet;

use depin_core::{
    Algorithm, B256, Did, ErrorKind, NetworkId, Signer, SoftwareKey, Timestamp, Verified,
    document::Relationships,
    envelope::{Envelope, EnvelopeError, Purpose},
};
use depin_identity::{
    KeyRing, Period,
    delegation::{
        Delegation, DelegationChain, DelegationError, Grant, MAX_LINKS, Ownership, Scopes,
    },
    methods::{io, key::did_key},
};
use proptest::prelude::*;

use crate::chip::key;

const NOW: Timestamp = Timestamp::from_secs(5_000);

fn network() -> NetworkId {
    NetworkId::parse("climate").unwrap()
}

fn period(from: u64, until: u64) -> Period {
    Period::new(Timestamp::from_secs(from), Timestamp::from_secs(until)).unwrap()
}

/// Everybody by number: 0 owns device 1, the others are operators.
fn who(number: u8) -> (SoftwareKey, Did) {
    let key = key(Algorithm::ALL[usize::from(number) % 3], number + 1);
    let did = did_key(key.public_key());
    (key, did)
}

fn root() -> Ownership {
    Ownership { owner: who(0).1, device: who(1).1 }
}

/// Owner -> device -> operator, as the attacks find it.
fn links() -> Vec<Delegation> {
    let link = |from, to, scopes, valid| Delegation {
        issuer: who(from).1,
        subject: who(to).1,
        device: who(1).1,
        scopes,
        valid,
        parent: None,
    };
    let wide = Scopes::OPERATE | Scopes::CONFIGURE | Scopes::DELEGATE;
    vec![
        link(0, 1, wide, period(1_000, 9_000)),
        link(1, 2, Scopes::OPERATE | Scopes::DELEGATE, period(2_000, 8_000)),
        link(2, 3, Scopes::OPERATE, period(3_000, 7_000)),
    ]
}

/// Signs the links by their issuers' keys, each naming the one before.
fn sealed(links: &[Delegation]) -> Vec<Vec<u8>> {
    let mut sealed: Vec<Vec<u8>> = Vec::new();
    for link in links {
        let signer = (0..20).map(who).find(|(_, did)| *did == link.issuer).unwrap().0;
        let parent = link.parent.or_else(|| sealed.last().map(|before| hash(before)));
        let link = Delegation { parent, ..link.clone() };
        sealed.push(link.seal(&signer, &network()).unwrap());
    }
    sealed
}

fn hash(link: &[u8]) -> B256 {
    use sha2::Digest;
    B256::new(sha2::Sha256::digest(link).into())
}

fn judge_at(links: &[Vec<u8>], now: Timestamp) -> Result<Verified<Grant>, DelegationError> {
    let chain = DelegationChain::from_links(&network(), links)?;
    chain.verify(&root(), &KeyRing::new(), &BTreeSet::new(), now)
}

fn judge(links: &[Vec<u8>]) -> Result<Verified<Grant>, DelegationError> {
    judge_at(links, NOW)
}

/// The verdict after one link was changed and everything signed again by the issuers.
fn changed(at: usize, change: impl FnOnce(&mut Delegation)) -> DelegationError {
    let mut links = links();
    change(&mut links[at]);
    judge(&sealed(&links)).unwrap_err()
}

#[test]
fn a_chain_of_three_grants_what_its_last_link_says() {
    let links = sealed(&links());
    let grant = judge(&links).unwrap();
    assert_eq!((&grant.holder, &grant.device), (&who(3).1, &who(1).1));
    assert_eq!((grant.scopes, grant.valid), (Scopes::OPERATE, period(3_000, 7_000)));
    assert_eq!(grant.link, hash(&links[2]));
    println!("three links of did:keys: {} bytes", links.concat().len() + 1 + 3 * 3);
}

#[test]
fn what_is_built_step_by_step_is_what_was_signed() {
    let all = links();
    let chain = DelegationChain::start(
        &network(),
        &who(0).0,
        &root(),
        &who(1).1,
        all[0].scopes,
        all[0].valid,
    );
    let chain = chain.unwrap().extend(&who(1).0, &who(2).1, all[1].scopes, all[1].valid).unwrap();
    let chain = chain.extend(&who(2).0, &who(3).1, all[2].scopes, all[2].valid).unwrap();
    assert_eq!(chain, DelegationChain::from_links(&network(), &sealed(&all)).unwrap());
    assert_eq!(DelegationChain::parse(chain.as_bytes(), &network()).unwrap(), chain);
    let hashes = chain.hashes();
    let named: Vec<_> = chain.peek().iter().map(|link| link.parent).collect();
    assert_eq!(named, [None, Some(hashes[0]), Some(hashes[1])]);
    // The honest way refuses early what verification would refuse.
    let extend = |scopes, valid| chain.extend(&who(3).0, &who(4).1, scopes, valid).unwrap_err();
    assert_eq!(extend(Scopes::OPERATE, all[2].valid).kind(), ErrorKind::Rejected);
}

#[test]
fn a_widened_scope_is_refused() {
    let error = changed(2, |link| link.scopes = Scopes::OPERATE | Scopes::CLAIM);
    assert_eq!(error, DelegationError::Widened { link: 2, scopes: Scopes::CLAIM });
    // Taken from the owner's link, but not given on by the link between.
    let error = changed(2, |link| link.scopes = Scopes::CONFIGURE);
    assert_eq!(error, DelegationError::Widened { link: 2, scopes: Scopes::CONFIGURE });
    let custom = Scopes::custom(31).unwrap();
    let error = changed(1, |link| link.scopes = Scopes::DELEGATE | custom);
    assert_eq!(error, DelegationError::Widened { link: 1, scopes: custom });
}

#[test]
fn an_extended_period_is_refused_at_both_ends() {
    for (at, valid) in [
        (1, period(999, 8_000)),
        (1, period(2_000, 9_001)),
        (2, period(1_999, 7_000)),
        (2, period(3_000, 8_001)),
    ] {
        assert_eq!(changed(at, |link| link.valid = valid), DelegationError::Outlives(at));
    }
}

#[test]
fn nobody_continues_without_the_delegate_scope() {
    let error = changed(1, |link| link.scopes = Scopes::OPERATE);
    assert_eq!(error, DelegationError::MayNotDelegate(2));
    let mut longer = links();
    longer.push(Delegation { issuer: who(3).1, subject: who(4).1, ..longer[2].clone() });
    assert_eq!(judge(&sealed(&longer)).unwrap_err(), DelegationError::MayNotDelegate(3));
}

#[test]
fn a_link_of_another_device_is_refused() {
    for at in 0..3 {
        let error = changed(at, |link| link.device = who(7).1);
        assert_eq!(error, DelegationError::Device(at));
    }
    // A whole chain of the same owner about his other device.
    let mut other = links();
    other.iter_mut().for_each(|link| link.device = who(7).1);
    assert_eq!(judge(&sealed(&other)).unwrap_err(), DelegationError::Device(0));
}

#[test]
fn a_chain_of_another_owner_is_refused() {
    let error = changed(0, |link| link.issuer = who(9).1);
    assert_eq!(error, DelegationError::Root);
}

#[test]
fn a_cut_chain_is_refused() {
    let links = sealed(&links());
    // The middle is taken out.
    let error = judge(&[links[0].clone(), links[2].clone()]).unwrap_err();
    assert_eq!(error, DelegationError::Gap(1));
    // The beginning is.
    assert_eq!(judge(&links[1..]).unwrap_err(), DelegationError::Root);
    // The end is missing: that is the chain of who was before, and grants him what he has.
    assert_eq!(judge(&links[..2]).unwrap().holder, who(2).1);
    // Another order.
    let turned = [links[0].clone(), links[2].clone(), links[1].clone()];
    assert_eq!(judge(&turned).unwrap_err(), DelegationError::Gap(1));
    let doubled = [links[0].clone(), links[0].clone()];
    assert_eq!(judge(&doubled).unwrap_err(), DelegationError::Gap(1));
}

#[test]
fn a_link_cannot_be_moved_under_another_parent() {
    let first = sealed(&links());
    // The owner gave the same device two delegations; the second has more.
    let mut all = links();
    all[0].scopes = Scopes::from_bits(u64::MAX);
    let second = sealed(&all);
    let moved = [second[0].clone(), first[1].clone(), first[2].clone()];
    assert_eq!(judge(&moved).unwrap_err(), DelegationError::Parent(1));
    // A link that names no parent follows nobody, and one that names one begins no chain.
    let mut orphan = links()[1].clone();
    orphan.parent = None;
    let orphan = orphan.seal(&who(1).0, &network()).unwrap();
    assert_eq!(judge(&[first[0].clone(), orphan]).unwrap_err(), DelegationError::Parent(1));
    let mut headless = links()[0].clone();
    headless.parent = Some(B256::ZERO);
    let headless = headless.seal(&who(0).0, &network()).unwrap();
    assert_eq!(judge(&[headless]).unwrap_err(), DelegationError::Root);
}

#[test]
fn a_chain_of_another_network_or_purpose_is_refused() {
    let links = sealed(&links());
    let drive = NetworkId::parse("drive").unwrap();
    let error = DelegationChain::from_links(&drive, &links).unwrap_err();
    assert!(matches!(
        error,
        DelegationError::Envelope { link: 0, error: EnvelopeError::Network { .. } }
    ));
    let envelope = Envelope::parse(&links[0], &network(), Purpose::new("delegation", 1)).unwrap();
    let (signer, did) = who(0);
    let login =
        Envelope::seal(&signer, &did, &network(), Purpose::new("login", 1), envelope.peek());
    let error = judge(&[login.unwrap()]).unwrap_err();
    assert!(matches!(
        error,
        DelegationError::Envelope { link: 0, error: EnvelopeError::Purpose { .. } }
    ));
}

#[test]
fn a_revoked_link_ends_everything_after_it() {
    let links = sealed(&links());
    let chain = DelegationChain::from_links(&network(), &links).unwrap();
    for at in 0..3 {
        let revoked = BTreeSet::from([chain.hashes()[at], B256::ZERO]);
        let verdict = chain.verify(&root(), &KeyRing::new(), &revoked, NOW);
        assert_eq!(verdict.unwrap_err(), DelegationError::Revoked(at));
    }
    let middle = BTreeSet::from([chain.hashes()[1]]);
    let before = DelegationChain::from_links(&network(), &links[..1]).unwrap();
    before.verify(&root(), &KeyRing::new(), &middle, NOW).unwrap();
}

#[test]
fn a_chain_counts_from_its_first_second_and_no_longer_at_its_last() {
    let links = sealed(&links());
    let at = |millis| judge_at(&links, Timestamp::from_millis(millis));
    at(3_000_000).unwrap();
    at(6_999_999).unwrap();
    let late = |link, valid| DelegationError::Time { link, valid };
    assert_eq!(at(2_999_999).unwrap_err(), late(2, period(3_000, 7_000)));
    assert_eq!(at(7_000_000).unwrap_err(), late(2, period(3_000, 7_000)));
    assert_eq!(at(0).unwrap_err(), late(0, period(1_000, 9_000)));
}

#[test]
fn a_link_that_its_issuer_did_not_sign_is_refused() {
    let all = links();
    for at in 0..3 {
        let mut links = sealed(&all[..at]);
        let parent = links.last().map(|before| hash(before));
        let forged = Delegation { parent, ..all[at].clone() };
        let stranger = key(all[at].issuer_algorithm(), 99);
        links.push(forged.seal(&stranger, &network()).unwrap());
        let error = judge(&links).unwrap_err();
        assert!(matches!(error, DelegationError::Envelope { link, .. } if link == at), "{error}");
    }
}

trait IssuerAlgorithm {
    fn issuer_algorithm(&self) -> Algorithm;
}

impl IssuerAlgorithm for Delegation {
    /// So that the forger is not stopped by naming another algorithm.
    fn issuer_algorithm(&self) -> Algorithm {
        let key = (0..20).map(who).find(|(_, did)| *did == self.issuer).unwrap().0;
        key.public_key().algorithm()
    }
}

/// The device is a did:io, whose key the registry knows and changes.
#[test]
fn after_a_rotation_the_old_key_delegates_no_more() {
    let (old, new) = (key(Algorithm::Es256k, 40), key(Algorithm::Es256k, 41));
    let device = io::did_io(old.public_key()).unwrap();
    let root = Ownership { owner: who(0).1, device: device.clone() };
    let scopes = Scopes::OPERATE | Scopes::DELEGATE;
    let chain =
        DelegationChain::start(&network(), &who(0).0, &root, &device, scopes, period(1_000, 9_000))
            .unwrap();
    let by = |signer: &SoftwareKey| {
        chain.extend(signer, &who(2).1, Scopes::OPERATE, period(2_000, 8_000)).unwrap()
    };
    let ring = |key: &SoftwareKey| {
        let mut ring = KeyRing::new();
        ring.insert(&device, key.public_key().clone(), Relationships::DELEGATION).unwrap();
        ring
    };
    let nothing = BTreeSet::new();
    by(&old).verify(&root, &ring(&old), &nothing, NOW).unwrap();
    by(&new).verify(&root, &ring(&new), &nothing, NOW).unwrap();
    for (signer, known) in [(&old, &new), (&new, &old)] {
        let error = by(signer).verify(&root, &ring(known), &nothing, NOW).unwrap_err();
        assert!(matches!(error, DelegationError::Envelope { link: 1, .. }), "{error}");
    }
    let error = by(&old).verify(&root, &KeyRing::new(), &nothing, NOW).unwrap_err();
    assert_eq!(error, DelegationError::UnknownKey(device.clone()));
    // A key that may only authenticate does not delegate.
    let mut ring = KeyRing::new();
    ring.insert_document(&io::document(old.public_key()).unwrap());
    let error = by(&old).verify(&root, &ring, &nothing, NOW).unwrap_err();
    assert_eq!(error, DelegationError::UnknownKey(device));
}

#[test]
fn an_account_of_a_chain_can_own() {
    let owner = key(Algorithm::Es256k, 50);
    let address = owner.public_key().to_address().unwrap();
    let did: Did = format!("did:pkh:eip155:4689:{address:#x}").parse().unwrap();
    let root = Ownership { owner: did.clone(), device: who(1).1 };
    let start = |signer: &SoftwareKey| {
        let valid = period(1_000, 9_000);
        DelegationChain::start(&network(), signer, &root, &who(2).1, Scopes::CLAIM, valid).unwrap()
    };
    let mut ring = KeyRing::new();
    ring.insert(&did, owner.public_key().clone(), Relationships::DELEGATION).unwrap();
    start(&owner).verify(&root, &ring, &BTreeSet::new(), NOW).unwrap();
    let thief = key(Algorithm::Es256k, 51);
    assert!(start(&thief).verify(&root, &ring, &BTreeSet::new(), NOW).is_err());
    let stolen = ring.insert(&did, thief.public_key().clone(), Relationships::DELEGATION);
    assert_eq!(stolen.unwrap_err().kind(), ErrorKind::Rejected);
}

/// A chain in which everybody passes everything on.
fn long(count: u8) -> Vec<Vec<u8>> {
    let link = |at: u8| Delegation {
        issuer: if at == 0 { who(0).1 } else { who(at + 1).1 },
        subject: who(at + 2).1,
        device: who(1).1,
        scopes: Scopes::DELEGATE,
        valid: period(1_000, 9_000),
        parent: None,
    };
    sealed(&(0..count).map(link).collect::<Vec<_>>())
}

#[test]
fn a_chain_has_at_most_eight_links() {
    assert_eq!(MAX_LINKS, 8);
    judge(&long(8)).unwrap();
    assert_eq!(judge(&long(9)).unwrap_err(), DelegationError::Links);
    assert_eq!(judge(&[]).unwrap_err(), DelegationError::Links);
    let chain = DelegationChain::from_links(&network(), &long(8)).unwrap();
    let error = chain.extend(&who(9).0, &who(10).1, Scopes::DELEGATE, period(1_000, 9_000));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn long_dids_are_refused_when_signing_and_bounded_when_reading() {
    let long = |letter: &str| Did::parse(&format!("did:web:{}", letter.repeat(504))).unwrap();
    let fits = Delegation {
        issuer: long("a"),
        subject: long("b"),
        device: long("c"),
        scopes: Scopes::NONE,
        valid: Period::new(Timestamp::EPOCH, Timestamp::from_secs(1)).unwrap(),
        parent: Some(B256::ZERO),
    };
    fits.seal(&who(0).0, &network()).unwrap();
    let error = DelegationChain::parse(&vec![0; 100_000], &network()).unwrap_err();
    assert_eq!(error, DelegationError::TooLong);
}

#[test]
fn periods_are_in_whole_seconds_as_on_chain() {
    let mut link = links()[0].clone();
    for (from, until) in [(1, 9_000), (1_000, 9_001)] {
        let moment = Timestamp::from_millis;
        link.valid = Period::new(moment(from), moment(until)).unwrap();
        let error = link.seal(&who(0).0, &network()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
    link.valid = Period::ALWAYS;
    assert_eq!(link.seal(&who(0).0, &network()).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let chain = DelegationChain::from_links(&network(), &sealed(&links())).unwrap();
    let bytes = chain.as_bytes();
    for end in 0..bytes.len() {
        assert!(DelegationChain::parse(&bytes[..end], &network()).is_err(), "{end}");
    }
    for tail in [&[0][..], &[0x80], bytes] {
        assert!(DelegationChain::parse(&[bytes, tail].concat(), &network()).is_err());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let chain = DelegationChain::from_links(&network(), &sealed(&links())).unwrap();
    let mut bytes = chain.as_bytes().to_vec();
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        let verdict = DelegationChain::parse(&bytes, &network())
            .and_then(|chain| chain.verify(&root(), &KeyRing::new(), &BTreeSet::new(), NOW));
        assert!(verdict.is_err(), "{at}");
        bytes[at] ^= 1;
    }
}

#[test]
fn scopes_are_read_as_they_are_written() {
    for text in
        ["", "submit,", "fly", "bit-0", "bit-4", "bit-64", "bit-x", "none, submit", "Submit"]
    {
        assert!(text.parse::<Scopes>().is_err(), "{text:?}");
    }
    assert_eq!("none".parse::<Scopes>().unwrap(), Scopes::NONE);
    assert_eq!("bit-63".parse::<Scopes>().unwrap(), Scopes::custom(31).unwrap());
    assert_eq!(Scopes::custom(32), None);
    let named = Scopes::SUBMIT | Scopes::CONFIGURE | Scopes::CLAIM | Scopes::OPERATE;
    let named = named | Scopes::DELEGATE;
    assert_eq!(named.to_string(), "submit, configure, claim, operate, delegate");
    assert_eq!(named.bits(), 31);
}

proptest! {
    #[test]
    fn scopes_survive_their_text(bits: u64) {
        let scopes = Scopes::from_bits(bits);
        prop_assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
    }

    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(DelegationChain::parse(&bytes, &network()).is_err());
    }

    /// Whatever is delegated, nobody ends up with more than anybody before him.
    #[test]
    fn rights_only_shrink(
        scopes in prop::collection::vec(any::<u64>(), 1..5),
        spans in prop::collection::vec((0_u64..20, 0_u64..20), 4),
    ) {
        let links: Vec<_> = scopes.iter().zip(&spans).enumerate().map(|(at, (bits, (early, late)))| {
            let at = u8::try_from(at).unwrap();
            Delegation {
                issuer: if at == 0 { who(0).1 } else { who(at + 1).1 },
                subject: who(at + 2).1,
                device: who(1).1,
                scopes: Scopes::from_bits(*bits),
                valid: period(NOW.secs() - early, NOW.secs() + 1 + late),
                parent: None,
            }
        }).collect();
        let verdict = judge(&sealed(&links));
        let shrinks = links.windows(2).all(|pair| {
            pair[0].scopes.contains(Scopes::DELEGATE | pair[1].scopes)
                && pair[0].valid.covers(&pair[1].valid)
        });
        prop_assert_eq!(verdict.is_ok(), shrinks);
        if let Ok(grant) = verdict {
            prop_assert!(links.iter().all(|link| link.scopes.contains(grant.scopes)));
        }
    }
}
