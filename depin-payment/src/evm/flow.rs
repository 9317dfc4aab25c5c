//! What streams and escrow rails have in common: money that flows by time, and spends that use it up.
//!
//! The chain says what has flowed to the payee and what he could take now. Both only grow, so what all spends of a
//! payer may come to is known from below. Logs are read before the present state: what is settled in between is
//! then counted nowhere rather than twice.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, U256,
    payment::{Accepted, Charge, Payment, RailBalance, Settlement},
};
use depin_evm::{
    Chain,
    alloy::{
        providers::Provider,
        rpc::types::{Filter, Log},
    },
};

use super::approval::Sent;
use crate::{
    rail::{Answer, Paid, RailStore, damaged, split_amount},
    spend::Spend,
    typed::{Domain, recover},
};

/// The payee's side of one kind of contract that pays by time.
#[async_trait]
pub(super) trait Flow: Send + Sync + fmt::Debug {
    fn chain(&self) -> &Chain;

    fn domain(&self) -> Domain;

    /// What a proof says to be paid out of, as a key, and its signature.
    fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])>;

    /// Refuses a source that is not the payer's to spend at this payee.
    async fn check(&self, source: &[u8], payer: Address) -> Result<()>;

    /// The events that credit the payee out of a source.
    fn credits(&self, source: &[u8]) -> Result<Filter>;

    /// The amount of such an event.
    fn credited(log: &Log) -> Option<U256>;

    /// What settling the source would credit now.
    async fn owed(&self, source: &[u8]) -> Result<Amount>;

    /// Settles a source that was credited `received` so far.
    async fn pull(&self, source: &[u8], received: Amount) -> Result<Sent>;
}

/// A rail over a [`Flow`].
#[derive(Debug)]
pub(super) struct TimeRail<F> {
    pub(super) flow: F,
    payee: Address,
    token: Address,
    /// The first block with events of the contract.
    since: u64,
    store: RailStore,
    /// Up to which block the credits of a source are added up, and their sum.
    counted: Mutex<HashMap<Vec<u8>, (u64, Amount)>>,
}

impl<F: Flow> TimeRail<F> {
    pub(super) fn new(
        flow: F,
        payee: Address,
        token: Address,
        since: u64,
        store: RailStore,
    ) -> Result<Self> {
        store.claim(&format!("spends/{}/{payee}/{token}", flow.domain().separator()))?;
        Ok(Self { flow, payee, token, since, store, counted: Mutex::default() })
    }

    pub(super) async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        if charge.payee != self.payee {
            return Err(rejected("the charge is for another payee than this rail's"));
        }
        let (source, signature) = self.flow.source(payment.bounded()?)?;
        let digest = Spend::of(charge, self.token).digest(&self.flow.domain());
        if recover(digest, signature)? != payment.payer {
            let text = "the spend is not signed by its payer for this charge, token and contract";
            return Err(rejected(text).with("payer", payment.payer));
        }
        let paid = Paid { charge: *charge, payer: payment.payer, payment: digest };
        if let Some(before) = self.store.answer(&paid)? {
            return Ok(before);
        }
        self.flow.check(&source, payment.payer).await?;
        let received = self.received(&source).await?;
        let reach = received.checked_add(self.flow.owed(&source).await?)?;
        self.store.write(|write| {
            if let Answer::Before(accepted) = write.pay(&paid)? {
                return Ok(accepted);
            }
            let mut spent = Spent::decode(write.source(&source)?.as_deref())?;
            spent.accepted = spent.accepted.checked_add(charge.amount)?;
            if spent.accepted > reach {
                let text =
                    "less has flowed to the payee than is spent of it; wait or raise the rate";
                return Err(rejected(text).with("spent", spent.accepted).with("flowed", reach));
            }
            write.put_source(&source, &spent.encode())?;
            Ok(paid.accepted())
        })
    }

    pub(super) async fn settle(&self) -> Result<Settlement> {
        let (mut amount, mut missing, mut pending) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
        let mut transactions = Vec::new();
        for (source, stored) in self.store.sources(&[])? {
            let spent = Spent::decode(Some(&stored))?;
            if spent.due().is_zero() {
                continue;
            }
            let mut received = self.received(&source).await?;
            if received < spent.accepted && !self.flow.owed(&source).await?.is_zero() {
                match self.flow.pull(&source, received).await? {
                    Sent::Mined(receipt) => transactions.push(receipt.transaction_hash),
                    Sent::Pending => pending = pending.checked_add(spent.due())?,
                }
                received = self.received(&source).await?;
            }
            amount = amount.checked_add(self.learn(&source, received)?)?;
            let short = spent.accepted.checked_sub(received).unwrap_or_default();
            missing = missing.checked_add(short)?;
        }
        if !pending.is_zero() {
            return Ok(Settlement::Pending { amount: pending });
        }
        match (amount.is_zero(), missing.is_zero()) {
            (false, _) => Ok(Settlement::Settled { amount, transactions }),
            (true, true) => Ok(Settlement::NothingDue),
            (true, false) => {
                let text = "less has flowed than was accepted: the chain or a validator went back";
                Err(rejected(text).with("missing", missing))
            }
        }
    }

    pub(super) async fn balance(&self) -> Result<RailBalance> {
        let mut balance = RailBalance::default();
        for (source, stored) in self.store.sources(&[])? {
            let mut spent = Spent::decode(Some(&stored))?;
            if !spent.due().is_zero() {
                let news = self.learn(&source, self.received(&source).await?)?;
                spent.settled = spent.settled.checked_add(news)?;
            }
            balance.accepted = balance.accepted.checked_add(spent.accepted)?;
            balance.settled = balance.settled.checked_add(spent.settled.min(spent.accepted))?;
        }
        Ok(balance)
    }

    /// What the payee was credited out of a source since the contract exists.
    async fn received(&self, source: &[u8]) -> Result<Amount> {
        let chain = self.flow.chain();
        let latest = chain.ask(chain.provider().get_block_number()).await?;
        // What may still be reorganised is added up anew every time.
        let firm = latest.saturating_sub(REORG_DEPTH);
        let known = self.counted().get(source).copied();
        let (mut next, mut sum) = known.unwrap_or((self.since, Amount::ZERO));
        let filter = self.flow.credits(source)?;
        while next <= latest {
            // Never across the border between firm and young blocks.
            let border = if next <= firm { firm } else { latest };
            let end = next.saturating_add(LOG_WINDOW).min(border);
            let window = filter.clone().from_block(next).to_block(end);
            for log in chain.ask(chain.provider().get_logs(&window)).await? {
                let credited = F::credited(&log).ok_or_else(strange)?;
                sum = sum.checked_add(Amount::units(credited))?;
            }
            next = end.saturating_add(1);
            if end <= firm {
                self.counted().insert(source.to_vec(), (next, sum));
            }
        }
        Ok(sum)
    }

    /// Notes how much of what was accepted has been credited; answers how much of it is new.
    fn learn(&self, source: &[u8], received: Amount) -> Result<Amount> {
        self.store.write(|write| {
            let mut spent = Spent::decode(write.source(source)?.as_deref())?;
            let settled = received.min(spent.accepted);
            let news = settled.checked_sub(spent.settled).unwrap_or_default();
            if settled != spent.settled {
                spent.settled = settled;
                write.put_source(source, &spent.encode())?;
            }
            Ok(news)
        })
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, (u64, Amount)>> {
        // A cache is whole whatever its last user did.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was accepted out of a source, and what of it has been credited.
#[derive(Default)]
struct Spent {
    accepted: Amount,
    settled: Amount,
}

impl Spent {
    fn due(&self) -> Amount {
        self.accepted.checked_sub(self.settled).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        [self.accepted, self.settled].map(|a| a.to_units().to_be_bytes::<32>()).concat()
    }

    fn decode(stored: Option<&[u8]>) -> Result<Self> {
        let Some(stored) = stored else { return Ok(Self::default()) };
        let (accepted, rest) = split_amount(stored)?;
        let (settled, rest) = split_amount(rest)?;
        rest.is_empty().then_some(Self { accepted, settled }).ok_or_else(damaged)
    }
}

/// The amount `received` as the state that belongs to a key.
pub(super) fn state(received: Amount) -> B256 {
    received.to_units().into()
}

pub(super) fn rejected(text: &'static str) -> Error {
    Error::new(ErrorKind::Rejected, text)
}

fn strange() -> Error {
    Error::new(ErrorKind::Malformed, "the node gave an event that the contract does not have")
}

/// Blocks that a chain may take back.
const REORG_DEPTH: u64 = 64;
/// Blocks per request for logs, less one, which public nodes limit.
const LOG_WINDOW: u64 = 9_999;
