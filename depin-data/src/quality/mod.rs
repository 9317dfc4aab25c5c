//! Quality checks: what is wrong with readings, in exact arithmetic.
//!
//! Each check judges the readings of one device and quantity over an epoch and takes the point of those
//! it names, never of their neighbours. An epoch starts without memory of the one before, so a check
//! says nothing that an auditor could not see in the epoch's own batches.
//!
//! | check | code | which readings lose their point |
//! |---|---|---|
//! | [`Bounds`] | `out-of-bounds` | those outside the range, or in another unit |
//! | [`Stuck`] | `stuck` | those of a run of one value past the allowed count and time, unless excused |
//! | [`Jump`] | `jump` | those that the longest steady run cannot reach in allowed steps |
//! | [`Spike`] | `spike` | a lone one that both its neighbours in time contradict |
//! | [`Rate`] | `rate` | those further from a believed one in a window than the allowed span |
//! | [`Gap`] | `gap` | the first one after too long a silence |
//! | [`Duplicate`] | `duplicate` | all but the first of one quantity at one time |
//! | [`Only`] | `unexpected`, `context` | those of quantities that nobody asked for, or that are needed and earn nothing |
//! | [`Clock`] | `clock` | those earlier than one before them, and those since a clock was set off its beat |
//! | [`Relation`] | `implausible` | those that contradict another quantity of the same moment |
//! | [`Repeat`] | `repeat` | those of a stretch that repeats an earlier one |
//! | [`Travel`] | `impossible-travel` | fixes that cannot be reached from the rest of the track |
//!
//! Fleet checks judge devices against each other; the last three need the feature `geo`.
//!
//! | fleet check | code | which readings lose their point |
//! |---|---|---|
//! | [`Copied`] | `copied` | those of a stretch that another device had in the log first |
//! | [`Alike`] | `alike` | those of a stretch that is another device's up to noise, unless this one was first |
//! | `Neighbours` | `disagrees` | those of time slots in which the device is far from its neighbours' median |
//! | `Skew` | `clock-skew` | all, when the neighbours' values fit far better some slots earlier or later |
//! | `Density` | `crowded`, `no-place` | what is beyond a device's part of a full cell; all of a device without place |
//!
//! [`presets`] are lists of checks for kinds of networks, with the sources of their limits.
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

use depin_core::{
    B256, Batch, Did, Reading, Verified,
    quality::{Finding, Notes, Sent},
    reading::Quantity,
};

mod alike;
mod bounds;
mod clock;
mod copied;
mod duplicate;
mod gap;
mod habits;
mod jump;
mod only;
mod rate;
mod relation;
mod repeat;
mod rows;
mod spike;
mod stuck;
mod travel;
mod varint;

#[cfg(feature = "geo")]
mod density;
#[cfg(feature = "geo")]
mod neighbours;
#[cfg(feature = "geo")]
mod place;
#[cfg(feature = "geo")]
mod skew;
#[cfg(feature = "geo")]
mod slots;

pub mod presets;

pub use alike::Alike;
pub use bounds::Bounds;
pub use clock::Clock;
pub use copied::Copied;
pub use duplicate::Duplicate;
pub use gap::Gap;
pub use jump::Jump;
pub use only::Only;
pub use rate::Rate;
pub use relation::Relation;
pub use repeat::Repeat;
pub use spike::Spike;
pub use stuck::Stuck;
pub use travel::Travel;

#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
pub use {density::Density, neighbours::Neighbours, skew::Skew};

/// A reading and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    batch: B256,
    /// Place of the batch in the chain.
    nth: usize,
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
    batches.iter().enumerate().flat_map(|(nth, batch)| {
        let places = batch.readings.iter().enumerate();
        places.map(move |(position, reading)| Place { batch: batch.hash, nth, position, reading })
    })
}

/// The readings that no check took the point of before, in chain order.
fn kept<'a>(sent: &Sent<'a>) -> impl Iterator<Item = Place<'a>> {
    let sent = *sent;
    stream(sent.batches()).filter(move |at| sent.keeps(at.nth, at.position))
}

/// The readings of one quantity, in chain order.
fn stream_of<'a>(
    quantity: &'a Quantity,
    batches: &'a [&Verified<Batch>],
) -> impl Iterator<Item = Place<'a>> {
    stream(batches).filter(move |place| place.reading.quantity() == quantity)
}

/// Suspicions of devices whose notes stand at these places, which rise.
fn of_devices(
    notes: &dyn Notes,
    suspicions: impl IntoIterator<Item = (usize, Vec<u8>)>,
) -> Vec<(Did, Vec<u8>)> {
    let of = |(at, suspicion)| Some((notes.device(at)?.clone(), suspicion));
    suspicions.into_iter().filter_map(of).collect()
}

/// How a quantity stands in the name of a check: quoted, so that no two read the same.
fn quoted(quantity: &Quantity) -> String {
    format!("{:?} {:?}", quantity.name(), quantity.unit())
}

/// The median of the intervals between these times, in rising order, but at least `least`.
fn interval(times: impl Iterator<Item = u64>, least: u64) -> u64 {
    let times: Vec<u64> = times.collect();
    let mut intervals: Vec<u64> =
        times.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).collect();
    intervals.sort_unstable();
    intervals.get(intervals.len() / 2).copied().unwrap_or_default().max(least)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
