//! The keys that a verifier knows, by whom they belong to.
//!
//! Chains and logins are verified offline, so whoever verifies gathers the keys first: from resolved
//! documents, from a registry, or because the DID is the key. What is not in the ring is not believed.

use alloc::{collections::BTreeMap, vec::Vec};

use depin_core::{Error, ErrorKind, PublicKey, Result, document::Relationships};

use crate::{
    Did, DidDocument,
    methods::{
        self,
        key::{self, public_key},
    },
};

/// Keys by DID, with what each may be used for.
///
/// A did:key needs no entry, for it is its own key and may do whatever [its document](key::document) says. After a key was rotated, make a
/// new ring: a ring answers with what it was given.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey, document::Relationships};
/// use depin_identity::{KeyRing, methods::{io, key}};
///
/// let device = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
/// let did = io::did_io(device.public_key())?;
/// let mut ring = KeyRing::new();
/// assert!(ring.keys(&did, Relationships::AUTHENTICATION).is_empty());
/// ring.insert_document(&io::document(device.public_key())?);
/// assert_eq!(ring.keys(&did, Relationships::AUTHENTICATION), [device.public_key().clone()]);
///
/// let did = key::did_key(device.public_key());
/// assert_eq!(ring.keys(&did, Relationships::DELEGATION), [device.public_key().clone()]);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyRing(BTreeMap<Did, Vec<(PublicKey, Relationships)>>);

impl KeyRing {
    /// Most keys that one DID is tried with; those after it are ignored.
    pub const MAX_KEYS: usize = 16;

    /// An empty ring.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a key that is known otherwise, for example from a registry's record, for all of `may`.
    ///
    /// The account of an EVM chain (did:pkh) has no published key. Whoever knows it can add it, and it is
    /// taken if the address is made from it. Its owner then signs COSE with that key, so it must be one
    /// that he can use outside a wallet; signatures that wallets make (EIP-191, EIP-712) are not read.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when a did:key or did:jwk is made of another key, or the account of a
    /// did:pkh or did:ethr has another address. (An identity of did:ethr may have got another owner since;
    /// that is for its resolved document to say, see [`insert_document`](Self::insert_document).)
    pub fn insert(&mut self, did: &Did, key: PublicKey, may: Relationships) -> Result<()> {
        if !methods::is_made_of(did, &key).unwrap_or(true) {
            let message = "the did is made of another key than this one";
            return Err(Error::new(ErrorKind::Rejected, message).with("did", did));
        }
        self.0.entry(did.clone()).or_default().push((key, may));
        Ok(())
    }

    /// Adds the keys of a document that was resolved, for what the document says they may do.
    pub fn insert_document(&mut self, document: &DidDocument) {
        let keys = self.0.entry(document.id.clone()).or_default();
        for method in &document.verification_method {
            if let Some(key) = method.key() {
                keys.push((key.clone(), method.relationships));
            }
        }
    }

    /// The keys with which `did` may do all of `purpose`.
    pub fn keys(&self, did: &Did, purpose: Relationships) -> Vec<PublicKey> {
        if did.method() == key::METHOD {
            let key = public_key(did).ok().filter(|_| key::may().contains(purpose));
            return key.into_iter().collect();
        }
        let known = self.0.get(did).into_iter().flatten();
        let may = known.filter(|(_, may)| may.contains(purpose));
        may.map(|(key, _)| key.clone()).take(Self::MAX_KEYS).collect()
    }
}
