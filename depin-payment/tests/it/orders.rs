//! Claims that pay whom the account names, sent by anybody.

use std::time::Duration;

use depin_core::{
    Address, Algorithm, Amount, B256, ChainId, EpochId, ErrorKind, NetworkId, Signer, SoftwareKey,
    Timestamp, U256,
    reward::{Commitment, RewardDistributor, TokenLedger},
};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment,
    alloy::{
        primitives::address,
        sol_types::{Eip712Domain, SolStruct, eip712_domain},
    },
    bindings::{DeviceRegistry, RewardDistributor as Contract},
    deploy, recoverable,
};
use depin_payment::{
    RewardTree,
    evm::{EvmDeviceAccount, EvmDistributor, EvmToken},
    order::{self, ClaimOrder, SignedOrder},
    typed,
};

use super::evm::chain;

const EARNED: u64 = 7;
const TO: Address = address!("0x00000000000000000000000000000000000000b0");

/// A network in which one account earned, seen by a relayer.
struct World {
    devnet: Devnet,
    relayer: Chain,
    contracts: Deployment,
    distributor: EvmDistributor,
    token: EvmToken,
}

impl World {
    async fn new() -> Self {
        let devnet = Devnet::start();
        let relayer = chain(&devnet, 0).await;
        let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
        let contracts = deploy(&relayer, &options).await.unwrap();
        let distributor = EvmDistributor::new(relayer.clone(), contracts.distributor);
        let token = EvmToken::new(relayer.clone(), contracts.token);
        Self { devnet, relayer, contracts, distributor, token }
    }

    /// Publishes that `account`, and another one, earned.
    async fn publish(&self, epoch: u64, account: Address, tokens: u64) -> RewardTree {
        let other = (Address::repeat_byte(0xee), Amount::tokens(1));
        let tree = RewardTree::build(vec![(account, Amount::tokens(tokens)), other]).unwrap();
        let cumulative = Amount::tokens(tokens + 1);
        let (epoch, root, manifest) = (EpochId::new(epoch), tree.root(), B256::repeat_byte(1));
        self.distributor.publish(&Commitment { epoch, root, cumulative, manifest }).await.unwrap();
        tree
    }

    fn order(&self, account: Address) -> ClaimOrder {
        let deadline = Timestamp::from_secs(self.devnet.timestamp() + 3_600);
        ClaimOrder { account, cumulative: Amount::tokens(EARNED), to: TO, deadline }
    }

    async fn refuses(&self, what: &str, signed: &SignedOrder, proof: &[B256]) {
        let blocks = self.devnet.block_number();
        let error = self.distributor.claim_by_signature(signed, proof).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{what}: {error}");
        assert_eq!(self.devnet.block_number(), blocks, "{what} costs a transaction");
    }

    async fn held(&self, account: Address) -> Amount {
        self.token.balance(account).await.unwrap()
    }
}

fn key(seed: u8) -> (SoftwareKey, Address) {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]);
    let address = key.public_key().to_address().unwrap();
    (key, address)
}

#[tokio::test]
async fn a_relayer_pays_the_gas_and_the_order_says_who_is_paid_once() {
    let world = World::new().await;
    let (key, account) = key(7);
    let tree = world.publish(0, account, EARNED).await;
    let proof = tree.proof(account).unwrap();
    let signed = world.order(account).sign(&world.distributor.domain(), &key).unwrap();

    let paid = world.distributor.claim_by_signature(&signed, &proof).await.unwrap();
    assert_eq!(paid, Amount::tokens(EARNED));
    assert_eq!(world.held(TO).await, paid);
    assert!(world.held(account).await.is_zero());
    assert!(world.held(world.relayer.account()).await.is_zero());

    let blocks = world.devnet.block_number();
    let again = world.distributor.claim_by_signature(&signed, &proof).await.unwrap();
    assert_eq!((again, world.devnet.block_number()), (Amount::ZERO, blocks), "a replay");
    // Nor does the order serve what is earned later.
    let tree = world.publish(1, account, EARNED + 2).await;
    let proof = tree.proof(account).unwrap();
    world.refuses("the old order", &signed, &proof).await;
    let more = SignedOrder {
        order: ClaimOrder { cumulative: Amount::tokens(EARNED + 2), ..signed.order },
        ..signed
    };
    world.refuses("the old order with the new amount", &more, &proof).await;
}

#[tokio::test]
async fn an_order_is_worth_nothing_changed_late_elsewhere_or_by_another_key() {
    let world = World::new().await;
    let (key, account) = key(7);
    let tree = world.publish(0, account, EARNED).await;
    let proof = tree.proof(account).unwrap();
    let (domain, order) = (world.distributor.domain(), world.order(account));
    let signed = order.sign(&domain, &key).unwrap();

    let thief = Address::repeat_byte(0x7f);
    let late = order.deadline.plus(Duration::from_secs(1));
    for (what, order) in [
        ("another recipient", ClaimOrder { to: thief, ..order }),
        ("another amount", ClaimOrder { cumulative: Amount::tokens(1), ..order }),
        ("another deadline", ClaimOrder { deadline: late, ..order }),
    ] {
        world.refuses(what, &SignedOrder { order, ..signed.clone() }, &proof).await;
    }
    let by_stranger = typed::sign(&self::key(8).0, order.digest(&domain)).unwrap();
    let forged = SignedOrder { order, signature: by_stranger.into() };
    assert!(forged.verify(&domain).is_err());
    world.refuses("another key", &forged, &proof).await;

    for elsewhere in [
        order::domain(ChainId::new(world.relayer.id().value() + 1), domain.contract()),
        order::domain(world.relayer.id(), Address::repeat_byte(9)),
    ] {
        let foreign = order.sign(&elsewhere, &key).unwrap();
        assert!(foreign.verify(&domain).is_err());
        world.refuses("another chain or contract", &foreign, &proof).await;
    }
    world.devnet.increase_time(4_000).unwrap();
    world.devnet.mine(1);
    let error = world.distributor.claim_by_signature(&signed, &proof).await.unwrap_err();
    assert!(error.to_string().contains("deadline"), "{error}");
    assert!(world.held(TO).await.is_zero() && world.held(thief).await.is_zero());
}

#[tokio::test]
async fn the_domain_is_the_one_that_the_contract_tells() {
    let world = World::new().await;
    let contract = Contract::new(world.contracts.distributor, world.relayer.provider());
    let told = world.relayer.read(&contract.eip712Domain()).await.unwrap();
    let told = Eip712Domain {
        name: Some(told.name.into()),
        version: Some(told.version.into()),
        chain_id: Some(told.chainId),
        verifying_contract: Some(told.verifyingContract),
        salt: None,
    };
    assert_eq!(world.distributor.domain().separator(), told.separator());
    let typehash = world.relayer.read(&contract.CLAIM_TYPEHASH()).await.unwrap();
    assert_eq!(typehash, ClaimOrder::TYPEHASH);
}

#[tokio::test]
async fn an_account_names_who_is_paid_and_nobody_else_does() {
    let world = World::new().await;
    let earner = chain(&world.devnet, 1).await;
    let tree = world.publish(0, earner.account(), EARNED).await;
    let claim = tree.claim(earner.account()).unwrap();
    let error = world.distributor.claim_to(&claim, TO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("only the account"), "{error}");

    let own = EvmDistributor::new(earner, world.contracts.distributor);
    for nowhere in [Address::ZERO, own.roots().address()] {
        assert_eq!(own.claim_to(&claim, nowhere).await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(own.claim_to(&claim, TO).await.unwrap(), claim.cumulative);
    assert_eq!(own.claim_to(&claim, TO).await.unwrap(), Amount::ZERO);
    assert_eq!(world.held(TO).await, claim.cumulative);
}

#[tokio::test]
async fn who_claims_before_an_order_only_pays_the_account() {
    let world = World::new().await;
    let (key, account) = key(7);
    let claim = world.publish(0, account, EARNED).await.claim(account).unwrap();
    let signed = world.order(account).sign(&world.distributor.domain(), &key).unwrap();
    world.distributor.claim(account, claim.cumulative, &claim.proof).await.unwrap();
    let paid = world.distributor.claim_by_signature(&signed, &claim.proof).await.unwrap();
    assert_eq!((paid, world.held(account).await), (Amount::ZERO, claim.cumulative));
}

#[test]
fn orders_that_nobody_could_use_are_not_signed() {
    let (key, account) = key(7);
    let domain = order::domain(ChainId::new(1), Address::repeat_byte(9));
    let (cumulative, deadline) = (Amount::tokens(1), Timestamp::from_secs(1));
    let order = ClaimOrder { account, cumulative, to: TO, deadline };
    for wrong in [
        ClaimOrder { to: Address::ZERO, ..order },
        ClaimOrder { to: domain.contract(), ..order },
        ClaimOrder { account: TO, ..order },
    ] {
        assert_eq!(wrong.sign(&domain, &key).unwrap_err().kind(), ErrorKind::Config);
    }
    let p256 = SoftwareKey::from_seed(Algorithm::Es256, [7; 32]);
    assert!(order.sign(&domain, &p256).is_err());
    for length in 0..65 {
        let signed = order.sign(&domain, &key).unwrap();
        let cut = SignedOrder { signature: signed.signature.slice(..length), ..signed };
        assert_eq!(cut.verify(&domain).unwrap_err().kind(), ErrorKind::Rejected);
    }
}

/// Registers a device of `owner`; answers its address.
async fn device(world: &World, owner: Address) -> Address {
    let (key, device) = key(0xd);
    let (x, y) = key.public_key().to_uncompressed().map(|xy| halves(&xy)).unwrap();
    let registration = DeviceRegistry::Registration {
        device,
        owner,
        details: DeviceRegistry::Details {
            algorithm: 0,
            publicKeyX: x,
            publicKeyY: y,
            nextKeyHash: B256::ZERO,
            nullifier: B256::ZERO,
            documentHash: B256::ZERO,
            evidenceHash: B256::ZERO,
            documentURI: String::new(),
        },
        nonce: U256::ZERO,
        deadline: U256::from(u64::MAX),
    };
    let domain = eip712_domain! {
        name: "DeviceRegistry",
        version: "1",
        chain_id: world.relayer.id().value(),
        verifying_contract: world.contracts.registry,
    };
    let digest = registration.eip712_signing_hash(&domain);
    let bytes = recoverable(&key.sign_prehash(&digest.0).unwrap(), digest, device).unwrap();
    let (r, mut vs) = halves(&bytes[..64]);
    if bytes[64] == 28 {
        vs |= B256::from(U256::ONE << 255);
    }
    let registry = DeviceRegistry::new(world.contracts.registry, world.relayer.provider());
    let call = registry.register(registration, DeviceRegistry::Signature { r, vs });
    world.relayer.send(call.into_transaction_request()).await.unwrap();
    device
}

fn halves(bytes: &[u8]) -> (B256, B256) {
    (B256::from_slice(&bytes[..32]), B256::from_slice(&bytes[32..]))
}

#[tokio::test]
async fn a_device_is_paid_into_its_account_and_its_owner_moves_it() {
    let world = World::new().await;
    let owner = chain(&world.devnet, 1).await;
    let (registry, token) = (world.contracts.registry, world.contracts.token);
    let device = device(&world, owner.account()).await;
    let account = EvmDeviceAccount::of(owner.clone(), registry, device).await.unwrap();
    assert!(account.exists().await.unwrap());
    account.create().await.unwrap();

    let claim = world.publish(0, account.address(), EARNED).await.claim(account.address()).unwrap();
    // Anybody claims for it.
    world.distributor.claim(claim.account, claim.cumulative, &claim.proof).await.unwrap();
    assert_eq!(world.held(account.address()).await, claim.cumulative);

    let thief =
        EvmDeviceAccount::of(chain(&world.devnet, 2).await, registry, device).await.unwrap();
    let error = thief.transfer("rent", token, TO, Amount::tokens(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("owner of the device"), "{error}");
    let much = account.transfer("rent", token, TO, Amount::tokens(EARNED + 1)).await;
    assert!(much.is_err(), "more than it has");
    account.transfer("rent", token, TO, Amount::tokens(3)).await.unwrap();
    assert_eq!(world.held(TO).await, Amount::tokens(3));
    assert_eq!(world.held(account.address()).await, Amount::tokens(EARNED - 3));

    // Or has it paid elsewhere at once.
    let tree = world.publish(1, account.address(), EARNED + 2).await;
    let claim = tree.claim(account.address()).unwrap();
    assert!(world.distributor.claim_to(&claim, TO).await.is_err(), "the relayer owns no device");
    let own = EvmDistributor::new(owner, world.contracts.distributor);
    assert_eq!(own.claim_to(&claim, TO).await.unwrap(), Amount::tokens(2));
    assert_eq!(world.held(TO).await, Amount::tokens(5));
}

#[tokio::test]
async fn a_device_account_pays_an_intent_once_even_when_nothing_is_left_for_a_second_time() {
    let world = World::new().await;
    let owner = chain(&world.devnet, 1).await;
    let (registry, token) = (world.contracts.registry, world.contracts.token);
    let device = device(&world, owner.account()).await;
    let account = EvmDeviceAccount::of(owner, registry, device).await.unwrap();
    let claim = world.publish(0, account.address(), EARNED).await.claim(account.address()).unwrap();
    world.distributor.claim(claim.account, claim.cumulative, &claim.proof).await.unwrap();

    let part = Amount::tokens(EARNED - 1);
    for _ in 0..2 {
        account.transfer("rent/may", token, TO, part).await.unwrap();
        assert_eq!(world.held(TO).await, part);
    }
    let other = account.transfer("rent/may", token, TO, Amount::tokens(1)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "{other}");
    let more = account.transfer("rent/june", token, TO, part).await.unwrap_err();
    assert_eq!(more.kind(), ErrorKind::Rejected, "{more}");
    // What was refused names nothing yet.
    account.transfer("rent/june", token, TO, Amount::tokens(1)).await.unwrap();
    assert_eq!(world.held(TO).await, Amount::tokens(EARNED));
}

#[tokio::test]
async fn an_owner_signs_for_the_account_of_his_device() {
    let world = World::new().await;
    let (owner_key, owner) = key(0x0a);
    let device = device(&world, owner).await;
    let registry = world.contracts.registry;
    let account = EvmDeviceAccount::of(world.relayer.clone(), registry, device).await.unwrap();
    let tree = world.publish(0, account.address(), EARNED).await;
    let claim = tree.claim(account.address()).unwrap();
    let (domain, order) = (world.distributor.domain(), world.order(account.address()));

    let plain = typed::sign(&owner_key, order.digest(&domain)).unwrap();
    let unwrapped = SignedOrder { order, signature: plain.into() };
    world.refuses("a signature not for this account", &unwrapped, &claim.proof).await;
    let stranger = order.sign_as_owner(&domain, &key(8).0).unwrap();
    world.refuses("who does not own the device", &stranger, &claim.proof).await;
    let signed = order.sign_as_owner(&domain, &owner_key).unwrap();
    let paid = world.distributor.claim_by_signature(&signed, &claim.proof).await.unwrap();
    assert_eq!((paid, world.held(TO).await), (claim.cumulative, claim.cumulative));
}
