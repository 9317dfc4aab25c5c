//! The thread that writes the index: what the segments do not hold, each time it is told, and what they
//! hold, a layer at a time.

use std::sync::mpsc::Receiver;

use depin_core::{Bytes, EpochId, Error, Result};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use tokio::sync::oneshot;

use super::{
    index::{self, EPOCHS, META, REFUSALS, SEALS},
    place::failed,
    store::{Files, Store},
};

use crate::observe;

pub(super) type Reply = oneshot::Sender<Result<Outcome>>;

/// Most jobs in one commit: bounds the memory of a transaction.
const GROUP: usize = 1024;

pub(super) enum Job {
    /// There are batches worth indexing.
    Ripe,
    Refuse {
        record: Vec<u8>,
        reply: Reply,
    },
    Seal {
        epoch: EpochId,
        record: Bytes,
        reply: Reply,
    },
    Forget {
        before: u64,
        reply: Reply,
    },
    ForgetRefusals {
        before: u64,
        reply: Reply,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Conflict,
}

pub(super) fn run(store: &Store, jobs: &Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Ok(first) = jobs.recv() {
        group.push(first);
        group.extend(jobs.try_iter().take(GROUP - 1));
        match store.with(|files| commit(files, &group)) {
            Ok(outcomes) => {
                group.drain(..).zip(outcomes).for_each(|(job, done)| job.answer(Ok(done)))
            }
            Err(error) => {
                let again = || Error::new(error.kind(), error.message().to_owned());
                group.drain(..).for_each(|job| job.answer(Err(again().with("cause", &error))));
            }
        }
    }
    // Whatever the index lacks is in the segments.
    let _ = store.with(Files::close);
}

impl Job {
    fn answer(self, result: Result<Outcome>) {
        match self {
            Self::Ripe => {}
            Self::Refuse { reply, .. }
            | Self::Seal { reply, .. }
            | Self::Forget { reply, .. }
            | Self::ForgetRefusals { reply, .. } => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(result);
            }
        }
    }
}

/// Does the jobs in one durable transaction.
fn commit(files: &Files, group: &[Job]) -> Result<Vec<Outcome>> {
    let (size, oldest) = {
        let overlay = files.overlay();
        (overlay.edge().size(), overlay.oldest())
    };
    let forgets = group.iter().filter_map(|job| match job {
        Job::Forget { before, .. } => Some(*before).filter(|before| *before <= size),
        _ => None,
    });
    let gone = forgets.max().filter(|gone| *gone > oldest);
    if let Some(gone) = gone {
        end_file(files, gone)?;
    }
    let is_idle = group.iter().all(|job| matches!(job, Job::Ripe));
    // Batches that were sealed are missed by the next start even when the segments lose them.
    let sealed = group.iter().any(|job| matches!(job, Job::Seal { .. })).then_some(size);
    let is_ripe = gone.is_some() || sealed.is_some() || files.overlay().is_ripe();
    if is_idle && !is_ripe {
        return Ok(vec![Outcome::Done; group.len()]);
    }
    let timer = observe::Timer::start();
    let outcomes = files.index(is_ripe, gone, sealed, |transaction| {
        group.iter().map(|job| apply(transaction, job, size)).collect::<Result<Vec<_>>>()
    })?;
    timer.ended("depin_log_index_seconds");
    // The index has let go of them for good; what cannot be deleted is tried again at the next start.
    gone.into_iter().for_each(|gone| files.remove(gone));
    Ok(outcomes)
}

/// Ends the last file when all that it holds is forgotten.
fn end_file(files: &Files, gone: u64) -> Result<()> {
    let mut segments = files.segments();
    if segments.next() == gone {
        segments.roll()?;
        files.overlay_mut().moved(segments.end());
    }
    Ok(())
}

fn apply(transaction: &WriteTransaction, job: &Job, size: u64) -> Result<Outcome> {
    match job {
        Job::Ripe => {}
        Job::Forget { before, .. } if *before > size => return Ok(Outcome::Conflict),
        Job::Forget { .. } => {}
        Job::ForgetRefusals { before, .. } => {
            if !index::forget_refusals(transaction, *before)? {
                return Ok(Outcome::Conflict);
            }
        }
        Job::Refuse { record, .. } => {
            let mut refusals = transaction.open_table(REFUSALS).map_err(failed)?;
            let meta = transaction.open_table(META).map_err(failed)?;
            let position = index::refusal_range(&meta, &refusals)?.end;
            refusals.insert(position, record.as_slice()).map_err(failed)?;
        }
        Job::Seal { epoch, record, .. } => {
            let mut epochs = transaction.open_table(EPOCHS).map_err(failed)?;
            let stored = epochs.get(epoch.value()).map_err(failed)?;
            if let Some(same) = stored.map(|stored| stored.value() == record.as_ref()) {
                return Ok(if same { Outcome::Done } else { Outcome::Conflict });
            }
            epochs.insert(epoch.value(), record.as_ref()).map_err(failed)?;
            let mut seals = transaction.open_table(SEALS).map_err(failed)?;
            let position = seals.len().map_err(failed)?;
            seals.insert(position, epoch.value()).map_err(failed)?;
        }
    }
    Ok(Outcome::Done)
}
