//! Places: where a device is, in integers, and the H3 cells that people pay for.
//!
//! Whatever decides over points must come out alike on every machine, so positions are integers of
//! 10^-7 degrees and [`Position::distance`] is integer arithmetic throughout. Cells (feature `geo`) are
//! computed by h3o, which takes sines from `libm` in Rust as long as nothing in the program turns on its
//! feature `std`; then the same position gives the same cell everywhere. Where a network pays by cell it is
//! nevertheless wiser to let devices sign the cell ([`CELL`]) than the degrees: a signed cell cannot come
//! out differently, and it tells less about its owner.

mod distance;
mod position;

#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
mod cell;

#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
pub use cell::Cell;
pub use position::Position;

/// Name and unit (SenML registry) of the quantity in which devices sign their latitude.
pub const LATITUDE: (&str, &str) = ("latitude", "lat");
/// Name and unit (SenML registry) of the quantity in which devices sign their longitude.
pub const LONGITUDE: (&str, &str) = ("longitude", "lon");
/// Name and unit of the quantity in which devices sign the H3 cell they are in, as an integer.
pub const CELL: (&str, &str) = ("cell", "h3");
