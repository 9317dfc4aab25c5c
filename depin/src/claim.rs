//! Claiming what was earned.

use std::collections::BTreeSet;

use depin_core::{Address, Amount, Did, NetworkEvent, Result};

use crate::{Network, epoch::Epoch};

impl Network {
    /// Pays the owner of a device everything earned in closed epochs and not paid yet. Returns what was
    /// paid: zero when nothing was due.
    ///
    /// An owner of several devices is paid for all of them at once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the device was never enrolled, or
    /// whatever the chain objects to.
    pub async fn claim(&self, did: &Did) -> Result<Amount> {
        let paid = self.claim_all([did]).await?;
        Amount::sum(paid.into_iter().map(|(_, amount)| amount))
    }

    /// Pays the owners of many devices; each owner appears once in the result.
    ///
    /// # Errors
    /// As [`claim`](Self::claim), for the first owner that fails; those before were paid.
    pub async fn claim_all<'a>(
        &self,
        devices: impl IntoIterator<Item = &'a Did>,
    ) -> Result<Vec<(Address, Amount)>> {
        let Some(epoch) = self.latest_epoch().await? else { return Ok(Vec::new()) };
        let mut owners = BTreeSet::new();
        for did in devices {
            owners.insert(self.device(did).await?.owner);
        }
        let mut paid = Vec::with_capacity(owners.len());
        for owner in owners {
            paid.push((owner, self.pay(&epoch, owner).await?));
        }
        self.0.ledgers.checkpoint().await?;
        Ok(paid)
    }

    async fn pay(&self, epoch: &Epoch, account: Address) -> Result<Amount> {
        let Some(claim) = epoch.tree().claim(account) else { return Ok(Amount::ZERO) };
        let amount =
            self.0.ledgers.distributor.claim(account, claim.cumulative, &claim.proof).await?;
        if !amount.is_zero() {
            self.emit(NetworkEvent::Claimed { account, amount });
        }
        Ok(amount)
    }
}
