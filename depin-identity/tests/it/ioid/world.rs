//! A devnet with ioID on it, a project, and accounts.
//!
//! The contracts are stand-ins with ioID's behaviour. With `DEPIN_IOID_CONTRACTS`, a folder of IoTeX's own
//! contracts as compiled (`ioID.json`, `ioIDRegistry.json`, `ioIDStore.json`, `Project.json`,
//! `ProjectRegistry.json`, `DeviceNFT.json`, `VerifyingProxy.json`, each with `bytecode.object`), they run
//! against those.

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
        sol_types::{SolCall, SolValue},
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
        function initialize(address project) external;
        function initialize(address a, address b) external;
        function initialize(address project, uint256 price) external;
        function initialize(string name, string symbol) external;
        function initialize(address minter, address accounts, address account, string name, string symbol) external;
        function initialize(uint8 kind, address verifier, string project, string name, string symbol, uint256 amount) external payable;
        function setMinter(address minter) external;
        function setIoIDRegistry(address registry) external;
    }
}

/// Of one registration, in wei.
pub(super) const PRICE: u64 = 1_000_000;

pub(super) struct World {
    pub(super) devnet: Devnet,
    /// Absent when IoTeX's own contracts are used.
    stand_in: Option<Address>,
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
        if let Some(addresses) = original::deploy_all(&chain, accounts, account).await {
            return Self { devnet, stand_in: None, addresses };
        }
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
        Self { devnet, stand_in: Some(at), addresses }
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
        if let Some(address) = original::collection(ioid.chain()).await {
            return address;
        }
        let code = include_str!("../../../../depin-evm/artifacts/test/DeviceNftStandIn.json");
        deploy(ioid.chain(), artifact(code, &[])).await
    }

    /// A project with a contract that registers on its verifier's word; answers contract and project.
    pub(super) async fn proxy(&self, verifier: &SoftwareKey, name: &str) -> (Address, U256) {
        let chain = connect(&self.devnet, 0).await;
        let verifier = verifier.public_key().to_address().unwrap();
        let proxy = if let Some(stand_in) = self.stand_in {
            let arguments = (stand_in, verifier, name.to_owned()).abi_encode_params();
            let code =
                include_str!("../../../../depin-evm/artifacts/test/VerifyingProxyStandIn.json");
            deploy(&chain, artifact(code, &arguments)).await
        } else {
            original::proxy(&chain, &self.addresses, verifier, name).await
        };
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

/// IoTeX's own contracts, wired as their deployment does it.
mod original {
    use super::*;

    fn compiled(name: &str) -> Option<String> {
        let folder = std::env::var_os("DEPIN_IOID_CONTRACTS")?;
        let file = std::path::Path::new(&folder).join(name).with_extension("json");
        Some(std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
    }

    async fn create(chain: &Chain, name: &str, arguments: &[u8]) -> Address {
        deploy(chain, artifact(&compiled(name).unwrap(), arguments)).await
    }

    async fn call(chain: &Chain, to: Address, call: impl SolCall, value: u64) {
        let tx = TransactionRequest { to: Some(to.into()), ..TransactionRequest::default() };
        let tx = tx.input(Bytes::from(call.abi_encode()).into());
        chain.send(tx.value(U256::from(value))).await.unwrap();
    }

    pub(super) async fn deploy_all(
        chain: &Chain,
        accounts: Address,
        account: Address,
    ) -> Option<Addresses> {
        use Deployed::*;
        compiled("ioID")?;
        let text = |text: &str| text.to_owned();
        let project = create(chain, "Project", &[]).await;
        let (name, symbol) = (text("ioID Project"), text("IPN"));
        call(chain, project, initialize_3Call { name, symbol }, 0).await;
        let projects = create(chain, "ProjectRegistry", &[]).await;
        call(chain, projects, initialize_0Call { project }, 0).await;
        call(chain, project, setMinterCall { minter: projects }, 0).await;
        let store = create(chain, "ioIDStore", &[]).await;
        call(chain, store, initialize_2Call { project, price: U256::from(PRICE) }, 0).await;
        let ioid = create(chain, "ioID", &[]).await;
        let (name, symbol, minter) = (text("ioID device NFT"), text("IDN"), chain.account());
        call(chain, ioid, initialize_4Call { minter, accounts, account, name, symbol }, 0).await;
        let registry = create(chain, "ioIDRegistry", &[]).await;
        call(chain, registry, initialize_1Call { a: store, b: ioid }, 0).await;
        call(chain, store, setIoIDRegistryCall { registry }, 0).await;
        call(chain, ioid, setMinterCall { minter: registry }, 0).await;
        Some(Addresses::new(registry, ioid, store, project, projects))
    }

    pub(super) async fn collection(chain: &Chain) -> Option<Address> {
        compiled("DeviceNFT")?;
        let at = create(chain, "DeviceNFT", &[]).await;
        let (name, symbol) = ("Stations".to_owned(), "STN".to_owned());
        call(chain, at, Deployed::initialize_3Call { name, symbol }, 0).await;
        Some(at)
    }

    pub(super) async fn proxy(
        chain: &Chain,
        ioid: &Addresses,
        verifier: Address,
        project: &str,
    ) -> Address {
        let nft = create(chain, "DeviceNFT", &[]).await;
        let at = (ioid.store, ioid.project_registry, nft).abi_encode_params();
        let at = create(chain, "VerifyingProxy", &at).await;
        let amount = U256::from(1000);
        let (project, name, symbol) = (project.to_owned(), "Stations".to_owned(), "STN".to_owned());
        let set = Deployed::initialize_5Call { kind: 0, verifier, project, name, symbol, amount };
        call(chain, at, set, 1000 * PRICE).await;
        at
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
