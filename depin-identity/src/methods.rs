//! The DID methods, each in a module of its own.
//!
//! A method says how a DID follows from a key and how its document is found. What finds documents is a
//! [`DidResolver`](crate::DidResolver); [`Resolver`](crate::Resolver) joins several into one.

pub mod ethr;
pub mod io;
pub mod key;
pub mod pkh;

use depin_core::{Did, Error, ErrorKind, Result, resolution::Version};

/// Refuses DIDs of other methods.
fn only(method: &'static str, did: &Did) -> Result<()> {
    if did.method() == method {
        return Ok(());
    }
    let unsupported = Error::new(ErrorKind::Unsupported, "this resolver speaks another did method");
    Err(unsupported.with("method", method).with("did", did))
}

/// Refuses to resolve another version than the present one.
fn latest_only(did: &Did, version: &Version) -> Result<()> {
    if *version == Version::Latest {
        return Ok(());
    }
    let message = "this did method keeps no versions; ask for the present document";
    Err(Error::new(ErrorKind::Unsupported, message).with("did", did))
}
