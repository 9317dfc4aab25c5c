//! What a verification method verifies with, out of whichever member holds it.

use alloc::{string::String, vec::Vec};
use core::str::FromStr;

use depin_core::{Algorithm, Bytes, PublicKey, document::Material, key::KeyError};

use super::{
    account::from_caip10,
    kind::{self, ACCOUNT, BASE58, HEX, JWK, Kind, MEMBERS, MULTIBASE},
    read::DocumentError,
};
use crate::{
    json::{Object, Value},
    jwk::{self, JwkError},
};

/// Longest text of a key; an RSA key of 8192 bits has some 1,400 digits.
const MAX_TEXT: usize = 4096;

/// What the method holds, or nothing if no member that can hold a key is there.
pub(super) fn read(method: &Object, name: &str) -> Result<Option<Material>, DocumentError> {
    let kind = kind::named(name);
    let present: Vec<&'static str> =
        MEMBERS.into_iter().filter(|member| method.contains(member)).collect();
    if method.get(JWK).and_then(Value::as_object).is_some_and(jwk::is_private) {
        return Err(DocumentError::PrivateKey);
    }
    let member = match (present.as_slice(), kind) {
        ([], None) => return Ok(None),
        ([], Some(kind)) => return Err(DocumentError::Member(kind.key_member)),
        ([member], Some(kind)) if kind.only && *member != kind.key_member => {
            return Err(DocumentError::Member(kind.key_member));
        }
        ([member], _) => *member,
        _ => return Err(DocumentError::Member("verificationMethod")),
    };
    let material = match method.get(member) {
        Some(Value::Object(key)) if member == JWK => from_jwk(key)?,
        Some(Value::Text(text)) if member != JWK && text.len() <= MAX_TEXT => {
            from_text(member, text, kind)?
        }
        _ => return Err(DocumentError::Member(member)),
    };
    if fits(&material, kind) { Ok(Some(material)) } else { Err(DocumentError::Member(member)) }
}

/// Whether a key or account is one that the kind speaks of.
fn fits(material: &Material, kind: Option<&Kind>) -> bool {
    let found = match material {
        Material::Key(key) => key.algorithm(),
        Material::Account { .. } => Algorithm::Es256k,
        _ => return true,
    };
    kind.and_then(|kind| kind.algorithm).is_none_or(|algorithm| algorithm == found)
}

fn from_jwk(object: &Object) -> Result<Material, DocumentError> {
    match jwk::from_object(object) {
        Ok(key) => Ok(Material::Key(key)),
        Err(JwkError::Unsupported) => Ok(foreign(JWK, object.canonical())),
        Err(JwkError::Member(name)) => Err(DocumentError::Member(name)),
        Err(_) => Err(DocumentError::Member(JWK)),
    }
}

fn from_text(
    member: &'static str,
    text: &str,
    kind: Option<&Kind>,
) -> Result<Material, DocumentError> {
    let malformed = DocumentError::Member(member);
    let raw = |algorithm, bytes: Vec<u8>| PublicKey::from_bytes(algorithm, &bytes).ok();
    let key = match (member, kind.and_then(|kind| kind.algorithm)) {
        (MULTIBASE, _) => match PublicKey::from_multikey(text) {
            // Other multicodecs are other kinds of keys, unless the text is no base58btc at all.
            Err(KeyError::Multikey) if kind.is_none() || is_base58btc(text) => {
                return Ok(foreign(member, text.into()));
            }
            key => key.ok(),
        },
        (BASE58, Some(algorithm)) => {
            bs58::decode(text).into_vec().ok().and_then(|bytes| raw(algorithm, bytes))
        }
        (HEX, Some(algorithm)) => {
            Bytes::from_str(text).ok().and_then(|bytes| raw(algorithm, bytes.to_vec()))
        }
        (ACCOUNT, _) => {
            let Some(account) = text.strip_prefix("eip155:") else {
                return Ok(foreign(member, text.into()));
            };
            let (chain, address) = from_caip10(account).ok_or(malformed)?;
            return Ok(Material::Account { chain, address });
        }
        _ => return Ok(foreign(member, text.into())),
    };
    key.map(Material::Key).ok_or(malformed)
}

fn foreign(member: &str, value: String) -> Material {
    Material::Foreign { member: member.into(), value }
}

fn is_base58btc(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    text.strip_prefix('z').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(digit))
}
