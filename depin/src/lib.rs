#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod books;
mod builder;
mod bundle;
mod checkpoint;
mod claim;
mod device;
mod enroll;
mod epoch;
mod events;
mod grant;
mod hardware;
mod history;
pub mod manual;
mod network;
pub mod presets;
mod publish;
mod roll;
mod rotate;
mod row;
mod rules;
mod seals;
#[cfg(feature = "evm")]
mod source;
mod withdraw;

pub use audit::Audit;
pub use builder::Builder;
pub use bundle::audit_bundle;
pub use device::Device;
pub use epoch::Epoch;
pub use events::Events;
pub use hardware::Hardware;
pub use network::Network;
pub use row::{RowAudit, audit_row};

pub use depin_core::{
    Address, Algorithm, Amount, B256, ChainId, Clock, Decimal, Did, EpochId, Error, ErrorKind,
    ManualClock, NetworkEvent, NetworkId, PublicKey, Reading, Result, Sequence, SignedBatch,
    Signer, SoftwareKey, SystemClock, Timestamp, Unverified, Verified,
    reading::Quantity,
    registry::DeviceStatus,
    transport::{Answer, Receipt, Refusal, RefusalCode},
};

/// The shared vocabulary and the seams.
pub use depin_core as core;
/// Signed batches, ingest, the durable log, quality checks, epochs.
pub use depin_data as data;
/// An Ethereum chain inside the process.
#[cfg(feature = "devnet")]
pub use depin_devnet as devnet;
/// EVM chains: handle, transactions, contract bindings.
#[cfg(feature = "evm")]
pub use depin_evm as evm;
/// Ethereum types and providers, in the version that the SDK is built on.
#[cfg(feature = "evm")]
pub use depin_evm::alloy;
/// Hardware attestation.
pub use depin_hw as hw;
/// Identifiers, documents, registries.
pub use depin_identity as identity;
/// Shares, reward trees, claims, emission, rails, treasury runs, books.
pub use depin_payment as payment;

/// Whole tokens as an [`Amount`]: `tokens(1_000)`.
///
/// ```
/// assert_eq!(depin::tokens(2).to_string(), "2");
/// ```
pub fn tokens(tokens: u64) -> Amount {
    Amount::tokens(tokens)
}

/// A whole number as a [`Decimal`]: `dec(-60)`.
///
/// ```
/// assert_eq!(depin::dec(-60).to_string(), "-60");
/// ```
pub fn dec(value: i32) -> Decimal {
    Decimal::from(value)
}
