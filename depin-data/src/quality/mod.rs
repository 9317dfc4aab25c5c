//! Quality checks: what is wrong with readings, in exact arithmetic.
//!
//! Each check judges the readings of one device and quantity over an epoch and takes the point of those
//! it names, never of their neighbours. An epoch starts without memory of the one before, so a check
//! says nothing that an auditor could not see in the epoch's own batches.
//!
//! | check | code | which readings lose their point |
//! |---|---|---|
//! | [`Bounds`] | `out-of-bounds` | those outside the range, or in another unit |
//! | [`Stuck`] | `stuck` | those of a run of one value past the allowed count and time |
//! | [`Jump`] | `jump` | those that the longest steady run cannot reach in allowed steps |
//! | [`Gap`] | `gap` | the first one after too long a silence |
//! | [`Duplicate`] | `duplicate` | all but the first of one quantity at one time |
//! | [`Only`] | `unexpected` | those of quantities that nobody asked for |
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use depin_core::{Decimal, quality::QualityCheck};
//! use depin_data::quality::{Bounds, Duplicate, Gap, Jump, Only, Stuck};
//!
//! let (hour, ten_minutes) = (Duration::from_secs(3600), Duration::from_secs(600));
//! let checks: [Arc<dyn QualityCheck>; 6] = [
//!     Arc::new(Only::new([("temperature", "Cel")])),
//!     Arc::new(Bounds::new("temperature", "Cel", Decimal::from(-60)..=Decimal::from(60))),
//!     Arc::new(Stuck::new("temperature", "Cel", 12, 3 * hour)),
//!     Arc::new(Jump::new("temperature", "Cel", Decimal::from(5), ten_minutes)),
//!     Arc::new(Gap::new("temperature", "Cel", ten_minutes, 6)),
//!     Arc::new(Duplicate::within(ten_minutes)),
//! ];
//! assert_eq!(checks[1].name(), "bounds(\"temperature\" \"Cel\", -60..=60)");
//! ```

use std::borrow::Cow;

use depin_core::{B256, Batch, Reading, Verified, quality::Finding, reading::Quantity};

mod bounds;
mod duplicate;
mod gap;
mod jump;
mod only;
mod stuck;

pub use bounds::Bounds;
pub use duplicate::Duplicate;
pub use gap::Gap;
pub use jump::Jump;
pub use only::Only;
pub use stuck::Stuck;

/// A reading and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    batch: B256,
    position: usize,
    reading: &'a Reading,
}

impl Place<'_> {
    fn finding(&self, code: &'static str, detail: String) -> Finding {
        Finding { batch: self.batch, reading: self.position, code: Cow::Borrowed(code), detail }
    }
}

/// All readings as one stream, in chain order.
fn stream<'a>(batches: &'a [&Verified<Batch>]) -> impl Iterator<Item = Place<'a>> {
    batches.iter().flat_map(|batch| {
        let places = batch.readings.iter().enumerate();
        places.map(|(position, reading)| Place { batch: batch.hash, position, reading })
    })
}

/// The readings of one quantity, in chain order.
fn stream_of<'a>(
    quantity: &'a Quantity,
    batches: &'a [&Verified<Batch>],
) -> impl Iterator<Item = Place<'a>> {
    stream(batches).filter(move |place| place.reading.quantity() == quantity)
}

/// How a quantity stands in the name of a check: quoted, so that no two read the same.
fn quoted(quantity: &Quantity) -> String {
    format!("{:?} {:?}", quantity.name(), quantity.unit())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
