//! Asks a resolver elsewhere.

use core::time::Duration;

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result,
    resolution::{DocumentMetadata, Resolution, Version},
};

use crate::{
    DidResolver,
    fetch::{Fetcher, Reach, freshness},
    percent, resolution,
};

/// Resolves what a universal resolver resolves, for methods that this program does not speak.
///
/// Takes at most 320 KiB within 10 s, follows no redirects, and calls nothing fresh for ever: not even what the
/// other side calls so. An answer about another version than the one asked for is refused, as far as it tells. Needs a tokio runtime, and the feature `tls` for `https`.
///
/// ```
/// use std::sync::Arc;
/// use depin_identity::{Resolver, universal::UniversalClient};
///
/// let elsewhere = Arc::new(UniversalClient::new("http://127.0.0.1:8080")?);
/// let resolver = Resolver::new().with_method("ion", elsewhere);
/// assert!(UniversalClient::new("resolver.example").is_err());
/// # assert_eq!(resolver.methods().count(), 3);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct UniversalClient {
    fetcher: Fetcher,
    base: String,
    fresh: Duration,
}

impl UniversalClient {
    /// Asks the resolver at `base`, to which `/1.0/identifiers/` is appended.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `base` is no `http` or `https` URL.
    pub fn new(base: &str) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let host = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['?', '#'])) {
            let message = "a resolver needs a url such as https://host:port";
            return Err(Error::new(ErrorKind::Config, message).with("url", base));
        }
        let fetcher = Fetcher::new(Reach::Anywhere, resolution::MAX_LEN)?;
        Ok(Self { fetcher, base: base.into(), fresh: Duration::from_secs(60) })
    }

    /// Calls answers fresh for this long, or shorter where the resolver says so. It is a minute otherwise.
    #[must_use]
    pub const fn fresh_for(mut self, fresh: Duration) -> Self {
        self.fresh = fresh;
        self
    }

    /// Waits this long for an answer.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.fetcher = self.fetcher.within(patience);
        self
    }

    fn url(&self, did: &Did, version: &Version) -> Result<String> {
        let query = match version {
            Version::Latest => String::new(),
            Version::Id(id) => format!("?versionId={}", percent::encode(id)),
            Version::At(moment) => format!("?versionTime={}", percent::encode(&moment.to_string())),
            _ => {
                let message = "a universal resolver does not know this way to name a version";
                return Err(Error::new(ErrorKind::Unsupported, message).with("did", did));
            }
        };
        Ok(format!("{}/1.0/identifiers/{}{query}", self.base, percent::encode(did.as_str())))
    }
}

#[async_trait]
impl DidResolver for UniversalClient {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        let url = self.url(did, version)?;
        let fetched = self.fetcher.get(&url, resolution::MEDIA_TYPE).await?;
        let status = fetched.status.as_u16();
        match resolution::from_json(did, &fetched.body) {
            Ok(mut found) if status == 200 || (status == 410 && found.metadata.deactivated) => {
                check_version(version, &found.metadata).map_err(|error| error.with("did", did))?;
                found.freshness = freshness(self.fresh, fetched.max_age);
                Ok(found)
            }
            // An error of the resolver has its code; one of what stands in front of it has only a status.
            Err(error) if status == 200 || error.context().any(|(key, _)| key == "code") => {
                Err(error)
            }
            _ if status == 404 => {
                let message = "there is no resolver at that url, or it knows no such did";
                Err(Error::new(ErrorKind::NotFound, message).with("did", did))
            }
            _ => {
                let error = Error::unavailable("the resolver gave no answer");
                Err(error.with("did", did).with("status", status))
            }
        }
    }
}

/// Whether the answer is the version that was asked for: drivers may ignore what they do not know.
fn check_version(asked: &Version, found: &DocumentMetadata) -> Result<()> {
    let other = "the resolver answered with another version than the one asked for";
    match asked {
        Version::Id(id) => match &found.version_id {
            Some(found) if found == id => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Rejected, other)),
            None => {
                let message = "the resolver does not say which version it answered with";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        },
        Version::At(moment) => {
            let late = found.updated.is_some_and(|updated| updated > *moment);
            let early = found.next_update.is_some_and(|next| next <= *moment);
            if late || early { Err(Error::new(ErrorKind::Rejected, other)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
