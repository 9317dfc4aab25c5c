//! A device's question where its chain stands, and the log's signed answer.

use alloc::vec::Vec;

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, PublicKey, Result, Sequence, SignedBatch, Signer,
    cbor::{self, Decoder, Encoder, Type},
    envelope::{Envelope, Purpose},
    log::ChainTip,
};

use super::{MAX_ANSWER, Nonce, WireError};
use crate::receipt::HeadSigner;

/// What the signature of a question says it is for.
pub const QUESTION_PURPOSE: Purpose = Purpose::new("standing-question", 1);
/// What the signature of a standing says it is for.
pub const PURPOSE: Purpose = Purpose::new("standing", 1);
/// Most bytes of a question; the longest DID leaves room.
pub const MAX_QUESTION: usize = 1024;

/// Asks, as `device`, where its chain stands: signed bytes that travel as a batch does.
///
/// # Errors
/// Whatever the signer objects to.
pub fn question(
    signer: &dyn Signer,
    device: &Did,
    network: &NetworkId,
    nonce: &Nonce,
) -> Result<SignedBatch> {
    let mut payload = Vec::with_capacity(19);
    Encoder::new(&mut payload)
        .map(1)
        .and_then(|e| e.u8(1)?.bytes(nonce.as_bytes()))
        .map_err(|_| Error::new(ErrorKind::Limit, "the question cannot be encoded"))?;
    Envelope::seal(signer, device, network, QUESTION_PURPOSE, &payload).map(SignedBatch::new)
}

/// A question as its bytes have it, signature not yet checked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    envelope: Envelope<'a>,
    nonce: Nonce,
}

impl<'a> Question<'a> {
    /// Reads a question to the log of `network`, bounded in size and time.
    ///
    /// # Errors
    /// [`WireError::Format`], [`WireError::Encoding`] or [`WireError::Question`].
    pub fn parse(bytes: &'a [u8], network: &NetworkId) -> Result<Self, WireError> {
        const WHAT: WireError = WireError::Format("question");
        if bytes.len() > MAX_QUESTION {
            return Err(WHAT);
        }
        let envelope =
            Envelope::parse(bytes, network, QUESTION_PURPOSE).map_err(WireError::Question)?;
        let payload = envelope.peek();
        cbor::check(payload)?;
        let mut d = Decoder::new(payload);
        match (d.map(), d.u8(), d.bytes()) {
            (Ok(Some(1)), Ok(1), Ok(nonce)) => {
                let nonce = Nonce(nonce.try_into().map_err(|_| WHAT)?);
                Ok(Self { envelope, nonce })
            }
            _ => Err(WHAT),
        }
    }

    /// Who says that it asks.
    pub const fn device(&self) -> &Did {
        self.envelope.signer()
    }

    /// What the answer has to name.
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Verifies that the device asks, which has this key.
    ///
    /// # Errors
    /// [`WireError::Question`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), WireError> {
        self.envelope.open(key).map(drop).map_err(WireError::Question)
    }
}

/// A standing as its bytes have it, signature not yet checked.
#[derive(Clone, Debug)]
pub(super) struct SignedTip<'a> {
    pub(super) envelope: Envelope<'a>,
    pub(super) nonce: Nonce,
    pub(super) question: B256,
    pub(super) tip: Option<ChainTip>,
}

pub(super) fn sign(
    tip: Option<ChainTip>,
    question: B256,
    nonce: &Nonce,
    log: &HeadSigner,
) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(100);
    Encoder::new(&mut payload)
        .map(3)
        .and_then(|e| e.u8(1)?.bytes(nonce.as_bytes())?.u8(2)?.bytes(question.as_slice())?.u8(3))
        .and_then(|e| match tip {
            Some(tip) => e.array(2)?.u64(tip.sequence.value())?.bytes(tip.hash.as_slice()),
            None => e.null(),
        })
        .map_err(|_| Error::new(ErrorKind::Limit, "the standing cannot be encoded"))?;
    log.seal(PURPOSE, &payload)
}

impl<'a> SignedTip<'a> {
    pub(super) fn parse(bytes: &'a [u8], network: &NetworkId) -> Result<Self, WireError> {
        const WHAT: WireError = WireError::Format("standing");
        if bytes.len() > MAX_ANSWER {
            return Err(WHAT);
        }
        let envelope = Envelope::parse(bytes, network, PURPOSE).map_err(WireError::Standing)?;
        let payload = envelope.peek();
        cbor::check(payload)?;
        let (nonce, question, tip) = read(payload).map_err(|_| WHAT)?.ok_or(WHAT)?;
        Ok(Self { envelope, nonce, question, tip })
    }
}

/// `None` where the shape is right and a value is not.
fn read(payload: &[u8]) -> Result<Option<(Nonce, B256, Option<ChainTip>)>, cbor::decode::Error> {
    let mut d = Decoder::new(payload);
    let mut shape = d.map()? == Some(3);
    shape &= d.u8()? == 1;
    let nonce = <[u8; 16]>::try_from(d.bytes()?).ok().map(Nonce);
    shape &= d.u8()? == 2;
    let question = B256::try_from(d.bytes()?).ok();
    shape &= d.u8()? == 3;
    let tip = if d.datatype()? == Type::Null {
        Some(None)
    } else {
        shape &= d.array()? == Some(2);
        let sequence = Sequence::new(d.u64()?);
        B256::try_from(d.bytes()?).ok().map(|hash| Some(ChainTip { sequence, hash }))
    };
    let all = || Some((nonce?, question?, tip?));
    Ok(if shape { all() } else { None })
}
