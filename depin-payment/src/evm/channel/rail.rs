//! Accepting vouchers and settling them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result,
    payment::{Accepted, Charge, Payment, PaymentRail, RailBalance, Settlement},
};
use depin_evm::alloy::eips::BlockId;
use tokio::time::{Duration, Instant};

use super::{
    EvmChannel, Payout,
    cover::{Verdict, judge},
    promise::{Examined, Promises},
    reach::{Reach, Reaches},
};
use crate::{
    channel::{SignedVoucher, Terms},
    rail::{Draft, Edit, LaneRecord, Paid, RailBook, RailStore},
};

/// What a payee takes.
///
/// ```
/// use depin_payment::evm::ChannelRules;
///
/// let rules = ChannelRules::default().lanes(1).contract_signers(true);
/// assert_eq!(rules.lanes, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelRules {
    /// Shortest challenge in seconds. Settle more often than that, or the payer takes back what he signed for.
    pub challenge: u32,
    /// Lanes `0..lanes` are taken: each costs gas to settle.
    pub lanes: u64,
    /// What a lane must at least owe, in units of the token, to be settled while its channel stays open: what many lanes
    /// owe little of can cost more gas than it pays. Less waits for more, and for the channel to be closed by either
    /// side; until then `settle` answers as if nothing were due, and [`balance`](PaymentRail::balance) tells it. A
    /// contract that signs can still change its mind about what waits.
    pub least: Amount,
    /// Whether a contract may be the signer (ERC-1271). It can change its mind until the voucher is settled, so
    /// say yes only where payers are trusted that far, or settle at once.
    pub contract_signers: bool,
    /// How long the funds of a channel are believed without asking the chain. At most half a challenge.
    pub fresh: Duration,
}

impl Default for ChannelRules {
    /// A challenge of an hour, 16 lanes that are settled whatever they owe, no contracts as signers, funds asked for
    /// every 30 seconds.
    fn default() -> Self {
        let (least, fresh) = (Amount::ZERO, Duration::from_secs(30));
        Self { challenge: 3_600, lanes: 16, least, contract_signers: false, fresh }
    }
}

impl ChannelRules {
    /// Sets the shortest challenge in seconds.
    #[must_use]
    pub const fn challenge(mut self, seconds: u32) -> Self {
        self.challenge = seconds;
        self
    }

    /// Takes this many lanes per channel.
    #[must_use]
    pub const fn lanes(mut self, lanes: u64) -> Self {
        self.lanes = lanes;
        self
    }

    /// Settles lanes of open channels from this amount on.
    #[must_use]
    pub const fn least(mut self, amount: Amount) -> Self {
        self.least = amount;
        self
    }

    /// Says whether contracts may be signers.
    #[must_use]
    pub const fn contract_signers(mut self, allowed: bool) -> Self {
        self.contract_signers = allowed;
        self
    }

    /// Asks the chain for the funds of a channel after this time.
    #[must_use]
    pub const fn fresh(mut self, time: Duration) -> Self {
        self.fresh = time;
        self
    }
}

/// Takes vouchers for a payee, and settles them.
///
/// A voucher that costs more than its charge leaves credit in its lane, which later charges use up. Vouchers are
/// as good as money for this payee: let them travel encrypted.
#[derive(Debug)]
pub struct ChannelRail {
    channel: EvmChannel,
    payee: Address,
    token: Address,
    rules: ChannelRules,
    store: RailBook,
    reaches: Mutex<Reaches>,
    promises: Promises,
}

impl ChannelRail {
    /// Takes vouchers in `token` for `payee`; remembers in `store`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the store belongs to another rail, or funds would be believed for longer than
    /// half a challenge; [`ErrorKind::Conflict`] when another rail uses the store.
    pub fn new(
        channel: EvmChannel,
        payee: Address,
        token: Address,
        rules: ChannelRules,
        store: RailStore,
    ) -> Result<Self> {
        if rules.fresh.as_secs() > u64::from(rules.challenge / 2) {
            let text = "funds are believed for longer than half a challenge; ask more often";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let separator = channel.domain().separator();
        let store = store.claim(&format!("channel/{separator}/{payee}/{token}"))?;
        let (reaches, promises) = (Mutex::default(), Promises::default());
        Ok(Self { channel, payee, token, rules, store, reaches, promises })
    }

    /// The contract.
    pub const fn channel(&self) -> &EvmChannel {
        &self.channel
    }

    /// Who is paid.
    pub const fn payee(&self) -> Address {
        self.payee
    }

    /// In which token.
    pub const fn token(&self) -> Address {
        self.token
    }

    /// Binds the rail's store to the till that remembers what was served for its vouchers.
    #[cfg(feature = "x402")]
    pub(crate) fn serve_for(&self, till: B256) -> Result<()> {
        self.store.serve_for(till)
    }

    /// Makes sure of a payment before work is done for it: its terms, its signature, what it was used for, and whether
    /// the channel is open and holds what it grants beside all that was accepted and is [`Examined`] now. Takes nothing:
    /// [`accept`](PaymentRail::accept) it when the work is done, and drop the answer then. So nobody has more worked
    /// for him at the same time than he has deposited.
    ///
    /// # Errors
    /// As [`accept`](PaymentRail::accept), with [`Uncovered`](super::Uncovered) where the channel is the reason.
    pub async fn examine(&self, charge: &Charge, payment: &Payment) -> Result<Examined> {
        let voucher = self.voucher(charge, payment).await?;
        let paid = paid_with(charge, payment, &voucher);
        let (reach, known) = self.reach(&voucher).await?;
        match self.promise(&paid, &voucher, &reach) {
            Err(error) if known && error.kind() == ErrorKind::Rejected => {
                self.promise(&paid, &voucher, &self.ask(&voucher).await?)
            }
            answer => answer,
        }
    }

    fn promise(&self, paid: &Paid, voucher: &SignedVoucher, reach: &Reach) -> Result<Examined> {
        let mut open = self.promises.lock();
        let (id, price) = (paid.charge.id, paid.charge.amount);
        let promised = open.of(voucher.terms.id(), id);
        let view = self.store.view()?;
        let price = match judge(&view, paid, voucher, reach, &promised)? {
            Verdict::Before(_) => Amount::ZERO,
            Verdict::Pays(_) => price,
        };
        Ok(self.promises.add(&mut open, paid.clone(), price, voucher.clone()))
    }

    /// Closes a channel as the payee, and gives the payer what is left: takes nothing more out of it from now on,
    /// also after a restart, settles, and closes. Make the call again when it fails, or did not come to its end: until then
    /// [`settle`](PaymentRail::settle) settles all that the channel owes, however little.
    ///
    /// # Errors
    /// As [`settle`](PaymentRail::settle) and [`EvmChannel::close`]; [`ErrorKind::Unavailable`] while a settlement
    /// is under way.
    pub async fn close(&self, terms: &Terms) -> Result<B256> {
        let channel = terms.id();
        self.store.commit(move |_| Ok(((), vec![Edit::Close(channel)]))).await?;
        let settled = self.settle_lanes().await;
        for (_, stored) in self.store.sources(channel.as_slice())? {
            let record = LaneRecord::decode(&stored)?;
            if !record.due(record.settled).is_zero() {
                settled?;
                let text = "the channel's vouchers are not settled yet; close it again later";
                return Err(Error::unavailable(text).with("channel", channel));
            }
        }
        let closed = self.channel.close(terms).await;
        self.reaches().forget();
        closed
    }

    /// The voucher of a payment, if it is one that this rail takes.
    async fn voucher(&self, charge: &Charge, payment: &Payment) -> Result<SignedVoucher> {
        if charge.payee != self.payee {
            return Err(rejected("the charge is for another payee than this rail's"));
        }
        let voucher = SignedVoucher::decode(&payment.bounded()?.proof)?;
        self.check_terms(&voucher, payment.payer)?;
        match voucher.verify(&self.channel.domain()) {
            Ok(()) => Ok(voucher),
            Err(_)
                if self.rules.contract_signers
                    && self.channel.signed_by_contract(&voucher).await? =>
            {
                Ok(voucher)
            }
            Err(error) => Err(error),
        }
    }

    fn check_terms(&self, voucher: &SignedVoucher, payer: Address) -> Result<()> {
        let terms = &voucher.terms;
        let problem = if terms.payee != self.payee {
            "the channel pays another payee; open one for this payee"
        } else if terms.token != self.token {
            "the channel holds another token; open one with the token of this rail"
        } else if terms.payer != payer {
            "the payment names another payer than its channel"
        } else if terms.challenge < self.rules.challenge {
            "the channel's challenge is shorter than this payee takes; open one with a longer"
        } else if voucher.lane >= self.rules.lanes {
            "the voucher's lane is beyond those this payee takes; use a lower one"
        } else {
            return Ok(());
        };
        Err(rejected(problem).with("channel", terms.id()).with("lane", voucher.lane))
    }

    /// How far the channel reaches: known if it is young enough, else asked.
    async fn reach(&self, voucher: &SignedVoucher) -> Result<(Reach, bool)> {
        let known = self.reaches().of(voucher.terms.id(), voucher.lane, self.rules.fresh);
        match known {
            Some(reach) => Ok((reach, true)),
            None => self.ask(voucher).await.map(|reach| (reach, false)),
        }
    }

    async fn ask(&self, voucher: &SignedVoucher) -> Result<Reach> {
        let channel = voucher.terms.id();
        let seen = Instant::now();
        // All as of one block: a settlement counts in the lane and in the funds, or in neither.
        let at = BlockId::number(self.channel.latest().await?);
        let mut lanes = HashMap::from([(voucher.lane, Amount::ZERO)]);
        for (_, record) in self.store.sources(channel.as_slice())? {
            lanes.insert(LaneRecord::decode(&record)?.best.lane, Amount::ZERO);
        }
        for (lane, settled) in &mut lanes {
            *settled = self.channel.settled_at(&voucher.terms, *lane, at).await?;
        }
        let funds = self.channel.funds_at(&voucher.terms, at).await?;
        let reach = Reach { funds, lanes, seen };
        self.reaches().remember(channel, reach.clone());
        Ok(reach)
    }

    fn reaches(&self) -> std::sync::MutexGuard<'_, Reaches> {
        // A cache is whole whatever its last user did.
        self.reaches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`accept`](PaymentRail::accept), and remembers what the charge is served for, as long as the charge.
    pub(crate) async fn accept_for(
        &self,
        charge: &Charge,
        payment: &Payment,
        purpose: B256,
    ) -> Result<Accepted> {
        let voucher = self.voucher(charge, payment).await?;
        let paid = paid_with(charge, payment, &voucher);
        if let Some(before) = self.store.answer(&paid)? {
            return Ok(before);
        }
        let (reach, known) = self.reach(&voucher).await?;
        match self.admit(&paid, &voucher, reach, purpose).await {
            // Perhaps it was topped up since.
            Err(error) if known && error.kind() == ErrorKind::Rejected => {
                let reach = self.ask(&voucher).await?;
                self.admit(&paid, &voucher, reach, purpose).await
            }
            answer => answer,
        }
    }

    /// What a charge is served for, if what was examined is accepted now; refuses it if another payment is.
    #[cfg(feature = "x402")]
    pub(crate) fn purpose(&self, examined: &Examined) -> Result<Option<B256>> {
        let view = self.store.view()?;
        view.answer(&examined.paid)?.map(|_| view.purpose(&examined.paid)).transpose()
    }

    /// Enters charge and voucher in one write, if the channel covers all its lanes then.
    async fn admit(
        &self,
        paid: &Paid,
        voucher: &SignedVoucher,
        reach: Reach,
        purpose: B256,
    ) -> Result<Accepted> {
        let (paid, voucher, at) = (paid.clone(), voucher.clone(), self.store.now());
        let admit = move |draft: &Draft<'_>| match judge(draft, &paid, &voucher, &reach, &[])? {
            Verdict::Before(accepted) => Ok((accepted, Vec::new())),
            Verdict::Pays(lane) => {
                let source = Edit::Source(paid.source.clone(), lane.encode());
                let accepted = paid.accepted();
                // Settled when the chain has paid the lane as much as the voucher grants.
                let pay = Edit::Pay { paid, reached: voucher.cumulative, at, purpose };
                Ok((accepted, vec![source, pay]))
            }
        };
        self.store.commit(admit).await
    }

    /// The lanes that were granted more than the chain has paid, as the chain says now; and how much was paid
    /// since it was last asked.
    async fn unpaid(&self) -> Result<(Vec<LaneRecord>, Amount)> {
        let (mut unpaid, mut news) = (Vec::new(), Amount::ZERO);
        let block = self.channel.latest().await?;
        for (key, stored) in self.store.sources(&[])? {
            let record = LaneRecord::decode(&stored)?;
            if record.is_done() {
                continue;
            }
            let (terms, lane) = (&record.best.terms, record.best.lane);
            let settled = self.channel.settled_at(terms, lane, BlockId::number(block)).await?;
            news = news.checked_add(self.learn(key, settled, block).await?)?;
            if !record.due(settled).is_zero() {
                unpaid.push(LaneRecord { settled, ..record });
            }
        }
        Ok((unpaid, news))
    }

    /// Settles what is worth it, and whatever is due of channels that end.
    async fn settle_lanes(&self) -> Result<Settlement> {
        let (unpaid, mut amount) = self.unpaid().await?;
        let unpaid = self.worth_it(unpaid).await?;
        let (mut transactions, mut pending) = (Vec::new(), Amount::ZERO);
        let vouchers: Vec<_> = unpaid.iter().map(|record| record.best.clone()).collect();
        let mut failed = None;
        for payout in self.channel.settle_all(&vouchers).await {
            match payout {
                Ok(Payout::Paid { transaction, .. }) => transactions.extend(transaction),
                Ok(Payout::Pending { amount }) => pending = pending.checked_add(amount)?,
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        self.reaches().forget();
        let block = self.channel.latest().await?;
        let mut missing = Amount::ZERO;
        for record in &unpaid {
            let (terms, lane) = (&record.best.terms, record.best.lane);
            let settled = self.channel.settled_at(terms, lane, BlockId::number(block)).await?;
            let news = self.learn(LaneRecord::key(&record.best), settled, block).await?;
            amount = amount.checked_add(news)?;
            missing = missing.checked_add(record.due(settled))?;
        }
        self.forget().await?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !pending.is_zero() {
            return Ok(Settlement::Pending { amount: pending });
        }
        match (amount.is_zero(), missing.is_zero()) {
            (false, _) => Ok(Settlement::Settled { amount, transactions }),
            (true, true) => Ok(Settlement::NothingDue),
            (true, false) => {
                let text = "channels hold less than they granted: closed before they were settled";
                Err(rejected(text).with("missing", missing))
            }
        }
    }

    /// Leaves out the lanes that owe too little to be settled alone, unless it is now or never: the payer closes their
    /// channel, or the payee does, by a call that may have ended before it came to that.
    async fn worth_it(&self, unpaid: Vec<LaneRecord>) -> Result<Vec<LaneRecord>> {
        let (mut kept, mut open) = (Vec::with_capacity(unpaid.len()), HashMap::new());
        for record in unpaid {
            let (terms, channel) = (&record.best.terms, record.best.terms.id());
            let waits = match open.get(&channel) {
                _ if record.due(record.settled) >= self.rules.least => false,
                Some(waits) => *waits,
                None => {
                    let ends = self.store.view()?.is_closed(channel)?;
                    let waits = !ends && self.channel.funds(terms).await?.is_open();
                    *open.entry(channel).or_insert(waits)
                }
            };
            if !waits {
                kept.push(record);
            }
        }
        Ok(kept)
    }

    /// Notes what the chain has paid for a lane; answers how much of it is new.
    async fn learn(&self, key: Vec<u8>, settled: Amount, block: u64) -> Result<Amount> {
        let learn = move |draft: &Draft<'_>| {
            let Some(stored) = draft.source(&key)? else { return Ok((Amount::ZERO, Vec::new())) };
            let mut record = LaneRecord::decode(&stored)?;
            let before = record.settled;
            record.hear(settled, block);
            let news = record.settled.checked_sub(before).unwrap_or_default();
            let heard = record.encode();
            let edits = if heard == stored { vec![] } else { vec![Edit::Source(key, heard)] };
            Ok((news, edits))
        };
        self.store.commit(learn).await
    }

    /// Forgets what is settled for good and old.
    async fn forget(&self) -> Result<()> {
        for (key, stored) in self.store.sources(&[])? {
            self.store.forget(&key, LaneRecord::decode(&stored)?.firm).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl PaymentRail for ChannelRail {
    fn scheme(&self) -> &'static str {
        "channel"
    }

    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        self.accept_for(charge, payment, B256::ZERO).await
    }

    async fn settle(&self) -> Result<Settlement> {
        self.settle_lanes().await
    }

    async fn balance(&self) -> Result<RailBalance> {
        self.unpaid().await?;
        let mut balance = RailBalance::default();
        for (_, stored) in self.store.sources(&[])? {
            let LaneRecord { base, lane, settled, .. } = LaneRecord::decode(&stored)?;
            balance.accepted = balance.accepted.checked_add(lane.granted.checked_sub(base)?)?;
            // Less than the lane began with, when the chain lost an earlier settlement.
            let settled = settled.checked_sub(base).unwrap_or_default();
            balance.settled = balance.settled.checked_add(settled)?;
        }
        Ok(balance)
    }
}

fn rejected(text: &'static str) -> Error {
    Error::new(ErrorKind::Rejected, text)
}

/// A voucher is one payment, whoever's signature it has. What it grants says which of two came first.
fn paid_with(charge: &Charge, payment: &Payment, voucher: &SignedVoucher) -> Paid {
    let (source, order) = (LaneRecord::key(voucher), voucher.cumulative.to_units().to_be_bytes());
    Paid { charge: *charge, payer: payment.payer, source, order }
}
