//! What leaves a device, who is shown how much of it, and what an attacker makes of the rest.

#[cfg(feature = "geo")]
mod collected;
mod disclosure;
#[cfg(feature = "geo")]
mod places;
#[cfg(feature = "hpke")]
mod readings;
#[cfg(feature = "hpke")]
mod sealed;
