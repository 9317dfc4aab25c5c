//! DID documents: keys with what each of them may do, and services.

use alloc::{string::String, vec::Vec};
use core::ops::BitOr;

use alloy_primitives::Address;

use crate::{ChainId, Did, DidUrl, PublicKey};

/// What a key may be used for: the verification relationships of W3C DID Core 1.0 section 5.3, as a set.
///
/// ```
/// use depin_core::document::Relationships;
///
/// let both = Relationships::AUTHENTICATION | Relationships::ASSERTION;
/// assert!(both.contains(Relationships::ASSERTION));
/// assert!(!both.contains(Relationships::KEY_AGREEMENT));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relationships(u8);

impl Relationships {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// To prove to be the subject: what a device's signatures are checked against.
    pub const AUTHENTICATION: Self = Self(1);
    /// To make statements, such as credentials.
    pub const ASSERTION: Self = Self(2);
    /// To agree on secrets.
    pub const KEY_AGREEMENT: Self = Self(4);
    /// To use a capability.
    pub const INVOCATION: Self = Self(8);
    /// To pass a capability on.
    pub const DELEGATION: Self = Self(16);

    /// Whether every relationship in `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Relationships {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a verification method verifies with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// A public key.
    Key(PublicKey),
    /// The account of an EVM chain (CAIP-10, `eip155`): whoever can sign for it.
    Account {
        /// The chain it is on.
        chain: ChainId,
        /// Its address.
        address: Address,
    },
    /// A key of a kind that the SDK cannot verify with, kept as text so that documents survive.
    Foreign {
        /// The member that holds it, for example `publicKeyMultibase`.
        member: String,
        /// Its value.
        value: String,
    },
}

/// One key or account of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationMethod {
    /// Its name inside the document.
    pub id: DidUrl,
    /// Who may change it.
    pub controller: Did,
    /// Its `type`, which also says how the key is written: see [`MULTIKEY`](Self::MULTIKEY).
    pub kind: String,
    /// What it verifies with.
    pub material: Material,
    /// What it may be used for.
    pub relationships: Relationships,
}

impl VerificationMethod {
    /// The `type` of W3C Controlled Identifiers 1.0: the key as multibase text.
    pub const MULTIKEY: &'static str = "Multikey";

    /// A key, written as a Multikey, that may authenticate and assert.
    pub fn new(id: DidUrl, controller: Did, key: PublicKey) -> Self {
        Self {
            id,
            controller,
            kind: Self::MULTIKEY.into(),
            material: Material::Key(key),
            relationships: Relationships::AUTHENTICATION | Relationships::ASSERTION,
        }
    }

    /// The key, when the SDK can verify with it.
    pub const fn key(&self) -> Option<&PublicKey> {
        match &self.material {
            Material::Key(key) => Some(key),
            _ => None,
        }
    }
}

/// A way to reach the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name inside the document.
    pub id: DidUrl,
    /// What it speaks, for example `LinkedDomains`.
    pub kind: String,
    /// Where it is.
    pub endpoint: String,
}

/// The part of a DID document (W3C DID Core 1.0) that the SDK acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// The subject.
    pub id: Did,
    /// Who else may change the document.
    pub controller: Vec<Did>,
    /// The keys and accounts.
    pub verification_method: Vec<VerificationMethod>,
    /// Other names of the subject.
    pub also_known_as: Vec<String>,
    /// Ways to reach it.
    pub service: Vec<Service>,
}

impl DidDocument {
    /// A document with nothing but its subject.
    pub const fn new(id: Did) -> Self {
        Self {
            id,
            controller: Vec::new(),
            verification_method: Vec::new(),
            also_known_as: Vec::new(),
            service: Vec::new(),
        }
    }

    /// The keys that may be used for all of `purpose`, in the order of the document.
    pub fn keys(&self, purpose: Relationships) -> impl Iterator<Item = &PublicKey> {
        let may = move |method: &&VerificationMethod| method.relationships.contains(purpose);
        self.verification_method.iter().filter(may).filter_map(VerificationMethod::key)
    }

    /// The verification method of a name.
    pub fn method(&self, id: &DidUrl) -> Option<&VerificationMethod> {
        self.verification_method.iter().find(|method| method.id == *id)
    }
}
