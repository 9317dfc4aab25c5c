//! What leaves the device, who is shown how much of it, and who can read it.
//!
//! | step | hides | does not hide |
//! |---|---|---|
//! | [`Coarsen`] (feature `geo`) | the place inside a cell | the cell; speed, heading, height and whatever else was measured; when |
//! | [`PrivacyZones`] (feature `geo`) | everything measured near a place | that the device was silent, when it left and came back, and roughly where |
//! | [`Disclosure`] | the other readings of a batch | device, position in its chain, how many readings there are, the time of the shown ones |
//! | [`Sealing`] (feature `hpke`) | readings in a batch from all but one reader, for ever | how long they are; whatever was not sealed |
//! | [`seal`](seal()) (feature `hpke`) | the content from all but one reader | its length, who it is for, when it was sent |
//!
//! The first two happen before signing and cannot be undone by anybody; a
//! [`Collector`](crate::collector::Collector) does them to every reading that it takes
//! ([`Discretion`]), so that no firmware forgets. The others choose an audience;
//! what an audience has seen it can pass on. The log itself is public: whoever may read it sees every batch whole, but
//! for what is sealed in it; so what only an audience may see is sealed to it, or shown by disclosures in place of
//! access to the log. What is sealed earns nothing, since nobody can check it.
//!
//! Edges of H3 cells, on average: resolution 5: 9.9 km, 6: 3.7 km, 7: 1.4 km, 8: 531 m, 9: 201 m, 10: 76 m,
//! 11: 29 m, 12: 11 m. In the country a cell of 201 m may hold one house.

#[cfg(feature = "geo")]
mod coarsen;
mod disclosure;
#[cfg(feature = "geo")]
mod discretion;
#[cfg(feature = "hpke")]
mod readings;
#[cfg(feature = "hpke")]
mod sealed;
#[cfg(feature = "std")]
pub(crate) mod witness;
#[cfg(feature = "geo")]
mod zones;

#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
pub use coarsen::Coarsen;
pub use disclosure::{
    Commitment, DISCLOSURE_PURPOSE, Disclosure, DisclosureError, DisclosureVerifier,
    MAX_DISCLOSURE, Shown,
};
#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
pub use discretion::Discretion;
#[cfg(feature = "hpke")]
#[cfg_attr(docsrs, doc(cfg(feature = "hpke")))]
pub use readings::{SEALED_READINGS, Sealing, open_readings, seal_readings};
#[cfg(feature = "hpke")]
#[cfg_attr(docsrs, doc(cfg(feature = "hpke")))]
pub use sealed::{Context, MAX_SEALED, ReaderKey, ReaderSecret, SealError, seal};
#[cfg(feature = "http")]
pub(crate) use witness::witness_of;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use witness::{WITNESS_PURPOSE, Witnessed, witnessed};
#[cfg(feature = "geo")]
#[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
pub use zones::{PrivacyZones, Zone};
