//! The registry contract on the embedded chain and over HTTP.

use std::sync::Arc;

use depin_core::{
    Address, Algorithm, B256, Did, ErrorKind, Signer, SoftwareKey,
    registry::{DeviceRegistry, DeviceStatus, Enrolment},
};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, Revert,
    alloy::{
        primitives::U256,
        providers::Provider,
        sol_types::{SolError, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
};
use depin_identity::{
    Resolver,
    document::document_hash,
    methods::{io, key},
    registry::evm::EvmRegistry,
};
use depin_testkit::registry::{conforms, enrolment};

mod attacks;
mod control;
mod delegation;
pub(crate) mod lying_node;

async fn chain(devnet: &Devnet) -> Chain {
    chain_of(devnet, 0).await
}

async fn chain_of(devnet: &Devnet, account: u16) -> Chain {
    Chain::from_provider(devnet.provider(), devnet.account(account)).connect().await.unwrap()
}

async fn registry(devnet: &Devnet) -> EvmRegistry {
    EvmRegistry::deploy(&chain(devnet).await, "Stations", "STN").await.unwrap()
}

fn device(seed: u8) -> (SoftwareKey, Did) {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]);
    let did = io::did_io(key.public_key()).unwrap();
    (key, did)
}

fn wish(key: &SoftwareKey) -> Enrolment {
    let did = io::did_io(key.public_key()).unwrap();
    enrolment(&did, key.public_key(), Address::repeat_byte(0xaa))
}

fn identity(key: &depin_core::PublicKey) -> Did {
    io::did_io(key).unwrap()
}

#[tokio::test]
async fn the_contract_on_the_embedded_chain_conforms() {
    let devnet = Devnet::start();
    let address = registry(&devnet).await.address();
    let open = async || EvmRegistry::new(chain(&devnet).await, address);
    conforms(open, Algorithm::Es256k, identity).await;
}

#[tokio::test]
async fn p256_devices_conform() {
    let devnet = Devnet::start();
    let address = registry(&devnet).await.address();
    let open = async || EvmRegistry::new(chain(&devnet).await, address);
    conforms(open, Algorithm::Es256, identity).await;
}

#[tokio::test]
async fn the_contract_over_http_conforms() {
    let devnet = Devnet::start();
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let connect = async || {
        let builder = Chain::builder().url(&server.url()).unwrap().signer(devnet.account(0));
        builder.poll_interval(std::time::Duration::from_millis(5)).connect().await.unwrap()
    };
    let deployed = EvmRegistry::deploy(&connect().await, "Stations", "STN").await.unwrap();
    let open = async || EvmRegistry::new(connect().await, deployed.address());
    conforms(open, Algorithm::Es256k, identity).await;
}

#[tokio::test]
async fn a_registered_device_resolves_until_it_is_revoked() {
    let devnet = Devnet::start();
    let registry = Arc::new(registry(&devnet).await);
    let resolver = Resolver::new().with_registry(registry.clone());
    let (known, known_did) = device(1);
    let (revoked, revoked_did) = device(2);
    for key in [&known, &revoked] {
        let document_hash = document_hash(&io::document(key.public_key()).unwrap());
        registry.register(&wish(key).document(document_hash, ""), key).await.unwrap();
    }
    registry.set_status(&revoked_did, DeviceStatus::Revoked).await.unwrap();

    let gone = [revoked_did, device(3).1];
    let known = [known_did, key::did_key(known.public_key())];
    depin_testkit::resolver::conforms(&resolver, &known, &gone).await;
}

#[tokio::test]
async fn a_record_is_found_by_any_spelling_of_its_did() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    let record = registry.register(&wish(&key), &key).await.unwrap();
    let mixed: Did = format!("did:io:{}", io::address(&did).unwrap()).parse().unwrap();
    assert_ne!(mixed, did);
    assert_eq!(registry.device(&mixed).await.unwrap(), Some(record));
}

#[tokio::test]
async fn wishes_the_contract_would_refuse_are_refused_before_a_transaction() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let before = devnet.block_number();
    let (device, _) = device(1);

    let named_by_key =
        enrolment(&key::did_key(device.public_key()), device.public_key(), Address::repeat_byte(1));
    let error = registry.register(&named_by_key, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("methods::io::did_io"), "{error}");

    let ed25519 = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let did = key::did_key(ed25519.public_key());
    let wish_of = enrolment(&did, ed25519.public_key(), Address::repeat_byte(1));
    let error = registry.register(&wish_of, &ed25519).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let long = wish(&device).document(B256::ZERO, "x".repeat(1025));
    let error = registry.register(&long, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);

    let accented = wish(&device).document(B256::ZERO, "https://example.org/é");
    let error = registry.register(&accented, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let error = registry.register_all(&[(accented, &device)]).await.unwrap_err();
    assert!(error.to_string().contains("percent-encode"), "{error}");

    let nameless = wish(&device).nullifier(B256::ZERO);
    let error = registry.register(&nameless, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);

    let mut ownerless = wish(&device);
    ownerless.owner = Address::ZERO;
    let error = registry.register(&ownerless, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("cannot own"), "{error}");
    assert_eq!(devnet.block_number(), before);
}

#[tokio::test]
async fn registering_needs_the_registrars_role() {
    let devnet = Devnet::start();
    let deployed = registry(&devnet).await;
    let stranger = EvmRegistry::new(chain_of(&devnet, 1).await, deployed.address());
    let (device, _) = device(1);
    let error = stranger.register(&wish(&device), &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("registrar role"), "{error}");
}

#[tokio::test]
async fn an_address_without_a_contract_is_named() {
    let devnet = Devnet::start();
    let nowhere = EvmRegistry::new(chain(&devnet).await, Address::repeat_byte(9));
    let error = nowhere.device(&device(1).1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no such contract"), "{error}");
}

#[tokio::test]
async fn accounts_are_where_the_contract_says_and_get_code_when_wanted() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let contract = Contract::new(registry.address(), registry.chain().provider());
    let code = async |address| registry.chain().provider().get_code_at(address).await.unwrap();

    let (alone, _) = device(1);
    let record = registry.register(&wish(&alone), &alone).await.unwrap();
    let account = record.account.unwrap();
    let device_address = io::address(&record.did).unwrap();
    assert_eq!(contract.accountOf(device_address).call().await.unwrap(), account);
    assert!(!code(account).await.is_empty());

    let (second, _) = device(2);
    let records = registry.register_all(&[(wish(&second), &second)]).await.unwrap();
    let account = records[0].account.unwrap();
    assert!(code(account).await.is_empty());
    assert_eq!(registry.create_account(&records[0].did).await.unwrap(), account);
    assert!(!code(account).await.is_empty());
    assert_eq!(registry.create_account(&records[0].did).await.unwrap(), account);

    let (third, _) = device(3);
    let generous = registry.clone().with_accounts();
    let records = generous.register_all(&[(wish(&third), &third)]).await.unwrap();
    assert!(!code(records[0].account.unwrap()).await.is_empty());
    let unknown = registry.create_account(&device(4).1).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let foreign = registry.create_account(&key::did_key(third.public_key())).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn large_batches_are_cut_to_fit_into_blocks() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let long = "u".repeat(1024);
    // P-256 signatures cost gas, long URIs cost bytes: each kind meets another limit.
    let fleets = [(Algorithm::Es256k, 200_u8), (Algorithm::Es256, 40)];
    for (algorithm, size) in fleets {
        let seeds = (0..size).map(|seed| [seed; 32]);
        let keys: Vec<_> = seeds.map(|seed| SoftwareKey::from_seed(algorithm, seed)).collect();
        let wishes: Vec<(Enrolment, &dyn Signer)> = keys
            .iter()
            .map(|key| (wish(key).document(B256::ZERO, &*long), key as &dyn Signer))
            .collect();
        let before = devnet.block_number();
        let records = registry.register_all(&wishes).await.unwrap();
        assert_eq!(records.len(), keys.len());
        let blocks = devnet.block_number() - before;
        assert!((2..5).contains(&blocks), "{blocks} transactions");
        for record in [&records[0], &records[keys.len() - 1]] {
            assert_eq!(registry.device(&record.did).await.unwrap().as_ref(), Some(record));
        }
    }
}

#[tokio::test]
async fn a_batch_with_one_bad_member_registers_nobody_and_says_so() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (known, _) = device(1);
    registry.register(&wish(&known), &known).await.unwrap();
    let (fresh, fresh_did) = device(2);
    let wishes: [(Enrolment, &dyn Signer); 2] = [(wish(&fresh), &fresh), (wish(&known), &known)];
    let error = registry.register_all(&wishes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.context().any(|pair| pair == ("registered before", "0")), "{error}");
    assert_eq!(registry.device(&fresh_did).await.unwrap(), None);
}

#[tokio::test]
async fn a_device_changes_its_document_again_and_again() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    for key in [device(1).0, SoftwareKey::from_seed(Algorithm::Es256, [1; 32])] {
        let first = registry.register(&wish(&key), &key).await.unwrap();
        for (round, uri) in ["ipfs://a", "ipfs://b", ""].into_iter().enumerate() {
            let hash = B256::repeat_byte(u8::try_from(round).unwrap());
            let record = registry.update_document(&first.did, &key, hash, uri).await.unwrap();
            assert_eq!((record.document_hash, record.document_uri.as_str()), (hash, uri));
            assert_eq!(record.appraisal, first.appraisal);
            assert_eq!(registry.device(&first.did).await.unwrap(), Some(record));
        }
        let error = registry.update_document(&first.did, &key, B256::ZERO, "é").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        registry.set_status(&first.did, DeviceStatus::Suspended).await.unwrap();
        let error = registry.update_document(&first.did, &key, B256::ZERO, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }
    let (key, did) = device(9);
    let unknown = registry.update_document(&did, &key, B256::ZERO, "").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn two_changes_in_one_block_leave_the_last() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    let (other, _) = device(2);
    // A batch registers both in one block, so the block has events of two devices.
    let wishes: [(Enrolment, &dyn Signer); 2] = [(wish(&key), &key), (wish(&other), &other)];
    let records = registry.register_all(&wishes).await.unwrap();
    assert_eq!(registry.device(&did).await.unwrap().as_ref(), Some(&records[0]));
}

#[tokio::test]
async fn asking_for_the_status_it_has_changes_nothing() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    registry.register(&wish(&key), &key).await.unwrap();
    let before = devnet.block_number();
    registry.set_status(&did, DeviceStatus::Active).await.unwrap();
    assert_eq!(devnet.block_number(), before);
}

#[tokio::test]
async fn a_reorg_takes_a_registration_back() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    registry.register(&wish(&key), &key).await.unwrap();
    devnet.reorg(1).unwrap();
    assert_eq!(registry.device(&did).await.unwrap(), None);
}

#[tokio::test]
async fn batches_of_several_owners_reach_each_of_them() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let keys: Vec<_> = (1..=5).map(|seed| device(seed).0).collect();
    let owned = keys.iter().zip([1, 1, 2, 2, 1]).map(|(key, owner)| {
        let mut wish = wish(key);
        wish.owner = Address::repeat_byte(owner);
        (wish, key as &dyn Signer)
    });
    let wishes: Vec<_> = owned.collect();
    let before = devnet.block_number();
    let records = registry.register_all(&wishes).await.unwrap();
    assert_eq!(devnet.block_number() - before, 3);
    for (record, (wish, _)) in records.iter().zip(&wishes) {
        assert_eq!(record.owner, wish.owner);
        assert_eq!(registry.device(&record.did).await.unwrap().as_ref(), Some(record));
    }
}
