//! Claiming what was earned.

use std::collections::BTreeSet;

use depin_core::{Address, Amount, Did, Error, ErrorKind, NetworkEvent, Result};

use crate::{Network, epoch::Epoch};

impl Network {
    /// Pays the owner of a device everything earned in published epochs and not paid yet. Returns what
    /// was paid: zero when nothing was due.
    ///
    /// An owner of several devices is paid for all of them at once. The owner is the one of now; what an
    /// earlier owner earned stays theirs, and [`distributor`](Self::distributor) pays it with a claim of
    /// the [epoch's tree](Epoch::tree).
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
        let mut owners = BTreeSet::new();
        for did in devices {
            owners.insert(self.device(did).await?.owner);
        }
        let paid = self.pay_all(owners).await;
        // Also after a failure: those before it were paid.
        self.0.ledgers.checkpoint().await?;
        paid
    }

    async fn pay_all(&self, owners: BTreeSet<Address>) -> Result<Vec<(Address, Amount)>> {
        let Some(mut epoch) = self.published_epoch().await? else { return Ok(Vec::new()) };
        let mut paid = Vec::with_capacity(owners.len());
        for owner in owners {
            let amount = match self.pay(&epoch, owner).await {
                Err(error) if error.kind() == ErrorKind::Rejected => {
                    // An epoch that was published meanwhile has replaced the root, and only that helps.
                    let newer = self.published_epoch().await?;
                    epoch = newer.filter(|newer| newer.id() != epoch.id()).ok_or(error)?;
                    self.pay(&epoch, owner).await?
                }
                amount => amount?,
            };
            paid.push((owner, amount));
        }
        Ok(paid)
    }

    /// The epoch whose root serves claims: a later one may be sealed and not published yet.
    async fn published_epoch(&self) -> Result<Option<Epoch>> {
        let Some(id) = self.0.ledgers.distributor.latest().await? else { return Ok(None) };
        let epoch = self.epoch(id).await?.ok_or_else(|| {
            let message = "the log lacks an epoch that was published; use this network's log";
            Error::new(ErrorKind::Corrupt, message).with("epoch", id)
        })?;
        Ok(Some(epoch))
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
