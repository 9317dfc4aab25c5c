#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod audit;
pub mod batch;
pub mod epoch;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
pub mod ingest;
pub mod log;
pub mod merkle;
pub mod outbox;
pub mod quality;
pub mod receipt;
pub mod transport;

pub use depin_core::{Error, ErrorKind, Result};
