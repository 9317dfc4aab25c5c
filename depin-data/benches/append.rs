//! How fast the log appends durably, beside a bare file that is written and flushed as often.
//!
//! A group of devices appends one batch of 3 KiB each and waits; a flush is shared by the group. The peer
//! writes as many bytes at once and calls `fdatasync`, in the same folder and in turns with the log. Both
//! by the clock, best of several rounds, since waiting for the disk is what is measured.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use depin_core::{
    B256, Did, Sequence, SignedBatch, Timestamp,
    log::{Append, BatchLog, NewBatch},
};
use depin_data::log::RedbLog;
use depin_testkit::bench::Row;

const BYTES: usize = 3 * 1024;
const ROWS: [(&str, usize, usize); 4] =
    [("append_1", 1, 60), ("append_16", 16, 60), ("append_256", 256, 40), ("append", 1024, 24)];

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for (name, group, rounds) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(name, group, rounds);
        }
    }
}

fn measure(name: &'static str, group: usize, rounds: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let log = Arc::new(RedbLog::open(folder.path().join("log")).expect("a log"));
    let mut bare = File::create(folder.path().join("bare")).expect("a file");
    let mut devices: Vec<_> = (0..group).map(|n| (device(n), B256::ZERO)).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds as u64 {
        let batches: Vec<_> = devices.iter_mut().map(|device| next(device, round)).collect();
        let bytes: Vec<u8> = batches.iter().flat_map(|new| new.batch.as_bytes()).copied().collect();
        theirs.push(time(|| {
            bare.write_all(&bytes).and_then(|()| bare.sync_data()).expect("a disk");
        }));
        ours.push(time(|| runtime.block_on(append_all(&log, batches))));
    }
    let (ours, theirs) = (typical(ours), typical(theirs));
    let rate = |seconds: f64| group as f64 / seconds;
    let against = format!(
        "a file with fdatasync: {:.0} batches/s in groups of {group}; {:.1} and {:.1} ms a group; index {:.0} % of the bytes",
        rate(theirs),
        1e3 * ours,
        1e3 * theirs,
        100.0 * share_of_index(&folder.path().join("log")),
    );
    Row::new(name, rate(ours), "batches/s", against, theirs / ours).report();
}

/// Disks have good and bad moments: half of the rounds are better than this.
fn typical(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

async fn append_all(log: &Arc<RedbLog>, batches: Vec<NewBatch>) {
    let appends = batches.into_iter().map(|new| {
        let log = Arc::clone(log);
        tokio::spawn(async move { log.append(new).await.expect("an append") })
    });
    for append in appends.collect::<Vec<_>>() {
        assert!(matches!(append.await.expect("no panic"), Append::Stored(_)));
    }
}

fn device(n: usize) -> Did {
    Did::parse(&format!("did:example:device-{n}")).expect("a did")
}

fn next((device, previous): &mut (Did, B256), round: u64) -> NewBatch {
    let mut bytes = previous.to_vec();
    bytes.extend(device.as_str().bytes().chain(round.to_be_bytes()));
    bytes.resize(BYTES, 0x5a);
    let new = NewBatch {
        device: device.clone(),
        sequence: Sequence::new(round),
        previous: *previous,
        covers: None,
        received: Timestamp::from_secs(round),
        batch: SignedBatch::new(bytes),
    };
    *previous = new.batch.hash();
    new
}

/// Bytes of the index over those of the batches.
fn share_of_index(log: &Path) -> f64 {
    let sizes = std::fs::read_dir(log).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        let size = entry.metadata().expect("a size").len() as f64;
        (entry.path().extension().is_some_and(|extension| extension == "batches"), size)
    });
    let (batches, index): (Vec<_>, Vec<_>) = sizes.partition(|(batches, _)| *batches);
    let total = |part: Vec<(bool, f64)>| part.iter().map(|(_, size)| size).sum::<f64>();
    total(index) / total(batches).max(1.0)
}
