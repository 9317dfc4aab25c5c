//! The challenge on the wire, with the seal by which the service knows it again.

use alloc::vec::Vec;

use depin_core::{
    B256, NetworkId, Result, Timestamp,
    cbor::{self, Decoder},
};
use hmac::Mac;

use super::{Audience, Channel, LoginError, Session};
use crate::{mac::mac, wire};

/// Most bytes of a challenge: network and audience of full length, and what is around them.
pub(super) const MAX_BYTES: usize = 512;
/// What a challenge is called in errors.
const WHAT: &str = "challenge";
/// Separates these seals from every other use of HMAC.
const TAG: &[u8] = b"depin/login-challenge/v1";

/// What a service asks. The seal says that it was this service.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    pub(super) session: Session,
    pub(super) nonce: B256,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) seal: B256,
}

impl Challenge {
    /// What the seal covers: everything, each field with its length.
    fn mac(&self, key: &[u8; 32]) -> impl Mac {
        let Session { network, audience, channel } = &self.session;
        let (issued, expires) = (self.issued.millis(), self.expires.millis());
        mac(
            key,
            &[
                TAG,
                network.as_str().as_bytes(),
                audience.as_str().as_bytes(),
                channel.0.as_slice(),
                self.nonce.as_slice(),
                &issued.to_be_bytes(),
                &expires.to_be_bytes(),
            ],
        )
    }

    pub(super) fn sealed(mut self, key: &[u8; 32]) -> Self {
        self.seal = B256::from_slice(&self.mac(key).finalize().into_bytes());
        self
    }

    /// Whether the holder of `key` sealed it. Takes the same time for every wrong seal.
    pub(super) fn is_sealed_by(&self, key: &[u8; 32]) -> bool {
        self.mac(key).verify_slice(self.seal.as_slice()).is_ok()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let Session { network, audience, channel } = &self.session;
        wire::encode(|e| {
            e.map(7)?.u8(1)?.str(network.as_str())?.u8(2)?.str(audience.as_str())?;
            e.u8(3)?.bytes(channel.0.as_slice())?.u8(4)?.bytes(self.nonce.as_slice())?;
            e.u8(5)?.u64(self.issued.millis())?.u8(6)?.u64(self.expires.millis())?;
            e.u8(7)?.bytes(self.seal.as_slice()).map(drop)
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LoginError> {
        if bytes.len() > MAX_BYTES {
            return Err(LoginError::TooLong(WHAT));
        }
        cbor::check(bytes)?;
        let mut d = Decoder::new(bytes);
        let mut read = || {
            if d.map()? != Some(7) {
                return wire::refuse("seven entries");
            }
            wire::label(&mut d, 1)?;
            let network =
                NetworkId::parse(d.str()?).map_err(|_| wire::Shape::message("network"))?;
            wire::label(&mut d, 2)?;
            let audience = audience(&mut d)?;
            wire::label(&mut d, 3)?;
            let channel = Channel(wire::hash(&mut d)?);
            wire::label(&mut d, 4)?;
            let nonce = wire::hash(&mut d)?;
            wire::label(&mut d, 5)?;
            let issued = Timestamp::from_millis(d.u64()?);
            wire::label(&mut d, 6)?;
            let expires = Timestamp::from_millis(d.u64()?);
            wire::label(&mut d, 7)?;
            let seal = wire::hash(&mut d)?;
            let session = Session { network, audience, channel };
            Ok(Self { session, nonce, issued, expires, seal })
        };
        read().map_err(|_| LoginError::Format(WHAT))
    }
}

pub(super) fn audience(d: &mut Decoder<'_>) -> Result<Audience, wire::Shape> {
    Audience::parse(d.str()?).map_err(|_| wire::Shape::message("audience"))
}
