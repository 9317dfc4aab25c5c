#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "credentials")]
pub mod credentials;
pub mod data_integrity;
pub mod document;
#[cfg(feature = "ioconnect-legacy")]
#[cfg_attr(docsrs, doc(cfg(feature = "ioconnect-legacy")))]
pub mod ioconnect;
pub mod json;
pub mod jws;
#[cfg(any(feature = "keystore", feature = "pem"))]
pub mod keys;
pub mod methods;
pub mod registry;
mod resolver;
pub mod verify_all;

pub use depin_core::{
    Did, DidUrl, Error, ErrorKind, PublicKey, Result,
    document::{DidDocument, Service, VerificationMethod},
    resolution::{DidResolver, Resolution, Version},
};

pub use resolver::Resolver;
