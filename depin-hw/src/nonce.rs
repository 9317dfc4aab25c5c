//! Nonces that count once.
//!
//! A verifier is pure, so it cannot know that it has seen a challenge before. The network does: it
//! redeems the nonce before it looks at the evidence, and what is replayed finds it gone.

use alloc::{collections::BTreeMap, format};
use core::time::Duration;

use depin_core::{Error, ErrorKind, Timestamp, evidence::Nonce};
use rand_core::CryptoRngCore;

/// Why a nonce is not given or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NonceError {
    /// Never issued here, or redeemed already.
    #[error("the nonce was not issued here or was used already; ask for a new challenge")]
    Unknown,
    /// Redeemed too late.
    #[error("the nonce expired; ask for a new challenge")]
    Expired,
    /// Too many unanswered nonces.
    #[error("too many challenges are unanswered; try again when some have expired")]
    Full,
}

impl From<NonceError> for Error {
    fn from(error: NonceError) -> Self {
        let kind = match error {
            NonceError::Full => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// The nonces a network has issued and not yet seen again.
///
/// ```
/// use depin_core::Timestamp;
/// use depin_hw::{Nonces, nonce::NonceError};
///
/// let now = Timestamp::from_secs(1_000);
/// let mut nonces = Nonces::default();
/// let nonce = nonces.issue(&mut rand::thread_rng(), now)?;
/// assert_eq!(nonces.redeem(&nonce, now), Ok(()));
/// assert_eq!(nonces.redeem(&nonce, now), Err(NonceError::Unknown));
/// # Ok::<(), NonceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nonces {
    lifetime: Duration,
    capacity: usize,
    /// Moment of expiry by nonce.
    open: BTreeMap<[u8; 32], Timestamp>,
}

impl Nonces {
    /// Nonces that live for `lifetime`, at most `capacity` of them at once.
    pub const fn new(lifetime: Duration, capacity: usize) -> Self {
        Self { lifetime, capacity, open: BTreeMap::new() }
    }

    /// A fresh random nonce.
    ///
    /// # Errors
    /// [`NonceError::Full`] while as many as the capacity are unanswered and not expired.
    pub fn issue(
        &mut self,
        rng: &mut impl CryptoRngCore,
        now: Timestamp,
    ) -> Result<Nonce, NonceError> {
        if self.open.len() >= self.capacity {
            self.open.retain(|_, expiry| now < *expiry);
        }
        if self.open.len() >= self.capacity {
            return Err(NonceError::Full);
        }
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        self.open.insert(bytes, now.plus(self.lifetime));
        Ok(Nonce::new(bytes))
    }

    /// Takes a nonce back. It never counts again, also when it came too late.
    ///
    /// # Errors
    /// [`NonceError::Unknown`] or [`NonceError::Expired`].
    pub fn redeem(&mut self, nonce: &Nonce, now: Timestamp) -> Result<(), NonceError> {
        let expiry = self.open.remove(nonce.as_bytes()).ok_or(NonceError::Unknown)?;
        if now < expiry { Ok(()) } else { Err(NonceError::Expired) }
    }
}

impl Default for Nonces {
    /// Five minutes, 65,536 nonces.
    fn default() -> Self {
        Self::new(Duration::from_secs(300), 65_536)
    }
}
