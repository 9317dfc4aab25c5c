//! The `CreditMinter` contract, and prices that a contract publishes.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use depin_core::{Address, Amount, Error, ErrorKind, Result, Timestamp, U256};
use depin_evm::{
    Chain, Roles,
    alloy::{
        providers::DynProvider,
        rpc::types::{TransactionReceipt, TransactionRequest},
    },
    bindings::{
        CreditMinter::{self as Contract, CreditMinterErrors as Refusal},
        PriceSource as PriceContract,
    },
};

use super::{
    approval::Deposits,
    calls::{create, event, narrow, refused, too_long},
};
use crate::credits::{Price, PriceSource};

/// Burn and mint on chain, through one account: who buys credits, the service that uses them up, or who mints
/// rewards within the band.
///
/// Where [`credits_per_fiat`](BandRules::credits_per_fiat) is a power of ten, `10^p`, the contract prices credits as
/// [`Credits::new(18, p, max_age)`](crate::credits::Credits::new) does, to the last one: at the lower bound of the price,
/// rounded down. It counts any other number of credits too, for which there is no [`Credits`](crate::credits::Credits),
/// and takes prices with exponents from -18 to 0 only, where `Credits` goes as far as 76 powers of ten; a price is fresh
/// by the time of the block. Calls that must not happen twice take an `intent`: the same one again waits for the first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::time::Duration;
/// use depin_core::{Address, Amount, ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, deploy};
/// use depin_payment::evm::{BandRules, EvmMinter};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// let day = Duration::from_secs(86_400);
/// let rules = BandRules {
///     credits_per_fiat: 100_000,
///     max_age: day / 24,
///     period: day,
///     smoothing: 7,
///     allowance: Amount::tokens(1_000),
/// };
/// let prices = Address::repeat_byte(5);
/// let minter = EvmMinter::deploy(&chain, "climate", token, prices, &rules).await?;
/// assert_eq!(minter.mintable().await?, Amount::tokens(1_000));
///
/// let error = minter.mint("bonus", chain.account(), Amount::tokens(1)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Rejected, "nobody was appointed to mint yet");
/// minter.roles().grant(Role::EMITTER, chain.account()).await?;
/// Roles::of(chain.clone(), token).grant(Role::MINTER, minter.address()).await?;
/// minter.mint("bonus", chain.account(), Amount::tokens(1)).await?;
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmMinter {
    chain: Chain,
    address: Address,
    deposits: Arc<Deposits>,
}

/// The fiat side and the band, fixed when the contract is deployed. Whole seconds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the rules of the contract, none of which has a default"
)]
pub struct BandRules {
    /// Credits for one unit of fiat: 100,000 for a credit of 0.00001.
    pub credits_per_fiat: u64,
    /// How far a price may be from the time of the block.
    pub max_age: Duration,
    /// How long a period of the band is.
    pub period: Duration,
    /// Over how many periods burns are smoothed.
    pub smoothing: u16,
    /// What may be minted in a period beside the smoothed burn.
    pub allowance: Amount,
}

impl EvmMinter {
    /// The minter at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deposits: Arc::default() }
    }

    /// Deploys a minter whose prices come from `prices`, once per `key`; the account becomes its administrator, who
    /// [grants](Self::roles) [`Role::SPENDER`](depin_evm::Role::SPENDER) and [`Role::EMITTER`](depin_evm::Role::EMITTER). The token must let it mint: grant it
    /// [`Role::MINTER`](depin_evm::Role::MINTER) there.
    ///
    /// # Errors
    /// As [`Chain::send_once`]; [`ErrorKind::Config`] when the period, the smoothing or the credits are zero,
    /// [`ErrorKind::Limit`] for what the contract cannot count.
    pub async fn deploy(
        chain: &Chain,
        key: &str,
        token: Address,
        prices: Address,
        rules: &BandRules,
    ) -> Result<Self> {
        let (provider, admin) = (chain.provider(), chain.account());
        let call = Contract::deploy_builder(provider, token, prices, rules.on_chain()?, admin);
        let key = format!("minter/{token}/{key}");
        let address = create(chain, &key, call.into_transaction_request()).await?;
        Ok(Self::new(chain.clone(), address))
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Who may spend, mint and administer.
    pub fn roles(&self) -> Roles {
        Roles::of(self.chain.clone(), self.address)
    }

    /// Where its prices come from.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn prices(&self) -> Result<EvmPrices> {
        let address = self.chain.read(&self.contract().prices()).await?;
        Ok(EvmPrices::new(self.chain.clone(), address))
    }

    /// The credits that burning `tokens` gives now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] for a stale price, [`ErrorKind::Rejected`] for one that is not positive or too
    /// uncertain, otherwise as [`Chain::read`].
    pub async fn quote(&self, tokens: Amount) -> Result<U256> {
        self.chain.read(&self.contract().quote(tokens.to_units())).await.map_err(explain)
    }

    /// Burns `tokens` of the account and credits `to`, with `at_least` so many credits however the price moves; with an
    /// approval before where the contract is not allowed as much. Answers the credits. `intent` names the purchase: the
    /// same one again is not made again and gets the same answer.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the price gives fewer or the intent was for another purchase, as
    /// [`quote`](Self::quote), or as [`Chain::send_once`].
    pub async fn buy(
        &self,
        intent: &str,
        to: Address,
        tokens: Amount,
        at_least: U256,
    ) -> Result<U256> {
        let token = self.chain.read(&self.contract().token()).await?;
        let contract = self.contract();
        let call = contract.buy(to, tokens.to_units(), at_least);
        let (key, tx) = (self.key("buy", intent), call.into_transaction_request());
        let buying = self.deposits.make(&self.chain, &key, token, self.address, tokens, tx);
        let receipt = buying.await.map_err(explain)?;
        event::<Contract::Bought>(&receipt, self.address).map(|bought| bought.credits)
    }

    /// Uses up credits of `owner`. Needs `SPENDER_ROLE`. `intent` names what for: the same one again uses up nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when there are fewer, [`ErrorKind::Conflict`] when the intent was for other credits,
    /// otherwise as [`Chain::send_once`].
    pub async fn spend(&self, intent: &str, owner: Address, credits: U256) -> Result<()> {
        let contract = self.contract();
        let call = contract.spend(owner, credits);
        self.once("spend", intent, call.into_transaction_request()).await.map(drop)
    }

    /// Issues tokens to `to` out of the band. Needs `EMITTER_ROLE`. `intent` names what for: the same one again issues
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the band of this period or the token's cap leaves less, [`ErrorKind::Conflict`] when
    /// the intent was for other tokens, otherwise as [`Chain::send_once`].
    pub async fn mint(&self, intent: &str, to: Address, amount: Amount) -> Result<()> {
        let contract = self.contract();
        let call = contract.mint(to, amount.to_units());
        self.once("mint", intent, call.into_transaction_request()).await.map(drop)
    }

    /// Brings the band forward by at most `periods`. Anybody may, and the band comes out the same in however many steps:
    /// after a rest of so many periods that buying and minting would need more gas than a block has, some calls of this
    /// one make them work again.
    ///
    /// # Errors
    /// As [`Chain::send`].
    pub async fn advance(&self, periods: u64) -> Result<()> {
        let call = self.contract().advance(periods).into_transaction_request();
        self.chain.send(call).await.map(drop).map_err(explain)
    }

    /// Credits of `owner`.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn credits(&self, owner: Address) -> Result<U256> {
        self.chain.read(&self.contract().creditsOf(owner)).await
    }

    /// What may still be minted in this period.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn mintable(&self) -> Result<Amount> {
        self.chain.read(&self.contract().mintable()).await.map(Amount::units)
    }

    async fn once(
        &self,
        what: &str,
        intent: &str,
        tx: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        self.chain.send_once(&self.key(what, intent), tx).await.map_err(explain)
    }

    fn key(&self, what: &str, intent: &str) -> String {
        format!("credits-{what}/{}/{intent}", self.address)
    }

    fn contract(&self) -> Contract::CreditMinterInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

/// The prices of a contract: an oracle in the form of Pyth, or an adapter to another one.
#[derive(Clone, Debug)]
pub struct EvmPrices {
    chain: Chain,
    address: Address,
}

impl EvmPrices {
    /// The prices at `address`.
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address }
    }
}

#[async_trait]
impl PriceSource for EvmPrices {
    async fn price(&self) -> Result<Price> {
        let contract = PriceContract::new(self.address, self.chain.provider());
        let latest = self.chain.read(&contract.latestPrice()).await?;
        let published = Timestamp::from_secs(latest.publishTime);
        Ok(Price::new(latest.price, latest.conf, latest.expo, published))
    }
}

impl BandRules {
    /// As the contract takes them, for a [`TokenSource`](depin_evm::TokenSource) for instance.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the period, the smoothing or the credits are zero, [`ErrorKind::Limit`] for what the
    /// contract cannot count.
    pub fn on_chain(&self) -> Result<Contract::BandRules> {
        let period = self.period.as_secs();
        if period == 0 || self.smoothing == 0 || self.credits_per_fiat == 0 {
            let text =
                "credits need a price, and the band a period and a smoothing that are not zero";
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(Contract::BandRules {
            creditsPerFiat: self.credits_per_fiat,
            maxAge: self.max_age.as_secs().try_into().map_err(|_| too_long("max_age"))?,
            period,
            smoothing: self.smoothing,
            allowance: narrow("allowance", self.allowance)?,
        })
    }
}

fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, Rejected, Unavailable};
    refused(error, |refusal: &Refusal| {
        Some(match refusal {
            Refusal::PriceStale(_) => {
                (Unavailable, "the price is from another time; try again when it is fresh")
            }
            Refusal::PriceUnusable(_) => {
                (Rejected, "the price is not positive, too uncertain, or in an unknown unit")
            }
            Refusal::TooFewCredits(_) => {
                (Conflict, "the price moved: the tokens give fewer credits; ask for a new quote")
            }
            Refusal::CreditsTooFew(_) => (Rejected, "the owner has fewer credits"),
            Refusal::MintAboveBand(_) => {
                (Limit, "the band of this period leaves less; mint less, or in the next period")
            }
            Refusal::AccessControlUnauthorizedAccount(_) => (
                Rejected,
                "this account may not spend or mint; have the administrator grant the role",
            ),
            _ => return None,
        })
    })
}
