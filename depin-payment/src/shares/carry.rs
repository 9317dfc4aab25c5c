//! What becomes of what nobody earned.
//!
//! An epoch may offer more than it pays: nobody worked, or caps bound. Each network decides once what then
//! happens, by a rule with a name; every unit is paid, carried or lapsed, and the three are told apart.

use std::fmt;

use depin_core::{Amount, Error, ErrorKind, Result};

/// The rule for unallocated amounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carry {
    /// It lapses: it is never minted.
    #[default]
    Lapse,
    /// It raises the pool of the next epoch.
    Roll,
    /// It raises the pool of the next epoch, but no more than this is ever carried; the rest lapses.
    RollUpTo(Amount),
}

impl fmt::Display for Carry {
    /// The name of the rule with its parameter, for manifests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lapse => f.write_str("lapse"),
            Self::Roll => f.write_str("roll"),
            Self::RollUpTo(most) => write!(f, "roll-up-to({most})"),
        }
    }
}

/// What is carried from epoch to epoch under a rule.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::shares::carry::{Carry, Pot};
///
/// let mut pot = Pot::new(Carry::RollUpTo(Amount::from(15)));
/// assert_eq!(pot.pool(Amount::from(10))?, Amount::from(10));
/// pot.close(Amount::from(10), Amount::from(10))?; // nobody worked
/// assert_eq!(pot.pool(Amount::from(10))?, Amount::from(20));
/// let lapsed = pot.close(Amount::from(10), Amount::from(18))?;
/// assert_eq!((pot.carried(), lapsed), (Amount::from(15), Amount::from(3)));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pot {
    rule: Carry,
    carried: Amount,
}

impl Pot {
    /// Nothing carried yet.
    pub const fn new(rule: Carry) -> Self {
        Self { rule, carried: Amount::ZERO }
    }

    /// What waits for the next epoch.
    pub const fn carried(&self) -> Amount {
        self.carried
    }

    /// What the next epoch offers: its own amount and what was carried.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn pool(&self, fresh: Amount) -> Result<Amount> {
        self.carried.checked_add(fresh)
    }

    /// Ends an epoch that offered [`pool(fresh)`](Self::pool) and of which nobody earned `unallocated`.
    /// Returns what lapsed: what was carried before, plus `fresh`, is what was paid, is carried now and
    /// lapsed. On error nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when more is unallocated than was offered, [`ErrorKind::Overflow`] past
    /// 2^256 - 1.
    pub fn close(&mut self, fresh: Amount, unallocated: Amount) -> Result<Amount> {
        let pool = self.pool(fresh)?;
        if unallocated > pool {
            let text = "more is unallocated than the epoch offered";
            return Err(Error::new(ErrorKind::Rejected, text)
                .with("unallocated", unallocated)
                .with("pool", pool));
        }
        let carried = match self.rule {
            Carry::Lapse => Amount::ZERO,
            Carry::Roll => unallocated,
            Carry::RollUpTo(most) => unallocated.min(most),
        };
        let lapsed = unallocated.checked_sub(carried)?;
        self.carried = carried;
        Ok(lapsed)
    }
}
