//! The `PaymentStream` contract.

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
    bindings::PaymentStream::{self as Contract, PaymentStreamErrors as Refusal},
};

use super::{
    approval::{Deposits, Sent, key_of, send},
    calls::{create, refused},
    flow::{Flow, TimeRail, rejected, state},
};
use crate::{rail::RailStore, spend::stream_domain, typed::Domain};

/// A `PaymentStream` contract, through the account that pays or is paid.
///
/// A payer has one purse per token, out of which any number of streams pay by the second. Calls that must not
/// happen twice take an `intent`: the same one again waits for the first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, bindings::NetworkToken, deploy};
/// use depin_payment::evm::EvmStream;
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let (payer, payee) = (chain.account(), Address::repeat_byte(2));
/// # let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// # Roles::of(chain.clone(), token).grant(Role::MINTER, payer).await?;
/// # let contract = NetworkToken::new(token, chain.provider());
/// # let mint = contract.mint(payer, Amount::tokens(1).to_units());
/// # chain.send(mint.into_transaction_request()).await?;
/// let streams = EvmStream::deploy(chain).await?;
/// streams.deposit("purse", token, Amount::from(1_000)).await?;
/// streams.start("service", payee, token, 10).await?;
///
/// devnet.increase_time(500).expect("time passes");
/// devnet.mine(1);
/// assert_eq!(streams.settle(payer, payee, token).await?, Amount::from(1_000), "then it ran dry");
/// let error = streams.start("more", Address::repeat_byte(3), token, 1).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Rejected);
/// assert!(error.to_string().contains("deposit first"));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
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

    /// Puts a contract for everybody's streams on the chain, once per chain handle's store: no network needs another
    /// one than its neighbours on the chain.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deploy(chain: Chain) -> Result<Self> {
        let tx = Contract::deploy_builder(chain.provider()).into_transaction_request();
        let address = create(&chain, "deploy/streams", tx).await?;
        Ok(Self::new(chain, address))
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What spends out of streams of this contract are signed for.
    pub fn domain(&self) -> Domain {
        stream_domain(self.chain.id(), self.address)
    }

    /// Fills this account's purse, with an approval before where the contract is not allowed as much.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the balance is too small, otherwise as [`Chain::send_once`].
    pub async fn deposit(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.deposit(self.chain.account(), token, amount.to_units());
        let key = format!("deposit/stream/{}/{intent}", self.address);
        let tx = call.into_transaction_request();
        let made = self.deposits.make(&self.chain, &key, token, self.address, amount, tx).await;
        made.map(|made| made.transaction_hash).map_err(explain)
    }

    /// Takes back what no stream has used yet.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when that is less, otherwise as [`Chain::send_once`].
    pub async fn withdraw(&self, intent: &str, token: Address, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.withdraw(token, amount.to_units());
        self.once("withdraw", intent, call.into_transaction_request()).await
    }

    /// Starts to pay `rate` units per second to `payee`.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when there is such a stream, [`ErrorKind::Rejected`] when the rate is zero or the purse
    /// owes, otherwise as [`Chain::send_once`].
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
    /// [`ErrorKind::NotFound`] when there is no such stream, [`ErrorKind::Rejected`] for anybody else, otherwise as
    /// [`Chain::send_once`].
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

    /// Pays the payee all that the purse covers; answers how much. Anybody may, again and again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such stream, otherwise as [`Chain::send`].
    pub async fn settle(&self, payer: Address, payee: Address, token: Address) -> Result<Amount> {
        let contract = self.contract();
        let tx = contract.settle(payer, payee, token).into_transaction_request();
        // Needs no key: each second is paid once.
        let receipt = self.chain.send(tx).await.map_err(explain)?;
        let own = receipt.logs().iter().filter(|log| log.address() == self.address);
        let paid = own.filter_map(|log| log.log_decode::<Contract::Paid>().ok());
        Amount::sum(paid.map(|log| Amount::units(log.inner.data.amount)))
    }

    /// A payer's purse.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn purse(&self, payer: Address, token: Address) -> Result<Purse> {
        let purse = self.chain.read(&self.contract().purseOf(payer, token)).await?;
        let [balance, rate] = [purse.balance, purse.rate].map(|n| Amount::units(U256::from(n)));
        Ok(Purse { balance, rate, paid_up_to: purse.paidUpTo })
    }

    /// What a settlement would pay the payee now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
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
        let sent = self.chain.send_once(&key, tx).await;
        sent.map(|receipt| receipt.transaction_hash).map_err(explain)
    }

    fn contract(&self) -> Contract::PaymentStreamInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

/// Takes spends out of streams to a payee.
///
/// A spend is good when all spends of its payer together stay within what the stream has paid the payee or owes
/// it now; the first one comes while the stream runs. Only keys sign spends, not contracts. A purse that runs dry
/// stops its streams, so what will flow is not promised: see [`EscrowRail`](super::EscrowRail) for that.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{
///     Algorithm, Amount, B256, NetworkId, SoftwareKey,
///     payment::{Charge, Payer, PaymentRail, Settlement},
/// };
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, bindings::NetworkToken, deploy};
/// use depin_payment::{
///     evm::{EvmStream, StreamRail},
///     rail::{RailStore, SpendPayer},
/// };
///
/// let devnet = Devnet::start();
/// let payers = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let payees = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await?;
/// let payee = payees.account();
/// # let token = deploy(&payers, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// # Roles::of(payers.clone(), token).grant(Role::MINTER, payers.account()).await?;
/// # let contract = NetworkToken::new(token, payers.provider());
/// # let mint = contract.mint(payers.account(), Amount::tokens(1).to_units());
/// # payers.send(mint.into_transaction_request()).await?;
/// let streams = EvmStream::deploy(payers).await?;
/// streams.deposit("purse", token, Amount::from(1_000)).await?;
/// streams.start("service", payee, token, 10).await?;
/// devnet.increase_time(100).expect("time passes");
/// devnet.mine(1);
///
/// // Signed by the payer, taken by the payee, and paid out of what has flowed.
/// let key = SoftwareKey::from_bytes(Algorithm::Es256k, &devnet.account(0).to_bytes().0)?;
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("wallet");
/// let limit = Amount::from(1_000);
/// let wallet = SpendPayer::stream(&path, streams.domain(), payee, token, Arc::new(key), limit)?;
/// let service = EvmStream::new(payees, streams.address());
/// let rail = StreamRail::new(service, payee, token, 0, RailStore::in_memory()?)?;
/// let charge = Charge { id: B256::repeat_byte(1), payee, amount: Amount::from(400) };
/// rail.accept(&charge, &wallet.pay(&charge).await?).await?;
/// let settled = rail.settle().await?;
/// assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == Amount::from(400)));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct StreamRail(TimeRail<Streams>);

impl StreamRail {
    /// Takes spends in `token` for `payee`; remembers in `store`. `since` is a block before the first stream, at
    /// best that of the contract. All that flowed from there on can be spent, so a payee whose store is lost settles
    /// all streams first and begins the new store with the block after.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the store belongs to another rail.
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

fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, NotFound, Rejected};
    refused(error, |refusal: &Refusal| {
        Some(match refusal {
            Refusal::NothingDeposited(_) => (Rejected, "nothing of the token arrived"),
            Refusal::InArrears(_) => (Rejected, "the purse ran dry and owes; deposit first"),
            Refusal::ZeroRate(_) => (Rejected, "a stream has a rate; stop it to pay no more"),
            Refusal::StreamExists(_) => {
                (Conflict, "there is a stream to this payee in this token; stop it first")
            }
            Refusal::UnknownStream(_) => {
                (NotFound, "there is no such stream; it was stopped, or never started")
            }
            Refusal::PurseTooSmall(_) => {
                (Rejected, "streams have used up more of the purse; withdraw less")
            }
            Refusal::NotParty(_) => (Rejected, "only the payer and the payee stop a stream"),
            Refusal::SafeCastOverflowedUintDowncast(_) => {
                (Limit, "the contract counts in 128 bits; the sum is larger")
            }
            _ => return None,
        })
    })
}
