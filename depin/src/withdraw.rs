//! Withdrawing epochs that the ledger does not have, and holding withdrawals against it.

use depin_core::{
    B256, Bytes, EpochId, Error, ErrorKind, NetworkEvent, Result, reward::Commitment,
};
use depin_data::epoch::{EpochRecord, Sealed, Withdrawal};

use crate::{
    Epoch, Network, audit::broken, books::Books, history::lost, publish::skipping, seals::Seals,
};

impl Network {
    /// Withdraws a closed epoch that the distributor does not have, and all that were sealed after it: the arbiter
    /// rejected it, or it could never be published. The next epoch to close has its number again.
    ///
    /// Closing it anew judges all batches since the epoch before, by the rules that the network has then, on what had
    /// been earned and settled before: so change what was wrong with it first (a check, a device's status, the policy).
    /// Nobody loses work or is paid for it twice. What was sealed stays in the log, and the new record
    /// [names](EpochRecord::replaces) it. Other processes with the same log follow.
    ///
    /// Whatever this network's account has on its way to the chain is waited for first. Should the distributor take the
    /// withdrawn epoch after all, because another process was publishing it meanwhile, closing the epoch again restores
    /// it as it was; nothing is published on top of it before.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for an epoch that the distributor has: one that pays stays, and one that waits must be
    /// rejected first; also when another process sealed something meanwhile, after which the call is made again.
    /// [`ErrorKind::NotFound`] when it is not closed, such as one that was withdrawn, or when the log has forgotten
    /// batches that would be judged again. [`ErrorKind::Unavailable`] while a transaction of the network's account is
    /// not mined, after which the call is made again.
    ///
    /// ```
    /// # #[cfg(feature = "devnet")]
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use depin::{EpochId, ErrorKind, Network, NetworkId, evm::{Chain, DeployOptions, RootRules},
    ///     payment::{ProRata, evm::{EvmRoots, Verdict}}, presets, tokens};
    ///
    /// let preset = presets::devnet().await?;
    /// let devnet = preset.embedded().unwrap().clone();
    /// let arbiter = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await?;
    /// let rules = RootRules::default().disputable(Duration::from_secs(3_600), tokens(1));
    /// let contracts = DeployOptions::new(NetworkId::parse("climate")?).rules(rules).arbiter(arbiter.account());
    /// let network = Network::builder(preset)
    ///     .name("climate")
    ///     .contracts(contracts)
    ///     .rewards(ProRata::per_epoch(tokens(10)))
    ///     .build()
    ///     .await?;
    /// let first = EpochId::new(0);
    /// let closed = network.close_epoch(first).await?;
    /// // It waits for its window: the arbiter decides first.
    /// assert_eq!(network.withdraw_epoch(first).await.unwrap_err().kind(), ErrorKind::Conflict);
    /// let roots = EvmRoots::new(arbiter, network.deployment().unwrap().distributor);
    /// roots.resolve(&roots.pending().await?.unwrap(), Verdict::Reject).await?;
    ///
    /// network.withdraw_epoch(first).await?;
    /// let again = network.close_epoch(first).await?;
    /// assert_eq!(again.record().replaces(), Some(closed.commitment().manifest));
    /// # Ok::<(), depin::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn withdraw_epoch(&self, id: EpochId) -> Result<()> {
        let mut books = self.0.books.lock().await;
        // A publication that was given up on may be on its way still.
        self.0.ledgers.settle().await?;
        self.catch_up(&mut books).await?;
        let Some(epoch) = self.closed(&books, id).await? else {
            let message = "the epoch is not closed, so there is nothing to withdraw";
            return Err(Error::new(ErrorKind::NotFound, message).with("epoch", id));
        };
        let mut ahead = self.books_before(&books.seals, id).await?;
        while ahead.next() < books.next() {
            let each = ahead.next();
            let sealed = self.0.log.sealed(books.seals.place(each)).await?;
            let each = self.enter_sealed(&mut ahead, &sealed.ok_or_else(|| lost(each))?)?;
            self.check_untaken(each.commitment()).await?;
        }
        self.check_kept(epoch.record()).await?;
        let (network, root) = (self.0.id.clone(), epoch.root());
        let manifest = epoch.commitment().manifest;
        let withdrawal = Withdrawal { network, epoch: id, manifest, root };
        self.0.log.seal(books.place(), Bytes::from(withdrawal.to_bytes())).await?;
        self.catch_up(&mut books).await?;
        self.emit(NetworkEvent::EpochWithdrawn { epoch: id, root });
        Ok(())
    }

    /// That the distributor does not have an epoch as it was sealed. One that it has on top of others, with other sums,
    /// is not the one that is withdrawn.
    async fn check_untaken(&self, own: &Commitment) -> Result<()> {
        let (distributor, epoch) = (&self.0.ledgers.distributor, own.epoch);
        if distributor.published(epoch).await?.as_ref() != Some(own) {
            return Ok(());
        }
        let pays = distributor.latest().await?.is_some_and(|latest| latest >= epoch);
        let message = if pays {
            "the distributor pays for the epoch, so it stays; correct what was wrong in the next one"
        } else {
            "the distributor has the epoch, which waits; have the arbiter reject it first"
        };
        Err(Error::new(ErrorKind::Conflict, message).with("epoch", epoch))
    }

    /// That the batches of an epoch can be judged again.
    async fn check_kept(&self, record: &EpochRecord) -> Result<()> {
        let (first, oldest) = (record.range().start, self.0.log.oldest().await?);
        if oldest <= first {
            return Ok(());
        }
        let message = "the log has forgotten batches of the epoch, so it cannot be judged again; forget only what \
                       the distributor pays for";
        Err(Error::new(ErrorKind::NotFound, message).with("first", first).with("oldest", oldest))
    }

    /// Seals the next epoch as it was before it was withdrawn, if the distributor has it so after all. Its record says
    /// nothing of what was earned before, so the epoch before is held against the ledger, and the sums are.
    pub(crate) async fn restore(&self, books: &mut Books) -> Result<Option<Epoch>> {
        let id = books.next();
        let Some(bytes) = self.taken_after_all(&books.seals, id).await? else { return Ok(None) };
        if let Some(before) = &books.latest {
            self.check_taken(books, before.id()).await?;
        }
        if self.skips(id).await? {
            return Err(skipping(id));
        }
        let sealed = Sealed::parse(&bytes)?;
        books.standings().check(&sealed.record).map_err(|found| broken(&sealed.record, found))?;
        let (epoch, balances) = books.prepare(sealed)?;
        let Some(published) = self.0.ledgers.distributor.published(id).await? else {
            let message = "the distributor had the withdrawn epoch and has it no more; call again";
            return Err(Error::unavailable(message).with("epoch", id));
        };
        if published != *epoch.commitment() {
            let message = "the distributor pays the withdrawn epoch otherwise than the log has it; use this network's \
                           log";
            return Err(Error::new(ErrorKind::Corrupt, message).with("epoch", id));
        }
        self.0.log.seal(books.place(), bytes.clone()).await?;
        books.enter(epoch.clone(), balances);
        books.keep(&bytes);
        Ok(Some(epoch))
    }

    /// The withdrawn epoch of this number that the distributor has, if it has one.
    pub(crate) async fn taken_after_all(
        &self,
        seals: &Seals,
        id: EpochId,
    ) -> Result<Option<Bytes>> {
        let withdrawn = seals.withdrawn(id);
        if withdrawn.is_empty() {
            return Ok(None);
        }
        let Some(published) = self.0.ledgers.distributor.published(id).await? else {
            return Ok(None);
        };
        for place in withdrawn {
            let sealed = self.0.log.sealed(place).await?.ok_or_else(|| lost(id))?;
            if Sealed::record(&sealed)?.manifest() == published.manifest {
                return Ok(Some(sealed));
            }
        }
        Ok(None)
    }

    /// The record that the next one of this number replaces, by its manifest.
    pub(crate) async fn replaced(&self, seals: &Seals, id: EpochId) -> Result<Option<B256>> {
        let Some(place) = seals.withdrawn(id).first().copied() else { return Ok(None) };
        let sealed = self.0.log.sealed(place).await?.ok_or_else(|| lost(id))?;
        Ok(Some(Sealed::record(&sealed)?.manifest()))
    }

    /// The record of an epoch that an audit goes by: the log withdrew nothing that the distributor has, and the record
    /// names what it replaces.
    pub(crate) async fn audited_record(&self, seals: &Seals, id: EpochId) -> Result<EpochRecord> {
        let record = self.sealed_record(seals, id).await?;
        let taken = self.taken_after_all(seals, id).await?;
        let taken = taken.map(|sealed| Sealed::record(&sealed)).transpose()?;
        let corrupt = |message| Err(Error::new(ErrorKind::Corrupt, message).with("epoch", id));
        match (record, taken) {
            (Some(record), Some(taken)) if record == taken => Ok(record),
            (_, Some(_)) => corrupt(
                "the log withdraws an epoch that the distributor has; withdraw what was closed for it, and close it \
                 again: that restores it",
            ),
            (Some(record), None) if record.replaces() == self.replaced(seals, id).await? => {
                Ok(record)
            }
            (Some(_), None) => {
                corrupt("the epoch does not name the withdrawn one that it replaces")
            }
            (None, None) => {
                Err(Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", id))
            }
        }
    }
}
