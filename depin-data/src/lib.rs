#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod audit;
pub mod batch;
pub mod epoch;
pub mod log;
pub mod merkle;
pub mod quality;

pub use depin_core::{Error, ErrorKind, Result};
