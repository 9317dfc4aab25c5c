//! Giving burned tokens back to those who provide the service, within a band around their revenue.

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result, Timestamp};

use super::{Credits, Price, too_many};
use crate::shares::classes::WHOLE;

/// Spreads burns over time: every period releases the same fraction of what was burned and not released.
///
/// Nothing is released that was not burned, whatever is burned and when.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::credits::SmoothedBurn;
///
/// let mut burn = SmoothedBurn::over(4)?;
/// assert_eq!(burn.period(Amount::from(100))?, Amount::from(25));
/// assert_eq!(burn.period(Amount::ZERO)?, Amount::from(18)); // a quarter of 75
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmoothedBurn {
    periods: u64,
    held: Amount,
}

impl SmoothedBurn {
    /// Releases `1 / periods` of what is held in every period, rounded down.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `periods` is zero.
    pub fn over(periods: u64) -> Result<Self> {
        if periods == 0 {
            return Err(Error::new(ErrorKind::Config, "burns are spread over at least one period"));
        }
        Ok(Self { periods, held: Amount::ZERO })
    }

    /// What was burned and not released.
    pub const fn held(&self) -> Amount {
        self.held
    }

    /// Takes what a period burned, now that it is over, and returns what the next one may give back, as the
    /// contract has it. On error nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn period(&mut self, burned: Amount) -> Result<Amount> {
        let held = self.held.checked_add(burned)?;
        let released = held.mul_div(1.into(), self.periods.into())?;
        self.held = held.checked_sub(released)?;
        Ok(released)
    }
}

/// What happened in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "each is needed, and a default would mint")]
pub struct Usage {
    /// Credits that customers used.
    pub credits: U256,
    /// What [`SmoothedBurn`] released.
    pub smoothed_burn: Amount,
    /// What is emitted anyway.
    pub emission: Amount,
}

/// What a period gives back. Both together are at most the smoothed burn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reissue {
    /// Goes the way of the emission.
    pub re_emission: Amount,
    /// Also goes the way of the emission, so that the providers' part reaches its floor.
    pub top_up: Amount,
}

/// The band: of the burn, at most `ceiling` times the revenue is emitted again, and more only until the
/// providers get `floor` of the revenue.
///
/// With `value(n, p)` for the tokens that `n` credits are worth at price `p`, everything rounded down:
///
/// 1. `re_emission = min(smoothed_burn, value(credits, price) * ceiling)`
/// 2. `baseline = (emission + re_emission) * providers`
/// 3. `shortfall = value(credits, price - 2 * confidence) * floor - baseline`, not below zero
/// 4. `top_up = min(shortfall / providers, smoothed_burn - re_emission)`, and zero without providers
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backstop {
    ceiling: u32,
    floor: u32,
    providers: (u64, u64),
}

impl Backstop {
    /// Ceiling and floor in basis points of the revenue; `providers` is the fraction of the emission, as
    /// numerator and denominator, that reaches the providers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the fraction is above one or has a denominator of zero.
    pub fn new(ceiling: u32, floor: u32, providers: (u64, u64)) -> Result<Self> {
        if providers.1 == 0 || providers.0 > providers.1 {
            let text = "providers get a fraction of the emission that is at most one";
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(Self { ceiling, floor, providers })
    }

    /// What a period gives back: never more than its smoothed burn.
    ///
    /// # Errors
    /// As [`Credits::bought`].
    pub fn reissue(
        &self,
        credits: &Credits,
        usage: &Usage,
        price: &Price,
        now: Timestamp,
    ) -> Result<Reissue> {
        price.fresh(now, credits.max_age)?;
        let low = price.low()?;
        let value = |basis_points, rate| self.value(credits, usage, (basis_points, rate), price);
        let ceiling = value(self.ceiling, price.point()?)?;
        let re_emission = usage.smoothed_burn.min(ceiling);
        let (part, whole) = (Amount::from(self.providers.0), Amount::from(self.providers.1));
        let baseline = usage.emission.checked_add(re_emission)?.mul_div(part, whole)?;
        let target = value(self.floor, low)?;
        let shortfall = target.checked_sub(baseline).unwrap_or_default();
        let left = usage.smoothed_burn.checked_sub(re_emission)?;
        let top_up = match part.is_zero() {
            true => Amount::ZERO,
            // What does not even fit 256 bits is more than there is left.
            false => shortfall.mul_div(whole, part).unwrap_or(Amount::MAX).min(left),
        };
        Ok(Reissue { re_emission, top_up })
    }

    /// Basis points of the tokens that the used credits are worth at a rate; the division comes last.
    fn value(
        &self,
        credits: &Credits,
        usage: &Usage,
        (basis_points, rate): (u32, u64),
        price: &Price,
    ) -> Result<Amount> {
        let (times, over) = credits.scale(price)?;
        let scaled = usage.credits.checked_mul(U256::from(basis_points)).ok_or_else(too_many)?;
        let below = U256::from(rate).checked_mul(times).ok_or_else(too_many)?;
        let below = below.checked_mul(U256::from(WHOLE)).ok_or_else(too_many)?;
        Amount::units(scaled).mul_div(Amount::units(over), Amount::units(below))
    }
}
