//! The chain: blocks one after another, the pool, snapshots and reorgs.
//!
//! Everything here is plain data behind one lock. Times are arguments.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::{
    consensus::{Header, TxEnvelope, transaction::Recovered},
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U256},
};

use crate::{
    admission,
    block::{Block, Built, Tx, build},
    clock::Timeline,
    error::{Error, ErrorKind},
    filter::{Event, Filters},
    pool::Pool,
    state::{State, View},
};

/// What never changes about a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) chain_id: u64,
    pub(crate) accounts: u16,
    /// `None` when blocks are mined per transaction or by hand.
    pub(crate) block_time: Option<Duration>,
}

/// A whole chain.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) config: Config,
    pub(crate) time: Timeline,
    pub(crate) automine: bool,
    pub(crate) pool: Pool,
    pub(crate) filters: Filters,
    /// How many reorgs happened: makes the blocks after each one different.
    pub(crate) forks: u64,
    /// The most blocks whose logs one request gets.
    pub(crate) log_range: u64,
    blocks: Vec<Arc<Block>>,
    hashes: Vec<B256>,
    numbers: HashMap<B256, u64>,
    txs: HashMap<B256, (u64, usize)>,
    snapshots: Vec<Snapshot>,
    next_snapshot: u64,
}

#[derive(Clone, Debug)]
struct Snapshot {
    id: u64,
    height: u64,
    pool: Pool,
    time: Timeline,
}

impl Chain {
    pub(crate) fn new(config: Config, genesis: Block, time: Timeline) -> Self {
        let mut chain = Self {
            config,
            time,
            automine: true,
            pool: Pool::default(),
            filters: Filters::default(),
            forks: 0,
            log_range: u64::MAX,
            blocks: Vec::new(),
            hashes: Vec::new(),
            numbers: HashMap::new(),
            txs: HashMap::new(),
            snapshots: Vec::new(),
            next_snapshot: 1,
        };
        chain.append(genesis);
        chain
    }

    pub(crate) fn latest(&self) -> &Arc<Block> {
        self.blocks.last().expect("invariant: genesis is never removed")
    }

    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(crate) fn height(&self) -> u64 {
        self.latest().number()
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.block(*self.numbers.get(hash)?)
    }

    /// Where a mined transaction is.
    pub(crate) fn mined(&self, hash: &B256) -> Option<(&Arc<Block>, usize)> {
        let (number, index) = self.txs.get(hash)?;
        Some((self.block(*number)?, *index))
    }

    /// The block a request names. The pending block is made on the spot from the pool.
    pub(crate) fn find(&self, id: BlockId, now: u64) -> Option<Arc<Block>> {
        match id {
            BlockId::Hash(hash) => self.block_by_hash(&hash.block_hash).cloned(),
            BlockId::Number(BlockNumberOrTag::Pending) => Some(Arc::new(self.pending(now))),
            BlockId::Number(tag) => self.block(self.number(tag)).cloned(),
        }
    }

    /// The block whose header and state a call or a question about an account is about. It differs
    /// from [`Self::find`] in one thing: a pending block without transactions has no roots and no
    /// hash, because nobody sees them and they cost more than the call.
    pub(crate) fn context(&self, id: BlockId, now: u64) -> Option<Arc<Block>> {
        let pending = id == BlockId::Number(BlockNumberOrTag::Pending);
        if pending && self.pool.is_empty() {
            let state = self.latest().state.clone();
            return Some(Arc::new(Block::unsealed(self.next_header(now), state)));
        }
        self.find(id, now)
    }

    /// Number of a tag; pending counts as the one after the latest.
    pub(crate) fn number(&self, tag: BlockNumberOrTag) -> u64 {
        let height = self.height();
        match tag {
            BlockNumberOrTag::Latest => height,
            BlockNumberOrTag::Pending => height.saturating_add(1),
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Safe => height.saturating_sub(SAFE_DEPTH),
            BlockNumberOrTag::Finalized => height.saturating_sub(FINAL_DEPTH),
            BlockNumberOrTag::Number(number) => number,
        }
    }

    /// A state with the hashes the EVM may ask for while running block `number`.
    pub(crate) fn view(&self, state: State, number: u64) -> View {
        let end = usize::try_from(number).unwrap_or(usize::MAX).min(self.hashes.len());
        let hashes = self.hashes[end.saturating_sub(256)..end].to_vec();
        View { state, hashes, number }
    }

    pub(crate) fn next_base_fee(&self) -> u64 {
        self.latest().next_base_fee()
    }

    /// The block that would be mined now.
    pub(crate) fn pending(&self, now: u64) -> Block {
        let candidates = self.pool.ready(&self.latest().state, self.next_base_fee());
        self.build(self.next_header(now), self.latest().state.clone(), candidates).block
    }

    /// Takes a transaction in and, when automining, runs it at once.
    pub(crate) fn submit(&mut self, tx: Recovered<TxEnvelope>, now: u64) -> Result<B256, Error> {
        let hash = *tx.tx_hash();
        if self.txs.contains_key(&hash) {
            return Err(Error::rejected("already known"));
        }
        // Without automine a cheap transaction can wait for the base fee to fall.
        let base_fee = self.automine.then(|| self.next_base_fee());
        admission::check(&tx, self.latest(), self.config.chain_id, base_fee)?;
        self.pool.add(Arc::new(tx))?;
        self.filters.record(Event::Pending(hash));
        while self.automine {
            let candidates = self.pool.ready(&self.latest().state, self.next_base_fee());
            if candidates.is_empty() {
                break;
            }
            let dropped = self.extend(candidates, now);
            if let Some((_, reason)) = dropped.into_iter().find(|(dropped, _)| *dropped == hash) {
                return Err(reason);
            }
        }
        Ok(hash)
    }

    /// Forgets a waiting transaction; answers whether it was there.
    pub(crate) fn drop_waiting(&mut self, hash: &B256) -> bool {
        let waits = self.pool.by_hash(hash).is_some();
        self.pool.remove(hash);
        waits
    }

    /// Mines one block from the pool.
    pub(crate) fn mine(&mut self, now: u64) {
        let candidates = self.pool.ready(&self.latest().state, self.next_base_fee());
        self.extend(candidates, now);
    }

    /// Gives an account a balance, in a block of its own so that every root and proof stays true.
    pub(crate) fn set_balance(&mut self, address: &Address, balance: U256, now: u64) {
        self.change(now, |state| state.set_balance(address, balance));
    }

    pub(crate) fn set_code(&mut self, address: &Address, code: Bytes, now: u64) {
        self.change(now, |state| state.set_code(address, code));
    }

    /// Changes the state in a block of its own.
    fn change(&mut self, now: u64, change: impl FnOnce(&mut State)) {
        let mut state = self.latest().state.clone();
        change(&mut state);
        let built = self.build(self.next_header(now), state, Vec::new());
        self.adopt(built, now);
    }

    /// Replaces the newest `depth` blocks by as many empty ones.
    pub(crate) fn reorg(&mut self, depth: u64, now: u64) -> Result<(), Error> {
        let height = self.height();
        let Some(kept) = height.checked_sub(depth) else {
            return Err(Error::invalid(format!(
                "reorg depth {depth} is more than the {height} blocks above genesis"
            )));
        };
        let orphans = self.truncate(kept);
        self.forks = self.forks.saturating_add(1);
        for orphan in orphans.iter().rev() {
            let header = self.latest().next_header(orphan.header.timestamp, self.forks);
            let built = self.build(header, self.latest().state.clone(), Vec::new());
            self.append(built.block);
        }
        self.time.mined(self.latest().header.timestamp, now);
        Ok(())
    }

    /// Remembers the present; answers the snapshot's number.
    pub(crate) fn snapshot(&mut self) -> Result<u64, Error> {
        if self.snapshots.len() >= MAX_SNAPSHOTS {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("{MAX_SNAPSHOTS} snapshots are kept, revert to one of them first"),
            ));
        }
        let id = self.next_snapshot;
        self.next_snapshot = id.saturating_add(1);
        let (height, pool, time) = (self.height(), self.pool.clone(), self.time);
        self.snapshots.push(Snapshot { id, height, pool, time });
        Ok(id)
    }

    /// Goes back to a snapshot, which is used up with all later ones; false when it is unknown.
    pub(crate) fn revert(&mut self, id: u64) -> bool {
        let Some(at) = self.snapshots.iter().position(|snapshot| snapshot.id == id) else {
            return false;
        };
        let snapshot = self.snapshots.swap_remove(at);
        self.snapshots.retain(|later| later.id < id);
        self.truncate(snapshot.height);
        self.pool = snapshot.pool;
        self.time = snapshot.time;
        true
    }

    /// Adds a block that is known to follow the latest.
    pub(crate) fn append(&mut self, block: Block) {
        let (number, hash) = (block.number(), block.hash());
        for (index, tx) in block.txs.iter().enumerate() {
            self.txs.insert(*tx.tx_hash(), (number, index));
        }
        self.numbers.insert(hash, number);
        self.hashes.push(hash);
        let block = Arc::new(block);
        self.filters.record(Event::Mined(Arc::clone(&block)));
        self.blocks.push(block);
    }

    fn next_header(&self, now: u64) -> Header {
        let latest = self.latest();
        latest.next_header(self.time.next(latest.header.timestamp, now), self.forks)
    }

    fn build(&self, header: Header, state: State, candidates: Vec<Tx>) -> Built {
        let view = self.view(state, header.number);
        build(view, self.config.chain_id, header, candidates)
    }

    fn extend(&mut self, candidates: Vec<Tx>, now: u64) -> Vec<(B256, Error)> {
        let built = self.build(self.next_header(now), self.latest().state.clone(), candidates);
        self.adopt(built, now)
    }

    fn adopt(&mut self, built: Built, now: u64) -> Vec<(B256, Error)> {
        let Built { block, dropped } = built;
        self.time.mined(block.header.timestamp, now);
        dropped.iter().for_each(|(hash, _)| self.pool.remove(hash));
        self.pool.prune(&block.txs, &block.state);
        self.append(block);
        dropped
    }

    /// Removes the blocks above `height` and answers them, newest first.
    fn truncate(&mut self, height: u64) -> Vec<Arc<Block>> {
        let mut orphans = Vec::new();
        while self.height() > height {
            let Some(block) = self.blocks.pop() else { break };
            self.hashes.pop();
            self.numbers.remove(&block.hash());
            for tx in &block.txs {
                self.txs.remove(tx.tx_hash());
            }
            self.filters.record(Event::Orphaned(Arc::clone(&block)));
            orphans.push(block);
        }
        self.snapshots.retain(|snapshot| snapshot.height <= height);
        orphans
    }
}

/// Blocks below the latest that the tags `safe` and `finalized` name: one and two mainnet epochs.
const SAFE_DEPTH: u64 = 32;
const FINAL_DEPTH: u64 = 64;

const MAX_SNAPSHOTS: usize = 1_024;
