//! What an attribute of the registry means: a key, a service, or nothing.
//!
//! Names are `did/pub/<algorithm>/<purpose>/<encoding>` or `did/svc/<type>`. The encoding matters only for
//! algorithms that the method's specification does not list. Whoever owns an identity writes these bytes,
//! so nothing here fails: what makes no sense is left out or kept as text.

use alloc::{format, string::String};

use base64ct::{Base64, Encoding};
use depin_core::{
    Algorithm, B256, Bytes, PublicKey,
    document::{Material, Relationships, VerificationMethod},
};

use crate::json::{self, Value};

/// An attribute's name, taken apart.
pub(super) enum Attribute<'a> {
    /// A key; `None` when the name is unreadable after `did/pub/`. Either way it takes a number.
    Key(Option<KeyName<'a>>),
    /// The type of a service; `None` when the name is unreadable after `did/svc/`.
    Service(Option<&'a str>),
    /// Not of a document.
    Other,
}

/// What a name says of a key.
pub(super) struct KeyName<'a> {
    algorithm: &'a str,
    purpose: Option<&'a str>,
    encoding: Option<&'a str>,
}

/// The text in 32 bytes, or `None` when it is no UTF-8, which makes the whole event nobody's.
pub(super) fn text(bytes: &B256) -> Option<&str> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    core::str::from_utf8(bytes.get(..end)?).ok()
}

impl<'a> Attribute<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        if let Some(rest) = name.strip_prefix("did/pub/") {
            return Self::Key(parts(rest).map(|(algorithm, purpose, encoding)| KeyName {
                algorithm,
                purpose,
                encoding,
            }));
        }
        match name.strip_prefix("did/svc/") {
            Some(rest) => Self::Service(parts(rest).map(|(kind, ..)| kind)),
            None => Self::Other,
        }
    }
}

/// One to three words with slashes between.
fn parts(rest: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut parts = rest.split('/');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    let fine = word(first) && second.is_none_or(word) && third.is_none_or(word);
    (fine && parts.next().is_none()).then_some((first, second, third))
}

impl KeyName<'_> {
    /// The `type` of the verification method.
    pub(super) fn kind(&self) -> &str {
        match self.algorithm {
            "Secp256k1" => SECP256K1,
            "Ed25519" => "Ed25519VerificationKey2020",
            "X25519" => "X25519KeyAgreementKey2020",
            other => other,
        }
    }

    /// What the key may be used for.
    pub(super) fn relationships(&self) -> Relationships {
        match self.purpose {
            Some("sigAuth") => Relationships::AUTHENTICATION | Relationships::ASSERTION,
            Some("enc") => Relationships::KEY_AGREEMENT,
            _ => Relationships::ASSERTION,
        }
    }

    /// The key, or `None` for bytes that cannot be written as its type demands.
    pub(super) fn material(&self, value: &Bytes) -> Option<Material> {
        if value.len() > self.longest() {
            return None;
        }
        match self.algorithm {
            "Secp256k1" => secp256k1(value).map(Material::Key),
            "Ed25519" => {
                let key = PublicKey::from_bytes(Algorithm::EdDsa, value).ok();
                Some(key.map_or_else(|| multibase(&[&[0xed, 0x01], value]), Material::Key))
            }
            "X25519" => Some(multibase(&[&[0xec, 0x01], value])),
            VerificationMethod::MULTIKEY => {
                let text = base58btc(&[value]);
                let key = PublicKey::from_multikey(&text).ok();
                Some(key.map_or_else(|| foreign("publicKeyMultibase", text), Material::Key))
            }
            _ => Some(self.unknown(value)),
        }
    }

    /// Longest value that is read. Base58 takes time that grows with the square of the length, and one
    /// identity can have thousands of keys.
    fn longest(&self) -> usize {
        match (self.algorithm, self.encoding) {
            ("Ed25519" | "X25519", _) => 64,
            (VerificationMethod::MULTIKEY, _) | (_, Some("base58")) => 512,
            _ => MAX_KEY_LEN,
        }
    }

    fn unknown(&self, value: &Bytes) -> Material {
        let hex = || String::from(format!("{value:x}").trim_start_matches("0x"));
        match self.encoding {
            None | Some("hex") => foreign("publicKeyHex", hex()),
            Some("base64") => foreign("publicKeyBase64", Base64::encode_string(value)),
            Some("base58") => foreign("publicKeyBase58", bs58::encode(value).into_string()),
            Some(_) => foreign("value", hex()),
        }
    }
}

/// The `type` of secp256k1 keys that are written as JWK.
pub(super) const SECP256K1: &str = "EcdsaSecp256k1VerificationKey2019";

/// A point in 33 or 65 bytes, or in 64 without the tag. 32 bytes would be somebody's private key.
fn secp256k1(value: &[u8]) -> Option<PublicKey> {
    const TAG: u8 = 4;
    match (value.len(), value.first()?) {
        (33, 2 | 3) | (65, &TAG) => PublicKey::from_bytes(Algorithm::Es256k, value).ok(),
        (64, _) => PublicKey::from_bytes(Algorithm::Es256k, &[&[TAG], value].concat()).ok(),
        _ => None,
    }
}

fn multibase(parts: &[&[u8]]) -> Material {
    foreign("publicKeyMultibase", base58btc(parts))
}

/// Base58 of what [`KeyName::longest`] allows.
fn base58btc(parts: &[&[u8]]) -> String {
    format!("z{}", bs58::encode(parts.concat()).into_string())
}

fn foreign(member: &str, value: String) -> Material {
    Material::Foreign { member: member.into(), value }
}

/// Longest value that is written in hexadecimal or base64: ML-DSA-87 with its multicodec is just shorter.
const MAX_KEY_LEN: usize = 2600;

/// The endpoint in a service's value: text, or JSON, of which maps and lists are kept as compact JSON.
pub(super) fn endpoint(value: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(value).ok()?;
    Some(match json::parse(value) {
        Ok(Value::Text(inner)) => inner,
        Ok(json @ (Value::Object(_) | Value::List(_))) => json.canonical(),
        _ => text.into(),
    })
}
