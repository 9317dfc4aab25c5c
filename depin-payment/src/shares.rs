//! Splits an amount by weights, to the last unit.
//!
//! Rounding every share down loses dust, and dust that nobody owns is what treasurers ask about. The rule
//! here is named, exact and documented, so that anybody with integers can recompute it. [`bounded`] adds
//! floors and caps per recipient, [`classes`] splits what a device earned among those who share in it, and
//! [`carry`] says what becomes of what nobody earned.
#![warn(clippy::arithmetic_side_effects)]

pub mod bounded;
pub mod carry;
pub mod classes;

use std::cmp::Reverse;

use depin_core::{Amount, Error, ErrorKind, Result, U256};

use crate::threads;

/// What became of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// One share per weight, in the order of the weights.
    pub shares: Vec<Amount>,
    /// What nobody gets: the whole pool when all weights are zero; otherwise nothing, or with
    /// [`RoundDown`] the dust.
    pub unallocated: Amount,
}

/// What became of a pool among recipients with keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares<K> {
    /// Every recipient with its share, by key.
    pub shares: Vec<(K, Amount)>,
    /// What nobody gets: what caps leave over, or the whole pool when nobody has a claim to it.
    pub unallocated: Amount,
}

/// The rule of the largest remainder (Hamilton's method).
///
/// Each share is `floor(pool * weight / total)`, computed exactly through 512 bits. The units that
/// rounding left over, fewer than there are weights, go one each to the shares with the largest
/// remainders of that division; equal remainders are served from the lowest index on. A weight of zero
/// never gets a unit.
///
/// ```
/// use depin_core::{Amount, U256};
/// use depin_payment::LargestRemainder;
///
/// let weights = [3, 3, 1].map(U256::from);
/// let split = LargestRemainder::split(Amount::from(10), &weights)?;
/// assert_eq!(split.shares, [4, 4, 2].map(Amount::from)); // 4.28, 4.28, 1.42
/// assert!(split.unallocated.is_zero());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LargestRemainder;

impl LargestRemainder {
    /// The name of the rule, for manifests.
    pub const NAME: &'static str = "largest-remainder";

    /// Splits `pool` by `weights`: the shares and what is unallocated sum to `pool`, always.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when the weights sum to 2^256 or more.
    pub fn split(pool: Amount, weights: &[U256]) -> Result<Split> {
        let mut units = weights.to_vec();
        let unallocated = share_out(pool, &mut units, |weight| weight)?;
        Ok(Split { shares: units.into_iter().map(Amount::units).collect(), unallocated })
    }
}

/// Puts its share in the place of every weight, and answers what is unallocated.
fn share_out<T>(pool: Amount, among: &mut [T], of: impl Fn(&mut T) -> &mut U256) -> Result<Amount> {
    let total = sum(among.iter_mut().map(|one| *of(one)))?;
    if total.is_zero() {
        // Every weight is zero, and so is every share.
        return Ok(pool);
    }
    // A remainder is below the total, and narrow ones are sooner looked through.
    if u64::try_from(total).is_ok() {
        share_by(pool, total, among, of, |remainder| u64::try_from(remainder).ok())
    } else {
        share_by(pool, total, among, of, Some)
    }
}

/// As [`share_out`], with remainders kept as `R`.
fn share_by<T, R: Ord>(
    pool: Amount,
    total: U256,
    among: &mut [T],
    of: impl Fn(&mut T) -> &mut U256,
    narrow: impl Fn(U256) -> Option<R>,
) -> Result<Amount> {
    let (total, mut left) = (Amount::units(total), pool);
    let mut remainders = Vec::with_capacity(among.len());
    for (index, one) in among.iter_mut().enumerate() {
        let weight = of(one);
        let (share, remainder) = pool.mul_div_rem(Amount::units(*weight), total)?;
        *weight = share.to_units();
        left = left.checked_sub(share)?;
        remainders.push((Reverse(narrow(remainder.to_units()).ok_or_else(miscounted)?), index));
    }
    // Each remainder is below `total` and they sum to `left * total`: more than `left` of them are not
    // zero unless `left` is.
    let left = usize::try_from(left.to_units()).map_err(|_| miscounted())?;
    if left > 0 && left < remainders.len() {
        remainders.select_nth_unstable(left);
    }
    for (_, index) in remainders.iter().take(left) {
        let share = of(among.get_mut(*index).ok_or_else(miscounted)?);
        *share = share.checked_add(U256::ONE).ok_or_else(miscounted)?;
    }
    Ok(Amount::ZERO)
}

/// Splits `pool` by weight among recipients that a key tells apart, with [`LargestRemainder`] in the order
/// of the keys; the order of `recipients` does not matter. Floors and caps: [`bounded::share`].
///
/// ```
/// use depin_core::{Amount, U256};
/// use depin_payment::shares;
///
/// let split = shares::by_key(Amount::from(3), vec![("b", U256::from(1)), ("a", U256::from(1))])?;
/// assert_eq!(split.shares, [("a", Amount::from(2)), ("b", Amount::from(1))]);
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Conflict`] when a key is listed twice, [`ErrorKind::Overflow`] when the weights sum to
/// 2^256 or more.
pub fn by_key<K: Ord + Send>(pool: Amount, mut recipients: Vec<(K, U256)>) -> Result<Shares<K>> {
    threads::sort(&mut recipients, |a, b| a.0.cmp(&b.0));
    if recipients.array_windows().any(|[a, b]| a.0 == b.0) {
        return Err(listed_twice());
    }
    let unallocated = share_out(pool, &mut recipients, |(_, weight)| weight)?;
    let shares = recipients.into_iter().map(|(key, units)| (key, Amount::units(units)));
    Ok(Shares { shares: shares.collect(), unallocated })
}

/// Every share rounded down; the dust is reported as unallocated.
///
/// For networks that must agree with others who round so. With `n` weights that are not zero, fewer than
/// `n` units stay unallocated.
///
/// ```
/// use depin_core::{Amount, U256};
/// use depin_payment::shares::RoundDown;
///
/// let split = RoundDown::split(Amount::from(10), &[3, 3, 1].map(U256::from))?;
/// assert_eq!(split.shares, [4, 4, 1].map(Amount::from));
/// assert_eq!(split.unallocated, Amount::from(1));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundDown;

impl RoundDown {
    /// The name of the rule, for manifests.
    pub const NAME: &'static str = "round-down";

    /// Splits `pool` by `weights`: the shares and what is unallocated sum to `pool`, always.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when the weights sum to 2^256 or more.
    pub fn split(pool: Amount, weights: &[U256]) -> Result<Split> {
        let total = Amount::units(sum(weights.iter().copied())?);
        if total.is_zero() {
            return Ok(Split { shares: vec![Amount::ZERO; weights.len()], unallocated: pool });
        }
        let share = |weight: &U256| pool.mul_div(Amount::units(*weight), total);
        let shares = weights.iter().map(share).collect::<Result<Vec<_>>>()?;
        let unallocated = pool.checked_sub(Amount::sum(shares.iter().copied())?)?;
        Ok(Split { shares, unallocated })
    }
}

fn listed_twice() -> Error {
    Error::new(ErrorKind::Conflict, "a recipient is listed twice; add up its weights first")
}

fn sum(mut weights: impl Iterator<Item = U256>) -> Result<U256> {
    let total = weights.try_fold(U256::ZERO, |sum, weight| sum.checked_add(weight));
    total.ok_or_else(|| {
        Error::new(ErrorKind::Overflow, "the weights sum to 2^256 or more; scale them down")
    })
}

fn miscounted() -> Error {
    Error::new(ErrorKind::Overflow, "more units are left over than there are shares")
}
