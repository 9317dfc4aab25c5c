//! What the signed formats of this crate share: lists of links, and fields that have one spelling.

use alloc::{string::String, vec::Vec};

use depin_core::{
    Algorithm, B256, Did, Error, ErrorKind, PublicKey, Result,
    cbor::{Decoder, Encoder, decode},
};
use sha2::{Digest, Sha256};

/// Why a field is not what it should be.
pub(crate) type Shape = decode::Error;

/// Refuses with a reason.
pub(crate) fn refuse<T>(why: &'static str) -> Result<T, Shape> {
    Err(Shape::message(why))
}

/// Reads `[1*most bstr]`. The bytes were checked to be one deterministic item.
pub(crate) fn links(bytes: &[u8], most: usize) -> Result<Vec<&[u8]>, Shape> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder.array()?.and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if (1..=most).contains(&count) => (0..count).map(|_| decoder.bytes()).collect(),
        _ => refuse("too few or too many links"),
    }
}

/// Writes `[* bstr]`.
pub(crate) fn join<L: AsRef<[u8]>>(links: &[L]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(links.iter().map(|link| link.as_ref().len() + 3).sum());
    let mut encoder = Encoder::new(&mut bytes);
    let written = encoder
        .array(links.len() as u64)
        .and_then(|e| links.iter().try_fold(e, |e, link| e.bytes(link.as_ref())));
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    bytes
}

/// What names a link.
pub(crate) fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}

/// Reads the label of a map entry, which must be this one.
pub(crate) fn label(d: &mut Decoder<'_>, expected: u8) -> Result<(), Shape> {
    if d.u8()? == expected { Ok(()) } else { refuse("unexpected label") }
}

pub(crate) fn hash(d: &mut Decoder<'_>) -> Result<B256, Shape> {
    B256::try_from(d.bytes()?).map_err(|_| Shape::message("a hash is 32 bytes"))
}

pub(crate) fn did(d: &mut Decoder<'_>) -> Result<Did, Shape> {
    Did::parse(d.str()?).map_err(|_| Shape::message("not a did"))
}

/// Reads a key from two entries, the second label following the first.
pub(crate) fn key(d: &mut Decoder<'_>, first: u8) -> Result<PublicKey, Shape> {
    label(d, first)?;
    let algorithm = Algorithm::from_cose(d.i64()?);
    label(d, first.saturating_add(1))?;
    let bytes = d.bytes()?;
    let key = algorithm.and_then(|algorithm| PublicKey::from_bytes(algorithm, bytes).ok());
    // Uncompressed points are keys too, but would be a second spelling.
    match key.filter(|key| key.to_bytes() == bytes) {
        Some(key) => Ok(key),
        None => refuse("not a compressed public key"),
    }
}

/// Whether people can read it as a name: printable, no line breaks, not too long.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
}

pub(crate) fn name(d: &mut Decoder<'_>, longest: usize) -> Result<String, Shape> {
    let text = d.str()?;
    if is_name(text, longest) { Ok(text.into()) } else { refuse("not a printable name") }
}

/// Writes a payload.
pub(crate) fn encode(
    write: impl FnOnce(
        &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), depin_core::cbor::encode::Error<core::convert::Infallible>>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(192);
    write(&mut Encoder::new(&mut bytes))
        .map_err(|_| Error::new(ErrorKind::Limit, "the payload cannot be encoded"))?;
    Ok(bytes)
}
