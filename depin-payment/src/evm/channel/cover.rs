//! Whether a channel stands behind a voucher: its lanes, what they grant, and what it holds.

use std::{collections::BTreeMap, fmt};

use depin_core::{Amount, B256, Error, ErrorKind, Result, payment::Accepted};
use redb::ReadableTable;

use super::{promise::Promise, reach::Reach};
use crate::{
    channel::SignedVoucher,
    rail::{LaneRecord, Paid, View},
};

/// Why a channel does not stand behind a voucher.
///
/// ```
/// use depin_core::Error;
/// use depin_payment::evm::Uncovered;
///
/// let error = Error::from(Uncovered::Closing);
/// assert_eq!(Uncovered::of(&error), Some(Uncovered::Closing));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Uncovered {
    /// The payer asked to close the channel, and the challenge runs.
    Closing,
    /// The channel is closed, or the payee closes it.
    Closed,
    /// The channel holds less than its vouchers grant, those included that are being worked for.
    Funds,
}

impl Uncovered {
    /// The reason behind an error of a [`ChannelRail`](super::ChannelRail), if it is one of these.
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Closing => "the channel is closing; open one with another salt",
            Self::Closed => {
                "the channel is closed or the payee closes it; open one with another salt"
            }
            Self::Funds => "the channel does not hold what its vouchers grant; top it up",
        }
    }
}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Uncovered {}

impl From<Uncovered> for Error {
    fn from(reason: Uncovered) -> Self {
        Self::new(ErrorKind::Rejected, reason.text()).source(reason)
    }
}

/// What a voucher does for a charge.
pub(super) enum Verdict {
    /// It was accepted before.
    Before(Accepted),
    /// It pays, and this is its lane then.
    Pays(Box<LaneRecord>),
}

/// Whether a voucher pays a charge, given what is in the store, on the chain, and promised to other charges.
pub(super) fn judge<T>(
    view: &View<T>,
    paid: &Paid,
    voucher: &SignedVoucher,
    reach: &Reach,
    promised: &[Promise],
) -> Result<Verdict>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    if let Some(before) = view.answer(paid)? {
        return Ok(Verdict::Before(before));
    }
    let channel = voucher.terms.id();
    is_open(view, channel, reach)?;
    // A lane that came since these funds were read: none of it is known to be paid.
    let settled = |lane: u64| reach.lanes.get(&lane).copied().unwrap_or_default();
    let mut lanes = lanes(view, channel)?;
    for promise in promised {
        // What was accepted meanwhile is in the store already.
        if !view.is_paid(promise.charge)? {
            let record = lane_of(&mut lanes, &promise.voucher, settled);
            let lane = &mut record.lane;
            lane.granted = lane.granted.max(promise.voucher.cumulative);
            lane.charged = lane.charged.checked_add(promise.price)?;
        }
    }
    let record = lane_of(&mut lanes, voucher, settled);
    if record.lane.admit(voucher.cumulative, paid.charge.amount)? {
        record.best = voucher.clone();
    }
    let pays = Box::new(record.clone());
    let due = lanes.iter().map(|(lane, record)| record.due(settled(*lane)));
    let due = Amount::sum(due)?;
    if due > reach.funds.available {
        let error = Error::from(Uncovered::Funds);
        return Err(error.with("granted", due).with("held", reach.funds.available));
    }
    Ok(Verdict::Pays(pays))
}

fn is_open<T>(view: &View<T>, channel: B256, reach: &Reach) -> Result<()>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let reason = if reach.funds.closed || view.is_closed(channel)? {
        Uncovered::Closed
    } else if reach.funds.closes_at.is_some() {
        Uncovered::Closing
    } else {
        return Ok(());
    };
    Err(Error::from(reason).with("channel", channel))
}

fn lanes<T>(view: &View<T>, channel: B256) -> Result<BTreeMap<u64, LaneRecord>>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let stored = view.sources(channel.as_slice())?.into_iter();
    let records = stored.map(|(_, record)| LaneRecord::decode(&record));
    records.map(|record| record.map(|record| (record.best.lane, record))).collect()
}

fn lane_of<'a>(
    lanes: &'a mut BTreeMap<u64, LaneRecord>,
    voucher: &SignedVoucher,
    settled: impl Fn(u64) -> Amount,
) -> &'a mut LaneRecord {
    let first = || LaneRecord::new(settled(voucher.lane), voucher.clone());
    lanes.entry(voucher.lane).or_insert_with(first)
}
