//! Refusals that the log has signed.

use alloc::{string::String, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Result,
    cbor::{self, Decoder, Encoder, Type},
    envelope::{Envelope, Purpose},
    transport::{Refusal, RefusalCode},
};

use super::{MAX_ANSWER, Nonce, WireError};
use crate::receipt::HeadSigner;

/// What the signature of a refusal says it is for.
pub const PURPOSE: Purpose = Purpose::new("refusal", 1);
/// Most bytes of the reason in words; more is cut.
const MAX_DETAIL: usize = 1024;

/// A refusal as its bytes have it, signature not yet checked.
#[derive(Clone, Debug)]
pub(super) struct SignedRefusal<'a> {
    pub(super) envelope: Envelope<'a>,
    pub(super) nonce: Nonce,
    pub(super) refusal: Refusal,
}

pub(super) fn sign(refusal: &Refusal, nonce: &Nonce, log: &HeadSigner) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(256);
    Encoder::new(&mut payload)
        .map(5)
        .and_then(|e| e.u8(1)?.bytes(nonce.as_bytes())?.u8(2)?.bytes(refusal.batch.as_slice()))
        .and_then(|e| e.u8(3)?.str(refusal.code.as_str())?.u8(4)?.str(cut(&refusal.detail)))
        .and_then(|e| match &refusal.device {
            Some(did) => e.u8(5)?.str(did.as_str()),
            None => e.u8(5)?.null(),
        })
        .map_err(|_| Error::new(ErrorKind::Limit, "the refusal cannot be encoded"))?;
    log.seal(PURPOSE, &payload)
}

fn cut(detail: &str) -> &str {
    detail.get(..detail.floor_char_boundary(MAX_DETAIL)).unwrap_or_default()
}

impl<'a> SignedRefusal<'a> {
    pub(super) fn parse(bytes: &'a [u8], network: &NetworkId) -> Result<Self, WireError> {
        const WHAT: WireError = WireError::Format("refusal");
        if bytes.len() > MAX_ANSWER {
            return Err(WHAT);
        }
        let envelope = Envelope::parse(bytes, network, PURPOSE)?;
        let payload = envelope.peek();
        cbor::check(payload)?;
        let (nonce, refusal) = read(payload).map_err(|_| WHAT)?.ok_or(WHAT)?;
        Ok(Self { envelope, nonce, refusal })
    }
}

/// `None` where the shape is right and a value is not.
fn read(payload: &[u8]) -> Result<Option<(Nonce, Refusal)>, cbor::decode::Error> {
    let mut d = Decoder::new(payload);
    let mut keys = d.map()? == Some(5);
    keys &= d.u8()? == 1;
    let nonce = <[u8; 16]>::try_from(d.bytes()?).ok().map(Nonce);
    keys &= d.u8()? == 2;
    let batch = B256::try_from(d.bytes()?).ok();
    keys &= d.u8()? == 3;
    let code = RefusalCode::parse(d.str()?);
    keys &= d.u8()? == 4;
    let detail = Some(d.str()?).filter(|detail| detail.len() <= MAX_DETAIL).map(String::from);
    keys &= d.u8()? == 5;
    let device = match d.datatype()? {
        Type::Null => Some(None),
        _ => Did::parse(d.str()?).ok().map(Some),
    };
    let all =
        || Some((nonce?, Refusal { code: code?, detail: detail?, batch: batch?, device: device? }));
    Ok(if keys { all() } else { None })
}
