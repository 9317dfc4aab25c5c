#![doc = include_str!("../README.md")]
mod accounts;
mod admission;
mod block;
mod builder;
mod chain;
mod clock;
mod devnet;
mod error;
mod execute;
mod filter;
mod logs;
mod pool;
mod rpc;
mod state;
mod transport;
mod trie;

pub use builder::DevnetBuilder;
pub use clock::Clock;
pub use devnet::{Devnet, SnapshotId};
pub use error::{Error, ErrorKind};
pub use transport::DevnetTransport;
