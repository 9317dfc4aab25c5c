//! Which batches a consumer wants, and which readings in them.

use std::collections::BTreeSet;

use depin_core::{Did, NetworkId, Reading, log::LogEntry};

use super::{Cursor, Delivery};
use crate::batch;
#[cfg(feature = "geo")]
use crate::geo::{CELL, Cell, LATITUDE, LONGITUDE, Position};

/// What a consumer wants: everything, or what each of the kinds that are named allows.
///
/// Several of one kind widen the choice, another kind narrows it. By device whole batches are chosen, gap
/// markers among them; by quantity and cell single readings, and batches that have one.
///
/// ```
/// use depin_core::NetworkId;
/// use depin_data::subscribe::Filter;
///
/// let network = NetworkId::parse("climate")?;
/// let filter = Filter::new(&network).device("did:example:a".parse()?).quantity("temperature");
/// assert!(!filter.takes_all());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    network: NetworkId,
    devices: BTreeSet<Did>,
    quantities: BTreeSet<String>,
    #[cfg(feature = "geo")]
    cells: Vec<Cell>,
}

/// What of a batch is wanted.
enum Wanted {
    Nothing,
    All,
    Readings(Vec<usize>),
}

impl Filter {
    /// Everything in the log of a network.
    pub fn new(network: &NetworkId) -> Self {
        Self {
            network: network.clone(),
            devices: BTreeSet::new(),
            quantities: BTreeSet::new(),
            #[cfg(feature = "geo")]
            cells: Vec::new(),
        }
    }

    /// Batches of this device, and of others that are named.
    #[must_use]
    pub fn device(mut self, device: Did) -> Self {
        self.devices.insert(device);
        self
    }

    /// Readings of the quantity with this name, and of others that are named.
    #[must_use]
    pub fn quantity(mut self, name: impl Into<String>) -> Self {
        self.quantities.insert(name.into());
        self
    }

    /// Readings taken in this cell, and in others that are named.
    ///
    /// A device tells where it is by readings of the quantity [`CELL`], or of [`LATITUDE`] followed by
    /// [`LONGITUDE`] of the same time. A reading was taken at the last such place before it in its batch;
    /// those before the first place count as taken there. A device that says less than the cell that is
    /// asked for (a coarser one) is not found.
    #[cfg(feature = "geo")]
    #[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
    #[must_use]
    pub fn cell(mut self, cell: Cell) -> Self {
        self.cells.push(cell);
        self
    }

    /// Whether nothing is left out.
    pub fn takes_all(&self) -> bool {
        self.devices.is_empty() && !self.by_reading()
    }

    fn by_reading(&self) -> bool {
        #[cfg(feature = "geo")]
        let cells = !self.cells.is_empty();
        #[cfg(not(feature = "geo"))]
        let cells = false;
        cells || !self.quantities.is_empty()
    }

    /// As parameters of a URL.
    #[cfg(feature = "http")]
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let devices = self.devices.iter().map(|device| ("device", device.to_string()));
        let quantities = self.quantities.iter().map(|name| ("quantity", name.clone()));
        let query = devices.chain(quantities);
        #[cfg(feature = "geo")]
        let query = query.chain(self.cells.iter().map(|cell| ("cell", cell.to_string())));
        query.collect()
    }

    /// Moves the cursor past the entry, and picks from it what is wanted.
    pub(crate) fn pick(&self, cursor: &mut Cursor, entry: LogEntry) -> Option<Delivery> {
        let skip = if entry.index == cursor.index() { cursor.reading() } else { 0 };
        *cursor = Cursor::batch(entry.index.saturating_add(1));
        let matches = match self.wants(&entry) {
            Wanted::Nothing => return None,
            Wanted::All if skip == 0 => None,
            Wanted::All => Some((skip..self.readings_in(&entry)).collect()),
            Wanted::Readings(positions) => {
                Some(positions.into_iter().filter(|position| *position >= skip).collect())
            }
        };
        let delivery = Delivery { entry, matches };
        delivery.matches.as_ref().is_none_or(|matches| !matches.is_empty()).then_some(delivery)
    }

    fn wants(&self, entry: &LogEntry) -> Wanted {
        let bytes = entry.batch.as_bytes();
        if !self.devices.is_empty() {
            // What is not a batch of this network has no device.
            let device = batch::claimed_signer(bytes, &self.network);
            if !device.is_ok_and(|device| self.devices.contains(&device)) {
                return Wanted::Nothing;
            }
        }
        if !self.by_reading() {
            return Wanted::All;
        }
        let Ok(claim) = batch::claim(bytes, &self.network) else { return Wanted::Nothing };
        let positions = self.positions(&claim.readings);
        if positions.is_empty() { Wanted::Nothing } else { Wanted::Readings(positions) }
    }

    fn readings_in(&self, entry: &LogEntry) -> usize {
        let claim = batch::claim(entry.batch.as_bytes(), &self.network);
        claim.map_or(0, |claim| claim.readings.len())
    }

    fn positions(&self, readings: &[Reading]) -> Vec<usize> {
        let there = self.in_cells(readings);
        let named = |reading: &Reading| {
            self.quantities.is_empty() || self.quantities.contains(reading.quantity().name())
        };
        let wanted = readings.iter().zip(there).enumerate();
        wanted.filter(|(_, (reading, there))| *there && named(reading)).map(|(at, _)| at).collect()
    }

    #[cfg(not(feature = "geo"))]
    fn in_cells(&self, readings: &[Reading]) -> Vec<bool> {
        vec![true; readings.len()]
    }

    /// Whether each reading was taken in a wanted cell.
    #[cfg(feature = "geo")]
    fn in_cells(&self, readings: &[Reading]) -> Vec<bool> {
        if self.cells.is_empty() {
            return vec![true; readings.len()];
        }
        let mut inside = Vec::with_capacity(readings.len());
        let (mut here, mut latitude) = (None, None);
        for reading in readings {
            let quantity = (reading.quantity().name(), reading.quantity().unit());
            let place = if quantity == CELL {
                Cell::from_value(reading.value()).ok().map(|cell| self.holds(cell))
            } else if quantity == LATITUDE {
                latitude = Some(reading);
                None
            } else if quantity == LONGITUDE {
                let north = latitude.filter(|north: &&Reading| north.at() == reading.at());
                let place =
                    north.and_then(|north| Position::of(north.value(), reading.value()).ok());
                place.map(|place| self.covers(place))
            } else {
                None
            };
            here = place.or(here);
            inside.push(here);
        }
        let first = inside.iter().flatten().next().copied().unwrap_or(false);
        inside.into_iter().map(|there| there.unwrap_or(first)).collect()
    }

    #[cfg(feature = "geo")]
    fn holds(&self, cell: Cell) -> bool {
        self.cells.iter().any(|wanted| wanted.holds(cell))
    }

    #[cfg(feature = "geo")]
    fn covers(&self, place: Position) -> bool {
        self.cells
            .iter()
            .any(|wanted| Cell::at(place, wanted.resolution()).is_ok_and(|cell| cell == *wanted))
    }
}
