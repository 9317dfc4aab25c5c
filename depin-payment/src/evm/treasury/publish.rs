//! Runs by claims: the list is the next epoch of a distributor.

use depin_core::{
    Did, EpochId, Error, ErrorKind, Result,
    reward::{Allocation, Payout, RewardDistributor as _},
};

use super::{PayList, RunReport, Treasury, Way, closed, journal::Terms};
use crate::{Claim, Cumulative};
use depin_core::Amount;

impl Treasury {
    /// Publishes the list and, unless that is left to the recipients, claims for everybody. Both can be done
    /// again: the distributor has an epoch once, and claims pay what was not paid.
    pub(super) async fn publish(&self, terms: &Terms, list: &PayList) -> Result<RunReport> {
        let (distributor, before) = self.claims.as_ref().ok_or_else(|| closed(Way::Claims))?;
        let epoch = next(before)?;
        if terms.distributor != Some((distributor.roots().address(), epoch)) {
            let text = "the journal is of another distributor or epoch; begin with the balances that \
                        the run began with";
            return Err(Error::new(ErrorKind::Conflict, text).with("epoch", epoch));
        }
        let mut balances = before.clone();
        balances.add(&self.allocation(epoch, list)?)?;
        let tree = balances.tree()?;
        let commitment = balances.commitment(&tree, list.digest());
        let commitment =
            commitment.ok_or_else(|| Error::new(ErrorKind::Rejected, "no epoch was added"))?;
        distributor.publish(&commitment).await?;

        let mut report = RunReport {
            way: Way::Claims,
            paid: 0,
            amount: Amount::ZERO,
            unpaid: Vec::new(),
            to_claim: list.payments().len(),
            gas: 0,
            balances: Some(balances),
        };
        // An epoch that can be disputed serves no claims before its window is over.
        if self.claim_every == 1 && distributor.latest().await? >= Some(epoch) {
            let accounts = list.payments().iter();
            let claims: Vec<Claim> =
                accounts.filter_map(|(account, _)| tree.claim(*account)).collect();
            distributor.claim_many(&claims).await?;
            (report.paid, report.amount, report.to_claim) = (claims.len(), list.total(), 0);
        }
        Ok(report)
    }

    fn allocation(&self, epoch: EpochId, list: &PayList) -> Result<Allocation> {
        let payouts = list.payments().iter().map(|(account, amount)| {
            let device = format!("did:pkh:eip155:{}:{account}", self.chain.id().value());
            Ok(Payout { device: Did::parse(&device)?, beneficiary: *account, amount: *amount })
        });
        let payouts = payouts.collect::<Result<_>>()?;
        Ok(Allocation { epoch, emission: list.total(), unallocated: Amount::ZERO, payouts })
    }
}

/// The epoch after those that the balances have.
pub(super) fn next(balances: &Cumulative) -> Result<EpochId> {
    let Some(latest) = balances.latest() else { return Ok(EpochId::new(0)) };
    let next = latest.value().checked_add(1);
    next.map(EpochId::new).ok_or_else(|| Error::new(ErrorKind::Overflow, "there is no later epoch"))
}
