//! What can be wrong with a did:ethr, its version, or what a node says about it.

use alloc::{format, string::String};

use depin_core::{Error, ErrorKind};

/// Why a did:ethr has no answer.
///
/// It is the source of the [`Error`] that the resolver gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EthrError {
    /// The id is no address and no compressed secp256k1 key.
    #[error(
        "a did:ethr ends in 0x and 40 hexadecimal digits of one case or with an eip-55 checksum, or in 0x \
         and the 66 digits of a compressed secp256k1 key"
    )]
    Id,
    /// The resolver was not given this network.
    #[error("no ledger for the network {0}; add it with EthrResolver::with_network")]
    Network(String),
    /// No registry contract is known for this network.
    #[error("no erc-1056 registry is known for the network {0}; name its address")]
    Registry(String),
    /// A `versionId` that is no block number.
    #[error("a version of did:ethr is a block number in decimal digits")]
    Version,
    /// A block or moment that the chain has not reached.
    #[error("the chain has not reached this version yet")]
    Future,
    /// The registry says that a block has events of the identity, and the node has none there.
    #[error(
        "the node lacks the events of block {block} that the registry points to; use an archive node"
    )]
    MissingEvents {
        /// The block.
        block: u64,
    },
    /// The node does not have a block that the registry points to.
    #[error("the node lacks block {block} that the registry points to; use an archive node")]
    MissingBlock {
        /// The block.
        block: u64,
    },
    /// The events of a block do not lead to an earlier one in the way the contract writes them.
    #[error(
        "the events of block {block} do not link to the change before; the node lost or added some, use \
         an archive node"
    )]
    BrokenLink {
        /// The block.
        block: u64,
    },
    /// The chain was reorganised while its events were read, nodes behind one URL disagree, or a node
    /// lacks events of a block that is not final yet.
    #[error(
        "block {block} was replaced while its events were read, or the node lacks them; try again, and \
         use an archive node if that does not help"
    )]
    Reorganised {
        /// The block.
        block: u64,
    },
    /// The history has more than the resolver takes.
    #[error("the history of the identity has too many {what}, of which the resolver takes {limit}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// A name that does not fit the contract's 32 bytes.
    #[error("a delegate type or attribute name has at most 32 bytes")]
    Name,
}

impl From<EthrError> for Error {
    fn from(error: EthrError) -> Self {
        let kind = match error {
            EthrError::Id | EthrError::Version | EthrError::Name => ErrorKind::Malformed,
            EthrError::Network(_) => ErrorKind::Unsupported,
            EthrError::Registry(_) => ErrorKind::Config,
            EthrError::Future
            | EthrError::MissingEvents { .. }
            | EthrError::MissingBlock { .. }
            | EthrError::BrokenLink { .. } => ErrorKind::NotFound,
            EthrError::Reorganised { .. } => ErrorKind::Unavailable,
            EthrError::TooLong { .. } => ErrorKind::Limit,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}
