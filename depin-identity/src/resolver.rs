//! One resolver for several DID methods.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result,
    registry::DeviceRegistry,
    resolution::{Resolution, Version},
};

use crate::{
    DidResolver,
    methods::{
        io::{self, IoResolver},
        key::{self, KeyResolver},
    },
};

/// Resolves every method it was given a resolver for; did:key always.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_identity::{DidResolver, ErrorKind, Resolver};
///
/// let resolver = Resolver::new();
/// let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?;
/// assert_eq!(resolver.resolve(&did).await?.id, did);
/// let unknown = resolver.resolve(&"did:web:example.org".parse()?).await.unwrap_err();
/// assert_eq!(unknown.kind(), ErrorKind::Unsupported);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Resolver(BTreeMap<&'static str, Arc<dyn DidResolver>>);

impl Resolver {
    /// Speaks did:key.
    pub fn new() -> Self {
        Self(BTreeMap::new()).with_method(key::METHOD, Arc::new(KeyResolver))
    }

    /// Speaks did:io too, from a registry.
    #[must_use]
    pub fn with_registry(self, registry: Arc<dyn DeviceRegistry>) -> Self {
        self.with_method(io::METHOD, Arc::new(IoResolver::new(registry)))
    }

    /// Asks `resolver` for every DID of `method`, instead of whatever was asked before.
    #[must_use]
    pub fn with_method(mut self, method: &'static str, resolver: Arc<dyn DidResolver>) -> Self {
        self.0.insert(method, resolver);
        self
    }

    /// The methods it speaks, in alphabetical order.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl DidResolver for Resolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        let Some(resolver) = self.0.get(did.method()) else {
            let message = "no resolver for this did method; add one with Resolver::with_method";
            return Err(Error::new(ErrorKind::Unsupported, message).with("did", did));
        };
        let resolution = resolver.resolve_version(did, version).await?;
        if resolution.document.id != *did {
            let message = "the resolver answered with the document of another did";
            return Err(Error::new(ErrorKind::Rejected, message)
                .with("asked", did)
                .with("answered", resolution.document.id));
        }
        Ok(resolution)
    }
}
