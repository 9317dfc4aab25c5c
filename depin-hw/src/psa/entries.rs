//! The entries of one CBOR map: bounded, unique, each value kept as received.

use alloc::{format, string::String, vec::Vec};

use minicbor::{
    Decoder,
    data::{Int, Type},
    decode,
};

use super::error::{Claim, PsaError};

/// Most entries of one map.
pub(super) const MAX_ENTRIES: u64 = 64;

#[derive(Clone, Copy, PartialEq)]
enum Key<'a> {
    Integer(Int),
    Text(&'a str),
}

/// A map whose values are still encoded.
pub(super) struct Entries<'a>(Vec<(Key<'a>, &'a [u8])>);

impl<'a> Entries<'a> {
    /// Reads one map of definite length at the decoder.
    pub(super) fn read(decoder: &mut Decoder<'a>) -> Result<Self, PsaError> {
        let count = decoder.map().map_err(encoding)?.ok_or(PsaError::Encoding)?;
        if count > MAX_ENTRIES {
            return Err(PsaError::Entries);
        }
        let mut entries: Vec<(Key<'a>, &'a [u8])> = Vec::new();
        for _ in 0..count {
            let key = match decoder.datatype().map_err(encoding)? {
                Type::String => Key::Text(decoder.str().map_err(encoding)?),
                _ => Key::Integer(decoder.int().map_err(encoding)?),
            };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(PsaError::Duplicate { key: name(key) });
            }
            entries.push((key, item(decoder)?));
        }
        Ok(Self(entries))
    }

    pub(super) fn contains(&self, key: i64) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn bytes(&self, key: i64, claim: Claim) -> Result<Option<&'a [u8]>, PsaError> {
        self.get(key, claim, |decoder| decoder.bytes())
    }

    pub(super) fn text(&self, key: i64, claim: Claim) -> Result<Option<&'a str>, PsaError> {
        self.get(key, claim, |decoder| decoder.str())
    }

    pub(super) fn integer(&self, key: i64, claim: Claim) -> Result<Option<i128>, PsaError> {
        self.get(key, claim, |decoder| decoder.int().map(i128::from))
    }

    /// A decoder behind the head of an array, with the announced length.
    pub(super) fn array(
        &self,
        key: i64,
        claim: Claim,
    ) -> Result<Option<(u64, Decoder<'a>)>, PsaError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let mut decoder = Decoder::new(value);
        match decoder.array() {
            Ok(Some(count)) => Ok(Some((count, decoder))),
            _ => Err(PsaError::Type { claim }),
        }
    }

    fn get<T>(
        &self,
        key: i64,
        claim: Claim,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, decode::Error>,
    ) -> Result<Option<T>, PsaError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(&mut Decoder::new(value)).map(Some).map_err(|_| PsaError::Type { claim })
    }

    fn value(&self, key: i64) -> Option<&'a [u8]> {
        let key = Key::Integer(Int::from(key));
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }
}

/// Walks over one item, however deep, without recursion, and gives its bytes.
fn item<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8], PsaError> {
    let start = decoder.position();
    let mut open = 1u64;
    while open > 0 {
        open -= 1;
        let children = match decoder.datatype().map_err(encoding)? {
            Type::Array => decoder.array().map_err(encoding)?.ok_or(PsaError::Encoding)?,
            Type::Map => {
                let pairs = decoder.map().map_err(encoding)?.ok_or(PsaError::Encoding)?;
                pairs.saturating_mul(2)
            }
            Type::Tag => decoder.tag().map(|_| 1).map_err(encoding)?,
            Type::BytesIndef
            | Type::StringIndef
            | Type::ArrayIndef
            | Type::MapIndef
            | Type::Break => {
                return Err(PsaError::Encoding);
            }
            _ => decoder.skip().map(|()| 0).map_err(encoding)?,
        };
        // Every child takes at least a byte: a lie about their number ends with the input.
        open = open.saturating_add(children);
    }
    decoder.input().get(start..decoder.position()).ok_or(PsaError::Encoding)
}

pub(super) fn encoding(_: decode::Error) -> PsaError {
    PsaError::Encoding
}

fn name(key: Key<'_>) -> String {
    match key {
        Key::Integer(number) => format!("{number}"),
        Key::Text(text) => text.chars().take(64).collect(),
    }
}
