//! Putting a network's contracts on a chain.
//!
//! Eight transactions at most, each with a key of its own in the crash-safe sender: a deployment that was
//! interrupted goes on where it stopped when the chain handle has a store.

use alloy::{
    primitives::{
        Address, B256, address,
        aliases::{U40, U48},
    },
    providers::Provider,
    rpc::types::TransactionRequest,
};
use depin_core::{Amount, ChainId, Error, ErrorKind, NetworkId, Result};
use serde::{Deserialize, Serialize};

use crate::{
    Chain,
    bindings::{DeviceAccount, DeviceRegistry, ERC6551Registry, NetworkToken, RewardDistributor},
};

/// What a network's contracts are called.
///
/// ```
/// use depin_core::{Amount, NetworkId};
/// use depin_evm::DeployOptions;
///
/// let options = DeployOptions::new(NetworkId::parse("climate")?)
///     .token("Climate Credit", "CLIM")
///     .cap(Amount::tokens(1_000_000));
/// assert_eq!(options.symbol, "CLIM");
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployOptions {
    /// Name of the network, and of its collection of device tokens.
    pub network: NetworkId,
    /// Name of the reward token, part of what its holders sign; at most 31 bytes.
    pub token_name: String,
    /// Ticker of the reward token.
    pub symbol: String,
    /// Largest supply of the reward token that can exist, in its smallest unit.
    pub cap: Amount,
}

impl DeployOptions {
    /// A token named as the network, ticker `DPN`, at most a billion of it.
    pub fn new(network: NetworkId) -> Self {
        let token_name = network.as_str().chars().take(MAX_NAME).collect();
        Self { network, token_name, symbol: "DPN".into(), cap: Amount::tokens(1_000_000_000) }
    }

    /// Names the reward token.
    #[must_use]
    pub fn token(mut self, name: &str, symbol: &str) -> Self {
        self.token_name = name.into();
        self.symbol = symbol.into();
        self
    }

    /// Limits the supply of the reward token.
    #[must_use]
    pub const fn cap(mut self, cap: Amount) -> Self {
        self.cap = cap;
        self
    }
}

/// Where a network's contracts are. Keep it as JSON beside the network's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Deployment {
    /// The chain they are on.
    pub chain: ChainId,
    /// `DeviceRegistry`: device tokens, owners, documents.
    pub registry: Address,
    /// `NetworkToken`: what is earned.
    pub token: Address,
    /// `RewardDistributor`: pays by proof; the only minter of the token.
    pub distributor: Address,
    /// The ERC-6551 registry that creates device accounts.
    pub account_registry: Address,
    /// The contract every device account is a clone of.
    pub account_implementation: Address,
    /// The first block that can hold an event of these contracts.
    pub block: u64,
}

/// Deploys the contracts of a network and gives the roles: the chain handle's account becomes
/// administrator, registrar and publisher; the distributor becomes the token's only minter.
///
/// Takes the ERC-6551 registry that public chains share, where it exists. The same network again gives
/// the same deployment, as long as the chain handle's store remembers it.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::NetworkId;
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, bindings::RewardDistributor, deploy};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let deployment = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
///
/// let distributor = RewardDistributor::new(deployment.distributor, chain.provider());
/// assert_eq!(chain.read(&distributor.token()).await?, deployment.token);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// As [`Chain::send`]; [`ErrorKind::Config`] when the token's name is too long or the cap is zero.
pub async fn deploy(chain: &Chain, options: &DeployOptions) -> Result<Deployment> {
    check(options)?;
    let steps = Steps { chain, network: &options.network };
    let (provider, admin) = (chain.provider(), chain.account());

    let token = NetworkToken::deploy_builder(
        provider,
        options.token_name.clone(),
        options.symbol.clone(),
        options.cap.to_units(),
        admin,
    );
    let (token, block) = steps.create("token", token.into_transaction_request()).await?;
    // Roots serve at once, without limit: as those expect who publish and claim in one go.
    let rules = RewardDistributor::RootRules {
        window: U40::ZERO,
        bond: 0,
        limit: 0,
        limitPeriod: U48::ZERO,
    };
    let distributor = RewardDistributor::deploy_builder(provider, token, token, rules, admin);
    let (distributor, _) =
        steps.create("distributor", distributor.into_transaction_request()).await?;
    let account_registry = steps.account_registry().await?;
    let account = DeviceAccount::deploy_builder(provider).into_transaction_request();
    let (account_implementation, _) = steps.create("account", account).await?;
    let registry = DeviceRegistry::deploy_builder(
        provider,
        options.network.to_string(),
        DEVICE_SYMBOL.into(),
        admin,
        account_registry,
        account_implementation,
    );
    let (registry, _) = steps.create("registry", registry.into_transaction_request()).await?;

    let deployment = Deployment {
        chain: chain.id(),
        registry,
        token,
        distributor,
        account_registry,
        account_implementation,
        block,
    };
    steps.give_roles(&deployment).await?;
    Ok(deployment)
}

struct Steps<'a> {
    chain: &'a Chain,
    network: &'a NetworkId,
}

impl Steps<'_> {
    /// Creates a contract; answers its address and block.
    async fn create(&self, step: &str, tx: TransactionRequest) -> Result<(Address, u64)> {
        let receipt = self.chain.send_once(&self.key(step), tx).await?;
        receipt.contract_address.zip(receipt.block_number).ok_or_else(|| {
            Error::new(ErrorKind::Malformed, "the receipt of a deployment lacks the contract")
                .with("transaction", receipt.transaction_hash)
        })
    }

    async fn account_registry(&self) -> Result<Address> {
        let provider = self.chain.provider();
        let code = self.chain.ask(provider.get_code_at(SHARED_ACCOUNT_REGISTRY)).await?;
        if !code.is_empty() {
            return Ok(SHARED_ACCOUNT_REGISTRY);
        }
        let own = ERC6551Registry::deploy_builder(provider).into_transaction_request();
        self.create("account-registry", own).await.map(|(address, _)| address)
    }

    async fn give_roles(&self, to: &Deployment) -> Result<()> {
        let (provider, admin) = (self.chain.provider(), self.chain.account());
        let registry = DeviceRegistry::new(to.registry, provider);
        let token = NetworkToken::new(to.token, provider);
        let distributor = RewardDistributor::new(to.distributor, provider);
        let (registrar, minter, publisher): (B256, B256, B256) = (
            self.chain.read(&registry.REGISTRAR_ROLE()).await?,
            self.chain.read(&token.MINTER_ROLE()).await?,
            self.chain.read(&distributor.PUBLISHER_ROLE()).await?,
        );
        let grants = [
            ("registrar", registry.grantRole(registrar, admin).into_transaction_request()),
            ("minter", token.grantRole(minter, to.distributor).into_transaction_request()),
            ("publisher", distributor.grantRole(publisher, admin).into_transaction_request()),
        ];
        for (role, grant) in grants {
            self.chain.send_once(&self.key(role), grant).await?;
        }
        Ok(())
    }

    fn key(&self, step: &str) -> String {
        format!("deploy/{}/{step}", self.network)
    }
}

fn check(options: &DeployOptions) -> Result<()> {
    if options.token_name.len() > MAX_NAME {
        let text = "the token's name is longer than 31 bytes, which signatures of its holders need";
        return Err(Error::new(ErrorKind::Config, text).with("name", &options.token_name));
    }
    if options.cap.is_zero() {
        return Err(Error::new(
            ErrorKind::Config,
            "the token's cap is zero; nothing could be earned",
        ));
    }
    Ok(())
}

/// The ERC-6551 registry that has the same address on every public chain.
pub const SHARED_ACCOUNT_REGISTRY: Address = address!("000000006551c19487814612e58FE06813775758");

const DEVICE_SYMBOL: &str = "DEVICE";

/// What fits the token's EIP-712 name in one storage word.
const MAX_NAME: usize = 31;
