//! did:ethr: documents from histories, walks over scripted and real ledgers.

mod bad_input;
#[cfg(feature = "evm")]
mod contract;
mod documents;
mod resolving;
mod scripted;
mod vectors;
