//! A million recipients: exact shares, the reward tree and the file of proofs, beside nothing but the hashes.
//!
//! The bare hashes run on as many threads as the tree. Memory is that of a process of its own, since a
//! process remembers its peak. Also builds the 100,000-account tree whose root the JavaScript library gave.
//!
//! Fails when the tree takes more than 1.3 times its bare hashes, or the process more memory than the limit: both hold on
//! any machine, which the limit of seconds does not.

use std::{
    fs::{self, File},
    hint::black_box,
    io::Write,
    num::NonZero,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::keccak256_uncached;
use depin_core::{Address, Amount, B256, U256};
use depin_payment::{
    RewardTree, shares,
    tree::file::{Check, ProofFile},
};
use depin_testkit::bench::Row;

/// The file that a child process writes.
const CHILD: &str = "DEPIN_BENCH_PROOFS";
const ACCOUNTS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const PROOFS: u64 = 100_000;
const LIMIT: f64 = 3.0;
/// Processor time of the tree over that of its bare hashes.
const TREE_LIMIT: f64 = 1.3;
const ROOT_100K: &str = "0x5e4865502005fe8199ace9028645ab63a43b1be81f24f25a2637facf0ec555e1";

fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(CHILD) {
        pay(work(), Path::new(&path));
        println!("{}", peak());
        return ExitCode::SUCCESS;
    }
    let amount = |i: u64| U256::from(i) * U256::from(10u64.pow(15)) + U256::from(1);
    let known = (0..100_000).map(|i| (account(i), Amount::units(amount(i)))).collect();
    let known = RewardTree::build(known).expect("the accounts differ");
    assert_eq!(known.root().to_string(), ROOT_100K, "the root of the JavaScript library");
    drop(known);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proofs");
    let tree = measure(&path);
    let memory = child(&path) * 1.048_576;
    Row::new("rewards_1m_memory", memory, "MB", "limit of 300 MB", memory / 300.0).report();
    serve(&path);
    let good = tree <= TREE_LIMIT && memory <= 300.0;
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shares, tree and file beside the limit and the hashes; interleaved, so that a busy machine slows both. Answers how
/// many times the hashes the tree takes.
fn measure(path: &Path) -> f64 {
    let [mut all, mut tree, mut bare, mut disk] = [Spent::NEVER; 4];
    for _ in 0..ROUNDS {
        let work = work();
        all = all.least(Spent::on(|| pay(work, path)));
        let rows = (0..ACCOUNTS).map(|i| (account(i), Amount::from(i))).collect();
        tree = tree.least(Spent::on(|| drop(black_box(RewardTree::build(rows)))));
        bare = bare.least(Spent::on(bare_keccaks));
        disk = disk.least(Spent::on(|| bare_file(path)));
    }
    let against = format!("limit of {LIMIT} s; {:.2} s of processor time", all.processor);
    Row::new("rewards_1m", all.clock, "s", against, all.clock / LIMIT).report();
    // What waits for a disk is no work, and the clock counts it.
    let against = |part: &Spent| {
        let [ours, hashes] = [part.clock, bare.clock];
        let clock = format!("by the clock {ours:.2} s against {hashes:.2} s");
        format!("processor time of 3n-1 bare keccaks; {clock}")
    };
    let whole = format!("{}, and {:.2} s to put as many bytes on disk", against(&all), disk.clock);
    let ratio = |part: &Spent| part.processor / bare.processor;
    Row::new("rewards_1m_all", all.processor, "s", whole, ratio(&all)).report();
    Row::new("rewards_1m_tree", tree.processor, "s", against(&tree), ratio(&tree)).report();
    ratio(&tree)
}

/// From weights to a file on disk.
fn pay(work: Vec<(Address, U256)>, path: &Path) {
    let pool = Amount::tokens(1_000_000);
    let split = shares::by_key(pool, work).expect("the accounts differ");
    let tree = RewardTree::build(split.shares).expect("the accounts differ");
    ProofFile::create(path, &tree, B256::ZERO).expect("written");
}

/// Proofs from one file on one thread, each found by account and verified.
fn serve(path: &Path) {
    let file = ProofFile::open(path, Check::Quick).expect("a file");
    let start = Instant::now();
    for i in 0..PROOFS {
        let account = account(i * 7_919 % ACCOUNTS);
        black_box(file.claim(account).expect("read").expect("an account"));
    }
    let each = start.elapsed().as_secs_f64() / PROOFS as f64;
    let start = Instant::now();
    for i in 0..PROOFS {
        for level in 0..21 {
            black_box(hashed(i * 32 + level));
        }
    }
    let bare = start.elapsed().as_secs_f64() / PROOFS as f64;
    let against = "time of the 21 hashes that verify a proof, on one thread";
    Row::new("rewards_1m_proofs", 1.0 / each, "proofs/s", against, each / bare).report();
}

fn work() -> Vec<(Address, U256)> {
    (0..ACCOUNTS).map(|i| (account(i), U256::from(i % 1_009 * 7 + 1))).collect()
}

fn account(i: u64) -> Address {
    Address::from_slice(&keccak256_uncached(i.to_be_bytes())[..20])
}

fn hashed(i: u64) -> B256 {
    let mut wide = [7; 64];
    wide[..8].copy_from_slice(&i.to_be_bytes());
    keccak256_uncached(wide)
}

/// `3n - 1` hashes as the tree makes them: n of 64 bytes, n of 32, n - 1 of 64.
fn bare_keccaks() {
    let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for i in (thread..ACCOUNTS).step_by(threads as usize) {
                    black_box(keccak256_uncached(hashed(i)));
                    black_box(hashed(!i));
                }
            });
        }
    });
}

/// As many bytes as the file of proofs has, put on disk and nothing else.
fn bare_file(path: &Path) {
    let bytes = fs::metadata(path).expect("the file of proofs").len();
    let path = path.with_extension("bare");
    let mut file = File::create(&path).expect("a file");
    let block = [7; 1 << 16];
    for _ in 0..bytes / block.len() as u64 {
        file.write_all(&block).expect("written");
    }
    file.sync_all().expect("flushed");
    fs::remove_file(path).expect("removed");
}

/// Peak memory in MiB of a process that does everything once.
fn child(path: &Path) -> f64 {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    let output = command.env(CHILD, path).output().expect("a child process");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a figure")
}

/// Peak memory of this process in MiB (Linux), else 0.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Seconds by the clock and of all processors: machines are shared, and the clock counts the others too.
#[derive(Clone, Copy)]
struct Spent {
    clock: f64,
    processor: f64,
}

impl Spent {
    const NEVER: Self = Self { clock: f64::INFINITY, processor: f64::INFINITY };

    fn on(work: impl FnOnce()) -> Self {
        let (start, before): (Instant, Duration) = (Instant::now(), processor_time());
        work();
        let processor = (processor_time() - before).as_secs_f64();
        Self { clock: start.elapsed().as_secs_f64(), processor }
    }

    fn least(self, other: Self) -> Self {
        let clock = self.clock.min(other.clock);
        Self { clock, processor: self.processor.min(other.processor) }
    }
}

/// Processor time of all threads so far, in ticks of a hundredth of a second (fields 14 and 15 of
/// `/proc/self/stat`, Linux).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>);
    Duration::from_millis(10 * ticks.sum::<u64>())
}
