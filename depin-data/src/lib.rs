#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

extern crate alloc;

// The device's side, which needs an allocator only.
pub mod batch;
pub mod collector;
pub mod geo;
pub mod merkle;
#[cfg(feature = "std")]
pub mod observe;
pub mod outbox;
pub mod privacy;
pub mod receipt;
pub mod units;
pub mod wire;

#[cfg(feature = "std")]
mod aside;
#[cfg(feature = "std")]
pub mod audit;
#[cfg(any(feature = "mqtt", feature = "nats"))]
mod broker;
#[cfg(feature = "std")]
pub mod bundle;
#[cfg(feature = "std")]
pub mod epoch;
#[cfg(feature = "std")]
pub mod evidence;
#[cfg(any(feature = "formats", feature = "parquet"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "formats", feature = "parquet"))))]
pub mod formats;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
#[cfg(feature = "std")]
pub mod ingest;
#[cfg(feature = "std")]
pub mod log;
#[cfg(feature = "mqtt")]
#[cfg_attr(docsrs, doc(cfg(feature = "mqtt")))]
pub mod mqtt;
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub mod nats;
#[cfg(feature = "std")]
pub mod quality;
#[cfg(feature = "std")]
pub mod subscribe;
#[cfg(any(feature = "mqtt", feature = "nats"))]
mod tls;
#[cfg(feature = "std")]
pub mod transport;

pub use depin_core::{Error, ErrorKind, Result};
