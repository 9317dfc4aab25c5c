//! The `ServiceEscrow` contract.

use std::sync::Arc;

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, U256,
    payment::{Accepted, Charge, Payment, PaymentRail, RailBalance, Settlement},
};
use depin_evm::{
    Chain, Revert,
    alloy::{
        eips::BlockId,
        providers::DynProvider,
        rpc::types::{Filter, Log, TransactionRequest},
        sol_types::SolEvent,
    },
    bindings::ServiceEscrow as Contract,
};

use super::{
    approval::{Deposits, Sent, key_of, send},
    flow::{Flow, TimeRail, rejected, state},
};
use crate::{
    rail::{RailStore, damaged},
    spend::escrow_domain,
    typed::Domain,
};

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

/// A `ServiceEscrow` contract, through the account that pays, operates or is paid.
///
/// Calls that must not happen twice take an `intent`: the same one again waits for the first.
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

    /// What spends out of rails of this contract are signed for.
    pub fn domain(&self) -> Domain {
        escrow_domain(self.chain.id(), self.address)
    }

    /// Fills this account.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deposit(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.deposit(token, self.chain.account(), amount.to_units());
        let key = format!("deposit/escrow/{}/{intent}", self.address);
        let tx = call.into_transaction_request();
        let made = self.deposits.make(&self.chain, &key, token, self.address, amount, tx).await?;
        Ok(made.transaction_hash)
    }

    /// Takes out what is neither locked nor owed.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
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
    /// As [`Chain::send_once`]; it reverts without the payer's allowance or funds.
    pub async fn open_rail(&self, intent: &str, terms: &RailTerms) -> Result<u64> {
        let RailTerms { payer, payee, token, validator, rate, lockup_period, lockup_fixed } =
            *terms;
        let contract = self.contract();
        let call =
            contract.openRail(token, payer, payee, validator, rate, lockup_period, lockup_fixed);
        let key = format!("escrow-open/{}/{intent}", self.address);
        let receipt = self.chain.send_once(&key, call.into_transaction_request()).await?;
        let own = receipt.logs().iter().filter(|log| log.address() == self.address);
        let opened = own.filter_map(|log| log.log_decode::<Contract::RailSet>().ok()).next();
        opened.and_then(|log| u64::try_from(log.inner.data.railId).ok()).ok_or_else(|| {
            let text = "the receipt of the rail lacks its number; is this a ServiceEscrow?";
            Error::new(ErrorKind::Malformed, text).with("transaction", receipt.transaction_hash)
        })
    }

    /// Changes rate and fixed lockup of a rail, as its operator.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
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
    /// As [`Chain::send_once`].
    pub async fn pay_fixed(&self, intent: &str, rail: u64, amount: u128) -> Result<B256> {
        let contract = self.contract();
        let call = contract.payFixed(U256::from(rail), amount);
        self.once("fixed", intent, call.into_transaction_request()).await
    }

    /// Ends a rail: it pays on for its lockup period.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn terminate(&self, rail: u64) -> Result<B256> {
        let contract = self.contract();
        let call = contract.terminate(U256::from(rail));
        self.once("terminate", &rail.to_string(), call.into_transaction_request()).await
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

    async fn once(&self, what: &str, intent: &str, tx: TransactionRequest) -> Result<B256> {
        let key = format!("escrow-{what}/{}/{intent}", self.address);
        self.chain.send_once(&key, tx).await.map(|receipt| receipt.transaction_hash)
    }

    fn contract(&self) -> Contract::ServiceEscrowInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

/// Takes spends out of escrow rails to a payee.
///
/// A spend is good when all spends out of its rail together stay within what the rail has credited the payee or
/// owes it now. What is credited is in the payee's account of the escrow: [`EvmEscrow::withdraw`] takes it out. Only
/// keys sign spends, not contracts.
#[derive(Debug)]
pub struct EscrowRail(TimeRail<Rails>);

impl EscrowRail {
    /// Takes spends in `token` for `payee` out of rails with this `validator`, zero for none; remembers in `store`.
    /// `since` is a block before the first rail, at best that of the contract. All that flowed from there on can be
    /// spent, so a payee whose store is lost settles all rails first and begins the new store with the block after.
    ///
    /// A validator's judgement counts as it is now, so name only one whom the payee trusts to keep it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the store belongs to another rail.
    pub fn new(
        escrow: EvmEscrow,
        payee: Address,
        token: Address,
        validator: Address,
        since: u64,
        store: RailStore,
    ) -> Result<Self> {
        let rails = Rails { escrow, payee, token, validator };
        TimeRail::new(rails, payee, token, since, store).map(Self)
    }
}

#[async_trait]
impl PaymentRail for EscrowRail {
    fn scheme(&self) -> &'static str {
        "escrow"
    }

    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        self.0.accept(charge, payment).await
    }

    async fn settle(&self) -> Result<Settlement> {
        self.0.settle().await
    }

    async fn balance(&self) -> Result<RailBalance> {
        self.0.balance().await
    }
}

/// Rails of all payers to one payee. A source is the number of a rail.
#[derive(Debug)]
struct Rails {
    escrow: EvmEscrow,
    payee: Address,
    token: Address,
    validator: Address,
}

#[async_trait]
impl Flow for Rails {
    // A rail closes.
    const ALWAYS_CHECKED: bool = true;

    fn chain(&self) -> &Chain {
        &self.escrow.chain
    }

    fn domain(&self) -> Domain {
        self.escrow.domain()
    }

    fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])> {
        let (rail, signature) = payment.proof.split_first_chunk::<8>().ok_or_else(|| {
            let text = "a spend out of escrow begins with the number of its rail in 8 bytes";
            Error::new(ErrorKind::Malformed, text)
        })?;
        Ok((rail.to_vec(), signature))
    }

    fn rail(source: &[u8]) -> Result<u64> {
        source.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
    }

    async fn check(&self, source: &[u8], payer: Address) -> Result<()> {
        let number = number_of(source)?;
        let rail = match self.escrow.chain.read(&self.escrow.contract().railOf(number)).await {
            Ok(rail) => rail,
            Err(error) if is_unknown(&error) => {
                return Err(rejected("there is no such rail").with("rail", number).source(error));
            }
            Err(error) => return Err(error),
        };
        let same = (rail.payer, rail.payee, rail.token, rail.validator)
            == (payer, self.payee, self.token, self.validator);
        if same {
            return Ok(());
        }
        let text = "the rail is closed, or has another payer, payee, token or validator";
        Err(rejected(text).with("rail", number))
    }

    fn credits(&self, source: &[u8]) -> Result<Filter> {
        let credits = [Contract::RailSettled::SIGNATURE_HASH, Contract::FixedPaid::SIGNATURE_HASH];
        let filter = Filter::new().address(self.escrow.address).event_signature(credits.to_vec());
        Ok(filter.topic1(B256::from(number_of(source)?)))
    }

    fn credited(log: &Log) -> Option<U256> {
        let settled = log.log_decode::<Contract::RailSettled>().map(|log| log.inner.data.amount);
        settled
            .or_else(|_| log.log_decode::<Contract::FixedPaid>().map(|l| l.inner.data.amount))
            .ok()
    }

    async fn owed(&self, source: &[u8], at: BlockId) -> Result<Amount> {
        self.escrow.owed_at(Self::rail(source)?, at).await
    }

    async fn pull(&self, source: &[u8], received: Amount) -> Result<Sent> {
        let contract = self.escrow.contract();
        let call = contract.settle(number_of(source)?, U256::MAX);
        let tx = call.into_transaction_request();
        let key = key_of("settle", self.escrow.address, &tx, state(received));
        send(&self.escrow.chain, &key, tx).await
    }
}

fn number_of(source: &[u8]) -> Result<U256> {
    Rails::rail(source).map(U256::from)
}

fn is_unknown(error: &Error) -> bool {
    let revert = Revert::of(error);
    revert.is_some_and(|revert| revert.decode::<Contract::UnknownRail>().is_some())
}
