//! did:pkh: an account of a chain is the DID, so its document needs nobody to ask.
//!
//! Follows the did:pkh method text for `eip155`, the EVM chains. The account's key is not known, only its
//! address, so what verifies is a recoverable signature.

use alloc::{boxed::Box, format};

use async_trait::async_trait;
use depin_core::{
    Address, ChainId,
    document::{Material, Relationships},
    resolution::{Freshness, Resolution, Version},
};

use super::{digits_to_address, ethr, latest_only, only};
use crate::{Did, DidDocument, DidResolver, DidUrl, Error, ErrorKind, Result, VerificationMethod};

/// The method name.
pub const METHOD: &str = "pkh";

/// The did:pkh of an account of an EVM chain, in lower case.
///
/// ```
/// use depin_core::{ChainId, address};
/// use depin_identity::methods::pkh;
///
/// let address = address!("b9c5714089478a327f09197987f16f9e5d936e8a");
/// let did = pkh::from_address(ChainId::new(1), address);
/// assert_eq!(did.as_str(), "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a");
/// assert_eq!(pkh::account(&did)?, (ChainId::new(1), address));
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn from_address(chain: ChainId, address: Address) -> Did {
    Did::parse(&format!("did:pkh:eip155:{chain}:{address:#x}"))
        .expect("invariant: digits fit the grammar")
}

/// The account that a did:pkh names.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another method, and for chains that are not `eip155`;
/// [`ErrorKind::Malformed`] when chain or address are not what CAIP-10 wants of `eip155`.
pub fn account(did: &Did) -> Result<(ChainId, Address)> {
    only(METHOD, did)?;
    let fail = |kind, message| Error::new(kind, message).with("did", did);
    let Some(account) = did.id().strip_prefix("eip155:") else {
        let message = "only the eip155 chains of did:pkh are known; use another resolver";
        return Err(fail(ErrorKind::Unsupported, message));
    };
    let malformed = || {
        let message = "a did:pkh of eip155 is a decimal chain id and an address, 0x and 40 hexadecimal \
                       digits of one case or with an eip-55 checksum";
        fail(ErrorKind::Malformed, message)
    };
    let (chain, address) = account.split_once(':').ok_or_else(malformed)?;
    let address = address.strip_prefix("0x").and_then(digits_to_address).ok_or_else(malformed)?;
    let number: u64 = chain.parse().map_err(|_| malformed())?;
    // One spelling: no sign and no zeros in front.
    if format!("{number}") != chain {
        return Err(malformed());
    }
    Ok((ChainId::new(number), address))
}

/// The document of a did:pkh: one account, `#blockchainAccountId`.
///
/// ```
/// use depin_identity::methods::pkh;
///
/// let did = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a".parse()?;
/// let document = pkh::document(&did)?;
/// assert_eq!(document.verification_method[0].kind, "EcdsaSecp256k1RecoveryMethod2020");
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// As [`account`].
pub fn document(did: &Did) -> Result<DidDocument> {
    let (chain, address) = account(did)?;
    let method = VerificationMethod {
        id: DidUrl::parse(&format!("{did}#blockchainAccountId"))?,
        controller: did.clone(),
        kind: ethr::ACCOUNT.into(),
        material: Material::Account { chain, address },
        relationships: Relationships::AUTHENTICATION | Relationships::ASSERTION,
    };
    Ok(DidDocument { verification_method: [method].into(), ..DidDocument::new(did.clone()) })
}

/// Resolves did:pkh, without asking anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct PkhResolver;

#[async_trait]
impl DidResolver for PkhResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        latest_only(did, version)?;
        document(did).map(|document| Resolution::new(document, Freshness::Forever))
    }
}
