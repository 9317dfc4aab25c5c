//! Everything an owner says about places, as one step.

use alloc::vec::Vec;
use core::fmt;

use depin_core::Reading;

use super::{Coarsen, PrivacyZones, Zone};

/// What the owner of a device lets it tell about places: silence in zones, cells in place of coordinates, or both.
///
/// [`Collector::silent_in`](crate::collector::Collector::silent_in) and
/// [`Collector::coarsened`](crate::collector::Collector::coarsened) do this to every reading before it is kept; take
/// it by itself where there is no collector. With neither said, everything is told.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::{geo::Position, privacy::{Coarsen, Discretion, Zone}};
///
/// let home = Position::try_new(474_844_814, 109_756_895)?;
/// let mut owner = Discretion::default()
///     .silent_in([Zone::Circle { centre: home, radius: 500 }])
///     .coarsened(Coarsen::to(7)?);
/// let fix = |second, latitude: &str| {
///     let at = Timestamp::from_secs(second);
///     let reading = |name, unit, value: &str| Ok::<_, depin_core::Error>(Reading::new(Quantity::new(name, unit), Decimal::parse(value)?, at));
///     Ok::<_, depin_core::Error>(vec![reading("latitude", "lat", latitude)?, reading("longitude", "lon", "10.9756895")?])
/// };
/// assert!(owner.apply(fix(1, "47.4844")?).is_empty());
/// let told = owner.apply(fix(2, "47.4944")?);
/// assert_eq!(told.iter().map(|reading| reading.quantity().name()).collect::<Vec<_>>(), ["cell"]);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Discretion {
    zones: Option<PrivacyZones>,
    coarsen: Option<Coarsen>,
}

impl Discretion {
    /// Silence in these zones, and in those that were named before.
    #[must_use]
    pub fn silent_in(mut self, zones: impl IntoIterator<Item = Zone>) -> Self {
        let mut zones = zones.into_iter().peekable();
        if zones.peek().is_some() {
            self.zones.get_or_insert_with(|| PrivacyZones::new([])).add(zones);
        }
        self
    }

    /// Cells in place of coordinates. Of two resolutions the coarser one counts.
    #[must_use]
    pub fn coarsened(mut self, to: Coarsen) -> Self {
        self.coarsen = Some(self.coarsen.map_or(to, |earlier| earlier.coarser(to)));
        self
    }

    /// Whether the owner has said nothing, so that everything is told.
    ///
    /// ```
    /// use depin_data::privacy::{Coarsen, Discretion};
    ///
    /// assert!(Discretion::default().tells_all());
    /// assert!(!Discretion::default().coarsened(Coarsen::to(7)?).tells_all());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    pub const fn tells_all(&self) -> bool {
        self.zones.is_none() && self.coarsen.is_none()
    }

    /// What may be told of the readings, in their order. Give them in the order they were taken, and those of one
    /// moment together.
    pub fn apply(&mut self, readings: Vec<Reading>) -> Vec<Reading> {
        let outside = match &mut self.zones {
            Some(zones) => zones.apply(readings),
            None => readings,
        };
        match self.coarsen {
            Some(coarsen) => coarsen.apply(outside),
            None => outside,
        }
    }
}

/// Where the zones lie is what they are to hide.
impl fmt::Debug for Discretion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discretion")
            .field("is_silent_somewhere", &self.zones.is_some())
            .field("coarsen", &self.coarsen)
            .finish_non_exhaustive()
    }
}
