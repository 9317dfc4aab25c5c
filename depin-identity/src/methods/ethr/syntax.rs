//! The text of a did:ethr: network, and an address or a public key.

use alloc::{format, string::String, vec::Vec};
use core::str::FromStr;

use depin_core::{Address, Algorithm, Bytes};

use super::EthrError;
use crate::{
    Did, Error, ErrorKind, PublicKey, Result,
    methods::{digits_to_address, only},
};

/// The method name.
pub const METHOD: &str = "ethr";

/// The network of DIDs that name none.
pub(super) const DEFAULT_NETWORK: &str = "mainnet";

/// What a did:ethr says.
///
/// ```
/// use depin_identity::methods::ethr::Identifier;
///
/// let did = "did:ethr:rsk:0x03fdd57adec3d438ea237fe46b33ee1e016eda6b585c3e27ea66686c2ea5358479".parse()?;
/// let identifier = Identifier::of(&did)?;
/// assert_eq!(identifier.network(), "rsk");
/// assert_eq!(identifier.address().to_string(), "0xF3beAC30C498D9E26865F34fCAa57dBB935b0D74");
/// assert!(identifier.key().is_some());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    network: Option<String>,
    address: Address,
    key: Option<PublicKey>,
}

impl Identifier {
    /// Reads a DID.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for another method, [`EthrError::Id`] when what follows the network is
    /// neither an address nor a compressed secp256k1 key.
    pub fn of(did: &Did) -> Result<Self> {
        only(METHOD, did)?;
        let malformed = || Error::from(EthrError::Id).with("did", did);
        let (network, subject) = match did.id().rsplit_once(':') {
            Some(("", _)) => return Err(malformed()),
            Some((network, subject)) => (Some(network.into()), subject),
            None => (None, did.id()),
        };
        let digits = subject.strip_prefix("0x").ok_or_else(malformed)?;
        if let Some(address) = digits_to_address(digits) {
            return Ok(Self { network, address, key: None });
        }
        let key = key(digits).ok_or_else(malformed)?;
        let address = key.to_address().ok_or_else(malformed)?;
        Ok(Self { network, address, key: Some(key) })
    }

    /// Name or hexadecimal chain id of the network, as the DID has it; `mainnet` when it has none.
    pub fn network(&self) -> &str {
        self.network.as_deref().unwrap_or(DEFAULT_NETWORK)
    }

    /// The identity in the registry: the address, or that of the key.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The public key, when the DID is made of one.
    pub const fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }
}

/// The did:ethr of an address; the main network is left out.
///
/// ```
/// use depin_core::address;
/// use depin_identity::methods::ethr;
///
/// let address = address!("f3beac30c498d9e26865f34fcaa57dbb935b0d74");
/// let did = ethr::from_address("sepolia", address)?;
/// assert_eq!(did.as_str(), "did:ethr:sepolia:0xf3beac30c498d9e26865f34fcaa57dbb935b0d74");
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Malformed`] when the name of the network cannot stand in a DID.
pub fn from_address(network: &str, address: Address) -> Result<Did> {
    join(network, &format!("{address:#x}"))
}

/// The did:ethr of a secp256k1 key; the main network is left out.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for keys of other curves, and as [`from_address`].
pub fn from_key(network: &str, key: &PublicKey) -> Result<Did> {
    if key.algorithm() != Algorithm::Es256k {
        let message = "did:ethr needs a secp256k1 key; use did:key for others";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    join(network, &format!("{:#x}", Bytes::from(key.to_bytes())))
}

/// Parses a did:ethr and brings its digits to lower case, which is one spelling of the many it has.
///
/// # Errors
/// As [`Identifier::of`]; [`ErrorKind::Malformed`] when it is no DID.
pub fn parse(text: &str) -> Result<Did> {
    let did = Did::parse(text)?;
    let identifier = Identifier::of(&did)?;
    match identifier.key() {
        Some(key) => from_key(identifier.network(), key),
        None => from_address(identifier.network(), identifier.address()),
    }
}

fn join(network: &str, subject: &str) -> Result<Did> {
    if matches!(network, "" | DEFAULT_NETWORK) {
        return Ok(Did::parse(&format!("did:ethr:{subject}"))?);
    }
    Ok(Did::parse(&format!("did:ethr:{network}:{subject}"))?)
}

fn key(digits: &str) -> Option<PublicKey> {
    const COMPRESSED: [u8; 2] = [2, 3];
    if digits.len() != 66 {
        return None;
    }
    let bytes = Vec::from(Bytes::from_str(digits).ok()?);
    let compressed = bytes.first().is_some_and(|tag| COMPRESSED.contains(tag));
    compressed.then(|| PublicKey::from_bytes(Algorithm::Es256k, &bytes).ok())?
}
