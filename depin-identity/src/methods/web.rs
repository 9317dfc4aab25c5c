//! did:web: the DID is the name of a host, which serves the document.
//!
//! As safe as the host and its certificate, and not more: whoever holds the host can change the document without
//! a trace. Creating such a DID is [naming it](did_web) and hosting its document at its [`url`]; updating it is
//! hosting another one, deactivating it is hosting none (404 or 410).

#[cfg(feature = "http")]
mod resolver;

use alloc::{format, string::String};

use depin_core::{Did, DidUrl, Error, ErrorKind, PublicKey, Result};

use super::only;
use crate::{DidDocument, VerificationMethod, percent};

#[cfg(feature = "http")]
pub use resolver::WebResolver;

/// The method name.
pub const METHOD: &str = "web";

/// The did:web of a host, with a port and a path if it has them.
///
/// ```
/// use depin_identity::methods::web;
///
/// let did = web::did_web("example.org:8443/devices/7")?;
/// assert_eq!(did.as_str(), "did:web:example.org%3A8443:devices:7");
/// assert_eq!(web::url(&did)?, "https://example.org:8443/devices/7/did.json");
/// assert!(web::did_web("127.0.0.1").is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Malformed`] as [`url`] says.
pub fn did_web(location: &str) -> Result<Did> {
    let segments = location.split('/').map(percent::encode);
    let id = segments.reduce(|id, segment| id + ":" + &segment).unwrap_or_default();
    let did = Did::parse(&format!("did:web:{id}"))?;
    url(&did).map(|_| did)
}

/// The document of one key, `#key-1`: what to host.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another method.
pub fn document(did: &Did, key: &PublicKey) -> Result<DidDocument> {
    only(METHOD, did)?;
    let id = DidUrl::parse(&format!("{did}#key-1"))?;
    let method = VerificationMethod::new(id, did.clone(), key.clone());
    Ok(DidDocument { verification_method: [method].into(), ..DidDocument::new(did.clone()) })
}

/// Where the document of a did:web is: `/.well-known/did.json` of the host, or `did.json` under the path.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another method. [`ErrorKind::Malformed`] unless the host is a name in lower
/// case with a dot in it (or `localhost`), the port is a number, and no part of the path is empty, `.`, `..` or
/// hides a separator.
pub fn url(did: &Did) -> Result<String> {
    only(METHOD, did)?;
    let malformed = |message| Error::new(ErrorKind::Malformed, message).with("did", did);
    let mut parts = did.id().splitn(2, ':');
    let (authority, path) = (parts.next().unwrap_or_default(), parts.next());
    let authority = percent::decode(authority).ok_or_else(|| malformed("the host is no text"))?;
    let (host, port) = authority.split_once(':').map_or((&*authority, None), |(h, p)| (h, Some(p)));
    if !is_host(host) {
        return Err(malformed("the host of a did:web is a domain name in lower case"));
    }
    if !port.is_none_or(is_port) {
        return Err(malformed("the port of a did:web is %3A and a number"));
    }
    let Some(path) = path else {
        return Ok(format!("https://{authority}/.well-known/did.json"));
    };
    if !path.split(':').all(is_segment) {
        return Err(malformed("the path of a did:web has a part that is empty or leads elsewhere"));
    }
    Ok(format!("https://{authority}/{}/did.json", path.replace(':', "/")))
}

/// Whether it is a domain name that nothing takes for an address.
fn is_host(host: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    // `1.2.3.4`, `2130706433` and `0x7f.1` all end so; top-level domains do not.
    let last = host.rsplit('.').next().unwrap_or_default();
    let named = last.starts_with(|first: char| first.is_ascii_lowercase());
    let full = host == "localhost" || host.contains('.');
    host.len() <= 253 && full && named && host.split('.').all(label)
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| number != 0 && format!("{number}") == port)
}

/// Whether it stays one part of the path when it is read by whatever serves it.
fn is_segment(segment: &str) -> bool {
    percent::decode(segment).is_some_and(|text| {
        let strange = |c: char| c.is_control() || "/\\?#%".contains(c);
        !text.is_empty() && text != "." && text != ".." && !text.contains(strange)
    })
}
