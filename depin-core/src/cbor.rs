//! Deterministic CBOR (RFC 8949 section 4.2.1), checked before anything is decoded.
//!
//! Our formats have one encoding per value, so that a hash names one content. [`check`] walks the bytes
//! once, without recursion or allocation, and refuses what is not canonical; decoders after it can be
//! simple. Floats, `undefined` and simple values are not part of our formats.

use alloc::format;

pub use minicbor::{
    Decoder, Encoder,
    data::{Tag, Type},
    decode, encode,
};

use crate::error::{Error, ErrorKind};

/// Deepest nesting of arrays, maps and tags.
pub const MAX_DEPTH: usize = 8;

/// Why bytes are not deterministic CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item, or a length points past the end.
    #[error("the bytes end inside an item")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the item")]
    Trailing,
    /// An integer or length is not in its shortest form.
    #[error("an integer or length is not in its shortest form")]
    NotShortest,
    /// An indefinite length.
    #[error("indefinite lengths are not deterministic")]
    Indefinite,
    /// Map keys are not in bytewise order, or repeat.
    #[error("map keys are out of order or repeat")]
    KeyOrder,
    /// A text is not UTF-8.
    #[error("a text is not utf-8")]
    Utf8,
    /// A float, `undefined` or a reserved value.
    #[error("floats and simple values other than booleans and null are not allowed")]
    Simple,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than 8 levels")]
    Depth,
}

impl From<CborError> for Error {
    fn from(error: CborError) -> Self {
        Self::new(ErrorKind::Malformed, format!("not deterministic cbor: {error}")).source(error)
    }
}

/// Turns a decoding error of well-formed CBOR into ours: the shape is not the expected one.
pub fn shape(error: decode::Error) -> Error {
    Error::new(ErrorKind::Malformed, "cbor item has an unexpected shape").with("cause", error)
}

/// One open array, map or tag.
#[derive(Clone, Copy, Default)]
struct Level<'a> {
    remaining: u64,
    is_map: bool,
    at_key: bool,
    last_key: &'a [u8],
    key_start: usize,
}

/// Checks that `bytes` are exactly one deterministically encoded item. Time is linear in the input.
///
/// # Errors
/// Names the first rule that is broken.
///
/// ```
/// use depin_core::cbor::{CborError, check};
///
/// assert_eq!(check(&[0x82, 0x01, 0x20]), Ok(()));
/// assert_eq!(check(&[0x18, 0x01]), Err(CborError::NotShortest));
/// assert_eq!(check(&[0x01, 0x01]), Err(CborError::Trailing));
/// ```
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let used = check_prefix(bytes)?;
    if used == bytes.len() { Ok(()) } else { Err(CborError::Trailing) }
}

/// As [`check`] for the first item of `bytes`; returns its length.
///
/// # Errors
/// Names the first rule that is broken.
pub fn check_prefix(bytes: &[u8]) -> Result<usize, CborError> {
    walk(bytes, &mut 0)
}

/// Where [`check`] stops: the offset of the first item that breaks a rule, and the rule. For people who
/// look for the fault of an encoder.
///
/// ```
/// use depin_core::cbor::{CborError, fault};
///
/// assert_eq!(fault(&[0x82, 0x01, 0x18, 0x02]), Some((2, CborError::NotShortest)));
/// assert_eq!(fault(&[0x82, 0x01, 0x02]), None);
/// ```
pub fn fault(bytes: &[u8]) -> Option<(usize, CborError)> {
    let mut item = 0;
    match walk(bytes, &mut item) {
        Ok(end) if end == bytes.len() => None,
        Ok(end) => Some((end, CborError::Trailing)),
        Err(error) => Some((item, error)),
    }
}

/// Walks one item and returns its length; `start` is where the item begins that is being read.
fn walk(bytes: &[u8], start: &mut usize) -> Result<usize, CborError> {
    let mut levels = [Level::default(); MAX_DEPTH];
    let mut depth = 0;
    let mut at = 0;
    loop {
        *start = at;
        let opened = item(bytes, &mut at)?;
        if let Some((remaining, is_map)) = opened.filter(|(remaining, _)| *remaining > 0) {
            let level = levels.get_mut(depth).ok_or(CborError::Depth)?;
            *level = Level { remaining, is_map, at_key: is_map, last_key: &[], key_start: at };
            depth += 1;
            continue;
        }
        // The item is complete; so may be the ones around it.
        loop {
            let Some(level) = depth.checked_sub(1).and_then(|top| levels.get_mut(top)) else {
                return Ok(at);
            };
            finish_child(level, bytes, at)?;
            if level.remaining > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

/// Counts a completed child and compares map keys.
fn finish_child<'a>(level: &mut Level<'a>, bytes: &'a [u8], at: usize) -> Result<(), CborError> {
    level.remaining -= 1;
    if !level.is_map {
        return Ok(());
    }
    if level.at_key {
        let key = bytes.get(level.key_start..at).ok_or(CborError::Truncated)?;
        if !level.last_key.is_empty() && key <= level.last_key {
            return Err(CborError::KeyOrder);
        }
        level.last_key = key;
    }
    level.at_key = !level.at_key;
    level.key_start = at;
    Ok(())
}

/// Reads one head and the string after it; returns children to come and whether they are pairs.
fn item(bytes: &[u8], at: &mut usize) -> Result<Option<(u64, bool)>, CborError> {
    let initial = *bytes.get(*at).ok_or(CborError::Truncated)?;
    *at += 1;
    let (major, info) = (initial >> 5, initial & 0x1f);
    if major == 7 {
        return if matches!(info, 20..=22) { Ok(None) } else { Err(CborError::Simple) };
    }
    let argument = argument(bytes, at, info)?;
    match major {
        0 | 1 => Ok(None),
        2 | 3 => {
            let length = usize::try_from(argument).map_err(|_| CborError::Truncated)?;
            let end = at.checked_add(length).ok_or(CborError::Truncated)?;
            let content = bytes.get(*at..end).ok_or(CborError::Truncated)?;
            if major == 3 && core::str::from_utf8(content).is_err() {
                return Err(CborError::Utf8);
            }
            *at = end;
            Ok(None)
        }
        4 => Ok(Some((bounded(argument, bytes, *at)?, false))),
        5 => {
            let children = argument.checked_mul(2).ok_or(CborError::Truncated)?;
            Ok(Some((bounded(children, bytes, *at)?, true)))
        }
        _ => Ok(Some((1, false))),
    }
}

/// Every child takes at least a byte, so a count past the end is a lie told early.
fn bounded(children: u64, bytes: &[u8], at: usize) -> Result<u64, CborError> {
    let left = bytes.len().saturating_sub(at);
    if usize::try_from(children).is_ok_and(|children| children <= left) {
        Ok(children)
    } else {
        Err(CborError::Truncated)
    }
}

fn argument(bytes: &[u8], at: &mut usize, info: u8) -> Result<u64, CborError> {
    let width = match info {
        0..=23 => return Ok(u64::from(info)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        31 => return Err(CborError::Indefinite),
        _ => return Err(CborError::Simple),
    };
    let raw = bytes.get(*at..*at + width).ok_or(CborError::Truncated)?;
    *at += width;
    let value = raw.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let shortest = match width {
        1 => value >= 24,
        2 => value > 0xff,
        4 => value > 0xffff,
        _ => value > 0xffff_ffff,
    };
    if shortest { Ok(value) } else { Err(CborError::NotShortest) }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use hex::FromHex;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_rule_has_its_error() {
        for (hex, expected) in [
            ("", CborError::Truncated),
            ("1900ff", CborError::NotShortest),
            ("1a0000ffff", CborError::NotShortest),
            ("1b00000000ffffffff", CborError::NotShortest),
            ("5f41014102ff", CborError::Indefinite),
            ("9fff", CborError::Indefinite),
            ("a201010101", CborError::KeyOrder),
            ("a202010101", CborError::KeyOrder),
            ("a2200101f5", CborError::KeyOrder),
            ("61ff", CborError::Utf8),
            ("f97e00", CborError::Simple),
            ("f7", CborError::Simple),
            ("f814", CborError::Simple),
            ("5bffffffffffffffff", CborError::Truncated),
            ("9bffffffffffffffff", CborError::Truncated),
            ("bbffffffffffffffff", CborError::Truncated),
            ("ba7fffffff", CborError::Truncated),
            ("818181818181818101", CborError::Depth),
            ("8100 00", CborError::Trailing),
        ] {
            let bytes = Vec::from_hex(hex.replace(' ', "")).unwrap();
            if hex == "818181818181818101" {
                assert_eq!(check(&bytes), Ok(()));
                let deeper = [vec![0x81], bytes].concat();
                assert_eq!(check(&deeper), Err(expected), "{hex}");
            } else {
                assert_eq!(check(&bytes), Err(expected), "{hex}");
            }
        }
    }

    #[test]
    fn nested_maps_and_tags_pass() {
        for hex in ["a301802041ff6161a0", "a3010020d282016163616180"] {
            assert_eq!(check(&Vec::from_hex(hex).unwrap()), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_accepted_ones_truncate_to_errors(bytes: Vec<u8>) {
            if check(&bytes).is_ok() {
                for length in 0..bytes.len() {
                    prop_assert!(check(&bytes[..length]).is_err());
                }
            }
        }
    }
}
