//! The three links as bytes, and that they belong together.

use alloc::vec::Vec;

use depin_core::{
    B256, PublicKey, Result, Signer, Timestamp, Verified,
    cbor::{self, Decoder},
    envelope::{Envelope, EnvelopeError, Purpose},
    evidence::{Appraisal, TrustTier},
};

use super::{Birth, BirthError, MAX_BYTES, Model, ModelCertificate, NAMESPACE, model, namespace};
use crate::{
    Did,
    methods::{self, io, key},
    sybil::Nullifier,
    wire,
};

pub(super) const MODEL: &str = "model link";
pub(super) const DEVICE: &str = "device link";
pub(super) const ACCEPTANCE: &str = "acceptance";

const DEVICE_PURPOSE: Purpose = Purpose::new("birth-device", 1);
const ACCEPTANCE_PURPOSE: Purpose = Purpose::new("birth-accept", 1);

/// The tiers, by their number on the wire.
const TIERS: [TrustTier; 4] =
    [TrustTier::Contraindicated, TrustTier::Simulated, TrustTier::Warning, TrustTier::Affirming];

/// Names the link in which an envelope failed.
pub(super) const fn failed(link: &'static str) -> impl Fn(EnvelopeError) -> BirthError {
    move |error| BirthError::Envelope { link, error }
}

/// The parsed links. Nothing is verified yet.
pub(super) struct Links<'a> {
    pub(super) model: Envelope<'a>,
    pub(super) device: Envelope<'a>,
    pub(super) acceptance: Envelope<'a>,
    model_hash: B256,
    device_hash: B256,
}

impl<'a> Links<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BirthError> {
        if bytes.len() > MAX_BYTES {
            return Err(BirthError::TooLong);
        }
        cbor::check(bytes)?;
        let links = wire::links(bytes, 3).ok().and_then(|links| <[&[u8]; 3]>::try_from(links).ok());
        let [model, device, acceptance] = links.ok_or(BirthError::Format("list of links"))?;
        let open = |bytes, purpose, link| {
            Envelope::parse(bytes, &namespace(), purpose).map_err(failed(link))
        };
        Ok(Self {
            model_hash: wire::sha256(model),
            device_hash: wire::sha256(device),
            model: open(model, model::PURPOSE, MODEL)?,
            device: open(device, DEVICE_PURPOSE, DEVICE)?,
            acceptance: open(acceptance, ACCEPTANCE_PURPOSE, ACCEPTANCE)?,
        })
    }

    /// What the links say, once it is sure that each refers to the one before.
    pub(super) fn claims(&self) -> Result<Birth, BirthError> {
        let model = Model::decode(self.model.peek())?;
        let leaf = Leaf::decode(self.device.peek())?;
        let accepted = decode_acceptance(self.acceptance.peek())?;
        let fits = [
            (*self.device.signer() == key::did_key(model.key()), "the model did not certify"),
            (leaf.model == self.model_hash, "the device was certified under another model link"),
            (names(&leaf.did, &leaf.key), "the did of the device does not name its key"),
            (*self.acceptance.signer() == leaf.did, "another device accepted"),
            (accepted == self.device_hash, "the device accepted another certificate"),
        ];
        if let Some((_, why)) = fits.into_iter().find(|(fits, _)| !fits) {
            return Err(BirthError::Broken(why));
        }
        let Leaf { model: model_link, did, key, appraisal, tier, unit, born } = leaf;
        let manufacturer = self.model.signer().clone();
        Ok(Birth { manufacturer, model, model_link, did, key, appraisal, tier, unit, born })
    }
}

/// Whether a DID that is made from a key is made from this one. At birth no key was rotated yet.
fn names(did: &Did, of: &PublicKey) -> bool {
    match did.method() {
        io::METHOD => io::did_io(of).is_ok_and(|made| made == *did),
        _ => methods::is_made_of(did, of).unwrap_or(true),
    }
}

/// What the model's key says of a device.
struct Leaf {
    model: B256,
    did: Did,
    key: PublicKey,
    appraisal: B256,
    tier: TrustTier,
    unit: Nullifier,
    born: Timestamp,
}

impl Leaf {
    fn encode(&self) -> Result<Vec<u8>> {
        let tier = TIERS.iter().position(|tier| *tier == self.tier).unwrap_or_default();
        wire::encode(|e| {
            e.map(8)?.u8(1)?.bytes(self.model.as_slice())?.u8(2)?.str(self.did.as_str())?;
            e.u8(3)?.i64(self.key.algorithm().cose())?.u8(4)?.bytes(&self.key.to_bytes())?;
            e.u8(5)?.bytes(self.appraisal.as_slice())?.u8(6)?.u64(tier as u64)?;
            e.u8(7)?.bytes(self.unit.as_b256().as_slice())?;
            e.u8(8)?.u64(self.born.millis()).map(drop)
        })
    }

    fn decode(payload: &[u8]) -> Result<Self, BirthError> {
        cbor::check(payload)?;
        let mut d = Decoder::new(payload);
        let mut read = || {
            if d.map()? != Some(8) {
                return wire::refuse("eight entries");
            }
            wire::label(&mut d, 1)?;
            let model = wire::hash(&mut d)?;
            wire::label(&mut d, 2)?;
            let did = wire::did(&mut d)?;
            let key = wire::key(&mut d, 3)?;
            wire::label(&mut d, 5)?;
            let appraisal = wire::hash(&mut d)?;
            wire::label(&mut d, 6)?;
            let tier = TIERS.get(usize::from(d.u8()?)).copied();
            let tier = tier.ok_or_else(|| wire::Shape::message("unknown tier"))?;
            wire::label(&mut d, 7)?;
            let unit = Nullifier::from_b256(wire::hash(&mut d)?);
            wire::label(&mut d, 8)?;
            let born = Timestamp::from_millis(d.u64()?);
            Ok(Self { model, did, key, appraisal, tier, unit, born })
        };
        read().map_err(|_| BirthError::Format(DEVICE))
    }
}

/// Signs the leaf with the model's key.
pub(super) fn seal_device(
    model: &ModelCertificate,
    factory: &dyn Signer,
    appraisal: &Verified<Appraisal>,
    born: Timestamp,
) -> Result<Vec<u8>> {
    let leaf = Leaf {
        model: model.hash(),
        did: appraisal.challenge.did.clone(),
        key: appraisal.challenge.key.clone(),
        appraisal: appraisal.hash(),
        tier: appraisal.tier,
        unit: Nullifier::within(NAMESPACE, appraisal)?,
        born,
    };
    let did = key::did_key(factory.public_key());
    Envelope::seal(factory, &did, &namespace(), DEVICE_PURPOSE, &leaf.encode()?)
}

/// Signs the acceptance with the device's key.
pub(super) fn seal_acceptance(leaf: &[u8], device: &dyn Signer, did: &Did) -> Result<Vec<u8>> {
    let payload =
        wire::encode(|e| e.map(1)?.u8(1)?.bytes(wire::sha256(leaf).as_slice()).map(drop))?;
    Envelope::seal(device, did, &namespace(), ACCEPTANCE_PURPOSE, &payload)
}

fn decode_acceptance(payload: &[u8]) -> Result<B256, BirthError> {
    cbor::check(payload)?;
    let mut d = Decoder::new(payload);
    let mut read = || {
        if d.map()? != Some(1) {
            return wire::refuse("one entry");
        }
        wire::label(&mut d, 1)?;
        wire::hash(&mut d)
    };
    read().map_err(|_| BirthError::Format(ACCEPTANCE))
}
