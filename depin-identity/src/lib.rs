#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod birth;
#[cfg(feature = "credentials")]
pub mod credentials;
pub mod data_integrity;
pub mod delegation;
pub mod document;
#[cfg(feature = "http")]
mod fetch;
#[cfg(feature = "ioconnect-legacy")]
#[cfg_attr(docsrs, doc(cfg(feature = "ioconnect-legacy")))]
pub mod ioconnect;
pub mod json;
pub mod jwk;
pub mod jws;
mod keyring;
#[cfg(any(feature = "keystore", feature = "pem"))]
pub mod keys;
pub mod login;
mod mac;
pub mod methods;
mod percent;
mod period;
pub mod registry;
pub mod resolution;
mod resolver;
pub mod sybil;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod universal;
mod wire;

pub use depin_core::{
    Did, DidUrl, Error, ErrorKind, PublicKey, Result,
    document::{DidDocument, Service, VerificationMethod},
    resolution::{DidResolver, Resolution, Version},
};

pub use keyring::KeyRing;
pub use period::Period;
#[cfg(feature = "std")]
pub use resolver::CacheLimits;
pub use resolver::{Resolver, Resource, resolve_url};
