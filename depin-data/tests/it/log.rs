//! Both logs run the suite; the file survives reopening and refuses what is not a log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use depin_core::{
    ErrorKind, Sequence,
    log::{Append, BatchLog, ChainTip, NewBatch},
};
use depin_data::log::{MemoryLog, RedbLog};
use depin_testkit::log::{conforms, survives_reopening};
use sha2::{Digest, Sha256};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_log_conforms() {
    conforms(async || MemoryLog::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redb_log_conforms_in_memory() {
    conforms(async || RedbLog::open_in_memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redb_log_conforms_in_a_file_and_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conforms(async || {
        count.set(count.get() + 1);
        RedbLog::open(folder.path().join(count.get().to_string())).unwrap()
    })
    .await;
    let path = folder.path().join("reopened");
    survives_reopening(RedbLog::open(&path).unwrap(), async |log| {
        drop(log);
        RedbLog::open(&path).unwrap()
    })
    .await;
}

#[test]
fn a_file_that_is_held_elsewhere_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let first = RedbLog::open(&path).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Conflict);
    drop(first);
    RedbLog::open(&path).unwrap();
}

#[tokio::test]
async fn damage_is_a_typed_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut device = crate::support::Device::new("a", depin_core::Algorithm::EdDsa);
    let net = crate::support::Net::over(Arc::new(RedbLog::open(&path).unwrap()));
    net.registry.add(&device);
    for _ in 0..200 {
        net.taken(&device.measure()).await;
    }
    let all = net.ingest.log().read(0, 1000).await.unwrap();
    assert_eq!(all.len(), 200);
    drop(net);
    let mut found = 0;
    for file in files(&path) {
        let good = std::fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(good.len() / 40) {
            let mut bad = good.clone();
            bad[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x5a);
            std::fs::write(&file, &bad).unwrap();
            let read = match RedbLog::open(&path) {
                Ok(log) => log.read(0, 1000).await,
                Err(error) => Err(error),
            };
            match read {
                // The damage lies where nothing is kept that is not kept twice.
                Ok(entries) => assert!(entries == all, "byte {at} of {}", file.display()),
                Err(error) => {
                    found += 1;
                    let typed =
                        [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Unavailable];
                    assert!(typed.contains(&error.kind()), "{error:?}");
                }
            }
            std::fs::write(&file, &good).unwrap();
        }
    }
    assert!(found > 20, "only {found} damages were found");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn batches_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = files(folder);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "batches"));
    files
}

/// What is in a file of batches before the zeros that await the next.
fn frames_in(file: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

/// A log as it is on the disk when the machine dies now: only batches are flushed one by one.
fn crashed(folder: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for file in files(folder) {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// A log of five batches that has not been closed, the batches, and where each commit ends in its file.
async fn five(path: &Path) -> (RedbLog, Vec<NewBatch>, Vec<u64>) {
    let log = RedbLog::open(path).unwrap();
    let (mut all, mut ends) = (Vec::<NewBatch>::new(), Vec::new());
    for sequence in 0..5 {
        let new = NewBatch {
            device: "did:example:a".parse().unwrap(),
            sequence: Sequence::new(sequence),
            previous: all.last().map_or(depin_core::B256::ZERO, |new| new.batch.hash()),
            covers: None,
            received: crate::support::NOW,
            batch: depin_core::SignedBatch::new(vec![sequence as u8 + 1; 9]),
        };
        assert!(matches!(log.append(new.clone()).await.unwrap(), Append::Stored(_)));
        all.push(new);
        ends.push(frames_in(&batches_in(path)[0]).len() as u64);
    }
    (log, all, ends)
}

/// The batch that continues the chain after `last`.
fn after(last: &NewBatch) -> NewBatch {
    NewBatch {
        sequence: last.sequence.next().unwrap(),
        previous: last.batch.hash(),
        batch: depin_core::SignedBatch::new(b"next".as_slice()),
        ..last.clone()
    }
}

#[tokio::test]
async fn whatever_a_power_cut_leaves_of_the_last_commit_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let (log, all, ends) = five(&path).await;
    let bytes = frames_in(&batches_in(&path)[0]);
    let (start, end) = (ends[3] as usize, ends[4] as usize);
    assert_eq!(end, bytes.len());
    let root = log.root(4).await.unwrap();
    for at in start..=end {
        let cut = bytes[..at].to_vec();
        let mut garbled = bytes.clone();
        garbled[at.min(end - 1)] ^= 0x41;
        let mut zeroed = bytes.clone();
        zeroed[at..].fill(0);
        for left in [cut, garbled, zeroed].into_iter().take(if at % 8 == 0 { 3 } else { 2 }) {
            let whole = left == bytes;
            crashed(&path, &copy);
            std::fs::write(&batches_in(&copy)[0], left).unwrap();
            let log = RedbLog::open(&copy).unwrap();
            let size = 4 + u64::from(whole);
            assert_eq!(log.head().await.unwrap().size, size, "byte {at}");
            assert_eq!(log.root(4).await.unwrap(), root);
            if !whole && at % 16 == 0 {
                assert_eq!(log.append(all[4].clone()).await.unwrap(), Append::Stored(4));
                drop(log);
                let log = RedbLog::open(&copy).unwrap();
                assert_eq!(log.read(0, 9).await.unwrap().len(), 5);
            }
        }
    }
}

/// Batches of these sizes, one commit each: large ones are written past the page cache, small ones between them.
const SIZES: [usize; 8] = [200_000, 9, 131_100, 700_001, 3_000, 4096 * 40, 9, 300_000];

#[tokio::test]
async fn whatever_a_power_cut_leaves_of_a_large_commit_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let log = RedbLog::open(&path).unwrap();
    let (mut all, mut ends) = (Vec::<NewBatch>::new(), Vec::new());
    for (sequence, size) in SIZES.into_iter().enumerate() {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 31 + sequence) as u8 | 1).collect();
        let first = NewBatch {
            device: "did:example:a".parse().unwrap(),
            sequence: Sequence::new(0),
            previous: depin_core::B256::ZERO,
            covers: None,
            received: crate::support::NOW,
            batch: depin_core::SignedBatch::new(bytes.clone()),
        };
        let batch = depin_core::SignedBatch::new(bytes);
        let new = all.last().map_or(first, |last| NewBatch { batch, ..after(last) });
        assert_eq!(log.append(new.clone()).await.unwrap(), Append::Stored(sequence as u64));
        all.push(new);
        ends.push(frames_in(&batches_in(&path)[0]).len());
    }
    let bytes = frames_in(&batches_in(&path)[0]);
    let (start, end) = (ends[6], ends[7]);
    assert_eq!(end, bytes.len());
    let block = |n: usize| start.next_multiple_of(4096) + n * 4096;
    for at in [start, start + 1, start + 30, block(0), block(1) + 1, block(60), end - 1, end] {
        let cut = bytes[..at].to_vec();
        let mut zeroed = bytes.clone();
        zeroed[at..].fill(0);
        // Blocks reach the disk in any order.
        let mut holed = bytes.clone();
        holed[at..].iter_mut().take(4096).for_each(|byte| *byte = 0);
        for left in [cut, zeroed, holed] {
            let whole = left == bytes;
            crashed(&path, &copy);
            std::fs::write(&batches_in(&copy)[0], left).unwrap();
            let log = RedbLog::open(&copy).unwrap();
            assert_eq!(log.head().await.unwrap().size, 7 + u64::from(whole), "byte {at}");
            if !whole {
                assert_eq!(log.append(all[7].clone()).await.unwrap(), Append::Stored(7));
            }
            drop(log);
            let log = RedbLog::open(&copy).unwrap();
            let read = log.read(0, 9).await.unwrap();
            assert!(read.iter().map(|entry| &entry.batch).eq(all.iter().map(|new| &new.batch)));
        }
    }
}

#[tokio::test]
async fn damage_before_the_last_commit_is_not_taken_for_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let (_log, _, ends) = five(&path).await;
    let bytes = frames_in(&batches_in(&path)[0]);
    for at in (0..ends[3] as usize).step_by(7) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        crashed(&path, &copy);
        std::fs::write(&batches_in(&copy)[0], bad).unwrap();
        assert_eq!(RedbLog::open(&copy).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
    }
}

/// The header of a frame without records, as whoever knows all but a log's key would make it.
fn forged_header() -> [u8; 28] {
    let mut header = [0; 28];
    header[..4].copy_from_slice(b"\xffdpl");
    header[8..16].copy_from_slice(&6_u64.to_be_bytes());
    let mark = Sha256::new().chain_update([0; 16]).chain_update(&header[..20]).finalize();
    header[20..].copy_from_slice(&mark[..8]);
    header
}

/// A gap marker after the five batches that holds frames wherever its device chooses the bytes.
async fn gap_with_frames(last: &NewBatch, folder: &Path) -> NewBatch {
    let (log, _, ends) = five(folder).await;
    let mut bytes = std::fs::read(&batches_in(folder)[0]).unwrap();
    bytes.truncate(ends[4] as usize);
    bytes.extend(forged_header());
    drop(log);
    let mut hash = [0; 32];
    hash[..28].copy_from_slice(&forged_header());
    NewBatch {
        sequence: Sequence::new(5),
        previous: last.batch.hash(),
        covers: Some(ChainTip { sequence: Sequence::new(7), hash: hash.into() }),
        batch: depin_core::SignedBatch::new(bytes),
        ..last.clone()
    }
}

#[tokio::test]
async fn frames_that_a_device_puts_into_a_torn_commit_do_not_keep_the_log_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let (log, all, ends) = five(&path).await;
    let gap = gap_with_frames(&all[4], &folder.path().join("other")).await;
    assert_eq!(log.append(gap.clone()).await.unwrap(), Append::Stored(5));
    let bytes = frames_in(&batches_in(&path)[0]);
    let torn_at = |at: usize| [&bytes[..at], &[0; 40]].concat();
    let mut headless = bytes.clone();
    headless[ends[4] as usize] ^= 1;
    let end = bytes.len();
    let tails = [headless, bytes[..end - 1].to_vec(), torn_at(end - 9)];
    for tail in tails {
        crashed(&path, &copy);
        std::fs::write(&batches_in(&copy)[0], tail).unwrap();
        let log = RedbLog::open(&copy).unwrap();
        assert_eq!(log.head().await.unwrap().size, 5);
        assert_eq!(log.append(gap.clone()).await.unwrap(), Append::Stored(5));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_deleted_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, all, _) = five(&path).await;
    let file = batches_in(&path).remove(0);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    log.forget(5).await.unwrap();
    assert_eq!(log.append(after(&all[4])).await.unwrap(), Append::Stored(5));
    drop(log);
    let log = RedbLog::open(&path).unwrap();
    assert_eq!(log.read(5, 9).await.unwrap().len(), 1);
    drop(log);
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, b"to be deleted again").unwrap();
    drop(RedbLog::open(&path).unwrap());
    assert!(!file.exists(), "the next start deletes it");
}

#[tokio::test]
async fn a_reader_that_fails_does_not_disturb_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, all, _) = five(&path).await;
    let (file, aside) = (batches_in(&path).remove(0), folder.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(log.read(0, 9).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(log.append(after(&all[4])).await.unwrap(), Append::Stored(5));
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(log.read(0, 9).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_log_may_lie_in_folders_that_are_not_there_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/down/log");
    drop(five(&path).await);
    assert_eq!(RedbLog::open(&path).unwrap().head().await.unwrap().size, 5);
}

#[tokio::test]
async fn what_a_closed_log_has_lost_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, _, ends) = five(&path).await;
    drop(log);
    let file = &batches_in(&path)[0];
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(ends[3]).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(file).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn forgetting_returns_the_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (log, all, _) = five(&path).await;
    log.forget(3).await.unwrap();
    assert_eq!(batches_in(&path).len(), 1, "a file that is still needed stays");
    log.forget(5).await.unwrap();
    assert_eq!(batches_in(&path), Vec::<PathBuf>::new());
    drop(log);
    let log = RedbLog::open(&path).unwrap();
    assert_eq!((log.head().await.unwrap().size, log.oldest().await.unwrap()), (5, 5));
    assert_eq!(log.append(after(&all[4])).await.unwrap(), Append::Stored(5));
    crashed(&path, &folder.path().join("copy"));
    let log = RedbLog::open(folder.path().join("copy")).unwrap();
    assert_eq!(log.read(5, 9).await.unwrap()[0].batch.as_bytes(), b"next");
}

#[test]
fn a_log_of_the_earlier_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    std::fs::write(&path, b"redb").unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, b"this is a text and no database, whatever its name may say").unwrap();
    assert!(RedbLog::open(&path).is_err());
}

#[test]
fn half_a_file_of_a_killed_process_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::create_dir(&path).unwrap();
    let index = path.join("index.redb");
    let half = path.join(format!("index.redb.{}.new", std::process::id()));
    std::fs::write(&half, [0; 4096]).unwrap();
    drop(RedbLog::open(&path).unwrap());
    assert!(index.exists() && !half.exists());
    // An index that lost its beginning is damaged, not new.
    let mut bytes = std::fs::read(&index).unwrap();
    bytes[..64].fill(0);
    std::fs::write(&index, &bytes).unwrap();
    assert!(RedbLog::open(&path).is_err());
    assert_eq!(std::fs::read(&index).unwrap(), bytes);
}
