//! What a sensor measured.

use alloc::sync::Arc;
use core::fmt;

use crate::{Decimal, Timestamp};

/// What is measured and in which unit.
///
/// The unit is a symbol of the SenML registry (RFC 8428), such as `Cel`, `%RH`, `Pa`, `m/s`. Cloning is
/// cheap; both texts have at most [`MAX_LEN`](Self::MAX_LEN) bytes on the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Arc<(Arc<str>, Arc<str>)>);

impl Quantity {
    /// Longest name or unit that a batch may carry, in bytes.
    pub const MAX_LEN: usize = 32;

    /// A quantity such as `("temperature", "Cel")`.
    pub fn new(name: &str, unit: &str) -> Self {
        Self(Arc::new((name.into(), unit.into())))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.0
    }

    /// The unit.
    pub fn unit(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.name(), self.unit())
    }
}

/// One measured value at one moment.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
///
/// let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::parse("-10.6")?, Timestamp::from_secs(1));
/// assert_eq!(reading.quantity().unit(), "Cel");
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    quantity: Quantity,
    value: Decimal,
    at: Timestamp,
}

impl Reading {
    /// A measured value.
    pub const fn new(quantity: Quantity, value: Decimal, at: Timestamp) -> Self {
        Self { quantity, value, at }
    }

    /// What was measured.
    pub const fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// The value, in the quantity's unit.
    pub const fn value(&self) -> Decimal {
        self.value
    }

    /// When, by the device's clock.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}
