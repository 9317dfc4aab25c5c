//! Against the registry contract itself, in its present and its first deployed form.
//!
//! `DEPIN_ETHR_REGISTRY` and `DEPIN_ETHR_REGISTRY_LEGACY` name the compiled contracts (`ethr-did-registry`
//! 1.3 and 0.0.3 from npm); otherwise they are looked for where `cargo xtask test` puts them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use depin_core::{
    Address, Algorithm, Bytes, Did, ErrorKind, Signer, SoftwareKey, SystemClock, Timestamp, U256,
    document::{DidDocument, Material, Relationships},
    resolution::{DidResolver, Freshness, Version},
};
use depin_devnet::{Clock, Devnet};
use depin_evm::{
    Chain,
    alloy::{
        providers::{Provider, ProviderBuilder},
        rpc::{client::RpcClient, types::TransactionRequest},
        sol,
    },
};
use depin_identity::methods::ethr::{
    ChainLedger, Edit, EthrController, EthrError, EthrResolver, Finality, Ledger, Network,
    from_address,
};

use depin_testkit::skip::skipped;

use crate::evm::lying_node::Doctored;

sol! {
    #[sol(rpc)]
    interface Registry {
        function validDelegate(address identity, bytes32 delegateType, address delegate)
            external view returns (bool);
    }
}

const PRESENT: &str =
    "ethr-did-registry/artifacts/contracts/EthereumDIDRegistry.sol/EthereumDIDRegistry.json";
const LEGACY: &str = "ethr-did-registry-legacy/build/contracts/EthereumDIDRegistry.json";
const DAY: Duration = Duration::from_secs(86_400);

/// The creation code in an artifact, or `None`, said aloud, when it is not installed.
fn code(variable: &str, place: &str) -> Option<Bytes> {
    let installed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules");
    let path = std::env::var_os(variable).map_or_else(|| installed.join(place), PathBuf::from);
    let Ok(json) = std::fs::read(&path) else {
        skipped(format_args!(
            "no erc-1056 contract; run `cargo xtask test` once or set {variable}"
        ));
        return None;
    };
    let artifact: serde_json::Value = serde_json::from_slice(&json).unwrap();
    Some(artifact["bytecode"].as_str().unwrap().parse().unwrap())
}

/// A chain with a registry on it, and the identity of account 1.
struct World {
    devnet: Devnet,
    network: Network,
}

impl World {
    async fn start() -> Option<Self> {
        Self::with(code("DEPIN_ETHR_REGISTRY", PRESENT)?, false).await
    }

    async fn legacy() -> Option<Self> {
        Self::with(code("DEPIN_ETHR_REGISTRY_LEGACY", LEGACY)?, true).await
    }

    async fn with(code: Bytes, legacy: bool) -> Option<Self> {
        let devnet = Devnet::builder().clock(Clock::Manual).at(1_700_000_000).build();
        let chain =
            Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
        let deploy = TransactionRequest::default().input(code.into());
        let deploy =
            TransactionRequest { to: Some(depin_evm::alloy::primitives::TxKind::Create), ..deploy };
        let registry = chain.send(deploy).await.unwrap().contract_address.unwrap();
        let network = Network::new("factory", chain.id()).at(registry);
        let network = if legacy { network.with_legacy_nonce() } else { network };
        Some(Self { devnet, network })
    }

    async fn chain(&self, account: u16) -> Chain {
        let (provider, signer) = (self.devnet.provider(), self.devnet.account(account));
        Chain::from_provider(provider, signer).connect().await.unwrap()
    }

    fn identity(&self) -> Address {
        self.devnet.account(1).address()
    }

    fn did(&self) -> Did {
        from_address("factory", self.identity()).unwrap()
    }

    /// Acts as a development account on the identity.
    async fn controller(&self, account: u16) -> EthrController {
        EthrController::new(self.chain(account).await, &self.network, self.identity()).unwrap()
    }

    async fn resolver(&self, finality: Finality) -> EthrResolver {
        let ledger = ChainLedger::new(self.chain(0).await, &self.network).unwrap();
        self.resolver_over(Arc::new(ledger.with_finality(finality)))
    }

    fn resolver_over(&self, ledger: Arc<dyn Ledger>) -> EthrResolver {
        // The chain lives in 2023: nothing in these tests may expire by the machine's clock.
        EthrResolver::new(Arc::new(SystemClock)).with_network(self.network.clone(), ledger)
    }
}

/// The key of a development account as an owner keeps it.
fn key_of(devnet: &Devnet, account: u16) -> SoftwareKey {
    let secret = devnet.account(account).to_bytes();
    SoftwareKey::from_bytes(Algorithm::Es256k, &secret.0).unwrap()
}

fn fragments(document: &DidDocument) -> Vec<&str> {
    let methods = document.verification_method.iter().map(|method| &method.id);
    let services = document.service.iter().map(|service| &service.id);
    methods.chain(services).map(|id| id.fragment().unwrap()).collect()
}

/// One of each kind, so long that the machine's clock does not reach the end.
fn edits() -> Vec<Edit> {
    let long = DAY * 36_500;
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [3; 32]).public_key().to_bytes();
    vec![
        Edit::add_delegate("veriKey", Address::repeat_byte(7), long).unwrap(),
        Edit::add_delegate("sigAuth", Address::repeat_byte(8), long).unwrap(),
        Edit::set_attribute("did/pub/Ed25519/sigAuth", &key, long).unwrap(),
        Edit::set_attribute("did/svc/Hub", b"https://hub.example", long).unwrap(),
        Edit::revoke_delegate("veriKey", Address::repeat_byte(7)).unwrap(),
        Edit::revoke_attribute("did/svc/Hub", b"https://hub.example").unwrap(),
        Edit::change_owner(Address::repeat_byte(9)),
    ]
}

#[tokio::test]
async fn the_resolver_over_the_contract_conforms() {
    let Some(world) = World::start().await else { return };
    let gone = EthrController::new(
        world.chain(2).await,
        &world.network,
        world.devnet.account(2).address(),
    );
    gone.unwrap().send(&Edit::deactivate()).await.unwrap();
    world.controller(1).await.send(&edits()[0]).await.unwrap();
    let untouched = from_address("factory", Address::repeat_byte(1)).unwrap();
    let gone = from_address("factory", world.devnet.account(2).address()).unwrap();
    let resolver = world.resolver(Finality::Depth(0)).await;
    depin_testkit::resolver::conforms(&resolver, &[world.did(), untouched], &[gone]).await;
}

#[tokio::test]
async fn what_the_owner_writes_is_resolved_at_every_version() {
    let Some(world) = World::start().await else { return };
    let controller = world.controller(1).await;
    let mut blocks = Vec::new();
    for edit in edits() {
        blocks.push(controller.send(&edit).await.unwrap());
    }
    let expected: [&[&str]; 7] = [
        &["controller", "delegate-1"],
        &["controller", "delegate-1", "delegate-2"],
        &["controller", "delegate-1", "delegate-2", "delegate-3"],
        &["controller", "delegate-1", "delegate-2", "delegate-3", "service-1"],
        &["controller", "delegate-2", "delegate-3", "service-1"],
        &["controller", "delegate-2", "delegate-3"],
        &["controller", "delegate-2", "delegate-3"],
    ];
    let resolver = world.resolver(Finality::Depth(0)).await;
    for (at, block) in blocks.iter().enumerate() {
        let version = Version::Id(block.to_string());
        let found = resolver.resolve_version(&world.did(), &version).await.unwrap();
        assert_eq!(fragments(&found.document), expected[at]);
        assert_eq!(found.metadata.version_id, Some(block.to_string()));
        assert_eq!(found.metadata.next_version_id, blocks.get(at + 1).map(u64::to_string));
        let freshness = if at < 6 { Freshness::Forever } else { Freshness::Once };
        assert_eq!(found.freshness, freshness);
    }
    let latest = resolver.resolve(&world.did()).await.unwrap();
    let owner = Material::Account { chain: world.network.chain, address: Address::repeat_byte(9) };
    assert_eq!(latest.verification_method[0].material, owner);
    let device = SoftwareKey::from_seed(Algorithm::EdDsa, [3; 32]);
    let keys: Vec<_> = latest.keys(Relationships::AUTHENTICATION).collect();
    assert_eq!(keys, [device.public_key()]);
}

#[tokio::test]
async fn what_the_owner_signs_anybody_can_send_once() {
    let Some(world) = World::start().await else { return };
    let (owner, payer) = (key_of(&world.devnet, 1), world.controller(3).await);
    for edit in edits() {
        let signed = payer.sign(edit, &owner).await.unwrap();
        payer.submit(&signed).await.unwrap();
        let replayed = payer.submit(&signed).await.unwrap_err();
        assert_eq!(replayed.kind(), ErrorKind::Rejected, "{:?}", signed.edit);
    }
    let resolver = world.resolver(Finality::Depth(0)).await;
    let found = resolver.resolve(&world.did()).await.unwrap();
    assert_eq!(fragments(&found), ["controller", "delegate-2", "delegate-3"]);
    assert_eq!(payer.owner().await.unwrap(), Address::repeat_byte(9));
}

#[tokio::test]
async fn a_signature_for_one_change_is_none_for_another() {
    let Some(world) = World::start().await else { return };
    let (owner, payer) = (key_of(&world.devnet, 1), world.controller(3).await);
    let all = edits();
    for edit in &all {
        let mut signed = payer.sign(edit.clone(), &owner).await.unwrap();
        for other in all.iter().filter(|other| *other != edit) {
            signed.edit = other.clone();
            let refused = payer.submit(&signed).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Rejected, "{edit:?} {other:?}");
        }
    }
    assert_eq!(payer.owner().await.unwrap(), world.identity());
}

#[tokio::test]
async fn strangers_change_nothing() {
    let Some(world) = World::start().await else { return };
    let stranger = world.controller(3).await;
    for edit in edits() {
        let refused = stranger.send(&edit).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert!(refused.to_string().contains("does not own"), "{refused}");
        let refused = stranger.sign(edit, &key_of(&world.devnet, 3)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
    }
    for length in [0, 1, 64, 66] {
        let mut signed =
            stranger.sign(edits()[0].clone(), &key_of(&world.devnet, 1)).await.unwrap();
        signed.signature = vec![1; length].into();
        assert_eq!(stranger.submit(&signed).await.unwrap_err().kind(), ErrorKind::Malformed);
    }
}

#[tokio::test]
async fn signatures_count_with_a_new_owner_as_the_registry_counts_them() {
    for world in [World::start().await, World::legacy().await].into_iter().flatten() {
        let (first, second) = (key_of(&world.devnet, 1), key_of(&world.devnet, 2));
        let payer = world.controller(3).await;
        let long = DAY * 36_500;
        let hub = |text: &str| Edit::set_attribute("did/svc/Hub", text.as_bytes(), long).unwrap();
        let send = async |edit: Edit, owner: &SoftwareKey| {
            let signed = payer.sign(edit, owner).await.unwrap();
            payer.submit(&signed).await.unwrap()
        };
        send(hub("1"), &first).await;
        send(Edit::change_owner(world.devnet.account(2).address()), &first).await;
        // The identity's count and the owner's differ from here on.
        send(hub("2"), &second).await;
        send(Edit::add_delegate("veriKey", Address::repeat_byte(7), long).unwrap(), &second).await;
        send(Edit::revoke_attribute("did/svc/Hub", b"1").unwrap(), &second).await;
        send(Edit::revoke_delegate("veriKey", Address::repeat_byte(7)).unwrap(), &second).await;
        let found = world.resolver(Finality::Depth(0)).await.resolve(&world.did()).await.unwrap();
        assert_eq!(fragments(&found), ["controller", "service-2"]);
    }
}

#[tokio::test]
async fn old_registries_take_a_new_owners_signature_again_as_documented() {
    let Some(world) = World::legacy().await else { return };
    world
        .controller(1)
        .await
        .send(&Edit::change_owner(world.devnet.account(2).address()))
        .await
        .unwrap();
    let payer = world.controller(3).await;
    let add = Edit::add_delegate("veriKey", Address::repeat_byte(7), DAY * 36_500).unwrap();
    let signed = payer.sign(add, &key_of(&world.devnet, 2)).await.unwrap();
    payer.submit(&signed).await.unwrap();
    let revoke = Edit::revoke_delegate("veriKey", Address::repeat_byte(7)).unwrap();
    world.controller(2).await.send(&revoke).await.unwrap();
    payer.submit(&signed).await.expect("what Network::legacy_nonce warns of");
}

#[tokio::test]
async fn the_document_and_the_contract_agree_on_the_second_a_delegate_ends() {
    let Some(world) = World::start().await else { return };
    let delegate = Address::repeat_byte(7);
    let edit = Edit::add_delegate("veriKey", delegate, Duration::from_secs(100)).unwrap();
    world.controller(1).await.send(&edit).await.unwrap();
    let end = world.devnet.timestamp() + 100;
    let resolver = world.resolver(Finality::Depth(0)).await;
    let chain = world.chain(0).await;
    let registry = Registry::new(world.network.registry.unwrap(), chain.provider());
    let kind = depin_identity::methods::ethr::bytes32("veriKey").unwrap();
    for (second, valid) in [(end - 1, true), (end, false), (end + 1, false)] {
        world.devnet.set_next_block_timestamp(second).unwrap();
        world.devnet.mine(1);
        let block = world.devnet.block_number();
        let call = registry.validDelegate(world.identity(), kind, delegate).block(block.into());
        assert_eq!(call.call().await.unwrap(), valid, "{second}");
        let version = Version::Id(block.to_string());
        let found = resolver.resolve_version(&world.did(), &version).await.unwrap();
        assert_eq!(found.document.verification_method.len() == 2, valid, "{second}");
    }
}

#[tokio::test]
async fn deactivation_is_for_good() {
    let Some(world) = World::start().await else { return };
    let controller = world.controller(1).await;
    controller.send(&edits()[0]).await.unwrap();
    let block = controller.send(&Edit::deactivate()).await.unwrap();
    // The contract lets the identity's own account go on; nobody has to believe it.
    controller.send(&edits()[1]).await.unwrap();
    controller.send(&Edit::change_owner(world.identity())).await.unwrap();
    let resolver = world.resolver(Finality::Depth(0)).await;
    let found = resolver.resolve_version(&world.did(), &Version::Latest).await.unwrap();
    assert!(found.metadata.deactivated);
    assert_eq!(found.document, DidDocument::new(world.did()));
    assert_eq!(found.metadata.version_id, Some(block.to_string()));
    assert_eq!(resolver.resolve(&world.did()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_reorganisation_takes_back_what_was_not_final() {
    let Some(world) = World::start().await else { return };
    let controller = world.controller(1).await;
    controller.send(&edits()[0]).await.unwrap();
    world.devnet.mine(10);
    let resolver = world.resolver(Finality::Depth(5)).await;
    let before = resolver.resolve(&world.did()).await.unwrap();
    world.devnet.mine(1);
    let block = controller.send(&edits()[1]).await.unwrap();
    assert_eq!(resolver.resolve(&world.did()).await.unwrap().verification_method.len(), 3);
    world.devnet.reorg(2).unwrap();
    assert_eq!(resolver.resolve(&world.did()).await.unwrap(), before);
    // The same height, another change.
    world.devnet.reorg(1).unwrap();
    let fresh = world.controller(1).await;
    let again = fresh.send(&edits()[2]).await.unwrap();
    assert_eq!(again, block + 1);
    let after = resolver.resolve(&world.did()).await.unwrap();
    assert_eq!(fragments(&after), ["controller", "delegate-1", "delegate-2"]);
    assert_eq!(after.verification_method[2].kind, "Ed25519VerificationKey2020");
}

#[tokio::test]
async fn the_finalized_tag_of_a_node_is_followed() {
    let Some(world) = World::start().await else { return };
    let block = world.controller(1).await.send(&edits()[0]).await.unwrap();
    world.controller(1).await.send(&edits()[1]).await.unwrap();
    let resolver = world.resolver(Finality::Node).await;
    let version = Version::Id(block.to_string());
    let young = resolver.resolve_version(&world.did(), &version).await.unwrap();
    assert_eq!(young.freshness, Freshness::Once);
    world.devnet.mine(100);
    let old = resolver.resolve_version(&world.did(), &version).await.unwrap();
    assert_eq!((&old.document, old.freshness), (&young.document, Freshness::Forever));
}

#[tokio::test]
async fn versions_by_time_follow_the_times_of_blocks() {
    let Some(world) = World::start().await else { return };
    let controller = world.controller(1).await;
    let mut times = Vec::new();
    for edit in &edits()[..3] {
        world.devnet.increase_time(1000).unwrap();
        controller.send(edit).await.unwrap();
        times.push(world.devnet.timestamp());
    }
    let resolver = world.resolver(Finality::Depth(0)).await;
    for (at, time) in times.iter().enumerate() {
        for (second, methods) in [(time - 1, at + 1), (*time, at + 2), (time + 1, at + 2)] {
            let version = Version::At(Timestamp::from_secs(second));
            let found = resolver.resolve_version(&world.did(), &version).await.unwrap();
            assert_eq!(found.document.verification_method.len(), methods);
        }
    }
}

#[tokio::test]
async fn a_node_that_lost_or_replaced_logs_gives_no_document() {
    let Some(world) = World::start().await else { return };
    let controller = world.controller(1).await;
    for edit in &edits()[..2] {
        controller.send(edit).await.unwrap();
    }
    let identity = format!("{:x}", world.identity().into_word());
    let registry = format!("{:x}", world.network.registry.unwrap());
    let stranger = "11".repeat(32);
    for (find, replace) in [(identity, stranger), (registry, "22".repeat(20))] {
        let doctored = Doctored { honest: world.devnet.transport(), find, replace };
        let provider =
            ProviderBuilder::new().connect_client(RpcClient::new(doctored, true)).erased();
        let chain =
            Chain::from_provider(provider, world.devnet.account(0)).connect().await.unwrap();
        let ledger = ChainLedger::new(chain, &world.network).unwrap();
        let resolver = world.resolver_over(Arc::new(ledger.with_finality(Finality::Depth(0))));
        let error = resolver.resolve(&world.did()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    }
    let honest = ChainLedger::new(world.chain(0).await, &world.network).unwrap();
    let forgetful = Forgetful(honest, world.devnet.clone());
    let error = world.resolver_over(Arc::new(forgetful)).resolve(&world.did()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<EthrError>();
    assert!(matches!(source, Some(EthrError::MissingEvents { .. })), "{error}");
}

/// A node that has pruned its logs but not its state.
#[derive(Debug)]
struct Forgetful(ChainLedger, Devnet);

#[async_trait::async_trait]
impl Ledger for Forgetful {
    async fn changed(&self, identity: Address, at: Option<u64>) -> depin_core::Result<u64> {
        self.0.changed(identity, at).await
    }

    async fn events(
        &self,
        _: Address,
        _: u64,
    ) -> depin_core::Result<Vec<depin_identity::methods::ethr::Event>> {
        Ok(Vec::new())
    }

    async fn block(
        &self,
        number: u64,
    ) -> depin_core::Result<Option<depin_identity::methods::ethr::BlockHead>> {
        self.0.block(number).await
    }

    async fn finalised(&self) -> depin_core::Result<u64> {
        Ok(self.1.block_number())
    }
}

#[tokio::test]
async fn another_chain_than_the_networks_is_refused() {
    let devnet = Devnet::start();
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let mainnet = Network::known("mainnet").unwrap();
    assert_eq!(ChainLedger::new(chain.clone(), &mainnet).unwrap_err().kind(), ErrorKind::Config);
    let me = chain.account();
    let error = EthrController::new(chain.clone(), &mainnet, me).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let nowhere = Network::new("factory", chain.id());
    assert_eq!(ChainLedger::new(chain, &nowhere).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn digests_are_packed_as_the_standard_says() {
    let registry = Address::repeat_byte(1);
    let identity = Address::repeat_byte(2);
    let edit = Edit::change_owner(Address::repeat_byte(3));
    let packed = [
        &[0x19, 0][..],
        &[1; 20],
        &U256::from(5).to_be_bytes::<32>(),
        &[2; 20],
        b"changeOwner",
        &[3; 20],
    ]
    .concat();
    assert_eq!(edit.digest(registry, U256::from(5), identity), depin_core::keccak256(packed));
}
