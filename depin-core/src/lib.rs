#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

extern crate alloc;

pub mod amount;
pub mod batch;
pub mod cbor;
pub mod clock;
pub mod cose;
pub mod decimal;
pub mod did;
pub mod document;
pub mod envelope;
pub mod error;
pub mod event;
pub mod evidence;
pub mod id;
pub mod key;
pub mod keystore;
pub mod log;
pub mod payment;
pub mod quality;
pub mod reading;
pub mod registry;
pub mod resolution;
pub mod reward;
pub mod signer;
pub mod transport;
pub mod trust;

pub use alloy_primitives::{Address, B256, Bytes, U256, address, b256, keccak256};

pub use amount::Amount;
pub use batch::{Batch, SignedBatch};
#[cfg(target_has_atomic = "64")]
pub use clock::ManualClock;
pub use clock::{Clock, Timestamp};
pub use decimal::Decimal;
pub use did::{Did, DidUrl};
pub use error::{Error, ErrorKind, Result};
pub use event::NetworkEvent;
pub use id::{ChainId, EpochId, NetworkId, Sequence};
pub use key::{Algorithm, PublicKey, Signature};
pub use reading::Reading;
pub use signer::{Signer, SoftwareKey};
pub use trust::{Unverified, Verified, Verifier};

#[cfg(feature = "std")]
pub use clock::SystemClock;
