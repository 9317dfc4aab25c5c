//! How fast a token may be issued.

use depin_core::{Amount, Error, ErrorKind, Result};

use crate::bindings::EmissionController::{Decay, Row, Schedule, Target};

/// What an emission controller is deployed with; see the contract for what the integers mean.
///
/// Made from a curve of `depin_payment::emission`, which computes the same to the last unit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emission {
    /// When periods are, and the most that is ever issued.
    pub schedule: Schedule,
    /// The curve as a decay, when there are no rows.
    pub decay: Decay,
    /// The curve as a table.
    pub rows: Vec<Row>,
    /// How reports scale the curve; all zero without reports.
    pub target: Target,
}

impl Emission {
    /// A curve from the constructor's parts.
    pub const fn new(schedule: Schedule, decay: Decay, rows: Vec<Row>, target: Target) -> Self {
        Self { schedule, decay, rows, target }
    }

    /// No curve: up to `cap`, whenever it is asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the cap is not below 2^128 units.
    pub fn at_any_time(cap: Amount) -> Result<Self> {
        let cap: u128 = cap.to_units().try_into().map_err(|_| {
            let text = "emission counts in 128 bits; choose a cap below 2^128 units";
            Error::new(ErrorKind::Limit, text).with("cap", cap)
        })?;
        // The first second of the Unix epoch allows everything, and is over.
        let schedule = Schedule { start: 0, period: 1, cap };
        let decay = Decay { initial: cap, interval: 1, num: 0, den: 1 };
        Ok(Self::new(schedule, decay, Vec::new(), Target::default()))
    }
}
