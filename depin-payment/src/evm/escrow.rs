//! The `ServiceEscrow` contract: accounts out of which rails pay by the second, with a guarantee.

mod rail;

use std::sync::Arc;

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain, Revert,
    alloy::{
        eips::BlockId,
        providers::DynProvider,
        rpc::types::{TransactionReceipt, TransactionRequest},
    },
    bindings::ServiceEscrow::{self as Contract, ServiceEscrowErrors as Refusal},
};

use super::{
    approval::Deposits,
    calls::{create, event, refused},
};
use crate::{spend::escrow_domain, typed::Domain};

pub use rail::EscrowRail;

/// What an operator asks of a new rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the arguments of one call of the contract")]
pub struct RailTerms {
    /// Out of whose account it pays.
    pub payer: Address,
    /// Whom it pays.
    pub payee: Address,
    /// In which token.
    pub token: Address,
    /// A contract that may lower what is due; zero for none.
    pub validator: Address,
    /// Units per second.
    pub rate: u128,
    /// For how many seconds the payee is paid on when the payer runs dry or leaves.
    pub lockup_period: u64,
    /// What is locked for single payments on top.
    pub lockup_fixed: u128,
}

/// An account in the escrow, as of the last call that touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EscrowAccount {
    /// What it holds.
    pub funds: Amount,
    /// How much of that is owed or guaranteed.
    pub locked: Amount,
    /// What all its rails take per second.
    pub rate: Amount,
    /// Up to which second, since 1970, they are covered.
    pub paid_up_to: u64,
}

/// A rail that is open, as of the last call that touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenRail {
    /// What it was opened with, and its rate and fixed lockup now.
    pub terms: RailTerms,
    /// Who changes it and pays out of its fixed lockup.
    pub operator: Address,
    /// Up to which second, since 1970, it is settled.
    pub paid_up_to: u64,
    /// At which second it ends; `None` until somebody terminates it.
    pub ends_at: Option<u64>,
}

/// What a payer lets an operator use, and what rails use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorAllowance {
    /// Units per second of all rails together.
    pub rate: u128,
    /// How much of the rate is used.
    pub rate_used: u128,
    /// The lockups of all rails together. What an operator paid once is off it for good.
    pub lockup: u128,
    /// How much of the lockup is used.
    pub lockup_used: u128,
    /// The longest lockup period in seconds.
    pub lockup_period: u64,
}

/// A `ServiceEscrow` contract, through the account that pays, operates or is paid.
///
/// Calls that must not happen twice take an `intent`: the same one again waits for the first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, bindings::NetworkToken, deploy};
/// use depin_payment::evm::{EvmEscrow, RailTerms};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let payer = chain.account();
/// # let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// # Roles::of(chain.clone(), token).grant(Role::MINTER, payer).await?;
/// # let contract = NetworkToken::new(token, chain.provider());
/// # let mint = contract.mint(payer, Amount::tokens(1).to_units());
/// # chain.send(mint.into_transaction_request()).await?;
/// let escrow = EvmEscrow::deploy(chain.clone()).await?;
/// escrow.deposit("account", token, Amount::from(100_000)).await?;
///
/// // The operator is paid by the second, with a guarantee of 20 seconds.
/// let service = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await?;
/// let (payee, service) = (service.account(), EvmEscrow::new(service, escrow.address()));
/// let (validator, rate, lockup_period, lockup_fixed) = (Address::ZERO, 10, 20, 0);
/// let terms = RailTerms { payer, payee, token, validator, rate, lockup_period, lockup_fixed };
/// let error = service.open_rail("service", &terms).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Rejected, "the payer has to allow it");
///
/// escrow.allow_operator("service", token, payee, 10, 200, 20).await?;
/// let rail = service.open_rail("service", &terms).await?;
/// assert_eq!(escrow.allowance(token, payer, payee).await?.lockup_used, 200);
/// escrow.terminate(rail).await?;
/// assert!(escrow.rail(rail).await?.expect("it runs for its guarantee").ends_at.is_some());
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmEscrow {
    chain: Chain,
    address: Address,
    deposits: Arc<Deposits>,
}

impl EvmEscrow {
    /// The contract at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deposits: Arc::default() }
    }

    /// Puts a contract for everybody's rails on the chain, once per chain handle's store: no network needs another one
    /// than its neighbours on the chain.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deploy(chain: Chain) -> Result<Self> {
        let tx = Contract::deploy_builder(chain.provider()).into_transaction_request();
        let address = create(&chain, "deploy/escrow", tx).await?;
        Ok(Self::new(chain, address))
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What spends out of rails of this contract are signed for.
    pub fn domain(&self) -> Domain {
        escrow_domain(self.chain.id(), self.address)
    }

    /// Fills this account, with an approval before where the contract is not allowed as much.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the balance is too small, otherwise as [`Chain::send_once`].
    pub async fn deposit(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.deposit(token, self.chain.account(), amount.to_units());
        let key = format!("deposit/escrow/{}/{intent}", self.address);
        let tx = call.into_transaction_request();
        let made = self.deposits.make(&self.chain, &key, token, self.address, amount, tx).await;
        made.map(|made| made.transaction_hash).map_err(explain)
    }

    /// Takes out what is neither locked nor owed.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when that is less, otherwise as [`Chain::send_once`].
    pub async fn withdraw(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.withdraw(token, amount.to_units());
        self.once("withdraw", intent, call.into_transaction_request()).await
    }

    /// Lets an operator open rails out of this account: all rates together, all lockups together, and the longest
    /// lockup period in seconds.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn allow_operator(
        &self,
        intent: &str,
        token: Address,
        operator: Address,
        rate: u128,
        lockup: u128,
        lockup_period: u64,
    ) -> Result<B256> {
        let contract = self.contract();
        let call = contract.allowOperator(token, operator, rate, lockup, lockup_period);
        self.once("allow", intent, call.into_transaction_request()).await
    }

    /// Opens a rail as its operator; answers its number.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the payer allows less, holds less than the guarantee or is in arrears,
    /// [`ErrorKind::Limit`] for a lockup of more than 2^40 seconds, otherwise as [`Chain::send_once`].
    pub async fn open_rail(&self, intent: &str, terms: &RailTerms) -> Result<u64> {
        let RailTerms { payer, payee, token, validator, rate, lockup_period, lockup_fixed } =
            *terms;
        let contract = self.contract();
        let call =
            contract.openRail(token, payer, payee, validator, rate, lockup_period, lockup_fixed);
        let receipt = self.send_once("open", intent, call.into_transaction_request()).await?;
        let number = event::<Contract::RailSet>(&receipt, self.address)?.railId;
        u64::try_from(number).map_err(|_| {
            let text = "no contract has so many rails; is there another one at the address?";
            Error::new(ErrorKind::Malformed, text).with("rail", number)
        })
    }

    /// Changes rate and fixed lockup of a rail, as its operator.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the rail ends, or its validator has not judged the rate before; otherwise as
    /// [`open_rail`](Self::open_rail).
    pub async fn change_rail(
        &self,
        intent: &str,
        rail: u64,
        rate: u128,
        lockup_fixed: u128,
    ) -> Result<B256> {
        let contract = self.contract();
        let call = contract.changeRail(U256::from(rail), rate, lockup_fixed);
        self.once("change", intent, call.into_transaction_request()).await
    }

    /// Credits the payee out of the fixed lockup, as the rail's operator.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the lockup holds less, otherwise as [`Chain::send_once`].
    pub async fn pay_fixed(&self, intent: &str, rail: u64, amount: u128) -> Result<B256> {
        let contract = self.contract();
        let call = contract.payFixed(U256::from(rail), amount);
        self.once("fixed", intent, call.into_transaction_request()).await
    }

    /// Ends a rail, as its operator, payee or payer: it pays on for its lockup period.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for anybody else, and for a payer in arrears; [`ErrorKind::Conflict`] when it ends
    /// already, otherwise as [`Chain::send_once`].
    pub async fn terminate(&self, rail: u64) -> Result<B256> {
        let contract = self.contract();
        let call = contract.terminate(U256::from(rail));
        self.once("terminate", &rail.to_string(), call.into_transaction_request()).await
    }

    /// Credits the payee what is due by now, as far as the payer is covered and the validator agrees; answers how
    /// much. Anybody may, again and again. Closes a rail that is settled to its end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the rail is closed, [`ErrorKind::Rejected`] when its validator does not answer or
    /// asks for more than is due, otherwise as [`Chain::send`].
    pub async fn settle(&self, rail: u64) -> Result<Amount> {
        let contract = self.contract();
        let tx = contract.settle(U256::from(rail), U256::MAX).into_transaction_request();
        // Needs no key: each second is paid once.
        let receipt = self.chain.send(tx).await.map_err(explain)?;
        self.credited(&receipt)
    }

    /// The payer's way out when a validator does not answer: settles a rail that has come to its end in full, without
    /// asking him, and closes it; answers what the payee was credited. The same again gets the same answer.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for anybody but the payer, [`ErrorKind::Conflict`] before the rail was
    /// [terminated](Self::terminate) and its lockup period is over, [`ErrorKind::NotFound`] when it is closed,
    /// otherwise as [`Chain::send_once`].
    pub async fn settle_without_validator(&self, rail: u64) -> Result<Amount> {
        let contract = self.contract();
        let tx = contract.settleWithoutValidator(U256::from(rail)).into_transaction_request();
        let receipt = self.send_once("without-validator", &rail.to_string(), tx).await?;
        self.credited(&receipt)
    }

    /// A rail; `None` when there is none of this number, or it is closed.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn rail(&self, rail: u64) -> Result<Option<OpenRail>> {
        let rail = match self.chain.read(&self.contract().railOf(U256::from(rail))).await {
            Err(error) if is_unknown(&error) => return Ok(None),
            other => other?,
        };
        let Contract::Rail { payer, payee, token, validator, rate, operator, .. } = rail;
        let (lockup_period, lockup_fixed) = (rail.lockupPeriod, rail.lockupFixed);
        let terms = RailTerms { payer, payee, token, validator, rate, lockup_period, lockup_fixed };
        let ends_at = Some(rail.endsAt).filter(|second| *second != 0);
        let open = OpenRail { terms, operator, paid_up_to: rail.paidUpTo, ends_at };
        Ok(Some(open).filter(|open| !open.operator.is_zero()))
    }

    /// What a payer allows an operator, and how much of it is used.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn allowance(
        &self,
        token: Address,
        payer: Address,
        operator: Address,
    ) -> Result<OperatorAllowance> {
        let allowed = self.chain.read(&self.contract().allowanceOf(token, payer, operator)).await?;
        let Contract::Allowance { rate, rateUsed, lockup, lockupUsed, lockupPeriod } = allowed;
        Ok(OperatorAllowance {
            rate,
            rate_used: rateUsed,
            lockup,
            lockup_used: lockupUsed,
            lockup_period: lockupPeriod,
        })
    }

    /// What settling a rail would credit its payee now; nothing for a rail that is closed.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn owed(&self, rail: u64) -> Result<Amount> {
        self.owed_at(rail, BlockId::latest()).await
    }

    async fn owed_at(&self, rail: u64, at: BlockId) -> Result<Amount> {
        let contract = self.contract();
        let call = contract.settle(U256::from(rail), U256::MAX).block(at);
        match self.chain.read(&call).await {
            Ok(amount) => Ok(Amount::units(amount)),
            Err(error) if is_unknown(&error) => Ok(Amount::ZERO),
            Err(error) => Err(error),
        }
    }

    /// An account, as of the last call that touched it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn account(&self, token: Address, owner: Address) -> Result<EscrowAccount> {
        let account = self.chain.read(&self.contract().accountOf(token, owner)).await?;
        let [funds, locked, rate] = [account.funds, account.locked, account.rate]
            .map(|amount| Amount::units(U256::from(amount)));
        Ok(EscrowAccount { funds, locked, rate, paid_up_to: account.paidUpTo })
    }

    /// What the settlements of a mined transaction credited, by this contract's own events.
    fn credited(&self, receipt: &TransactionReceipt) -> Result<Amount> {
        let own = receipt.logs().iter().filter(|log| log.address() == self.address);
        let settled = own.filter_map(|log| log.log_decode::<Contract::RailSettled>().ok());
        Amount::sum(settled.map(|log| Amount::units(log.inner.data.amount)))
    }

    async fn once(&self, what: &str, intent: &str, tx: TransactionRequest) -> Result<B256> {
        self.send_once(what, intent, tx).await.map(|receipt| receipt.transaction_hash)
    }

    async fn send_once(
        &self,
        what: &str,
        intent: &str,
        tx: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        let key = format!("escrow-{what}/{}/{intent}", self.address);
        self.chain.send_once(&key, tx).await.map_err(explain)
    }

    fn contract(&self) -> Contract::ServiceEscrowInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

fn is_unknown(error: &Error) -> bool {
    let revert = Revert::of(error);
    revert.is_some_and(|revert| revert.decode::<Contract::UnknownRail>().is_some())
}

fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, NotFound, Rejected};
    refused(error, |refusal: &Refusal| {
        Some(match refusal {
            Refusal::NothingDeposited(_) => (Rejected, "nothing of the token arrived"),
            Refusal::FundsTooSmall(_) => (
                Rejected,
                "less is free, or in the fixed lockup of the rail; deposit more, or ask for less",
            ),
            Refusal::InArrears(_) => {
                (Rejected, "the payer ran dry and is in arrears; a deposit comes first")
            }
            Refusal::AllowanceExceeded(_) => {
                (Rejected, "the payer allows the operator less; have the payer allow more")
            }
            Refusal::LockupTooLong(_) => {
                (Limit, "no lockup period is longer than 2^40 seconds; choose a shorter one")
            }
            Refusal::UnknownRail(_) => (NotFound, "there is no such rail, or it is closed"),
            Refusal::NotAllowed(_) => (
                Rejected,
                "this account may not: the operator changes a rail and pays out of it, its parties end it, \
                 and only the payer settles without the validator",
            ),
            Refusal::RailEnds(_) => {
                (Conflict, "the rail was terminated already, or its end has not come yet")
            }
            Refusal::RailNotSettled(_) => (
                Conflict,
                "the validator has not judged the rate before; settle the rail, then change it",
            ),
            Refusal::ValidatorOverreached(_) => {
                (Rejected, "the validator asks for more than is due, or for other seconds")
            }
            Refusal::SafeCastOverflowedUintDowncast(_) => {
                (Limit, "the contract counts in 128 bits; the sum is larger")
            }
            _ => return None,
        })
    })
}
