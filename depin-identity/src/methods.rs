//! The DID methods, each in a module of its own.
//!
//! A method says how a DID follows from a key and how its document is found. What finds documents is a
//! [`DidResolver`](crate::DidResolver); [`Resolver`](crate::Resolver) joins several into one.

pub mod io;
pub mod key;

use depin_core::{Did, Error, ErrorKind, Result};

/// Refuses DIDs of other methods.
fn only(method: &'static str, did: &Did) -> Result<()> {
    if did.method() == method {
        return Ok(());
    }
    let unsupported = Error::new(ErrorKind::Unsupported, "this resolver speaks another did method");
    Err(unsupported.with("method", method).with("did", did))
}
