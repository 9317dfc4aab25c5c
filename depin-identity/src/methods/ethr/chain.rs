//! The registry on an EVM chain, behind a node that answers JSON-RPC.

use async_trait::async_trait;
use depin_core::{Address, B256, Bytes, Error, ErrorKind, Result, Timestamp, U256};
use depin_evm::{
    Chain,
    alloy::{
        eips::{BlockId, BlockNumberOrTag},
        providers::{DynProvider, Provider},
        rpc::types::{Filter, Log},
        sol_types::SolEvent,
    },
};

use super::{BlockHead, Change, Event, Ledger, Network};

/// The public interface of ERC-1056's registry, as far as it is used here.
pub(super) mod registry {
    #![expect(
        clippy::too_many_arguments,
        reason = "sol! writes these items; ERC-1056 says what they mean"
    )]

    depin_evm::alloy::sol! {
        #[sol(rpc)]
        interface Erc1056 {
            event DIDOwnerChanged(address indexed identity, address owner, uint256 previousChange);
            event DIDDelegateChanged(
                address indexed identity, bytes32 delegateType, address delegate, uint256 validTo,
                uint256 previousChange
            );
            event DIDAttributeChanged(
                address indexed identity, bytes32 name, bytes value, uint256 validTo,
                uint256 previousChange
            );

            function changed(address identity) external view returns (uint256);
            function nonce(address signer) external view returns (uint256);
            function identityOwner(address identity) external view returns (address);

            function changeOwner(address identity, address newOwner) external;
            function changeOwnerSigned(
                address identity, uint8 v, bytes32 r, bytes32 s, address newOwner
            ) external;
            function addDelegate(
                address identity, bytes32 delegateType, address delegate, uint256 validity
            ) external;
            function addDelegateSigned(
                address identity, uint8 v, bytes32 r, bytes32 s, bytes32 delegateType,
                address delegate, uint256 validity
            ) external;
            function revokeDelegate(address identity, bytes32 delegateType, address delegate) external;
            function revokeDelegateSigned(
                address identity, uint8 v, bytes32 r, bytes32 s, bytes32 delegateType, address delegate
            ) external;
            function setAttribute(
                address identity, bytes32 name, bytes value, uint256 validity
            ) external;
            function setAttributeSigned(
                address identity, uint8 v, bytes32 r, bytes32 s, bytes32 name, bytes value,
                uint256 validity
            ) external;
            function revokeAttribute(address identity, bytes32 name, bytes value) external;
            function revokeAttributeSigned(
                address identity, uint8 v, bytes32 r, bytes32 s, bytes32 name, bytes value
            ) external;
        }
    }
}

use registry::Erc1056;

/// When a block counts as final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finality {
    /// When the node calls it `finalized`.
    #[default]
    Node,
    /// When so many blocks follow it: for chains without that tag. 0 says that every block is final.
    Depth(u64),
}

/// An ERC-1056 registry on an EVM chain.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, ChainId};
/// use depin_devnet::Devnet;
/// use depin_evm::Chain;
/// use depin_identity::{ErrorKind, methods::ethr::{ChainLedger, Finality, Ledger, Network}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let nowhere = Network::new("factory", chain.id()).at(Address::repeat_byte(9));
/// let ledger = ChainLedger::new(chain, &nowhere)?.with_finality(Finality::Depth(2));
/// let missing = ledger.changed(Address::ZERO, None).await.unwrap_err();
/// assert_eq!(missing.kind(), ErrorKind::NotFound);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ChainLedger {
    chain: Chain,
    registry: Address,
    finality: Finality,
}

impl ChainLedger {
    /// The registry of `network`, which `chain` must be.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the chain has another id, or the network no known registry.
    pub fn new(chain: Chain, network: &Network) -> Result<Self> {
        if chain.id() != network.chain {
            let message = "the chain is not that of the did:ethr network; connect to the right one";
            return Err(Error::new(ErrorKind::Config, message)
                .with("network", &network.name)
                .with("expected", network.chain)
                .with("found", chain.id()));
        }
        Ok(Self { registry: network.registry()?, chain, finality: Finality::default() })
    }

    /// Decides when a block is final; as the node says, unless told.
    #[must_use]
    pub const fn with_finality(mut self, finality: Finality) -> Self {
        self.finality = finality;
        self
    }

    fn contract(&self) -> Erc1056::Erc1056Instance<&DynProvider> {
        Erc1056::new(self.registry, self.chain.provider())
    }

    /// The event in a log, or `None` when it is not about this identity and block, whatever was asked.
    fn event(&self, log: &Log, identity: Address, number: u64) -> Option<Event> {
        let about = log.inner.address == self.registry
            && log.inner.topics().get(1) == Some(&identity.into_word())
            && log.block_number == Some(number)
            && !log.removed;
        let (change, previous) = change(log).filter(|_| about)?;
        Some(Event::new(log.block_hash?, log.log_index?, saturated(previous), change))
    }
}

fn change(log: &Log) -> Option<(Change, U256)> {
    let topic = log.topic0()?;
    if *topic == Erc1056::DIDOwnerChanged::SIGNATURE_HASH {
        let event = Erc1056::DIDOwnerChanged::decode_log(&log.inner).ok()?.data;
        return Some((Change::Owner(event.owner), event.previousChange));
    }
    if *topic == Erc1056::DIDDelegateChanged::SIGNATURE_HASH {
        let event = Erc1056::DIDDelegateChanged::decode_log(&log.inner).ok()?.data;
        let (kind, delegate) = (event.delegateType, event.delegate);
        let valid_to = saturated(event.validTo);
        return Some((Change::Delegate { kind, delegate, valid_to }, event.previousChange));
    }
    let event = Erc1056::DIDAttributeChanged::decode_log(&log.inner).ok()?.data;
    let (name, value) = (event.name, Bytes::from(event.value.to_vec()));
    let valid_to = saturated(event.validTo);
    Some((Change::Attribute { name, value, valid_to }, event.previousChange))
}

/// Owners may write numbers that mean "for ever".
fn saturated(number: U256) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[async_trait]
impl Ledger for ChainLedger {
    async fn changed(&self, identity: Address, at: Option<u64>) -> Result<u64> {
        let contract = self.contract();
        let head = contract.changed(identity);
        let Some(number) = at else { return self.chain.read(&head).await.map(saturated) };
        let then = contract.changed(identity).block(BlockId::number(number));
        match self.chain.read(&then).await {
            // There was no registry yet, if there is one now.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.chain.read(&head).await.map(|_| 0)
            }
            answer => answer.map(saturated),
        }
    }

    async fn events(&self, identity: Address, block: u64) -> Result<Vec<Event>> {
        let filter = Filter::new()
            .address(self.registry)
            .event_signature(vec![
                Erc1056::DIDOwnerChanged::SIGNATURE_HASH,
                Erc1056::DIDDelegateChanged::SIGNATURE_HASH,
                Erc1056::DIDAttributeChanged::SIGNATURE_HASH,
            ])
            .topic1(identity.into_word())
            .from_block(block)
            .to_block(block);
        let logs = self.chain.ask(self.chain.provider().get_logs(&filter)).await?;
        let malformed = || {
            let message = "the node answered with a log that was not asked for or is no erc-1056 event; \
                           use another node";
            Error::new(ErrorKind::Malformed, message).with("block", block)
        };
        logs.iter().map(|log| self.event(log, identity, block).ok_or_else(malformed)).collect()
    }

    async fn block(&self, number: u64) -> Result<Option<BlockHead>> {
        let block = self.chain.provider().get_block_by_number(BlockNumberOrTag::Number(number));
        let head = |hash: B256, time| BlockHead::new(hash, Timestamp::from_secs(time));
        let found = self.chain.ask(block).await?;
        Ok(found.map(|block| head(block.header.hash, block.header.timestamp)))
    }

    async fn finalised(&self) -> Result<u64> {
        let provider = self.chain.provider();
        match self.finality {
            Finality::Node => {
                let block = provider.get_block_by_number(BlockNumberOrTag::Finalized);
                let found = self.chain.ask(block).await?;
                let missing = || {
                    let message = "the node names no finalized block; choose a depth with \
                                   ChainLedger::with_finality";
                    Error::new(ErrorKind::Unsupported, message)
                };
                found.map(|block| block.header.number).ok_or_else(missing)
            }
            Finality::Depth(depth) => {
                let head = self.chain.ask(provider.get_block_number()).await?;
                Ok(head.saturating_sub(depth))
            }
        }
    }
}
