//! Why a dead letter was refused, told from its bytes and from what registry and log say now.

use depin_core::{
    B256, Did, NetworkId, Result, Sequence, Timestamp,
    cbor::{self, CborError},
    cose::Sign1,
    envelope::{Envelope, EnvelopeError},
    log::ChainTip,
    registry::DeviceStatus,
    transport::Explanation,
};

use super::{DeadLetter, Ingest};
use crate::batch::{self, Claim, PURPOSE};

/// A dead letter, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What was refused.
    pub letter: DeadLetter,
    /// What its code means and what helps.
    pub explanation: Explanation,
    /// Where its bytes break the encoding.
    pub fault: Option<ByteFault>,
    /// What it says of itself, as far as it can be read. Nothing of this is verified.
    pub claim: Option<Claimed>,
    /// What the registry says of the device it names, if it answers now.
    pub standing: Option<Standing>,
    /// Where the chain of the device it names stands in the log.
    pub tip: Option<ChainTip>,
    /// The hash that the log holds at the place it claims.
    pub held: Option<B256>,
}

/// The first byte that breaks a rule of deterministic CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteFault {
    /// Offset of the item, from 0.
    pub offset: usize,
    /// The rule.
    pub rule: CborError,
}

/// What a refused batch says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// The network that it was signed for.
    pub network: NetworkId,
    /// Who seems to have signed.
    pub device: Did,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// The hash it names as the one before.
    pub previous: B256,
    /// Number of readings.
    pub readings: usize,
    /// Time of the earliest reading.
    pub earliest: Option<Timestamp>,
    /// Time of the latest reading.
    pub latest: Option<Timestamp>,
}

/// What the registry says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It does not know the device.
    NotRegistered,
    /// It knows it.
    Registered(DeviceStatus),
}

impl Ingest {
    /// Explains the dead letter at a position.
    ///
    /// # Errors
    /// As [`dead_letter`](Self::dead_letter).
    pub async fn explain(&self, position: u64) -> Result<Diagnosis> {
        let letter = self.dead_letter(position).await?;
        let bytes = &letter.refused.bytes;
        let claim = claimed(bytes, self.network());
        let device = claim.as_ref().map(|claim| &claim.device);
        let device = device.or(letter.refused.refusal.device.as_ref()).cloned();
        let (mut standing, mut tip, mut held) = (None, None, None);
        if let Some(did) = &device {
            standing = self.registered(did).await;
            tip = self.log().tip(did).await?;
        }
        if let Some(Claimed { device, sequence, .. }) = &claim {
            held = self.log().find(device, *sequence).await?.map(|(_, hash)| hash);
        }
        let explanation = letter.refused.refusal.code.explain();
        let fault = byte_fault(bytes);
        Ok(Diagnosis { explanation, fault, claim, standing, tip, held, letter })
    }

    async fn registered(&self, did: &Did) -> Option<Standing> {
        match self.registry.device(did).await {
            Ok(Some(record)) => Some(Standing::Registered(record.status)),
            Ok(None) => Some(Standing::NotRegistered),
            Err(_) => None,
        }
    }
}

/// What bytes say of themselves, if need be for another network.
fn claimed(bytes: &[u8], ours: &NetworkId) -> Option<Claimed> {
    let network = match Envelope::parse(bytes, ours, PURPOSE) {
        Err(EnvelopeError::Network { found }) => NetworkId::parse(&found).ok()?,
        _ => ours.clone(),
    };
    let Claim { device, sequence, previous, readings, .. } = batch::claim(bytes, &network).ok()?;
    let times = || readings.iter().map(depin_core::Reading::at);
    let (earliest, latest, readings) = (times().min(), times().max(), readings.len());
    Some(Claimed { network, device, sequence, previous, readings, earliest, latest })
}

/// The first fault of the envelope, else of the header in it, else of the payload in it.
fn byte_fault(bytes: &[u8]) -> Option<ByteFault> {
    let fault = |part: &[u8]| {
        let (offset, rule) = cbor::fault(part)?;
        // Parts are slices of `bytes`.
        let start = part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        Some(ByteFault { offset: start.saturating_add(offset), rule })
    };
    fault(bytes).or_else(|| {
        let sign1 = Sign1::parse(bytes).ok()?;
        fault(sign1.protected_bytes()).or_else(|| fault(sign1.payload()))
    })
}
