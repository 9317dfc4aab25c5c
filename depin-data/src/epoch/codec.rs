//! The bytes of a record; the format is written down in the module above.

use std::convert::Infallible;

use depin_core::{
    Address, Algorithm, Amount, B256, Did, EpochId, NetworkId, PublicKey, Sequence, Timestamp,
    U256,
    cbor::{self, Decoder, Encoder, Type, encode::Write},
    log::ChainTip,
};

use super::{
    EpochError, EpochRecord, MAX_BYTES, MAX_CHECKS, MAX_DEVICES, MAX_KEYS, MAX_OPEN, Member, Past,
    Windows, Work,
};

const TAG: &str = "depin epoch v2";
/// Entries of a record that replaces none; one that does has one more.
const FIELDS: u64 = 13;

pub(super) fn encode(record: &EpochRecord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length(record));
    each_part(record, &mut |part| bytes.extend_from_slice(part));
    bytes
}

/// Bytes of the encoding.
pub(super) fn length(record: &EpochRecord) -> usize {
    let mut length = 0usize;
    each_part(record, &mut |part| length = length.saturating_add(part.len()));
    length
}

/// Whether these bytes are the encoding.
pub(super) fn is_encoding(record: &EpochRecord, bytes: &[u8]) -> bool {
    let mut rest = Some(bytes);
    each_part(record, &mut |part| rest = rest.and_then(|rest| rest.strip_prefix(part)));
    rest.is_some_and(<[u8]>::is_empty)
}

/// Gives the encoding part by part: it is as long as what it is of, which names every batch.
pub(super) fn each_part(record: &EpochRecord, take: &mut dyn FnMut(&[u8])) {
    let mut e = Encoder::new(Parts(take));
    let mut write = || -> Written {
        e.map(FIELDS + u64::from(record.replaces.is_some()))?
            .u8(0)?
            .str(TAG)?
            .u8(1)?
            .str(record.network.as_str())?;
        e.u8(2)?.u64(record.epoch.value())?.u8(3)?.u64(record.first)?;
        e.u8(4)?;
        write_hashes(&mut e, &record.before)?;
        e.u8(5)?;
        write_hashes(&mut e, &record.leaves)?;
        e.u8(6)?.bytes(record.root.as_slice())?.u8(7)?.array(record.roster.len() as u64)?;
        for member in &record.roster {
            e.array(4)?.str(member.device.as_str())?.array(member.keys.len() as u64)?;
            for key in &member.keys {
                write_key(&mut e, key)?;
            }
            e.bytes(member.beneficiary.as_slice())?;
            write_past(&mut e, member.past.as_ref())?;
        }
        e.u8(8)?.array(record.checks.len() as u64)?;
        for check in &record.checks {
            e.str(check)?;
        }
        e.u8(9)?.str(&record.policy)?.u8(10)?;
        write_windows(&mut e, record.windows.map(|it| (it, record.windows_since)).as_ref())?;
        e.u8(11)?;
        match &record.settled_policy {
            None => e.null()?,
            Some(policy) => e.str(policy)?,
        };
        e.u8(12)?;
        match &record.standings {
            None => e.null()?,
            Some(root) => e.bytes(root.as_slice())?,
        };
        if let Some(withdrawn) = &record.replaces {
            e.u8(13)?.bytes(withdrawn.as_slice())?;
        }
        Ok(())
    };
    let written = write().is_ok();
    debug_assert!(written, "giving parts cannot fail");
}

/// Takes bytes as they come.
struct Parts<'a>(&'a mut dyn FnMut(&[u8]));

impl Write for Parts<'_> {
    type Error = Infallible;

    fn write_all(&mut self, part: &[u8]) -> Result<(), Infallible> {
        (self.0)(part);
        Ok(())
    }
}

pub(super) type Written = Result<(), cbor::encode::Error<Infallible>>;

/// One after the other in one byte string.
fn write_hashes(e: &mut Encoder<Parts<'_>>, hashes: &[B256]) -> Written {
    e.bytes_len(32 * hashes.len() as u64)?;
    hashes.iter().for_each(|hash| (e.writer_mut().0)(hash.as_slice()));
    Ok(())
}

pub(super) fn write_windows(
    e: &mut Encoder<impl Write<Error = Infallible>>,
    windows: Option<&(Windows, EpochId)>,
) -> Written {
    let Some((windows, since)) = windows else {
        e.null()?;
        return Ok(());
    };
    let [start, length, lateness, settling] = windows.parts();
    e.array(5)?.u64(start)?.u64(length)?.u64(lateness)?.u64(settling)?.u64(since.value())?;
    Ok(())
}

fn write_key(e: &mut Encoder<impl Write<Error = Infallible>>, key: &PublicKey) -> Written {
    e.array(2)?.i64(key.algorithm().cose())?.bytes(&key.to_bytes())?;
    Ok(())
}

/// Where a device stood.
pub(super) fn write_past(
    e: &mut Encoder<impl Write<Error = Infallible>>,
    past: Option<&Past>,
) -> Written {
    let Some(Past { tip, latest, key, open }) = past else {
        e.null()?;
        return Ok(());
    };
    e.array(5)?.u64(tip.sequence.value())?.bytes(tip.hash.as_slice())?.u64(latest.millis())?;
    match key {
        Some(key) => e.bytes(key.as_slice())?,
        None => e.null()?,
    };
    e.array(open.len() as u64)?;
    for work in open {
        e.array(4)?.u64(work.epoch.value())?.u64(work.readings)?.u64(work.score)?;
        // There are many of these, and most of 32 bytes would be zeros.
        e.bytes(&work.paid.to_units().to_be_bytes_trimmed_vec())?;
    }
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
    decode_with(bytes, |d| list(d, MAX_KEYS, "keys of a device", |d| public_key(d).ok_or(MEMBER)))
}

/// Without the keys of devices, which cost more to read than all else.
pub(super) fn decode_without_keys(bytes: &[u8]) -> Result<EpochRecord, EpochError> {
    decode_with(bytes, |d| d.skip().map(|()| Vec::new()).map_err(|_| MEMBER))
}

fn decode_with(
    bytes: &[u8],
    keys: fn(&mut Decoder<'_>) -> Result<Vec<PublicKey>, EpochError>,
) -> Result<EpochRecord, EpochError> {
    if bytes.len() > MAX_BYTES {
        return Err(EpochError::Limit("bytes"));
    }
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    let (fields, network, epoch) = decode_head(&mut d)?;
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
    let roster = list(&mut d, MAX_DEVICES, "devices", |d| member(d, keys))?;
    key(&mut d, 8)?;
    let checks = list(&mut d, MAX_CHECKS, "checks", text)?;
    key(&mut d, 9)?;
    let policy = text(&mut d)?;
    key(&mut d, 10)?;
    let windows = windows(&mut d).ok_or(EpochError::Format(
        "windows are start, length, lateness, settling and first epoch, or null",
    ))?;
    key(&mut d, 11)?;
    let settled_policy = match d.datatype() {
        Ok(Type::Null) => {
            let _ = d.null();
            None
        }
        _ => Some(text(&mut d)?),
    };
    key(&mut d, 12)?;
    let standings = match d.datatype() {
        Ok(Type::Null) => {
            let _ = d.null();
            None
        }
        _ => {
            let root = d.bytes().ok().and_then(|root| B256::try_from(root).ok());
            Some(root.ok_or(EpochError::Format("the root of the standings is 32 bytes, or null"))?)
        }
    };
    let replaces = match fields {
        FIELDS => None,
        _ => {
            key(&mut d, 13)?;
            let manifest = d.bytes().ok().and_then(|hash| B256::try_from(hash).ok());
            Some(manifest.ok_or(EpochError::Format("the manifest it replaces is 32 bytes"))?)
        }
    };
    Ok(EpochRecord {
        network,
        epoch,
        first,
        before,
        leaves,
        root,
        roster,
        checks,
        policy,
        windows: windows.map(|(windows, _)| windows),
        windows_since: windows.map_or(EpochId::new(0), |(_, since)| since),
        settled_policy,
        standings,
        replaces,
    })
}

/// The number of entries, network and epoch, with which every record begins.
pub(super) fn decode_head(d: &mut Decoder<'_>) -> Result<(u64, NetworkId, EpochId), EpochError> {
    let fields = d.map().ok().flatten();
    key(d, 0)?;
    if d.str().ok() != Some(TAG) {
        return Err(EpochError::Format("it is not tagged as an epoch of version 2"));
    }
    let fields = fields.filter(|fields| (FIELDS..=FIELDS + 1).contains(fields));
    let fields = fields.ok_or(EpochError::Format("it is a map of thirteen or fourteen entries"))?;
    key(d, 1)?;
    let network = d.str().ok().and_then(|name| NetworkId::parse(name).ok());
    let network = network.ok_or(EpochError::Format("the network has no valid name"))?;
    key(d, 2)?;
    Ok((fields, network, EpochId::new(number(d)?)))
}

fn key(d: &mut Decoder<'_>, expected: u8) -> Result<(), EpochError> {
    let found = d.u8().is_ok_and(|found| found == expected);
    found.then_some(()).ok_or(EpochError::Format("it has the keys 0 to 13"))
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

const MEMBER: EpochError =
    EpochError::Format("a device is did, keys, beneficiary and past, all valid");

fn member(
    d: &mut Decoder<'_>,
    keys: fn(&mut Decoder<'_>) -> Result<Vec<PublicKey>, EpochError>,
) -> Result<Member, EpochError> {
    if d.array().ok().flatten() != Some(4) {
        return Err(MEMBER);
    }
    let device = d.str().ok().and_then(|did| Did::parse(did).ok()).ok_or(MEMBER)?;
    let keys = keys(d)?;
    let beneficiary = d.bytes().ok().and_then(|bytes| Address::try_from(bytes).ok());
    let beneficiary = beneficiary.ok_or(MEMBER)?;
    let past = past(d).ok_or(MEMBER)?;
    Ok(Member { device, keys, beneficiary, past })
}

fn public_key(d: &mut Decoder<'_>) -> Option<PublicKey> {
    if d.array().ok().flatten() != Some(2) {
        return None;
    }
    let algorithm = Algorithm::from_cose(d.i64().ok()?)?;
    PublicKey::from_bytes(algorithm, d.bytes().ok()?).ok()
}

/// `Some(None)` is an epoch without windows.
pub(super) fn windows(d: &mut Decoder<'_>) -> Option<Option<(Windows, EpochId)>> {
    if d.datatype().ok()? == Type::Null {
        return d.null().ok().map(|()| None);
    }
    if d.array().ok().flatten() != Some(5) {
        return None;
    }
    let parts = [d.u64().ok()?, d.u64().ok()?, d.u64().ok()?, d.u64().ok()?];
    let since = EpochId::new(d.u64().ok()?);
    Windows::from_parts(parts).map(|windows| Some((windows, since)))
}

/// `Some(None)` is a device without a past.
pub(super) fn past(d: &mut Decoder<'_>) -> Option<Option<Past>> {
    if d.datatype().ok()? == Type::Null {
        return d.null().ok().map(|()| None);
    }
    if d.array().ok().flatten() != Some(5) {
        return None;
    }
    let sequence = Sequence::new(d.u64().ok()?);
    let hash = B256::try_from(d.bytes().ok()?).ok()?;
    let latest = Timestamp::from_millis(d.u64().ok()?);
    let key = match d.datatype().ok()? {
        Type::Null => d.null().ok().map(|()| None)?,
        _ => Some(B256::try_from(d.bytes().ok()?).ok()?),
    };
    let open = list(d, MAX_OPEN, "epochs of a device", |d| {
        work(d).ok_or(EpochError::Format("work is epoch, readings, score and what was paid"))
    });
    Some(Some(Past { tip: ChainTip { sequence, hash }, latest, key, open: open.ok()? }))
}

fn work(d: &mut Decoder<'_>) -> Option<Work> {
    if d.array().ok().flatten() != Some(4) {
        return None;
    }
    let (epoch, readings, score) = (EpochId::new(d.u64().ok()?), d.u64().ok()?, d.u64().ok()?);
    let paid = d.bytes().ok().filter(|paid| paid.len() <= 32 && paid.first() != Some(&0))?;
    let paid = U256::from_be_slice(paid);
    Some(Work { epoch, readings, score, paid: Amount::units(paid) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Accumulator;

    fn record(batches: u64) -> EpochRecord {
        let mut log = Accumulator::new();
        let leaf = |number: u64| B256::left_padding_from(&number.to_be_bytes());
        let leaves: Vec<B256> = (0..batches).map(leaf).collect();
        leaves.iter().for_each(|leaf| log.push(*leaf));
        EpochRecord {
            network: NetworkId::parse("climate").unwrap(),
            epoch: EpochId::new(0),
            first: 0,
            before: Vec::new(),
            leaves,
            root: log.root(),
            roster: Vec::new(),
            checks: Vec::new(),
            policy: "policy".into(),
            windows: None,
            windows_since: EpochId::new(0),
            settled_policy: None,
            standings: None,
            replaces: None,
        }
    }

    #[test]
    fn a_record_that_names_many_batches_is_in_memory_once() {
        let record = record(100_000);
        let (most, little) = (32 * 100_000 + 4096, 4096);
        let peak = |work: &dyn Fn()| allocation_counter::measure(work).bytes_max;
        let bytes = record.to_bytes();
        assert!(peak(&|| drop(record.to_bytes())) <= most);
        assert!(peak(&|| drop(EpochRecord::parse(&bytes).unwrap())) <= most);
        assert!(peak(&|| assert_ne!(record.manifest(), B256::ZERO)) <= little);
        assert_eq!(EpochRecord::parse(&bytes).unwrap(), record);
    }

    #[test]
    fn only_the_whole_encoding_is_the_encoding() {
        let (record, other) = (record(3), record(4));
        let bytes = encode(&record);
        assert_eq!(length(&record), bytes.len());
        assert!(is_encoding(&record, &bytes) && !is_encoding(&other, &bytes));
        let cut = bytes.split_last().map(|(_, cut)| cut).unwrap();
        assert!(!is_encoding(&record, cut));
        assert!(!is_encoding(&record, &[&bytes[..], &[0]].concat()));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(!is_encoding(&record, &changed), "{place}");
        }
    }
}
