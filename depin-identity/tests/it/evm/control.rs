//! Rotation to the committed key, and what owners sign.

use depin_core::{registry::next_key_commitment, resolution::DidResolver};

use super::*;

async fn registered(registry: &EvmRegistry, key: &SoftwareKey, next: &SoftwareKey) -> Did {
    let wish = wish(key).next_key(next.public_key()).document(B256::ZERO, "");
    registry.register(&wish, key).await.unwrap().did
}

/// An owner with a key of his own.
fn owner() -> SoftwareKey {
    SoftwareKey::from_seed(Algorithm::Es256k, [0xaa; 32])
}

async fn owned(registry: &EvmRegistry, key: &SoftwareKey) -> Did {
    let mut wish = wish(key);
    wish.owner = owner().public_key().to_address().unwrap();
    registry.register(&wish, key).await.unwrap().did
}

#[tokio::test]
async fn a_device_keeps_its_did_and_changes_its_key_and_curve() {
    let devnet = Devnet::start();
    let registry = Arc::new(registry(&devnet).await);
    let (first, _) = device(1);
    let second = SoftwareKey::from_seed(Algorithm::Es256, [2; 32]);
    let third = device(3).0;
    let did = registered(&registry, &first, &second).await;
    let before = registry.device(&did).await.unwrap().unwrap();
    assert_eq!(before.next_key, Some(next_key_commitment(second.public_key())));
    assert_eq!(registry.keys(&did).await.unwrap(), [first.public_key().clone()]);

    let after = registry.rotate(&did, &second, Some(third.public_key())).await.unwrap();
    assert_eq!(after.key, *second.public_key());
    assert_eq!(after.next_key, Some(next_key_commitment(third.public_key())));
    assert_eq!((&after.did, after.owner, after.account), (&did, before.owner, before.account));
    assert_eq!(registry.device(&did).await.unwrap(), Some(after));

    // Its document has the old name and the new key.
    let resolver = Resolver::new().with_registry(registry.clone());
    let document = resolver.resolve(&did).await.unwrap();
    assert_eq!(document, io::document_of(&registry.device(&did).await.unwrap().unwrap()).unwrap());

    // The new key signs for it, the old one no more.
    let hash = B256::repeat_byte(1);
    registry.update_document(&did, &first, hash, "ipfs://a").await.unwrap_err();
    registry.update_document(&did, &second, hash, "ipfs://a").await.unwrap();
    let last = registry.rotate(&did, &third, None).await.unwrap();
    assert_eq!((last.next_key, last.document_uri.as_str()), (None, ""));
    let keys = [&first, &second, &third].map(|key| key.public_key().clone());
    assert_eq!(registry.keys(&did).await.unwrap(), keys);
}

#[tokio::test]
async fn former_keys_are_found_past_changes_of_the_document() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (first, second) = (device(1).0, device(2).0);
    let did = registered(&registry, &first, &second).await;
    for (key, rotate) in [(&first, true), (&second, false)] {
        for round in 1..4 {
            let hash = B256::repeat_byte(round);
            registry.update_document(&did, key, hash, "ipfs://a").await.unwrap();
        }
        if rotate {
            registry.rotate(&did, &second, None).await.unwrap();
        }
    }
    let keys = [&first, &second].map(|key| key.public_key().clone());
    assert_eq!(registry.keys(&did).await.unwrap(), keys);
    assert!(registry.keys(&device(9).1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_thief_cannot_hide_former_keys_behind_changes_of_the_document() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (first, second, third) = (device(1).0, device(2).0, device(3).0);
    let did = registered(&registry, &first, &second).await;
    let flood = async |key: &SoftwareKey| {
        for round in 0..70 {
            let hash = B256::repeat_byte(round);
            registry.update_document(&did, key, hash, "ipfs://a").await.unwrap();
        }
    };
    flood(&first).await;
    assert_eq!(registry.keys(&did).await.unwrap(), [first.public_key().clone()]);
    registry.rotate(&did, &second, Some(third.public_key())).await.unwrap();
    flood(&second).await;
    let keys = [&first, &second].map(|key| key.public_key().clone());
    assert_eq!(registry.keys(&did).await.unwrap(), keys);
    registry.rotate(&did, &third, None).await.unwrap();
    let keys = [&first, &second, &third].map(|key| key.public_key().clone());
    assert_eq!(registry.keys(&did).await.unwrap(), keys);
}

#[tokio::test]
async fn a_device_that_changed_its_key_very_often_keeps_its_whole_history() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let keys: Vec<_> = (1..=132).map(|seed| device(seed).0).collect();
    let did = registered(&registry, &keys[0], &keys[1]).await;
    for (at, next) in keys.iter().enumerate().skip(1) {
        registry.rotate(&did, next, keys.get(at + 1).map(Signer::public_key)).await.unwrap();
    }
    let all: Vec<_> = keys.iter().map(|key| key.public_key().clone()).collect();
    assert_eq!(registry.keys(&did).await.unwrap(), all);

    // A node that tells of few blocks at once is asked window by window, back to the registration.
    devnet.mine(200);
    devnet.limit_logs(50);
    assert_eq!(registry.keys(&did).await.unwrap(), all);
}

#[tokio::test]
async fn a_device_never_commits_to_the_key_that_it_has() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (live, next) = (device(1).0, device(2).0);
    let did = registered(&registry, &live, &next).await;
    let before = devnet.block_number();
    for key in [device(3).0, SoftwareKey::from_seed(Algorithm::Es256, [3; 32])] {
        let own = wish(&key).next_key(key.public_key());
        let error = registry.register(&own, &key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let error = registry.register_all(&[(own, &key)]).await.unwrap_err();
        assert!(error.to_string().contains("make another"), "{error}");
    }
    let error = registry.rotate(&did, &next, Some(next.public_key())).await.unwrap_err();
    assert!(error.to_string().contains("make another"), "{error}");
    assert_eq!((error.kind(), devnet.block_number()), (ErrorKind::Rejected, before));
}

#[tokio::test]
async fn the_owners_key_does_not_become_the_devices() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let key = device(1).0;
    let mut wish = wish(&key).next_key(owner().public_key());
    wish.owner = owner().public_key().to_address().unwrap();
    let did = registry.register(&wish, &key).await.unwrap().did;
    let error = registry.rotate(&did, &owner(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("cannot own"), "{error}");
}

#[tokio::test]
async fn a_stolen_key_cannot_rotate() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (live, next) = (device(1).0, device(2).0);
    let did = registered(&registry, &live, &next).await;
    let thiefs = device(3).0;
    for key in [&live, &thiefs] {
        let error = registry.rotate(&did, key, Some(thiefs.public_key())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("did not commit"), "{error}");
    }
    // The network suspends the device, and its next key ends the theft.
    registry.set_status(&did, DeviceStatus::Suspended).await.unwrap();
    let record = registry.rotate(&did, &next, None).await.unwrap();
    assert_eq!((record.status, &record.key), (DeviceStatus::Suspended, next.public_key()));
    registry.set_status(&did, DeviceStatus::Active).await.unwrap();
    assert_eq!(registry.rotate(&did, &thiefs, None).await.unwrap_err().kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn the_same_hardware_is_told_that_it_has_an_identity() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (first, second) = (device(1).0, device(2).0);
    let nullifier = B256::repeat_byte(7);
    let record = registry.register(&wish(&first).nullifier(nullifier), &first).await.unwrap();
    assert_eq!(record.nullifier, Some(nullifier));
    let error = registry.register(&wish(&second).nullifier(nullifier), &second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("hardware"), "{error}");
}

#[tokio::test]
async fn an_owner_passes_his_device_on_without_a_transaction_of_his_own() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, _) = device(1);
    let did = owned(&registry, &key).await;
    let (buyer, thief) = (Address::repeat_byte(0xbb), device(4).0);

    let consent = registry.consent_to_transfer(&did, buyer).await.unwrap();
    assert!(consent.sign(&thief).is_err());
    let signature = consent.sign(&owner()).unwrap();
    registry.submit(&consent, signature.clone()).await.unwrap();
    assert_eq!(registry.device(&did).await.unwrap().unwrap().owner, buyer);
    let again = registry.submit(&consent, signature.clone()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);

    // What one consents to is not consent to another thing.
    let other = owned(&registry, &device(2).0).await;
    let elsewhere = registry.consent_to_transfer(&other, buyer).await.unwrap();
    let error = registry.submit(&elsewhere, signature).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let record = registry.transfer(&other, buyer, &owner()).await.unwrap();
    assert_eq!(record.owner, buyer);
}

#[tokio::test]
async fn an_owner_revokes_by_signature() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, _) = device(1);
    let did = owned(&registry, &key).await;
    let transfer = registry.consent_to_transfer(&did, Address::repeat_byte(1)).await.unwrap();
    let consent = registry.consent_to_revocation(&did).await.unwrap();
    assert_ne!(transfer.digest(), consent.digest());
    let wrong = transfer.sign(&owner()).unwrap();
    assert_eq!(registry.submit(&consent, wrong).await.unwrap_err().kind(), ErrorKind::Rejected);
    registry.submit(&consent, consent.sign(&owner()).unwrap()).await.unwrap();
    let record = registry.device(&did).await.unwrap().unwrap();
    assert_eq!(record.status, DeviceStatus::Revoked);
}

#[tokio::test]
async fn the_commitment_to_a_next_key_is_what_the_contract_hashes() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    for (seed, algorithm) in [(1, Algorithm::Es256k), (2, Algorithm::Es256)] {
        let (key, next) = (device(seed).0, SoftwareKey::from_seed(algorithm, [9; 32]));
        let did = registered(&registry, &key, &next).await;
        registry.rotate(&did, &next, None).await.unwrap();
    }
}
