//! Messages of IoTeX's ioConnect (ioID-SDK), for reading only.
//!
//! ioConnect calls them JWE with `ECDH-1PU+A256KW` and `A256CBC-HS512` (RFC 7518). The bytes are something
//! else, which no JOSE library reads: the x coordinate of a P-256 agreement is, without any derivation, the
//! AES-256-CBC key around the content key, and the content is AES-256-CCM. Nothing of the sender goes in,
//! so **the sender is not authenticated**: whoever knows a device's public key can write in anybody's name.
//! There is no forward secrecy worth the name either, because the ephemeral private key *is* the content
//! key.
//!
//! This module exists so that a network can take over devices that speak it: read what they send, have the
//! device say it again in a signed [batch](depin_core::batch), act on that. It never writes such a message.
//!
//! The credential that IoTeX's Sprout server sends this way is an honest compact JWS of ES256; verify it with
//! [`jws`](crate::jws). It names an issuer and a subject, but no audience, no time after which it is void
//! and nothing that makes it single: whoever has seen it can use it, anywhere, for ever.
//! [`jws`](crate::jws) refuses the header `Es256K` of the SDK's signed messages, which is no registered name.

mod message;

use core::fmt;

use alloc::vec::Vec;

use aes::Aes256;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use ccm::{
    Ccm,
    aead::{AeadInPlace, KeyInit},
    consts::{U13, U16},
};
use depin_core::{Algorithm, Did, Error, ErrorKind, PublicKey, Result, Signer, SoftwareKey};
use zeroize::Zeroizing;

pub use self::message::{JweError, MAX_LEN, MAX_RECIPIENTS};
use self::message::{Message, Recipient};

/// The P-256 private key with which a device or service reads messages. Wiped when dropped, never printed.
///
/// ```
/// use depin_identity::ioconnect::AgreementKey;
///
/// let key = AgreementKey::from_bytes(&[7; 32])?;
/// assert!(format!("{key:?}").contains("z"));
/// assert!(AgreementKey::from_bytes(&[0; 32]).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
pub struct AgreementKey {
    secret: p256::SecretKey,
    public: PublicKey,
}

impl AgreementKey {
    /// From the 32 bytes of a private key: the second half of what ioConnect keeps for a device.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when they are no scalar of P-256.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self> {
        let secret = p256::SecretKey::from_slice(bytes).map_err(|_| {
            Error::new(ErrorKind::Malformed, "the bytes are no private key of p-256")
        })?;
        let public = SoftwareKey::from_bytes(Algorithm::Es256, bytes)?.public_key().clone();
        Ok(Self { secret, public })
    }

    /// The public half, which senders encrypt to.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgreementKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What a message said.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The content. Nobody knows who wrote it.
    pub plaintext: Vec<u8>,
    /// Who the writer claims to be (`skid`). **Not authenticated**: anybody can write any name here. Never
    /// decide by it; at most use it to find the key of a signature inside the content.
    pub sender_claimed: Option<Did>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("bytes", &self.plaintext.len())
            .field("sender_claimed", &self.sender_claimed)
            .finish_non_exhaustive()
    }
}

/// Decrypts a message for the recipient named `kid`, with the key that this name stands for.
///
/// `kid` is written as in the message, for example `did:io:0x…#Key-p256-2147483617`. Whether a message was
/// seen before is not checked: nothing in it tells.
///
/// ```
/// use depin_identity::ioconnect::{AgreementKey, JweError, open};
///
/// let key = AgreementKey::from_bytes(&[7; 32])?;
/// assert_eq!(open(b"{}", "did:io:0x00#Key-p256-1", &key), Err(JweError::Member("protected")));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`JweError`]: the text is malformed or too large, is for others, or was changed. Time and memory are
/// bounded by [`MAX_LEN`].
pub fn open(json: &[u8], kid: &str, key: &AgreementKey) -> Result<Opened, JweError> {
    let Message { header, recipients, iv, ciphertext: mut content, tag, protected } =
        message::read(json)?;
    let recipient = recipients.iter().find(|recipient| recipient.kid == kid);
    let content_key = unwrap(key, &header.ephemeral, recipient.ok_or(JweError::Recipient)?);
    let cipher = Ccm::<Aes256, U16, U13>::new(content_key.as_slice().into());
    let opened = cipher.decrypt_in_place_detached(
        (&iv).into(),
        protected.as_bytes(),
        &mut content,
        (&tag).into(),
    );
    opened.map_err(|_| JweError::Decryption)?;
    Ok(Opened { plaintext: content, sender_claimed: header.sender })
}

/// The content key. A wrong one comes out as random bytes, which the content's tag then tells.
fn unwrap(
    key: &AgreementKey,
    ephemeral: &p256::PublicKey,
    recipient: &Recipient,
) -> Zeroizing<[u8; 32]> {
    let shared = p256::ecdh::diffie_hellman(key.secret.to_nonzero_scalar(), ephemeral.as_affine());
    let mut cipher =
        cbc::Decryptor::<Aes256>::new(shared.raw_secret_bytes(), (&recipient.iv).into());
    let mut unwrapped = Zeroizing::new(recipient.wrapped);
    let (blocks, _) = unwrapped.as_chunks_mut::<16>();
    for block in blocks {
        cipher.decrypt_block_mut(block.into());
    }
    unwrapped
}
