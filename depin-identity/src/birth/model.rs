//! The first link: a manufacturer certifies the key of a model.

use alloc::{string::String, vec::Vec};

use depin_core::{
    B256, PublicKey, Result, Signer, Timestamp,
    cbor::{self, Decoder},
    envelope::{Envelope, Purpose},
};

use super::{BirthError, MAX_BYTES, links, namespace};
use crate::{Did, Period, wire};

pub(super) const PURPOSE: Purpose = Purpose::new("birth-model", 1);

/// A model: what the manufacturer calls it, and the key that certifies its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    name: String,
    hardware: String,
    key: PublicKey,
    valid: Period,
}

impl Model {
    /// Longest name in bytes.
    pub const MAX_NAME: usize = 48;
    /// Longest hardware version in bytes.
    pub const MAX_HARDWARE: usize = 16;

    /// A model whose `key` may certify devices within `valid`.
    ///
    /// # Errors
    /// [`BirthError::Format`] when name or hardware version are empty, too long or have control
    /// characters.
    pub fn new(
        name: &str,
        hardware: &str,
        key: PublicKey,
        valid: Period,
    ) -> Result<Self, BirthError> {
        if !wire::is_name(name, Self::MAX_NAME) {
            return Err(BirthError::Format("name of the model (1 to 48 printable bytes)"));
        }
        if !wire::is_name(hardware, Self::MAX_HARDWARE) {
            return Err(BirthError::Format("hardware version (1 to 16 printable bytes)"));
        }
        Ok(Self { name: name.into(), hardware: hardware.into(), key, valid })
    }

    /// What the manufacturer calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the hardware.
    pub fn hardware(&self) -> &str {
        &self.hardware
    }

    /// The key that certifies devices.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// When that key may certify.
    pub const fn valid(&self) -> Period {
        self.valid
    }

    fn encode(&self) -> Result<Vec<u8>> {
        wire::encode(|e| {
            e.map(6)?
                .u8(1)?
                .i64(self.key.algorithm().cose())?
                .u8(2)?
                .bytes(&self.key.to_bytes())?;
            e.u8(3)?.str(&self.name)?.u8(4)?.str(&self.hardware)?;
            e.u8(5)?.u64(self.valid.from().millis())?;
            e.u8(6)?.u64(self.valid.until().millis()).map(drop)
        })
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, BirthError> {
        cbor::check(payload)?;
        let mut d = Decoder::new(payload);
        let mut read = || {
            if d.map()? != Some(6) {
                return wire::refuse("six entries");
            }
            let key = wire::key(&mut d, 1)?;
            wire::label(&mut d, 3)?;
            let name = wire::name(&mut d, Self::MAX_NAME)?;
            wire::label(&mut d, 4)?;
            let hardware = wire::name(&mut d, Self::MAX_HARDWARE)?;
            wire::label(&mut d, 5)?;
            let from = Timestamp::from_millis(d.u64()?);
            wire::label(&mut d, 6)?;
            let until = Timestamp::from_millis(d.u64()?);
            let valid = Period::new(from, until).map_err(|_| wire::Shape::message("period"))?;
            Ok(Self { name, hardware, key, valid })
        };
        read().map_err(|_| BirthError::Format(links::MODEL))
    }
}

/// A model's link, signed by the manufacturer: what a factory keeps to certify devices with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCertificate {
    bytes: Vec<u8>,
    model: Model,
}

impl ModelCertificate {
    /// Certifies a model as `manufacturer`.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when the DID is so long that no birth certificate
    /// would fit, or whatever the signer objects to.
    pub fn issue(signer: &dyn Signer, manufacturer: &Did, model: &Model) -> Result<Self> {
        let payload = model.encode()?;
        let bytes = Envelope::seal(signer, manufacturer, &namespace(), PURPOSE, &payload)?;
        Ok(Self::parse(&bytes)?)
    }

    /// Reads one back; the signature is checked with the devices it certifies.
    ///
    /// # Errors
    /// [`BirthError::TooLong`], [`BirthError::Envelope`] or [`BirthError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BirthError> {
        if bytes.len() > MAX_BYTES {
            return Err(BirthError::TooLong);
        }
        let envelope = Envelope::parse(bytes, &namespace(), PURPOSE);
        let model = Model::decode(envelope.map_err(links::failed(links::MODEL))?.peek())?;
        Ok(Self { bytes: bytes.into(), model })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The model it certifies.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// What names it in devices' certificates and in [`Anchors::revoke`](super::Anchors::revoke).
    pub fn hash(&self) -> B256 {
        wire::sha256(&self.bytes)
    }
}
