//! Putting a network's contracts on a chain.
//!
//! A dozen transactions at most, each with a key of its own in the crash-safe sender: a deployment that was
//! interrupted goes on where it stopped when the chain handle has a store.

mod emission;
mod rules;
mod source;

use alloy::{
    primitives::{Address, B256, address},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use depin_core::{Amount, ChainId, Error, ErrorKind, NetworkId, Result};
use serde::{Deserialize, Serialize};

use crate::{
    Chain,
    bindings::{
        DeviceAccount, DeviceRegistry, ERC6551Registry, EmissionController, NetworkToken,
        RewardDistributor,
    },
};

pub use emission::Emission;
pub use rules::RootRules;
pub use source::TokenSource;

/// What a network's contracts are called, and by which rules they issue and pay.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Address, Amount, NetworkId};
/// use depin_evm::{DeployOptions, RootRules};
///
/// let rules = RootRules::default()
///     .disputable(Duration::from_secs(86_400), Amount::tokens(100))
///     .at_most(Amount::tokens(5_000), Duration::from_secs(86_400));
/// let options = DeployOptions::new(NetworkId::parse("climate")?)
///     .token("Climate Credit", "CLIM")
///     .cap(Amount::tokens(1_000_000))
///     .rules(rules)
///     .arbiter(Address::repeat_byte(0xa1));
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
    /// What issues it, and how fast. Unless said: an emission up to the cap at any time, so that only the cap and
    /// the [limit](RootRules::at_most) bound a publisher.
    pub source: Option<TokenSource>,
    /// When published epochs become valid, and how much they emit.
    pub rules: RootRules,
    /// Who decides disputes and rejects epochs that are not valid yet. A dispute window needs one that is not
    /// the deploying account, which publishes; without a window it is that account unless said.
    pub arbiter: Option<Address>,
    /// Who may stop claims; the deploying account unless said.
    pub guardian: Option<Address>,
}

impl DeployOptions {
    /// A token named as the network, ticker `DPN`, at most a billion of it, issued as epochs ask for it.
    pub fn new(network: NetworkId) -> Self {
        let token_name = network.as_str().chars().take(MAX_NAME).collect();
        Self {
            network,
            token_name,
            symbol: "DPN".into(),
            cap: Amount::tokens(1_000_000_000),
            source: None,
            rules: RootRules::default(),
            arbiter: None,
            guardian: None,
        }
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

    /// Issues the token along a curve.
    #[must_use]
    pub fn emission(self, emission: Emission) -> Self {
        self.source(TokenSource::Emission(emission))
    }

    /// Issues the token by other rules than a curve's: what was burned, for instance.
    #[must_use]
    pub fn source(mut self, source: TokenSource) -> Self {
        self.source = Some(source);
        self
    }

    /// Lets epochs be disputed, or limits what they emit.
    #[must_use]
    pub const fn rules(mut self, rules: RootRules) -> Self {
        self.rules = rules;
        self
    }

    /// Makes another account than the deploying one the arbiter: the one that publishes should not judge
    /// itself.
    #[must_use]
    pub const fn arbiter(mut self, arbiter: Address) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// Makes another account than the deploying one the guardian.
    #[must_use]
    pub const fn guardian(mut self, guardian: Address) -> Self {
        self.guardian = Some(guardian);
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
    /// The only minter of the token: an `EmissionController`, or the `CreditMinter` of a network that burns and mints.
    #[serde(alias = "controller")]
    pub source: Address,
    /// `RewardDistributor`: pays by proof; has the source issue what it pays.
    pub distributor: Address,
    /// The ERC-6551 registry that creates device accounts.
    pub account_registry: Address,
    /// The contract every device account is a clone of.
    pub account_implementation: Address,
    /// The first block that can hold an event of these contracts.
    pub block: u64,
}

/// Deploys the contracts of a network and gives the roles: the chain handle's account becomes
/// administrator, registrar and publisher, and arbiter and guardian unless others are named; the source
/// becomes the token's only minter, and the distributor the only one it issues for.
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
/// As [`Chain::send`]; [`ErrorKind::Config`] when the token's name is too long, the cap is zero, the rules
/// hold nothing together or disputes have no arbiter besides the publisher; [`ErrorKind::Limit`] for numbers that the contracts cannot hold.
pub async fn deploy(chain: &Chain, options: &DeployOptions) -> Result<Deployment> {
    // Before anything is paid for: a deployment that stopped halfway keeps the options it began with.
    check(options, chain.account())?;
    let source = match &options.source {
        Some(source) => source.clone(),
        None => TokenSource::Emission(Emission::at_any_time(options.cap)?),
    };
    let rules = options.rules.encode()?;
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
    let (name, creation) = source.creation(chain, token);
    let (source, _) = steps.create(name, creation).await?;
    let distributor = RewardDistributor::deploy_builder(provider, token, source, rules, admin);
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
        source,
        distributor,
        account_registry,
        account_implementation,
        block,
    };
    steps.give_roles(&deployment, options).await?;
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

    async fn give_roles(&self, to: &Deployment, options: &DeployOptions) -> Result<()> {
        let (chain, provider) = (self.chain, self.chain.provider());
        let admin = chain.account();
        let arbiter = options.arbiter.unwrap_or(admin);
        let guardian = options.guardian.unwrap_or(admin);
        let registry = DeviceRegistry::new(to.registry, provider);
        let token = NetworkToken::new(to.token, provider);
        // Whatever it is: every source has this role.
        let source = EmissionController::new(to.source, provider);
        let distributor = RewardDistributor::new(to.distributor, provider);
        let registrar: B256 = chain.read(&registry.REGISTRAR_ROLE()).await?;
        let minter: B256 = chain.read(&token.MINTER_ROLE()).await?;
        let emitter: B256 = chain.read(&source.EMITTER_ROLE()).await?;
        let publisher: B256 = chain.read(&distributor.PUBLISHER_ROLE()).await?;
        let judge: B256 = chain.read(&distributor.ARBITER_ROLE()).await?;
        let stopper: B256 = chain.read(&distributor.GUARDIAN_ROLE()).await?;
        let grants = [
            ("registrar", registry.grantRole(registrar, admin).into_transaction_request()),
            ("minter", token.grantRole(minter, to.source).into_transaction_request()),
            ("emitter", source.grantRole(emitter, to.distributor).into_transaction_request()),
            ("publisher", distributor.grantRole(publisher, admin).into_transaction_request()),
            ("arbiter", distributor.grantRole(judge, arbiter).into_transaction_request()),
            ("guardian", distributor.grantRole(stopper, guardian).into_transaction_request()),
        ];
        for (role, grant) in grants {
            chain.send_once(&self.key(role), grant).await?;
        }
        Ok(())
    }

    fn key(&self, step: &str) -> String {
        format!("deploy/{}/{step}", self.network)
    }
}

fn check(options: &DeployOptions, publisher: Address) -> Result<()> {
    if !options.rules.window.is_zero() && options.arbiter.is_none_or(|arbiter| arbiter == publisher)
    {
        let text = "a dispute window needs an arbiter that is not the publisher, who would judge \
                    himself; name another account";
        return Err(Error::new(ErrorKind::Config, text).with("publisher", publisher));
    }
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
    options.source.as_ref().map_or(Ok(()), |source| source.check(options.cap))
}

/// The ERC-6551 registry that has the same address on every public chain.
pub const SHARED_ACCOUNT_REGISTRY: Address = address!("000000006551c19487814612e58FE06813775758");

const DEVICE_SYMBOL: &str = "DEVICE";

/// What fits the token's EIP-712 name in one storage word.
const MAX_NAME: usize = 31;
