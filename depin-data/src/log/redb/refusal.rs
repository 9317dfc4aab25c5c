//! How a refusal lies in the file: `[received ms, code, detail, batch hash, did or empty, bytes]`, and
//! after that what the bytes contradict, for a fork.

use depin_core::{
    B256, Did, Error, ErrorKind, Result, Timestamp,
    cbor::{self, Decoder, Encoder},
    log::RefusedBatch,
    transport::{Refusal, RefusalCode},
};

pub(in crate::log) fn encode(refused: &RefusedBatch) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256 + refused.bytes.len());
    let refusal = &refused.refusal;
    Encoder::new(&mut bytes)
        .array(6 + u64::from(refused.against.is_some()))
        .and_then(|e| e.u64(refused.received.millis())?.str(refusal.code.as_str()))
        .and_then(|e| e.str(&refusal.detail)?.bytes(refusal.batch.as_slice()))
        .and_then(|e| e.str(refusal.device.as_ref().map_or("", Did::as_str)))
        .and_then(|e| e.bytes(&refused.bytes))
        .and_then(|e| refused.against.iter().try_fold(e, |e, against| e.bytes(against)))
        .map_err(|_| Error::new(ErrorKind::Limit, "the refusal cannot be encoded"))?;
    Ok(bytes)
}

pub(in crate::log) fn decode(bytes: &[u8]) -> Result<RefusedBatch> {
    let damaged = || Error::new(ErrorKind::Corrupt, "a refusal in the log cannot be read");
    let read = || -> Result<_, cbor::decode::Error> {
        let mut d = Decoder::new(bytes);
        let items = d.array()?;
        let head = (d.u64()?, d.str()?, d.str()?, d.bytes()?);
        let (did, bytes) = (d.str()?, d.bytes()?);
        let against = (items == Some(7)).then(|| d.bytes()).transpose()?;
        Ok((head, did, bytes, against))
    };
    let ((received, code, detail, batch), did, bytes, against) = read().map_err(|_| damaged())?;
    Ok(RefusedBatch {
        refusal: Refusal {
            code: RefusalCode::parse(code).ok_or_else(damaged)?,
            detail: detail.into(),
            batch: B256::try_from(batch).map_err(|_| damaged())?,
            device: Some(did)
                .filter(|did| !did.is_empty())
                .map(Did::parse)
                .transpose()
                .map_err(|_| damaged())?,
        },
        received: Timestamp::from_millis(received),
        bytes: bytes.to_vec().into(),
        against: against.map(|against| against.to_vec().into()),
    })
}
