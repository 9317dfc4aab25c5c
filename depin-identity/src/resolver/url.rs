//! What a DID URL points at: a document, or a key or service of one.

use alloc::string::String;

use depin_core::{
    DidUrl, Error, ErrorKind, Result, Timestamp,
    resolution::{Resolution, Version},
};

use crate::{DidResolver, Service, VerificationMethod, percent};

/// What a DID URL points at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// The document, for a URL without fragment.
    Document(Resolution),
    /// A key or account of the document.
    Method(VerificationMethod),
    /// A service of the document.
    Service(Service),
}

/// Finds what a DID URL points at (DID Resolution 1.0, section 5).
///
/// The parameters `versionId` and `versionTime` say which version of the document, the fragment says which
/// part of it. Other parameters and paths mean different things to different methods, so they are refused.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_identity::{Resolver, Resource, resolve_url};
///
/// let id = "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
/// let url = format!("did:key:{id}#{id}").parse()?;
/// let found = resolve_url(&Resolver::new(), &url).await?;
/// assert!(matches!(found, Resource::Method(method) if method.id == url));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a path and for parameters other than those two, [`ErrorKind::Malformed`]
/// when they have no such value or stand twice, [`ErrorKind::NotFound`] when the document has no part of
/// that name or was given up; else as [`DidResolver::resolve_version`].
pub async fn resolve_url(resolver: &dyn DidResolver, url: &DidUrl) -> Result<Resource> {
    if !url.path().is_empty() {
        let message = "paths of did urls have no meaning here; ask for a fragment";
        return Err(Error::new(ErrorKind::Unsupported, message).with("url", url));
    }
    let version =
        version_in(url.query().unwrap_or_default()).map_err(|error| error.with("url", url))?;
    let resolution = resolver.resolve_version(url.did(), &version).await?;
    if resolution.metadata.deactivated {
        let message = "the did was given up; nothing in its document holds any more";
        return Err(Error::new(ErrorKind::NotFound, message).with("url", url));
    }
    let Some(fragment) = url.fragment() else { return Ok(Resource::Document(resolution)) };
    let here = |id: &DidUrl| id.did() == url.did() && id.fragment() == Some(fragment);
    let document = resolution.document;
    let method = document.verification_method.into_iter().find(|method| here(&method.id));
    let service = document.service.into_iter().find(|service| here(&service.id));
    match (method, service) {
        (Some(method), _) => Ok(Resource::Method(method)),
        (None, Some(service)) => Ok(Resource::Service(service)),
        (None, None) => {
            let message = "the document has no key or service of that name";
            Err(Error::new(ErrorKind::NotFound, message).with("url", url))
        }
    }
}

/// The version that the parameters of a query ask for.
pub(crate) fn version_in(query: &str) -> Result<Version> {
    let mut version = Version::Latest;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let malformed = |message| Error::new(ErrorKind::Malformed, message).with("parameter", name);
        let value: String = percent::decode(value)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| malformed("the parameter has no value that is text"))?;
        let asked = match name {
            "versionId" => Version::Id(value),
            "versionTime" => Version::At(Timestamp::parse(&value)?),
            _ => {
                let message = "the parameter is none of versionId and versionTime";
                return Err(Error::new(ErrorKind::Unsupported, message).with("parameter", name));
            }
        };
        if version != Version::Latest {
            return Err(malformed("a did url asks for one version, once"));
        }
        version = asked;
    }
    Ok(version)
}
