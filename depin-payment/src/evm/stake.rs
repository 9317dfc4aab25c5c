//! The `StakeManager` contract.

use std::{sync::Arc, time::Duration};

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, Timestamp, U256};
use depin_evm::{
    Chain, Roles,
    alloy::{
        contract::SolCallBuilder,
        primitives::aliases::U48,
        providers::{DynProvider, Provider},
        rpc::types::TransactionReceipt,
        sol_types::SolCall,
    },
    bindings::StakeManager::{self as Contract, StakeManagerErrors as Refusal},
};

use super::{
    approval::Deposits,
    calls::{create, event, narrow, refused, too_long},
};

/// Stakes that answer for devices, through one account of the chain: an owner, a slasher or the judge.
///
/// Anybody bonds tokens for a *subject*, the address of a device. Who slashes names the evidence by its hash,
/// for instance the `fault()` of a fork from `depin_data::evidence`: the contract takes each evidence once from each
/// stake, holds the amount until the time for an appeal is over, and bounds what a window may cost.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::time::Duration;
/// use depin_core::{Address, Amount, ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, deploy};
/// use depin_payment::evm::{EvmStake, StakeRules};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// let day = Duration::from_secs(86_400);
/// let rules = StakeRules {
///     unbonding: day * 21,
///     appeal: day * 7,
///     cap: Amount::tokens(1_000),
///     window: day,
///     treasury: Address::repeat_byte(7),
/// };
/// let stake = EvmStake::deploy(&chain, "climate", token, &rules).await?;
///
/// let (watcher, court) = (Address::repeat_byte(0xa1), Address::repeat_byte(0xc0));
/// stake.roles().grant(Role::SLASHER, watcher).await?;
/// stake.roles().grant(Role::JUDGE, court).await?;
///
/// let device = Address::repeat_byte(1);
/// assert!(stake.stake(chain.account(), device).await?.bonded.is_zero());
/// let error = stake.bond("first", device, Amount::tokens(5)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Rejected, "nobody has tokens yet");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmStake {
    chain: Chain,
    address: Address,
    deposits: Arc<Deposits>,
}

/// How stakes are held, fixed when the contract is deployed. Whole seconds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the rules of the contract, none of which has a default"
)]
pub struct StakeRules {
    /// Between the wish to leave and the payment; slashes reach what is leaving.
    pub unbonding: Duration,
    /// Between a slash and its execution, in which the judge can withdraw it; less than `unbonding`.
    pub appeal: Duration,
    /// The largest sum of slashes executed per `window`, refilled evenly. Zero: no slash is possible.
    pub cap: Amount,
    /// In what time the cap refills.
    pub window: Duration,
    /// Who gets what is slashed.
    pub treasury: Address,
}

/// What somebody has staked for a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stake {
    /// What answers for the device.
    pub bonded: Amount,
    /// What is leaving, and answers until it is paid.
    pub leaving: Amount,
    /// What of both is held for slashes that wait.
    pub held: Amount,
}

/// A slash that waits for the end of its appeal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slash {
    /// What is held.
    pub amount: Amount,
    /// From when on anybody can execute it.
    pub executable_at: Timestamp,
}

impl EvmStake {
    /// The stakes at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deposits: Arc::default() }
    }

    /// Deploys a contract without stakes, once per `key`; the account becomes its administrator, who
    /// [grants](Self::roles) [`Role::SLASHER`](depin_evm::Role::SLASHER) and [`Role::JUDGE`](depin_evm::Role::JUDGE).
    ///
    /// # Errors
    /// As [`Chain::send_once`]; [`ErrorKind::Config`] when the appeal is not shorter than unbonding, the treasury
    /// is zero, or a cap has no window; [`ErrorKind::Limit`] for what the contract cannot count.
    pub async fn deploy(
        chain: &Chain,
        key: &str,
        token: Address,
        rules: &StakeRules,
    ) -> Result<Self> {
        let call =
            Contract::deploy_builder(chain.provider(), token, rules.encode()?, chain.account());
        let key = format!("stake/{token}/{key}");
        let address = create(chain, &key, call.into_transaction_request()).await?;
        Ok(Self::new(chain.clone(), address))
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Who may slash, judge and administer.
    pub fn roles(&self) -> Roles {
        Roles::of(self.chain.clone(), self.address)
    }

    /// What `owner` has staked for `subject`.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn stake(&self, owner: Address, subject: Address) -> Result<Stake> {
        let stake = self.chain.read(&self.contract().stakeOf(owner, subject)).await?;
        let [bonded, leaving, held] = [stake.bonded, stake.leaving, stake.held].map(units);
        Ok(Stake { bonded, leaving, held })
    }

    /// Bonds `amount` of the account for `subject`, with an approval before where the contract is not allowed as much,
    /// and answers what arrived: less where the token takes a fee. `intent` names it: the same one again is not bonded
    /// again and gets the same answer, another one is.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the account has less, [`ErrorKind::Conflict`] when the intent was for another bond,
    /// otherwise as [`Chain::send_once`].
    pub async fn bond(&self, intent: &str, subject: Address, amount: Amount) -> Result<Amount> {
        let token = self.chain.read(&self.contract().token()).await?;
        let tx = self.contract().bond(subject, amount.to_units()).into_transaction_request();
        let key = self.key("bond", intent);
        let bonding = self.deposits.make(&self.chain, &key, token, self.address, amount, tx);
        let receipt = bonding.await.map_err(explain)?;
        event::<Contract::Bonded>(&receipt, self.address).map(|bonded| Amount::units(bonded.amount))
    }

    /// Queues `amount` to leave, and answers when it can be taken. `intent` names it: the same one again gets the same
    /// answer, with another one more leaves.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when less is bonded and not held, [`ErrorKind::Limit`] when 16 parts leave
    /// already, [`ErrorKind::Conflict`] when the intent was for another part, otherwise as [`Chain::send_once`].
    pub async fn unbond(
        &self,
        intent: &str,
        subject: Address,
        amount: Amount,
    ) -> Result<Timestamp> {
        let amount = narrow("amount", amount)?;
        let tx = self.contract().unbond(subject, amount).into_transaction_request();
        let sent = self.chain.send_once(&self.key("unbond", intent), tx).await;
        let receipt = sent.map_err(explain)?;
        let leaving = event::<Contract::Unbonding>(&receipt, self.address)?;
        Ok(seconds(leaving.readyAt.saturating_to()))
    }

    /// Takes the parts whose time has come, as far as slashes leave, and answers their sum: zero, without a transaction,
    /// when there is none. Called again, it takes what is ready then; each part is paid once.
    ///
    /// # Errors
    /// As [`Chain::send`].
    pub async fn withdraw(&self, subject: Address) -> Result<Amount> {
        let receipt = match self.send(self.contract().withdraw(subject)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Amount::ZERO),
            other => other?,
        };
        let taken = event::<Contract::Withdrawn>(&receipt, self.address)?;
        Ok(Amount::units(taken.amount))
    }

    /// Holds `amount` of a stake for a `fault`. Needs `SLASHER_ROLE`.
    ///
    /// A fault has one name, whatever shows it, or it would cost once for each piece of evidence: of a forked history
    /// it is `Equivocation::fault` of `depin_data::evidence`, and never the `id` of what shows it. Verify the evidence
    /// first: the contract stores the name and believes the slasher, whom the cap, the appeal and the judge bound.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when this fault cost this stake before, [`ErrorKind::Limit`] above the cap
    /// of a window, [`ErrorKind::Rejected`] when less is there, otherwise as [`Chain::send`].
    pub async fn slash(
        &self,
        owner: Address,
        subject: Address,
        amount: Amount,
        fault: B256,
    ) -> Result<Slash> {
        let (contract, amount) = (self.contract(), narrow("amount", amount)?);
        let receipt = self.send(contract.slash(owner, subject, amount, fault)).await?;
        let slashed = event::<Contract::Slashed>(&receipt, self.address)?;
        let executable_at = seconds(slashed.executableAt.saturating_to());
        Ok(Slash { amount: Amount::units(slashed.amount), executable_at })
    }

    /// The slash of this stake that waits for this fault.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn slash_of(
        &self,
        fault: B256,
        owner: Address,
        subject: Address,
    ) -> Result<Option<Slash>> {
        let slash = self.chain.read(&self.contract().slashOf(fault, owner, subject)).await?;
        let executable_at = seconds(slash.executableAt);
        let waiting = Slash { amount: units(slash.amount), executable_at };
        Ok(Some(waiting).filter(|slash| !slash.amount.is_zero()))
    }

    /// Withdraws a slash on appeal; its fault costs this stake nothing again. Needs `JUDGE_ROLE`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such slash waits, otherwise as [`Chain::send`].
    pub async fn withdraw_slash(
        &self,
        fault: B256,
        owner: Address,
        subject: Address,
    ) -> Result<()> {
        self.send(self.contract().withdrawSlash(fault, owner, subject)).await.map(drop)
    }

    /// Executes a slash after the time for an appeal, and answers what the treasury got. Needs no role.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such slash waits, [`ErrorKind::Unavailable`] while the appeal lasts or the
    /// cap of the window is used up, otherwise as [`Chain::send`].
    pub async fn execute_slash(
        &self,
        fault: B256,
        owner: Address,
        subject: Address,
    ) -> Result<Amount> {
        let contract = self.contract();
        let receipt = self.send(contract.executeSlash(fault, owner, subject)).await?;
        let executed = event::<Contract::SlashExecuted>(&receipt, self.address)?;
        Ok(Amount::units(executed.amount))
    }

    fn key(&self, what: &str, intent: &str) -> String {
        format!("stake-{what}/{}/{intent}", self.address)
    }

    async fn send<P: Provider, C: SolCall>(
        &self,
        call: SolCallBuilder<P, C>,
    ) -> Result<TransactionReceipt> {
        self.chain.send(call.into_transaction_request()).await.map_err(explain)
    }

    fn contract(&self) -> Contract::StakeManagerInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

impl StakeRules {
    fn encode(&self) -> Result<Contract::StakeRules> {
        let [unbonding, appeal, window] =
            [self.unbonding, self.appeal, self.window].map(|length| length.as_secs());
        if appeal >= unbonding || self.treasury.is_zero() || (!self.cap.is_zero() && window == 0) {
            let text = "stakes need an appeal shorter than unbonding, a treasury, and a window for their cap";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let short = |name, length| U48::try_from(length).map_err(|_| too_long(name));
        Ok(Contract::StakeRules {
            unbonding: short("unbonding", unbonding)?,
            appeal: short("appeal", appeal)?,
            cap: narrow("cap", self.cap)?,
            window: short("window", window)?,
            treasury: self.treasury,
        })
    }
}

fn units(amount: u128) -> Amount {
    Amount::units(U256::from(amount))
}

const fn seconds(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, NotFound, Rejected, Unavailable};
    refused(error, |refusal: &Refusal| {
        Some(match refusal {
            Refusal::EvidenceUsed(_) => {
                (Conflict, "this evidence was used against this stake; one fault is slashed once")
            }
            Refusal::NoEvidence(_) => (Rejected, "a slash names its evidence; zero is none"),
            Refusal::SlashAboveCap(_) => (
                Limit,
                "no window admits so large a slash; slash less, or deploy with a larger cap",
            ),
            Refusal::StakeTooSmall(_) => (Rejected, "less is staked and not held by a slash"),
            Refusal::QueueFull(_) => {
                (Limit, "16 parts of the stake leave already; take those that are ready")
            }
            Refusal::NothingReady(_) => (NotFound, "no part of the stake is ready to be taken"),
            Refusal::NothingBonded(_) => (Rejected, "nothing of the token arrived"),
            Refusal::UnknownSlash(_) => {
                (NotFound, "no such slash waits; it was executed or withdrawn, or never made")
            }
            Refusal::AppealLasts(_) => {
                (Unavailable, "the time for an appeal is not over; execute the slash after it")
            }
            Refusal::RateLimitExceeded(_) => {
                (Unavailable, "the slashes of this window are used up; execute it later")
            }
            Refusal::AccessControlUnauthorizedAccount(_) => (
                Rejected,
                "this account may not slash or judge; have the administrator grant the role",
            ),
            _ => return None,
        })
    })
}
