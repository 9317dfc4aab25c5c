//! Device registries: ledgers that say who takes part, who owns it, and whether it is in good standing.
//!
//! The seam is [`DeviceRegistry`]; each ledger that implements it is a module here.

#[cfg(feature = "evm")]
#[cfg_attr(docsrs, doc(cfg(feature = "evm")))]
pub mod evm;
#[cfg(feature = "evm")]
#[cfg_attr(docsrs, doc(cfg(feature = "evm")))]
pub mod ioid;

pub use depin_core::registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment};
