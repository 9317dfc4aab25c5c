//! Places whose surroundings the owner keeps to themself.

use alloc::vec::Vec;

use depin_core::{Error, ErrorKind, Reading, Result};
use rand_core::CryptoRngCore;

use super::coarsen::{Kind, places};
use crate::geo::{Cell, Position};

/// A place to be silent about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Zone {
    /// Everything within a distance.
    Circle {
        /// The middle.
        centre: Position,
        /// In metres.
        radius: u32,
    },
    /// Everything inside cells of any resolution.
    Cells(Vec<Cell>),
}

impl Zone {
    /// A circle in which `place` lies, but not in the middle.
    ///
    /// Where many tracks break off at the edge of a circle, its middle can be computed. So the middle is
    /// moved at random, by up to half the radius. Make a zone once and keep it: the middle of many
    /// random ones is the place again.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a radius below 100 metres, within which little can be hidden.
    pub fn around(
        place: Position,
        radius: u32,
        rng: &mut (impl CryptoRngCore + ?Sized),
    ) -> Result<Self> {
        if radius < 100 {
            return Err(Error::new(
                ErrorKind::Config,
                "a zone has a radius of at least 100 metres",
            ));
        }
        // A step of 10^-7 degrees is 11.1 mm at most; a third of the radius each way stays within half.
        let most = i64::from(radius) * 1000 / 3 / 12;
        let mut shift = || {
            let random = i64::from(rng.next_u32() >> 1);
            random % (2 * most + 1) - most
        };
        let moved = |from: i32, by: i64, limit: i64| {
            i32::try_from((i64::from(from) + by).clamp(-limit, limit)).unwrap_or(from)
        };
        let latitude = moved(place.latitude(), shift(), 900_000_000);
        let longitude = moved(place.longitude(), shift(), 1_800_000_000);
        Ok(Self::Circle { centre: Position::try_new(latitude, longitude)?, radius })
    }

    /// Whether a place lies inside, the edge included.
    pub fn holds(&self, place: Position) -> bool {
        match self {
            Self::Circle { centre, radius } => {
                centre.distance(place) <= u64::from(*radius).saturating_mul(1000)
            }
            Self::Cells(cells) => {
                let inside = |zone: &Cell| {
                    Cell::at(place, zone.resolution()).is_ok_and(|cell| cell == *zone)
                };
                cells.iter().any(inside)
            }
        }
    }

    /// Whether a cell that the device itself reports may reach inside: any of it in a circle, and one of two
    /// cells holding the other.
    fn touches(&self, cell: Cell) -> bool {
        match self {
            Self::Cells(cells) => cells.iter().any(|zone| zone.holds(cell) || cell.holds(*zone)),
            Self::Circle { centre, radius } => {
                let reach = u64::from(*radius).saturating_mul(1000).saturating_add(reach(cell));
                cell.centre().distance(*centre) <= reach
            }
        }
    }
}

/// No corner of a cell is further from its middle, in millimetres: the furthest middle of a neighbour is further
/// away than any corner.
fn reach(cell: Cell) -> u64 {
    let middle = cell.centre();
    let neighbours = cell.around(1);
    neighbours.iter().map(|near| near.centre().distance(middle)).max().unwrap_or_default()
}

/// Removes what was measured inside the owner's zones, before it is signed.
///
/// Readings without a place belong to the last place before them, so a temperature taken at home is as
/// silent as the coordinates. Until a place outside is known, nothing goes through; half a coordinate, or one that
/// is no place, may be home, so nothing goes through from there to the next place outside either. Give readings in
/// the order they were taken, those of one moment together.
///
/// Zones come before [`Coarsen`](super::Coarsen): of a device that only knows its cell, every cell that may
/// reach into a zone is silent.
///
/// The steps are integers, but what matters is what the device then signs: nobody repeats this step.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::{geo::Position, privacy::{PrivacyZones, Zone}};
///
/// let home = Position::try_new(474_844_814, 109_756_895)?;
/// let mut zones = PrivacyZones::new([Zone::Circle { centre: home, radius: 500 }]);
/// let track = |second, latitude: &str| {
///     let at = Timestamp::from_secs(second);
///     let reading = |name, unit, value: &str| Ok::<_, depin_core::Error>(Reading::new(Quantity::new(name, unit), Decimal::parse(value)?, at));
///     Ok::<_, depin_core::Error>(vec![reading("latitude", "lat", latitude)?, reading("longitude", "lon", "10.9756895")?])
/// };
/// assert_eq!(zones.apply(track(1, "47.4844")?).len(), 0);
/// assert_eq!(zones.apply(track(2, "47.4944")?).len(), 2);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrivacyZones {
    zones: Vec<Zone>,
    outside: bool,
}

impl PrivacyZones {
    /// Silence in all of these.
    pub fn new(zones: impl IntoIterator<Item = Zone>) -> Self {
        Self { zones: zones.into_iter().collect(), outside: false }
    }

    /// Silence in these too.
    pub(super) fn add(&mut self, zones: impl IntoIterator<Item = Zone>) {
        self.zones.extend(zones);
    }

    /// The readings that were taken outside, in their order.
    pub fn apply(&mut self, readings: Vec<Reading>) -> Vec<Reading> {
        let places = places(&readings);
        let mut told = Vec::with_capacity(readings.len());
        for moment in readings.chunk_by(|a, b| a.at() == b.at()) {
            let at = moment.first().map(Reading::at).unwrap_or_default();
            let cells = moment.iter().filter(|reading| Kind::of(reading) == Kind::Cell);
            let cells: Result<Vec<_>> =
                cells.map(|reading| Cell::from_value(reading.value())).collect();
            match (places.get(&at), cells) {
                // Neither says where.
                (Some(None), _) | (_, Err(_)) => self.outside = false,
                (None, Ok(cells)) if cells.is_empty() => {}
                (place, Ok(cells)) => {
                    let place = place.copied().flatten();
                    let inside = |zone: &Zone| {
                        place.is_some_and(|place| zone.holds(place))
                            || cells.iter().any(|cell| zone.touches(*cell))
                    };
                    self.outside = !self.zones.iter().any(inside);
                }
            }
            if self.outside {
                told.extend_from_slice(moment);
            }
        }
        told
    }
}
