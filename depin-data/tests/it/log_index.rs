//! The index of a log lags behind its batches, is lost, restored or another's: nothing is told that is not so.

use std::{collections::BTreeMap, fs, path::Path};

use depin_core::{
    B256, Bytes, Did, EpochId, ErrorKind, Sequence, SignedBatch, Timestamp,
    log::{Append, BatchLog, ChainTip, NewBatch},
};
use depin_data::log::{MemoryLog, RedbLog};
use proptest::prelude::*;

/// Devices that append one after the other.
#[derive(Default)]
struct Fleet {
    tips: BTreeMap<u64, (u64, B256)>,
    count: u64,
}

impl Fleet {
    /// The next batch of a device, or a marker that gives up some of its batches.
    fn next(&mut self, device: u64, gives_up: Option<u64>) -> NewBatch {
        let (sequence, previous) = self.tips.get(&device).copied().unwrap_or_default();
        self.count += 1;
        let batch = SignedBatch::new(format!("batch {} of {device}", self.count).into_bytes());
        let covers = gives_up.map(|more| ChainTip {
            sequence: Sequence::new(sequence + more),
            hash: SignedBatch::new(vec![more as u8; 5]).hash(),
        });
        let own = ChainTip { sequence: Sequence::new(sequence), hash: batch.hash() };
        let end = covers.unwrap_or(own);
        self.tips.insert(device, (end.sequence.value() + 1, end.hash));
        NewBatch {
            device: did(device),
            sequence: Sequence::new(sequence),
            previous,
            covers,
            received: Timestamp::from_secs(self.count),
            batch,
        }
    }

    async fn append(&mut self, log: &RedbLog, count: u64) -> Vec<NewBatch> {
        let mut all = Vec::new();
        for _ in 0..count {
            let new = self.next(self.count % 5, None);
            assert!(matches!(log.append(new.clone()).await.unwrap(), Append::Stored(_)));
            all.push(new);
        }
        all
    }
}

fn did(device: u64) -> Did {
    Did::parse(&format!("did:example:d{device}")).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn batches_of(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| path.extension().map(|e| (e == "batches", path.clone()))).unwrap()
}

/// Everything that can be asked of two logs has the same answers.
async fn same(ours: &dyn BatchLog, theirs: &dyn BatchLog, devices: u64) {
    let size = theirs.head().await.unwrap().size;
    assert_eq!(ours.head().await.unwrap(), theirs.head().await.unwrap());
    let oldest = theirs.oldest().await.unwrap();
    assert_eq!(ours.oldest().await.unwrap(), oldest);
    let step = (size / 16).max(3);
    let sizes: Vec<_> = (0..=size).filter(|n| n % step == 0 || n + 3 > size).collect();
    for some in sizes.iter().copied() {
        assert_eq!(ours.root(some).await.unwrap(), theirs.root(some).await.unwrap());
        for index in sizes.iter().copied().filter(|index| *index < some) {
            let path = theirs.inclusion(index, some).await.unwrap();
            assert_eq!(ours.inclusion(index, some).await.unwrap(), path);
            let path = theirs.consistency(index, some).await.unwrap();
            assert_eq!(ours.consistency(index, some).await.unwrap(), path);
        }
        for (from, limit) in [(some, 3), (some, usize::MAX), (oldest, some as usize)] {
            let kind = |e: depin_core::Error| e.kind();
            let read = theirs.read(from, limit).await.map_err(kind);
            assert_eq!(ours.read(from, limit).await.map_err(kind), read);
        }
    }
    for device in (0..devices).map(did) {
        assert_eq!(ours.tip(&device).await.unwrap(), theirs.tip(&device).await.unwrap());
        for from in (0..40).step_by(3).map(Sequence::new) {
            let link = theirs.find(&device, from).await.unwrap();
            assert_eq!(ours.find(&device, from).await.unwrap(), link);
            for limit in [1, 4, usize::MAX] {
                let kind = |e: depin_core::Error| e.kind();
                let chain = theirs.chain(&device, from, limit).await.map_err(kind);
                assert_eq!(ours.chain(&device, from, limit).await.map_err(kind), chain);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64, u8),
    GiveUp(u64, u64),
    Again(u64),
    /// Lets the index learn all, too.
    Forget(u64),
    Reopen,
    /// The process dies, and a copy goes on.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4u64, 1..90u8).prop_map(|(device, count)| Step::Append(device, count)),
        1 => (0..4u64, 0..5u64).prop_map(|(device, more)| Step::GiveUp(device, more)),
        1 => any::<u64>().prop_map(Step::Again),
        3 => any::<u64>().prop_map(Step::Forget),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_index_has_learned_the_log_is_the_same(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follows_memory(steps));
    }
}

async fn follows_memory(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().join("log");
    let (mut log, memory) = (RedbLog::open(&path).unwrap(), MemoryLog::new());
    let (mut fleet, mut all) = (Fleet::default(), Vec::new());
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(device, count) => {
                all.extend((0..count).map(|_| fleet.next(device, None)));
                let new = all.iter().rev().take(count.into()).rev();
                for new in new {
                    let stored = memory.append(new.clone()).await.unwrap();
                    assert_eq!(log.append(new.clone()).await.unwrap(), stored);
                }
            }
            Step::GiveUp(device, more) => {
                let gap = fleet.next(device, Some(more));
                let stored = memory.append(gap.clone()).await.unwrap();
                assert_eq!(log.append(gap.clone()).await.unwrap(), stored);
                all.push(gap);
            }
            Step::Again(which) => {
                let Some(new) = all.get((which % (all.len().max(1) as u64)) as usize) else {
                    continue;
                };
                let there = memory.append(new.clone()).await.unwrap();
                assert!(matches!(there, Append::Duplicate(_)));
                assert_eq!(log.append(new.clone()).await.unwrap(), there);
            }
            Step::Forget(some) => {
                let before = some % (all.len() as u64 + 1);
                memory.forget(before).await.unwrap();
                log.forget(before).await.unwrap();
            }
            Step::Reopen => {
                drop(log);
                log = RedbLog::open(&path).unwrap();
            }
            Step::Crash => {
                let next = folder.path().join(n.to_string());
                copy(&path, &next);
                path = next;
                log = RedbLog::open(&path).unwrap();
            }
        }
    }
    same(&log, &memory, 5).await;
}

#[tokio::test]
async fn a_commit_torn_at_any_byte_is_told_when_the_index_knows_some_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("log"), folder.path().join("copy"));
    let mut fleet = Fleet::default();
    let log = RedbLog::open(&path).unwrap();
    fleet.append(&log, 7).await;
    drop(log);
    let log = RedbLog::open(&path).unwrap();
    fleet.append(&log, 3).await;
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let before = end(&fs::read(batches_of(&path)).unwrap());
    let last = fleet.append(&log, 1).await.remove(0);
    let bytes = fs::read(batches_of(&path)).unwrap();
    let after = end(&bytes);
    let root = log.root(10).await.unwrap();
    for at in before..after {
        for left in [bytes[..at].to_vec(), [&bytes[..at], &[0; 4096]].concat()] {
            copy(&path, &other);
            fs::write(batches_of(&other), left).unwrap();
            let torn = RedbLog::open(&other).unwrap();
            let head = torn.head().await.unwrap();
            assert_eq!((head.size, head.root), (10, root), "byte {at}");
            if at % 16 == 0 {
                assert_eq!(torn.append(last.clone()).await.unwrap(), Append::Stored(10));
                assert_eq!(torn.read(0, 99).await.unwrap(), log.read(0, 99).await.unwrap());
            }
        }
    }
}

#[tokio::test]
async fn an_index_from_a_backup_learns_what_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("log"), folder.path().join("backup"));
    let (mut fleet, memory) = (Fleet::default(), MemoryLog::new());
    let log = RedbLog::open(&path).unwrap();
    let mut all = fleet.append(&log, 300).await;
    drop(log);
    copy(&path, &backup);
    let log = RedbLog::open(&path).unwrap();
    all.extend(fleet.append(&log, 700).await);
    drop(log);
    for new in all {
        memory.append(new).await.unwrap();
    }
    fs::copy(backup.join("index.redb"), path.join("index.redb")).unwrap();
    let log = RedbLog::open(&path).unwrap();
    same(&log, &memory, 5).await;
    // What the backup does not know may have been forgotten since.
    log.forget(1000).await.unwrap();
    fleet.append(&log, 3).await;
    drop(log);
    fs::copy(backup.join("index.redb"), path.join("index.redb")).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_lost_index_is_missed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = RedbLog::open(&path).unwrap();
    Fleet::default().append(&log, 3).await;
    drop(log);
    fs::remove_file(path.join("index.redb")).unwrap();
    let error = RedbLog::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("index.redb"), "{error}");
    assert!(!path.join("index.redb").exists(), "no empty index takes its place");
}

#[tokio::test]
async fn batches_from_a_backup_are_missed_by_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("log"), folder.path().join("backup"));
    let mut fleet = Fleet::default();
    let log = RedbLog::open(&path).unwrap();
    fleet.append(&log, 20).await;
    // As it lies there while the log is open, with room for more.
    copy(&path, &backup);
    fleet.append(&log, 20).await;
    drop(log);
    let file = batches_of(&path);
    fs::copy(backup.join(file.file_name().unwrap()), &file).unwrap();
    assert!(fs::metadata(&file).unwrap().len() > 100_000, "longer than the index remembers");
    let error = RedbLog::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = format!("{error:?}");
    assert!(text.contains("0000000000000000.batches") && text.contains("offset"), "{text}");
    fs::remove_file(&file).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_index_of_another_log_touches_no_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("log"), folder.path().join("other"));
    for (path, count) in [(&path, 9), (&other, 0)] {
        let log = RedbLog::open(path).unwrap();
        Fleet::default().append(&log, count).await;
    }
    let bytes = fs::read(batches_of(&path)).unwrap();
    for count in [0, 9] {
        let log = RedbLog::open(&other).unwrap();
        Fleet::default().append(&log, count).await;
        drop(log);
        fs::copy(other.join("index.redb"), path.join("index.redb")).unwrap();
        assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(batches_of(&path)).unwrap(), bytes);
    }
}

#[tokio::test]
async fn refusals_and_epochs_outlive_a_crash_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("log"), folder.path().join("copy"));
    let log = RedbLog::open(&path).unwrap();
    Fleet::default().append(&log, 3).await;
    let record = Bytes::from_static(b"record");
    log.seal(EpochId::new(4), record.clone()).await.unwrap();
    copy(&path, &other);
    let crashed = RedbLog::open(&other).unwrap();
    assert_eq!(crashed.sealed(EpochId::new(4)).await.unwrap(), Some(record));
    assert_eq!(crashed.head().await.unwrap(), log.head().await.unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_one_batch_is_no_error_of_the_others() {
    let log = RedbLog::open_in_memory().unwrap();
    let mut fleet = Fleet::default();
    let first = fleet.next(0, None);
    log.append(first).await.unwrap();
    let good = fleet.next(0, None);
    let backwards = NewBatch {
        covers: Some(ChainTip { sequence: Sequence::new(0), hash: B256::ZERO }),
        sequence: Sequence::new(1),
        ..fleet.next(1, None)
    };
    let (bad, good) = tokio::join!(log.append(backwards), log.append(good));
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(good.unwrap(), Append::Stored(1));
}

#[tokio::test]
async fn batches_lost_after_they_were_sealed_are_missed_by_the_name_of_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, crashed) = (folder.path().join("log"), folder.path().join("copy"));
    let log = RedbLog::open(&path).unwrap();
    let mut fleet = Fleet::default();
    fleet.append(&log, 3).await;
    let short = fs::read(batches_of(&path)).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    fleet.append(&log, 4).await;
    log.seal(EpochId::new(0), Bytes::from_static(b"record over seven")).await.unwrap();
    let end = fs::read(batches_of(&path)).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    // A whole frame, a byte of the last one, or all of it, gone or as zeros.
    for length in [0, short + 1, end] {
        for zeros in [false, true] {
            copy(&path, &crashed);
            let file = fs::OpenOptions::new().write(true).open(batches_of(&crashed)).unwrap();
            file.set_len(length as u64).unwrap();
            if zeros {
                file.set_len(1 << 20).unwrap();
            }
            drop(file);
            let error = RedbLog::open(&crashed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error:?}");
            assert!(format!("{error:?}").contains("0000000000000000.batches"), "{error:?}");
        }
    }
    copy(&path, &crashed);
    assert_eq!(RedbLog::open(&crashed).unwrap().head().await.unwrap().size, 7);
}
