//! Publishing what is sealed, on top of nothing else than what this network sealed before.
//!
//! Roots are cumulative: over somebody else's, or over an own one that was withdrawn and that the ledger took after all,
//! what that one promised would be paid out of what this network's devices earned. So the ledger's latest epoch, and
//! the one that waits there, are held against the log before anything is sealed, and again before anything goes out.
//!
//! The contract binds an epoch to no other: it takes numbers that rise, and sums that do not fall. So right before an
//! epoch goes out the log is asked whether it still stands. Whoever withdraws one between that question and the block
//! finds the ledger with what was withdrawn, and [restores](Network::withdraw_epoch) it.

use depin_core::{EpochId, Error, ErrorKind, NetworkEvent, Result, reward::Commitment};

use depin_data::epoch::Withdrawal;

use crate::{
    Epoch, Network,
    books::Books,
    history::{after, lost},
};

impl Network {
    /// Publishes an epoch, and before it every sealed one whose publication was interrupted: a ledger
    /// takes epochs in order, so one that is passed over could never be published or audited.
    pub(crate) async fn publish_until(&self, books: &Books, epoch: &Epoch) -> Result<()> {
        let ledgers = &self.0.ledgers;
        let latest = ledgers.distributor.latest().await?;
        if latest.is_some_and(|latest| epoch.id() <= latest) {
            // Also when it is there already: the ledger objects if it has other content.
            self.send(books, epoch).await?;
            return ledgers.checkpoint().await;
        }
        // Whatever else the ledger takes from here on has the number of the first, which it then refuses.
        if let Some(latest) = latest {
            self.check_taken(books, latest).await?;
        }
        let first = latest.map_or(0, |latest| latest.value().saturating_add(1));
        for id in (first..epoch.id().value()).map(EpochId::new) {
            let waiting = self.closed(books, id).await?.ok_or_else(|| lost(id))?;
            self.publish(books, &waiting).await?;
        }
        self.publish(books, epoch).await
    }

    async fn publish(&self, books: &Books, epoch: &Epoch) -> Result<()> {
        self.check_stands(books, epoch.id()).await?;
        self.send(books, epoch).await?;
        self.0.ledgers.checkpoint().await?;
        self.emit(NetworkEvent::EpochClosed {
            epoch: epoch.id(),
            root: epoch.root(),
            emission: epoch.emission(),
            payouts: epoch.payouts().len() as u64,
        });
        Ok(())
    }

    /// Gives an epoch to the ledger. What that has instead has a remedy.
    async fn send(&self, books: &Books, epoch: &Epoch) -> Result<()> {
        match self.0.ledgers.distributor.publish(epoch.commitment()).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.check_taken(books, epoch.id()).await?;
                // What it waits for may be nothing to wait for.
                self.check_ledger(books).await?;
                Err(error)
            }
            sent => sent,
        }
    }

    /// That the ledger's latest epoch is this network's, and the one that waits there, if one does: the next, or what was
    /// published without those before it, as the ledger lets numbers be skipped. What is neither is nowhere.
    pub(crate) async fn check_ledger(&self, books: &Books) -> Result<()> {
        let distributor = &self.0.ledgers.distributor;
        let latest = distributor.latest().await?;
        let waits = distributor.last().await?.filter(|last| Some(*last) != latest);
        for id in latest.into_iter().chain(waits) {
            self.check_taken(books, id).await?;
        }
        Ok(())
    }

    /// That an epoch was not withdrawn by another process since the books were read.
    async fn check_stands(&self, books: &Books, id: EpochId) -> Result<()> {
        let mut place = books.place();
        while let Some(sealed) = self.0.log.sealed(place).await? {
            if Withdrawal::parse(&sealed)?.is_some_and(|withdrawal| withdrawal.epoch <= id) {
                let message = "another process withdrew the epoch meanwhile; close it again";
                return Err(Error::new(ErrorKind::Conflict, message).with("epoch", id));
            }
            place = after(place)?;
        }
        Ok(())
    }

    /// That the ledger has an epoch as this network sealed it, if it has it.
    pub(crate) async fn check_taken(&self, books: &Books, id: EpochId) -> Result<()> {
        let Some(taken) = self.0.ledgers.distributor.published(id).await? else { return Ok(()) };
        let own = match self.commitment(books, id).await? {
            Some(own) => own == taken,
            // Sealed meanwhile by another process with the same log, which what is sealed here then gives way to.
            None => self.0.log.sealed(books.seals.place(id)).await?.is_some(),
        };
        if own {
            return Ok(());
        }
        let message = match self.taken_after_all(&books.seals, id).await? {
            Some(_) if self.skips(id).await? => return Err(skipping(id)),
            Some(_) => {
                "the distributor took an epoch that was withdrawn; withdraw what was closed for it, and close it \
                 again: that restores it"
            }
            None => {
                "the distributor has an epoch that this network did not close; give whatever else it pays a \
                 distributor of its own, or use this network's log"
            }
        };
        Err(Error::new(ErrorKind::Conflict, message).with("epoch", id))
    }

    /// Whether the ledger has nothing right before an epoch that it has.
    pub(crate) async fn skips(&self, id: EpochId) -> Result<bool> {
        let Some(before) = id.value().checked_sub(1).map(EpochId::new) else { return Ok(false) };
        Ok(self.0.ledgers.distributor.published(before).await?.is_none())
    }

    /// What a closed epoch puts on chain.
    async fn commitment(&self, books: &Books, id: EpochId) -> Result<Option<Commitment>> {
        if let Some(known) = books.commitment(id) {
            return Ok(Some(known));
        }
        Ok(self.closed(books, id).await?.map(|epoch| *epoch.commitment()))
    }
}

pub(crate) fn skipping(id: EpochId) -> Error {
    let message = "the distributor took a withdrawn epoch and not the one before it; have the arbiter reject it while it \
                   waits: once it pays, the network needs another distributor";
    Error::new(ErrorKind::Conflict, message).with("epoch", id)
}
