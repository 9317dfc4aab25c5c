//! Paying an epoch twice: most of it when it closes, the rest when it settles.
//!
//! Work that comes after its epoch closed has a share in that epoch's pool, but what was paid cannot be taken
//! back. So every payout keeps a reserve until no more work is taken, and then everybody gets what is missing
//! to the share that they would have had, had all work been there from the start. Nobody is paid less than at
//! closing; when the reserve is smaller than what late work is due, all that is due is cut alike.
#![warn(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use depin_core::{
    Amount, Did, Error, ErrorKind, Result,
    reward::{Allocation, Payout},
};

use crate::LargestRemainder;

/// All of it, in basis points.
pub(crate) const ALL: u16 = 10_000;

/// What is paid of an allocation when its epoch closes: every payout less its reserve, which is rounded down.
///
/// ```
/// use depin_core::{Address, Amount, EpochId, reward::{Allocation, Payout}};
/// use depin_payment::settlement::{advance, settle};
///
/// let share = |device: &str, amount| Payout {
///     device: device.parse().unwrap(),
///     beneficiary: Address::repeat_byte(1),
///     amount: Amount::from(amount),
/// };
/// let of = |payouts: Vec<Payout>| Allocation {
///     epoch: EpochId::new(0),
///     emission: Amount::sum(payouts.iter().map(|payout| payout.amount)).unwrap(),
///     unallocated: Amount::ZERO,
///     payouts,
/// };
/// // At closing `a` had done all the work; by the time of settling `b` has shown that it did a tenth.
/// let closing = advance(&of(vec![share("did:example:a", 1_000)]), 2_000)?;
/// assert_eq!(closing.payouts, [share("did:example:a", 800)]);
/// let paid = closing.payouts.iter().map(|p| (p.device.clone(), p.amount)).collect();
/// let entitled = of(vec![share("did:example:a", 900), share("did:example:b", 100)]);
/// let rest = settle(&entitled, &paid)?;
/// assert_eq!(rest.payouts, [share("did:example:a", 100), share("did:example:b", 100)]);
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Config`] for a reserve of more than 10,000 basis points.
pub fn advance(entitled: &Allocation, reserve: u16) -> Result<Allocation> {
    if reserve > ALL {
        let message = "a reserve is at most 10000 basis points; give it in hundredths of a percent";
        return Err(Error::new(ErrorKind::Config, message).with("reserve", reserve));
    }
    let (reserve, all) = (Amount::from(u64::from(reserve)), Amount::from(u64::from(ALL)));
    let kept = |payout: &Payout| {
        let (reserved, _) = payout.amount.mul_div_rem(reserve, all)?;
        Ok(Payout { amount: payout.amount.checked_sub(reserved)?, ..payout.clone() })
    };
    let payouts = entitled.payouts.iter().map(kept).collect::<Result<Vec<_>>>()?;
    of(entitled, Amount::ZERO, payouts)
}

/// What is paid of an allocation when its epoch settles, given what each device was paid at closing.
///
/// Everybody is due what is missing to its share; when that is more than what is left of the emission, the rest
/// is split by what is due, with [`LargestRemainder`] in the order of the payouts.
///
/// # Errors
/// [`ErrorKind::Overflow`] when amounts do not fit.
pub fn settle(entitled: &Allocation, paid: &BTreeMap<Did, Amount>) -> Result<Allocation> {
    let spent = Amount::sum(paid.values().copied())?;
    let left = entitled.emission.checked_sub(spent).unwrap_or(Amount::ZERO);
    let due = |payout: &Payout| {
        let paid = paid.get(&payout.device).copied().unwrap_or_default();
        payout.amount.checked_sub(paid).unwrap_or(Amount::ZERO)
    };
    let due: Vec<Amount> = entitled.payouts.iter().map(due).collect();
    let amounts = if Amount::sum(due.iter().copied())? <= left {
        due
    } else {
        let weights: Vec<_> = due.iter().map(|due| due.to_units()).collect();
        LargestRemainder::split(left, &weights)?.shares
    };
    let payouts = entitled.payouts.iter().zip(amounts);
    let payouts = payouts.map(|(payout, amount)| Payout { amount, ..payout.clone() }).collect();
    of(entitled, entitled.unallocated, payouts)
}

/// Two allocations that are paid in one epoch, that of `now`.
///
/// # Errors
/// [`ErrorKind::Overflow`] when amounts do not fit, [`ErrorKind::Conflict`] when a device has two beneficiaries or
/// is paid twice in `now`.
pub fn together(now: &Allocation, earlier: &Allocation) -> Result<Allocation> {
    let mut payouts: BTreeMap<&Did, Payout> =
        now.payouts.iter().map(|payout| (&payout.device, payout.clone())).collect();
    if payouts.len() < now.payouts.len() {
        let message = "a device is paid twice in one allocation; add up its payouts first";
        return Err(Error::new(ErrorKind::Conflict, message).with("epoch", now.epoch));
    }
    for payout in &earlier.payouts {
        let Some(here) = payouts.get_mut(&payout.device) else {
            payouts.insert(&payout.device, payout.clone());
            continue;
        };
        if here.beneficiary != payout.beneficiary {
            let message = "a device is paid for two beneficiaries in one epoch";
            return Err(Error::new(ErrorKind::Conflict, message).with("did", &payout.device));
        }
        here.amount = here.amount.checked_add(payout.amount)?;
    }
    let unallocated = now.unallocated.checked_add(earlier.unallocated)?;
    of(now, unallocated, payouts.into_values().collect())
}

fn of(like: &Allocation, unallocated: Amount, mut payouts: Vec<Payout>) -> Result<Allocation> {
    payouts.retain(|payout| !payout.amount.is_zero());
    let emission = Amount::sum(payouts.iter().map(|payout| payout.amount))?;
    Ok(Allocation { epoch: like.epoch, emission, unallocated, payouts })
}
