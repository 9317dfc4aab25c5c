//! One delegation: what is signed, and its bytes.

use alloc::vec::Vec;

use depin_core::{
    B256, Error, ErrorKind, NetworkId, Result, Signer, Timestamp,
    cbor::{self, Decoder},
    envelope::{Envelope, Purpose},
};

use super::{DelegationError, Scopes};
use crate::{Did, Period, wire};

const PURPOSE: Purpose = Purpose::new("delegation", 1);
/// Most bytes of one link: three DIDs of full length and what is around them.
pub(super) const MAX_BYTES: usize = 2048;

/// Somebody passes rights over a device on to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Who passes them on, and signs.
    pub issuer: Did,
    /// Who gets them.
    pub subject: Did,
    /// The device they are about.
    pub device: Did,
    /// The rights.
    pub scopes: Scopes,
    /// When they count. In whole seconds, as in the contract.
    pub valid: Period,
    /// SHA-256 of the link that gave the rights to the issuer; `None` for the owner's own.
    pub parent: Option<B256>,
}

impl Delegation {
    /// Signs it for one network, whether or not the issuer has these rights: that is for
    /// [`DelegationChain::verify`](super::DelegationChain::verify) to say.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the period is not in whole seconds, [`ErrorKind::Limit`] when the
    /// DIDs are too long, or whatever the signer objects to.
    pub fn seal(&self, signer: &dyn Signer, network: &NetworkId) -> Result<Vec<u8>> {
        let (from, until) = (self.valid.from(), self.valid.until());
        if [from, until].iter().any(|moment| Timestamp::from_secs(moment.secs()) != *moment) {
            let message = "a delegation begins and ends at a whole second";
            return Err(Error::new(ErrorKind::Malformed, message).with("period", self.valid));
        }
        let payload = wire::encode(|e| {
            e.map(if self.parent.is_some() { 6 } else { 5 })?;
            e.u8(1)?.str(self.subject.as_str())?.u8(2)?.str(self.device.as_str())?;
            e.u8(3)?.u64(self.scopes.bits())?.u8(4)?.u64(from.secs())?.u8(5)?.u64(until.secs())?;
            match &self.parent {
                Some(parent) => e.u8(6)?.bytes(parent.as_slice()).map(drop),
                None => Ok(()),
            }
        })?;
        let bytes = Envelope::seal(signer, &self.issuer, network, PURPOSE, &payload)?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::new(ErrorKind::Limit, "the dids of the delegation are too long"));
        }
        Ok(bytes)
    }

    fn decode(issuer: Did, payload: &[u8]) -> Result<Self, wire::Shape> {
        let mut d = Decoder::new(payload);
        let entries = d.map()?;
        wire::label(&mut d, 1)?;
        let subject = wire::did(&mut d)?;
        wire::label(&mut d, 2)?;
        let device = wire::did(&mut d)?;
        wire::label(&mut d, 3)?;
        let scopes = Scopes::from_bits(d.u64()?);
        wire::label(&mut d, 4)?;
        let from = seconds(&mut d)?;
        wire::label(&mut d, 5)?;
        let until = seconds(&mut d)?;
        let valid = Period::new(from, until).map_err(|_| wire::Shape::message("period"))?;
        let parent = match entries {
            Some(5) => None,
            Some(6) => {
                wire::label(&mut d, 6)?;
                Some(wire::hash(&mut d)?)
            }
            _ => return wire::refuse("five or six entries"),
        };
        Ok(Self { issuer, subject, device, scopes, valid, parent })
    }
}

/// Seconds that milliseconds can count.
fn seconds(d: &mut Decoder<'_>) -> Result<Timestamp, wire::Shape> {
    let secs = d.u64()?;
    let moment = Timestamp::from_secs(secs);
    if moment.secs() == secs { Ok(moment) } else { wire::refuse("a time after the end of time") }
}

/// One parsed link. Its signature is not verified.
#[derive(Clone, Debug)]
pub(super) struct Link<'a> {
    pub(super) envelope: Envelope<'a>,
    pub(super) terms: Delegation,
    pub(super) hash: B256,
}

impl<'a> Link<'a> {
    /// Parses link number `at` of a chain.
    pub(super) fn parse(
        at: usize,
        bytes: &'a [u8],
        network: &NetworkId,
    ) -> Result<Self, DelegationError> {
        if bytes.len() > MAX_BYTES {
            return Err(DelegationError::TooLong);
        }
        let envelope = Envelope::parse(bytes, network, PURPOSE)
            .map_err(|error| DelegationError::Envelope { link: at, error })?;
        cbor::check(envelope.peek())?;
        let terms = Delegation::decode(envelope.signer().clone(), envelope.peek())
            .map_err(|_| DelegationError::Format(at))?;
        Ok(Self { envelope, terms, hash: wire::sha256(bytes) })
    }
}
