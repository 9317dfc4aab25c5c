//! What streams and escrow rails have in common: money that flows by time, and spends that use it up.
//!
//! The chain says what has flowed to the payee and what he could take now. Both only grow, so what all spends of a
//! payer may come to is known from below. Logs and state are read as of one block: what is settled meanwhile is
//! counted once.

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
        eips::BlockId,
        providers::Provider,
        rpc::types::{Filter, Log},
    },
};

use super::approval::Sent;
use crate::{
    rail::{
        Draft, Edit, Paid, REORG_DEPTH, RailBook, RailStore, damaged, split_amount, split_number,
    },
    spend::Spend,
    typed::{Domain, recover},
};

/// The payee's side of one kind of contract that pays by time.
#[async_trait]
pub(super) trait Flow: Send + Sync + fmt::Debug {
    /// Whether a source can stop being the payer's to spend.
    const ALWAYS_CHECKED: bool;

    fn chain(&self) -> &Chain;

    fn domain(&self) -> Domain;

    /// What a proof says to be paid out of, as a key, and the rest: number and signature.
    fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])>;

    /// The number of the escrow rail that a source is; zero for a stream.
    fn rail(source: &[u8]) -> Result<u64>;

    /// Refuses a source that is not the payer's to spend at this payee. Anybody
    /// can have this asked, so it is cheap.
    async fn check(&self, source: &[u8], payer: Address) -> Result<()>;

    /// The events that credit the payee out of a source.
    fn credits(&self, source: &[u8]) -> Result<Filter>;

    /// The amount of such an event.
    fn credited(log: &Log) -> Option<U256>;

    /// What settling the source would credit as of a block.
    async fn owed(&self, source: &[u8], at: BlockId) -> Result<Amount>;

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
    store: RailBook,
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
        let separator = flow.domain().separator();
        let store = store.claim(&format!("spends/{separator}/{payee}/{token}"))?;
        Ok(Self { flow, payee, token, since, store, counted: Mutex::default() })
    }

    pub(super) async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        if charge.payee != self.payee {
            return Err(rejected("the charge is for another payee than this rail's"));
        }
        let (source, rest) = self.flow.source(payment.bounded()?)?;
        let (number, signature) = split_number(rest).map_err(|_| nameless())?;
        let spend = Spend::of(charge, self.token, F::rail(&source)?, number);
        if recover(spend.digest(&self.flow.domain()), signature)? != payment.payer {
            let text = "the spend is not signed by its payer for this charge, token and contract";
            return Err(rejected(text).with("payer", payment.payer));
        }
        let order = U256::from(number).to_be_bytes();
        let paid = Paid { charge: *charge, payer: payment.payer, source, order };
        if let Some(before) = self.store.answer(&paid)? {
            return Ok(before);
        }
        let source = paid.source.as_slice();
        if F::ALWAYS_CHECKED || self.store.view()?.source(source)?.is_none() {
            self.flow.check(source, payment.payer).await?;
        }
        let credited = self.credited(source).await?;
        let reach = credited.now.checked_add(self.flow.owed(source, credited.at()).await?)?;
        self.admit(paid, reach).await
    }

    /// Enters a spend, if what has flowed reaches.
    async fn admit(&self, paid: Paid, reach: Amount) -> Result<Accepted> {
        let at = self.store.now();
        let admit = move |draft: &Draft<'_>| {
            if let Some(before) = draft.answer(&paid)? {
                return Ok((before, Vec::new()));
            }
            let mut spent = Spent::decode(draft.source(&paid.source)?.as_deref())?;
            spent.accepted = spent.accepted.checked_add(paid.charge.amount)?;
            if spent.accepted > reach {
                let text =
                    "less has flowed to the payee than is spent of it; wait or raise the rate";
                return Err(rejected(text).with("spent", spent.accepted).with("flowed", reach));
            }
            let source = Edit::Source(paid.source.clone(), spent.encode());
            let accepted = paid.accepted();
            let (reached, purpose) = (spent.accepted, B256::ZERO);
            Ok((accepted, vec![source, Edit::Pay { paid, reached, at, purpose }]))
        };
        self.store.commit(admit).await
    }

    pub(super) async fn settle(&self) -> Result<Settlement> {
        let (mut done, mut failed) = (Done::default(), None);
        for (source, stored) in self.store.sources(&[])? {
            // One source that fails keeps nobody else's money back.
            if let Err(error) = self.settle_source(&source, &stored, &mut done).await {
                failed.get_or_insert(error);
            }
        }
        self.forget().await?;
        if let Some(error) = failed {
            return Err(error);
        }
        let Done { amount, missing, pending, transactions } = done;
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

    async fn settle_source(&self, source: &[u8], stored: &[u8], done: &mut Done) -> Result<()> {
        let spent = Spent::decode(Some(stored))?;
        if spent.is_done() {
            return Ok(());
        }
        let mut credited = self.credited(source).await?;
        let short = credited.now < spent.accepted;
        if short && !self.flow.owed(source, credited.at()).await?.is_zero() {
            let due = spent.accepted.checked_sub(credited.now).unwrap_or_default();
            match self.flow.pull(source, credited.now).await? {
                Sent::Mined(receipt) => done.transactions.push(receipt.transaction_hash),
                Sent::Pending => done.pending = done.pending.checked_add(due)?,
            }
            credited = self.credited(source).await?;
        }
        let before = spent.settled;
        let settled = self.learn(source, &credited).await?;
        let news = settled.checked_sub(before).unwrap_or_default();
        done.amount = done.amount.checked_add(news)?;
        let missing = spent.accepted.checked_sub(credited.now).unwrap_or_default();
        done.missing = done.missing.checked_add(missing)?;
        Ok(())
    }

    pub(super) async fn balance(&self) -> Result<RailBalance> {
        let mut balance = RailBalance::default();
        for (source, stored) in self.store.sources(&[])? {
            let mut spent = Spent::decode(Some(&stored))?;
            if !spent.is_done() {
                let credited = self.credited(&source).await?;
                spent.settled = self.learn(&source, &credited).await?;
            }
            balance.accepted = balance.accepted.checked_add(spent.accepted)?;
            balance.settled = balance.settled.checked_add(spent.settled.min(spent.accepted))?;
        }
        Ok(balance)
    }

    /// What the payee was credited out of a source since the contract exists.
    async fn credited(&self, source: &[u8]) -> Result<Credited> {
        let chain = self.flow.chain();
        let latest = chain.ask(chain.provider().get_block_number()).await?;
        // What may still be reorganised is added up anew every time.
        let firm = latest.saturating_sub(REORG_DEPTH);
        let known = self.counted().get(source).copied();
        let (mut next, mut sum) = known.unwrap_or((self.since, Amount::ZERO));
        let mut settled = sum;
        let filter = self.flow.credits(source)?;
        // Never across the border between firm and young blocks.
        for border in [firm, latest] {
            let mut windows = chain.logs(filter.clone(), next..=border);
            while let Some(window) = windows.next().await? {
                for log in &window.logs {
                    let credited = F::credited(log).ok_or_else(strange)?;
                    sum = sum.checked_add(Amount::units(credited))?;
                }
                next = window.blocks.end().saturating_add(1);
                if border == firm {
                    settled = sum;
                    self.count(source, next, sum);
                }
            }
        }
        Ok(Credited { now: sum, firm: settled, block: latest })
    }

    /// Remembers what was credited out of a source before the block `next`.
    fn count(&self, source: &[u8], next: u64, sum: Amount) {
        let mut counted = self.counted();
        if counted.len() >= MAX_SOURCES {
            counted.clear();
        }
        counted.insert(source.to_vec(), (next, sum));
    }

    /// Notes and answers how much of what was accepted has been credited.
    async fn learn(&self, source: &[u8], credited: &Credited) -> Result<Amount> {
        let (source, now, firm) = (source.to_vec(), credited.now, credited.firm);
        let learn = move |draft: &Draft<'_>| {
            let stored = draft.source(&source)?;
            let mut spent = Spent::decode(stored.as_deref())?;
            (spent.settled, spent.firm) = (now.min(spent.accepted), firm.min(spent.accepted));
            let heard = spent.encode();
            let edits = match stored {
                Some(stored) if stored != heard => vec![Edit::Source(source, heard)],
                _ => Vec::new(),
            };
            Ok((spent.settled, edits))
        };
        self.store.commit(learn).await
    }

    /// Forgets what is settled for good and old.
    async fn forget(&self) -> Result<()> {
        for (source, stored) in self.store.sources(&[])? {
            self.store.forget(&source, Spent::decode(Some(&stored))?.firm).await?;
        }
        Ok(())
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, (u64, Amount)>> {
        // A cache is whole whatever its last user did.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What settling did for all sources.
#[derive(Default)]
struct Done {
    amount: Amount,
    missing: Amount,
    pending: Amount,
    transactions: Vec<B256>,
}

/// What the payee was credited as of a block, and what of it long enough before to stay.
struct Credited {
    now: Amount,
    firm: Amount,
    block: u64,
}

impl Credited {
    fn at(&self) -> BlockId {
        BlockId::number(self.block)
    }
}

/// What was accepted out of a source, and what of it has been credited.
#[derive(Default)]
struct Spent {
    accepted: Amount,
    settled: Amount,
    /// What of it was credited so long ago that it stays.
    firm: Amount,
}

impl Spent {
    /// Whether the chain need not be asked again.
    fn is_done(&self) -> bool {
        self.firm >= self.accepted
    }

    fn encode(&self) -> Vec<u8> {
        let amounts = [self.accepted, self.settled, self.firm];
        amounts.map(|amount| amount.to_units().to_be_bytes::<32>()).concat()
    }

    fn decode(stored: Option<&[u8]>) -> Result<Self> {
        let Some(stored) = stored else { return Ok(Self::default()) };
        let (accepted, rest) = split_amount(stored)?;
        let (settled, rest) = split_amount(rest)?;
        let (firm, rest) = split_amount(rest)?;
        rest.is_empty().then_some(Self { accepted, settled, firm }).ok_or_else(damaged)
    }
}

/// The amount `received` as the state that belongs to a key.
pub(super) fn state(received: Amount) -> B256 {
    received.to_units().into()
}

pub(super) fn rejected(text: &'static str) -> Error {
    Error::new(ErrorKind::Rejected, text)
}

fn nameless() -> Error {
    let text = "a spend has a number of 8 bytes before its signature; sign it with a SpendPayer";
    Error::new(ErrorKind::Malformed, text)
}

fn strange() -> Error {
    Error::new(ErrorKind::Malformed, "the node gave an event that the contract does not have")
}

/// Sources whose logs are remembered: about 100 bytes each.
const MAX_SOURCES: usize = 65_536;

#[cfg(test)]
mod tests {
    use depin_core::{ChainId, keccak256};
    use depin_devnet::Devnet;

    use super::*;

    /// Sources of which the first never answers.
    #[derive(Debug)]
    struct Flaky {
        chain: Chain,
        pulled: Mutex<Vec<Vec<u8>>>,
    }

    #[async_trait]
    impl Flow for Flaky {
        const ALWAYS_CHECKED: bool = true;

        fn chain(&self) -> &Chain {
            &self.chain
        }

        fn domain(&self) -> Domain {
            Domain::new("Flaky", "1", ChainId::new(1), Address::ZERO)
        }

        fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])> {
            Ok((Vec::new(), &payment.proof))
        }

        fn rail(_: &[u8]) -> Result<u64> {
            Ok(0)
        }

        async fn check(&self, _: &[u8], _: Address) -> Result<()> {
            Ok(())
        }

        fn credits(&self, source: &[u8]) -> Result<Filter> {
            Ok(Filter::new().event_signature(keccak256(source)))
        }

        fn credited(_: &Log) -> Option<U256> {
            None
        }

        async fn owed(&self, source: &[u8], _: BlockId) -> Result<Amount> {
            match source {
                [1] => Err(rejected("the first source is bad")),
                _ => Ok(Amount::from(5)),
            }
        }

        async fn pull(&self, source: &[u8], _: Amount) -> Result<Sent> {
            self.pulled.lock().unwrap_or_else(PoisonError::into_inner).push(source.to_vec());
            Ok(Sent::Pending)
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_keeps_nobody_elses_money_back() {
        let devnet = Devnet::start();
        let chain = Chain::from_provider(devnet.provider(), devnet.account(0));
        let chain = chain.connect().await.expect("the devnet answers");
        let flow = Flaky { chain, pulled: Mutex::default() };
        let store = RailStore::in_memory().expect("there is memory");
        let rail = TimeRail::new(flow, Address::ZERO, Address::ZERO, 0, store).expect("it is new");
        let spent = Spent { accepted: Amount::from(5), ..Spent::default() };
        for source in 1..=3 {
            let edit = Edit::Source(vec![source], spent.encode());
            rail.store.commit(move |_| Ok(((), vec![edit]))).await.expect("there is memory");
        }
        let error = rail.settle().await.expect_err("the first source fails");
        assert!(error.to_string().contains("first source"), "{error}");
        let pulled = rail.flow.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*pulled, [vec![2], vec![3]]);
    }
}
