//! Login: a device proves to a service, once, who it is, over the very channel it speaks on.
//!
//! The service hands out a challenge, the device signs it together with what it sees itself: the network,
//! the service it means to talk to, and the channel it does that on. Who relays a challenge to another
//! device gets an answer that names the relay's channel and audience, and the service refuses it.
//!
//! What each side gets:
//!
//! - The service learns that the holder of a key, which the caller resolved for authentication, is at the
//!   other end of this channel now. Whether the device is in good standing is for the registry to say.
//! - The device learns nothing about the service: challenges are not signed. It trusts its channel, for
//!   example TLS with a certificate it checks, and its answer is of no use to anyone but the audience it
//!   named.
//!
//! # The bytes
//!
//! Deterministic CBOR. The device takes the challenge as it came and signs it with a COSE_Sign1 as
//! [`depin_core::envelope`] writes it, with purpose `("login", 1)`; times are ms since the Unix epoch.
//!
//! ```text
//! challenge = {1: network, 2: audience, 3: channel (32 bytes), 4: nonce (32 bytes), 5: issued,
//!              6: expires, 7: seal (32 bytes, only the service can make and check it)}
//! payload   = {1: bstr challenge, 2: audience, 3: channel, 4: device time}
//! ```
//!
//! # One use, bounded memory, restarts
//!
//! Challenges carry a seal, HMAC-SHA-256 with a key that the service draws when it starts and never
//! stores. So handing them out costs no memory, however many are asked for. Only answers that passed every
//! other check are remembered, until their challenge expires, and when there is no room left, further
//! logins are refused rather than old ones forgotten. After a restart the key is another one: what was
//! handed out or used before counts no more, and nothing can be replayed. Several instances behind one name
//! do not share what they remember, so an answer must reach the instance that asked.
//!
//! ```
//! use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Timestamp};
//! use depin_identity::{KeyRing, login::{Audience, Channel, LoginError, LoginResponse, LoginService, Session, respond}, methods::io};
//!
//! let now = Timestamp::from_secs(1_000_000);
//! let device = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
//! let did = io::did_io(device.public_key())?;
//! // Both sides compute this from their end of the connection, for example with RFC 9266 tls-exporter.
//! let channel = Channel::of(b"what only the two ends of this connection know");
//!
//! // The service asks.
//! let here = Audience::parse("https://ingest.example")?;
//! let mut service = LoginService::new(NetworkId::parse("climate")?, here.clone(), &mut rand::thread_rng());
//! let challenge = service.challenge(&channel, &mut rand::thread_rng(), now)?;
//!
//! // The device answers, if the challenge is for the session it is in.
//! let session = Session { network: NetworkId::parse("climate")?, audience: here, channel };
//! let answer = respond(&device, &did, &session, &challenge, now)?;
//!
//! // The service looks the key up, here the device's own document, and lets it in: once.
//! let response = LoginResponse::parse(&answer, service.network())?;
//! let mut ring = KeyRing::new();
//! ring.insert_document(&io::document(device.public_key())?);
//! let login = service.accept(&response, &channel, &ring, now)?;
//! assert_eq!(login.device, did);
//! assert_eq!(service.accept(&response, &channel, &ring, now), Err(LoginError::Replayed));
//! # Ok::<(), depin_core::Error>(())
//! ```

use alloc::{format, string::String};
use core::fmt;

use depin_core::{
    B256, Error, ErrorKind, NetworkId, Timestamp, cbor::CborError, envelope::EnvelopeError,
};
use sha2::{Digest, Sha256};

use crate::Did;

mod challenge;
mod response;
mod service;

pub use response::{LoginResponse, respond};
pub use service::{LoginOptions, LoginService};

/// Why a challenge is not answered, or an answer not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// More bytes than a challenge or response can have.
    #[error("the {0} has too many bytes")]
    TooLong(&'static str),
    /// Not deterministic CBOR.
    #[error("not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// The shape is not that of a challenge or response.
    #[error("not the format of a login {0}")]
    Format(&'static str),
    /// The response is malformed, for another network or purpose, or not signed by the device.
    #[error("the login response: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The audience is empty, too long, or not printable ASCII without spaces.
    #[error("an audience is a did or origin of 1 to 256 printable characters")]
    AudienceText,
    /// One side is in another network.
    #[error("the challenge is for network \"{0}\"")]
    Network(NetworkId),
    /// One side means another service.
    #[error("the login is meant for {0}, not for this service; it may have been relayed")]
    Audience(Audience),
    /// One side speaks on another channel.
    #[error("the login belongs to another channel; it may have been relayed")]
    Channel,
    /// This service did not hand the challenge out, or did so before it was restarted.
    #[error("this service did not issue the challenge since it started; ask for a new one")]
    Forged,
    /// The challenge expired.
    #[error("the challenge expired at {0}; ask for a new one")]
    Expired(Timestamp),
    /// The challenge was answered before.
    #[error("the challenge was answered already; ask for a new one")]
    Replayed,
    /// The clock of the device is too far from ours.
    #[error("the device's clock says {0}, which is too far from ours; set it")]
    Skew(Timestamp),
    /// No key is known with which the device may authenticate.
    #[error("no key of {0} that may authenticate is in the key ring; add its document")]
    UnknownKey(Did),
    /// As many answers are remembered as there is room for.
    #[error("too many logins at once; try again when some challenges have expired")]
    Full,
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        let kind = match &error {
            LoginError::TooLong(_) => ErrorKind::Limit,
            LoginError::Encoding(_) | LoginError::Format(_) | LoginError::AudienceText => {
                ErrorKind::Malformed
            }
            LoginError::Envelope(envelope) => Self::from(envelope.clone()).kind(),
            LoginError::Full => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// The service that a login is meant for: its DID or its origin, for example `https://ingest.example`.
///
/// Compared byte by byte, so both sides must write it alike: an origin in lower case, without a slash at
/// the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience(String);

impl Audience {
    /// Longest text in bytes.
    pub const MAX_LEN: usize = 256;

    /// Takes a DID or origin.
    ///
    /// # Errors
    /// [`LoginError::AudienceText`] when it is empty, too long or has other than printable ASCII characters.
    pub fn parse(text: &str) -> Result<Self, LoginError> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.into()));
        }
        Err(LoginError::AudienceText)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Did> for Audience {
    /// A DID is at most 512 bytes; one that is longer than an audience is named by its hash.
    fn from(did: &Did) -> Self {
        Self::parse(did.as_str())
            .unwrap_or_else(|_| Self(format!("sha-256:{:x}", Sha256::digest(did.as_str()))))
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A channel, as one of its ends sees it.
///
/// Made from bytes that the two ends share and that a man in the middle cannot make equal on his two
/// channels: the TLS exporter of RFC 9266 is made for this. A session id that one side simply sends, or
/// the addresses of the peers, is passed on by a relay and binds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel(B256);

impl Channel {
    /// Names a channel by its binding bytes; only their hash is ever sent.
    pub fn of(binding: &[u8]) -> Self {
        let hash = Sha256::new_with_prefix(b"depin/login-channel/v1").chain_update(binding);
        Self(B256::new(hash.finalize().into()))
    }
}

/// What one end knows of the session it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The network.
    pub network: NetworkId,
    /// The service.
    pub audience: Audience,
    /// The channel between the two.
    pub channel: Channel,
}

impl Session {
    /// Whether the other end describes the same session.
    fn check(&self, other: &Self) -> Result<(), LoginError> {
        if other.network != self.network {
            return Err(LoginError::Network(other.network.clone()));
        }
        if other.audience != self.audience {
            return Err(LoginError::Audience(other.audience.clone()));
        }
        if other.channel != self.channel {
            return Err(LoginError::Channel);
        }
        Ok(())
    }
}

/// A device that proved who it is. Only as [`Verified<Login>`](depin_core::Verified) did it happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// Who logged in.
    pub device: Did,
    /// Where, and over which channel.
    pub session: Session,
    /// When, by the clock of the service.
    pub at: Timestamp,
    /// What the device's clock said.
    pub device_time: Timestamp,
}
