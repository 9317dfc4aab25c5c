//! The bytes of a record; the format is written down in the module above.

use depin_core::{
    Address, Algorithm, B256, Did, EpochId, NetworkId, PublicKey, Sequence, Timestamp,
    cbor::{self, Decoder, Encoder, Type},
    log::ChainTip,
};

use super::{EpochError, EpochRecord, MAX_BYTES, MAX_CHECKS, MAX_DEVICES, MAX_KEYS, Member, Past};

const TAG: &str = "depin epoch v1";
const FIELDS: u64 = 10;

pub(super) fn encode(record: &EpochRecord) -> Vec<u8> {
    let hashes = 32 * (record.before.len() + record.leaves.len());
    let mut bytes = Vec::with_capacity(512 + hashes + 160 * record.roster.len());
    let mut e = Encoder::new(&mut bytes);
    let mut write = || -> Written {
        e.map(FIELDS)?.u8(0)?.str(TAG)?.u8(1)?.str(record.network.as_str())?;
        e.u8(2)?.u64(record.epoch.value())?.u8(3)?.u64(record.first)?;
        e.u8(4)?.bytes(&record.before.concat())?.u8(5)?.bytes(&record.leaves.concat())?;
        e.u8(6)?.bytes(record.root.as_slice())?.u8(7)?.array(record.roster.len() as u64)?;
        for member in &record.roster {
            e.array(4)?.str(member.device.as_str())?.array(member.keys.len() as u64)?;
            for key in &member.keys {
                write_key(&mut e, key)?;
            }
            e.bytes(member.beneficiary.as_slice())?;
            match &member.past {
                None => e.null()?,
                Some(Past { tip, latest, key }) => {
                    e.array(4)?.u64(tip.sequence.value())?.bytes(tip.hash.as_slice())?;
                    e.u64(latest.millis())?;
                    match key {
                        Some(key) => e.bytes(key.as_slice())?,
                        None => e.null()?,
                    }
                }
            };
        }
        e.u8(8)?.array(record.checks.len() as u64)?;
        for check in &record.checks {
            e.str(check)?;
        }
        e.u8(9)?.str(&record.policy)?;
        Ok(())
    };
    let written = write().is_ok();
    debug_assert!(written, "writing to a vector cannot fail");
    bytes
}

type Written = Result<(), cbor::encode::Error<core::convert::Infallible>>;

fn write_key(e: &mut Encoder<&mut Vec<u8>>, key: &PublicKey) -> Written {
    e.array(2)?.i64(key.algorithm().cose())?.bytes(&key.to_bytes())?;
    Ok(())
}

/// A key as the roster has it.
pub(super) fn key_bytes(key: &PublicKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    let written = write_key(&mut Encoder::new(&mut bytes), key).is_ok();
    debug_assert!(written, "writing to a vector cannot fail");
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<EpochRecord, EpochError> {
    if bytes.len() > MAX_BYTES {
        return Err(EpochError::Limit("bytes"));
    }
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    let (network, epoch) = decode_head(&mut d)?;
    key(&mut d, 3)?;
    let first = number(&mut d)?;
    key(&mut d, 4)?;
    let before = hashes(&mut d)?;
    key(&mut d, 5)?;
    let leaves = hashes(&mut d)?;
    key(&mut d, 6)?;
    let root = d.bytes().ok().and_then(|root| B256::try_from(root).ok());
    let root = root.ok_or(EpochError::Format("the root is 32 bytes"))?;
    key(&mut d, 7)?;
    let roster = list(&mut d, MAX_DEVICES, "devices", member)?;
    key(&mut d, 8)?;
    let checks = list(&mut d, MAX_CHECKS, "checks", text)?;
    key(&mut d, 9)?;
    let policy = text(&mut d)?;
    Ok(EpochRecord { network, epoch, first, before, leaves, root, roster, checks, policy })
}

/// Network and epoch, with which every record begins.
pub(super) fn decode_head(d: &mut Decoder<'_>) -> Result<(NetworkId, EpochId), EpochError> {
    if d.map().ok().flatten() != Some(FIELDS) {
        return Err(EpochError::Format("it is a map of ten entries"));
    }
    key(d, 0)?;
    if d.str().ok() != Some(TAG) {
        return Err(EpochError::Format("it is not tagged as an epoch of version 1"));
    }
    key(d, 1)?;
    let network = d.str().ok().and_then(|name| NetworkId::parse(name).ok());
    let network = network.ok_or(EpochError::Format("the network has no valid name"))?;
    key(d, 2)?;
    Ok((network, EpochId::new(number(d)?)))
}

fn key(d: &mut Decoder<'_>, expected: u8) -> Result<(), EpochError> {
    let found = d.u8().is_ok_and(|found| found == expected);
    found.then_some(()).ok_or(EpochError::Format("it has the keys 0 to 9"))
}

fn number(d: &mut Decoder<'_>) -> Result<u64, EpochError> {
    d.u64().map_err(|_| EpochError::Format("epoch and first are unsigned integers"))
}

fn text(d: &mut Decoder<'_>) -> Result<String, EpochError> {
    d.str().map(Into::into).map_err(|_| EpochError::Format("names are texts"))
}

fn hashes(d: &mut Decoder<'_>) -> Result<Vec<B256>, EpochError> {
    let shape = EpochError::Format("hashes are 32 bytes each");
    let Ok(bytes) = d.bytes() else { return Err(shape) };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() { Ok(hashes.iter().map(B256::from).collect()) } else { Err(shape) }
}

fn list<T>(
    d: &mut Decoder<'_>,
    most: usize,
    what: &'static str,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, EpochError>,
) -> Result<Vec<T>, EpochError> {
    let count = d.array().ok().flatten().and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(EpochError::Format("devices, keys and checks are lists"))?;
    if count > most {
        return Err(EpochError::Limit(what));
    }
    (0..count).map(|_| item(d)).collect()
}

fn member(d: &mut Decoder<'_>) -> Result<Member, EpochError> {
    const SHAPE: EpochError =
        EpochError::Format("a device is did, keys, beneficiary and past, all valid");
    if d.array().ok().flatten() != Some(4) {
        return Err(SHAPE);
    }
    let device = d.str().ok().and_then(|did| Did::parse(did).ok()).ok_or(SHAPE)?;
    let keys = list(d, MAX_KEYS, "keys of a device", |d| public_key(d).ok_or(SHAPE))?;
    let beneficiary = d.bytes().ok().and_then(|bytes| Address::try_from(bytes).ok());
    let beneficiary = beneficiary.ok_or(SHAPE)?;
    let past = past(d).ok_or(SHAPE)?;
    Ok(Member { device, keys, beneficiary, past })
}

fn public_key(d: &mut Decoder<'_>) -> Option<PublicKey> {
    if d.array().ok().flatten() != Some(2) {
        return None;
    }
    let algorithm = Algorithm::from_cose(d.i64().ok()?)?;
    PublicKey::from_bytes(algorithm, d.bytes().ok()?).ok()
}

/// `Some(None)` is a device without a past.
fn past(d: &mut Decoder<'_>) -> Option<Option<Past>> {
    if d.datatype().ok()? == Type::Null {
        return d.null().ok().map(|()| None);
    }
    if d.array().ok().flatten() != Some(4) {
        return None;
    }
    let sequence = Sequence::new(d.u64().ok()?);
    let hash = B256::try_from(d.bytes().ok()?).ok()?;
    let latest = Timestamp::from_millis(d.u64().ok()?);
    let key = match d.datatype().ok()? {
        Type::Null => d.null().ok().map(|()| None)?,
        _ => Some(B256::try_from(d.bytes().ok()?).ok()?),
    };
    Some(Some(Past { tip: ChainTip { sequence, hash }, latest, key }))
}
