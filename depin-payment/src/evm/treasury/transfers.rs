//! Runs by batched transfers through `Disperse`.
//!
//! The key of a batch on chain follows from the token, the name of the run and the number of the batch, and
//! not from its content: once anything was paid under it, nothing else can be. The key in the chain
//! handle's store has the content too, so that a batch without those who cannot receive is a new intent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, keccak256};
use depin_evm::{
    Revert, Unfunded,
    alloy::{
        contract::SolCallBuilder,
        eips::BlockId,
        primitives::U256,
        providers::{DynProvider, Provider},
        rpc::types::TransactionReceipt,
    },
    bindings::Disperse,
    was_run,
};

use super::{PayList, Refusal, RunReport, Treasury, Way, disperse, journal::Journal};
use crate::evm::calls::patiently;

pub(super) type Call<'a> = SolCallBuilder<&'a DynProvider, Disperse::disperseCall>;

/// One batch of a run, or a [part](super::parts) of one.
#[derive(Clone, Debug)]
pub(super) struct Batch<'a> {
    pub(super) disperse: Address,
    pub(super) key: B256,
    /// Its place in the list; that of the whole for a part.
    pub(super) index: u64,
    pub(super) list: &'a PayList,
    pub(super) payments: &'a [(Address, Amount)],
    pub(super) is_part: bool,
}

/// What the chain has under the key of a batch.
pub(super) enum Seen {
    Nothing,
    /// The batch, without these.
    Paid(BTreeSet<Address>),
    /// That it is paid in parts.
    Closed,
    /// That nobody of it is paid.
    LeftOut,
}

/// How the work on a batch ended.
pub(super) enum Outcome {
    /// All of the batch are paid who are not left out, for this gas now.
    Paid { gas: u64 },
    /// It is to be paid in parts; this gas was spent on it now.
    Closed { gas: u64 },
    /// Nobody of the batch is paid, and nobody is to blame.
    Stuck(Error),
}

impl Treasury {
    /// Pays all batches one after another, then looks whether the chain still has them all. One that reverts on chain is
    /// divided until who makes it revert stands alone. One that cannot be paid without a recipient to blame keeps back
    /// nobody's money but its own, and ends the run when the others are paid; what keeps the treasury from sending anything ends it at once.
    pub(super) async fn transfer_all(
        &self,
        disperse: Address,
        size: usize,
        list: &PayList,
        journal: &mut Journal,
    ) -> Result<RunReport> {
        let batches: Vec<_> = (0..)
            .zip(list.payments().chunks(size.max(1)))
            .map(|(index, payments)| Batch {
                disperse,
                key: self.key(list, index),
                index,
                list,
                payments,
                is_part: false,
            })
            .collect();
        self.check_earlier(disperse, list, journal).await?;
        self.check_funds(disperse, self.unpaid(&batches, journal).await?).await?;
        let mut gas: u64 = 0;
        let mut stuck = BTreeMap::new();
        // A reorganisation deeper than what counts as final may have taken some back, so they are gone through twice.
        let mut open: Vec<_> = batches.iter().chain(&batches).rev().cloned().collect();
        while let Some(batch) = open.pop() {
            let place = (batch.index, batch.key);
            if stuck.contains_key(&place) {
                continue;
            }
            match self.pay(&batch, journal).await? {
                Outcome::Paid { gas: spent } => gas = gas.saturating_add(spent),
                Outcome::Closed { gas: spent } => {
                    gas = gas.saturating_add(spent);
                    match self.unburied(&batch).await {
                        Ok(None) => open.extend(batch.parts().rev()),
                        Ok(Some(error)) | Err(error) => drop(stuck.insert(place, error)),
                    }
                }
                Outcome::Stuck(error) => drop(stuck.insert(place, error)),
            }
        }
        let others = stuck.len().saturating_sub(1);
        if let Some((_, error)) = stuck.pop_first() {
            return Err(error.with("batches beside it", others));
        }
        let payments = list.payments().iter();
        let unpaid =
            payments.clone().filter_map(|(account, amount)| journal.unpaid(*account, *amount));
        let paid = payments.filter(|(account, amount)| journal.unpaid(*account, *amount).is_none());
        Ok(RunReport {
            way: Way::Transfers,
            paid: paid.clone().count(),
            amount: Amount::sum(paid.map(|(_, amount)| *amount))?,
            unpaid: unpaid.collect(),
            to_claim: 0,
            gas,
            transactions: journal.sent().to_vec(),
            balances: None,
        })
    }

    /// Pays a batch unless it is paid. Ends, since every round sends it, leaves somebody out or counts
    /// as a try.
    async fn pay(&self, batch: &Batch<'_>, journal: &mut Journal) -> Result<Outcome> {
        let mut tries: u32 = 0;
        // Whatever was mined once had all of those in it that are left out from then on.
        let mut reverted = journal.reverted(batch.payments);
        // How many transactions there were before any of this batch, unless an earlier call can have sent it and ended
        // before it heard of it.
        let mut unheard = None;
        loop {
            match self.seen(batch, journal).await? {
                Seen::Nothing => {}
                Seen::Paid(_) | Seen::LeftOut => return Ok(Outcome::Paid { gas: 0 }),
                Seen::Closed => return Ok(Outcome::Closed { gas: 0 }),
            }
            let payments = journal.payable(batch.payments);
            if payments.is_empty() {
                return self.leave_out(batch, journal).await;
            }
            let before = match unheard {
                Some(before) => before,
                None => {
                    let sent = self.transactions().await?;
                    *unheard.insert((!journal.begin(batch.index)?).then_some(sent))
                }
            };
            let call = self.call(batch.disperse, batch.key, &payments);
            let error = match self.send(batch, call).await {
                Ok(receipt) => {
                    let new = journal.send(receipt.transaction_hash)?;
                    self.check_received(batch.disperse, &receipt, batch.list)?;
                    drop(self.see(batch, journal).await?);
                    return Ok(Outcome::Paid { gas: if new { receipt.gas_used } else { 0 } });
                }
                Err(error) if already_paid(&error) => {
                    drop(self.see(batch, journal).await?);
                    return Ok(Outcome::Paid { gas: 0 });
                }
                Err(error) if is_refused(&error) => error,
                Err(error) => return Err(error),
            };
            reverted = reverted.or_else(|| reverted_in(&error));
            let refused = match self.refused(batch, &payments).await {
                Ok(refused) => refused,
                // It is not for others to wait until this batch can be paid.
                Err(error) => return Ok(Outcome::Stuck(error)),
            };
            if refused.is_empty() {
                tries = tries.saturating_add(1);
                if tries >= ATTEMPTS {
                    let mined = reverted_in(&error);
                    let error = unsendable(batch, &payments).source(error);
                    return match mined {
                        Some(mined) => self.divide(batch, &payments, journal, (mined, error)).await,
                        None => Ok(Outcome::Stuck(error)),
                    };
                }
                // The node that refused it may lag behind the one that sees no reason.
                tokio::time::sleep(RETRY.saturating_mul(tries)).await;
                continue;
            }
            let refusal = match reverted {
                Some(transaction) => Refusal::Reverted { transaction },
                // Not even one that was given up on, in whose place another was sent.
                None if before == Some(self.transactions().await?) => Refusal::Simulated,
                None => Refusal::Unheard,
            };
            for (account, reason) in refused {
                journal.skip(account, &reason, refusal)?;
            }
        }
    }

    /// How many transactions of the account there are, mined or on their way.
    async fn transactions(&self) -> Result<u64> {
        let (account, provider) = (self.chain.account(), self.chain.provider());
        let count = || self.chain.ask(provider.get_transaction_count(account).pending());
        patiently(count).await
    }

    pub(super) async fn send(
        &self,
        batch: &Batch<'_>,
        call: Call<'_>,
    ) -> Result<TransactionReceipt> {
        let content = keccak256(call.calldata());
        let key = format!("treasury/{}/{}/{content}", batch.list.id(), batch.index);
        self.chain.send_deduplicated(&key, call.into_transaction_request()).await
    }

    /// Waits until the chain has a batch of which a node said that it is mined. Not for long: the node may have lost it
    /// again, and then it is for another run to send it.
    pub(super) async fn see(&self, batch: &Batch<'_>, journal: &mut Journal) -> Result<Seen> {
        let known: &Journal = journal;
        let seen = patiently(|| async {
            match self.look(batch, known).await? {
                Seen::Nothing => {
                    let text = "the batch was mined, and the node does not have it yet or lost it again; run it again \
                                with the same journal";
                    let error = Error::unavailable(text).with("run", batch.list.id());
                    Err(error.with("batch", batch.index))
                }
                seen => Ok(seen),
            }
        });
        let seen = seen.await?;
        note(batch, &seen, journal)?;
        Ok(seen)
    }

    /// What the batches that are not paid need.
    async fn unpaid(&self, batches: &[Batch<'_>], journal: &mut Journal) -> Result<Amount> {
        let (mut sum, mut open) = (Amount::ZERO, batches.to_vec());
        while let Some(batch) = open.pop() {
            match self.seen(&batch, journal).await? {
                Seen::Paid(_) | Seen::LeftOut => {}
                Seen::Closed => open.extend(batch.parts()),
                Seen::Nothing => {
                    let payments = journal.payable(batch.payments);
                    let amounts = payments.iter().map(|(_, amount)| *amount);
                    sum = sum.checked_add(Amount::sum(amounts)?)?;
                }
            }
        }
        Ok(sum)
    }

    /// What the chain has of a batch; asked more than once where the node is silent.
    async fn seen(&self, batch: &Batch<'_>, journal: &mut Journal) -> Result<Seen> {
        let known: &Journal = journal;
        let seen = patiently(|| self.look(batch, known)).await?;
        note(batch, &seen, journal)?;
        Ok(seen)
    }

    /// What the chain has of a batch. One that reverted because of those whom it leaves out now may be executed when its
    /// block is replaced, and then it is the batch as it was before some of them were left out.
    async fn look(&self, batch: &Batch<'_>, journal: &Journal) -> Result<Seen> {
        let contract = Disperse::new(batch.disperse, self.chain.provider());
        let account = self.chain.account();
        let paid = contract.paidBatch(account, batch.key);
        let paid = self.chain.read(&paid).await;
        let paid = disperse::found(&self.chain, batch.disperse, paid).await?;
        if paid.is_zero() {
            return Ok(Seen::Nothing);
        }
        for out in journal.ever_out(batch.payments) {
            let mut payments = batch.payments.to_vec();
            payments.retain(|(account, _)| !out.contains(account));
            let call = self.call(batch.disperse, batch.key, &payments);
            if paid == keccak256(call.calldata()) {
                return Ok(Seen::Paid(out));
            }
        }
        let is = |call: &Call<'_>| paid == keccak256(call.calldata());
        // What stands alone is never divided.
        if batch.payments.len() > 1 && is(&self.closing(batch.disperse, batch.key, batch.payments))
        {
            return Ok(Seen::Closed);
        }
        if self.leavings(batch.disperse, batch.key, batch.payments).iter().any(is) {
            return Ok(Seen::LeftOut);
        }
        let text = "the run's name was used for other payments: a run with somebody left out goes on only \
                    with its journal, one whose journal is older than the size of its batches only without, and \
                    another list needs another name";
        Err(Error::new(ErrorKind::Conflict, text)
            .with("run", batch.list.id())
            .with("batch", batch.index))
    }

    /// Who of a batch cannot receive, found by halves without sending anything. Nobody is blamed unless the
    /// token moves otherwise, and the treasury has what the batch needs, before and after.
    async fn refused(
        &self,
        batch: &Batch<'_>,
        payments: &[(Address, Amount)],
    ) -> Result<Vec<(Address, String)>> {
        let sum = Amount::sum(payments.iter().map(|(_, amount)| *amount))?;
        self.check_funds(batch.disperse, sum).await?;
        self.check_moves(batch, Amount::from(1)).await?;
        let probe = keccak256(batch.key);
        let (mut open, mut refused) = (vec![payments], Vec::new());
        let mut amounts = BTreeSet::new();
        while let Some(part) = open.pop() {
            let call = self.call(batch.disperse, probe, part).from(self.chain.account());
            match (self.refusal_of(&call).await?, part) {
                (None, _) => {}
                (Some(error), [(account, amount)]) => {
                    let reason =
                        Revert::of(&error).map_or_else(|| error.to_string(), Revert::to_string);
                    refused.push((*account, reason));
                    amounts.insert(*amount);
                }
                (Some(_), part) => open.extend(<[_; 2]>::from(part.split_at(part.len() / 2))),
            }
        }
        for amount in amounts {
            self.check_moves(batch, amount).await?;
        }
        // Somebody else may have spent meanwhile what these should have got.
        self.check_funds(batch.disperse, sum).await?;
        Ok(refused)
    }

    /// Why the contract refuses a call, if it does; also when gas has a price as in a block, which a recipient's hook may
    /// look at.
    async fn refusal_of(&self, call: &Call<'_>) -> Result<Option<Error>> {
        let plain = || async { self.chain.read(call).await.map(drop) };
        if let Some(error) = refusal(plain).await? {
            return Ok(Some(error));
        }
        refusal(|| self.run_priced(call)).await
    }

    /// Runs a call at twice the price of now, which covers some blocks of a rising base fee. What fails where the account
    /// could not pay for the gas of any transfer is no fault of the call.
    async fn run_priced(&self, call: &Call<'_>) -> Result<()> {
        let (provider, account) = (self.chain.provider(), self.chain.account());
        let price = self.chain.ask(provider.get_gas_price()).await?.saturating_mul(2);
        let priced = call.clone().gas_price(price).into_transaction_request();
        let run = self.chain.ask(provider.estimate_gas(priced).block(BlockId::latest())).await;
        let Err(error) = run else { return Ok(()) };
        if error.kind() != ErrorKind::Rejected {
            return Err(error);
        }
        let has = self.chain.ask(provider.get_balance(account)).await?;
        let needs = U256::from(price).saturating_mul(TRANSFER_GAS);
        Err(if has < needs { Unfunded::new(account, has, needs).into_error() } else { error })
    }

    /// Whether the token lets so much be sent at all, and the node answers: to the treasury itself, which is not
    /// sent either. A token that was paused, or takes a fee, and a node that refuses everything are no
    /// recipient's fault. A fee on a single unit rounds to nothing, so it is the amount itself that is tried.
    async fn check_moves(&self, batch: &Batch<'_>, amount: Amount) -> Result<()> {
        let (account, probe) = (self.chain.account(), keccak256(batch.key));
        let call = self.call(batch.disperse, probe, &[(account, amount)]).from(account);
        let Some(error) = self.refusal_of(&call).await? else { return Ok(()) };
        let (kind, text) = if amount == Amount::from(1) {
            let text = "the token moves nothing now, not even to the treasury itself; nobody was \
                        left out: see why, then run it again with the same journal";
            (ErrorKind::Unavailable, text)
        } else {
            let text = "the token does not move the amount whole, not even to the treasury itself: it takes a \
                        fee from transfers, or limits them; nobody was left out. Disperse cannot pay with it";
            (ErrorKind::Rejected, text)
        };
        Err(Error::new(kind, text).with("units", amount.to_units()).source(error))
    }

    pub(super) fn call(
        &self,
        disperse: Address,
        key: B256,
        payments: &[(Address, Amount)],
    ) -> Call<'_> {
        let (recipients, amounts): (Vec<Address>, Vec<U256>) =
            payments.iter().map(|(account, amount)| (*account, amount.to_units())).unzip();
        let call = Disperse::disperseCall { key, token: self.token, recipients, amounts };
        SolCallBuilder::new_sol(self.chain.provider(), &disperse, &call)
    }

    pub(super) fn key(&self, list: &PayList, index: u64) -> B256 {
        let parts: [&[u8]; 4] =
            [DOMAIN, self.token.as_slice(), list.id().as_bytes(), &index.to_be_bytes()];
        keccak256(parts.concat())
    }
}

/// Writes down whom the batch that the chain has leaves out.
fn note(batch: &Batch<'_>, seen: &Seen, journal: &mut Journal) -> Result<()> {
    match seen {
        Seen::Paid(out) => journal.agree(batch.payments, out),
        Seen::LeftOut => journal.leave_out(batch.payments),
        Seen::Closed | Seen::Nothing => Ok(()),
    }
}

fn unsendable(batch: &Batch<'_>, payments: &[(Address, Amount)]) -> Error {
    let text = "the batch cannot be sent, though the simulation pays each of its recipients; the other batches are paid, but \
                for those beside it; run it again when nobody refuses any more, or, as long as nothing of the run is paid, \
                in smaller batches";
    let error = Error::new(ErrorKind::Rejected, text).with("run", batch.list.id());
    let error = error.with("batch", batch.index).with("recipients", payments.len());
    let ends = [("first", payments.first()), ("last", payments.last())];
    ends.into_iter().fold(error, |error, (name, end)| match end {
        Some((account, _)) => error.with(name, account),
        None => error,
    })
}

/// Why a question is refused, if it is. What is no revert with a reason may be the node's own trouble in the words of a
/// refusal, so it is asked again; and what was not run at all is the fault of nobody who is paid.
async fn refusal<F: Future<Output = Result<()>>>(ask: impl Fn() -> F) -> Result<Option<Error>> {
    let is_unclear = |error: &Error| {
        error.kind() == ErrorKind::Rejected
            && Revert::of(error).is_none()
            && Unfunded::of(error).is_none()
    };
    let mut answer = patiently(&ask).await;
    if answer.as_ref().is_err_and(is_unclear) {
        tokio::time::sleep(RETRY).await;
        answer = patiently(&ask).await;
    }
    match answer {
        Err(error) if was_run(&error) => Ok(Some(error)),
        Err(error) if is_unclear(&error) => {
            let text = "the node does not run a payment to find out whether it succeeds; nobody was left out: see why, \
                        then run it again with the same journal";
            Err(Error::unavailable(text).source(error))
        }
        answer => answer.map(|()| None),
    }
}

/// Whether it may be for the payments of a batch that it was refused, and not for what the account has for gas.
pub(super) fn is_refused(error: &Error) -> bool {
    error.kind() == ErrorKind::Rejected && Unfunded::of(error).is_none()
}

/// The transaction of a refusal that was mined; none for what was never sent.
fn reverted_in(error: &Error) -> Option<B256> {
    error.context().find(|(key, _)| *key == "transaction")?.1.parse().ok()
}

fn already_paid(error: &Error) -> bool {
    Revert::of(error).is_some_and(|revert| revert.decode::<Disperse::AlreadyPaid>().is_some())
}

const DOMAIN: &[u8] = b"depin treasury batch 1:";
/// How often a batch is sent that reverts without a recipient to blame, and the pause after the first time.
const ATTEMPTS: u32 = 3;
const RETRY: Duration = Duration::from_millis(200);
/// More gas than any single transfer takes: who needs more is refused for it.
const TRANSFER_GAS: U256 = U256::from_limbs([1_000_000, 0, 0, 0]);
