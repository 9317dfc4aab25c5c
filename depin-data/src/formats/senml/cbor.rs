//! Records in CBOR: maps with small integers as labels, floats of any width, decimal fractions.

use depin_core::{
    Decimal,
    cbor::{Decoder, Type, decode},
};

use super::{Field, Label, MAX_RECORDS, Raw, SenmlError};
use crate::formats::{Reason, number};

/// Tag of a decimal fraction.
const DECIMAL_FRACTION: u64 = 4;

pub(super) struct Records<'a> {
    decoder: Decoder<'a>,
    /// Records to come, or that the end is marked.
    left: Option<u64>,
    count: usize,
    done: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, SenmlError> {
        let mut decoder = Decoder::new(bytes);
        let left = decoder.array().map_err(|_| SenmlError::Syntax { at: 0 })?;
        Ok(Self { decoder, left, count: 0, done: false })
    }

    fn record(&mut self) -> Result<Option<Vec<Field>>, decode::Error> {
        if ended(&mut self.decoder, &mut self.left)? {
            let rest = self.decoder.position() < self.decoder.input().len();
            return if rest { Err(decode::Error::message("bytes follow")) } else { Ok(None) };
        }
        let (mut fields, mut left) = (Vec::new(), self.decoder.map()?);
        while !ended(&mut self.decoder, &mut left)? {
            fields
                .push(Field { label: label(&mut self.decoder)?, value: value(&mut self.decoder)? });
        }
        Ok(Some(fields))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Vec<Field>, SenmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.count == MAX_RECORDS && self.left != Some(0) {
            self.done = true;
            return Some(Err(SenmlError::Limit));
        }
        self.count += 1;
        let at = self.decoder.position();
        let record = self.record().map_err(|_| SenmlError::Syntax { at }).transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}

/// Whether an array or map has no further element; consumes the mark of an indefinite one.
fn ended(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, decode::Error> {
    match left {
        Some(0) => Ok(true),
        Some(left) => {
            *left -= 1;
            Ok(false)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(true)
        }
        None => Ok(false),
    }
}

fn label(decoder: &mut Decoder<'_>) -> Result<Result<Label, String>, decode::Error> {
    if decoder.datatype()? == Type::String {
        return Ok(Err(decoder.str()?.into()));
    }
    let number = i128::from(decoder.int()?);
    Ok(Label::of_number(number).ok_or_else(|| number.to_string()))
}

fn number<T: ToString>(value: &T, decimal: Result<Decimal, Reason>) -> Raw {
    Raw::Number(decimal.map_err(|reason| (reason, value.to_string())))
}

fn value(decoder: &mut Decoder<'_>) -> Result<Raw, decode::Error> {
    Ok(match decoder.datatype()? {
        Type::Bool => Raw::Boolean(decoder.bool()?),
        Type::String => Raw::Text(decoder.str()?.into()),
        Type::Bytes => Raw::Bytes(decoder.bytes()?.into()),
        Type::F16 => {
            let value = half(decoder)?;
            number(&value, number::of_f32(value))
        }
        Type::F32 => {
            let value = decoder.f32()?;
            number(&value, number::of_f32(value))
        }
        Type::F64 => {
            let value = decoder.f64()?;
            number(&value, number::of_f64(value))
        }
        Type::Tag => fraction(decoder)?,
        kind if is_integer(kind) => {
            let value = i128::from(decoder.int()?);
            number(&value, number::of(value, 0))
        }
        _ => {
            decoder.skip()?;
            Raw::Other
        }
    })
}

const fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}

/// A decimal fraction (RFC 8949 section 3.4.4); big numbers in it do not fit a decimal.
fn fraction(decoder: &mut Decoder<'_>) -> Result<Raw, decode::Error> {
    let start = decoder.position();
    if decoder.tag()?.as_u64() == DECIMAL_FRACTION && decoder.array()? == Some(2) {
        let exponent = i128::from(decoder.int()?);
        if is_integer(decoder.datatype()?) {
            let digits = i128::from(decoder.int()?);
            let value =
                i32::try_from(exponent.clamp(-9999, 9999)).map_err(decode::Error::custom)?;
            return Ok(number(&format!("{digits}e{exponent}"), number::of(digits, value)));
        }
        decoder.skip()?;
        return Ok(number(&"a big number", Err(Reason::Unrepresentable)));
    }
    decoder.set_position(start);
    decoder.skip()?;
    Ok(Raw::Other)
}

/// A float of 16 bits (IEEE 754 binary16), widened.
fn half(decoder: &mut Decoder<'_>) -> Result<f32, decode::Error> {
    let at = decoder.position();
    let bytes =
        decoder.input().get(at + 1..at + 3).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
    let bits = u32::from(u16::from_be_bytes(bytes.ok_or_else(decode::Error::end_of_input)?));
    decoder.set_position(at + 3);
    let (exponent, fraction) = (bits >> 10 & 0x1f, bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction as f32 / 16_777_216.0,
        0x1f => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    Ok(if bits & 0x8000 == 0 { magnitude } else { -magnitude })
}
