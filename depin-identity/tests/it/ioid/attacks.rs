//! ioID's faults as they are, and how far the adapter contains them.

use depin_core::Signature;
use depin_evm::{
    Chain, Revert,
    alloy::{
        primitives::Bytes,
        sol,
        sol_types::{Revert as Reason, SolCall, SolStruct, eip712_domain},
    },
    bindings::DeviceAccount,
};
use depin_identity::registry::ioid::contracts::DeviceNFT;

use super::*;

sol! {
    struct Permit {
        address owner;
        uint256 nonce;
    }

    interface Loot {
        function transferFrom(address from, address to, uint256 token) external;
    }
}

const EVIL: &str = "ipfs://evil";

/// `v`, `r` and `s` of whatever the device signed as a permit, as anybody can find them.
fn parts(
    world: &World,
    device: Address,
    owner: Address,
    nonce: u64,
    signature: &Signature,
) -> (u8, B256, B256) {
    let domain = eip712_domain! {
        name: "ioIDRegistry",
        version: "1",
        chain_id: world.devnet.chain_id(),
        verifying_contract: world.addresses.registry,
    };
    let digest = Permit { owner, nonce: U256::from(nonce) }.eip712_signing_hash(&domain);
    let bytes = depin_evm::recoverable(signature, digest, device).unwrap();
    (bytes[64], B256::from_slice(&bytes[..32]), B256::from_slice(&bytes[32..64]))
}

/// A permit made with the key itself.
pub(super) fn stolen(
    world: &World,
    key: &SoftwareKey,
    owner: Address,
    nonce: u64,
) -> (u8, B256, B256) {
    let domain = eip712_domain! {
        name: "ioIDRegistry",
        version: "1",
        chain_id: world.devnet.chain_id(),
        verifying_contract: world.addresses.registry,
    };
    let digest = Permit { owner, nonce: U256::from(nonce) }.eip712_signing_hash(&domain);
    let signature = key.sign_prehash(&digest.0).unwrap();
    parts(world, key.public_key().to_address().unwrap(), owner, nonce, &signature)
}

async fn attacker(world: &World) -> Chain {
    world::connect(&world.devnet, 5).await
}

fn refused(error: &depin_core::Error, words: &str) {
    let reason = Revert::of(error).and_then(|revert| revert.decode::<Reason>());
    assert_eq!(reason.map(|reason| reason.reason).as_deref(), Some(words), "{error}");
}

#[tokio::test]
async fn an_intercepted_registration_is_noticed_and_put_right() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (operator, owner) = (world.account(0), world.account(1));
    let (key, did) = device(1);
    let (address, wish) = (io::address(&did).unwrap(), wish(&key, owner));
    let device = Leaky::new(key, 1);
    registry.register(&wish, &device).await.unwrap_err();

    // The permit is for the operator, yet anybody can send it, with any document.
    let thief = attacker(&world).await;
    let (v, r, s) = parts(&world, address, operator, 0, &device.leaked());
    let (contract, token) = (world.raw(&thief), world.minted(&registry).await);
    let call = contract.register_1(
        registry.collection(),
        token,
        operator,
        address,
        B256::repeat_byte(0xee),
        EVIL.into(),
        v,
        r,
        s,
    );
    thief.send(call.into_transaction_request().value(U256::from(world::PRICE))).await.unwrap();
    assert_eq!(registry.device(&did).await.unwrap().unwrap().document_uri, EVIL);

    let error = registry.register(&wish, &device).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("IoIdRegistry::update"), "{error}");
    registry.update(&device, wish.document_hash, &wish.document_uri).await.unwrap();
    let record = registry.hand_over(&did, owner).await.unwrap();
    assert_eq!((record.owner, record.document_hash), (owner, wish.document_hash));
    assert_eq!(record.key, *device.public_key());

    let again = contract.register_1(
        registry.collection(),
        token,
        operator,
        address,
        B256::repeat_byte(0xee),
        EVIL.into(),
        v,
        r,
        s,
    );
    let again = again.into_transaction_request().value(U256::from(world::PRICE));
    refused(&thief.send(again).await.unwrap_err(), "nft already used");
}

#[tokio::test]
async fn an_intercepted_update_can_be_burnt_but_not_changed() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let operator = world.account(0);
    let (key, did) = device(1);
    let before = registry.register(&wish(&key, operator), &key).await.unwrap();
    let device = Leaky::new(key, 0);
    registry.update(&device, B256::repeat_byte(1), "ipfs://second").await.unwrap_err();

    let thief = attacker(&world).await;
    let contract = world.raw(&thief);
    let address = io::address(&did).unwrap();
    let (v, r, s) = parts(&world, address, operator, 1, &device.leaked());
    let update = contract.update(address, B256::repeat_byte(0xee), EVIL.into(), v, r, s);
    refused(&thief.send(update.into_transaction_request()).await.unwrap_err(), "invalid signature");
    let remove = contract.remove(address, v, r, s).into_transaction_request();
    refused(&thief.send(remove).await.unwrap_err(), "invalid signature");
    // A migration to the one who owns it already does nothing, but spends the permit.
    let burn = contract.migrate(address, operator, v, r, s).into_transaction_request();
    thief.send(burn.clone()).await.unwrap();
    refused(&thief.send(burn).await.unwrap_err(), "invalid signature");

    assert_eq!(registry.device(&did).await.unwrap(), Some(before));
    registry.update(&device, B256::repeat_byte(1), "ipfs://second").await.unwrap();
}

#[tokio::test]
async fn a_stolen_device_key_takes_token_and_wallet() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let owner = world.account(1);
    let (key, did) = device(1);
    let record = registry.register(&wish(&key, owner), &key).await.unwrap();
    let wallet = record.account.unwrap();
    let thief = attacker(&world).await;
    let (v, r, s) = stolen(&world, &key, thief.account(), 1);
    let address = io::address(&did).unwrap();
    let migrate =
        world.raw(&thief).migrate(address, thief.account(), v, r, s).into_transaction_request();
    thief.send(migrate).await.expect("ioID asks the owner nothing");
    assert_eq!(registry.device(&did).await.unwrap().unwrap().owner, thief.account());

    let account = DeviceAccount::new(wallet, thief.provider());
    let loot = Loot::transferFromCall { from: wallet, to: thief.account(), token: U256::ONE };
    let loot = Bytes::from(loot.abi_encode());
    let drain = account.execute(registry.collection(), U256::ZERO, loot, 0);
    thief.send(drain.into_transaction_request()).await.unwrap();
    let token = DeviceNFT::new(registry.collection(), thief.provider());
    assert_eq!(thief.read(&token.ownerOf(U256::ONE)).await.unwrap(), thief.account());
    // Nor does the adapter help the thief who comes with the key alone.
    let error = registry.migrate(&key, world.account(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_permit_for_one_action_is_good_for_the_others() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    registry.register(&wish(&key, world.account(0)), &key).await.unwrap();
    // What migrate() sends names the next owner, who can throw the device out with it instead.
    let heir = attacker(&world).await;
    let device = Leaky::new(key, 0);
    registry.migrate(&device, heir.account()).await.unwrap_err();
    let address = io::address(&did).unwrap();
    let (v, r, s) = parts(&world, address, heir.account(), 1, &device.leaked());
    let remove = world.raw(&heir).remove(address, v, r, s).into_transaction_request();
    heir.send(remove).await.unwrap();
    assert_eq!(registry.device(&did).await.unwrap().unwrap().status, DeviceStatus::Revoked);
}

#[tokio::test]
async fn ioid_takes_removed_devices_back_and_the_adapter_does_not() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let operator = world.account(0);
    let (first, did) = device(1);
    registry.register(&wish(&first, operator), &first).await.unwrap();
    registry.register(&wish(&device(2).0, operator), &device(2).0).await.unwrap();
    registry.remove(&first).await.unwrap();
    let error = registry.register(&wish(&first, operator), &first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another key"), "{error}");

    let address = io::address(&did).unwrap();
    let token = register_anyway(&world, &registry, &first).await;
    let record = registry.device(&did).await.unwrap().unwrap();
    assert_eq!((record.status, record.document_uri.as_str()), (DeviceStatus::Active, EVIL));
    assert_eq!(record.key, *first.public_key(), "found among later permits too");
    assert_ne!(record.account, Some(address));
    assert_eq!(registry.ioid().registration(&did).await.unwrap().unwrap().token, token);
    // The first device of a project, listed twice, closes ioID's list to a circle.
    let listed = registry.ioid().list_devices(registry.project(), 100).await.unwrap();
    assert_eq!(listed, [did, device(2).1]);
}

/// As the project's operator, without our client; answers the ioID token.
async fn register_anyway(world: &World, registry: &IoIdRegistry, key: &SoftwareKey) -> U256 {
    let chain = registry.ioid().chain();
    let device = key.public_key().to_address().unwrap();
    let contract = world.raw(chain);
    let nonce: u64 = chain.read(&contract.nonces(device)).await.unwrap().to();
    let collection = DeviceNFT::new(registry.collection(), chain.provider());
    chain.send(collection.mint(chain.account()).into_transaction_request()).await.unwrap();
    let token = world.minted(registry).await;
    let approve = collection.approve(world.addresses.registry, token).into_transaction_request();
    chain.send(approve).await.unwrap();
    let (v, r, s) = stolen(world, key, chain.account(), nonce);
    let hash = B256::repeat_byte(0xee);
    let call =
        contract.register_0(registry.collection(), token, device, hash, EVIL.into(), v, r, s);
    chain.send(call.into_transaction_request().value(U256::from(world::PRICE))).await.unwrap();
    U256::from(3)
}
