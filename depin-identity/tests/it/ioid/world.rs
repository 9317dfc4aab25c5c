//! A devnet with ioID on it, a project, and accounts.

use depin_core::SoftwareKey;
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{
        hex,
        primitives::{Bytes, TxKind},
        providers::Provider,
        rpc::types::TransactionRequest,
        sol,
        sol_types::SolValue,
    },
    bindings::{DeviceAccount, ERC6551Registry},
};
use depin_identity::registry::ioid::contracts::IoIDRegistry;

use super::*;

sol! {
    #[sol(rpc)]
    interface Deployed {
        function project() external view returns (address);
        function store() external view returns (address);
        function ioID() external view returns (address);
        function registry() external view returns (address);
        function projectId() external view returns (uint256);
        function total() external view returns (uint256);
    }
}

/// Of one registration, in wei.
pub(super) const PRICE: u64 = 1_000_000;

pub(super) struct World {
    pub(super) devnet: Devnet,
    stand_in: Address,
    pub(super) addresses: Addresses,
}

impl World {
    pub(super) async fn new() -> Self {
        let devnet = Devnet::start();
        let chain = connect(&devnet, 0).await;
        let accounts = ERC6551Registry::deploy_builder(chain.provider()).into_transaction_request();
        let accounts = deploy(&chain, accounts).await;
        let account = DeviceAccount::deploy_builder(chain.provider()).into_transaction_request();
        let account = deploy(&chain, account).await;
        let arguments = (accounts, account, U256::from(PRICE)).abi_encode();
        let stand_in = artifact(
            include_str!("../../../../depin-evm/artifacts/test/IoIdStandIn.json"),
            &arguments,
        );
        let at = deploy(&chain, stand_in).await;
        let stand_in = Deployed::new(at, chain.provider());
        let project = chain.read(&stand_in.project()).await.unwrap();
        let addresses = Addresses::new(
            chain.read(&stand_in.registry()).await.unwrap(),
            chain.read(&stand_in.ioID()).await.unwrap(),
            chain.read(&stand_in.store()).await.unwrap(),
            project,
            project,
        );
        Self { devnet, stand_in: at, addresses }
    }

    pub(super) fn account(&self, index: u16) -> Address {
        self.devnet.account(index).address()
    }

    pub(super) async fn ioid(&self, account: u16) -> IoId {
        IoId::at(self.addresses, connect(&self.devnet, account).await)
    }

    /// The project "Stations", made when it is asked for first.
    pub(super) async fn registry(&self, account: u16) -> IoIdRegistry {
        match self.ioid(account).await.registry_of(U256::ONE).await {
            Ok(registry) => registry,
            Err(_) => self.project(account, "Stations").await,
        }
    }

    pub(super) async fn project(&self, account: u16, name: &str) -> IoIdRegistry {
        let ioid = self.ioid(account).await;
        let project = ioid.register_project(name, ProjectKind::Hardware).await.unwrap();
        let collection = self.collection(&ioid).await;
        ioid.set_device_contract(project, collection).await.unwrap();
        ioid.allow_minting(collection, ioid.chain().account(), 1000).await.unwrap();
        ioid.registry_of(project).await.unwrap()
    }

    pub(super) async fn collection(&self, ioid: &IoId) -> Address {
        let code = include_str!("../../../../depin-evm/artifacts/test/DeviceNftStandIn.json");
        deploy(ioid.chain(), artifact(code, &[])).await
    }

    /// A project with a contract that registers on its verifier's word; answers contract and project.
    pub(super) async fn proxy(&self, verifier: &SoftwareKey, name: &str) -> (Address, U256) {
        let chain = connect(&self.devnet, 0).await;
        let verifier = verifier.public_key().to_address().unwrap();
        let arguments = (self.stand_in, verifier, name.to_owned()).abi_encode_params();
        let code = include_str!("../../../../depin-evm/artifacts/test/VerifyingProxyStandIn.json");
        let proxy = deploy(&chain, artifact(code, &arguments)).await;
        let deployed = Deployed::new(proxy, chain.provider());
        (proxy, chain.read(&deployed.projectId()).await.unwrap())
    }

    pub(super) async fn store_balance(&self) -> U256 {
        self.devnet.provider().get_balance(self.addresses.store).await.unwrap()
    }

    /// Device tokens minted so far.
    pub(super) async fn minted(&self, registry: &IoIdRegistry) -> U256 {
        let collection = Deployed::new(registry.collection(), self.devnet.provider());
        collection.total().call().await.unwrap()
    }

    /// The contract itself, for what our client would not do.
    pub(super) fn raw(
        &self,
        chain: &Chain,
    ) -> IoIDRegistry::IoIDRegistryInstance<impl Provider + use<>> {
        IoIDRegistry::new(self.addresses.registry, chain.provider().clone())
    }

    /// Registers devices of seeds 0.. with pairs of bytes.
    pub(super) async fn many(&self, registry: &IoIdRegistry, count: u16) -> Vec<Did> {
        let mut dids = Vec::new();
        for seed in 0..count {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&seed.to_be_bytes());
            let key = SoftwareKey::from_seed(Algorithm::Es256k, bytes);
            let owner = registry.ioid().chain().account();
            dids.push(registry.register(&wish(&key, owner), &key).await.unwrap().did);
        }
        dids
    }
}

pub(super) async fn connect(devnet: &Devnet, account: u16) -> Chain {
    Chain::from_provider(devnet.provider(), devnet.account(account)).connect().await.unwrap()
}

async fn deploy(chain: &Chain, tx: TransactionRequest) -> Address {
    chain.send(tx).await.unwrap().contract_address.unwrap()
}

fn artifact(json: &str, arguments: &[u8]) -> TransactionRequest {
    let artifact: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut code = hex::decode(artifact["bytecode"]["object"].as_str().unwrap()).unwrap();
    code.extend_from_slice(arguments);
    TransactionRequest { to: Some(TxKind::Create), ..TransactionRequest::default() }
        .input(Bytes::from(code).into())
}
