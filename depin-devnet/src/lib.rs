#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accounts;
mod admission;
mod block;
mod builder;
mod chain;
mod clock;
mod devnet;
mod dump;
mod error;
mod execute;
mod filter;
#[cfg(feature = "http")]
mod http;
mod logs;
mod pool;
mod rpc;
mod state;
mod transport;
mod trie;
mod wallet;

pub use builder::DevnetBuilder;
pub use clock::Clock;
pub use devnet::{Devnet, SnapshotId};
pub use error::{Error, ErrorKind};
#[cfg(feature = "http")]
pub use http::HttpServer;
pub use transport::DevnetTransport;
