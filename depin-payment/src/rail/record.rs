//! What a payee keeps of a lane.

use depin_core::{Amount, Result};

use super::disk::{damaged, split_amount};
use crate::channel::{Lane, SignedVoucher};

/// A lane with its best voucher and what of it was paid on chain.
#[derive(Clone, Debug)]
pub(crate) struct LaneRecord {
    /// What the chain had paid when the lane was first seen: not ours to count.
    pub(crate) base: Amount,
    pub(crate) lane: Lane,
    /// What the chain has paid, as last heard.
    pub(crate) settled: Amount,
    /// The block at which it was first heard.
    pub(crate) heard: u64,
    /// What the chain had paid long enough ago to stay.
    pub(crate) firm: Amount,
    pub(crate) best: SignedVoucher,
}

impl LaneRecord {
    /// A lane that the chain had paid `settled` for when its first voucher came.
    pub(crate) const fn new(settled: Amount, first: SignedVoucher) -> Self {
        let lane = Lane { granted: settled, charged: settled };
        Self { base: settled, lane, settled, heard: 0, firm: Amount::ZERO, best: first }
    }

    /// What is granted and not paid on chain, when the chain has paid this much.
    pub(crate) fn due(&self, settled: Amount) -> Amount {
        self.lane.granted.checked_sub(settled).unwrap_or_default()
    }

    /// Whether all that is granted was paid so long ago that the chain need not be asked again.
    pub(crate) fn is_done(&self) -> bool {
        self.due(self.firm).is_zero()
    }

    /// Notes what the chain said at a block.
    pub(crate) fn hear(&mut self, settled: Amount, block: u64) {
        // What others settled beyond what we were granted is not counted, and the chain may have gone back.
        let settled = settled.min(self.lane.granted);
        if settled != self.settled {
            self.settled = settled;
            self.heard = block;
            self.firm = self.firm.min(settled);
        }
        // A chain that lost blocks starts the wait again.
        self.heard = self.heard.min(block);
        if block.saturating_sub(self.heard) >= REORG_DEPTH {
            self.firm = settled;
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let amounts = [self.base, self.lane.granted, self.lane.charged, self.settled, self.firm];
        let mut bytes: Vec<u8> =
            amounts.iter().flat_map(|amount| amount.to_units().to_be_bytes::<32>()).collect();
        bytes.extend_from_slice(&self.heard.to_be_bytes());
        bytes.extend_from_slice(&self.best.encode());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (base, rest) = split_amount(bytes)?;
        let (granted, rest) = split_amount(rest)?;
        let (charged, rest) = split_amount(rest)?;
        let (settled, rest) = split_amount(rest)?;
        let (firm, rest) = split_amount(rest)?;
        let (heard, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let heard = u64::from_be_bytes(*heard);
        let best = SignedVoucher::decode(rest).map_err(|error| damaged().source(error))?;
        Ok(Self { base, lane: Lane { granted, charged }, settled, heard, firm, best })
    }

    /// The key of a lane: channel first, so that the lanes of a channel lie together.
    pub(crate) fn key(voucher: &SignedVoucher) -> Vec<u8> {
        [voucher.terms.id().as_slice(), &voucher.lane.to_be_bytes()].concat()
    }
}

/// Blocks that a chain may take back.
pub(crate) const REORG_DEPTH: u64 = 64;
