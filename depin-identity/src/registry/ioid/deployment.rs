//! Where the contracts are, and the handle through which everything reaches them.

use depin_core::{Address, ChainId, Did, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain,
    alloy::{
        eips::BlockNumberOrTag,
        primitives::address,
        providers::{DynProvider, Provider},
        rpc::types::{TransactionReceipt, TransactionRequest},
    },
};

use super::{
    contracts::{IoID, IoIDRegistry, IoIDStore},
    permit::Scope,
    refusal::explain,
};
use crate::methods::io;

/// The contracts of one deployment of ioID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// `ioIDRegistry`: devices and their documents.
    pub registry: Address,
    /// `ioID`: the ERC-721 token of each device, which owns its ERC-6551 wallet.
    pub ioid: Address,
    /// `ioIDStore`: sells the right to register.
    pub store: Address,
    /// `Project`: the ERC-721 token of each project.
    pub project: Address,
    /// `ProjectRegistry`: mints projects.
    pub project_registry: Address,
}

impl Addresses {
    /// Another deployment.
    pub const fn new(
        registry: Address,
        ioid: Address,
        store: Address,
        project: Address,
        project_registry: Address,
    ) -> Self {
        Self { registry, ioid, store, project, project_registry }
    }

    /// IoTeX's main network, as the README of ioID-contracts lists it.
    pub const fn iotex() -> Self {
        Self {
            registry: address!("04e4655Cf258EC802D17c23ec6112Ef7d97Fa2aF"),
            ioid: address!("1FCB980eD0287777ab05ADc93012332e11300e54"),
            store: address!("a822Fd390e8eD3FEC80Bd26c77DD036935463b5E"),
            project: address!("A596800891e6a95Bf737404411ef529c1F377b4e"),
            project_registry: address!("601B655c0a20FA1465C9a18e39387A33eEe7F777"),
        }
    }

    /// IoTeX's test network, as the README of ioID-contracts lists it.
    pub const fn iotex_testnet() -> Self {
        Self {
            registry: address!("0A7e595C7889dF3652A19aF52C18377bF17e027D"),
            ioid: address!("45Ce3E6f526e597628c73B731a3e9Af7Fc32f5b7"),
            store: address!("60cac5CE11cb2F98bF179BE5fd3D801C3D5DBfF2"),
            project: address!("f07336E1c77319B4e740b666eb0C2B19D11fc14F"),
            project_registry: address!("060581AA1A4e0cC92FBd74d251913238De2F13cd"),
        }
    }
}

/// ioID's contracts through one account: projects, slots, and what is registered.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_devnet::Devnet;
/// use depin_evm::Chain;
/// use depin_identity::{ErrorKind, registry::ioid::IoId};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// // The preset knows which chain it is for.
/// assert_eq!(IoId::iotex(chain).unwrap_err().kind(), ErrorKind::Config);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct IoId {
    pub(super) addresses: Addresses,
    pub(super) chain: Chain,
}

impl IoId {
    /// The contracts at these addresses of `chain`.
    pub const fn at(addresses: Addresses, chain: Chain) -> Self {
        Self { addresses, chain }
    }

    /// ioID on IoTeX's main network.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `chain` is another one.
    pub fn iotex(chain: Chain) -> Result<Self> {
        Self::preset(Addresses::iotex(), chain, 4689)
    }

    /// ioID on IoTeX's test network.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `chain` is another one.
    pub fn iotex_testnet(chain: Chain) -> Result<Self> {
        Self::preset(Addresses::iotex_testnet(), chain, 4690)
    }

    fn preset(addresses: Addresses, chain: Chain, id: u64) -> Result<Self> {
        if chain.id() == ChainId::new(id) {
            return Ok(Self::at(addresses, chain));
        }
        let text = "these addresses are on another chain; use IoId::at for your own deployment";
        Err(Error::new(ErrorKind::Config, text).with("expected", id).with("found", chain.id()))
    }

    /// Where the contracts are.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The chain they are on, and the account that acts.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What one registration costs in the chain's smallest unit, when the project has no slot left.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn price(&self) -> Result<U256> {
        self.chain.read(&self.store().price()).await
    }

    /// The ERC-6551 wallet of a device, as long as the device is registered.
    ///
    /// # Errors
    /// As [`Chain::read`]; those of [`io::address`] for what is no did:io.
    pub async fn wallet(&self, did: &Did) -> Result<Option<Address>> {
        let name = io::from_address(io::address(did)?).to_string();
        let wallet = self.chain.read(&self.token().wallet_1(name)).await?;
        Ok(Some(wallet).filter(|wallet| !wallet.is_zero()))
    }

    pub(super) fn registry(&self) -> IoIDRegistry::IoIDRegistryInstance<&DynProvider> {
        IoIDRegistry::new(self.addresses.registry, self.chain.provider())
    }

    pub(super) fn token(&self) -> IoID::IoIDInstance<&DynProvider> {
        IoID::new(self.addresses.ioid, self.chain.provider())
    }

    pub(super) fn store(&self) -> IoIDStore::IoIDStoreInstance<&DynProvider> {
        IoIDStore::new(self.addresses.store, self.chain.provider())
    }

    pub(super) fn scope(&self) -> Scope {
        Scope { chain: self.chain.id().value(), registry: self.addresses.registry }
    }

    pub(super) async fn send(&self, tx: TransactionRequest) -> Result<TransactionReceipt> {
        self.chain.send(tx).await.map_err(explain)
    }

    /// Time of a block in seconds since the Unix epoch.
    pub(super) async fn time_of(&self, block: u64) -> Result<u64> {
        let block = self.chain.provider().get_block_by_number(BlockNumberOrTag::Number(block));
        let missing = || Error::unavailable("the node lacks the block; try again");
        self.chain.ask(block).await?.map(|block| block.header.timestamp).ok_or_else(missing)
    }
}
