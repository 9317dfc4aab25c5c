//! Nonces for the requests of one client.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};

use super::Nonce;

/// Nonces that nobody else can foresee, new each time.
pub(crate) struct Nonces {
    secret: [u8; 32],
    count: AtomicU64,
}

impl Nonces {
    pub(crate) fn new(rng: &mut impl CryptoRngCore) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self { secret, count: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> Nonce {
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let hash = Sha256::new_with_prefix(self.secret).chain_update(count).finalize();
        let mut nonce = [0; 16];
        nonce.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Nonce::from_bytes(nonce)
    }
}

impl fmt::Debug for Nonces {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}
