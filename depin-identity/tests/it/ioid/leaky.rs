//! A device whose signatures others can see.

use std::sync::Mutex;

use depin_core::{Error, PublicKey, Result, Signature};

use super::*;

/// Signs as often as it is told, then loses one answer on the way to somebody else, then signs again.
#[derive(Debug)]
pub(super) struct Leaky {
    key: SoftwareKey,
    state: Mutex<(usize, Option<Signature>)>,
}

impl Leaky {
    pub(super) const fn new(key: SoftwareKey, honest: usize) -> Self {
        Self { key, state: Mutex::new((honest, None)) }
    }

    pub(super) fn leaked(&self) -> Signature {
        self.state.lock().unwrap().1.expect("a signature was asked for")
    }
}

impl Signer for Leaky {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        self.key.sign(message)
    }

    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature> {
        let signature = self.key.sign_prehash(digest)?;
        let (honest, leaked) = &mut *self.state.lock().unwrap();
        if leaked.is_none() && *honest == 0 {
            *leaked = Some(signature);
            return Err(Error::unavailable("the device went away"));
        }
        *honest = honest.saturating_sub(1);
        Ok(signature)
    }
}
