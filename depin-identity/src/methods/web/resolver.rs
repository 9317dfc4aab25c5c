//! Fetching the document from its host.

use core::time::Duration;

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result,
    resolution::{DidResolver, Resolution, Version},
};

use super::url;
use crate::{
    document::{MAX_JSON_LEN, from_json},
    fetch::{Fetched, Fetcher, Reach, freshness},
    methods::latest_only,
};

const ACCEPT: &str =
    "application/did+ld+json, application/did+json, application/did, application/json";

/// Resolves did:web by asking the host, over `https` only.
///
/// Whoever names a host decides where this program connects to. So it connects only to addresses of the public
/// internet, checked when the connection is made; follows at most three redirects, under the same rules; and
/// takes at most 256 KiB within 10 s. Needs a tokio runtime, and the feature `tls`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_identity::{DidResolver, ErrorKind, methods::web::WebResolver};
///
/// let resolver = WebResolver::new()?;
/// let inside = "did:web:localhost%3A8080".parse()?;
/// assert_eq!(resolver.resolve(&inside).await.unwrap_err().kind(), ErrorKind::Rejected);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct WebResolver {
    fetcher: Fetcher,
    fresh: Duration,
    /// How this machine is asked, if it is.
    localhost: Option<&'static str>,
}

impl WebResolver {
    /// Asks hosts of the public internet, and calls their answers fresh for 5 minutes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the HTTP client cannot be built.
    pub fn new() -> Result<Self> {
        let fetcher = Fetcher::new(Reach::Public, MAX_JSON_LEN)?;
        Ok(Self { fetcher, fresh: Duration::from_secs(300), localhost: None })
    }

    /// For development and tests: as [`new`](Self::new), and `did:web:localhost` is asked by plain `http`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_localhost() -> Result<Self> {
        let fetcher = Fetcher::new(Reach::Development, MAX_JSON_LEN)?;
        Ok(Self { fetcher, fresh: Duration::from_secs(300), localhost: Some("http") })
    }

    /// For development and tests: as [`new`](Self::new), asks `did:web:localhost` too, by `https`, and believes
    /// hosts whose certificates lead to this one (PEM).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it is no certificate, else as [`new`](Self::new).
    #[cfg(feature = "tls")]
    pub fn with_authority(pem: &[u8]) -> Result<Self> {
        let fetcher = Fetcher::trusting(Reach::Development, MAX_JSON_LEN, pem)?;
        Ok(Self { fetcher, fresh: Duration::from_secs(300), localhost: Some("https") })
    }

    /// Calls answers fresh for this long, or shorter where the host says so (`Cache-Control`).
    #[must_use]
    pub const fn fresh_for(mut self, fresh: Duration) -> Self {
        self.fresh = fresh;
        self
    }

    /// Waits this long for a document, with all redirects.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.fetcher = self.fetcher.within(patience);
        self
    }
}

#[async_trait]
impl DidResolver for WebResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        latest_only(did, version)?;
        let url = url(did)?;
        let local = url.strip_prefix("https://localhost");
        let url = match (local.filter(|rest| rest.starts_with([':', '/'])), self.localhost) {
            (Some(rest), Some(scheme)) => format!("{scheme}://localhost{rest}"),
            (Some(_), None) => {
                let message = "this machine is no public host; WebResolver::with_localhost asks it";
                return Err(Error::new(ErrorKind::Rejected, message).with("did", did));
            }
            (None, _) => url,
        };
        let fetched = self.fetcher.get(&url, ACCEPT).await?;
        let fail =
            |kind, message| Err(Error::new(kind, message).with("did", did).with("url", &url));
        match fetched.status.as_u16() {
            200 => {}
            404 | 410 => return fail(ErrorKind::NotFound, "the host has no such document"),
            408 | 429 | 500.. => return fail(ErrorKind::Unavailable, "the host cannot answer now"),
            _ => return fail(ErrorKind::Rejected, "the host does not give the document"),
        }
        let Fetched { body, max_age, .. } = fetched;
        let document = from_json(&body).map_err(|error| Error::from(error).with("url", &url))?;
        if document.id != *did {
            return fail(ErrorKind::Rejected, "the host gives the document of another did");
        }
        Ok(Resolution::new(document, freshness(self.fresh, max_age)))
    }
}
