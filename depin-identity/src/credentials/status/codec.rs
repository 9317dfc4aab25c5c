//! The text form of a list: multibase base64url of gzip (RFC 1952).

use alloc::{boxed::Box, string::String, vec::Vec};
use std::io::{Read, Write};

use base64ct::{Base64UrlUnpadded, Encoding};
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

use super::{StatusError, StatusList, check_bytes};

/// Longest text that may hold a list: gzip grows what it cannot shrink by less than one part in a
/// thousand, base64 by a third.
const MAX_TEXT: usize = StatusList::MAX_ENTRIES / 8 / 2 * 3;

pub(super) fn encode(bits: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let written = gzip.write_all(bits).and_then(|()| gzip.finish());
    let compressed = written.expect("invariant: writing to memory does not fail");
    String::from("u") + &Base64UrlUnpadded::encode_string(&compressed)
}

pub(super) fn decode(text: &str) -> Result<Box<[u8]>, StatusError> {
    if text.len() > MAX_TEXT {
        return Err(StatusError::Length);
    }
    let digits = text.strip_prefix('u').ok_or(StatusError::Encoding)?;
    let gzip = Base64UrlUnpadded::decode_vec(digits).map_err(|_| StatusError::Encoding)?;
    let length = declared_length(&gzip)?;
    check_bytes(length)?;
    expand(&gzip, length)
}

/// The last four bytes of a gzip stream tell the length of what it holds, modulo 2^32.
fn declared_length(gzip: &[u8]) -> Result<usize, StatusError> {
    let (_, trailer) = gzip.split_last_chunk().ok_or(StatusError::Encoding)?;
    usize::try_from(u32::from_le_bytes(*trailer)).map_err(|_| StatusError::Length)
}

/// Expands one stream, reading at most one byte more than `length`.
fn expand(gzip: &[u8], length: usize) -> Result<Box<[u8]>, StatusError> {
    let mut bits = Vec::with_capacity(length + 1);
    let mut decoder = GzDecoder::new(gzip).take(length as u64 + 1);
    decoder.read_to_end(&mut bits).map_err(|_| StatusError::Encoding)?;
    if bits.len() > length {
        return Err(StatusError::Bomb);
    }
    // The checksum was right, or reading to the end would have failed. Nothing may follow it.
    let rest = decoder.into_inner().into_inner();
    if bits.len() == length && rest.is_empty() {
        Ok(bits.into())
    } else {
        Err(StatusError::Encoding)
    }
}
