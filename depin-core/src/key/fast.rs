//! The equation of ECDSA computed by C and assembly: libsecp256k1 and AWS-LC.
//!
//! Both take keys and signatures that were checked before, with low `s`, and a digest of SHA-256.

use aws_lc_rs::{
    digest::{Digest, SHA256},
    signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey},
};
use secp256k1::{Message, SECP256K1};

#[derive(Clone)]
pub(super) struct Secp256k1(secp256k1::PublicKey);

impl Secp256k1 {
    pub(super) fn new(uncompressed: &[u8]) -> Option<Self> {
        secp256k1::PublicKey::from_slice(uncompressed).ok().map(Self)
    }

    pub(super) fn holds(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        secp256k1::ecdsa::Signature::from_compact(signature).is_ok_and(|signature| {
            SECP256K1.verify_ecdsa(Message::from_digest(*digest), &signature, &self.0).is_ok()
        })
    }
}

#[derive(Clone)]
pub(super) struct P256(ParsedPublicKey);

impl P256 {
    pub(super) fn new(uncompressed: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed).ok().map(Self)
    }

    pub(super) fn holds(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        Digest::import_less_safe(digest, &SHA256)
            .and_then(|digest| self.0.verify_digest_sig(&digest, signature))
            .is_ok()
    }
}
