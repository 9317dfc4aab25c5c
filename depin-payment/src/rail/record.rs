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
    pub(crate) best: SignedVoucher,
}

impl LaneRecord {
    /// A lane that the chain had paid `settled` for when its first voucher came.
    pub(crate) const fn new(settled: Amount, first: SignedVoucher) -> Self {
        let lane = Lane { granted: settled, charged: settled };
        Self { base: settled, lane, settled, best: first }
    }

    /// What is granted and not paid on chain, when the chain has paid this much.
    pub(crate) fn due(&self, settled: Amount) -> Amount {
        self.lane.granted.checked_sub(settled).unwrap_or_default()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let amounts = [self.base, self.lane.granted, self.lane.charged, self.settled];
        let mut bytes: Vec<u8> =
            amounts.iter().flat_map(|amount| amount.to_units().to_be_bytes::<32>()).collect();
        bytes.extend_from_slice(&self.best.encode());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (base, rest) = split_amount(bytes)?;
        let (granted, rest) = split_amount(rest)?;
        let (charged, rest) = split_amount(rest)?;
        let (settled, rest) = split_amount(rest)?;
        let best = SignedVoucher::decode(rest).map_err(|error| damaged().source(error))?;
        Ok(Self { base, lane: Lane { granted, charged }, settled, best })
    }

    /// The key of a lane: channel first, so that the lanes of a channel lie together.
    pub(crate) fn key(voucher: &SignedVoucher) -> Vec<u8> {
        [voucher.terms.id().as_slice(), &voucher.lane.to_be_bytes()].concat()
    }
}
