//! Delegation: an owner lets others act for a device, with fewer rights at every step.
//!
//! Each link is signed by who passes rights on, and names the hash of the link that gave them to him. A
//! chain is verified offline, from what a registry says (who owns the device) and the keys of the
//! issuers. It can only narrow: rights, period and device of a link lie within those of the link before.
//!
//! # The bytes
//!
//! Deterministic CBOR: a list of one to [`MAX_LINKS`] links, each a COSE_Sign1 as
//! [`depin_core::envelope`] writes it, with purpose `("delegation", 1)` and the issuer as key id.
//!
//! ```text
//! chain   = [1*8 bstr link]
//! payload = {1: subject DID, 2: device DID, 3: uint scopes, 4: not before, 5: expires,
//!            ? 6: SHA-256 of the link before}          ; times in seconds since the Unix epoch
//! ```
//!
//! The contract `DeviceRegistry` verifies chains of the same fields and meanings, signed with EIP-712: 64
//! bits of scopes of which the fifth is `delegate`, at most eight links, times in seconds, counting from
//! `not before` on and no longer at `expires`. It knows more than an offline verifier: there every
//! delegation also names the device's generation, so that all of them end when the device is sold or
//! rotates, and only counts while the device is active. Offline, a sale shows in [`Ownership`], a rotation
//! ends what the device itself passed on, and the device's standing is for the caller to ask.
//!
//! # Whose signature counts
//!
//! An issuer's key comes from the [`KeyRing`]: a did:key is its own, others are added from documents
//! (keys with the relationship [`DELEGATION`](Relationships::DELEGATION), `capabilityDelegation`) or from
//! a registry's record. After a rotation the ring has the new key, and what the old one signed counts no
//! more: the issuer delegates again. An owner who is an account of a chain (did:pkh) signs COSE with the
//! account's own secp256k1 key, see [`KeyRing::insert`]; a wallet that only signs EIP-191 and EIP-712
//! delegates on chain.
//!
//! A grant says what its holder may do, not who is asking: the holder proves himself with a signature of
//! his own, for example by a [login](crate::login).
//!
//! ```
//! use std::collections::BTreeSet;
//! use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Timestamp};
//! use depin_identity::{KeyRing, Period, delegation::{DelegationChain, DelegationError, Ownership, Scopes}, methods::key::did_key};
//!
//! let network = NetworkId::parse("climate")?;
//! let [owner, device, operator] = [1, 2, 3].map(|seed| SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
//! let did = |key: &SoftwareKey| did_key(key.public_key());
//! let year = Period::new(Timestamp::from_secs(1_000), Timestamp::from_secs(31_537_000))?;
//! let hour = Period::new(Timestamp::from_secs(2_000), Timestamp::from_secs(5_600))?;
//!
//! // The owner lets his device choose who maintains it; the device lets an operator in for an hour.
//! let registered = Ownership { owner: did(&owner), device: did(&device) };
//! let rights = Scopes::OPERATE | Scopes::CONFIGURE | Scopes::DELEGATE;
//! let chain = DelegationChain::start(&network, &owner, &registered, &did(&device), rights, year)?
//!     .extend(&device, &did(&operator), Scopes::OPERATE, hour)?;
//!
//! // The operator shows it to anybody who knows the owner.
//! let shown = DelegationChain::parse(chain.as_bytes(), &network)?;
//! let (ring, nothing_revoked) = (KeyRing::new(), BTreeSet::new());
//! let grant = shown.verify(&registered, &ring, &nothing_revoked, Timestamp::from_secs(3_000))?;
//! assert_eq!(grant.holder, did(&operator));
//! assert!(grant.scopes.contains(Scopes::OPERATE) && !grant.scopes.contains(Scopes::CONFIGURE));
//!
//! // An hour later, or after the owner took back what he gave, it is worth nothing.
//! let late = shown.verify(&registered, &ring, &nothing_revoked, hour.until());
//! assert!(matches!(late, Err(DelegationError::Time { .. })));
//! let revoked = BTreeSet::from([chain.hashes()[0]]);
//! let taken = shown.verify(&registered, &ring, &revoked, Timestamp::from_secs(3_000));
//! assert_eq!(taken.unwrap_err(), DelegationError::Revoked(0));
//! # Ok::<(), depin_core::Error>(())
//! ```

use alloc::{collections::BTreeSet, format, vec::Vec};

use depin_core::{
    B256, Error, ErrorKind, NetworkId, Result, Signer, Timestamp, Unverified, Verified, Verifier,
    cbor::{self, CborError},
    document::Relationships,
    envelope::EnvelopeError,
};

use crate::{Did, KeyRing, Period, wire};

mod link;
mod scopes;

use link::Link;

pub use link::Delegation;
pub use scopes::Scopes;

/// Most links of a chain.
pub const MAX_LINKS: usize = 8;
/// Most bytes of a chain.
pub const MAX_BYTES: usize = MAX_LINKS * (link::MAX_BYTES + 3) + 1;

/// Why bytes are no delegation chain, or one that grants nothing. Links are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelegationError {
    /// More than [`MAX_BYTES`], or a link of more than 2048.
    #[error("the delegation chain is too long; use shorter dids")]
    TooLong,
    /// Not a list of one to [`MAX_LINKS`] links.
    #[error("a delegation chain has one to 8 links")]
    Links,
    /// Not deterministic CBOR.
    #[error("the delegation chain is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// A link is malformed, for another network or purpose, or not signed by its issuer.
    #[error("link {link} of the delegation chain: {error}")]
    Envelope {
        /// Which link.
        link: usize,
        /// What is wrong with it.
        error: EnvelopeError,
    },
    /// A payload has another shape.
    #[error("link {0} breaks the format of delegations")]
    Format(usize),
    /// The first link is not the owner's, or names a link before it.
    #[error("the chain does not begin with the owner of the device")]
    Root,
    /// A link is about another device.
    #[error("link {0} is about another device")]
    Device(usize),
    /// The issuer of a link is not the subject of the one before.
    #[error("link {0} was not issued by the subject of the link before it")]
    Gap(usize),
    /// A link names another link as the one before.
    #[error("link {0} was made to follow another link")]
    Parent(usize),
    /// The issuer may not pass rights on.
    #[error("link {0} was issued without the scope delegate")]
    MayNotDelegate(usize),
    /// A link grants what its issuer does not have.
    #[error("link {link} grants {scopes}, which its issuer does not have")]
    Widened {
        /// Which link.
        link: usize,
        /// What is too much.
        scopes: Scopes,
    },
    /// A link is valid outside the period of the one before.
    #[error("link {0} is valid outside the period of the link before it")]
    Outlives(usize),
    /// A link was taken back.
    #[error("link {0} was revoked")]
    Revoked(usize),
    /// A link does not count yet, or no longer.
    #[error("link {link} counts from {valid} only")]
    Time {
        /// Which link.
        link: usize,
        /// When it counts.
        valid: Period,
    },
    /// No key is known with which the issuer may delegate.
    #[error("no key of {0} that may delegate is in the key ring; add its document")]
    UnknownKey(Did),
}

impl From<DelegationError> for Error {
    fn from(error: DelegationError) -> Self {
        let kind = match &error {
            DelegationError::TooLong | DelegationError::Links => ErrorKind::Limit,
            DelegationError::Encoding(_) | DelegationError::Format(_) => ErrorKind::Malformed,
            DelegationError::Envelope { error, .. } => Self::from(error.clone()).kind(),
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Who owns which device: where every chain begins. A registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub owner: Did,
    /// The device.
    pub device: Did,
}

/// What the holder of a chain may do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Who may.
    pub holder: Did,
    /// With which device.
    pub device: Did,
    /// What.
    pub scopes: Scopes,
    /// When. It was verified for one moment in it.
    pub valid: Period,
    /// Hash of the last link.
    pub link: B256,
}

/// A chain of delegations whose signatures have not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationChain {
    network: NetworkId,
    bytes: Vec<u8>,
}

impl DelegationChain {
    /// The owner passes rights on: a chain of one link.
    ///
    /// # Errors
    /// As [`Delegation::seal`].
    pub fn start(
        network: &NetworkId,
        signer: &dyn Signer,
        from: &Ownership,
        subject: &Did,
        scopes: Scopes,
        valid: Period,
    ) -> Result<Self> {
        let Ownership { owner, device } = from.clone();
        let terms = Delegation {
            issuer: owner,
            subject: subject.clone(),
            device,
            scopes,
            valid,
            parent: None,
        };
        Ok(Self::from_links(network, &[terms.seal(signer, network)?])?)
    }

    /// The holder passes some of his rights on.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when he does not have them, [`ErrorKind::Limit`] after [`MAX_LINKS`], and as
    /// [`Delegation::seal`].
    pub fn extend(
        &self,
        signer: &dyn Signer,
        subject: &Did,
        scopes: Scopes,
        valid: Period,
    ) -> Result<Self> {
        let bytes = self.split()?;
        let links = self.links()?;
        let last = links.last().ok_or(DelegationError::Links)?;
        let terms = Delegation {
            issuer: last.terms.subject.clone(),
            subject: subject.clone(),
            device: last.terms.device.clone(),
            scopes,
            valid,
            parent: Some(last.hash),
        };
        narrows(links.len(), last, &terms)?;
        let link = terms.seal(signer, &self.network)?;
        Ok(Self::from_links(&self.network, &[&bytes[..], &[&link[..]]].concat())?)
    }

    /// Puts links together that came one by one, the owner's first.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_links<L: AsRef<[u8]>>(
        network: &NetworkId,
        links: &[L],
    ) -> Result<Self, DelegationError> {
        Self::parse(&wire::join(links), network)
    }

    /// Parses a chain that says to be of `network`.
    ///
    /// # Errors
    /// Names the first link that is not as it should be.
    pub fn parse(bytes: &[u8], network: &NetworkId) -> Result<Self, DelegationError> {
        if bytes.len() > MAX_BYTES {
            return Err(DelegationError::TooLong);
        }
        cbor::check(bytes)?;
        let chain = Self { network: network.clone(), bytes: bytes.into() };
        chain.links()?;
        Ok(chain)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of each link, by which it can be revoked.
    pub fn hashes(&self) -> Vec<B256> {
        self.split().into_iter().flatten().map(wire::sha256).collect()
    }

    /// What the links say before verification, for routing and logging, and for gathering keys.
    pub fn peek(&self) -> Vec<Delegation> {
        self.links().into_iter().flatten().map(|link| link.terms).collect()
    }

    /// Verifies that the rights go from the owner of the device to the holder, and count now.
    ///
    /// `revoked` has the hashes of links that were taken back; one revoked link ends all after it.
    ///
    /// # Errors
    /// Names the first link that does not hold.
    pub fn verify(
        &self,
        root: &Ownership,
        keys: &KeyRing,
        revoked: &BTreeSet<B256>,
        now: Timestamp,
    ) -> Result<Verified<Grant>, DelegationError> {
        Unverified::new(self).verify(&Judge { root, keys, revoked, now })
    }

    fn split(&self) -> Result<Vec<&[u8]>, DelegationError> {
        wire::links(&self.bytes, MAX_LINKS).map_err(|_| DelegationError::Links)
    }

    fn links(&self) -> Result<Vec<Link<'_>>, DelegationError> {
        let links = self.split()?.into_iter().enumerate();
        links.map(|(at, bytes)| Link::parse(at, bytes, &self.network)).collect()
    }
}

/// Whether link number `at` gives no more than the one before it gave.
fn narrows(at: usize, before: &Link<'_>, terms: &Delegation) -> Result<(), DelegationError> {
    let given = &before.terms;
    let widened = terms.scopes.without(given.scopes);
    let faults = [
        (terms.issuer != given.subject, DelegationError::Gap(at)),
        (terms.parent != Some(before.hash), DelegationError::Parent(at)),
        (!given.scopes.contains(Scopes::DELEGATE), DelegationError::MayNotDelegate(at)),
        (widened != Scopes::NONE, DelegationError::Widened { link: at, scopes: widened }),
        (!given.valid.covers(&terms.valid), DelegationError::Outlives(at)),
    ];
    match faults.into_iter().find(|(fault, _)| *fault) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

struct Judge<'a> {
    root: &'a Ownership,
    keys: &'a KeyRing,
    revoked: &'a BTreeSet<B256>,
    now: Timestamp,
}

impl Judge<'_> {
    /// What needs no signature, so that nobody makes us compute for nothing.
    fn check_terms(&self, links: &[Link<'_>]) -> Result<(), DelegationError> {
        for (at, link) in links.iter().enumerate() {
            if link.terms.device != self.root.device {
                return Err(DelegationError::Device(at));
            }
            match at.checked_sub(1).and_then(|before| links.get(before)) {
                Some(before) => narrows(at, before, &link.terms)?,
                None if link.terms.issuer != self.root.owner || link.terms.parent.is_some() => {
                    return Err(DelegationError::Root);
                }
                None => {}
            }
            if self.revoked.contains(&link.hash) {
                return Err(DelegationError::Revoked(at));
            }
            if !link.terms.valid.contains(self.now) {
                return Err(DelegationError::Time { link: at, valid: link.terms.valid });
            }
        }
        Ok(())
    }

    fn check_signature(&self, at: usize, link: &Link<'_>) -> Result<(), DelegationError> {
        let issuer = &link.terms.issuer;
        let mut verdict = Err(DelegationError::UnknownKey(issuer.clone()));
        for key in self.keys.keys(issuer, Relationships::DELEGATION) {
            match link.envelope.open(&key) {
                Ok(_) => return Ok(()),
                Err(error) => verdict = Err(DelegationError::Envelope { link: at, error }),
            }
        }
        verdict
    }
}

impl Verifier<&DelegationChain> for Judge<'_> {
    type Output = Grant;
    type Error = DelegationError;

    fn check(&self, chain: &&DelegationChain) -> Result<Grant, DelegationError> {
        let links = chain.links()?;
        self.check_terms(&links)?;
        links.iter().enumerate().try_for_each(|(at, link)| self.check_signature(at, link))?;
        let Some(Link { terms, hash, .. }) = links.into_iter().next_back() else {
            return Err(DelegationError::Links);
        };
        let Delegation { subject: holder, device, scopes, valid, .. } = terms;
        Ok(Grant { holder, device, scopes, valid, link: hash })
    }
}
