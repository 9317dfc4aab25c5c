//! A device loses power at every byte that it writes: nothing that was persisted is lost, and no place of the
//! chain is signed twice for others to see.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use depin_core::{
    Algorithm, B256, Result, Sequence, SignedBatch, Signer,
    log::ChainTip,
    transport::{Answer, RefusalCode},
};
use depin_data::{
    batch::{BatchVerifier, Link},
    log::MemoryLog,
    outbox::{Outbox, RamStore, Store},
};

use proptest::prelude::*;

use crate::support::{Device, NOW, Net, network, reading};

const SECTORS: u32 = 4;
const SIZE: u32 = 1024;
const BLOCK: u32 = 64;

#[derive(Clone, Debug)]
enum Op {
    Write(u32, u32, Vec<u8>),
    Erase(u32),
    Sync,
}

impl Op {
    /// Points at which power can go.
    fn length(&self) -> usize {
        match self {
            Self::Write(_, _, bytes) => bytes.len(),
            Self::Erase(_) => 2,
            Self::Sync => 0,
        }
    }
}

/// Memory that remembers how it came to be.
#[derive(Clone, Debug)]
struct Recorder {
    memory: RamStore,
    ops: Arc<Mutex<Vec<Op>>>,
}

impl Recorder {
    fn new(memory: RamStore) -> Self {
        Self { memory, ops: Arc::default() }
    }
}

impl Store for Recorder {
    fn sectors(&self) -> u32 {
        self.memory.sectors()
    }
    fn sector_size(&self) -> u32 {
        self.memory.sector_size()
    }
    fn block(&self) -> u32 {
        BLOCK
    }
    fn read(&mut self, sector: u32, offset: u32, into: &mut [u8]) -> Result<()> {
        self.memory.read(sector, offset, into)
    }
    fn write(&mut self, sector: u32, offset: u32, bytes: &[u8]) -> Result<()> {
        let mut before = vec![0; bytes.len()];
        self.memory.read(sector, offset, &mut before)?;
        assert!(before.iter().all(|byte| *byte == 0xff), "written twice between erasures");
        assert!(offset.is_multiple_of(BLOCK) && bytes.len().is_multiple_of(BLOCK as usize));
        self.ops.lock().unwrap().push(Op::Write(sector, offset, bytes.to_vec()));
        self.memory.write(sector, offset, bytes)
    }
    fn erase(&mut self, sector: u32) -> Result<()> {
        self.ops.lock().unwrap().push(Op::Erase(sector));
        self.memory.erase(sector)
    }
    fn sync(&mut self) -> Result<()> {
        self.ops.lock().unwrap().push(Op::Sync);
        Ok(())
    }
}

/// What the power leaves of the operation that it interrupts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// The bytes up to the cut.
    Clean,
    /// And noise in the rest of the block, or of the sector that was being erased.
    Garbled,
    /// Nothing since the last flush.
    Unflushed,
}

/// The memory after power went at `cut`, counted in bytes from the start.
fn memory_at(ops: &[Op], cut: usize, loss: Loss) -> RamStore {
    let mut memory = RamStore::new(SECTORS, SIZE);
    let (mut left, mut whole) = (cut, 0);
    while whole < ops.len() && ops[whole].length() <= left {
        left -= ops[whole].length();
        whole += 1;
    }
    if loss == Loss::Unflushed {
        let synced = ops[..whole].iter().rposition(|op| matches!(op, Op::Sync));
        (whole, left) = (synced.map_or(0, |at| at + 1), 0);
    }
    for op in &ops[..whole] {
        apply(&mut memory, op);
    }
    match ops.get(whole) {
        Some(Op::Write(sector, offset, bytes)) if left > 0 => {
            let mut torn = bytes[..left].to_vec();
            if loss == Loss::Garbled {
                torn.resize(left.next_multiple_of(BLOCK as usize), 0x5a);
            }
            memory.write(*sector, *offset, &torn).unwrap();
        }
        Some(Op::Erase(sector)) if left > 0 => {
            let noise = if loss == Loss::Garbled { 0x5a } else { 0xff };
            // A part of the sector is erased, header or rest.
            let at = if cut.is_multiple_of(2) { 0 } else { SIZE / 2 };
            memory.write(*sector, at, &vec![noise; SIZE as usize / 2]).unwrap();
        }
        _ => {}
    }
    memory
}

fn apply(memory: &mut RamStore, op: &Op) {
    match op {
        Op::Write(sector, offset, bytes) => memory.write(*sector, *offset, bytes).unwrap(),
        Op::Erase(sector) => memory.erase(*sector).unwrap(),
        Op::Sync => {}
    }
}

/// How things stood when a call returned.
#[derive(Clone, Debug)]
struct Moment {
    bytes: usize,
    kept: Vec<B256>,
    tip: Option<ChainTip>,
    /// What the log has taken by then.
    logged: usize,
}

struct Story {
    device: Device,
    net: Net,
    outbox: Outbox,
    ops: Arc<Mutex<Vec<Op>>>,
    moments: Vec<Moment>,
    logged: Vec<SignedBatch>,
}

impl Story {
    fn new() -> Self {
        let net = Net::over(Arc::new(MemoryLog::new()));
        let device = net.enrol("a");
        let store = Recorder::new(RamStore::new(SECTORS, SIZE));
        let ops = Arc::clone(&store.ops);
        let outbox = open(&net, &device, store);
        let mut story = Self { device, net, outbox, ops, moments: Vec::new(), logged: Vec::new() };
        story.outbox.reconcile(None).unwrap();
        story.remember();
        story
    }

    fn remember(&mut self) {
        let bytes = self.ops.lock().unwrap().iter().map(Op::length).sum();
        let kept = hashes(&mut self.outbox);
        let (tip, logged) = (self.outbox.tip(), self.logged.len());
        self.moments.push(Moment { bytes, kept, tip, logged });
    }

    fn push(&mut self, value: u32) {
        let reading = reading(&value.to_string(), NOW);
        self.outbox.push(&*self.device.key, &[reading]).unwrap();
        self.remember();
    }

    /// Sends what is next; the answer arrives or is lost.
    async fn send(&mut self, answered: bool) {
        let link = self.outbox.next(&*self.device.key).unwrap().unwrap();
        match self.net.ingest.accept(link.as_bytes()).await.unwrap() {
            Answer::Receipt(receipt) => {
                if receipt.index == self.logged.len() as u64 {
                    self.logged.push(link);
                }
                if let Some(moment) = self.moments.last_mut() {
                    moment.logged = self.logged.len();
                }
                if answered {
                    self.outbox.acknowledge(&receipt).unwrap();
                }
            }
            Answer::Refusal(refusal) => {
                assert_eq!(refusal.code, RefusalCode::Superseded);
                self.outbox.superseded(link.hash()).unwrap();
            }
        }
        self.remember();
    }
}

fn open(net: &Net, device: &Device, store: impl Store + 'static) -> Outbox {
    Outbox::open(&network(), &device.did, net.receipts.clone(), store).unwrap()
}

fn hashes(outbox: &mut Outbox) -> Vec<B256> {
    outbox.pending().unwrap().iter().map(SignedBatch::hash).collect()
}

/// Fills, sends, loses answers, overflows, gives up.
async fn told() -> Story {
    let mut story = Story::new();
    (0..4).for_each(|value| story.push(value));
    story.send(true).await;
    story.send(false).await;
    story.send(true).await;
    (4..9).for_each(|value| story.push(value));
    let second = hashes(&mut story.outbox)[1];
    story.outbox.discard(second).unwrap();
    story.remember();
    story.send(true).await;
    (9..20).for_each(|value| story.push(value));
    assert!(story.outbox.dropped() > 0, "the ring went round");
    story.send(false).await;
    story.send(true).await;
    story.send(true).await;
    story.push(20);
    story
}

#[tokio::test]
async fn power_may_go_at_every_byte() {
    let story = told().await;
    let ops = story.ops.lock().unwrap().clone();
    let total: usize = ops.iter().map(Op::length).sum();
    println!("{total} bytes to cut at");
    for cut in 0..=total {
        for loss in [Loss::Clean, Loss::Garbled, Loss::Unflushed] {
            if loss == Loss::Unflushed && cut % BLOCK as usize != 0 {
                continue;
            }
            let (before, after) = around(&story.moments, cut);
            let memory = memory_at(&ops, cut, loss);
            let store = Recorder::new(memory);
            let mut outbox = open(&story.net, &story.device, store.clone());
            // Nothing that was signed and shown is forgotten.
            let reached = outbox.tip();
            assert!(
                reached == before.tip || reached == after.tip,
                "cut at {cut}, {loss:?}: {reached:?}, not {before:?} or {after:?}"
            );
            let found: HashSet<_> = hashes(&mut outbox).into_iter().collect();
            let missing: Vec<_> = before
                .kept
                .iter()
                .filter(|hash| after.kept.contains(hash) && !found.contains(*hash))
                .collect();
            assert!(missing.is_empty(), "cut at {cut}, {loss:?}: {missing:?} is lost");
            // What is written after the cut is found again. Signing takes longer than all else here.
            if cut % 11 == 0 {
                goes_on(&story, outbox, reached);
            }
            if cut % 97 == 0 {
                let outbox = open(&story.net, &story.device, store.clone());
                arrives(&story, outbox, before).await;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A store of noise, or with some bytes of a good one changed, opens or says why not, and goes on.
    #[test]
    fn a_damaged_store_panics_nobody(
        hits in prop::collection::vec((0..SECTORS, 0..SIZE, any::<u8>()), 0..200),
        pushes in 0u32..20,
    ) {
        let mut story = Story::new();
        (0..pushes).for_each(|value| story.push(value));
        let ops = story.ops.lock().unwrap().clone();
        let mut memory = memory_at(&ops, usize::MAX, Loss::Clean);
        for (sector, offset, byte) in hits {
            memory.write(sector, offset, &[byte]).unwrap();
        }
        let opened =
            Outbox::open(&network(), &story.device.did, story.net.receipts.clone(), memory);
        if let Ok(mut outbox) = opened {
            placed(&mut outbox, &story.device);
            outbox.push(&*story.device.key, &[reading("1", NOW)]).unwrap();
            outbox.next(&*story.device.key).unwrap();
        }
    }
}

/// The calls that had returned, and the one that was at work.
fn around(moments: &[Moment], cut: usize) -> (&Moment, &Moment) {
    // Before the first moment nothing was sealed either.
    let done = moments.iter().rposition(|moment| moment.bytes <= cut).unwrap_or(0);
    let next = moments.get(done + 1).unwrap_or(&moments[done]);
    (&moments[done], next)
}

/// What the log says to a device whose store is still blank.
fn placed(outbox: &mut Outbox, device: &Device) {
    if outbox.is_placed() {
        return;
    }
    assert!(outbox.push(&*device.key, &[reading("99", NOW)]).is_err(), "it has to ask");
    outbox.reconcile(None).unwrap();
}

/// The next batch continues the chain, and is there after the next power loss.
fn goes_on(story: &Story, mut outbox: Outbox, tip: Option<ChainTip>) {
    placed(&mut outbox, &story.device);
    let next = outbox.push(&*story.device.key, &[reading("99", NOW)]).unwrap();
    let verifier = BatchVerifier::new(&network(), story.device.key.public_key());
    let Link::Batch(batch) = verifier.link(&next).unwrap() else { panic!("a batch") };
    let expected =
        tip.map_or((Sequence::new(0), B256::ZERO), |tip| (tip.sequence.next().unwrap(), tip.hash));
    assert_eq!((batch.sequence, batch.previous), expected);
    assert!(hashes(&mut outbox).contains(&next.hash()));
}

/// A log that holds what was sent before the cut takes everything that is left, without a fork.
async fn arrives(story: &Story, mut outbox: Outbox, before: &Moment) {
    let net = Net::over(Arc::new(MemoryLog::new()));
    net.registry.add(&story.device);
    for link in &story.logged[..before.logged] {
        net.taken(link).await;
    }
    placed(&mut outbox, &story.device);
    outbox.push(&*story.device.key, &[reading("99", NOW)]).unwrap();
    while let Some(link) = outbox.next(&*story.device.key).unwrap() {
        match net.ingest.accept(link.as_bytes()).await.unwrap() {
            Answer::Receipt(receipt) => outbox.acknowledge(&receipt).unwrap(),
            Answer::Refusal(refusal) if refusal.code == RefusalCode::Superseded => {
                outbox.superseded(link.hash()).unwrap();
            }
            Answer::Refusal(refusal) => panic!("{refusal:?}"),
        }
    }
    assert!(outbox.is_empty());
}

/// Blank before the first byte and after the last, power loss leaves a store that has to ask, or one that knows.
#[test]
fn power_may_go_while_a_lost_store_is_told_where_its_chain_stands() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let tip = ChainTip { sequence: Sequence::new(41), hash: B256::repeat_byte(9) };
    let store = Recorder::new(RamStore::new(SECTORS, SIZE));
    let ops = Arc::clone(&store.ops);
    open(&net, &device, store).reconcile(Some(tip)).unwrap();
    let ops = ops.lock().unwrap().clone();
    let total: usize = ops.iter().map(Op::length).sum();
    for cut in 0..=total {
        for loss in [Loss::Clean, Loss::Garbled, Loss::Unflushed] {
            let mut outbox = open(&net, &device, Recorder::new(memory_at(&ops, cut, loss)));
            let known = outbox.tip();
            assert_eq!(known, outbox.is_placed().then_some(tip), "cut at {cut}, {loss:?}");
            if known.is_none() {
                assert!(outbox.push(&*device.key, &[reading("1", NOW)]).is_err());
                outbox.reconcile(Some(tip)).unwrap();
            }
            let next = outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
            let verifier = BatchVerifier::new(&network(), device.key.public_key());
            let Link::Batch(batch) = verifier.link(&next).unwrap() else { panic!("a batch") };
            assert_eq!((batch.sequence.value(), batch.previous), (42, tip.hash));
        }
    }
    let mut outbox = open(&net, &device, Recorder::new(memory_at(&ops, total, Loss::Clean)));
    assert!(outbox.is_placed() && outbox.push(&*device.key, &[reading("1", NOW)]).is_ok());
}

#[tokio::test]
async fn power_may_go_while_everything_is_signed_anew() {
    let mut story = Story::new();
    (0..4).for_each(|value| story.push(value));
    story.send(true).await;
    let next = Device::new("b", Algorithm::EdDsa).key;
    let tip = story.outbox.settled_at();
    story.outbox.rekey(&*next, tip).unwrap();
    let ops = story.ops.lock().unwrap().clone();
    let (start, total) =
        (story.moments.last().unwrap().bytes, ops.iter().map(Op::length).sum::<usize>());
    for cut in start..=total {
        for loss in [Loss::Clean, Loss::Garbled] {
            let memory = Recorder::new(memory_at(&ops, cut, loss));
            let mut outbox = open(&story.net, &story.device, memory);
            // Whoever finds the old key refused asks for the same again.
            outbox.rekey(&*next, tip).unwrap();
            let verifier = BatchVerifier::new(&network(), next.public_key());
            let batches = outbox.pending().unwrap();
            let mut values = Vec::new();
            let mut reached = tip;
            for batch in &batches {
                let link = verifier.link(batch).unwrap();
                reached = link.tip_after(reached);
                assert!(reached.is_some(), "the chain goes on from the log's tip");
                values.extend(link.readings().iter().map(|reading| reading.value().to_string()));
            }
            assert_eq!(values, ["1", "2", "3"], "cut at {cut}, {loss:?}: all once, in order");
        }
    }
}
