//! Projects whose own contract registers: how they are read, and what their verifier's word is worth.

use depin_core::keccak256;
use depin_evm::alloy::rpc::types::TransactionRequest;
use depin_identity::registry::ioid::contracts::VerifyingProxy;

use super::{attacks::stolen, *};

/// What the verifier signs: a personal message over chain, owner and device, and nothing else.
fn verified(world: &World, verifier: &SoftwareKey, owner: Address, device: Address) -> Vec<u8> {
    let message = [
        U256::from(world.devnet.chain_id()).to_be_bytes::<32>().as_slice(),
        owner.as_slice(),
        device.as_slice(),
    ]
    .concat();
    let prefix = format!("\x19Ethereum Signed Message:\n{}", message.len());
    let digest = keccak256([prefix.as_bytes(), &message].concat());
    let signature = verifier.sign_prehash(&digest.0).unwrap();
    let address = verifier.public_key().to_address().unwrap();
    depin_evm::recoverable(&signature, digest, address).unwrap().to_vec()
}

fn call(
    world: &World,
    proxy: Address,
    key: &SoftwareKey,
    nonce: u64,
    word: &[u8],
) -> TransactionRequest {
    let device = key.public_key().to_address().unwrap();
    let (v, r, s) = stolen(world, key, proxy, nonce);
    let (word, hash) = (word.to_vec().into(), B256::repeat_byte(5));
    let contract = VerifyingProxy::new(proxy, world.devnet.provider());
    let call = contract.register(word, hash, PLACE.into(), world.account(1), device, v, r, s);
    call.into_transaction_request().value(U256::from(world::PRICE))
}

#[tokio::test]
async fn devices_of_a_verifying_proxy_are_read_and_its_verifiers_word_never_ends() {
    let world = World::new().await;
    let verifier = SoftwareKey::from_seed(Algorithm::Es256k, [42; 32]);
    let (first, project) = world.proxy(&verifier, "First").await;
    let (second, other) = world.proxy(&verifier, "Second").await;
    let (key, did) = device(1);
    let address = io::address(&did).unwrap();
    let word = verified(&world, &verifier, world.account(1), address);
    let anybody = world.ioid(4).await;
    anybody.chain().send(call(&world, first, &key, 0, &word)).await.unwrap();

    let registry = anybody.registry_of(project).await.unwrap();
    let record = registry.device(&did).await.unwrap().unwrap();
    assert_eq!((&record.key, record.owner), (key.public_key(), world.account(1)));
    assert_eq!(record.document_uri, PLACE);

    // Removed from the one, it is in the other with the same word of the verifier, who was not asked.
    registry.remove(&key).await.unwrap();
    anybody.chain().send(call(&world, second, &key, 2, &word)).await.unwrap();
    assert_eq!(registry.device(&did).await.unwrap(), None, "it has another project now");
    let record = anybody.registry_of(other).await.unwrap().device(&did).await.unwrap().unwrap();
    assert_eq!((&record.key, record.status), (key.public_key(), DeviceStatus::Active));
}
