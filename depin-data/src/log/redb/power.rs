//! The power goes after every flush: what was acknowledged by then is there, and nothing is there that was never
//! given to the log.

use std::{path::Path, sync::Arc};

use depin_core::{
    B256, Bytes, EpochId, Sequence, SignedBatch, Timestamp,
    log::{Append, BatchLog, NewBatch, RefusedBatch},
    transport::{Refusal, RefusalCode},
};

use super::{
    RedbLog,
    tape::{self, Disk, Loss, Op},
};

/// What had been acknowledged when so many things had been done to the folder.
#[derive(Clone, Debug, Default)]
struct Moment {
    done: usize,
    batches: usize,
    oldest: u64,
    refusals: u64,
    oldest_refusal: u64,
    seals: u64,
}

struct Story {
    folder: tempfile::TempDir,
    log: Arc<RedbLog>,
    /// In the order of the log.
    batches: Vec<NewBatch>,
    moments: Vec<Moment>,
}

fn refused(n: u64) -> RefusedBatch {
    let code = RefusalCode::Malformed;
    let refusal = Refusal { code, detail: n.to_string(), batch: B256::ZERO, device: None };
    let received = Timestamp::EPOCH;
    RefusedBatch { refusal, received, bytes: vec![n as u8].into(), against: None }
}

fn record(n: u64) -> Bytes {
    vec![n as u8; 3000].into()
}

impl Story {
    fn begin() -> (Self, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(RedbLog::open(folder.path()).unwrap());
        let disk = Disk::of(folder.path());
        tape::record(folder.path());
        let moments = vec![Moment::default()];
        (Self { folder, log, batches: Vec::new(), moments }, disk)
    }

    fn acknowledged(&mut self, what: impl FnOnce(&mut Moment)) {
        let mut moment = self.moments.last().cloned().unwrap_or_default();
        what(&mut moment);
        moment.done = tape::length(self.folder.path());
        self.moments.push(moment);
    }

    /// Batches of devices of their own, appended together.
    async fn append(&mut self, batches: usize, bytes: usize) {
        let (log, from) = (Arc::clone(&self.log), self.batches.len());
        let mut tasks = tokio::task::JoinSet::new();
        for n in from..from + batches {
            let (log, new) = (Arc::clone(&log), new(n, bytes));
            tasks.spawn(async move { (log.append(new.clone()).await.unwrap(), new) });
        }
        let mut stored = tasks.join_all().await;
        stored.sort_by_key(|(append, _)| match append {
            Append::Stored(index) => *index,
            other => panic!("{other:?}"),
        });
        self.batches.extend(stored.into_iter().map(|(_, new)| new));
        let there = self.batches.len();
        self.acknowledged(|moment| moment.batches = there);
    }

    async fn refuse(&mut self) {
        let n = self.moments.last().map_or(0, |moment| moment.refusals);
        self.log.refuse(refused(n)).await.unwrap();
        self.acknowledged(|moment| moment.refusals += 1);
    }

    async fn seal(&mut self) {
        let n = self.moments.last().map_or(0, |moment| moment.seals);
        self.log.seal(EpochId::new(n), record(n)).await.unwrap();
        self.acknowledged(|moment| moment.seals += 1);
    }

    async fn forget(&mut self) {
        let oldest = self.batches.len() as u64;
        self.log.forget(oldest).await.unwrap();
        self.acknowledged(|moment| moment.oldest = oldest);
    }
}

fn new(n: usize, bytes: usize) -> NewBatch {
    let bytes = (0..bytes).map(|at| (at * 31 + n) as u8).collect::<Vec<_>>();
    NewBatch {
        device: format!("did:example:{n}").parse().unwrap(),
        sequence: Sequence::new(0),
        previous: B256::ZERO,
        covers: None,
        received: Timestamp::from_millis(n as u64),
        batch: SignedBatch::new(bytes),
    }
}

/// Commits small and large, together and alone, refusals, epochs, files that end and files that begin.
async fn told() -> (Story, Disk) {
    let (mut story, disk) = Story::begin();
    for _ in 0..3 {
        story.append(1, 300).await;
    }
    story.refuse().await;
    story.append(20, 300).await;
    story.append(1, 300_000).await;
    story.append(3, 50_000).await;
    story.seal().await;
    story.append(1, 10).await;
    story.forget().await;
    for _ in 0..2 {
        story.append(1, 300).await;
        story.refuse().await;
    }
    story.log.forget_refusals(2).await.unwrap();
    story.acknowledged(|moment| moment.oldest_refusal = 2);
    story.seal().await;
    story.append(5, 40_000).await;
    story.append(1, 300).await;
    (story, disk)
}

/// What is left at a start has everything that was acknowledged, in its place, and goes on.
async fn holds(folder: &Path, story: &Story, moment: &Moment) {
    let log = RedbLog::open(folder).unwrap();
    let size = log.head().await.unwrap().size;
    assert!(size >= moment.batches as u64, "{size} batches are left");
    let oldest = log.oldest().await.unwrap();
    assert!(oldest >= moment.oldest, "what was forgotten came back");
    for entry in log.read(oldest, usize::MAX).await.unwrap() {
        let given = &story.batches[usize::try_from(entry.index).unwrap()];
        assert_eq!((entry.batch.hash(), entry.received), (given.batch.hash(), given.received));
    }
    let refusals = log.refusal_range().await.unwrap();
    assert!(refusals.end >= moment.refusals && refusals.start >= moment.oldest_refusal);
    for (refusal, n) in log.refusals(refusals.start, 99).await.unwrap().iter().zip(refusals.start..)
    {
        assert_eq!(*refusal, refused(n));
    }
    for n in 0..moment.seals {
        assert_eq!(log.sealed(EpochId::new(n)).await.unwrap(), Some(record(n)));
    }
    assert_eq!(log.append(new(1000, 300)).await.unwrap(), Append::Stored(size));
    assert_eq!(log.read(size, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_power_cut_after_every_flush() {
    let (story, mut disk) = told().await;
    let tape = tape::take(story.folder.path());
    let (mut cuts, mut next) = (0_u64, 0);
    for done in 0..=tape.len() {
        let doing = tape.get(done);
        while story.moments.get(next + 1).is_some_and(|moment| moment.done <= done) {
            next += 1;
        }
        let moment = &story.moments[next];
        // Between flushes nothing more becomes certain, but some of it may be on the disk.
        let is_certain = moment.done == done || matches!(doing, Some((_, Op::Sync)));
        let all = is_certain.then_some(Loss::All);
        let some = (done % 3 == 0).then_some(Loss::Some(done as u64));
        for loss in all.into_iter().chain(some) {
            let left = tempfile::tempdir().unwrap();
            disk.leave(left.path(), loss);
            println!("{loss:?} after {done} of {}, of {moment:?}", tape.len());
            holds(left.path(), &story, moment).await;
            cuts += 1;
        }
        if let Some((path, op)) = doing {
            disk.apply(path, op);
        }
    }
    println!("{cuts} power cuts");
}
