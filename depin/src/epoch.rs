//! Closing epochs: verify, score, share, publish.

use std::{cmp::Ordering, collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use depin_core::{
    Address, Amount, B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkEvent, NetworkId, Result,
    Timestamp,
    log::BatchLog,
    quality::{Contribution, Finding},
    reward::{Allocation, Commitment, Payout},
};
use depin_data::epoch::{
    Correction, EpochDraft, EpochRecord, MAX_KEYS, Member, Past, Readiness, Scored, Sealed,
    Standings, Statement, Watermarks, Windows, end_of_range, score, score_each,
};
use depin_payment::{Cumulative, RewardTree};
use sha2::{Digest, Sha256};

use crate::{
    Network,
    checkpoint::{Checkpoint, Kept},
};

/// What everybody has earned up to the last closed epoch, and where every device stands. Earlier epochs are in
/// the log.
#[derive(Debug)]
pub(crate) struct Books {
    latest: Option<Epoch>,
    balances: Cumulative,
    /// What the next epoch begins with.
    standings: Standings,
    /// How far devices have come since; read when it is asked for.
    sources: Option<Watermarks>,
    /// Where they are kept, if the network has a folder.
    checkpoint: Option<Checkpoint>,
}

impl Books {
    /// Nothing was closed yet.
    pub(crate) fn new(network: NetworkId) -> Self {
        Self {
            latest: None,
            balances: Cumulative::default(),
            standings: Standings::new(network),
            sources: None,
            checkpoint: None,
        }
    }

    /// The same, kept in a folder.
    pub(crate) fn kept_in(network: NetworkId, folder: Option<&Path>) -> Self {
        Self { checkpoint: folder.map(Checkpoint::new), ..Self::new(network) }
    }

    /// Goes on with the books that were kept, given the epoch that they go up to as the log has it.
    fn resume(&mut self, kept: Kept, sealed: Sealed) -> Result<()> {
        let Sealed { record, statement } = sealed;
        let tree = kept.balances.tree()?;
        let commitment = kept.balances.commitment(&tree, record.manifest());
        if let Some(commitment) = commitment {
            let closed = Closed { record, statement, tree, commitment };
            self.latest = Some(Epoch(Arc::new(closed)));
            (self.balances, self.standings) = (kept.balances, kept.standings);
        }
        Ok(())
    }

    /// Keeps the books, which go up to an epoch that the log keeps so.
    fn keep(&mut self, sealed: &[u8]) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.keep(&sha256(sealed), &self.balances, &self.standings);
        }
    }

    /// What the next epoch begins with.
    pub(crate) const fn standings(&self) -> &Standings {
        &self.standings
    }

    /// The epoch that closes next.
    const fn next(&self) -> EpochId {
        self.standings.next()
    }

    /// Adds a scored epoch: shares it out and grows the tree.
    pub(crate) fn add(
        &mut self,
        record: EpochRecord,
        scored: Scored,
        allocation: Allocation,
    ) -> Result<Epoch> {
        let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
        let (epoch, balances) = self.prepare(sealed)?;
        self.enter(epoch.clone(), balances);
        Ok(epoch)
    }

    /// Everything about the next epoch that can fail; nothing changes yet.
    fn prepare(&self, sealed: Sealed) -> Result<(Epoch, Cumulative)> {
        let Sealed { record, statement } = sealed;
        let mut balances = self.balances.clone();
        balances.add(&statement.allocation)?;
        let tree = balances.tree()?;
        let commitment = balances.commitment(&tree, record.manifest()).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "an epoch was added and is not there")
        })?;
        let closed = Closed { record, statement, tree, commitment };
        Ok((Epoch(Arc::new(closed)), balances))
    }

    fn enter(&mut self, epoch: Epoch, balances: Cumulative) {
        self.balances = balances;
        self.standings.advance(epoch.record(), &epoch.0.statement.pasts);
        self.latest = Some(epoch);
    }

    /// Passes over an epoch that a later one follows: what was earned in it counts, nobody looks at it.
    fn pass(&mut self, sealed: &[u8]) -> Result<()> {
        self.balances.add(&self.standings.pass(sealed)?.allocation)
    }

    /// How far devices have come.
    async fn sources(
        &mut self,
        log: &dyn BatchLog,
        network: &NetworkId,
        windows: &Windows,
    ) -> Result<&Watermarks> {
        // Who was last heard before keeps nobody waiting, and all devices ever are more than fit.
        let since = windows.expected_since(self.next()).unwrap_or(Timestamp::EPOCH);
        let mut sources = match self.sources.take() {
            Some(sources) => sources,
            None => {
                let heard = self.standings.devices().filter(|(_, past)| past.latest >= since);
                let latest = heard.map(|(did, past)| (did.clone(), past.latest)).collect();
                Watermarks::resume(latest, self.standings.size())?
            }
        };
        sources.read(log, network).await?;
        sources.forget(since);
        Ok(self.sources.insert(sources))
    }
}

/// A closed epoch with everything that led to its root.
#[derive(Clone, Debug)]
pub struct Epoch(Arc<Closed>);

#[derive(Debug)]
struct Closed {
    record: EpochRecord,
    statement: Statement,
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
        &self.0.statement.contributions
    }

    /// Why points were lost, the first [`MAX_STATED`](depin_data::epoch::MAX_STATED) of what [`Scored`] lists; [`explain`](Network::explain) tells everything.
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
    /// [`ErrorKind::Conflict`] when an earlier epoch is still open, [`ErrorKind::Unavailable`] while its window
    /// has not passed, with the time until it has, or whatever log and chain object to.
    pub async fn close_epoch(&self, id: EpochId) -> Result<Epoch> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        let next = books.next();
        if id > next {
            let message = "epochs close in order; close the next one first";
            let error = Error::new(ErrorKind::Conflict, message);
            return Err(error.with("epoch", id).with("next", next));
        }
        let epoch = if id == next {
            self.check_ledger(&books).await?;
            self.seal_next(&mut books).await?
        } else {
            self.closed(&books, id).await?.ok_or_else(|| lost(id))?
        };
        self.publish_until(&books, &epoch).await?;
        Ok(epoch)
    }

    /// That the ledger's latest epoch is this network's. Roots are cumulative: over somebody else's, what that one
    /// promised would be paid out of what this network's devices earned.
    async fn check_ledger(&self, books: &Books) -> Result<()> {
        let distributor = &self.0.ledgers.distributor;
        let Some(latest) = distributor.latest().await? else { return Ok(()) };
        let own = match &books.latest {
            Some(own) if own.id() == latest => {
                distributor.published(latest).await?.is_none_or(|it| it == *own.commitment())
            }
            // Published later, or by another process that seals with the same log.
            Some(own) if own.id() > latest => true,
            _ => self.0.log.sealed(latest).await?.is_some(),
        };
        if own {
            return Ok(());
        }
        let message = "the distributor has an epoch that this network did not close; give whatever else it pays a \
                       distributor of its own, or use this network's log";
        Err(Error::new(ErrorKind::Conflict, message).with("epoch", latest))
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

    /// Publishes an epoch, and before it every sealed one whose publication was interrupted: a ledger
    /// takes epochs in order, so one that is passed over could never be published or audited.
    async fn publish_until(&self, books: &Books, epoch: &Epoch) -> Result<()> {
        let ledgers = &self.0.ledgers;
        let latest = ledgers.distributor.latest().await?;
        if latest.is_some_and(|latest| epoch.id() <= latest) {
            // Also when it is there already: the ledger objects if it has other content.
            ledgers.distributor.publish(epoch.commitment()).await?;
            return ledgers.checkpoint().await;
        }
        let first = latest.map_or(0, |latest| latest.value().saturating_add(1));
        for id in (first..epoch.id().value()).map(EpochId::new) {
            let waiting = self.closed(books, id).await?.ok_or_else(|| lost(id))?;
            self.publish(&waiting).await?;
        }
        self.publish(epoch).await
    }

    async fn publish(&self, epoch: &Epoch) -> Result<()> {
        self.0.ledgers.distributor.publish(epoch.commitment()).await?;
        self.0.ledgers.checkpoint().await?;
        self.emit(NetworkEvent::EpochClosed {
            epoch: epoch.id(),
            root: epoch.root(),
            emission: epoch.emission(),
            payouts: epoch.payouts().len() as u64,
        });
        Ok(())
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
        self.catch_up(&mut books).await?;
        Ok(books.latest.clone())
    }

    /// Enters epochs that an earlier run, or another process, sealed.
    async fn catch_up(&self, books: &mut Books) -> Result<()> {
        if books.latest.is_none() {
            self.recall(books).await?;
        }
        let mut id = books.next();
        let Some(mut sealed) = self.0.log.sealed(id).await? else { return Ok(()) };
        // What cannot be read to its end, for now, changes nothing. Only the last one needs a tree.
        let mut ahead = Books {
            latest: None,
            balances: books.balances.clone(),
            standings: books.standings.clone(),
            sources: None,
            checkpoint: None,
        };
        while let Some(next) = id.next() {
            let Some(after) = self.0.log.sealed(next).await? else { break };
            ahead.pass(&sealed)?;
            (id, sealed) = (next, after);
        }
        let last = Sealed::parse(&sealed)?;
        self.check_own(last.record.network(), last.record.epoch(), id)?;
        let (epoch, balances) = ahead.prepare(last)?;
        ahead.enter(epoch, balances);
        (ahead.sources, ahead.checkpoint) = (books.sources.take(), books.checkpoint.take());
        *books = ahead;
        books.keep(&sealed);
        Ok(())
    }

    /// Goes on with the books that were kept, if they are of this log.
    async fn recall(&self, books: &mut Books) -> Result<()> {
        let Some(kept) = books.checkpoint.as_ref().and_then(Checkpoint::read) else {
            return Ok(());
        };
        let last = kept.standings.next().value().checked_sub(1).map(EpochId::new);
        let Some(last) = last.filter(|_| kept.standings.network() == &self.0.id) else {
            return Ok(());
        };
        match self.0.log.sealed(last).await? {
            Some(sealed) if sha256(&sealed) == kept.sealed => {
                let next = kept.standings.next();
                books.resume(kept, Sealed::parse(&sealed)?)?;
                if let Some(checkpoint) = books.checkpoint.as_mut() {
                    checkpoint.holds(next);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A closed epoch, if it is.
    async fn closed(&self, books: &Books, id: EpochId) -> Result<Option<Epoch>> {
        if id >= books.next() {
            return Ok(None);
        }
        if let Some(latest) = books.latest.as_ref().filter(|latest| latest.id() == id) {
            return Ok(Some(latest.clone()));
        }
        let earlier = self.books_before(id).await?;
        let sealed = self.sealed(id).await?.ok_or_else(|| lost(id))?;
        earlier.prepare(sealed).map(|(epoch, _)| Some(epoch))
    }

    /// The books as they were when a closed epoch began, from what the log keeps.
    async fn books_before(&self, id: EpochId) -> Result<Books> {
        let mut earlier = Books::new(self.0.id.clone());
        for before in (0..id.value()).map(EpochId::new) {
            earlier.pass(&self.0.log.sealed(before).await?.ok_or_else(|| lost(before))?)?;
        }
        Ok(earlier)
    }

    /// What an epoch begins with: where every device stood, what it had done in epochs that are not settled, and
    /// what those were sealed with. It is what the log keeps, and [committed](EpochRecord::standings) to by the
    /// record of the epoch.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the epoch before is open, [`ErrorKind::Corrupt`] when the log's records are
    /// damaged.
    pub async fn standings(&self, id: EpochId) -> Result<Standings> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        match id.cmp(&books.next()) {
            Ordering::Equal => Ok(books.standings.clone()),
            Ordering::Less => self.books_before(id).await.map(|books| books.standings),
            Ordering::Greater => {
                let message = "the epoch before is not closed";
                Err(Error::new(ErrorKind::NotFound, message).with("epoch", id))
            }
        }
    }

    /// The sealed record of an epoch of this network, if there is one.
    pub(crate) async fn sealed_record(&self, id: EpochId) -> Result<Option<EpochRecord>> {
        let Some(bytes) = self.0.log.sealed(id).await? else { return Ok(None) };
        let record = Sealed::record(&bytes)?;
        self.check_own(record.network(), record.epoch(), id).map(|()| Some(record))
    }

    async fn sealed(&self, id: EpochId) -> Result<Option<Sealed>> {
        let Some(bytes) = self.0.log.sealed(id).await? else { return Ok(None) };
        let sealed = Sealed::parse(&bytes)?;
        let (network, epoch) = (sealed.record.network(), sealed.record.epoch());
        self.check_own(network, epoch, id).map(|()| Some(sealed))
    }

    fn check_own(&self, network: &NetworkId, epoch: EpochId, id: EpochId) -> Result<()> {
        if network == &self.0.id && epoch == id {
            return Ok(());
        }
        let message =
            "the log holds the record of another network or epoch; use this network's log";
        Err(Error::new(ErrorKind::Corrupt, message)
            .with("epoch", id)
            .with("found", format!("{network} {epoch}")))
    }

    /// A device as the registry knows it now. One that it does not know any more, or cannot tell about, stops
    /// nobody else: it has no keys, so that its batches count for nothing.
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
            Err(error) if error.is_retryable() => return Err(error),
            _ => return Ok(nobody()),
        };
        match registry.keys(did).await {
            Ok(mut keys) => {
                keys.drain(..keys.len().saturating_sub(MAX_KEYS));
                let beneficiary = self.0.rules.pays.of(&record);
                Ok(Member { keys, beneficiary, ..nobody() })
            }
            Err(error) if error.is_retryable() => Err(error),
            Err(_) => Ok(nobody()),
        }
    }

    /// Seals the rest of the log as the next epoch. From then on its content is decided, whatever
    /// happens to the process, so it is scored and shared out before: what cannot be is never sealed.
    async fn seal_next(&self, books: &mut Books) -> Result<Epoch> {
        let (rules, log) = (&self.0.rules, &*self.0.log);
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
        let draft = draft.standings(&books.standings);
        let mut roster = Vec::with_capacity(draft.devices().len());
        for did in self.taking_part(books, id, &draft) {
            roster.push(self.member(&did, books.standings.past(&did).cloned()).await?);
        }
        let record = draft.close(roster, rules.checks.names(), rules.policy.name())?;
        let mut scored = score(log, &record, &rules.checks).await?;
        let allocation = rules.allocate(&record, &mut scored)?;
        let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
        let bytes = sealed.to_bytes()?;
        let (epoch, balances) = books.prepare(sealed)?;
        let bytes = Bytes::from(bytes);
        log.seal(id, bytes.clone()).await?;
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

fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}

fn lost(id: EpochId) -> Error {
    Error::new(ErrorKind::Corrupt, "the log has lost the record of a closed epoch")
        .with("epoch", id)
}
