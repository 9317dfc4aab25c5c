//! The payload of a batch, byte for byte; the format is written down in the module above.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use depin_core::{
    B256, Decimal, Error, ErrorKind, Reading, Result, Sequence, Timestamp,
    cbor::{self, Decoder, Encoder},
    reading::Quantity,
};

use super::{BatchError, Extras, MAX_QUANTITIES, MAX_READINGS, SaltSeed, root};

/// Integers in the readings array per reading.
const FIELDS: usize = 4;
/// Times lie below 2^63 ms, so that the difference of any two fits 64 bits with a sign.
const MAX_MILLIS: u64 = i64::MAX as u64;
/// Bytes that sealing adds to what it seals.
const SEALING: usize = 32 + 16;

type Written = Result<(), cbor::encode::Error<core::convert::Infallible>>;

pub(super) struct Content {
    pub(super) sequence: Sequence,
    pub(super) previous: B256,
    pub(super) root: B256,
    pub(super) readings: Vec<Reading>,
    pub(super) seed: Option<SaltSeed>,
    pub(super) sealed: Option<Vec<u8>>,
}

pub(super) fn encode(
    sequence: Sequence,
    previous: B256,
    readings: &[Reading],
    extras: Extras<'_>,
) -> Result<Vec<u8>> {
    if readings.is_empty() && extras.sealed.is_none() {
        return Err(Error::new(ErrorKind::Limit, "a batch needs at least one reading"));
    }
    let (table, mut bytes) = (Table::of(readings)?, Vec::with_capacity(128 + 12 * readings.len()));
    // Without readings there are no leaves to salt.
    let (seed, sealed) = (extras.seed.filter(|_| !readings.is_empty()), extras.sealed);
    let mut e = Encoder::new(&mut bytes);
    let mut write = || -> Written {
        e.map(6 + u64::from(seed.is_some()) + u64::from(sealed.is_some()))?;
        e.u8(1)?.u64(sequence.value())?.u8(2)?.bytes(previous.as_slice())?;
        e.u8(3)?.bytes(root(readings, seed).as_slice())?;
        table.write(readings, &mut e)?;
        if let Some(seed) = seed {
            e.u8(7)?.bytes(seed.as_bytes())?;
        }
        if let Some(sealed) = sealed {
            e.u8(8)?.bytes(sealed)?;
        }
        Ok(())
    };
    write().map_err(|_| unwritable())?;
    Ok(bytes)
}

/// Readings alone, as they are written in a batch: a map of the keys 4 to 6.
#[cfg(feature = "hpke")]
pub(crate) fn encode_readings(readings: &[Reading]) -> Result<Vec<u8>> {
    let (table, mut bytes) = (Table::of(readings)?, Vec::new());
    let mut e = Encoder::new(&mut bytes);
    let written = e.map(3).and_then(|e| table.write(readings, e));
    written.map_err(|_| unwritable())?;
    Ok(bytes)
}

/// What [`encode_readings`] wrote, at least one.
#[cfg(feature = "hpke")]
pub(crate) fn decode_readings(bytes: &[u8]) -> Result<Vec<Reading>, BatchError> {
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    if d.map().ok().flatten() != Some(3) {
        return Err(BatchError::Format("readings are a map of three entries"));
    }
    let (_, readings) = table(&mut d)?;
    if readings.is_empty() { Err(NO_READINGS) } else { Ok(readings) }
}

fn unwritable() -> Error {
    Error::new(ErrorKind::Limit, "the readings cannot be encoded")
}

/// How readings name their quantities.
struct Table<'a> {
    quantities: Vec<&'a Quantity>,
    indices: Vec<u64>,
}

impl<'a> Table<'a> {
    fn of(readings: &'a [Reading]) -> Result<Self> {
        if readings.len() > MAX_READINGS {
            return Err(BatchError::Readings.into());
        }
        let (quantities, indices) = quantities_of(readings)?;
        Ok(Self { quantities, indices })
    }

    /// The keys 4 to 6.
    fn write(&self, readings: &[Reading], e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.u8(4)?.array(self.quantities.len() as u64)?;
        for quantity in &self.quantities {
            e.array(2)?.str(quantity.name())?.str(quantity.unit())?;
        }
        let mut before = readings.first().map_or(0, |first| first.at().millis());
        e.u8(5)?.u64(before)?.u8(6)?.array((FIELDS * readings.len()) as u64)?;
        for (reading, index) in readings.iter().zip(&self.indices) {
            let at = reading.at().millis();
            // Both lie below 2^63, so the wrapped difference is the true one.
            e.u64(*index)?.i64(at.wrapping_sub(before).cast_signed())?;
            e.i64(reading.value().mantissa())?.i8(reading.value().exponent())?;
            before = at;
        }
        Ok(())
    }
}

/// The quantities in order of first use, and the index of each reading's.
fn quantities_of(readings: &[Reading]) -> Result<(Vec<&Quantity>, Vec<u64>)> {
    let (mut quantities, mut known) = (Vec::new(), BTreeMap::new());
    let mut indices = Vec::with_capacity(readings.len());
    for reading in readings {
        if reading.at().millis() > MAX_MILLIS {
            return Err(Error::new(ErrorKind::Limit, "a reading lies past the year 292 million"));
        }
        let quantity = reading.quantity();
        let index = *known.entry(quantity).or_insert_with(|| {
            quantities.push(quantity);
            quantities.len() as u64 - 1
        });
        indices.push(index);
    }
    if quantities.len() > MAX_QUANTITIES {
        return Err(Error::new(ErrorKind::Limit, "a batch takes at most 256 quantities; split it"));
    }
    for quantity in &quantities {
        check_quantity(quantity.name(), quantity.unit())?;
    }
    Ok((quantities, indices))
}

/// Whether a batch can carry a reading.
pub(crate) fn check(reading: &Reading) -> Result<()> {
    quantities_of(core::slice::from_ref(reading)).map(|_| ())
}

fn check_quantity(name: &str, unit: &str) -> Result<(), BatchError> {
    let fits = |text: &str| text.len() <= Quantity::MAX_LEN && !text.chars().any(char::is_control);
    if name.is_empty() || !fits(name) || !fits(unit) {
        return Err(BatchError::Format(
            "a quantity has a name of 1 to 32 bytes, a unit of at most 32, and no control characters",
        ));
    }
    Ok(())
}

pub(super) fn decode(payload: &[u8]) -> Result<Content, BatchError> {
    cbor::check(payload)?;
    let mut d = Decoder::new(payload);
    let entries = d.map().ok().flatten().filter(|entries| (6..=8).contains(entries));
    let entries =
        entries.ok_or(BatchError::Format("the payload is a map of six to eight entries"))?;
    key(&mut d, 1)?;
    let sequence =
        d.u64().map_err(|_| BatchError::Format("the sequence is an unsigned integer"))?;
    key(&mut d, 2)?;
    let previous = hash(&mut d)?;
    key(&mut d, 3)?;
    let root = hash(&mut d)?;
    let (base, readings) = table(&mut d)?;
    let (mut seed, mut sealed) = (None, None);
    for _ in 6..entries {
        // Sorted, and none twice: that is checked.
        match d.u8() {
            Ok(7) => seed = Some(salt_seed(&mut d)?),
            Ok(8) => sealed = Some(sealed_bytes(&mut d)?),
            _ => return Err(KEYS),
        }
    }
    if readings.is_empty() && (sealed.is_none() || seed.is_some() || base != 0) {
        return Err(NO_READINGS);
    }
    Ok(Content { sequence: Sequence::new(sequence), previous, root, readings, seed, sealed })
}

const KEYS: BatchError = BatchError::Format("the payload has the keys 1 to 6, and 7 and 8 or not");
const NO_READINGS: BatchError =
    BatchError::Format("without readings a batch holds sealed ones, no seed, and the time 0");

fn salt_seed(d: &mut Decoder<'_>) -> Result<SaltSeed, BatchError> {
    let bytes = d.bytes().ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(SaltSeed::from_bytes).ok_or(BatchError::Format("a salt seed is 16 bytes"))
}

fn sealed_bytes(d: &mut Decoder<'_>) -> Result<Vec<u8>, BatchError> {
    let bytes = d.bytes().ok().filter(|bytes| bytes.len() > SEALING);
    bytes.map(Into::into).ok_or(BatchError::Format("what is sealed has more than 48 bytes"))
}

/// The keys 4 to 6: time of the first reading, and the readings.
fn table(d: &mut Decoder<'_>) -> Result<(u64, Vec<Reading>), BatchError> {
    key(d, 4)?;
    let quantities = quantities(d)?;
    key(d, 5)?;
    let base = d.u64().ok().filter(|base| *base <= MAX_MILLIS);
    let base = base.ok_or(BatchError::Format("the base time is milliseconds below 2^63"))?;
    key(d, 6)?;
    Ok((base, readings(d, &quantities, base)?))
}

pub(super) fn key(d: &mut Decoder<'_>, expected: u8) -> Result<(), BatchError> {
    let found = d.u8().is_ok_and(|found| found == expected);
    found.then_some(()).ok_or(KEYS)
}

pub(super) fn hash(d: &mut Decoder<'_>) -> Result<B256, BatchError> {
    let bytes = d.bytes().ok().and_then(|bytes| B256::try_from(bytes).ok());
    bytes.ok_or(BatchError::Format("a hash is 32 bytes"))
}

fn quantities(d: &mut Decoder<'_>) -> Result<Vec<Quantity>, BatchError> {
    const SHAPE: BatchError =
        BatchError::Format("quantities are at most 256 pairs of name and unit");
    let count = d.array().ok().flatten().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count <= MAX_QUANTITIES).ok_or(SHAPE)?;
    let mut seen = BTreeSet::new();
    let mut quantities = Vec::with_capacity(count);
    for _ in 0..count {
        if d.array().ok().flatten() != Some(2) {
            return Err(SHAPE);
        }
        let (name, unit) = (d.str().map_err(|_| SHAPE)?, d.str().map_err(|_| SHAPE)?);
        check_quantity(name, unit)?;
        if !seen.insert((name, unit)) {
            return Err(BatchError::Format("a quantity is listed twice"));
        }
        quantities.push(Quantity::new(name, unit));
    }
    Ok(quantities)
}

fn readings(
    d: &mut Decoder<'_>,
    quantities: &[Quantity],
    base: u64,
) -> Result<Vec<Reading>, BatchError> {
    const SHAPE: BatchError = BatchError::Format("readings are four integers each");
    let fields = d.array().ok().flatten().and_then(|count| usize::try_from(count).ok());
    let fields = fields.filter(|count| count.is_multiple_of(FIELDS)).ok_or(SHAPE)?;
    let count = fields / FIELDS;
    if count > MAX_READINGS {
        return Err(BatchError::Readings);
    }
    let (mut used, mut at) = (0, base);
    let mut readings = Vec::with_capacity(count);
    for position in 0..count {
        let index = d.u64().ok().and_then(|index| usize::try_from(index).ok()).ok_or(SHAPE)?;
        if index > used {
            return Err(BatchError::Format("quantities are not in the order of first use"));
        }
        used += usize::from(index == used);
        let quantity = quantities.get(index).ok_or(BatchError::Format("no such quantity"))?;
        let step = d.i64().map_err(|_| SHAPE)?;
        if position == 0 && step != 0 {
            return Err(BatchError::Format("the first reading is at the base time"));
        }
        let time = at.checked_add_signed(step).filter(|at| *at <= MAX_MILLIS);
        at = time.ok_or(BatchError::Format("a reading's time is out of range"))?;
        let (mantissa, exponent) = (d.i64().map_err(|_| SHAPE)?, d.i8().map_err(|_| SHAPE)?);
        let value = Decimal::canonical(mantissa, exponent)
            .map_err(|_| BatchError::Format("a value is not a normalised decimal"))?;
        readings.push(Reading::new(quantity.clone(), value, Timestamp::from_millis(at)));
    }
    if used != quantities.len() {
        return Err(BatchError::Format("a quantity is listed and not used"));
    }
    Ok(readings)
}
