//! Claiming what was earned.

use std::collections::{BTreeMap, BTreeSet};

use depin_core::{Address, Amount, Did, Error, ErrorKind, NetworkEvent, Result};

use crate::{Network, epoch::Epoch};

impl Network {
    /// Pays the owner of a device, or its account where the network
    /// [pays those](crate::Builder::pay_device_accounts), everything earned in published epochs and not paid yet.
    /// Returns what was paid: zero when nothing was due.
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

    /// Pays for many devices, a hundred owners a transaction where the distributor is a contract of ours; each owner
    /// appears once in the result.
    ///
    /// # Errors
    /// As [`claim`](Self::claim); what was paid before the failure stays paid, and the same call goes on.
    pub async fn claim_all<'a>(
        &self,
        devices: impl IntoIterator<Item = &'a Did>,
    ) -> Result<Vec<(Address, Amount)>> {
        let mut accounts = BTreeSet::new();
        for did in devices {
            accounts.insert(self.0.rules.pays.of(&self.device(did).await?));
        }
        let accounts: Vec<Address> = accounts.into_iter().collect();
        let mut paid = Vec::with_capacity(accounts.len());
        for some in accounts.chunks(AT_ONCE) {
            let outcome = self.pay_all(some).await;
            // Also after a failure: those before it were paid.
            self.0.ledgers.checkpoint().await?;
            paid.extend(outcome?);
        }
        Ok(paid)
    }

    async fn pay_all(&self, accounts: &[Address]) -> Result<Vec<(Address, Amount)>> {
        let Some(epoch) = self.published_epoch().await? else { return Ok(Vec::new()) };
        match self.pay(&epoch, accounts).await {
            Err(error) if error.kind() == ErrorKind::Rejected => {
                // An epoch that was published meanwhile has replaced the root, and only that helps.
                let newer = self.published_epoch().await?;
                let newer = newer.filter(|newer| newer.id() != epoch.id()).ok_or(error)?;
                self.pay(&newer, accounts).await
            }
            paid => paid,
        }
    }

    async fn pay(&self, epoch: &Epoch, accounts: &[Address]) -> Result<Vec<(Address, Amount)>> {
        let claims: Vec<_> =
            accounts.iter().filter_map(|account| epoch.tree().claim(*account)).collect();
        let amounts = self.0.ledgers.distributor.claim_many(&claims).await?;
        let due: BTreeMap<Address, Amount> =
            claims.iter().map(|claim| claim.account).zip(amounts).collect();
        let paid = accounts.iter().map(|account| {
            let amount = due.get(account).copied().unwrap_or_default();
            if !amount.is_zero() {
                self.emit(NetworkEvent::Claimed { account: *account, amount });
            }
            (*account, amount)
        });
        Ok(paid.collect())
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
}

/// Accounts whose claims are made together.
const AT_ONCE: usize = 1_000;
