//! Logs of many blocks, from nodes that limit how much one request may ask for.
//!
//! Nodes answer for 500 to 100,000 blocks at once, or for as many blocks as have so many events. They agree on neither
//! codes nor words when they refuse more, and some refuse what comes too often with the same code. So a range is read
//! in windows: a window that is refused is halved, one that comes too often waits and stays as it is, and windows grow
//! again, slowly at first. What a node refuses is remembered by the [`Chain`], for all who read through it. A node that is
//! silent about a window is asked for half of it; that is remembered when it answers, or when it is silent about a quarter
//! too, but never of a few blocks: it may have been silent about anything.

use std::{
    future::IntoFuture,
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use alloy::{
    providers::Provider,
    rpc::types::{Filter, Log},
    transports::TransportError,
};
use depin_core::{Error, Result};

use crate::{
    Chain,
    chain::{RPC_TIME, within},
    error::transport_error,
    limit::{Refusal, pause},
};

/// Reads the logs of a range of blocks, window by window; made by [`Chain::logs`].
#[derive(Debug)]
#[must_use = "call next() or all() to read"]
pub struct Logs<'a> {
    chain: &'a Chain,
    filter: Filter,
    /// The first and last block that were not read yet.
    rest: Option<(u64, u64)>,
    newest_first: bool,
    most: u64,
    /// How long one request may take.
    deadline: Duration,
}

/// The logs of some blocks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogWindow {
    /// The blocks that were asked for.
    pub blocks: RangeInclusive<u64>,
    /// What the node says that they have, in the node's order.
    pub logs: Vec<Log>,
}

impl<'a> Logs<'a> {
    pub(crate) const fn new(chain: &'a Chain, filter: Filter, blocks: RangeInclusive<u64>) -> Self {
        let (first, last) = (*blocks.start(), *blocks.end());
        let rest = if first <= last { Some((first, last)) } else { None };
        Self { chain, filter, rest, newest_first: false, most: WINDOW, deadline: RPC_TIME }
    }

    /// Begins with the newest blocks.
    pub const fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// The most blocks to ask for at once; 10,000 unless told, at least one. What few events match may be asked for over
    /// all blocks at once, with [`u64::MAX`].
    pub const fn window(mut self, blocks: u64) -> Self {
        self.most = if blocks == 0 { 1 } else { blocks };
        self
    }

    /// How long one request may take; half a minute unless told.
    pub const fn deadline(mut self, each: Duration) -> Self {
        self.deadline = each;
        self
    }

    /// The logs of the next window, or nothing when all are read. After an error, the same window is next. There is no use
    /// in asking again at once: what passes with time was waited for.
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node fails five times in two seconds, is silent also
    /// about a quarter of the blocks, still finds requests too frequent after waits that add up to half a minute, or longer
    /// where it names the time itself, or refuses the logs of a single block. After silences about thousands of blocks, the
    /// next call asks for fewer.
    pub async fn next(&mut self) -> Result<Option<LogWindow>> {
        let (mut tries, mut most, mut silent) = (Tries::default(), u64::MAX, 0);
        while let Some(blocks) = self.upcoming(most) {
            let is_wide = blocks.start() < blocks.end();
            let error = match self.attempt(&blocks).await {
                Ok(Ok(logs)) => {
                    self.heed_silence(silent, length(&blocks));
                    return Ok(Some(self.advance(blocks, logs)));
                }
                // Perhaps it is still looking for so much.
                Err(_) if is_wide && tries.silences < MAX_SILENCES => {
                    tries.silences = tries.silences.saturating_add(1);
                    silent = silent.max(length(&blocks));
                    most = half(&blocks);
                    continue;
                }
                Err(error) => {
                    self.heed_silence(silent, half(&blocks).max(FEWEST));
                    return Err(error);
                }
                Ok(Err(error)) => error,
            };
            match Refusal::of(&error) {
                Refusal::TooMuch if is_wide => {
                    // Others, whose windows have fewer events, may widen the shared width meanwhile.
                    most = half(&blocks);
                    self.narrow(most);
                }
                // Fewer blocks than one cannot be asked for: whatever the node means, time may help.
                refusal => tokio::time::sleep(tries.pause(refusal, error)?).await,
            }
        }
        Ok(None)
    }

    /// All logs that are left.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<Log>> {
        let mut all = Vec::new();
        while let Some(window) = self.next().await? {
            all.extend(window.logs);
        }
        Ok(all)
    }

    fn upcoming(&self, most: u64) -> Option<RangeInclusive<u64>> {
        let (first, last) = self.rest?;
        let beyond = self.width().min(most).saturating_sub(1);
        Some(if self.newest_first {
            last.saturating_sub(beyond).max(first)..=last
        } else {
            first..=first.saturating_add(beyond).min(last)
        })
    }

    async fn attempt(
        &self,
        blocks: &RangeInclusive<u64>,
    ) -> Result<Result<Vec<Log>, TransportError>> {
        let window = self.filter.clone().from_block(*blocks.start()).to_block(*blocks.end());
        within(self.deadline, self.chain.provider().get_logs(&window).into_future()).await
    }

    fn advance(&mut self, blocks: RangeInclusive<u64>, logs: Vec<Log>) -> LogWindow {
        self.rest = self.rest.and_then(|(first, last)| {
            let rest = if self.newest_first {
                (first, blocks.start().checked_sub(1)?)
            } else {
                (blocks.end().checked_add(1)?, last)
            };
            (rest.0 <= rest.1).then_some(rest)
        });
        self.widen(&blocks);
        LogWindow { blocks, logs }
    }

    fn width(&self) -> u64 {
        self.chain.log_width().get().min(self.most)
    }

    /// Remembers for how many blocks it may answer after it was silent about so many. About the end of a range it may have
    /// been silent for any reason.
    fn heed_silence(&self, silent: u64, blocks: u64) {
        if silent >= self.width().min(TELLING) {
            self.narrow(blocks);
        }
    }

    fn narrow(&self, blocks: u64) {
        tracing::debug!(blocks, "the node finds more blocks too many at once");
        self.chain.log_width().lower(blocks);
    }

    fn widen(&self, blocks: &RangeInclusive<u64>) {
        let width = self.chain.log_width();
        if width.get() <= self.most && length(blocks) >= width.get() {
            width.answered();
        }
    }
}

/// What went wrong with one window.
#[derive(Debug, Default)]
struct Tries {
    silences: u32,
    pauses: u32,
    failures: usize,
}

impl Tries {
    /// How long to wait before it is asked for again.
    ///
    /// # Errors
    /// The error itself, when waiting is of no use any more.
    fn pause(&mut self, refusal: Refusal, error: TransportError) -> Result<Duration> {
        if matches!(refusal, Refusal::Other) {
            let error = transport_error(error);
            let pause = PAUSES.get(self.failures).filter(|_| error.is_retryable());
            self.failures = self.failures.saturating_add(1);
            return pause.copied().ok_or(error);
        }
        let pause = pause(&error, self.pauses);
        self.pauses = self.pauses.saturating_add(1);
        pause.ok_or_else(|| over(error))
    }
}

/// The most blocks that a node is asked for at once, by what it refused so far.
#[derive(Debug)]
pub(crate) struct LogWidth {
    blocks: AtomicU64,
    /// Windows of so many blocks that were answered since one was refused or grew.
    answered: AtomicU32,
    /// How often it grew since one was refused.
    grown: AtomicU32,
}

impl Default for LogWidth {
    fn default() -> Self {
        let (answered, grown) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { blocks: AtomicU64::new(u64::MAX), answered, grown }
    }
}

impl LogWidth {
    fn get(&self) -> u64 {
        self.blocks.load(Relaxed)
    }

    /// Another reader may have learned of less meanwhile.
    fn lower(&self, blocks: u64) {
        self.blocks.fetch_min(blocks.max(1), Relaxed);
        self.answered.store(0, Relaxed);
        self.grown.store(0, Relaxed);
    }

    /// After some windows more may be asked for: what was too much was perhaps the events of a busy time. Where that is so,
    /// as windows show that are nearly twice what was left after a refusal, it doubles with each.
    fn answered(&self) {
        let grown = self.grown.load(Relaxed);
        let is_slow = grown < SLOW_GROWTHS;
        let after = if is_slow { GROW_AFTER } else { 1 };
        if self.answered.fetch_add(1, Relaxed).saturating_add(1) < after {
            return;
        }
        let width = self.get();
        let more = if is_slow { width.div_ceil(4) } else { width };
        self.blocks.store(width.saturating_add(more), Relaxed);
        self.answered.store(0, Relaxed);
        self.grown.store(grown.saturating_add(1), Relaxed);
    }
}

fn half(blocks: &RangeInclusive<u64>) -> u64 {
    length(blocks).div_euclid(2).max(1)
}

/// One less for all blocks that there can be.
fn length(blocks: &RangeInclusive<u64>) -> u64 {
    blocks.end().saturating_sub(*blocks.start()).saturating_add(1)
}

fn over(error: TransportError) -> Error {
    let text = "the node refuses logs as too much or too often, whatever is asked; try later, or use another node";
    Error::unavailable(text).source(transport_error(error))
}

/// Blocks per request, which most nodes answer for.
const WINDOW: u64 = 10_000;
/// How often the node may be silent about a window before half of it is not asked for any more.
const MAX_SILENCES: u32 = 2;
/// Blocks about which a silence is remembered, however many a window may have: a quarter of fewer is asked for anyway, and
/// nodes answer for that.
const TELLING: u64 = WINDOW / 2;
/// Blocks that are asked for at least after silences alone: a node that is down is silent about any.
const FEWEST: u64 = 100;
/// Before each time that a window is asked for again after a failure: a lost answer among thousands should not cost all.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
    Duration::from_millis(1_280),
];
/// Whole windows between two that grow by a quarter: one request in twenty or so is refused for it.
const GROW_AFTER: u32 = 8;
/// How often windows grow by a quarter before they double: then they are of nearly the size that was refused.
const SLOW_GROWTHS: u32 = 3;
