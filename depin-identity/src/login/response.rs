//! The answer of a device.

use alloc::vec::Vec;

use depin_core::{
    NetworkId, PublicKey, Result, Signer, Timestamp,
    cbor::{self, Decoder},
    envelope::{Envelope, Purpose},
};

use super::{
    Channel, LoginError, Session,
    challenge::{self, Challenge},
};
use crate::{Did, wire};

const PURPOSE: Purpose = Purpose::new("login", 1);
/// Most bytes of a response: a challenge, an audience and a DID of full length, and what is around them.
const MAX_BYTES: usize = 2048;
/// What a response is called in errors.
const WHAT: &str = "response";

/// Answers a challenge as `did`, if it is for the session that the device sees itself in.
///
/// # Errors
/// [`LoginError::Network`], [`LoginError::Audience`] or [`LoginError::Channel`] when somebody may be
/// relaying, the parsing ones, or whatever the signer objects to.
pub fn respond(
    signer: &dyn Signer,
    did: &Did,
    session: &Session,
    challenge: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>> {
    session.check(&Challenge::decode(challenge)?.session)?;
    let payload = wire::encode(|e| {
        e.map(4)?.u8(1)?.bytes(challenge)?.u8(2)?.str(session.audience.as_str())?;
        e.u8(3)?.bytes(session.channel.0.as_slice())?;
        e.u8(4)?.u64(now.millis()).map(drop)
    })?;
    Envelope::seal(signer, did, &session.network, PURPOSE, &payload)
}

/// A device's answer whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct LoginResponse {
    bytes: Vec<u8>,
    device: Did,
    /// The session as the device saw it.
    pub(super) session: Session,
    pub(super) challenge: Challenge,
    pub(super) device_time: Timestamp,
}

impl LoginResponse {
    /// Parses an answer that says to be of `network`.
    ///
    /// # Errors
    /// [`LoginError::TooLong`], [`LoginError::Envelope`], [`LoginError::Encoding`] or
    /// [`LoginError::Format`].
    pub fn parse(bytes: &[u8], network: &NetworkId) -> Result<Self, LoginError> {
        if bytes.len() > MAX_BYTES {
            return Err(LoginError::TooLong(WHAT));
        }
        let envelope = Envelope::parse(bytes, network, PURPOSE)?;
        cbor::check(envelope.peek())?;
        let mut d = Decoder::new(envelope.peek());
        let mut read = || {
            if d.map()? != Some(4) {
                return wire::refuse("four entries");
            }
            wire::label(&mut d, 1)?;
            let challenge = d.bytes()?;
            wire::label(&mut d, 2)?;
            let audience = challenge::audience(&mut d)?;
            wire::label(&mut d, 3)?;
            let channel = Channel(wire::hash(&mut d)?);
            wire::label(&mut d, 4)?;
            let device_time = Timestamp::from_millis(d.u64()?);
            Ok((challenge, Session { network: network.clone(), audience, channel }, device_time))
        };
        let (challenge, session, device_time) = read().map_err(|_| LoginError::Format(WHAT))?;
        let challenge = Challenge::decode(challenge)?;
        let device = envelope.signer().clone();
        Ok(Self { bytes: bytes.into(), device, session, challenge, device_time })
    }

    /// Who says to have answered: whose key to look up.
    pub const fn device(&self) -> &Did {
        &self.device
    }

    pub(super) fn open(&self, key: &PublicKey) -> Result<(), LoginError> {
        Envelope::parse(&self.bytes, &self.session.network, PURPOSE)?.open(key)?;
        Ok(())
    }
}
