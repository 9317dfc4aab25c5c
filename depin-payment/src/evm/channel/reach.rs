//! How far the funds of a channel reach, as last asked.
//!
//! Funds leave an open channel to the payee, to the payer when a challenge is over that has not begun yet, or to
//! the payer when the payee closes, which the rail must hear of: see `ChannelRail::close`. So what was seen stays
//! true for as long as a challenge takes, and not every charge needs the chain.

use std::collections::HashMap;

use depin_core::{Amount, B256};
use tokio::time::{Duration, Instant};

use super::ChannelFunds;

/// What the chain said of one channel, as of one block.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) funds: ChannelFunds,
    pub(super) lanes: HashMap<u64, Amount>,
    pub(super) seen: Instant,
}

/// What is remembered of channels, bounded.
#[derive(Debug, Default)]
pub(super) struct Reaches(HashMap<B256, Reach>);

impl Reaches {
    /// What is known of a channel and lane, if it is young enough.
    pub(super) fn of(&self, channel: B256, lane: u64, fresh: Duration) -> Option<Reach> {
        let reach = self.0.get(&channel)?;
        let young = reach.seen.elapsed() < fresh;
        (young && reach.lanes.contains_key(&lane)).then(|| reach.clone())
    }

    pub(super) fn remember(&mut self, channel: B256, reach: Reach) {
        if self.0.len() >= MAX_CHANNELS {
            self.0.clear();
        }
        self.0.insert(channel, reach);
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Channels that are remembered: about 300 bytes each.
const MAX_CHANNELS: usize = 65_536;
