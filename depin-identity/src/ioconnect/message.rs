//! The parts of a message, strictly.

use alloc::{format, string::String, vec::Vec};

use base64ct::{Base64UrlUnpadded as Base64Url, Encoding};
use depin_core::{Did, Error, ErrorKind};
use sha2::{Digest, Sha256};

use crate::json::{self, JsonError, Object, Value};

/// Longest message in bytes of JSON. The content of AES-CCM with this nonce has at most 65,535.
pub const MAX_LEN: usize = 128 * 1024;

/// Most recipients of one message, as in ioConnect.
pub const MAX_RECIPIENTS: usize = 4;

/// Why a message cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// The message or its header is no strict JSON, or longer than [`MAX_LEN`].
    #[error("the message is no strict json: {0}")]
    Json(#[from] JsonError),
    /// A member is missing, of another type or length, or no base64url in its one spelling.
    #[error("the member {0} of the message is missing or malformed")]
    Member(&'static str),
    /// More than [`MAX_RECIPIENTS`], none, or one twice.
    #[error("a message has 1 to {MAX_RECIPIENTS} recipients, each once")]
    Recipients,
    /// The header names other algorithms than ioConnect's. A true JWE does not belong here.
    #[error("only ioConnect's messages are read; use a jose library for others")]
    Algorithm,
    /// The ephemeral key is no point of P-256.
    #[error("the ephemeral key of the message is no point of p-256")]
    Key,
    /// The header says something else about sender or recipients than the message.
    #[error("the header and the message contradict each other in {0}")]
    Contradiction(&'static str),
    /// It is for others.
    #[error("the message has no such recipient; name it as the message does")]
    Recipient,
    /// It was changed, or is for another key than the one named so.
    #[error("the message was changed or is for another key")]
    Decryption,
}

impl From<JweError> for Error {
    fn from(error: JweError) -> Self {
        let kind = match &error {
            JweError::Json(json) => return Self::from(json.clone()).source(error),
            JweError::Recipients => ErrorKind::Limit,
            JweError::Algorithm => ErrorKind::Unsupported,
            JweError::Recipient => ErrorKind::NotFound,
            JweError::Contradiction(_) | JweError::Decryption => ErrorKind::Rejected,
            JweError::Member(_) | JweError::Key => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

pub(super) struct Message {
    pub(super) header: Header,
    pub(super) recipients: Vec<Recipient>,
    pub(super) iv: [u8; 13],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; 16],
    /// As it came, which is what the tag covers.
    pub(super) protected: String,
}

pub(super) struct Header {
    pub(super) ephemeral: p256::PublicKey,
    pub(super) sender: Option<Did>,
}

pub(super) struct Recipient {
    pub(super) kid: String,
    pub(super) iv: [u8; 16],
    pub(super) wrapped: [u8; 32],
}

pub(super) fn read(json: &[u8]) -> Result<Message, JweError> {
    let Value::Object(root) = json::parse_within(json, MAX_LEN)? else {
        return Err(JweError::Member("object"));
    };
    let protected = text(&root, "protected")?;
    let recipients = read_recipients(&root)?;
    let ciphertext = bytes(&root, "ciphertext")?;
    if ciphertext.len() > usize::from(u16::MAX) {
        return Err(JweError::Member("ciphertext"));
    }
    Ok(Message {
        header: read_header(protected, &recipients)?,
        recipients,
        iv: array(&root, "iv")?,
        ciphertext,
        tag: array(&root, "tag")?,
        protected: protected.into(),
    })
}

fn read_header(protected: &str, recipients: &[Recipient]) -> Result<Header, JweError> {
    let decoded = decode(protected, "protected")?;
    let Value::Object(header) = json::parse_within(&decoded, MAX_LEN)? else {
        return Err(JweError::Member("protected"));
    };
    let names = (header.text("alg"), header.text("enc"));
    if names != (Some("ECDH-1PU+A256KW"), Some("A256CBC-HS512")) || header.contains("crit") {
        return Err(JweError::Algorithm);
    }
    let sender = optional(&header, "skid")?;
    if let Some(apu) = optional(&header, "apu")? {
        let named = decode(apu, "apu")?;
        if sender.is_none_or(|sender| sender.as_bytes() != named) {
            return Err(JweError::Contradiction("the sender"));
        }
    }
    if let Some(apv) = optional(&header, "apv")?
        && decode(apv, "apv")? != hash_of_names(recipients)
    {
        return Err(JweError::Contradiction("the recipients"));
    }
    let sender = sender.map(Did::parse).transpose().map_err(|_| JweError::Member("skid"))?;
    Ok(Header { ephemeral: read_ephemeral(&header)?, sender })
}

/// What ioConnect puts under the tag of the content about all recipients.
fn hash_of_names(recipients: &[Recipient]) -> [u8; 32] {
    let names: Vec<&str> = recipients.iter().map(|recipient| recipient.kid.as_str()).collect();
    Sha256::digest(names.join(".")).into()
}

fn read_ephemeral(header: &Object) -> Result<p256::PublicKey, JweError> {
    let epk = header.get("epk").and_then(Value::as_object).ok_or(JweError::Member("epk"))?;
    if (epk.text("kty"), epk.text("crv")) != (Some("EC"), Some("P-256")) {
        return Err(JweError::Member("epk"));
    }
    let (x, y): ([u8; 32], [u8; 32]) = (array(epk, "x")?, array(epk, "y")?);
    let point = [[4].as_slice(), &x, &y].concat();
    p256::PublicKey::from_sec1_bytes(&point).map_err(|_| JweError::Key)
}

fn read_recipients(root: &Object) -> Result<Vec<Recipient>, JweError> {
    const NAME: &str = "recipients";
    let list = root.get(NAME).and_then(Value::as_list).ok_or(JweError::Member(NAME))?;
    if !(1..=MAX_RECIPIENTS).contains(&list.len()) {
        return Err(JweError::Recipients);
    }
    let mut recipients: Vec<Recipient> = Vec::with_capacity(list.len());
    for entry in list {
        let entry = entry.as_object().ok_or(JweError::Member(NAME))?;
        let header = entry.get("header").and_then(Value::as_object);
        let kid = text(header.ok_or(JweError::Member("header"))?, "kid")?;
        if recipients.iter().any(|recipient| recipient.kid == kid) {
            return Err(JweError::Recipients);
        }
        let key: [u8; 48] = array(entry, "encrypted_key")?;
        let (iv, wrapped) = key.split_first_chunk().ok_or(JweError::Member("encrypted_key"))?;
        let wrapped = wrapped.try_into().map_err(|_| JweError::Member("encrypted_key"))?;
        recipients.push(Recipient { kid: kid.into(), iv: *iv, wrapped });
    }
    Ok(recipients)
}

fn text<'a>(object: &'a Object, name: &'static str) -> Result<&'a str, JweError> {
    object.text(name).ok_or(JweError::Member(name))
}

/// The text of a member that may be missing, but not be something else.
fn optional<'a>(object: &'a Object, name: &'static str) -> Result<Option<&'a str>, JweError> {
    object.get(name).map(|value| value.as_text().ok_or(JweError::Member(name))).transpose()
}

fn bytes(object: &Object, name: &'static str) -> Result<Vec<u8>, JweError> {
    decode(text(object, name)?, name)
}

fn array<const N: usize>(object: &Object, name: &'static str) -> Result<[u8; N], JweError> {
    bytes(object, name)?.try_into().map_err(|_| JweError::Member(name))
}

fn decode(text: &str, name: &'static str) -> Result<Vec<u8>, JweError> {
    Base64Url::decode_vec(text).map_err(|_| JweError::Member(name))
}
