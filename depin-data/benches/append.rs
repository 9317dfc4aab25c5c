//! How fast the log appends durably, beside a bare file that is written and flushed as often.
//!
//! A group of devices appends one batch of 3 KiB each and waits; a flush is shared by the group. All three
//! work in the same folder and in turns, by the clock, since waiting for the disk is what is measured:
//!
//! - the log: judges chains, stores, grows the tree by every batch, and wakes every caller;
//! - a bare file, the peer: one `write` of the same bytes at its end and `fdatasync`, by one caller. It grows
//!   with every write and nothing is preallocated, as in any plain loop that appends;
//! - a bare file behind a queue, the floor: as many callers hand their bytes to a thread that copies them
//!   together, writes and flushes as above, and wakes every caller. What it loses is the price of having
//!   callers at all.
//!
//! `append_sustained` is a long run of groups by the total time until the log is closed and its index knows
//! every batch, since the index is written in the background.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, mpsc},
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
    [("append_1", 1, 400), ("append_16", 16, 200), ("append_256", 256, 60), ("append", 1024, 30)];
/// Group and rounds of the long run.
const SUSTAINED: (usize, usize) = (256, 400);

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for (name, group, rounds) in ROWS {
        if is_wanted(name) {
            measure(name, group, rounds);
        }
    }
    if is_wanted("append_sustained") {
        sustain();
    }
}

/// What takes part, each in a folder that is its own to the end.
struct Contest {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    log: Arc<RedbLog>,
    bare: File,
    queue: Queue,
    devices: Vec<(Did, B256)>,
    round: u64,
}

/// Seconds that a group took.
struct Times {
    log: f64,
    bare: f64,
    queue: f64,
}

impl Contest {
    fn new(group: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
            log: Arc::new(RedbLog::open(folder.path().join("log")).expect("a log")),
            bare: File::create(folder.path().join("bare")).expect("a file"),
            queue: Queue::new(File::create(folder.path().join("queue")).expect("a file"), group),
            devices: (0..group).map(|n| (device(n), B256::ZERO)).collect(),
            folder,
            round: 0,
        }
    }

    fn round(&mut self) -> Times {
        let round = self.round;
        self.round += 1;
        let batches: Vec<_> = self.devices.iter_mut().map(|device| next(device, round)).collect();
        let bytes: Vec<u8> = batches.iter().flat_map(|new| new.batch.as_bytes()).copied().collect();
        let queued: Vec<_> = batches.iter().map(|new| new.batch.clone()).collect();
        let bare = time(|| write(&mut self.bare, &bytes));
        let queue = time(|| self.runtime.block_on(self.queue.append_all(queued)));
        let log = time(|| self.runtime.block_on(append_all(&self.log, batches)));
        Times { log, bare, queue }
    }
}

fn write(file: &mut File, bytes: &[u8]) {
    file.write_all(bytes).and_then(|()| file.sync_data()).expect("a disk");
}

type Waiting = (SignedBatch, tokio::sync::oneshot::Sender<()>);

/// A bare file with a thread that writes groups of a known size.
struct Queue(mpsc::Sender<Waiting>);

impl Queue {
    fn new(mut file: File, group: usize) -> Self {
        let (sender, waiting) = mpsc::channel::<Waiting>();
        std::thread::spawn(move || {
            let (mut bytes, mut callers) = (Vec::new(), Vec::new());
            while let Ok((batch, caller)) = waiting.recv() {
                bytes.extend_from_slice(batch.as_bytes());
                callers.push(caller);
                if callers.len() == group {
                    write(&mut file, &bytes);
                    bytes.clear();
                    callers.drain(..).for_each(|caller| caller.send(()).expect("a caller"));
                }
            }
        });
        Self(sender)
    }

    async fn append_all(&self, batches: Vec<SignedBatch>) {
        let appends = batches.into_iter().map(|batch| {
            let queue = self.0.clone();
            tokio::spawn(async move {
                let (caller, answer) = tokio::sync::oneshot::channel();
                queue.send((batch, caller)).expect("a thread");
                answer.await.expect("an answer");
            })
        });
        for append in appends.collect::<Vec<_>>() {
            append.await.expect("no panic");
        }
    }
}

fn measure(name: &'static str, group: usize, rounds: usize) {
    let mut contest = Contest::new(group);
    let times: Vec<_> = (0..rounds).map(|_| contest.round()).collect();
    let of = |which: fn(&Times) -> f64| typical(times.iter().map(which).collect());
    let (log, bare, queue) = (of(|t| t.log), of(|t| t.bare), of(|t| t.queue));
    let rate = |seconds: f64| group as f64 / seconds;
    let against = format!(
        "a file with fdatasync: {:.0} batches/s in groups of {group}; {:.3} and {:.3} ms a group; behind a queue {:.3} ms, {:.2}x",
        rate(bare),
        1e3 * log,
        1e3 * bare,
        1e3 * queue,
        bare / queue,
    );
    Row::new(name, rate(log), "batches/s", against, bare / log).report();
}

fn sustain() {
    let (group, rounds) = SUSTAINED;
    let mut contest = Contest::new(group);
    let (mut log, mut bare, mut queue) = (0.0, 0.0, 0.0);
    for _ in 0..rounds {
        let times = contest.round();
        (log, bare, queue) = (log + times.log, bare + times.bare, queue + times.queue);
    }
    let Contest { folder, log: closing, .. } = contest;
    log += time(|| drop(closing));
    let batches = (group * rounds) as f64;
    let against = format!(
        "a file with fdatasync: {:.0} batches/s over {batches} in groups of {group}; behind a queue {:.2}x; index {:.0} % of the bytes",
        batches / bare,
        bare / queue,
        100.0 * share_of_index(&folder.path().join("log")),
    );
    Row::new("append_sustained", batches / log, "batches/s", against, bare / log).report();
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
