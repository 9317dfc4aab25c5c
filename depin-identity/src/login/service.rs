//! The side that asks: hands out challenges, and accepts each answer once.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{fmt, time::Duration};

use depin_core::{
    B256, NetworkId, Result, Timestamp, Unverified, Verified, Verifier, document::Relationships,
};
use hmac::Mac;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{Audience, Channel, Login, LoginError, LoginResponse, Session, challenge::Challenge};
use crate::{KeyRing, mac::mac};

/// Separates keys that follow one another from every other use of HMAC.
const NEXT_KEY: &[u8] = b"depin/login-next-key/v1";

/// What a service tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginOptions {
    /// How long a challenge can be answered. One minute by default.
    pub lifetime: Duration,
    /// How far a device's clock may be ahead or behind. One minute by default.
    pub skew: Duration,
    /// How many accepted answers are remembered at once, at most. 65,536 by default, which is as many logins
    /// as there can be in one lifetime. An entry takes 40 bytes.
    pub capacity: usize,
}

impl Default for LoginOptions {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { lifetime: minute, skew: minute, capacity: 65_536 }
    }
}

/// Asks devices of one network who they are.
///
/// Keep one per process, behind a lock: what it remembers is what makes an answer count once.
pub struct LoginService {
    network: NetworkId,
    audience: Audience,
    key: Zeroizing<[u8; 32]>,
    options: LoginOptions,
    /// Nonces of accepted answers, by the moment until which they have to be remembered.
    used: BTreeSet<(Timestamp, B256)>,
    /// The latest moment seen. A clock that is set back must not revive what was forgotten since. When it
    /// is set back by more than two lifetimes, all challenges of before are void.
    latest: Timestamp,
}

impl LoginService {
    /// A service that devices know as `audience`. Draws the key of its seals from `rng`.
    pub fn new(network: NetworkId, audience: Audience, rng: &mut impl CryptoRngCore) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        let options = LoginOptions::default();
        let (used, latest) = (BTreeSet::new(), Timestamp::EPOCH);
        Self { network, audience, key, options, used, latest }
    }

    /// With other tolerances.
    #[must_use]
    pub fn with_options(mut self, options: LoginOptions) -> Self {
        self.options = options;
        self
    }

    /// The network whose devices it lets in.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// A fresh challenge for the device at the other end of `channel`. Nothing is remembered of it.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when it cannot be encoded.
    pub fn challenge(
        &self,
        channel: &Channel,
        rng: &mut impl CryptoRngCore,
        now: Timestamp,
    ) -> Result<Vec<u8>> {
        let mut nonce = B256::ZERO;
        rng.fill_bytes(nonce.as_mut_slice());
        let session = self.session(channel);
        let issued = self.latest.max(now);
        let expires = issued.plus(self.options.lifetime);
        let challenge = Challenge { session, nonce, issued, expires, seal: B256::ZERO };
        challenge.sealed(&self.key).encode()
    }

    /// Accepts an answer that came in over `channel`, once.
    ///
    /// `keys` has what the device may authenticate with, from its document or the registry's record; that it
    /// is in good standing is for the caller to ask.
    ///
    /// # Errors
    /// Names the first claim that does not hold.
    pub fn accept(
        &mut self,
        response: &LoginResponse,
        channel: &Channel,
        keys: &KeyRing,
        now: Timestamp,
    ) -> Result<Verified<Login>, LoginError> {
        self.keep_time(now);
        let judge = Judge { service: self, channel, keys, now };
        let login = Unverified::new(response).verify(&judge)?;
        self.remember(&response.challenge)?;
        Ok(login)
    }

    fn session(&self, channel: &Channel) -> Session {
        let (network, audience) = (self.network.clone(), self.audience.clone());
        Session { network, audience, channel: *channel }
    }

    /// A clock that was far ahead would otherwise keep answers from being forgotten until it gets there
    /// again. Forgetting them is safe with another key, under which no challenge of before counts.
    fn keep_time(&mut self, now: Timestamp) {
        if self.latest.since(now) > self.options.lifetime.saturating_mul(2) {
            self.key = Zeroizing::new(mac(&*self.key, &[NEXT_KEY]).finalize().into_bytes().into());
            self.used.clear();
            self.latest = now;
        }
        self.latest = self.latest.max(now);
    }

    /// Makes the nonce count no more.
    fn remember(&mut self, challenge: &Challenge) -> Result<(), LoginError> {
        while self.used.first().is_some_and(|(expires, _)| *expires <= self.latest) {
            self.used.pop_first();
        }
        if self.used.len() >= self.options.capacity {
            return Err(LoginError::Full);
        }
        self.used.insert((challenge.expires, challenge.nonce));
        Ok(())
    }
}

impl fmt::Debug for LoginService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginService")
            .field("network", &self.network)
            .field("audience", &self.audience)
            .field("options", &self.options)
            .field("remembered", &self.used.len())
            .finish_non_exhaustive()
    }
}

struct Judge<'a> {
    service: &'a LoginService,
    channel: &'a Channel,
    keys: &'a KeyRing,
    now: Timestamp,
}

impl Judge<'_> {
    /// Whether it is one of our challenges, of this session, fresh and not used.
    fn check_challenge(&self, challenge: &Challenge) -> Result<(), LoginError> {
        let service = self.service;
        if !challenge.is_sealed_by(&service.key) {
            return Err(LoginError::Forged);
        }
        service.session(self.channel).check(&challenge.session)?;
        if challenge.expires <= service.latest {
            return Err(LoginError::Expired(challenge.expires));
        }
        if service.used.contains(&(challenge.expires, challenge.nonce)) {
            return Err(LoginError::Replayed);
        }
        Ok(())
    }

    fn check_signature(&self, response: &LoginResponse) -> Result<(), LoginError> {
        let device = response.device();
        let mut verdict = Err(LoginError::UnknownKey(device.clone()));
        for key in self.keys.keys(device, Relationships::AUTHENTICATION) {
            verdict = response.open(&key);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}

impl Verifier<&LoginResponse> for Judge<'_> {
    type Output = Login;
    type Error = LoginError;

    fn check(&self, response: &&LoginResponse) -> Result<Login, LoginError> {
        let session = self.service.session(self.channel);
        session.check(&response.session)?;
        self.check_challenge(&response.challenge)?;
        let device_time = response.device_time;
        let apart = self.now.since(device_time).max(device_time.since(self.now));
        if apart > self.service.options.skew {
            return Err(LoginError::Skew(device_time));
        }
        self.check_signature(response)?;
        Ok(Login { device: response.device().clone(), session, at: self.now, device_time })
    }
}
