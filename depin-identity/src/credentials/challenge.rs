//! What a verifier asks for, so that an answer is good for it alone and once.

use alloc::string::String;
use core::time::Duration;

use depin_core::Timestamp;

use super::CredentialError;

/// The question that a presentation answers: a nonce that nobody else gets, and who asks.
///
/// Make the nonce from at least 16 random bytes, keep it with the session that it was sent to, and
/// forget it with the first answer. The SDK refuses answers to other questions; that a question is asked
/// once is up to whoever keeps the nonces.
///
/// ```
/// use core::time::Duration;
/// use depin_identity::credentials::Challenge;
///
/// let challenge = Challenge::new("n-0S6_WzA2Mj", "https://service.example");
/// assert_eq!(challenge.audience(), "https://service.example");
/// assert_eq!(challenge.max_age(Duration::from_secs(30)).nonce(), "n-0S6_WzA2Mj");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    nonce: String,
    audience: String,
    max_age: Duration,
}

impl Challenge {
    /// How old an answer may be unless [`max_age`](Self::max_age) says otherwise.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5 * 60);

    /// A nonce and the name by which the verifier goes (`challenge` and `domain`; `nonce` and `aud`).
    pub fn new(nonce: impl Into<String>, audience: impl Into<String>) -> Self {
        let max_age = Self::DEFAULT_MAX_AGE;
        Self { nonce: nonce.into(), audience: audience.into(), max_age }
    }

    /// Accepts answers for this long after they were signed.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The nonce.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Who asks.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// An empty nonce or audience is no question.
    pub(super) const fn check_asked(&self) -> Result<(), CredentialError> {
        if self.nonce.is_empty() {
            return Err(CredentialError::Challenge);
        }
        if self.audience.is_empty() { Err(CredentialError::Audience) } else { Ok(()) }
    }

    /// Whether an answer is to this question.
    pub(super) fn check(
        &self,
        nonce: Option<&str>,
        audience: Option<&str>,
    ) -> Result<(), CredentialError> {
        self.check_asked()?;
        if nonce != Some(&self.nonce) {
            return Err(CredentialError::Challenge);
        }
        if audience == Some(&self.audience) { Ok(()) } else { Err(CredentialError::Audience) }
    }

    /// The last moment at which an answer signed at `signed` is accepted.
    pub(super) fn until(&self, signed: Timestamp) -> Timestamp {
        signed.plus(self.max_age)
    }
}
