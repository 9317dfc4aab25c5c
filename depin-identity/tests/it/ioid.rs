//! ioID's contracts, as a stand-in with their behaviour and faults, on the embedded chain.

use std::sync::Arc;

use depin_core::{
    Address, Algorithm, B256, Did, ErrorKind, Signer, SoftwareKey, U256,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
};
use depin_identity::{
    DidResolver, Resolver,
    document::{document_hash, to_json},
    methods::{io, key},
    registry::{
        evm::EvmRegistry,
        ioid::{
            Addresses, DocumentSource, HashedWith, IoId, IoIdRegistry, ProjectKind, verify_document,
        },
    },
};
use depin_testkit::registry::{conforms, enrolment};

mod attacks;
mod completed;
mod documents;
mod interfaces;
mod leaky;
mod proxies;
mod world;

use self::{completed::Completed, leaky::Leaky, world::World};

fn device(seed: u8) -> (SoftwareKey, Did) {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]);
    let did = io::did_io(key.public_key()).unwrap();
    (key, did)
}

const PLACE: &str = "ipfs://bafy/device.json";

/// Of a device with the document that follows from its key, owned by `owner`.
fn wish(key: &SoftwareKey, owner: Address) -> Enrolment {
    let document = io::document(key.public_key()).unwrap();
    let wish = enrolment(&document.id, key.public_key(), owner);
    wish.document(document_hash(&document), PLACE)
}

#[tokio::test]
async fn a_device_lives_from_project_to_removal() {
    let world = World::new().await;
    let ioid = world.ioid(0).await;
    let operator = ioid.chain().account();

    let project = ioid.register_project("Weather", ProjectKind::Hardware).await.unwrap();
    assert_eq!(ioid.apply_slots(project, 2).await.unwrap(), U256::from(2 * world::PRICE));
    let error = ioid.registry_of(project).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let collection = world.collection(&ioid).await;
    ioid.set_device_contract(project, collection).await.unwrap();
    ioid.allow_minting(collection, operator, 10).await.unwrap();

    let registry = ioid.registry_of(project).await.unwrap();
    let (key, did) = device(1);
    assert_eq!(registry.device(&did).await.unwrap(), None);
    let record = registry.register(&wish(&key, operator), &key).await.unwrap();
    assert_eq!((&record.did, &record.key, record.owner), (&did, key.public_key(), operator));
    assert_eq!(record.account, ioid.wallet(&did).await.unwrap());

    let found = ioid.project(project).await.unwrap();
    assert_eq!((found.name.as_str(), found.kind), ("Weather", ProjectKind::Hardware));
    assert_eq!((found.owner, found.device_contract), (operator, Some(collection)));
    assert_eq!((found.slots, found.used, found.devices), (U256::from(2), U256::ONE, U256::ONE));

    let hash = B256::repeat_byte(5);
    let updated = registry.update(&key, hash, "ipfs://bafy/second.json").await.unwrap();
    assert_eq!(updated.document_uri, "ipfs://bafy/second.json");
    assert_eq!(
        updated,
        DeviceRecord {
            document_hash: hash,
            document_uri: updated.document_uri.clone(),
            ..record.clone()
        }
    );

    let moved = registry.migrate(&key, world.account(1)).await.unwrap();
    assert_eq!(moved, DeviceRecord { owner: world.account(1), ..updated });
    let error = registry.migrate(&key, world.account(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "it is not this account's any more");

    registry.remove(&key).await.unwrap();
    let gone = DeviceRecord { status: DeviceStatus::Revoked, ..moved };
    assert_eq!(registry.device(&did).await.unwrap(), Some(gone.clone()));
    assert_eq!(ioid.registration(&did).await.unwrap(), None);
    assert_eq!(ioid.wallet(&did).await.unwrap(), None);
    assert_eq!(registry.remove(&key).await.unwrap_err().kind(), ErrorKind::NotFound);
    // The rest of ioID remembers: token, owner, list and count stay.
    assert_eq!(ioid.project(project).await.unwrap().devices, U256::ONE);
    assert_eq!(ioid.list_devices(project, 10).await.unwrap(), [did]);
    assert_eq!(gone.owner, world.account(1));
}

#[tokio::test]
async fn with_what_ioid_lacks_kept_beside_it_the_seam_conforms() {
    let world = World::new().await;
    let ledger = Completed::ledger();
    let open = async || Completed::new(world.registry(0).await, &ledger);
    let identity = |key: &depin_core::PublicKey| io::did_io(key).unwrap();
    conforms(open, Algorithm::Es256k, identity).await;
}

#[tokio::test]
async fn what_ioid_cannot_do_is_refused_with_the_remedy() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    let wish = wish(&key, world.account(1));
    let record = registry.register(&wish, &key).await.unwrap();
    assert_ne!(wish.appraisal.hash(), B256::ZERO);
    assert_eq!(record.appraisal, B256::ZERO, "ioID has no place for it");

    registry.set_status(&did, DeviceStatus::Active).await.unwrap();
    let error = registry.set_status(&did, DeviceStatus::Suspended).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("registry::evm"), "{error}");
    let error = registry.set_status(&did, DeviceStatus::Revoked).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("IoIdRegistry::remove"), "{error}");

    let key = Arc::new(key);
    let reachable = registry.with_signers(move |_| Some(key.clone()));
    reachable.set_status(&did, DeviceStatus::Revoked).await.unwrap();
    reachable.set_status(&did, DeviceStatus::Revoked).await.unwrap();
    for status in [DeviceStatus::Active, DeviceStatus::Suspended] {
        let error = reachable.set_status(&did, status).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }
}

#[tokio::test]
async fn wishes_that_ioid_would_refuse_cost_no_transaction() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let owner = world.account(1);
    let before = world.devnet.block_number();

    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let other = SoftwareKey::from_seed(algorithm, [1; 32]);
        let wish = enrolment(&key::did_key(other.public_key()), other.public_key(), owner);
        let error = registry.register(&wish, &other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("secp256k1"), "{error}");
    }
    let (device, _) = device(1);
    let good = wish(&device, owner);
    let named_by_key = enrolment(&key::did_key(device.public_key()), device.public_key(), owner);
    let hash = good.document_hash;
    let bad = [
        (ErrorKind::Rejected, named_by_key),
        (ErrorKind::Rejected, wish(&device, Address::ZERO)),
        (ErrorKind::Rejected, good.clone().document(B256::ZERO, PLACE)),
        (ErrorKind::Limit, good.clone().document(hash, "x".repeat(1025))),
        (ErrorKind::Unsupported, good.clone().nullifier(hash)),
        (ErrorKind::Unsupported, good.next_key(device.public_key())),
    ];
    for (kind, wish) in bad {
        let error = registry.register(&wish, &device).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(world.devnet.block_number(), before);
}

#[tokio::test]
async fn only_what_is_due_is_paid() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (ioid, project) = (registry.ioid().clone(), registry.project());
    assert_eq!(ioid.price().await.unwrap(), U256::from(world::PRICE));
    ioid.apply_slots(project, 1).await.unwrap();
    let paid = world.store_balance().await;
    registry.register(&wish(&device(1).0, world.account(1)), &device(1).0).await.unwrap();
    assert_eq!(world.store_balance().await, paid, "the slot was paid for");
    registry.register(&wish(&device(2).0, world.account(1)), &device(2).0).await.unwrap();
    assert_eq!(world.store_balance().await, paid + U256::from(world::PRICE));
}

#[tokio::test]
async fn devices_of_other_projects_are_strangers() {
    let world = World::new().await;
    let (ours, theirs) = (world.registry(0).await, world.project(1, "Other").await);
    let (key, did) = device(1);
    theirs.register(&wish(&key, world.account(1)), &key).await.unwrap();

    assert_eq!(ours.device(&did).await.unwrap(), None);
    assert_eq!(
        ours.update(&key, B256::repeat_byte(1), "").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        ours.hand_over(&did, world.account(2)).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let error = ours.register(&wish(&key, world.account(1)), &key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(ours.ioid().registration(&did).await.unwrap().is_some());
}

#[tokio::test]
async fn documents_that_follow_from_the_key_need_no_uri() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    let wish = wish(&key, world.account(1)).document(B256::ZERO, "");
    let record = registry.register(&wish, &key).await.unwrap();
    assert_eq!((record.document_hash, record.document_uri.as_str()), (B256::ZERO, ""));
    let document = io::document(key.public_key()).unwrap();
    let stored = registry.ioid().registration(&did).await.unwrap().unwrap();
    assert_eq!(stored.document_hash, document_hash(&document));
    assert_eq!(registry.document(&did).await.unwrap(), document);

    let updated = registry.update(&key, document_hash(&document), "").await.unwrap();
    assert_eq!(updated, record);
    let resolver = Resolver::new().with_registry(Arc::new(registry));
    assert_eq!(resolver.resolve(&did).await.unwrap(), document);
}

#[tokio::test]
async fn a_device_moves_to_the_registry_of_the_sdk_with_its_name() {
    let world = World::new().await;
    let old = world.registry(0).await;
    let new = EvmRegistry::deploy(old.ioid().chain(), "Stations", "STN").await.unwrap();
    let (key, did) = device(1);
    let wish = wish(&key, world.account(1));
    let before = old.register(&wish, &key).await.unwrap();

    for did in old.ioid().list_devices(old.project(), 10).await.unwrap() {
        let record = old.device(&did).await.unwrap().unwrap();
        let anew = enrolment(&did, &record.key, record.owner);
        let anew = anew.document(record.document_hash, record.document_uri);
        new.register(&anew, &key).await.unwrap();
    }
    old.remove(&key).await.unwrap();
    let after = new.device(&did).await.unwrap().unwrap();
    assert_eq!((&after.did, &after.key, after.owner), (&before.did, &before.key, before.owner));
    assert_eq!(after.document_hash, before.document_hash);
    assert_ne!(after.account, before.account, "wallets cannot move");
}

#[tokio::test]
async fn an_owner_hands_over_without_the_device() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    registry.register(&wish(&key, world.account(1)), &key).await.unwrap();
    let error = registry.hand_over(&did, world.account(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "it is not the operator's: {error}");
    let owner = world.ioid(1).await.registry_of(registry.project()).await.unwrap();
    let record = owner.hand_over(&did, world.account(2)).await.unwrap();
    assert_eq!(record.owner, world.account(2));
    assert_eq!(owner.hand_over(&did, world.account(2)).await.unwrap(), record);
}

#[tokio::test]
async fn a_failed_step_goes_on_with_the_same_device_token() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, _) = device(1);
    // A contract that takes no tokens cannot own the device, which shows last.
    let wall = wish(&key, world.addresses.store);
    let error = registry.register(&wall, &key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let error = registry.register(&wall, &key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("IoIdRegistry::hand_over"), "{error}");
    let did = io::did_io(key.public_key()).unwrap();
    let record = registry.hand_over(&did, world.account(1)).await.unwrap();
    assert_eq!(record.owner, world.account(1));

    // A device that goes away before it gives its permit has a token already.
    let (second, did) = device(2);
    let wish = wish(&second, world.account(1));
    let away = Leaky::new(second, 1);
    let error = registry.register(&wish, &away).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let minted = world.minted(&registry).await;
    registry.register(&wish, &away).await.unwrap();
    assert_eq!(world.minted(&registry).await, minted);
    assert!(registry.device(&did).await.unwrap().is_some());
}

#[tokio::test]
async fn reasons_of_the_contracts_come_with_their_remedy() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (ioid, project) = (registry.ioid(), registry.project());
    let error = ioid.register_project("Stations", ProjectKind::Hardware).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let error = ioid.register_project("", ProjectKind::Hardware).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let error = ioid.set_device_contract(project, world.account(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let stranger = world.ioid(1).await;
    let error = stranger.set_device_contract(project, world.account(3)).await.unwrap_err();
    assert!(error.to_string().contains("only the project's owner"), "{error}");
    let error = stranger.registry_of(project).await.unwrap();
    let error =
        error.register(&wish(&device(1).0, world.account(1)), &device(1).0).await.unwrap_err();
    assert!(error.to_string().contains("IoId::allow_minting"), "{error}");
    let software = ioid.register_project("Software", ProjectKind::Virtual).await.unwrap();
    let error = ioid.apply_slots(software, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(ioid.project(software).await.unwrap().kind, ProjectKind::Virtual);
    assert!(ioid.project(U256::from(99)).await.is_err());
    assert_eq!(ioid.apply_slots(project, u64::MAX).await.unwrap_err().kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn long_lists_are_read_page_by_page_up_to_the_limit() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (ioid, project) = (registry.ioid(), registry.project());
    assert!(ioid.list_devices(project, 0).await.unwrap().is_empty());
    let all = world.many(&registry, 51).await;
    let listed = ioid.list_devices(project, 51).await.unwrap();
    assert_eq!(listed.len(), 51, "no page loses its last device");
    assert_eq!(listed.iter().rev().cloned().collect::<Vec<_>>(), all);
    let error = ioid.list_devices(project, 50).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}
