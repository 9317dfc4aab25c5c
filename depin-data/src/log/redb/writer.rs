//! The one thread that writes: takes all jobs that wait, commits them together, then answers.
//!
//! A flush costs as much for one job as for hundreds. So while several senders are at work the writer
//! pauses for their next jobs, a few milliseconds at most; a lone sender never waits for others.

use std::{sync::mpsc::Receiver, time::Duration};

use depin_core::{
    B256, Bytes, EpochId, Error, Result, Sequence,
    log::{Append, ChainTip, NewBatch},
};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    super::{chain_hole, growth::Growth, judge},
    store::{
        CHAINS, ENTRIES, EPOCHS, GAPS, META, NODES, OLDEST_KEY, REFUSALS, Store, failed, link_in,
        node, oldest_in, tip_in,
    },
};
use crate::{
    merkle::{Accumulator, leaf_hash, path},
    observe,
};

/// Most jobs in one commit: bounds the memory of a transaction.
const GROUP: usize = 1024;

/// While jobs arrive within a pause, the next pause may bring more.
const PAUSE: Duration = Duration::from_millis(1);
/// Most pauses before a commit.
const PAUSES: usize = 8;

pub(super) type Reply = oneshot::Sender<Result<Outcome>>;

pub(super) enum Job {
    Append { new: Box<NewBatch>, hash: B256, leaf: B256, reply: Reply },
    Refuse { record: Vec<u8>, reply: Reply },
    Seal { epoch: EpochId, record: Bytes, reply: Reply },
    Forget { before: u64, reply: Reply },
}

impl Job {
    /// Hashes on the caller's thread, so that the writer only writes.
    pub(super) fn append(new: NewBatch, reply: Reply) -> Self {
        let (hash, leaf) = (new.batch.hash(), leaf_hash(new.batch.as_bytes()));
        Self::Append { new: Box::new(new), hash, leaf, reply }
    }

    fn answer(self, result: Result<Outcome>) {
        let (Self::Append { reply, .. }
        | Self::Refuse { reply, .. }
        | Self::Seal { reply, .. }
        | Self::Forget { reply, .. }) = self;
        // Whoever asked may have stopped waiting.
        let _ = reply.send(result);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Append(Append),
    Done,
    Conflict,
}

pub(super) fn run(store: &Store, jobs: &Receiver<Job>, growth: &Growth) {
    let mut edge = None;
    let mut group = Vec::with_capacity(GROUP);
    let mut busy = false;
    while let Ok(first) = jobs.recv() {
        group.push(first);
        gather(jobs, &mut group, busy);
        busy = group.len() > 1;
        match commit(store, &group, &mut edge) {
            Ok(outcomes) => {
                observe::committed(group.len());
                growth.reached(edge.as_ref().map_or(0, Accumulator::size));
                group.drain(..).zip(outcomes).for_each(|(job, outcome)| job.answer(Ok(outcome)));
            }
            Err(error) => {
                let again = || Error::new(error.kind(), error.message().to_owned());
                group.drain(..).for_each(|job| job.answer(Err(again().with("cause", &error))));
            }
        }
    }
}

/// Takes the jobs that wait and, if several senders are at work, those that follow closely.
fn gather(jobs: &Receiver<Job>, group: &mut Vec<Job>, busy: bool) {
    group.extend(jobs.try_iter().take(GROUP - group.len()));
    if !busy && group.len() == 1 {
        return;
    }
    for _ in 0..PAUSES {
        std::thread::sleep(PAUSE);
        let before = group.len();
        group.extend(jobs.try_iter().take(GROUP - before));
        if group.len() == before || group.len() == GROUP {
            return;
        }
    }
}

/// Applies the jobs in one durable transaction. `edge` is the tree's right edge between commits; it is
/// read from the file again after a commit that failed.
fn commit(store: &Store, group: &[Job], edge: &mut Option<Accumulator>) -> Result<Vec<Outcome>> {
    let known = edge.take();
    let (outcomes, reached) = store.write(|transaction| {
        let mut tables = Tables::open(transaction, known)?;
        let outcomes: Result<Vec<_>> = group.iter().map(|job| tables.apply(job)).collect();
        Ok(((outcomes?, tables.edge), tables.wrote))
    })?;
    *edge = Some(reached);
    Ok(outcomes)
}

struct Tables<'t> {
    entries: Table<'t, u64, (u64, &'static [u8])>,
    nodes: Table<'t, u64, &'static [u8]>,
    chains: Table<'t, (&'static str, u64), (u64, [u8; 32])>,
    gaps: Table<'t, (&'static str, u64), [u8; 32]>,
    refusals: Table<'t, u64, &'static [u8]>,
    epochs: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
    edge: Accumulator,
    wrote: bool,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction, edge: Option<Accumulator>) -> Result<Self> {
        let entries = transaction.open_table(ENTRIES).map_err(failed)?;
        let nodes = transaction.open_table(NODES).map_err(failed)?;
        let size = nodes.len().map_err(failed)?;
        let edge = match edge {
            Some(edge) => edge,
            None => {
                let mut find = |level, index| node(&nodes, level, index);
                Accumulator::resume(size, path::peaks(0, size, &mut find)?)
            }
        };
        Ok(Self {
            entries,
            nodes,
            chains: transaction.open_table(CHAINS).map_err(failed)?,
            gaps: transaction.open_table(GAPS).map_err(failed)?,
            refusals: transaction.open_table(REFUSALS).map_err(failed)?,
            epochs: transaction.open_table(EPOCHS).map_err(failed)?,
            meta: transaction.open_table(META).map_err(failed)?,
            edge,
            wrote: false,
        })
    }

    fn apply(&mut self, job: &Job) -> Result<Outcome> {
        match job {
            Job::Append { new, hash, leaf, .. } => {
                self.append(new, *hash, *leaf).map(Outcome::Append)
            }
            Job::Refuse { record, .. } => {
                let position = self.refusals.len().map_err(failed)?;
                self.refusals.insert(position, record.as_slice()).map_err(failed)?;
                self.wrote = true;
                Ok(Outcome::Done)
            }
            Job::Seal { epoch, record, .. } => self.seal(*epoch, record),
            Job::Forget { before, .. } => self.forget(*before),
        }
    }

    fn append(&mut self, new: &NewBatch, hash: B256, leaf: B256) -> Result<Append> {
        let did = new.device.as_str();
        let find = |sequence: Sequence| {
            let link = link_in(&self.chains, &self.gaps, &new.device, sequence)?;
            link.ok_or_else(|| chain_hole(sequence))
        };
        if let Some(answer) = judge(new, hash, tip_in(&self.chains, &new.device)?, find)? {
            return Ok(answer);
        }
        let tip = new.covers.unwrap_or(ChainTip { sequence: new.sequence, hash });
        let index = self.edge.size();
        let mut completed = Vec::with_capacity(64);
        self.edge.push_each(leaf, |node| completed.extend_from_slice(node.as_slice()));
        let row = (new.received.millis(), new.batch.as_bytes());
        self.entries.insert(index, row).map_err(failed)?;
        self.nodes.insert(index, completed.as_slice()).map_err(failed)?;
        self.chains.insert((did, tip.sequence.value()), (index, tip.hash.0)).map_err(failed)?;
        if new.covers.is_some() {
            self.gaps.insert((did, tip.sequence.value()), hash.0).map_err(failed)?;
        }
        self.wrote = true;
        Ok(Append::Stored(index))
    }

    fn forget(&mut self, before: u64) -> Result<Outcome> {
        if before > self.edge.size() {
            return Ok(Outcome::Conflict);
        }
        if before > oldest_in(&self.meta)? {
            self.entries.retain_in(..before, |_, _| false).map_err(failed)?;
            self.meta.insert(OLDEST_KEY, before).map_err(failed)?;
            self.wrote = true;
        }
        Ok(Outcome::Done)
    }

    fn seal(&mut self, epoch: EpochId, record: &Bytes) -> Result<Outcome> {
        let stored = self.epochs.get(epoch.value()).map_err(failed)?;
        if let Some(same) = stored.map(|stored| stored.value() == record.as_ref()) {
            return Ok(if same { Outcome::Done } else { Outcome::Conflict });
        }
        self.epochs.insert(epoch.value(), record.as_ref()).map_err(failed)?;
        self.wrote = true;
        Ok(Outcome::Done)
    }
}
