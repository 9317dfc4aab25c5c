//! One resolver for several DID methods, with a memory.
//!
//! What a method says of an answer's [`Freshness`] decides how long the answer is used again: for ever, for
//! a while, or not at all. Documents that are computed from the DID alone are not kept.

#[cfg(feature = "std")]
mod cache;
#[cfg(feature = "std")]
mod flight;
mod url;

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
        jwk::{self, JwkResolver},
        key::{self, KeyResolver},
    },
};

#[cfg(feature = "std")]
pub use cache::CacheLimits;
pub use url::{Resource, resolve_url};

#[cfg(feature = "http")]
pub(crate) use url::version_in;

/// Resolves every method it was given a resolver for; did:key and did:jwk always.
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
pub struct Resolver {
    methods: BTreeMap<&'static str, Method>,
    #[cfg(feature = "std")]
    cache: Option<Arc<cache::Cache>>,
}

#[derive(Clone, Debug)]
struct Method {
    resolver: Arc<dyn DidResolver>,
    /// Its documents follow from the DID, so that keeping them would gain nothing.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "nothing is kept without std"))]
    computed: bool,
}

impl Resolver {
    /// Speaks did:key and did:jwk, and remembers nothing.
    pub fn new() -> Self {
        let empty = Self {
            methods: BTreeMap::new(),
            #[cfg(feature = "std")]
            cache: None,
        };
        empty
            .with_computed(key::METHOD, Arc::new(KeyResolver))
            .with_computed(jwk::METHOD, Arc::new(JwkResolver))
    }

    /// Speaks did:io too, from a registry.
    #[must_use]
    pub fn with_registry(self, registry: Arc<dyn DeviceRegistry>) -> Self {
        self.with_method(io::METHOD, Arc::new(IoResolver::new(registry)))
    }

    /// Asks `resolver` for every DID of `method`, instead of whatever was asked before.
    #[must_use]
    pub fn with_method(self, method: &'static str, resolver: Arc<dyn DidResolver>) -> Self {
        self.with(method, Method { resolver, computed: false })
    }

    /// As [`with_method`](Self::with_method), for a method whose documents follow from the DID alone.
    #[must_use]
    pub fn with_computed(self, method: &'static str, resolver: Arc<dyn DidResolver>) -> Self {
        self.with(method, Method { resolver, computed: true })
    }

    fn with(mut self, name: &'static str, method: Method) -> Self {
        self.methods.insert(name, method);
        // What another resolver said must not be answered in this one's name.
        #[cfg(feature = "std")]
        {
            self.cache = self.cache.map(|cache| Arc::new(cache.emptied()));
        }
        self
    }

    /// Remembers answers for as long as they are fresh by `clock`. Clones share what they remember.
    ///
    /// Calls for one DID that wait at the same time share one answer, unless it has to be asked for each time.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use depin_core::SystemClock;
    /// use depin_identity::{CacheLimits, Resolver};
    ///
    /// let mut limits = CacheLimits::default();
    /// limits.entries = 100;
    /// let resolver = Resolver::new().with_cache(limits, Arc::new(SystemClock));
    /// assert_eq!(resolver.methods().collect::<Vec<_>>(), ["jwk", "key"]);
    /// ```
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_cache(mut self, limits: CacheLimits, clock: Arc<dyn depin_core::Clock>) -> Self {
        self.cache = Some(Arc::new(cache::Cache::new(limits, clock)));
        self
    }

    /// Forgets what is remembered of a DID, because the caller knows that it changed.
    #[cfg(feature = "std")]
    pub fn forget(&self, did: &Did) {
        if let Some(cache) = &self.cache {
            cache.forget(did);
        }
    }

    /// The methods it speaks, in alphabetical order.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.methods.keys().copied()
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
        let Some(method) = self.methods.get(did.method()) else {
            let message = "no resolver for this did method; add one with Resolver::with_method";
            return Err(Error::new(ErrorKind::Unsupported, message).with("did", did));
        };
        #[cfg(feature = "std")]
        if let (Some(cache), false) = (&self.cache, method.computed) {
            return cache.resolve(&*method.resolver, did, version).await;
        }
        ask(&*method.resolver, did, version).await
    }
}

/// Asks a resolver, and believes it only about the DID it was asked for.
async fn ask(resolver: &dyn DidResolver, did: &Did, version: &Version) -> Result<Resolution> {
    let resolution = resolver.resolve_version(did, version).await?;
    if resolution.document.id != *did {
        let message = "the resolver answered with the document of another did";
        return Err(Error::new(ErrorKind::Rejected, message)
            .with("asked", did)
            .with("answered", resolution.document.id));
    }
    Ok(resolution)
}
