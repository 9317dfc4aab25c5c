//! Books: what a network has come to, epoch after epoch.

use std::path::Path;

use depin_core::{
    Amount, B256, EpochId, Error, ErrorKind, NetworkId, Result, Timestamp,
    log::BatchLog,
    reward::{Allocation, Commitment},
};
use depin_data::epoch::{EpochRecord, Scored, Sealed, Standings, Statement, Watermarks, Windows};
use depin_payment::Cumulative;
use sha2::{Digest, Sha256};

use crate::{
    checkpoint::{Checkpoint, Kept},
    epoch::{Closed, Epoch},
    seals::Seals,
};

/// What everybody has earned up to the last closed epoch, and where every device stands. Earlier epochs are in
/// the log.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) latest: Option<Epoch>,
    /// What the epoch before the latest put on chain, where that is known without reading the log again.
    before: Option<Commitment>,
    balances: Cumulative,
    /// What the next epoch begins with.
    pub(crate) standings: Standings,
    /// How far devices have come since; read when it is asked for.
    pub(crate) sources: Option<Watermarks>,
    /// Where in the log each epoch is.
    pub(crate) seals: Seals,
    /// Where they are kept, if the network has a folder.
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Books {
    /// Nothing was closed yet.
    pub(crate) fn new(network: NetworkId) -> Self {
        Self {
            latest: None,
            before: None,
            balances: Cumulative::default(),
            standings: Standings::new(network),
            sources: None,
            seals: Seals::default(),
            checkpoint: None,
        }
    }

    /// The same, kept in a folder.
    pub(crate) fn kept_in(network: NetworkId, folder: Option<&Path>) -> Self {
        Self { checkpoint: folder.map(Checkpoint::new), ..Self::new(network) }
    }

    /// The same, over a row of seals.
    pub(crate) fn over(network: NetworkId, seals: Seals) -> Self {
        Self { seals, ..Self::new(network) }
    }

    /// The same books, to be carried on: without the tree of the latest epoch, and kept nowhere.
    pub(crate) fn carried_on(&self) -> Self {
        Self {
            latest: None,
            before: None,
            balances: self.balances.clone(),
            standings: self.standings.clone(),
            sources: None,
            seals: self.seals.clone(),
            checkpoint: None,
        }
    }

    /// Goes on with the books that were kept, given the epoch that they go up to as the log has it.
    pub(crate) fn resume(&mut self, kept: Kept, sealed: Sealed) -> Result<()> {
        let Sealed { record, statement } = sealed;
        let tree = kept.balances.tree()?;
        let commitment = kept.balances.commitment(&tree, record.manifest());
        if let Some(commitment) = commitment {
            let closed = Closed { record, statement, tree, commitment };
            self.latest = Some(Epoch::new(closed));
            (self.balances, self.standings) = (kept.balances, kept.standings);
            self.seals = kept.seals;
        }
        Ok(())
    }

    /// Keeps the books, which go up to an epoch that the log keeps so.
    pub(crate) fn keep(&mut self, sealed: &[u8]) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.keep(&sha256(sealed), &self.balances, &self.standings, &self.seals);
        }
    }

    /// What the next epoch begins with.
    pub(crate) const fn standings(&self) -> &Standings {
        &self.standings
    }

    /// The epoch that closes next.
    pub(crate) const fn next(&self) -> EpochId {
        self.standings.next()
    }

    /// Where in the log it will be sealed.
    pub(crate) fn place(&self) -> EpochId {
        self.seals.place(self.next())
    }

    /// What closed epochs emit, published or not.
    pub(crate) fn emitted(&self) -> Amount {
        self.latest.as_ref().map_or(Amount::ZERO, |latest| latest.commitment().cumulative)
    }

    /// What one of the last two closed epochs put on chain, as far as it is known without reading the log again.
    pub(crate) fn commitment(&self, id: EpochId) -> Option<Commitment> {
        let latest = self.latest.as_ref().map(|latest| *latest.commitment());
        [latest, self.before].into_iter().flatten().find(|known| known.epoch == id)
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
    pub(crate) fn prepare(&self, sealed: Sealed) -> Result<(Epoch, Cumulative)> {
        let Sealed { record, statement } = sealed;
        let mut balances = self.balances.clone();
        balances.add(&statement.allocation)?;
        let tree = balances.tree()?;
        let commitment = balances.commitment(&tree, record.manifest()).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "an epoch was added and is not there")
        })?;
        let closed = Closed { record, statement, tree, commitment };
        Ok((Epoch::new(closed), balances))
    }

    /// Goes on to an epoch that was [prepared](Self::prepare).
    pub(crate) fn enter(&mut self, epoch: Epoch, balances: Cumulative) {
        self.balances = balances;
        self.standings.advance(epoch.record(), epoch.pasts());
        self.before = self.latest.replace(epoch).map(|before| *before.commitment());
    }

    /// Passes over an epoch that a later one follows: what was earned in it counts, nobody looks at it.
    pub(crate) fn pass(&mut self, sealed: &[u8]) -> Result<()> {
        self.balances.add(&self.standings.pass(sealed)?.allocation)
    }

    /// How far devices have come.
    pub(crate) async fn sources(
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

/// What names a sealed epoch in books that are kept.
pub(crate) fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}
