//! Closing epochs: verify, score, share, publish.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use depin_core::{
    Address, Amount, B256, Bytes, Did, EpochId, Error, ErrorKind, Result,
    quality::{Contribution, Finding},
    registry::OwnFault,
    reward::{Commitment, Payout},
};
use depin_data::epoch::{
    Correction, EpochDraft, EpochRecord, MAX_KEYS, Member, Past, Readiness, Sealed, Statement,
    end_of_range, score, score_each,
};
use depin_payment::RewardTree;

use crate::{Network, books::Books, history::lost};

/// A closed epoch with everything that led to its root.
#[derive(Clone, Debug)]
pub struct Epoch(Arc<Closed>);

#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) record: EpochRecord,
    pub(crate) statement: Statement,
    pub(crate) tree: RewardTree,
    pub(crate) commitment: Commitment,
}

impl Epoch {
    pub(crate) fn new(closed: Closed) -> Self {
        Self(Arc::new(closed))
    }

    /// Where devices stand after it.
    pub(crate) fn pasts(&self) -> &BTreeMap<Did, Past> {
        &self.0.statement.pasts
    }

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
        &self.0.statement.contributions
    }

    /// Why points were lost, the first [`MAX_STATED`](depin_data::epoch::MAX_STATED) of what
    /// [`Scored`](depin_data::epoch::Scored) lists; [`explain`](Network::explain) tells everything.
    pub fn findings(&self) -> &[(Did, Finding)] {
        &self.0.statement.findings
    }

    /// Why a device lost points.
    pub fn findings_of<'a>(&'a self, device: &'a Did) -> impl Iterator<Item = &'a Finding> {
        self.findings().iter().filter(move |(found, _)| found == device).map(|(_, finding)| finding)
    }

    /// Readings that came late, for epochs that were closed: they are paid when those settle.
    pub fn corrections(&self) -> &[Correction] {
        &self.0.statement.corrections
    }

    /// Devices that the epoch waited for in vain.
    pub fn late(&self) -> &[Did] {
        &self.0.statement.late
    }

    /// Devices that sent more than
    /// [`MAX_BYTES_OF_DEVICE`](depin_data::epoch::MAX_BYTES_OF_DEVICE), with the number of batches beyond it.
    pub fn beyond(&self) -> &[(Did, u64)] {
        &self.0.statement.beyond
    }

    /// What was emitted: the sum of the payouts.
    pub fn emission(&self) -> Amount {
        self.0.statement.allocation.emission
    }

    /// What each device earned, ordered by DID.
    pub fn payouts(&self) -> &[Payout] {
        &self.0.statement.allocation.payouts
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
    /// epoch after it the rest. With windows the rest corrects its epoch and is paid when that settles; where
    /// windows [take nothing late](depin_data::epoch::Windows::settling) it earns nothing, and findings say so.
    /// Sealed epochs whose publication was interrupted are published first, this
    /// one or earlier ones; closing an epoch that is published changes nothing.
    ///
    /// With [windows](crate::Builder::windows) an epoch closes when its sources have passed its window, or have
    /// been waited for long enough; what ingest received after that is left for the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when an earlier epoch is still open, or when the ledger has an epoch that this network
    /// did not close, or withdrew, until it is [restored](Self::withdraw_epoch): nothing is sealed or published on top
    /// of what the log does not have. Also when another process withdraws the epoch meanwhile, after which the call is
    /// made again. [`ErrorKind::Unavailable`] while its window has not passed, with the time until
    /// it has, [`ErrorKind::Rejected`] for an epoch that the arbiter rejected
    /// and that was not [withdrawn](Self::withdraw_epoch), or whatever log and chain object to.
    pub async fn close_epoch(&self, id: EpochId) -> Result<Epoch> {
        self.close(id, None).await
    }

    /// As [`close_epoch`](Self::close_epoch), with what the epoch is granted: for networks whose emission follows a
    /// measure, and whose policy takes grants, such as
    /// [`ProRata::as_granted`](depin_payment::ProRata::as_granted).
    ///
    /// Grant at most what is [`grantable`](Self::grantable) of all that the emission controller has granted so far; it
    /// mints no more, and what earlier epochs owe until they settle is not the next one's. A network that burns and
    /// mints may grant what the band of the minter leaves now. The record names the grant, so an audit recomputes from
    /// it; an epoch that is closed keeps its own.
    ///
    /// # Errors
    /// As [`close_epoch`](Self::close_epoch); [`ErrorKind::Config`] when the policy takes no grants; and where the
    /// network publishes to the distributor of its own deployment, [`ErrorKind::Limit`], before anything is sealed, for a
    /// grant of more than is grantable, or when what is due for an epoch that settles is more than was granted.
    pub async fn close_granted_epoch(&self, id: EpochId, grant: Amount) -> Result<Epoch> {
        self.close(id, Some(grant)).await
    }

    async fn close(&self, id: EpochId, grant: Option<Amount>) -> Result<Epoch> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        let next = books.next();
        if id > next {
            let message = "epochs close in order; close the next one first";
            let error = Error::new(ErrorKind::Conflict, message);
            return Err(error.with("epoch", id).with("next", next));
        }
        let epoch = if id == next {
            match self.restore(&mut books).await? {
                Some(epoch) => epoch,
                None => {
                    self.check_ledger(&books).await?;
                    self.seal_next(&mut books, grant).await?
                }
            }
        } else {
            self.closed(&books, id).await?.ok_or_else(|| lost(id))?
        };
        self.publish_until(&books, &epoch).await?;
        Ok(epoch)
    }

    /// Whether the next epoch may close, by its [windows](crate::Builder::windows), and which one it is. Without
    /// windows every epoch may close at any time.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the log is damaged.
    pub async fn readiness(&self) -> Result<(EpochId, Readiness)> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        let next = books.next();
        let Some(windows) = self.0.rules.windows else { return Ok((next, Readiness::Complete)) };
        let sources = books.sources(&*self.0.log, &self.0.id, &windows).await?;
        Ok((next, windows.readiness(next, sources, self.0.clock.now())))
    }

    /// A closed epoch, or `None` while it is open. For all but the last one the amounts of all epochs before
    /// are summed up from the log again.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the log's records are damaged.
    pub async fn epoch(&self, id: EpochId) -> Result<Option<Epoch>> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        self.closed(&books, id).await
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
        let record = self.sealed_record(&self.seals().await?, id).await?.ok_or_else(|| {
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
        self.catch_up(&mut books).await?;
        Ok(books.latest.clone())
    }

    /// A device as the registry knows it now. One that it does not know any more, or that made itself unreadable,
    /// stops nobody else: it has no keys, so that its batches count for nothing. Where the registry fails, nothing
    /// is known of the device, and the epoch stays open.
    async fn member(&self, did: &Did, past: Option<Past>) -> Result<Member> {
        let registry = &self.0.ledgers.registry;
        let nobody = || Member {
            device: did.clone(),
            keys: Vec::new(),
            beneficiary: Address::ZERO,
            past: past.clone(),
        };
        let record = match registry.device(did).await {
            Ok(Some(record)) if record.did == *did => record,
            Err(error) if !OwnFault::is_in(&error) => return Err(error),
            _ => return Ok(nobody()),
        };
        match registry.keys(did).await {
            Ok(mut keys) => {
                keys.drain(..keys.len().saturating_sub(MAX_KEYS));
                let beneficiary = self.0.rules.pays.of(&record);
                Ok(Member { keys, beneficiary, ..nobody() })
            }
            Err(error) if !OwnFault::is_in(&error) => Err(error),
            Err(_) => Ok(nobody()),
        }
    }

    /// Seals the rest of the log as the next epoch. From then on its content is decided, whatever
    /// happens to the process, so it is scored and shared out before: what cannot be is never sealed.
    async fn seal_next(&self, books: &mut Books, grant: Option<Amount>) -> Result<Epoch> {
        let (rules, log) = (&self.0.rules, &*self.0.log);
        let policy = rules.policy_granted(grant)?.name();
        if let Some(grant) = grant {
            self.check_grant(books, grant).await?;
        }
        let id = books.next();
        self.check_windows(books, id).await?;
        let deadline = rules.windows.and_then(|windows| windows.deadline(id));
        let first = books.standings.size();
        let end = end_of_range(log, first, deadline).await?;
        let mut draft = EpochDraft::read(log, &self.0.id, id, first..end).await?;
        if let Some(windows) = rules.windows {
            let since = books.standings.windows().map_or(id, |(_, since)| *since);
            let settled = windows.settled_by(id).filter(|settled| *settled >= since);
            let settled = settled.and_then(|settled| books.standings.policy(settled));
            draft = draft.windows(windows, since, settled);
        }
        let replaced = self.replaced(&books.seals, id).await?;
        let draft = draft.standings(&books.standings).replacing(replaced);
        let mut roster = Vec::with_capacity(draft.devices().len());
        for did in self.taking_part(books, id, &draft) {
            roster.push(self.member(&did, books.standings.past(&did).cloned()).await?);
        }
        let record = draft.close(roster, rules.checks.names(), policy)?;
        let mut scored = score(log, &record, &rules.checks).await?;
        let allocation = rules.allocate(&record, &mut scored)?;
        if grant.is_some() {
            self.check_due(books, allocation.emission).await?;
        }
        let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
        let bytes = sealed.to_bytes()?;
        let (epoch, balances) = books.prepare(sealed)?;
        let bytes = Bytes::from(bytes);
        log.seal(books.place(), bytes.clone()).await?;
        books.enter(epoch.clone(), balances);
        books.keep(&bytes);
        Ok(epoch)
    }

    /// Who sent something, has work that is not settled, or was expected to send something.
    fn taking_part(&self, books: &Books, id: EpochId, draft: &EpochDraft) -> BTreeSet<Did> {
        let mut devices: BTreeSet<Did> = draft.devices().cloned().collect();
        devices.extend(books.standings.unsettled().cloned());
        if let (Some(windows), Some(sources)) = (self.0.rules.windows, &books.sources) {
            let expected = windows.expected(id, sources).map(|(device, _)| device);
            devices.extend(expected.filter(|it| books.standings.past(it).is_some()).cloned());
        }
        devices
    }

    /// Whether the next epoch may close by its windows, and they are those of the epochs before.
    async fn check_windows(&self, books: &mut Books, id: EpochId) -> Result<()> {
        let before = books.standings.windows().map(|(windows, _)| windows);
        if before.is_some() && before != self.0.rules.windows.as_ref() {
            let message = "the network's epochs have other windows; compose it with those, or start a new network";
            return Err(Error::new(ErrorKind::Config, message).with("epoch", id));
        }
        let Some(windows) = self.0.rules.windows else { return Ok(()) };
        let now = self.0.clock.now();
        let sources = books.sources(&*self.0.log, &self.0.id, &windows).await?;
        let Readiness::Waiting(missing) = windows.readiness(id, sources, now) else {
            return Ok(());
        };
        let end = windows.window(id).map(|window| window.end);
        let until = end.filter(|end| now < *end).or_else(|| windows.deadline(id));
        let wait = until.map_or(0, |until| until.millis().saturating_sub(now.millis()));
        let message = "the epoch's window has not passed for all its devices; close it later";
        Err(Error::unavailable(message)
            .with("epoch", id)
            .with("devices waited for", missing.len())
            .retry_in(Duration::from_millis(wait)))
    }
}
