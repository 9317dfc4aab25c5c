//! Follows the links of the events backwards, within bounds, and notices what is missing.

use alloc::vec::Vec;

use depin_core::{Address, B256, Result};

use super::{Block, Change, EthrError, Event, Ledger};

/// How much of a history a resolver reads and keeps. Whoever owns an identity decides how long its
/// history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most blocks with changes of one identity; each costs two requests when it is met first.
    pub blocks: usize,
    /// Most changes of one identity.
    pub changes: usize,
    /// Most bytes in the attributes of one identity.
    pub bytes: usize,
    /// Most identities whose histories are kept, per network.
    pub identities: usize,
    /// Most changes that are kept, per network.
    pub kept: usize,
    /// Most bytes of histories and answers that are kept, per network, about.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blocks: 4096,
            changes: 16_384,
            bytes: 1 << 18,
            identities: 4096,
            kept: 1 << 17,
            memory: 64 << 20,
        }
    }
}

/// What may still be read of one history.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    blocks: usize,
    changes: usize,
    bytes: usize,
}

impl Budget {
    /// What `limits` leave beside blocks that are known.
    pub(super) fn beside(known: &[Block], limits: Limits) -> Result<Self, EthrError> {
        let mut budget = Self { limits, blocks: 0, changes: 0, bytes: 0 };
        known.iter().try_for_each(|block| budget.spend(&block.changes))?;
        Ok(budget)
    }

    fn spend(&mut self, changes: &[Change]) -> Result<(), EthrError> {
        let size = |change: &Change| match change {
            Change::Attribute { value, .. } => value.len(),
            _ => 0,
        };
        let bytes: usize = changes.iter().map(size).fold(0, usize::saturating_add);
        self.blocks = self.blocks.saturating_add(1);
        self.changes = self.changes.saturating_add(changes.len());
        self.bytes = self.bytes.saturating_add(bytes);
        let Limits { blocks, changes, bytes, .. } = self.limits;
        for (spent, limit, what) in [
            (self.blocks, blocks, "blocks with changes"),
            (self.changes, changes, "changes"),
            (self.bytes, bytes, "bytes of attributes"),
        ] {
            if spent > limit {
                return Err(EthrError::TooLong { what, limit });
            }
        }
        Ok(())
    }
}

/// The blocks with changes from `newest` down to, but without, `known`, the oldest first.
///
/// `known` is a block that the links have to lead to: one that is recorded, or 0 for the beginning. What
/// lacks in blocks after `finalised` may have been replaced.
pub(super) async fn walk(
    ledger: &dyn Ledger,
    identity: Address,
    newest: u64,
    known: u64,
    finalised: u64,
    mut budget: Budget,
) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut top = None;
    let mut at = newest;
    while at > known {
        let mut events = ledger.events(identity, at).await?;
        if events.is_empty() && at > finalised {
            return Err(EthrError::Reorganised { block: at }.into());
        }
        let (hash, previous) = check(at, &mut events)?;
        let changes: Vec<Change> = events.into_iter().map(|event| event.change).collect();
        budget.spend(&changes)?;
        let head = ledger.block(at).await?.ok_or(EthrError::MissingBlock { block: at })?;
        if head.hash != hash {
            return Err(EthrError::Reorganised { block: at }.into());
        }
        top.get_or_insert(hash);
        blocks.push(Block::new(at, head.time, changes));
        at = previous;
    }
    if at != known {
        let lowest = blocks.last().map_or(newest, |block| block.number);
        return Err(EthrError::BrokenLink { block: lowest }.into());
    }
    if blocks.len() > 1 {
        still_there(ledger, newest, top).await?;
    }
    blocks.reverse();
    Ok(blocks)
}

/// Several questions see one chain only when the newest block is still the one that was read: it commits
/// to all before it.
async fn still_there(ledger: &dyn Ledger, number: u64, hash: Option<B256>) -> Result<()> {
    let head = ledger.block(number).await?;
    if head.map(|head| head.hash) != hash {
        return Err(EthrError::Reorganised { block: number }.into());
    }
    Ok(())
}

/// Sorts the events of a block and answers its hash and the block of the change before.
///
/// The contract writes the earlier block into the first event of a block and the block itself into the
/// others. So when the first of them is lost, none leads on.
fn check(block: u64, events: &mut [Event]) -> Result<(B256, u64), EthrError> {
    events.sort_by_key(|event| event.index);
    let Some((first, rest)) = events.split_first() else {
        return Err(EthrError::MissingEvents { block });
    };
    if events.iter().any(|event| event.block != first.block) {
        return Err(EthrError::Reorganised { block });
    }
    let follows = rest.iter().all(|event| event.previous == block);
    if first.previous >= block || !follows {
        return Err(EthrError::BrokenLink { block });
    }
    Ok((first.block, first.previous))
}
