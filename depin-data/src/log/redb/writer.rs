//! The one thread that writes: takes all jobs that wait, commits them together, then answers.
//!
//! Batches are durable when their [frame](Frame) is; the index is flushed for what it alone has (refusals,
//! epochs, what is forgotten) and now and then.
//!
//! A flush costs as much for one job as for hundreds. So while several senders are at work the writer
//! pauses for their next jobs, a few milliseconds at most; a lone sender never waits for others.

use std::{
    sync::{PoisonError, mpsc::Receiver},
    time::Duration,
};

use depin_core::{
    B256, Bytes, EpochId, Error, Result, Sequence,
    log::{Append, ChainTip, NewBatch},
};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    super::{chain_hole, growth::Growth, judge},
    segment::{Frame, Span, Tail},
    store::{
        CHAINS, ENTRIES, EPOCHS, GAPS, META, NODES, OLDEST_KEY, Owed, REFUSALS, Row, Store, failed,
        keep_tail, link_in, node, oldest_in, tail_in, tip_in,
    },
};
use crate::{
    merkle::{Accumulator, leaf_hashes, path},
    observe,
};

/// Most jobs in one commit: bounds the memory of a transaction.
const GROUP: usize = 1024;
/// Most batches that a start has to learn from the segments.
const UNFLUSHED: usize = 4096;
/// Bytes after which a new segment begins.
const SEGMENT: u64 = 64 << 20;

/// While jobs arrive within a pause, the next pause may bring more.
const PAUSE: Duration = Duration::from_millis(1);
/// Most pauses before a commit.
const PAUSES: usize = 8;

pub(super) type Reply = oneshot::Sender<Result<Outcome>>;

pub(super) enum Job {
    Append { new: Box<NewBatch>, reply: Reply },
    Refuse { record: Vec<u8>, reply: Reply },
    Seal { epoch: EpochId, record: Bytes, reply: Reply },
    Forget { before: u64, reply: Reply },
}

impl Job {
    /// What becomes a leaf of the tree.
    fn leaf(&self) -> Option<&[u8]> {
        match self {
            Self::Append { new, .. } => Some(new.batch.as_bytes()),
            _ => None,
        }
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
    let mut unflushed = 0;
    let mut group = Vec::with_capacity(GROUP);
    let mut last = 0;
    while let Ok(first) = jobs.recv() {
        group.push(first);
        gather(jobs, &mut group, last);
        last = group.len();
        match commit(store, &group, &mut edge, &mut unflushed) {
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
    // Whatever the index lacks is in the segments.
    let _ = store.flush();
}

/// Takes the jobs that wait and, while they are fewer than `last` time, those that follow closely: whoever
/// was answered then is likely to come back.
fn gather(jobs: &Receiver<Job>, group: &mut Vec<Job>, last: usize) {
    group.extend(jobs.try_iter().take(GROUP - group.len()));
    for _ in 0..PAUSES {
        let before = group.len();
        if before >= last {
            return;
        }
        std::thread::sleep(PAUSE);
        group.extend(jobs.try_iter().take(GROUP - before));
        if group.len() == before {
            return;
        }
    }
}

/// Applies the jobs in one durable transaction. `edge` is the tree's right edge between commits; it is
/// read from the index again after a commit that failed.
fn commit(
    store: &Store,
    group: &[Job],
    edge: &mut Option<Accumulator>,
    unflushed: &mut usize,
) -> Result<Vec<Outcome>> {
    let known = edge.take();
    let flush = *unflushed + group.len() > UNFLUSHED;
    let leaves: Vec<_> = group.iter().filter_map(Job::leaf).collect();
    let mut leaves = leaf_hashes(&leaves).into_iter();
    let (outcomes, reached, owed, gone) = store.write(|transaction, files| {
        let mut tables = Tables::open(transaction, known)?;
        let mut segments = files.segments.lock().unwrap_or_else(PoisonError::into_inner);
        if segments.end().offset >= SEGMENT {
            segments.roll(tables.size())?;
        }
        let mut frame = Frame::new(tables.size(), segments.end());
        let mut gone = None;
        let mut outcomes = Vec::with_capacity(group.len());
        for job in group {
            let leaf = job.leaf().and_then(|_| leaves.next()).unwrap_or_default();
            outcomes.push(tables.apply(job, leaf, &mut frame)?);
            if let (Job::Forget { before, .. }, Some(Outcome::Done)) = (job, outcomes.last()) {
                gone = gone.max(Some(*before));
            }
        }
        segments.append(frame)?;
        if gone.is_some_and(|gone| gone == tables.size()) {
            segments.roll(tables.size())?;
        }
        tables.reached(segments.end())?;
        let owed = if flush { tables.owed.max(Owed::Index) } else { tables.owed };
        Ok(((outcomes, tables.edge, owed, gone), owed))
    })?;
    *edge = Some(reached);
    *unflushed = if owed == Owed::Index { 0 } else { *unflushed + group.len() };
    // The index has let go of them for good; what cannot be deleted is tried again at the next start.
    let _ = gone.map(|gone| store.remove(gone));
    Ok(outcomes)
}

pub(super) struct Tables<'t> {
    entries: Table<'t, u64, (u64, Row)>,
    nodes: Table<'t, u64, &'static [u8]>,
    chains: Table<'t, (&'static str, u64), (u64, [u8; 32])>,
    gaps: Table<'t, (&'static str, u64), [u8; 32]>,
    refusals: Table<'t, u64, &'static [u8]>,
    epochs: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
    edge: Accumulator,
    owed: Owed,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        edge: Option<Accumulator>,
    ) -> Result<Self> {
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
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            nodes,
            chains: transaction.open_table(CHAINS).map_err(failed)?,
            gaps: transaction.open_table(GAPS).map_err(failed)?,
            refusals: transaction.open_table(REFUSALS).map_err(failed)?,
            epochs: transaction.open_table(EPOCHS).map_err(failed)?,
            meta: transaction.open_table(META).map_err(failed)?,
            edge,
            owed: Owed::Nothing,
        })
    }

    /// Number of batches.
    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Up to where the segments are known here.
    pub(super) fn tail(&self) -> Result<Tail> {
        tail_in(&self.meta)
    }

    /// Index of the oldest batch.
    pub(super) fn oldest(&self) -> Result<u64> {
        oldest_in(&self.meta)
    }

    /// Everything in the segments up to `tail` is known here now.
    pub(super) fn reached(&mut self, tail: Tail) -> Result<()> {
        if self.owed == Owed::Nothing { Ok(()) } else { keep_tail(&mut self.meta, tail) }
    }

    fn apply(&mut self, job: &Job, leaf: B256, frame: &mut Frame) -> Result<Outcome> {
        match job {
            Job::Append { new, .. } => {
                self.append(new, leaf, |new| frame.push(new)).map(Outcome::Append)
            }
            Job::Refuse { record, .. } => {
                let position = self.refusals.len().map_err(failed)?;
                self.refusals.insert(position, record.as_slice()).map_err(failed)?;
                self.owed = Owed::Index;
                Ok(Outcome::Done)
            }
            Job::Seal { epoch, record, .. } => self.seal(*epoch, record),
            Job::Forget { before, .. } => self.forget(*before),
        }
    }

    /// Takes a batch that continues its chain; `place` finds a place for its bytes.
    pub(super) fn append(
        &mut self,
        new: &NewBatch,
        leaf: B256,
        place: impl FnOnce(&NewBatch) -> Result<Span>,
    ) -> Result<Append> {
        let (did, hash) = (new.device.as_str(), new.batch.hash());
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
        let Span { segment, offset, length, crc } = place(new)?;
        let row = (new.received.millis(), (segment, offset, length, crc));
        self.entries.insert(index, row).map_err(failed)?;
        self.nodes.insert(index, completed.as_slice()).map_err(failed)?;
        self.chains.insert((did, tip.sequence.value()), (index, tip.hash.0)).map_err(failed)?;
        if new.covers.is_some() {
            self.gaps.insert((did, tip.sequence.value()), hash.0).map_err(failed)?;
        }
        self.owed = self.owed.max(Owed::Segments);
        Ok(Append::Stored(index))
    }

    fn forget(&mut self, before: u64) -> Result<Outcome> {
        if before > self.edge.size() {
            return Ok(Outcome::Conflict);
        }
        if before > oldest_in(&self.meta)? {
            self.entries.retain_in(..before, |_, _| false).map_err(failed)?;
            self.meta.insert(OLDEST_KEY, before).map_err(failed)?;
            self.owed = Owed::Index;
        }
        Ok(Outcome::Done)
    }

    fn seal(&mut self, epoch: EpochId, record: &Bytes) -> Result<Outcome> {
        let stored = self.epochs.get(epoch.value()).map_err(failed)?;
        if let Some(same) = stored.map(|stored| stored.value() == record.as_ref()) {
            return Ok(if same { Outcome::Done } else { Outcome::Conflict });
        }
        self.epochs.insert(epoch.value(), record.as_ref()).map_err(failed)?;
        self.owed = Owed::Index;
        Ok(Outcome::Done)
    }
}
