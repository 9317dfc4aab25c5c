//! Closing epochs: verify, score, share, publish.

use std::{collections::BTreeMap, sync::Arc};

use depin_core::{
    Address, Amount, B256, Did, EpochId, Error, ErrorKind, NetworkEvent, Result,
    quality::{Contribution, Finding},
    reward::{Allocation, Commitment, Payout},
};
use depin_data::epoch::{
    EpochDraft, EpochRecord, MAX_BATCHES, MAX_KEYS, Member, Past, Scored, score, score_each,
};
use depin_payment::{Cumulative, RewardTree};

use crate::Network;

/// The closed epochs, in order, and what everybody has earned since the first.
#[derive(Debug, Default)]
pub(crate) struct Books {
    epochs: Vec<Epoch>,
    balances: Cumulative,
    /// Where every device stood when the last of these epochs ended.
    pasts: BTreeMap<Did, Past>,
}

impl Books {
    /// Where a device stands before the next epoch.
    pub(crate) fn past(&self, device: &Did) -> Option<Past> {
        self.pasts.get(device).copied()
    }

    pub(crate) fn epoch(&self, id: EpochId) -> Option<&Epoch> {
        self.epochs.get(usize::try_from(id.value()).ok()?)
    }

    fn next(&self) -> EpochId {
        EpochId::new(self.epochs.len() as u64)
    }

    /// Adds a scored epoch: shares it out and grows the tree.
    pub(crate) fn add(
        &mut self,
        record: EpochRecord,
        scored: Scored,
        allocation: Allocation,
    ) -> Result<Epoch> {
        let (epoch, balances) = self.prepare(record, scored, allocation)?;
        self.enter(epoch.clone(), balances);
        Ok(epoch)
    }

    /// Everything about the next epoch that can fail; nothing changes yet.
    fn prepare(
        &self,
        record: EpochRecord,
        scored: Scored,
        allocation: Allocation,
    ) -> Result<(Epoch, Cumulative)> {
        let mut balances = self.balances.clone();
        balances.add(&allocation)?;
        let tree = balances.tree()?;
        let commitment = balances.commitment(&tree, record.manifest()).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "an epoch was added and is not there")
        })?;
        let closed = Closed { record, scored, allocation, tree, commitment };
        Ok((Epoch(Arc::new(closed)), balances))
    }

    fn enter(&mut self, epoch: Epoch, balances: Cumulative) {
        self.balances = balances;
        self.pasts
            .extend(epoch.0.scored.pasts.iter().map(|(device, past)| (device.clone(), *past)));
        self.epochs.push(epoch);
    }
}

/// A closed epoch with everything that led to its root.
#[derive(Clone, Debug)]
pub struct Epoch(Arc<Closed>);

#[derive(Debug)]
struct Closed {
    record: EpochRecord,
    scored: Scored,
    allocation: Allocation,
    tree: RewardTree,
    commitment: Commitment,
}

impl Epoch {
    /// Its number.
    pub fn id(&self) -> EpochId {
        self.0.commitment.epoch
    }

    /// The sealed record: range of the log, roster, checks, policy.
    pub fn record(&self) -> &EpochRecord {
        &self.0.record
    }

    /// What every device did.
    pub fn contributions(&self) -> &[Contribution] {
        &self.0.scored.contributions.entries
    }

    /// Why points were lost, as far as [`Scored`] lists it; [`explain`](Network::explain) tells everything.
    pub fn findings(&self) -> &[(Did, Finding)] {
        &self.0.scored.findings
    }

    /// Why a device lost points.
    pub fn findings_of<'a>(&'a self, device: &'a Did) -> impl Iterator<Item = &'a Finding> {
        self.findings().iter().filter(move |(found, _)| found == device).map(|(_, finding)| finding)
    }

    /// What was emitted: the sum of the payouts.
    pub fn emission(&self) -> Amount {
        self.0.allocation.emission
    }

    /// What each device earned, ordered by DID.
    pub fn payouts(&self) -> &[Payout] {
        &self.0.allocation.payouts
    }

    /// What a device earned in this epoch.
    pub fn payout(&self, device: &Did) -> Amount {
        let payouts = self.payouts();
        let found = payouts.binary_search_by(|payout| payout.device.cmp(device));
        found.ok().and_then(|at| payouts.get(at)).map_or(Amount::ZERO, |payout| payout.amount)
    }

    /// Root of the reward tree over everything earned so far.
    pub fn root(&self) -> B256 {
        self.0.commitment.root
    }

    /// The reward tree over everything earned so far.
    pub fn tree(&self) -> &RewardTree {
        &self.0.tree
    }

    /// What is on chain.
    pub fn commitment(&self) -> &Commitment {
        &self.0.commitment
    }
}

impl Network {
    /// Closes the next epoch over everything in the log since the one before: verifies and scores it,
    /// splits the emission, and publishes the reward root.
    ///
    /// When more than [`MAX_BATCHES`](depin_data::epoch::MAX_BATCHES) wait, it takes as many, and the
    /// epoch after it the rest. Sealed epochs whose publication was interrupted are published first, this
    /// one or earlier ones; closing an epoch that is published changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when an earlier epoch is still open, or whatever log and chain object to.
    pub async fn close_epoch(&self, id: EpochId) -> Result<Epoch> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books, id).await?;
        let epoch = match books.epoch(id) {
            Some(epoch) => epoch.clone(),
            None if books.next() == id => self.seal_next(&mut books).await?,
            None => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "epochs close in order; close the next one first",
                )
                .with("epoch", id)
                .with("next", books.next()));
            }
        };
        self.publish_until(&books, &epoch).await?;
        Ok(epoch)
    }

    /// Publishes an epoch, and before it every sealed one whose publication was interrupted: a ledger
    /// takes epochs in order, so one that is passed over could never be published or audited.
    async fn publish_until(&self, books: &Books, epoch: &Epoch) -> Result<()> {
        let ledgers = &self.0.ledgers;
        let latest = ledgers.distributor.latest().await?;
        let published = |id| latest.is_some_and(|latest| id <= latest);
        let waiting: Vec<&Epoch> = books
            .epochs
            .iter()
            .filter(|sealed| sealed.id() <= epoch.id() && !published(sealed.id()))
            .collect();
        if waiting.is_empty() {
            // Also when it is there already: the ledger objects if it has other content.
            ledgers.distributor.publish(epoch.commitment()).await?;
            return ledgers.checkpoint().await;
        }
        for sealed in waiting {
            ledgers.distributor.publish(sealed.commitment()).await?;
            ledgers.checkpoint().await?;
            self.emit(NetworkEvent::EpochClosed {
                epoch: sealed.id(),
                root: sealed.root(),
                emission: sealed.emission(),
                payouts: sealed.payouts().len() as u64,
            });
        }
        Ok(())
    }

    /// A closed epoch, or `None` while it is open.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the log does not hold what was sealed.
    pub async fn epoch(&self, id: EpochId) -> Result<Option<Epoch>> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books, id).await?;
        Ok(books.epoch(id).cloned())
    }

    /// Scores a closed epoch again and gives every finding to `each`, however many there are: first those
    /// of checks of one device, by device, then those of checks of the fleet, by device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] while it is open, [`ErrorKind::Corrupt`] when the log does not hold what was
    /// sealed.
    pub async fn explain(
        &self,
        id: EpochId,
        each: &mut (dyn FnMut(&Did, &Finding) + Send),
    ) -> Result<()> {
        let record = self.sealed_record(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", id)
        })?;
        let checks = self.0.rules.checks_of(&record)?;
        score_each(&*self.0.log, &record, &checks, each).await?;
        Ok(())
    }

    /// The last closed epoch.
    ///
    /// # Errors
    /// As [`epoch`](Self::epoch).
    pub async fn latest_epoch(&self) -> Result<Option<Epoch>> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books, EpochId::new(u64::MAX)).await?;
        Ok(books.epochs.last().cloned())
    }

    /// Recomputes epochs that an earlier run sealed, up to `id`.
    async fn catch_up(&self, books: &mut Books, id: EpochId) -> Result<()> {
        while books.next() <= id {
            let Some(record) = self.sealed_record(books.next()).await? else { return Ok(()) };
            let checks = self.0.rules.checks_of(&record)?;
            let scored = score(&*self.0.log, &record, &checks).await?;
            let allocation = self.0.rules.allocate(&record, &scored)?;
            books.add(record, scored, allocation)?;
        }
        Ok(())
    }

    /// The sealed record of an epoch of this network, if there is one.
    pub(crate) async fn sealed_record(&self, id: EpochId) -> Result<Option<EpochRecord>> {
        let Some(bytes) = self.0.log.sealed(id).await? else { return Ok(None) };
        let record = EpochRecord::parse(&bytes)?;
        if record.network() == &self.0.id && record.epoch() == id {
            return Ok(Some(record));
        }
        let message =
            "the log holds the record of another network or epoch; use this network's log";
        Err(Error::new(ErrorKind::Corrupt, message)
            .with("epoch", id)
            .with("found", format!("{} {}", record.network(), record.epoch())))
    }

    /// A device as the registry knows it now. One that it does not know any more, or cannot tell about, stops
    /// nobody else: it has no keys, so that its batches count for nothing.
    async fn member(&self, did: &Did, past: Option<Past>) -> Result<Member> {
        let registry = &self.0.ledgers.registry;
        let nobody =
            || Member { device: did.clone(), keys: Vec::new(), beneficiary: Address::ZERO, past };
        let record = match registry.device(did).await {
            Ok(Some(record)) if record.did == *did => record,
            Err(error) if error.is_retryable() => return Err(error),
            _ => return Ok(nobody()),
        };
        match registry.keys(did).await {
            Ok(mut keys) => {
                keys.drain(..keys.len().saturating_sub(MAX_KEYS));
                Ok(Member { keys, beneficiary: record.owner, ..nobody() })
            }
            Err(error) if error.is_retryable() => Err(error),
            Err(_) => Ok(nobody()),
        }
    }

    /// Seals the rest of the log as the next epoch. From then on its content is decided, whatever
    /// happens to the process, so it is scored and shared out before: what cannot be is never sealed.
    async fn seal_next(&self, books: &mut Books) -> Result<Epoch> {
        let id = books.next();
        let first = books.epochs.last().map_or(0, |epoch| epoch.record().range().end);
        let end = self.0.log.head().await?.size.min(first.saturating_add(MAX_BATCHES));
        let draft = EpochDraft::read(&*self.0.log, &self.0.id, id, first..end).await?;
        let mut roster = Vec::with_capacity(draft.devices().len());
        for did in draft.devices() {
            roster.push(self.member(did, books.past(did)).await?);
        }
        let rules = &self.0.rules;
        let record = draft.close(roster, rules.checks.names(), rules.policy.name())?;
        let scored = score(&*self.0.log, &record, &rules.checks).await?;
        let allocation = rules.allocate(&record, &scored)?;
        let bytes = record.to_bytes();
        let (epoch, balances) = books.prepare(record, scored, allocation)?;
        self.0.log.seal(id, bytes.into()).await?;
        books.enter(epoch.clone(), balances);
        Ok(epoch)
    }
}
