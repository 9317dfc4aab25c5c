//! H3 cells.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use depin_core::{Decimal, Error, ErrorKind, Result};
use h3o::{CellIndex, LatLng, Resolution};

use super::Position;

/// A cell of the H3 grid: a hexagon of the globe, from 4 million km² (resolution 0) to 1 m² (15).
///
/// ```
/// use depin_data::geo::{Cell, Position};
///
/// let here = Position::try_new(474_844_814, 109_756_895)?;
/// let road = Cell::at(here, 9)?;
/// assert_eq!(road, "891f88002b7ffff".parse()?);
/// let town = road.coarser(6)?;
/// assert_eq!((town.resolution(), town.holds(road)), (6, true));
/// assert_eq!(road.around(1).len(), 7);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(CellIndex);

impl Cell {
    /// Finest resolution.
    pub const MAX_RESOLUTION: u8 = 15;
    /// Largest radius of [`around`](Self::around), in cells.
    pub const MAX_AROUND: u32 = 32;

    /// The cell of `resolution` in which a place lies.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is no such resolution.
    pub fn at(position: Position, resolution: u8) -> Result<Self> {
        let degrees = |steps: i32| f64::from(steps) / 1e7;
        let place = LatLng::new(degrees(position.latitude()), degrees(position.longitude()));
        let place =
            place.map_err(|_| Error::new(ErrorKind::Malformed, "position is not finite"))?;
        Ok(Self(place.to_cell(known(resolution)?)))
    }

    /// The cell with this H3 index.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it is not the index of a cell.
    pub fn of(index: u64) -> Result<Self> {
        CellIndex::try_from(index).map(Self).map_err(|_| no_cell())
    }

    /// The cell that a reading of [`CELL`](super::CELL) names.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the value is not the index of a cell.
    pub fn from_value(value: Decimal) -> Result<Self> {
        const UNIT: i128 = 1_000_000_000_000;
        let scaled = value.scaled();
        let index = (scaled % UNIT == 0).then(|| u64::try_from(scaled / UNIT).ok()).flatten();
        Self::of(index.ok_or_else(no_cell)?)
    }

    /// The cell as the value of a reading of [`CELL`](super::CELL).
    pub fn value(self) -> Decimal {
        let index =
            i64::try_from(self.index()).expect("invariant: the first bit of an H3 index is 0");
        Decimal::new(index, 0).expect("invariant: integers have an exponent of 0 to 6")
    }

    /// The H3 index.
    pub fn index(self) -> u64 {
        self.0.into()
    }

    /// From 0, coarse, to [`MAX_RESOLUTION`](Self::MAX_RESOLUTION), fine.
    pub fn resolution(self) -> u8 {
        self.0.resolution().into()
    }

    /// The cell of a coarser resolution that this one belongs to, or itself at its own resolution.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `resolution` is finer than the cell.
    pub fn coarser(self, resolution: u8) -> Result<Self> {
        let parent = self.0.parent(known(resolution)?).map(Self);
        parent.ok_or_else(|| {
            Error::new(ErrorKind::Config, "a cell has no one finer cell; ask for a coarser")
        })
    }

    /// Whether `other` is this cell or one that belongs to it.
    pub fn holds(self, other: Self) -> bool {
        other.0.parent(self.0.resolution()) == Some(self.0)
    }

    /// All cells at most `k` steps away, itself among them, by rising index; `k` is at most
    /// [`MAX_AROUND`](Self::MAX_AROUND).
    pub fn around(self, k: u32) -> Vec<Self> {
        let mut cells: Vec<Self> =
            self.0.grid_disk_safe(k.min(Self::MAX_AROUND)).map(Self).collect();
        cells.sort_unstable();
        cells
    }

    /// Steps to another cell of the same resolution; `None` when the grid between them cannot be walked
    /// (another resolution, very far, or across a pentagon).
    pub fn steps(self, other: Self) -> Option<u32> {
        self.0.grid_distance(other.0).ok().and_then(|steps| steps.try_into().ok())
    }

    /// The middle of the cell.
    pub fn centre(self) -> Position {
        let place = LatLng::from(self.0);
        // Half a step towards the value's sign, so that the cast rounds; the bounds of the globe hold by
        // clamping, and a longitude beyond the date line is one on its other side.
        let steps = |degrees: f64, most: f64| {
            (degrees.clamp(-most, most) * 1e7 + 0.5f64.copysign(degrees)) as i32
        };
        let east = match place.lng() {
            east if east > 180.0 => east - 360.0,
            east if east < -180.0 => east + 360.0,
            east => east,
        };
        Position::try_new(steps(place.lat(), 90.0), steps(east, 180.0))
            .expect("invariant: clamped to the globe")
    }
}

impl FromStr for Cell {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|_| no_cell())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({self})")
    }
}

fn known(resolution: u8) -> Result<Resolution> {
    Resolution::try_from(resolution)
        .map_err(|_| Error::new(ErrorKind::Config, "resolutions of H3 are 0 to 15"))
}

fn no_cell() -> Error {
    Error::new(ErrorKind::Malformed, "not the index of an H3 cell, such as 891f88002b7ffff")
}
