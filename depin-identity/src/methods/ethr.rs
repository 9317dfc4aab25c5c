//! did:ethr, the method of ERC-1056: an Ethereum account whose document is a history of events.
//!
//! Every address and every compressed secp256k1 key is a DID without a transaction. A registry contract,
//! one per network, emits an event for each change of owner, delegate or attribute, and every event names
//! the block of the one before it. From such a [`History`] the document at any block or moment follows by
//! a pure function, [`document()`]. [`EthrResolver`] walks the links over a [`Ledger`] and keeps what is
//! final; `EthrController` (feature `evm`) writes.
//!
//! Follows the ethr DID method specification, and on one point the contract instead of the text: what is
//! valid *to* a second is not valid *in* it, so the version that revokes a key no longer has the key.

mod attribute;
#[cfg(feature = "evm")]
mod chain;
#[cfg(feature = "evm")]
mod controller;
mod document;
mod edit;
mod error;
mod history;
mod ledger;
mod network;
#[cfg(feature = "std")]
mod record;
#[cfg(feature = "std")]
mod resolver;
mod syntax;
#[cfg(feature = "std")]
mod walk;

pub(super) use document::ACCOUNT;
pub use document::{Moment, document};
pub use edit::{Edit, bytes32};
pub use error::EthrError;
pub use history::{Block, Change, History};
pub use ledger::{BlockHead, Event, Ledger};
pub use network::Network;
pub use syntax::{Identifier, METHOD, from_address, from_key, parse};

#[cfg(feature = "evm")]
#[cfg_attr(docsrs, doc(cfg(feature = "evm")))]
pub use chain::{ChainLedger, Finality};
#[cfg(feature = "evm")]
#[cfg_attr(docsrs, doc(cfg(feature = "evm")))]
pub use controller::{EthrController, SignedEdit};
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use resolver::EthrResolver;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use walk::Limits;
