//! Conformance of [`BatchLog`].
//!
//! The suite computes RFC 9162 roots by itself, straight from the recursive definition, so that a log is
//! not compared with its own arithmetic. Logs do not look into batches: any bytes will do here.

use std::{future::poll_fn, sync::Arc, task::Poll};

use depin_core::{
    B256, Bytes, Did, EpochId, ErrorKind, Result, Sequence, SignedBatch, Timestamp,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch},
    transport::{Refusal, RefusalCode},
};
use sha2::{Digest, Sha256};

/// Runs every clause of the contract that shows from outside; `open` makes an empty log each time.
///
/// Clause 8 and the power loss of clause 1 need a disk that fails; whoever writes a durable log tests
/// them with its own means. See [`survives_reopening`].
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms<L: BatchLog + 'static>(open: impl AsyncFn() -> L) {
    chains_continue_repeat_fork_or_gap(&open().await).await;
    markers_close_gaps_and_nothing_else(&open().await).await;
    a_marker_may_begin_before_the_tip(&open().await).await;
    chains_may_end_at_the_end_of_numbers(&open().await).await;
    indices_are_dense_under_concurrent_appends(Arc::new(open().await)).await;
    one_of_two_rivals_wins(Arc::new(open().await)).await;
    links_under_way_are_judged_in_their_order(&open().await).await;
    the_latest_tip_comes_behind_appends_that_nobody_waits_for(&open().await).await;
    every_past_size_has_its_root_and_paths(&open().await).await;
    growth_wakes_who_waits(Arc::new(open().await)).await;
    refusals_keep_their_order(&open().await).await;
    forgotten_refusals_leave_their_positions(&open().await).await;
    epochs_are_sealed_once(&open().await).await;
    chains_are_read_device_by_device(&open().await).await;
    forgotten_bytes_leave_every_proof(&open().await).await;
}

/// Clauses 1, 2, 6, 7, 11 and 15 across a restart: what `first` has stored, `reopen` finds.
///
/// # Panics
/// When something acknowledged is gone.
pub async fn survives_reopening<L: BatchLog>(first: L, reopen: impl AsyncFnOnce(L) -> L) {
    let device = did("reopened");
    let mut previous = B256::ZERO;
    for sequence in 0..20 {
        let new = batch(&device, sequence, previous);
        previous = new.batch.hash();
        stored(&first, new).await;
    }
    first.forget(4).await.expect("clause 11: forgets");
    let end = ChainTip { sequence: Sequence::new(29), hash: B256::repeat_byte(29) };
    let gap = marker(&device, 20, previous, end);
    stored(&first, gap.clone()).await;
    first.refuse(refused(0)).await.expect("clause 6: refusals are taken");
    first.refuse(refused(1)).await.expect("clause 6: refusals are taken");
    first.forget_refusals(1).await.expect("clause 15: forgets");
    first.seal(EpochId::new(3), b"record".as_slice().into()).await.expect("clause 7: sealed");
    let (head, entries) =
        (first.head().await.expect("head"), first.read(4, 100).await.expect("read"));
    let log = reopen(first).await;
    assert_eq!(log.head().await.expect("head"), head, "clause 1: stored batches survive");
    assert_eq!(log.read(4, 100).await.expect("read"), entries, "clause 2: unchanged");
    assert_eq!(log.oldest().await.expect("oldest"), 4, "clause 11: forgotten for good");
    assert_eq!(log.refusals(1, 10).await.expect("refusals"), [refused(1)], "clause 6: durable");
    assert_eq!(log.refusal_range().await.expect("range"), 1..2, "clause 15: forgotten for good");
    let sealed = log.sealed(EpochId::new(3)).await.expect("sealed");
    assert_eq!(sealed, Some(b"record".as_slice().into()), "clause 7: for good");
    assert_eq!(stored_tip(&log, &device).await, end, "clause 1: the whole chain");
    let again = log.append(gap).await.expect("appends do not fail");
    assert_eq!(again, Append::Duplicate(20), "clause 4: also after a restart");
    assert_eq!(stored(&log, batch(&device, 30, end.hash)).await, 21, "clause 2: indices go on");
}

async fn chains_continue_repeat_fork_or_gap(log: &dyn BatchLog) {
    let device = did("a");
    let append = async |new| log.append(new).await.expect("appends do not fail");
    assert_eq!(log.tip(&device).await.expect("tip"), None, "an unknown device has no chain");
    let early = append(batch(&device, 2, B256::ZERO)).await;
    assert_eq!(early, Append::Gap(Sequence::new(0)), "clause 3: a chain starts at 0");
    let orphan = append(batch(&device, 0, B256::repeat_byte(1))).await;
    assert_eq!(orphan, Append::Fork(B256::ZERO), "clause 3: the first has no predecessor");

    let first = batch(&device, 0, B256::ZERO);
    let hash = first.batch.hash();
    assert_eq!(append(first.clone()).await, Append::Stored(0), "clause 2: from 0");
    let second = batch(&device, 1, hash);
    assert_eq!(append(second.clone()).await, Append::Stored(1), "clause 2: dense");
    for (new, index) in [(first, 0), (second, 1)] {
        assert_eq!(append(new).await, Append::Duplicate(index), "clause 4: the first index");
    }
    let rival =
        NewBatch { batch: SignedBatch::new(b"rival".as_slice()), ..batch(&device, 0, B256::ZERO) };
    assert_eq!(append(rival).await, Append::Fork(hash), "clause 3: a taken place");
    let stray = append(batch(&device, 2, hash)).await;
    let tip = log.tip(&device).await.expect("tip").expect("a chain");
    let latest = log.latest_tip(&device).await.expect("tip");
    assert_eq!(latest, Some(tip), "clause 16: all that was stored counts");
    assert_eq!(stray, Append::Fork(tip.hash), "clause 3: a wrong predecessor");
    let ahead = append(batch(&device, 5, tip.hash)).await;
    assert_eq!(ahead, Append::Gap(Sequence::new(2)), "clause 3: a gap names what is missing");
    assert_eq!(log.head().await.expect("head").size, 2, "clause 4: nothing new is stored");
    let find = async |n| log.find(&device, Sequence::new(n)).await.expect("find");
    assert_eq!(find(0).await, Some((0, hash)), "what a position holds");
    assert_eq!(find(1).await, Some((1, tip.hash)), "what the last position holds");
    assert_eq!(find(2).await, None, "nothing past the tip");
    assert_eq!(log.find(&did("b"), Sequence::new(0)).await.expect("find"), None, "no such chain");
}

async fn markers_close_gaps_and_nothing_else(log: &dyn BatchLog) {
    let device = did("gaps");
    let append = async |new| log.append(new).await.expect("appends do not fail");
    let first = batch(&device, 0, B256::ZERO);
    let held = first.batch.hash();
    stored(log, first.clone()).await;
    let end = |sequence, byte| ChainTip {
        sequence: Sequence::new(sequence),
        hash: B256::repeat_byte(byte),
    };

    let early = append(marker(&device, 2, held, end(3, 3))).await;
    assert_eq!(early, Append::Gap(Sequence::new(1)), "clause 13: nothing may be missing before it");
    let stray = append(marker(&device, 1, B256::repeat_byte(9), end(4, 4))).await;
    assert_eq!(stray, Append::Fork(held), "clause 13: a wrong predecessor");
    let twisted = NewBatch { covers: Some(end(0, 0)), ..marker(&device, 1, held, end(4, 4)) };
    let error =
        log.append(twisted).await.expect_err("clause 13: a gap does not end before it begins");
    assert_eq!(error.kind(), ErrorKind::Malformed, "clause 13: which is malformed");

    let gap = marker(&device, 1, held, end(4, 4));
    assert_eq!(append(gap.clone()).await, Append::Stored(1), "clause 13: a marker is stored");
    assert_eq!(log.tip(&device).await.expect("tip"), Some(end(4, 4)), "clause 13: the tip moves");
    assert_eq!(append(gap.clone()).await, Append::Duplicate(1), "clause 4: also for markers");
    assert_eq!(append(first).await, Append::Duplicate(0), "clause 4: also before a gap");

    let swallowed = append(batch(&device, 2, B256::repeat_byte(1))).await;
    assert_eq!(swallowed, Append::Superseded(end(4, 4)), "clause 13: given up and late");
    let rival = append(batch(&device, 4, B256::repeat_byte(3))).await;
    assert_eq!(rival, Append::Fork(end(4, 4).hash), "clause 3: another batch at the end of a gap");
    let needless = append(marker(&device, 1, held, end(3, 3))).await;
    assert_eq!(needless, Append::Superseded(end(4, 4)), "clause 13: nothing new is given up");
    let other = append(marker(&device, 1, held, end(4, 5))).await;
    assert_eq!(other, Append::Fork(end(4, 4).hash), "clause 13: a hash that the log knows");

    let next = stored(log, batch(&device, 5, end(4, 4).hash)).await;
    assert_eq!(next, 2, "clause 13: the chain goes on after the gap");
    let find = async |n| log.find(&device, Sequence::new(n)).await.expect("find");
    for position in 1..=4 {
        assert_eq!(
            find(position).await,
            Some((1, gap.batch.hash())),
            "the marker holds {position}"
        );
    }
    assert_eq!(find(5).await.map(|(index, _)| index), Some(2), "what comes after the gap");
    let second = append(marker(&device, 6, stored_tip(log, &device).await.hash, end(6, 6))).await;
    assert_eq!(second, Append::Stored(3), "clause 13: a gap of one");
    assert_eq!(log.head().await.expect("head").size, 4, "clause 4: nothing else is stored");

    let links: Vec<_> = log.read(0, 9).await.expect("read");
    for (from, skipped) in [(0, 0), (1, 1), (3, 1), (4, 1), (5, 2), (6, 3)] {
        let chain = log.chain(&device, Sequence::new(from), 9).await.expect("chain");
        assert_eq!(
            chain,
            links[skipped..],
            "clause 10: from {from} on, with the gap that holds it"
        );
    }
    log.forget(4).await.expect("clause 11: forgets");
    assert_eq!(append(gap).await, Append::Duplicate(1), "clause 11: a forgotten marker is known");
}

async fn a_marker_may_begin_before_the_tip(log: &dyn BatchLog) {
    let device = did("overlaps");
    let append = async |new| log.append(new).await.expect("appends do not fail");
    let (mut previous, mut hashes) = (B256::ZERO, Vec::new());
    for sequence in 0..4 {
        let new = batch(&device, sequence, previous);
        previous = new.batch.hash();
        hashes.push(previous);
        stored(log, new).await;
    }
    let tip = stored_tip(log, &device).await;
    let end = ChainTip { sequence: Sequence::new(7), hash: B256::repeat_byte(7) };
    let stray = append(marker(&device, 2, B256::repeat_byte(1), end)).await;
    assert_eq!(stray, Append::Fork(hashes[1]), "clause 13: the log knows what was before the gap");
    let stray = append(marker(&device, 0, B256::repeat_byte(1), end)).await;
    assert_eq!(stray, Append::Fork(B256::ZERO), "clause 13: nothing was before the first");
    for (first, before) in [(0, B256::ZERO), (2, hashes[1])] {
        let needless = append(marker(&device, first, before, tip)).await;
        assert_eq!(needless, Append::Superseded(tip), "clause 13: up to the tip is needless");
    }
    let other = ChainTip { hash: B256::repeat_byte(1), ..tip };
    let stray = append(marker(&device, 2, hashes[1], other)).await;
    assert_eq!(stray, Append::Fork(tip.hash), "clause 13: the log knows where the gap ends");

    // The receipts of 2 and 3 were lost on the way, and so the device gave them up.
    assert_eq!(append(marker(&device, 2, hashes[1], end)).await, Append::Stored(4), "clause 13");
    assert_eq!(stored_tip(log, &device).await, end, "clause 13: the tip moves");
    for (sequence, before) in [(2, hashes[1]), (3, hashes[2])] {
        let again = append(batch(&device, sequence, before)).await;
        assert_eq!(again, Append::Duplicate(sequence), "clause 2: what was stored stays");
    }
    assert_eq!(stored(log, batch(&device, 8, end.hash)).await, 5, "clause 13: the chain goes on");
}

async fn chains_may_end_at_the_end_of_numbers(log: &dyn BatchLog) {
    let device = did("end");
    let append = async |new| log.append(new).await.expect("appends do not fail");
    let end = ChainTip { sequence: Sequence::new(u64::MAX), hash: B256::repeat_byte(7) };
    let all = marker(&device, 0, B256::ZERO, end);
    assert_eq!(append(all.clone()).await, Append::Stored(0), "clause 13: as long as numbers go");
    assert_eq!(append(all).await, Append::Duplicate(0), "clause 4: also there");
    for sequence in [0, 1, u64::MAX - 1] {
        let late = append(batch(&device, sequence, B256::ZERO)).await;
        assert_eq!(late, Append::Superseded(end), "clause 13: given up and late");
    }
    let last = append(batch(&device, u64::MAX, B256::ZERO)).await;
    assert_eq!(last, Append::Fork(end.hash), "clause 3: another batch at the end");
    let last = append(marker(&device, u64::MAX, B256::ZERO, end)).await;
    assert_eq!(last, Append::Superseded(end), "clause 13: nothing comes after");
}

async fn indices_are_dense_under_concurrent_appends(log: Arc<dyn BatchLog>) {
    const DEVICES: usize = 16;
    const EACH: u64 = 20;
    let writers = (0..DEVICES).map(|n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let (device, mut previous) = (did(&format!("c{n}")), B256::ZERO);
            for sequence in 0..EACH {
                let new = batch(&device, sequence, previous);
                previous = new.batch.hash();
                stored(&*log, new).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("clause 3: chains grow side by side");
    }
    let entries = log.read(0, usize::MAX).await.expect("read");
    assert_eq!(entries.len() as u64, DEVICES as u64 * EACH, "clause 2: nothing lost");
    assert!(entries.iter().zip(0..).all(|(entry, index)| entry.index == index), "clause 2: dense");
    let some = log.read(7, 3).await.expect("read");
    assert_eq!(some, entries[7..10], "reading from the middle");
    let leaves: Vec<_> = entries.iter().map(|entry| entry.batch.hash()).collect();
    assert_eq!(
        log.head().await.expect("head").root,
        root(&leaves),
        "clause 5: root of what is read"
    );
}

async fn one_of_two_rivals_wins(log: Arc<dyn BatchLog>) {
    let device = did("rivals");
    let rivals = (0..8u8).map(|n| {
        let (log, new) = (Arc::clone(&log), batch(&device, 0, B256::ZERO));
        let new = NewBatch { batch: SignedBatch::new(vec![n; 40]), ..new };
        tokio::spawn(async move { log.append(new).await.expect("appends do not fail") })
    });
    let mut won = 0;
    for rival in rivals.collect::<Vec<_>>() {
        match rival.await.expect("no panic") {
            Append::Stored(0) => won += 1,
            Append::Fork(_) => {}
            other => panic!("clause 3: two batches at one place: {other:?}"),
        }
    }
    assert_eq!(won, 1, "clause 3: check and append are one step");
}

async fn links_under_way_are_judged_in_their_order(log: &dyn BatchLog) {
    const LINKS: u64 = 200;
    let (forward, backward) = (chain_of(&did("forward"), LINKS), chain_of(&did("backward"), 3));
    let answers = under_way(log, forward).await;
    for (sequence, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, Append::Stored(sequence as u64), "clause 14: link {sequence}");
    }
    let answers = under_way(log, backward.into_iter().rev().collect()).await;
    let gap = Append::Gap(Sequence::new(0));
    assert_eq!(answers, [gap, gap, Append::Stored(LINKS)], "clause 14: as they were polled");
}

async fn the_latest_tip_comes_behind_appends_that_nobody_waits_for(log: &dyn BatchLog) {
    for number in 0..40 {
        let device = did(&format!("gone-{number}"));
        let mut append = log.append(batch(&device, 0, B256::ZERO));
        drop(poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await);
        drop(append);
        let told = log.latest_tip(&device).await.expect("tip");
        // By the time that this is stored, so is whatever was handed over before.
        stored(log, batch(&did(&format!("next-{number}")), 0, B256::ZERO)).await;
        assert_eq!(log.tip(&device).await.expect("tip"), told, "clause 16: it grew afterwards");
    }
}

/// The first links of a chain.
fn chain_of(device: &Did, links: u64) -> Vec<NewBatch> {
    let mut previous = B256::ZERO;
    let next = |sequence| {
        let new = batch(device, sequence, previous);
        previous = new.batch.hash();
        new
    };
    (0..links).map(next).collect()
}

/// Begins all appends in this order before the first is answered, in one task.
async fn under_way(log: &dyn BatchLog, batches: Vec<NewBatch>) -> Vec<Append> {
    let mut appends: Vec<_> = batches.into_iter().map(|new| (log.append(new), None)).collect();
    poll_fn(|context| {
        for (append, answer) in appends.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(there) = append.as_mut().poll(context) {
                *answer = Some(there.expect("appends do not fail"));
            }
        }
        let all: Option<Vec<_>> = appends.iter().map(|(_, answer)| *answer).collect();
        all.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

async fn every_past_size_has_its_root_and_paths(log: &dyn BatchLog) {
    const SIZE: u64 = 33;
    let (device, mut previous, mut leaves) = (did("tree"), B256::ZERO, Vec::new());
    for sequence in 0..SIZE {
        let new = batch(&device, sequence, previous);
        previous = new.batch.hash();
        leaves.push(previous);
        stored(log, new).await;
    }
    for size in 0..=SIZE {
        let some = &leaves[..size as usize];
        assert_eq!(log.root(size).await.expect("root"), root(some), "clause 5: root of {size}");
        for index in 0..size {
            let path = log.inclusion(index, size).await.expect("clause 5: a path inside the tree");
            assert_eq!(
                path,
                inclusion(index as usize, some),
                "clause 5: path of {index} in {size}"
            );
        }
        for old in 0..=size {
            let path = log.consistency(old, size).await.expect("clause 9: a path inside the tree");
            let expected =
                if old == 0 { Vec::new() } else { consistency(old as usize, some, true) };
            assert_eq!(path, expected, "clause 9: path from {old} to {size}");
        }
    }
    let outside = [
        log.inclusion(4, 4).await.err(),
        log.inclusion(0, SIZE + 1).await.err(),
        log.root(SIZE + 1).await.err(),
        log.consistency(4, 3).await.err(),
        log.consistency(4, SIZE + 1).await.err(),
    ];
    for error in outside {
        let kind = error.map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::NotFound), "clauses 5 and 9: past the end");
    }
}

async fn growth_wakes_who_waits(log: Arc<dyn BatchLog>) {
    let device = did("growing");
    let wait = |size| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.grown(size).await.expect("clause 12: a log that works") })
    };
    let (first, third) = (wait(0), wait(2));
    let mut previous = B256::ZERO;
    for sequence in 0..3 {
        assert!(!third.is_finished(), "clause 12: {sequence} are not more than two");
        let new = batch(&device, sequence, previous);
        previous = new.batch.hash();
        stored(&*log, new).await;
    }
    assert!(first.await.expect("no panic") > 0, "clause 12: woken by the first");
    assert_eq!(third.await.expect("no panic"), 3, "clause 12: woken by the third");
    assert_eq!(log.grown(1).await.expect("grown"), 3, "clause 12: at once when it has more");
}

async fn refusals_keep_their_order(log: &dyn BatchLog) {
    for n in 0..10 {
        log.refuse(refused(n)).await.expect("clause 6: refusals are taken");
    }
    let all: Vec<_> = (0..10).map(refused).collect();
    assert_eq!(log.refusals(0, 100).await.expect("refusals"), all, "clause 6: as written");
    assert_eq!(log.refusals(4, 2).await.expect("refusals"), all[4..6], "clause 6: from the middle");
    assert_eq!(log.head().await.expect("head").size, 0, "clause 6: refusals are no batches");
}

async fn forgotten_refusals_leave_their_positions(log: &dyn BatchLog) {
    let range = async || log.refusal_range().await.expect("clause 15: a range");
    let kind = |result: Result<Vec<RefusedBatch>>| result.map_err(|error| error.kind());
    assert_eq!(range().await, 0..0, "clause 15: nothing is refused at first");
    for n in 0..10 {
        log.refuse(refused(n)).await.expect("clause 6: refusals are taken");
    }
    let mut all: Vec<_> = (0..10).map(refused).collect();
    let past = log.forget_refusals(11).await.expect_err("clause 15: past the end");
    assert_eq!(past.kind(), ErrorKind::NotFound, "clause 15: past the end");
    for (before, oldest) in [(0, 0), (4, 4), (2, 4), (10, 10)] {
        log.forget_refusals(before).await.expect("clause 15: forgets");
        assert_eq!(range().await, oldest..10, "clause 15: no less and no more");
        let kept = log.refusals(oldest, 100).await.expect("refusals");
        assert_eq!(kept, all[oldest as usize..], "clause 15: the rest keeps its positions");
        if let Some(gone) = oldest.checked_sub(1) {
            let read = kind(log.refusals(gone, 1).await);
            assert_eq!(read, Err(ErrorKind::NotFound), "clause 15: no hole");
        }
    }
    log.refuse(refused(10)).await.expect("clause 6: refusals are taken");
    all.push(refused(10));
    assert_eq!(range().await, 10..11, "clause 15: positions are never given again");
    assert_eq!(log.refusals(10, 9).await.expect("refusals"), all[10..], "clause 15: and go on");
}

async fn epochs_are_sealed_once(log: &dyn BatchLog) {
    let (epoch, record) = (EpochId::new(7), Bytes::from_static(b"record"));
    assert_eq!(log.sealed(epoch).await.expect("sealed"), None, "nothing is sealed at first");
    log.seal(epoch, record.clone()).await.expect("clause 7: sealed");
    log.seal(epoch, record.clone()).await.expect("clause 7: the same bytes again are fine");
    let other = log.seal(epoch, b"other".as_slice().into()).await.expect_err("clause 7: once");
    assert_eq!(other.kind(), ErrorKind::Conflict, "clause 7: other bytes");
    assert_eq!(log.sealed(epoch).await.expect("sealed"), Some(record), "clause 7: the first stays");
}

async fn chains_are_read_device_by_device(log: &dyn BatchLog) {
    let devices = ["x", "xy", "z"].map(did);
    let mut previous = [B256::ZERO; 3];
    for sequence in 0..7 {
        for (device, previous) in devices.iter().zip(&mut previous) {
            let new = batch(device, sequence, *previous);
            *previous = new.batch.hash();
            stored(log, new).await;
        }
    }
    let all = log.read(0, 100).await.expect("read");
    for (place, device) in devices.iter().enumerate() {
        let own: Vec<_> = all.iter().skip(place).step_by(devices.len()).cloned().collect();
        for (from, limit) in [(0, 100), (2, 3), (6, 9), (7, 9), (3, 0)] {
            let chain = log.chain(device, Sequence::new(from), limit).await.expect("chain");
            let expected: Vec<_> = own.iter().skip(from as usize).take(limit).cloned().collect();
            assert_eq!(chain, expected, "clause 10: {limit} batches of {device} from {from} on");
        }
    }
    let unknown = log.chain(&did("y"), Sequence::new(0), 9).await.expect("chain");
    assert_eq!(unknown, [], "clause 10: an unknown device has no batches");
}

async fn forgotten_bytes_leave_every_proof(log: &dyn BatchLog) {
    const SIZE: u64 = 21;
    let (device, mut batches) = (did("old"), Vec::new());
    for sequence in 0..SIZE {
        let previous = batches.last().map_or(B256::ZERO, |new: &NewBatch| new.batch.hash());
        batches.push(batch(&device, sequence, previous));
        stored(log, batches[sequence as usize].clone()).await;
    }
    let leaves: Vec<_> = batches.iter().map(|new| new.batch.hash()).collect();
    let kind = |result: Result<Vec<LogEntry>>| result.map_err(|error| error.kind());
    let gone = Err(ErrorKind::NotFound);
    assert_eq!(log.oldest().await.expect("oldest"), 0, "clause 11: all is kept at first");
    let past = log.forget(SIZE + 1).await.expect_err("clause 11: past the end");
    assert_eq!(past.kind(), ErrorKind::NotFound, "clause 11: past the end");
    for before in [5, 3, 13, SIZE] {
        let kept = log.read(before.max(log.oldest().await.expect("oldest")), 100).await;
        let kept = kept.expect("read");
        log.forget(before).await.expect("clause 11: forgets");
        let oldest = log.oldest().await.expect("oldest");
        assert_eq!(oldest, SIZE - kept.len() as u64, "clause 11: no less and no more");
        assert_eq!(log.read(oldest, 100).await.expect("read"), kept, "clause 11: the rest stays");
        assert_eq!(kind(log.read(oldest - 1, 1).await), gone, "clause 11: no hole");
        assert_eq!(kind(log.chain(&device, Sequence::new(oldest - 1), 9).await), gone, "clause 11");
        let chain = log.chain(&device, Sequence::new(oldest), 100).await.expect("chain");
        assert_eq!(chain, kept, "clause 11: the rest of the chain stays");
        for size in [1, 4, SIZE] {
            let some = &leaves[..size as usize];
            assert_eq!(log.root(size).await.expect("root"), root(some), "clause 11: roots stay");
            let path = log.inclusion(size / 2, size).await.expect("clause 11: paths stay");
            assert_eq!(path, inclusion(size as usize / 2, some), "clause 11: paths stay");
            let path = log.consistency(1, size).await.expect("clause 11: paths stay");
            assert_eq!(path, consistency(1, some, true), "clause 11: paths stay");
        }
    }
    let again = log.append(batches[2].clone()).await.expect("appends do not fail");
    assert_eq!(again, Append::Duplicate(2), "clause 11: forgotten batches are known");
    let rival = NewBatch { batch: SignedBatch::new(b"rival".as_slice()), ..batches[2].clone() };
    let hash = batches[2].batch.hash();
    let fork = log.append(rival).await.expect("appends do not fail");
    assert_eq!(fork, Append::Fork(hash), "clause 11: a forgotten place is taken");
    let last = batches.last().map_or(B256::ZERO, |new| new.batch.hash());
    let next = stored(log, batch(&device, SIZE, last)).await;
    assert_eq!(next, SIZE, "clause 11: chains and indices go on");
    assert_eq!(log.read(SIZE, 9).await.expect("read").len(), 1, "clause 11: and are read");
}

async fn stored(log: &dyn BatchLog, new: NewBatch) -> u64 {
    match log.append(new).await.expect("appends do not fail") {
        Append::Stored(index) => index,
        other => panic!("clause 3: a batch that continues its chain is stored, not {other:?}"),
    }
}

fn did(name: &str) -> Did {
    Did::parse(&format!("did:example:{name}")).expect("a valid did")
}

fn batch(device: &Did, sequence: u64, previous: B256) -> NewBatch {
    NewBatch {
        device: device.clone(),
        sequence: Sequence::new(sequence),
        previous,
        covers: None,
        received: Timestamp::from_secs(1_700_000_000 + sequence % 1_000),
        batch: SignedBatch::new(format!("{device} {sequence} {previous}").into_bytes()),
    }
}

fn marker(device: &Did, first: u64, previous: B256, end: ChainTip) -> NewBatch {
    let bytes = format!("{device} {first} {previous} to {} {}", end.sequence, end.hash);
    let new = batch(device, first, previous);
    NewBatch { covers: Some(end), batch: SignedBatch::new(bytes.into_bytes()), ..new }
}

async fn stored_tip(log: &dyn BatchLog, device: &Did) -> ChainTip {
    log.tip(device).await.expect("tip").expect("clause 3: a chain")
}

fn refused(n: u8) -> RefusedBatch {
    RefusedBatch {
        refusal: Refusal {
            code: RefusalCode::ALL[usize::from(n) % RefusalCode::ALL.len()],
            detail: format!("reason {n}"),
            batch: B256::repeat_byte(n),
            device: n.is_multiple_of(2).then(|| did("sender")),
        },
        received: Timestamp::from_secs(u64::from(n)),
        bytes: vec![n; usize::from(n)].into(),
        against: n.is_multiple_of(3).then(|| vec![n; 9].into()),
    }
}

/// MTH of RFC 9162 section 2.1.1, as defined.
fn root(leaves: &[B256]) -> B256 {
    let digest = match leaves {
        [] => Sha256::digest([]),
        [leaf] => Sha256::new_with_prefix([0]).chain_update(leaf).finalize(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::new_with_prefix([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
        }
    };
    B256::new(digest.into())
}

/// PATH of RFC 9162 section 2.1.3.1, as defined.
fn inclusion(index: usize, leaves: &[B256]) -> Vec<B256> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (inclusion(index, left), root(right))
    } else {
        (inclusion(index - left.len(), right), root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 9162 section 2.1.4.1, as defined.
fn consistency(old: usize, leaves: &[B256], known: bool) -> Vec<B256> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if old <= left.len() {
        (consistency(old, left, known), root(right))
    } else {
        (consistency(old - left.len(), right, false), root(left))
    };
    path.push(sibling);
    path
}
