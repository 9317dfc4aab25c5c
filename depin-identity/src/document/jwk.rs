//! Public keys as JSON Web Keys (RFC 7517, RFC 8037, RFC 8812), reading only.

use alloc::vec::Vec;

use depin_core::{Algorithm, PublicKey};

use super::{
    read::{DocumentError, required_text},
    tree::{Node, Object},
};

/// The key, or nothing when it is of a curve that the SDK does not sign with.
pub(super) fn public_key(jwk: &Object) -> Result<Option<PublicKey>, DocumentError> {
    // ioID servers write `"d":""`; anything more is somebody's private key.
    match jwk.member("d") {
        None => {}
        Some(Node::Text(text)) if text.is_empty() => {}
        Some(_) => return Err(DocumentError::PrivateKey),
    }
    let curve = jwk.member("crv").map(|_| required_text(jwk, "crv")).transpose()?;
    let (algorithm, bytes) = match (required_text(jwk, "kty")?, curve) {
        ("EC", Some("secp256k1")) => (Algorithm::Es256k, point(jwk)?),
        ("EC", Some("P-256")) => (Algorithm::Es256, point(jwk)?),
        ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, coordinate(jwk, "x")?.to_vec()),
        _ => return Ok(None),
    };
    let key = PublicKey::from_bytes(algorithm, &bytes);
    key.map(Some).map_err(|_| DocumentError::Member("publicKeyJwk"))
}

/// SEC1, uncompressed.
fn point(jwk: &Object) -> Result<Vec<u8>, DocumentError> {
    Ok([[4].as_slice(), &coordinate(jwk, "x")?, &coordinate(jwk, "y")?].concat())
}

fn coordinate(jwk: &Object, name: &'static str) -> Result<[u8; 32], DocumentError> {
    base64url(required_text(jwk, name)?).ok_or(DocumentError::Member(name))
}

/// 32 bytes of base64url without padding (RFC 4648 section 5): 43 digits, whose last two bits are zero.
fn base64url(text: &str) -> Option<[u8; 32]> {
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(32), 0_u32, 0_u32);
    if text.len() != 43 {
        return None;
    }
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    if held == 0 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_one_spelling() {
        let zeros = "A".repeat(43);
        assert_eq!(base64url(&zeros), Some([0; 32]));
        assert_eq!(base64url(&("_".repeat(42) + "8")), Some([0xff; 32]));
        for bad in ["A".repeat(42), "A".repeat(44), "A".repeat(42) + "B", "A".repeat(42) + "="] {
            assert_eq!(base64url(&bad), None, "{bad}");
        }
    }
}
