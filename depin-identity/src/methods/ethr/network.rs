//! Networks that have an ERC-1056 registry: their names in DIDs, their chains, their contracts.

use alloc::{format, string::String};

use depin_core::{Address, ChainId, address};

use super::EthrError;

/// A network as DIDs name it, with its registry contract.
///
/// ```
/// use depin_core::{ChainId, address};
/// use depin_identity::methods::ethr::Network;
///
/// let sepolia = Network::known("sepolia").unwrap();
/// assert_eq!(sepolia.chain, ChainId::new(11_155_111));
/// assert_eq!(Network::known("0xaa36a7").unwrap(), sepolia);
///
/// let own = Network::new("factory", ChainId::new(31_337)).at(address!("0000000000000000000000000000000000001056"));
/// assert!(own.is_named("0x7a69"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// Its name in DIDs.
    pub name: String,
    /// Its chain.
    pub chain: ChainId,
    /// Where the registry is; known for the networks that have a shared one.
    pub registry: Option<Address>,
    /// Whether the registry is one from before `ethr-did-registry` 1.0.0.
    ///
    /// Those count signed changes by identity, but check changes of owners and delegates against the count
    /// of the *owner*. So once an identity has another owner, anyone can send that owner's signed changes
    /// of owners and delegates again: send such changes from the owner's account there.
    pub legacy_nonce: bool,
}

impl Network {
    /// A network without a known registry.
    pub fn new(name: &str, chain: ChainId) -> Self {
        Self { name: name.into(), chain, registry: None, legacy_nonce: false }
    }

    /// One of the networks that the method's specification lists, by name or hexadecimal chain id, and
    /// IoTeX's, on which no shared registry is known.
    pub fn known(name: &str) -> Option<Self> {
        let known = KNOWN.iter().map(|(name, chain, registry, legacy_nonce)| Self {
            registry: *registry,
            legacy_nonce: *legacy_nonce,
            ..Self::new(name, ChainId::new(*chain))
        });
        known.into_iter().find(|network| network.is_named(name))
    }

    /// With the registry at `address`.
    #[must_use]
    pub const fn at(mut self, address: Address) -> Self {
        self.registry = Some(address);
        self
    }

    /// With a registry from before `ethr-did-registry` 1.0.0; see [`legacy_nonce`](Self::legacy_nonce).
    #[must_use]
    pub const fn with_legacy_nonce(mut self) -> Self {
        self.legacy_nonce = true;
        self
    }

    /// Whether `name` in a DID means this network: its name, or its chain id in hexadecimal.
    pub fn is_named(&self, name: &str) -> bool {
        name == self.name || name.eq_ignore_ascii_case(&self.hex_id())
    }

    /// The chain id as DIDs write it.
    pub fn hex_id(&self) -> String {
        format!("{:#x}", self.chain.value())
    }

    /// Where the registry is.
    ///
    /// # Errors
    /// [`EthrError::Registry`] when nobody said.
    pub fn registry(&self) -> Result<Address, EthrError> {
        self.registry.ok_or_else(|| EthrError::Registry(self.name.clone()))
    }
}

type Known = (&'static str, u64, Option<Address>, bool);

/// From the method's list of deployments; those that are out of use only by the chains that still run.
const KNOWN: [Known; 12] = [
    ("mainnet", 1, Some(FIRST), true),
    ("sepolia", 11_155_111, Some(SECOND), false),
    ("holesky", 17_000, Some(SECOND), false),
    ("gno", 100, Some(SECOND), false),
    ("polygon", 137, Some(FIRST), true),
    ("aurora", 1_313_161_554, Some(address!("63eD58B671EeD12Bc1652845ba5b2CDfBff198e0")), true),
    ("ewc", 246, Some(address!("E29672f34e92b56C9169f9D485fFc8b9A136BCE4")), false),
    ("volta", 73_799, Some(address!("C15D5A57A8Eb0e1dCBE5D88B8f9a82017e5Cc4AF")), false),
    ("rsk", 30, Some(FIRST), true),
    ("rsk:testnet", 31, Some(FIRST), true),
    ("iotex", 4689, None, false),
    ("iotex:testnet", 4690, None, false),
];

const FIRST: Address = address!("dca7ef03e98e0dc2b855be647c39abe984fcf21b");
const SECOND: Address = address!("03d5003bf0e79C5F5223588F347ebA39AfbC3818");
