//! The `PaymentStream` contract.

use std::sync::Arc;

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Result, U256,
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
    bindings::PaymentStream as Contract,
};

use super::{
    approval::{Deposits, Sent, key_of, send},
    flow::{Flow, TimeRail, rejected, state},
};
use crate::{rail::RailStore, spend::stream_domain, typed::Domain};

/// A `PaymentStream` contract, through the account that pays or is paid.
///
/// A payer has one purse per token, out of which any number of streams pay by the second. Calls that must not
/// happen twice take an `intent`: the same one again waits for the first.
#[derive(Clone, Debug)]
pub struct EvmStream {
    chain: Chain,
    address: Address,
    deposits: Arc<Deposits>,
}

/// A payer's purse as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purse {
    /// What no stream has used yet.
    pub balance: Amount,
    /// What all streams take per second.
    pub rate: Amount,
    /// Up to which second, since 1970, they are paid: in the past for a purse that ran dry.
    pub paid_up_to: u64,
}

impl EvmStream {
    /// The contract at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deposits: Arc::default() }
    }

    /// What spends out of streams of this contract are signed for.
    pub fn domain(&self) -> Domain {
        stream_domain(self.chain.id(), self.address)
    }

    /// Fills this account's purse.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deposit(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.deposit(self.chain.account(), token, amount.to_units());
        let key = format!("deposit/stream/{}/{intent}", self.address);
        let tx = call.into_transaction_request();
        let made = self.deposits.make(&self.chain, &key, token, self.address, amount, tx).await?;
        Ok(made.transaction_hash)
    }

    /// Takes back what no stream has used yet.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn withdraw(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.withdraw(token, amount.to_units());
        self.once("withdraw", intent, call.into_transaction_request()).await
    }

    /// Starts to pay `rate` units per second to `payee`.
    ///
    /// # Errors
    /// As [`Chain::send_once`]; it reverts when there is such a stream, or the purse owes.
    pub async fn start(
        &self,
        intent: &str,
        payee: Address,
        token: Address,
        rate: u128,
    ) -> Result<B256> {
        let contract = self.contract();
        let call = contract.start(payee, token, rate);
        self.once("start", intent, call.into_transaction_request()).await
    }

    /// Ends a stream, as its payer or payee. What the purse covers is the payee's.
    ///
    /// # Errors
    /// As [`Chain::send_once`]; it reverts when there is no such stream.
    pub async fn stop(
        &self,
        intent: &str,
        payer: Address,
        payee: Address,
        token: Address,
    ) -> Result<B256> {
        let contract = self.contract();
        let call = contract.stop(payer, payee, token);
        self.once("stop", intent, call.into_transaction_request()).await
    }

    /// A payer's purse.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the chain does not answer now.
    pub async fn purse(&self, payer: Address, token: Address) -> Result<Purse> {
        let purse = self.chain.read(&self.contract().purseOf(payer, token)).await?;
        let [balance, rate] = [purse.balance, purse.rate].map(|n| Amount::units(U256::from(n)));
        Ok(Purse { balance, rate, paid_up_to: purse.paidUpTo })
    }

    /// What a settlement would pay the payee now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the chain does not answer now.
    pub async fn owed(&self, payer: Address, payee: Address, token: Address) -> Result<Amount> {
        let owed = self.chain.read(&self.contract().owed(payer, payee, token)).await?;
        Ok(Amount::units(owed.amount))
    }

    /// Pays the payee what streams that ended left him; answers how much.
    ///
    /// # Errors
    /// As [`Chain::send`].
    pub async fn collect(&self, payee: Address, token: Address) -> Result<Amount> {
        let contract = self.contract();
        let call = contract.collect(payee, token);
        let amount = Amount::units(self.chain.read(&call).await?);
        if !amount.is_zero() {
            // Needs no key: the contract pays each credit once, and nothing when it is asked again.
            self.chain.send(call.into_transaction_request()).await?;
        }
        Ok(amount)
    }

    async fn once(&self, what: &str, intent: &str, tx: TransactionRequest) -> Result<B256> {
        let key = format!("stream-{what}/{}/{intent}", self.address);
        self.chain.send_once(&key, tx).await.map(|receipt| receipt.transaction_hash)
    }

    fn contract(&self) -> Contract::PaymentStreamInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

/// Takes spends out of streams to a payee.
///
/// A spend is good when all spends of its payer together stay within what the stream has paid the payee or owes
/// it now; the first one comes while the stream runs. Only keys sign spends, not contracts. A purse that runs dry stops its streams, so what will flow is not
/// promised: see [`EscrowRail`](super::EscrowRail) for that.
#[derive(Debug)]
pub struct StreamRail(TimeRail<Streams>);

impl StreamRail {
    /// Takes spends in `token` for `payee`; remembers in `store`. `since` is a block before the first stream, at
    /// best that of the contract. All that flowed from there on can be spent, so a payee whose store is lost settles
    /// all streams first and begins the new store with the block after.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](depin_core::ErrorKind::Config) when the store belongs to another rail.
    pub fn new(
        stream: EvmStream,
        payee: Address,
        token: Address,
        since: u64,
        store: RailStore,
    ) -> Result<Self> {
        TimeRail::new(Streams { stream, payee, token }, payee, token, since, store).map(Self)
    }
}

#[async_trait]
impl PaymentRail for StreamRail {
    fn scheme(&self) -> &'static str {
        "stream"
    }

    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        self.0.accept(charge, payment).await
    }

    async fn settle(&self) -> Result<Settlement> {
        let Streams { stream, payee, token } = &self.0.flow;
        let settled = self.0.settle().await;
        // What streams that ended left the payee is credited, but not paid out.
        let collected = stream.collect(*payee, *token).await;
        settled.and_then(|settled| collected.map(|_| settled))
    }

    async fn balance(&self) -> Result<RailBalance> {
        self.0.balance().await
    }
}

/// Streams of all payers to one payee. A source is the payer.
#[derive(Debug)]
struct Streams {
    stream: EvmStream,
    payee: Address,
    token: Address,
}

#[async_trait]
impl Flow for Streams {
    // Once a stream has paid, only its payer can have signed for it.
    const ALWAYS_CHECKED: bool = false;

    fn chain(&self) -> &Chain {
        &self.stream.chain
    }

    fn domain(&self) -> Domain {
        self.stream.domain()
    }

    fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])> {
        Ok((payment.payer.to_vec(), &payment.proof))
    }

    fn rail(_: &[u8]) -> Result<u64> {
        Ok(0)
    }

    async fn check(&self, _: &[u8], payer: Address) -> Result<()> {
        let contract = self.stream.contract();
        let owed = self.stream.chain.read(&contract.owed(payer, self.payee, self.token)).await?;
        if !owed.rate.is_zero() || !owed.amount.is_zero() {
            return Ok(());
        }
        let text =
            "the payer has no stream to this payee; start one, and spend before it is stopped";
        Err(rejected(text).with("payer", payer))
    }

    fn credits(&self, source: &[u8]) -> Result<Filter> {
        let paid = [Contract::Paid::SIGNATURE_HASH, Contract::Stopped::SIGNATURE_HASH];
        let filter = Filter::new().address(self.stream.address).event_signature(paid.to_vec());
        let filter = filter.topic1(payer_of(source)?.into_word());
        Ok(filter.topic2(self.payee.into_word()).topic3(self.token.into_word()))
    }

    fn credited(log: &Log) -> Option<U256> {
        let paid = log.log_decode::<Contract::Paid>().map(|log| log.inner.data.amount);
        paid.or_else(|_| log.log_decode::<Contract::Stopped>().map(|l| l.inner.data.amount)).ok()
    }

    async fn owed(&self, source: &[u8], at: BlockId) -> Result<Amount> {
        let contract = self.stream.contract();
        let call = contract.owed(payer_of(source)?, self.payee, self.token).block(at);
        Ok(Amount::units(self.stream.chain.read(&call).await?.amount))
    }

    async fn pull(&self, source: &[u8], received: Amount) -> Result<Sent> {
        let contract = self.stream.contract();
        let call = contract.settle(payer_of(source)?, self.payee, self.token);
        let tx = call.into_transaction_request();
        let key = key_of("settle", self.stream.address, &tx, state(received));
        send(&self.stream.chain, &key, tx).await.map_err(|error| match Revert::of(&error) {
            Some(_) => rejected("the stream ended meanwhile; settle again").source(error),
            None => error,
        })
    }
}

fn payer_of(source: &[u8]) -> Result<Address> {
    Address::try_from(source).map_err(|_| crate::rail::damaged())
}
