//! The DID methods, each in a module of its own.
//!
//! A method says how a DID follows from a key and how its document is found. What finds documents is a
//! [`DidResolver`](crate::DidResolver); [`Resolver`](crate::Resolver) joins several into one.

pub mod ethr;
pub mod io;
pub mod jwk;
pub mod key;
pub mod pkh;
pub mod web;

use alloc::format;
use core::str::FromStr;

use depin_core::{Address, Did, Error, ErrorKind, PublicKey, Result, resolution::Version};

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

/// Whether a DID that says which key it is made of, or of which address, is made of this one; nothing for
/// methods whose DIDs do not say, or go on with other keys (did:io).
pub(crate) fn is_made_of(did: &Did, key: &PublicKey) -> Option<bool> {
    match did.method() {
        key::METHOD => Some(key::did_key(key) == *did),
        jwk::METHOD => Some(jwk::public_key(did).is_ok_and(|own| own == *key)),
        pkh::METHOD => {
            Some(pkh::account(did).is_ok_and(|(_, address)| key.to_address() == Some(address)))
        }
        ethr::METHOD => {
            let identifier = ethr::Identifier::of(did);
            Some(identifier.is_ok_and(|own| key.to_address() == Some(own.address())))
        }
        _ => None,
    }
}

/// The address of 40 digits of one case, or of both with the right EIP-55 checksum.
pub(crate) fn digits_to_address(digits: &str) -> Option<Address> {
    if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let one_case = !digits.bytes().any(|digit| digit.is_ascii_lowercase())
        || !digits.bytes().any(|digit| digit.is_ascii_uppercase());
    if one_case {
        Address::from_str(digits).ok()
    } else {
        Address::parse_checksummed(format!("0x{digits}"), None).ok()
    }
}
