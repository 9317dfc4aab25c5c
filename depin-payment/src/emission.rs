//! How much may exist, and when: the integer rules of the emission controller's contract.
//!
//! Time is cut into periods, a [`Curve`] allows an amount for each completed one, and a cap stands above
//! the sum. What is not minted in its period may be minted later, never earlier. Everything is in whole
//! base units below 2^128 with products in 256 bits and divisions that round down, so that the contract
//! and this module agree to the last unit.
#![warn(clippy::arithmetic_side_effects)]

mod curve;
mod samples;
mod targeted;

use std::fmt;

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result, Timestamp};

pub use curve::Curve;
#[cfg(feature = "evm")]
pub(crate) use curve::Shape;
pub use samples::{Sample, TargetSample, samples, target_samples};
pub use targeted::{Direction, Targeted};

/// When periods begin, how long they are, and what a network never mints more than.
///
/// ```
/// use depin_core::{Amount, Timestamp};
/// use depin_payment::emission::{Curve, Schedule};
///
/// // A thousand tokens a day, half as many after every year; never more than 500,000.
/// let curve = Curve::halving(Amount::tokens(1_000), 365)?;
/// let start = Timestamp::from_secs(1_700_000_000);
/// let schedule = Schedule::new(start, 86_400, Amount::tokens(500_000), curve)?;
///
/// let day = |n: u64| Timestamp::from_secs(1_700_000_000 + n * 86_400);
/// assert_eq!(schedule.allowed(start)?, Amount::ZERO);
/// assert_eq!(schedule.allowed(day(366))?, Amount::tokens(365_500));
/// assert_eq!(schedule.allowed(day(5_000))?, Amount::tokens(500_000));
/// assert_eq!(schedule.mintable(day(2), Amount::tokens(500))?, Amount::tokens(1_500));
/// assert_eq!(schedule.at(400)?, Amount::tokens(500));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    start: u64,
    period: u64,
    cap: Amount,
    curve: Curve,
}

impl Schedule {
    /// Periods of `period` seconds from `start` on (its whole second), and at most `cap` ever.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the period or the cap is zero, [`ErrorKind::Limit`] when the cap is not
    /// below 2^128.
    pub fn new(start: Timestamp, period: u64, cap: Amount, curve: Curve) -> Result<Self> {
        if period == 0 || cap.is_zero() {
            let text = "an emission schedule needs a period and a cap that are not zero";
            return Err(Error::new(ErrorKind::Config, text));
        }
        narrow("cap", cap)?;
        Ok(Self { start: start.secs(), period, cap, curve })
    }

    /// The curve.
    pub const fn curve(&self) -> &Curve {
        &self.curve
    }

    /// When period 0 begins.
    pub const fn start(&self) -> Timestamp {
        Timestamp::from_secs(self.start)
    }

    /// The length of a period in seconds.
    pub const fn period(&self) -> u64 {
        self.period
    }

    /// The largest sum ever minted.
    pub const fn cap(&self) -> Amount {
        self.cap
    }

    /// How many periods are over.
    pub const fn completed(&self, now: Timestamp) -> u64 {
        match now.secs().saturating_sub(self.start).checked_div(self.period) {
            Some(periods) => periods,
            None => 0, // no schedule has such a period
        }
    }

    /// Everything that may have been minted by now: the curve's sum over completed periods, at most the
    /// cap. It never falls.
    ///
    /// # Errors
    /// As [`Curve::span`].
    pub fn allowed(&self, now: Timestamp) -> Result<Amount> {
        Ok(self.curve.span(0, self.completed(now))?.min(self.cap))
    }

    /// What one period adds to what is allowed: the allowance of the curve, or what the cap leaves of it.
    ///
    /// # Errors
    /// As [`Curve::at`].
    pub fn at(&self, period: u64) -> Result<Amount> {
        let before = self.curve.span(0, period)?.min(self.cap);
        before
            .checked_add(self.curve.at(period)?)
            .and_then(|sum| sum.min(self.cap).checked_sub(before))
    }

    /// What may be minted now when `minted` was minted so far.
    ///
    /// # Errors
    /// As [`Curve::span`].
    pub fn mintable(&self, now: Timestamp, minted: Amount) -> Result<Amount> {
        let allowed = self.allowed(now)?.to_units();
        Ok(Amount::units(allowed.saturating_sub(minted.to_units())))
    }
}

impl fmt::Display for Schedule {
    /// The curve with cap, start and period, for manifests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, period, cap, curve } = self;
        write!(f, "{curve} up to {cap} by {period} s from {start}")
    }
}

/// Refuses what the contract cannot hold in 128 bits.
fn narrow(name: &'static str, amount: Amount) -> Result<()> {
    if amount.to_units().bit_len() > 128 {
        let text = "emission counts in 128 bits; choose amounts below 2^128 base units";
        return Err(Error::new(ErrorKind::Limit, text).with(name, amount));
    }
    Ok(())
}

/// `floor(a * b / c)` of numbers whose product fits 256 bits.
fn mul_div(a: U256, b: U256, c: U256) -> Result<U256> {
    Ok(Amount::units(a).mul_div(Amount::units(b), Amount::units(c))?.to_units())
}
