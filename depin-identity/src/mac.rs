//! HMAC-SHA-256 (RFC 2104) over parts that cannot run into each other.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Keyed, and fed with every part behind its length in eight bytes.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
        .expect("invariant: hmac takes keys of every length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}
