//! Shares with a floor and a cap per recipient.
//!
//! The rule is a water level: everybody gets `level * weight`, but not less than the floor and not more
//! than the cap, with the one level at which the pool is used up. It does not depend on any order, it is
//! found exactly (sorting fractions by cross multiplication in 512 bits), and where no bound binds it is
//! the plain split.

use std::cmp::Ordering;

use alloy_primitives::{U256, U512};
use depin_core::{Amount, Error, ErrorKind, Result};

use super::{LargestRemainder, Shares};

/// Who takes part, with which weight and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient<K> {
    key: K,
    weight: U256,
    floor: Amount,
    cap: Amount,
}

impl<K> Recipient<K> {
    /// A recipient without bounds. `key` tells recipients apart and breaks ties.
    pub const fn new(key: K, weight: U256) -> Self {
        Self { key, weight, floor: Amount::ZERO, cap: Amount::MAX }
    }

    /// Gets at least `floor`, whatever its weight.
    #[must_use]
    pub fn at_least(self, floor: Amount) -> Self {
        Self { floor, ..self }
    }

    /// Gets at most `cap`.
    #[must_use]
    pub fn at_most(self, cap: Amount) -> Self {
        Self { cap, ..self }
    }
}

/// The name of the rule, for manifests.
pub const NAME: &str = "water-level, largest-remainder";

/// Splits `pool` by weight within everybody's bounds. The order of `recipients` does not matter, and the
/// shares and what is unallocated sum to `pool`.
///
/// 1. When the pool does not cover the floors, it is split by the floors with [`LargestRemainder`].
/// 2. Otherwise a share is `level * weight` held between floor and cap, for the level at which the shares
///    use up the pool. Those at a bound get the bound; what remains is split among the others by weight
///    with [`LargestRemainder`], where equal remainders are served by key. That rounding never crosses a
///    bound.
/// 3. When everybody is at the cap, the rest is unallocated. A weight of zero gets its floor and no more.
///
/// ```
/// use depin_core::{Amount, U256};
/// use depin_payment::shares::bounded::{Recipient, share};
///
/// let recipients = vec![
///     Recipient::new("a", U256::from(8)).at_most(Amount::from(50)),
///     Recipient::new("b", U256::from(1)),
///     Recipient::new("c", U256::from(1)),
///     Recipient::new("d", U256::ZERO).at_least(Amount::from(10)),
/// ];
/// let split = share(Amount::from(101), recipients)?;
/// let expected = [("a", 50), ("b", 21), ("c", 20), ("d", 10)];
/// assert_eq!(split.shares, expected.map(|(key, units)| (key, Amount::from(units))));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Conflict`] when a key is listed twice, [`ErrorKind::Config`] when a floor is above its
/// cap, [`ErrorKind::Overflow`] when the weights, or floors that the pool does not cover, sum to 2^256 or
/// more.
pub fn share<K: Ord>(pool: Amount, mut recipients: Vec<Recipient<K>>) -> Result<Shares<K>> {
    recipients.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if recipients.array_windows().any(|[a, b]| a.key == b.key) {
        return Err(super::listed_twice());
    }
    if let Some(wrong) = recipients.iter().find(|recipient| recipient.floor > recipient.cap) {
        let text = "a recipient's floor is above its cap; lower the one or lift the other";
        return Err(Error::new(ErrorKind::Config, text)
            .with("floor", wrong.floor)
            .with("cap", wrong.cap));
    }
    let weights: Vec<U256> = recipients.iter().map(|recipient| recipient.weight).collect();
    // Checked here, so that whether weights are too large does not depend on bounds.
    super::sum(weights.iter().copied())?;
    let floors = || recipients.iter().map(|recipient| recipient.floor);
    let split = if Amount::sum(floors()).is_ok_and(|sum| sum <= pool) {
        level(pool, &recipients)?
    } else {
        LargestRemainder::split(pool, &floors().map(Amount::to_units).collect::<Vec<_>>())?
    };
    let keys = recipients.into_iter().map(|recipient| recipient.key);
    Ok(Shares { shares: keys.zip(split.shares).collect(), unallocated: split.unallocated })
}

/// A recipient leaves its floor, or reaches its cap, at the level `amount / weight`.
struct Turn {
    index: usize,
    capped: bool,
}

impl Turn {
    fn of<'a, K>(&self, recipients: &'a [Recipient<K>]) -> Option<(U256, &'a Recipient<K>)> {
        let recipient = recipients.get(self.index)?;
        let amount = if self.capped { recipient.cap } else { recipient.floor };
        Some((amount.to_units(), recipient))
    }

    /// By level; a recipient leaves its floor before it reaches its cap.
    fn order<K>(&self, other: &Self, recipients: &[Recipient<K>]) -> Ordering {
        let level = match (self.of(recipients), other.of(recipients)) {
            (Some((a, ours)), Some((b, theirs))) => {
                wide(a, theirs.weight).cmp(&wide(b, ours.weight))
            }
            _ => Ordering::Equal,
        };
        level.then(self.capped.cmp(&other.capped)).then(self.index.cmp(&other.index))
    }
}

fn wide(a: U256, b: U256) -> U512 {
    a.widening_mul(b)
}

/// Raises the level until the pool is used up. The floors are covered.
fn level<K>(pool: Amount, recipients: &[Recipient<K>]) -> Result<super::Split> {
    // What recipients at a bound hold, the weight of the others, and who those are. Who has no floor is
    // among them from the start.
    let mut held = Amount::sum(recipients.iter().map(|recipient| recipient.floor))?;
    let starts = |r: &Recipient<K>| r.floor.is_zero() && !r.weight.is_zero();
    let mut moves: Vec<bool> = recipients.iter().map(starts).collect();
    let from_start = recipients.iter().filter(|r| starts(r)).map(|r| Amount::units(r.weight));
    let mut moving = Amount::sum(from_start)?;
    let mut shares: Vec<Amount> = recipients.iter().map(|recipient| recipient.floor).collect();
    for turn in turns(recipients) {
        let Some((amount, recipient)) = turn.of(recipients) else { continue };
        let rest = pool.checked_sub(held)?;
        if wide(amount, moving.to_units()) >= wide(rest.to_units(), recipient.weight) {
            break; // at this level the pool is used up
        }
        let (amount, weight) = (Amount::units(amount), Amount::units(recipient.weight));
        if turn.capped {
            (held, moving) = (held.checked_add(amount)?, moving.checked_sub(weight)?);
        } else {
            (held, moving) = (held.checked_sub(amount)?, moving.checked_add(weight)?);
        }
        if let (Some(share), Some(moves)) = (shares.get_mut(turn.index), moves.get_mut(turn.index))
        {
            (*share, *moves) = (if turn.capped { amount } else { Amount::ZERO }, !turn.capped);
        }
    }
    let weight = |(recipient, moves): (&Recipient<K>, &bool)| {
        if *moves { recipient.weight } else { U256::ZERO }
    };
    let weights: Vec<U256> = recipients.iter().zip(&moves).map(weight).collect();
    let rest = LargestRemainder::split(pool.checked_sub(held)?, &weights)?;
    for (share, more) in shares.iter_mut().zip(rest.shares) {
        *share = share.checked_add(more)?;
    }
    Ok(super::Split { shares, unallocated: rest.unallocated })
}

/// Where the level meets a bound, from the lowest level on.
fn turns<K>(recipients: &[Recipient<K>]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (index, recipient) in recipients.iter().enumerate().filter(|(_, r)| !r.weight.is_zero()) {
        if !recipient.floor.is_zero() {
            turns.push(Turn { index, capped: false });
        }
        if recipient.cap != Amount::MAX {
            turns.push(Turn { index, capped: true });
        }
    }
    turns.sort_unstable_by(|a, b| a.order(b, recipients));
    turns
}
