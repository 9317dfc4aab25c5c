//! Curves: the allowance of each period.

use std::fmt;

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result};

use super::{mul_div, narrow};

/// Eras of a decaying curve; it allows nothing after them.
const MAX_ERAS: u64 = 1 << 20;
/// Denominator of fractions with 64 binary places.
const ONE: u128 = 1 << 64;

/// The allowance of period 0, 1, 2 and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Decay { initial: U256, interval: u64, numerator: u128, denominator: u128 },
    Table(Vec<(u64, U256)>),
}

impl Curve {
    /// Most rows of a table.
    pub const MAX_ROWS: usize = 256;

    /// `initial` per period, and after every `interval` periods `floor(amount * numerator / denominator)`.
    ///
    /// After 2^20 eras the curve allows nothing more unless it is flat, in the contract too: nobody has to
    /// follow a sum further. With eras of an hour that is after 119 years.
    ///
    /// ```
    /// use depin_core::Amount;
    /// use depin_payment::emission::Curve;
    ///
    /// // 15 % less every 52 weeks.
    /// let weekly = Curve::geometric(Amount::tokens(1_105_000), 52, 85, 100)?;
    /// assert_eq!(weekly.at(51)?, Amount::tokens(1_105_000));
    /// assert_eq!(weekly.at(52)?, Amount::tokens(939_250));
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the interval is zero, or unless `numerator <= denominator` and
    /// `0 < denominator <= 2^64`; [`ErrorKind::Limit`] when `initial` is not below 2^128.
    pub fn geometric(
        initial: Amount,
        interval: u64,
        numerator: u128,
        denominator: u128,
    ) -> Result<Self> {
        narrow("initial", initial)?;
        if interval == 0 || numerator > denominator || !(1..=ONE).contains(&denominator) {
            let text = "a curve decays after one or more periods, by a fraction of at most one with a denominator of at most 2^64";
            return Err(Error::new(ErrorKind::Config, text)
                .with("interval", interval)
                .with("numerator", numerator)
                .with("denominator", denominator));
        }
        let initial = initial.to_units();
        Ok(Self(Shape::Decay { initial, interval, numerator, denominator }))
    }

    /// The same amount for ever.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the amount is not below 2^128.
    pub fn flat(amount: Amount) -> Result<Self> {
        Self::geometric(amount, 1, 1, 1)
    }

    /// `initial` per period, and half of it (rounded down) after every `interval` periods.
    ///
    /// # Errors
    /// As [`geometric`](Self::geometric).
    pub fn halving(initial: Amount, interval: u64) -> Result<Self> {
        Self::geometric(initial, interval, 1, 2)
    }

    /// Exponential decay: every period a fraction of the one before, such that about half is left after
    /// `half_life` periods. The fraction is the largest with 64 binary places whose power `half_life`,
    /// by squaring and rounded down to 64 places at every step, is at most one half.
    ///
    /// ```
    /// use depin_core::Amount;
    /// use depin_payment::emission::Curve;
    ///
    /// let curve = Curve::exponential(Amount::tokens(1_000), 365)?;
    /// let [now, later] = [curve.at(0)?, curve.at(365)?];
    /// assert_eq!((now.to_string().as_str(), &later.to_string()[..13]), ("1000", "500.000000000"));
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the half-life is zero, [`ErrorKind::Limit`] when `initial` is not below
    /// 2^128.
    pub fn exponential(initial: Amount, half_life: u64) -> Result<Self> {
        if half_life == 0 {
            return Err(Error::new(ErrorKind::Config, "a half-life is at least one period"));
        }
        Self::geometric(initial, 1, retention(half_life), ONE)
    }

    /// A table of `(from, amount)`: each row holds from its period on, the last one for ever.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] unless there are 1 to 256 rows of which the first is for period 0 and each is
    /// for a later period than the one before, [`ErrorKind::Limit`] when an amount is not below 2^128.
    pub fn table(rows: impl IntoIterator<Item = (u64, Amount)>) -> Result<Self> {
        let rows: Vec<_> = rows.into_iter().take(Self::MAX_ROWS.saturating_add(1)).collect();
        let rising = rows.array_windows().all(|[a, b]| a.0 < b.0);
        if rows.first().is_none_or(|row| row.0 != 0) || !rising || rows.len() > Self::MAX_ROWS {
            let text =
                "a table has 1 to 256 rows, the first for period 0, each later than the one before";
            return Err(Error::new(ErrorKind::Config, text).with("rows", rows.len()));
        }
        rows.iter().try_for_each(|(_, amount)| narrow("amount", *amount))?;
        Ok(Self(Shape::Table(rows.into_iter().map(|(from, n)| (from, n.to_units())).collect())))
    }

    /// What contracts are deployed with.
    #[cfg(feature = "evm")]
    pub(crate) const fn shape(&self) -> &Shape {
        &self.0
    }

    /// The allowance of one period.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] for period 2^64 - 1, which is never over.
    pub fn at(&self, period: u64) -> Result<Amount> {
        let text = "periods are counted in 64 bits, so the last one is never over";
        let end = period.checked_add(1).ok_or_else(|| Error::new(ErrorKind::Limit, text))?;
        self.span(period, end)
    }

    /// The allowance of the periods from `from` to before `to`, exactly.
    ///
    /// # Errors
    /// None that is known: the sum stays below 2^192.
    pub fn span(&self, from: u64, to: u64) -> Result<Amount> {
        let sum = match &self.0 {
            Shape::Table(rows) => {
                let ends = rows.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
                rows.iter().zip(ends).try_fold(U256::ZERO, |sum, ((start, amount), end)| {
                    add(sum, *amount, overlap((*start, end), (from, to)))
                })
            }
            Shape::Decay { .. } => self.decayed(from, to),
        };
        sum.map(Amount::units)
    }

    fn decayed(&self, from: u64, to: u64) -> Result<U256> {
        let Shape::Decay { initial, interval, numerator, denominator } = self.0 else {
            return Ok(U256::ZERO);
        };
        let (mut amount, mut sum, mut start) = (initial, U256::ZERO, 0_u64);
        for _ in 0..MAX_ERAS {
            let flat = numerator == denominator;
            let end = if flat { u64::MAX } else { start.saturating_add(interval) };
            sum = add(sum, amount, overlap((start, end), (from, to)))?;
            if end >= to || amount.is_zero() {
                break;
            }
            start = end;
            amount = mul_div(amount, U256::from(numerator), U256::from(denominator))?;
        }
        Ok(sum)
    }

    /// The fraction that is left after an era, of 2^64 for [`exponential`](Self::exponential) curves, as
    /// the contract takes it: numerator and denominator. `None` for tables.
    pub const fn fraction(&self) -> Option<(u128, u128)> {
        match self.0 {
            Shape::Decay { numerator, denominator, .. } => Some((numerator, denominator)),
            Shape::Table(_) => None,
        }
    }

    /// The first amount and for how many periods it holds, as the contract takes it. `None` for tables.
    pub const fn era(&self) -> Option<(Amount, u64)> {
        match self.0 {
            Shape::Decay { initial, interval, .. } => Some((Amount::units(initial), interval)),
            Shape::Table(_) => None,
        }
    }

    /// The rows of a table, as the contract takes them; none for other curves.
    pub fn rows(&self) -> impl Iterator<Item = (u64, Amount)> {
        let rows = match &self.0 {
            Shape::Table(rows) => rows.as_slice(),
            Shape::Decay { .. } => &[],
        };
        rows.iter().map(|(from, amount)| (*from, Amount::units(*amount)))
    }
}

impl fmt::Display for Curve {
    /// The name with its parameters, for manifests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Decay { initial, interval, numerator, denominator } => {
                let initial = Amount::units(*initial);
                write!(
                    f,
                    "decay(initial={initial}, every={interval}, times={numerator}/{denominator})"
                )
            }
            Shape::Table(rows) => {
                f.write_str("table(")?;
                for (at, (from, amount)) in rows.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{from}:{}", Amount::units(*amount))?;
                }
                f.write_str(")")
            }
        }
    }
}

/// How many periods two ranges share.
fn overlap(a: (u64, u64), b: (u64, u64)) -> u64 {
    a.1.min(b.1).saturating_sub(a.0.max(b.0))
}

/// `sum + amount * periods`: 2^64 periods of less than 2^128 each stay below 2^192.
fn add(sum: U256, amount: U256, periods: u64) -> Result<U256> {
    let more = amount.checked_mul(U256::from(periods)).and_then(|more| sum.checked_add(more));
    more.ok_or_else(|| Error::new(ErrorKind::Overflow, "the emission passes 2^256"))
}

/// The largest fraction of 2^64 whose power `periods` is at most one half.
fn retention(periods: u64) -> u128 {
    let (mut low, mut high) = (0, ONE);
    // The power rises with its base: round-down keeps the order.
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        *(if power(middle, periods) <= ONE >> 1 { &mut low } else { &mut high }) = middle;
    }
    low
}

/// `base^exponent` of a fraction of 2^64 below one, rounded down to 64 places at every step.
fn power(mut base: u128, mut exponent: u64) -> u128 {
    let times = |a: u128, b: u128| a.checked_mul(b).map_or(a, |product| product >> 64);
    let mut power = ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = if power == ONE { base } else { times(power, base) };
        }
        base = times(base, base);
        exponent >>= 1;
    }
    power
}
