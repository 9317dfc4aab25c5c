//! Places as cells, before anything is signed.

use alloc::{collections::BTreeMap, vec::Vec};

use depin_core::{Decimal, Error, ErrorKind, Reading, Result, Timestamp, reading::Quantity};

use crate::geo::{CELL, Cell, LATITUDE, LONGITUDE, Position};

/// Replaces coordinates by the H3 cell they lie in.
///
/// A latitude and a longitude of the same moment become one reading of [`CELL`]. A half of a pair, two
/// of a kind at one moment, and what is no place are removed: no exact coordinate goes through, however
/// it is named, as long as its unit is `lat` or `lon`. Finer cells become coarser ones.
///
/// The cell is computed once, here; what counts for everybody else is the cell that was signed.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::{geo::Cell, privacy::Coarsen};
///
/// let at = Timestamp::from_secs(1_700_000_000);
/// let reading = |name, unit, value| Ok::<_, depin_core::Error>(Reading::new(Quantity::new(name, unit), Decimal::parse(value)?, at));
/// let measured = vec![
///     reading("latitude", "lat", "47.4844814")?,
///     reading("longitude", "lon", "10.9756895")?,
///     reading("temperature", "Cel", "4.9")?,
/// ];
/// let told = Coarsen::to(6)?.apply(measured);
/// assert_eq!(told.len(), 2);
/// assert_eq!(Cell::from_value(told[0].value())?.resolution(), 6);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarsen {
    resolution: u8,
}

impl Coarsen {
    /// Cells of this resolution, from 0, coarse, to 15, fine; see the [edges](super).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is no such resolution.
    pub fn to(resolution: u8) -> Result<Self> {
        if resolution > Cell::MAX_RESOLUTION {
            return Err(Error::new(ErrorKind::Config, "resolutions of H3 are 0 to 15"));
        }
        Ok(Self { resolution })
    }

    /// The one of two that tells less.
    pub(super) fn coarser(self, other: Self) -> Self {
        Self { resolution: self.resolution.min(other.resolution) }
    }

    /// The readings with cells in place of coordinates, where the first of a pair was.
    pub fn apply(&self, readings: Vec<Reading>) -> Vec<Reading> {
        let mut places = places(&readings);
        let told = readings.into_iter().filter_map(|reading| match Kind::of(&reading) {
            Kind::Other => Some(reading),
            Kind::Cell => self.coarser_cell(reading.value(), reading.at()),
            Kind::Latitude | Kind::Longitude => {
                let cell = Cell::at(places.remove(&reading.at())??, self.resolution).ok()?;
                Some(cell_reading(cell, reading.at()))
            }
        });
        told.collect()
    }

    fn coarser_cell(&self, value: Decimal, at: Timestamp) -> Option<Reading> {
        let cell = Cell::from_value(value).ok()?;
        let cell = cell.coarser(self.resolution.min(cell.resolution())).ok()?;
        Some(cell_reading(cell, at))
    }
}

fn cell_reading(cell: Cell, at: Timestamp) -> Reading {
    Reading::new(Quantity::new(CELL.0, CELL.1), cell.value(), at)
}

/// What a reading tells about the place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Latitude,
    Longitude,
    Cell,
    Other,
}

impl Kind {
    /// By unit or by name, so that neither another name nor another unit is a way around.
    pub(super) fn of(reading: &Reading) -> Self {
        let (name, unit) = (reading.quantity().name(), reading.quantity().unit());
        let is = |kind: (&str, &str)| name == kind.0 || unit == kind.1;
        match () {
            () if is(LATITUDE) => Self::Latitude,
            () if is(LONGITUDE) => Self::Longitude,
            () if is(CELL) => Self::Cell,
            () => Self::Other,
        }
    }
}

/// The place of each moment that has a coordinate, if it has one of each and they are a place.
pub(super) fn places(readings: &[Reading]) -> BTreeMap<Timestamp, Option<Position>> {
    let mut halves: BTreeMap<Timestamp, (Vec<Decimal>, Vec<Decimal>)> = BTreeMap::new();
    for reading in readings {
        match Kind::of(reading) {
            Kind::Latitude => halves.entry(reading.at()).or_default().0.push(reading.value()),
            Kind::Longitude => halves.entry(reading.at()).or_default().1.push(reading.value()),
            Kind::Cell | Kind::Other => {}
        }
    }
    let place = |(north, east): (Vec<Decimal>, Vec<Decimal>)| match (&*north, &*east) {
        ([north], [east]) => Position::of(*north, *east).ok(),
        _ => None,
    };
    halves.into_iter().map(|(at, halves)| (at, place(halves))).collect()
}
