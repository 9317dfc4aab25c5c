//! Emission that follows a measure: revenue, usage or stake, between a floor and the whole curve.

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result};

use super::{Curve, mul_div, narrow};
use crate::shares::classes::WHOLE;

/// Which way emission goes when the measure rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two ways")]
pub enum Direction {
    /// Up: for revenue or usage. All of the curve at or above the target.
    Rising,
    /// Down: for stake. All of the curve at nothing, the floor at or above the target.
    Falling,
}

/// What a measure has granted of a curve so far.
///
/// Somebody reports the measure once per completed period. A period that nobody reported grants the
/// floor.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::emission::{Curve, Direction, Targeted};
///
/// // 100 tokens per period, of which a fifth is certain and the rest depends on revenue.
/// let mut granted = Targeted::new(Amount::tokens(1_000), 2_000, Direction::Rising, Amount::tokens(9_999))?;
/// let curve = Curve::flat(Amount::tokens(100))?;
/// granted.report(&curve, 0, Amount::tokens(500), 3)?; // half of the target: 20 + 40
/// granted.report(&curve, 2, Amount::tokens(9_000), 3)?; // period 1 was missed: 20; then all
/// assert_eq!(granted.granted(), Amount::tokens(60 + 20 + 100));
/// assert!(granted.report(&curve, 2, Amount::ZERO, 3).is_err(), "reported already");
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targeted {
    target: U256,
    floor: u16,
    direction: Direction,
    cap: Amount,
    next: u64,
    granted: Amount,
}

impl Targeted {
    /// Nothing reported yet. `floor` is in basis points of the curve; `cap` is that of the schedule.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the target is zero or the floor above 10,000, [`ErrorKind::Limit`] when
    /// target or cap are not below 2^128.
    pub fn new(target: Amount, floor: u16, direction: Direction, cap: Amount) -> Result<Self> {
        narrow("target", target)?;
        narrow("cap", cap)?;
        if target.is_zero() || floor > WHOLE {
            let text = "a target is not zero and its floor at most 10,000 basis points";
            return Err(Error::new(ErrorKind::Config, text).with("floor", floor));
        }
        let target = target.to_units();
        Ok(Self { target, floor, direction, cap, next: 0, granted: Amount::ZERO })
    }

    /// The measure at which the curve stops to move, its floor in basis points, and its direction.
    #[cfg(feature = "evm")]
    pub(crate) const fn rule(&self) -> (U256, u16, Direction) {
        (self.target, self.floor, self.direction)
    }

    /// Everything granted so far: what may have been minted.
    pub const fn granted(&self) -> Amount {
        self.granted
    }

    /// The first period that was not reported yet.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Takes the measure of a period, and the floor for those before it that nobody reported. On error
    /// nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when this period or a later one was reported, [`ErrorKind::Rejected`] when
    /// the period is not among the `completed`, [`ErrorKind::Limit`] when the measure is not below 2^128.
    pub fn report(
        &mut self,
        curve: &Curve,
        period: u64,
        measure: Amount,
        completed: u64,
    ) -> Result<()> {
        narrow("measure", measure)?;
        if period < self.next {
            let text = "the period, or a later one, was reported already";
            return Err(Error::new(ErrorKind::Conflict, text).with("period", period));
        }
        let Some(next) = period.checked_add(1).filter(|next| *next <= completed) else {
            let text = "the period is not over; report it when it is";
            return Err(Error::new(ErrorKind::Rejected, text).with("period", period));
        };
        let missed = part(curve.span(self.next, period)?, self.floor)?;
        let reported = part(curve.at(period)?, self.basis_points(measure)?)?;
        let granted = self.granted.checked_add(missed)?.checked_add(reported)?;
        (self.granted, self.next) = (granted.min(self.cap), next);
        Ok(())
    }

    /// How much of the curve a measure grants.
    fn basis_points(&self, measure: Amount) -> Result<u16> {
        let measure = measure.to_units().min(self.target);
        let distance = match self.direction {
            Direction::Rising => measure,
            Direction::Falling => self.target.saturating_sub(measure),
        };
        let room = WHOLE.saturating_sub(self.floor);
        let above = mul_div(U256::from(room), distance, self.target)?;
        // At most `room`, since the distance is at most the target.
        Ok(self.floor.saturating_add(u16::try_from(above).unwrap_or(room)))
    }
}

fn part(amount: Amount, basis_points: u16) -> Result<Amount> {
    crate::shares::classes::basis_points(amount, u32::from(basis_points))
}
