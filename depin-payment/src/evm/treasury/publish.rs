//! Runs by claims: the list is the next epoch of a distributor.

use depin_core::{
    Address, Amount, ChainId, Did, EpochId, Error, ErrorKind, Result,
    reward::{Allocation, Commitment, Payout, RewardDistributor as _},
};

use futures_util::future::try_join_all;

use super::{
    PayList, RunReport, Treasury, Way, closed,
    journal::{Journal, Terms},
    published::replaced,
};
use crate::{
    Claim, Cumulative, RewardTree,
    evm::{
        EvmDistributor, EvmRoots,
        calls::{AT_ONCE, patiently},
        distributor::CLAIMS_PER_TRANSACTION,
    },
};

impl Treasury {
    /// Publishes the list and, unless that is left to the recipients, claims for everybody. Both can be done
    /// again: the distributor has an epoch once, and claims pay what was not paid.
    pub(super) async fn publish(
        &self,
        terms: &Terms,
        list: &PayList,
        journal: &mut Journal,
    ) -> Result<RunReport> {
        let (distributor, given) = self.claims.as_ref().ok_or_else(|| closed(Way::Claims))?;
        let epoch = match terms.distributor {
            Some((address, epoch)) if address == distributor.roots().address() => epoch,
            _ => return Err(elsewhere(list)),
        };
        let (balances, tree, mut gas) = if given.latest().is_some_and(|latest| latest >= epoch) {
            self.check_published(distributor, epoch, list).await?;
            (given.clone(), given.tree()?, 0)
        } else {
            self.publish_epoch(epoch, list, journal).await?
        };
        check_root(distributor, &balances, &tree).await?;
        // Only the latest epoch that is active serves claims, and only from its own tree: one that can be
        // disputed not yet, an earlier one not any more.
        let serves = patiently(|| distributor.latest()).await? == balances.latest();
        if !serves {
            check_activation(distributor, &balances).await?;
        }
        if serves && self.claim_every == 1 {
            gas = claim_all(distributor, &tree, list, journal).await?.saturating_add(gas);
        }
        let paid = paid(distributor, &balances, list).await?;
        Ok(RunReport {
            way: Way::Claims,
            paid: paid.len(),
            amount: Amount::sum(paid.iter().copied())?,
            unpaid: Vec::new(),
            to_claim: list.payments().len().saturating_sub(paid.len()),
            gas,
            transactions: journal.sent().to_vec(),
            balances: Some(balances),
        })
    }

    /// Publishes the list on top of the balances; answers these with it, and the gas.
    async fn publish_epoch(
        &self,
        epoch: EpochId,
        list: &PayList,
        journal: &mut Journal,
    ) -> Result<(Cumulative, RewardTree, u64)> {
        let (distributor, given) = self.claims.as_ref().ok_or_else(|| closed(Way::Claims))?;
        if next(given)? != epoch {
            return Err(elsewhere(list).with("epoch", epoch));
        }
        check_root(distributor, given, &given.tree()?).await?;
        let mut balances = given.clone();
        balances.add(&allocation(self.chain.id(), epoch, list)?)?;
        let tree = balances.tree()?;
        let commitment = balances.commitment(&tree, list.digest());
        let commitment =
            commitment.ok_or_else(|| Error::new(ErrorKind::Rejected, "no epoch was added"))?;
        check_issue(distributor.roots(), &commitment).await?;
        let receipt = distributor.roots().publish_once(&commitment).await?;
        if let Some(receipt) = &receipt {
            journal.send(receipt.transaction_hash)?;
        }
        Ok((balances, tree, receipt.map_or(0, |receipt| receipt.gas_used)))
    }

    /// Fixes another epoch for a run that stopped before its publication and was overtaken: another list is now the
    /// epoch that the journal names, and the chain has nothing of this one. An epoch that is gone counts like one that
    /// is another list. No list is paid twice by that: the distributor takes an epoch once and in order, what counts is
    /// the sum of an account over all of them, and that begins with the balances of the epoch before.
    pub(super) async fn catch_up(&self, list: &PayList, journal: &mut Journal) -> Result<()> {
        let (Some((distributor, given)), Some((address, epoch))) =
            (&self.claims, journal.terms().distributor)
        else {
            return Ok(());
        };
        if address != distributor.roots().address() {
            return Ok(());
        }
        let there = distributor.published(epoch).await?;
        let sent = !journal.sent().is_empty();
        let stands = match there {
            Some(there) if there.manifest == list.digest() => return Ok(()),
            Some(_) if sent => return Err(replaced(list).with("epoch", epoch)),
            Some(_) => false,
            None => sent || given.latest() >= Some(epoch) || next(given)? == epoch,
        };
        // Another journal of the run may have published it under another number; and it may have been rejected.
        let begun = self.begun(list, Way::Claims).await?;
        if stands && begun.is_none() {
            return Ok(());
        }
        self.check_nothing_waits().await?;
        let terms = match begun {
            Some(begun) => begun,
            None => {
                let mut terms = self.identity();
                terms.distributor = Some(self.next_epoch().await?);
                terms
            }
        };
        journal.renew(terms, list)
    }

    /// The epoch that a new run is, when the balances are the distributor's and nothing was published since.
    pub(super) async fn next_epoch(&self) -> Result<(Address, EpochId)> {
        let (distributor, given) = self.claims.as_ref().ok_or_else(|| closed(Way::Claims))?;
        let contract = distributor.roots().contract();
        let asked = contract.token();
        let token = patiently(|| self.chain.read(&asked)).await?;
        if token != self.token {
            let text = "the distributor pays another token than the treasury";
            let error = Error::new(ErrorKind::Config, text).with("distributor's", token);
            return Err(error.with("treasury's", self.token));
        }
        check_root(distributor, given, &given.tree()?).await?;
        let epoch = next(given)?;
        let latest = patiently(|| distributor.latest()).await?;
        let there = patiently(|| distributor.roots().root(epoch)).await?;
        if latest >= Some(epoch) || there.is_some() {
            let text = "the distributor has later epochs than the balances; load the ones that the last run left";
            return Err(Error::new(ErrorKind::Conflict, text).with("epoch", epoch));
        }
        Ok((distributor.roots().address(), epoch))
    }

    /// Whether the epoch that the balances have already is this run.
    async fn check_published(
        &self,
        distributor: &EvmDistributor,
        epoch: EpochId,
        list: &PayList,
    ) -> Result<()> {
        match distributor.published(epoch).await? {
            Some(there) if there.manifest == list.digest() => Ok(()),
            _ => Err(elsewhere(list).with("epoch", epoch)),
        }
    }
}

/// What a list adds to the balances as an epoch.
pub(super) fn allocation(chain: ChainId, epoch: EpochId, list: &PayList) -> Result<Allocation> {
    let payouts = list.payments().iter().map(|(account, amount)| {
        let device = Did::parse(&format!("did:pkh:eip155:{}:{account}", chain.value()))?;
        Ok(Payout { device, beneficiary: *account, amount: *amount })
    });
    let payouts = payouts.collect::<Result<_>>()?;
    Ok(Allocation { epoch, emission: list.total(), unallocated: Amount::ZERO, payouts })
}

/// Claims for everybody on the list; answers the gas.
async fn claim_all(
    distributor: &EvmDistributor,
    tree: &RewardTree,
    list: &PayList,
    journal: &mut Journal,
) -> Result<u64> {
    let accounts = list.payments().iter();
    let claims: Vec<Claim> = accounts.filter_map(|(account, _)| tree.claim(*account)).collect();
    let mut gas: u64 = 0;
    for claims in claims.chunks(CLAIMS_PER_TRANSACTION) {
        if let (_, Some(receipt)) = distributor.claim_chunk(claims).await? {
            gas = gas.saturating_add(receipt.gas_used);
            journal.send(receipt.transaction_hash)?;
        }
    }
    Ok(gas)
}

/// Refuses what would wait for ever, as who publishes it hears nothing of its activation: an emission that the source of
/// the token does not issue now.
async fn check_issue(roots: &EvmRoots, commitment: &Commitment) -> Result<()> {
    if patiently(|| roots.root(commitment.epoch)).await?.is_some() {
        return Ok(());
    }
    let issued = patiently(|| roots.issued()).await?;
    // With what an earlier epoch emits that this publication activates. A sum that fell, the contract refuses.
    let emission = commitment.cumulative.checked_sub(issued).unwrap_or_default();
    patiently(|| roots.check_issue(emission))
        .await
        .map_err(|error| error.with("emission", emission))
}

/// Says why the last epoch of the balances is not active, where something else than its window holds it back.
async fn check_activation(distributor: &EvmDistributor, balances: &Cumulative) -> Result<()> {
    let Some(latest) = balances.latest() else { return Ok(()) };
    let held = patiently(|| distributor.roots().held_back(latest)).await?;
    held.map_or(Ok(()), Err)
}

/// Whether the distributor has these balances: a run on top of others would take from accounts what they earned,
/// or give it twice.
pub(super) async fn check_root(
    distributor: &EvmDistributor,
    balances: &Cumulative,
    tree: &RewardTree,
) -> Result<()> {
    let Some(latest) = balances.latest().filter(|_| balances.iter().len() > 0) else {
        return Ok(());
    };
    if patiently(|| distributor.roots().root(latest)).await? == Some(tree.root()) {
        return Ok(());
    }
    let text = "the balances are not those that the distributor published with their last epoch; load the ones \
                that the last run left";
    Err(Error::new(ErrorKind::Conflict, text).with("epoch", latest))
}

/// What those of the list get who were paid all that the balances give them.
async fn paid(
    distributor: &EvmDistributor,
    balances: &Cumulative,
    list: &PayList,
) -> Result<Vec<Amount>> {
    let mut paid = Vec::new();
    for payments in list.payments().chunks(AT_ONCE) {
        let asked = payments.iter().map(|(account, _)| patiently(|| distributor.claimed(*account)));
        for (claimed, (account, amount)) in try_join_all(asked).await?.into_iter().zip(payments) {
            if claimed >= balances.of(*account) {
                paid.push(*amount);
            }
        }
    }
    Ok(paid)
}

fn elsewhere(list: &PayList) -> Error {
    let text = "the run is of another distributor or epoch; begin with the balances that it began with, or with \
                newer ones that have it";
    Error::new(ErrorKind::Conflict, text).with("run", list.id())
}

/// The epoch after those that the balances have.
pub(super) fn next(balances: &Cumulative) -> Result<EpochId> {
    let Some(latest) = balances.latest() else { return Ok(EpochId::new(0)) };
    let next = latest.value().checked_add(1);
    next.map(EpochId::new).ok_or_else(|| Error::new(ErrorKind::Overflow, "there is no later epoch"))
}
