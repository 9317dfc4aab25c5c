//! What the stories share: a moment, owners, readings.

use depin::{Address, Quantity, Reading, Timestamp, dec};

/// When every story plays.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

pub(crate) fn owner(number: u8) -> Address {
    Address::repeat_byte(number)
}

/// A reading a minute after [`celsius`]: the next epoch counts only what is later.
pub(crate) fn later(value: i32) -> Reading {
    Reading::new(
        Quantity::new("temperature", "Cel"),
        dec(value),
        Timestamp::from_secs(NOW.secs() + 60),
    )
}

/// A reading at [`NOW`].
pub(crate) fn celsius(value: i32) -> Reading {
    Reading::new(Quantity::new("temperature", "Cel"), dec(value), NOW)
}
