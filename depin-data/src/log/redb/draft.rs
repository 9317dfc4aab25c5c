//! The batches of one commit before they are durable: judged one after the other, each after those before.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use depin_core::{
    B256, Did, Result,
    log::{Append, ChainTip, NewBatch},
};

use super::{
    super::{Stored, chain_hole, judge},
    frame::{Span, Tail},
    overlay::{Fresh, Row},
    store::Files,
};
use crate::merkle::{Accumulator, Leaves};

/// Most devices whose tip is remembered.
const TIPS: usize = 64 << 10;

/// Tips of devices, kept from commit to commit. What is not here is asked of the log.
#[derive(Default)]
pub(super) struct Tips(Mutex<HashMap<Did, ChainTip>>);

/// See the module.
pub(super) struct Draft<'a> {
    files: &'a Files,
    tips: MutexGuard<'a, HashMap<Did, ChainTip>>,
    first: u64,
    fresh: Vec<Fresh>,
    /// The batches that those are for.
    batches: Vec<NewBatch>,
}

/// The tree's edge after some leaves, and the nodes that they completed, by level.
pub(super) type Grown = (Accumulator, Vec<Vec<B256>>);

impl<'a> Draft<'a> {
    /// For batches from index `first` on.
    pub(super) fn new(files: &'a Files, first: u64) -> Self {
        let mut tips = files.tips.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tips.len() > TIPS {
            tips.clear();
        }
        Self { files, tips, first, fresh: Vec::new(), batches: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.fresh.len()
    }

    /// Takes a batch that continues its chain; `place` finds a place for its bytes.
    pub(super) fn append(
        &mut self,
        new: NewBatch,
        place: impl FnOnce(&NewBatch) -> Result<Span>,
    ) -> Result<Append> {
        let hash = new.batch.hash();
        let tip = match self.tips.get(&new.device) {
            Some(tip) => Some(*tip),
            None => self.files.tip(&new.device)?,
        };
        if let Some(answer) = judge(&new, hash, tip, |sequence| self.find(&new.device, sequence))? {
            return Ok(answer);
        }
        let tip = new.covers.unwrap_or(ChainTip { sequence: new.sequence, hash });
        let index = self.first.saturating_add(self.fresh.len() as u64);
        let row = Row { received: new.received.millis(), span: place(&new)? };
        match self.tips.get_mut(&new.device) {
            Some(there) => *there = tip,
            None => drop(self.tips.insert(new.device.clone(), tip)),
        }
        let link = Stored { index, hash, tip };
        self.fresh.push(Fresh { device: new.device.clone(), link, row });
        self.batches.push(new);
        Ok(Append::Stored(index))
    }

    fn find(&self, device: &Did, sequence: depin_core::Sequence) -> Result<Stored> {
        if let Some(link) = self.files.link(device, sequence)? {
            return Ok(link);
        }
        let there = |fresh: &&Fresh| fresh.device == *device && fresh.link.tip.sequence >= sequence;
        let link = self.fresh.iter().find(there);
        link.map(|fresh| fresh.link).ok_or_else(|| chain_hole(sequence))
    }

    /// The tree with these batches.
    fn grow(&self) -> Grown {
        let mut leaves = Leaves::new();
        self.fresh.iter().for_each(|fresh| leaves.push(fresh.link.hash.as_slice()));
        let mut edge = self.files.overlay().edge().clone();
        let nodes = edge.extend(leaves.finish());
        (edge, nodes)
    }

    /// Shows the batches to readers: they are durable up to `tail`. They are given back to be dropped when
    /// nobody waits.
    pub(super) fn publish(mut self, tail: Tail) -> Vec<NewBatch> {
        let grown = self.grow();
        let (fresh, batches) = (mem::take(&mut self.fresh), mem::take(&mut self.batches));
        self.files.overlay_mut().grow(fresh, grown, tail);
        batches
    }
}

impl Drop for Draft<'_> {
    /// Tips of batches that were not stored after all are not to be believed.
    fn drop(&mut self) {
        if !self.fresh.is_empty() {
            self.tips.clear();
        }
    }
}
