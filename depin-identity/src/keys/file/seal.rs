//! From a passphrase to a master key, and from that to sealed bytes.

use std::fmt;

use argon2::{Argon2, Block, Params, Version};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use depin_core::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

/// What unlocks a key store. Wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the text, as the person typed it.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How slow Argon2id makes each guess of a passphrase (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// 8 MiB, one pass: for tests and for stores whose passphrase is a random key already.
    pub const fn light() -> Self {
        Self { memory: 8 * 1024, passes: 1 }
    }

    /// A store from outside may not make us fill the memory.
    pub(super) const fn is_bearable(self) -> bool {
        self.memory >= 8 && self.memory <= 1024 * 1024 && self.passes >= 1 && self.passes <= 16
    }
}

impl Default for Cost {
    /// 64 MiB and three passes, the second recommendation of RFC 9106.
    fn default() -> Self {
        Self { memory: 64 * 1024, passes: 3 }
    }
}

/// Seals and opens what the store holds.
pub(super) struct MasterKey(XChaCha20Poly1305);

impl MasterKey {
    pub(super) fn derive(passphrase: &Passphrase, salt: &[u8; 16], cost: Cost) -> Result<Self> {
        let slow = |error| {
            Error::new(ErrorKind::Config, "argon2 does not accept this cost; use Cost::default")
                .with("cause", error)
        };
        let params = Params::new(cost.memory, cost.passes, 1, Some(32)).map_err(slow)?;
        let argon = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        // From its memory the key can be computed again, and argon2 leaves what it allocates itself.
        let mut memory = Zeroizing::new(vec![Block::new(); argon.params().block_count()]);
        argon
            .hash_password_into_with_memory(
                passphrase.0.as_bytes(),
                salt,
                &mut *key,
                memory.as_mut_slice(),
            )
            .map_err(slow)?;
        Ok(Self(XChaCha20Poly1305::new((&*key).into())))
    }

    pub(super) fn seal(&self, nonce: &[u8; 24], aad: &[u8], secret: &[u8]) -> Result<Vec<u8>> {
        let payload = Payload { msg: secret, aad };
        self.0
            .encrypt(<&XNonce>::from(nonce), payload)
            .map_err(|_| Error::new(ErrorKind::Limit, "the key cannot be sealed"))
    }

    pub(super) fn open(
        &self,
        nonce: &[u8; 24],
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let payload = Payload { msg: sealed, aad };
        self.0.decrypt(<&XNonce>::from(nonce), payload).ok().map(Zeroizing::new)
    }
}
