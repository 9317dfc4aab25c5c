//! What a credential says about where its status is published: `credentialStatus`.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;

use super::{StatusError, clip};
use crate::json::{self, Object};

/// What a list tells about credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The credential is void, for good.
    Revocation,
    /// The credential must not be accepted for now.
    Suspension,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Revocation, Self::Suspension];

    /// The word that `statusPurpose` holds.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Suspension => "suspension",
        }
    }

    /// The purpose of a word, if it is one that decides over validity.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `BitstringStatusListEntry`: the place of a credential in a list.
///
/// ```
/// use depin_identity::credentials::status::{Purpose, StatusEntry};
///
/// let entry = StatusEntry::new("https://example.org/status/3", 94_567, Purpose::Revocation);
/// assert_eq!(StatusEntry::read(&entry.to_object())?, entry);
/// # Ok::<(), depin_identity::credentials::status::StatusError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// Where the list is published, and the `id` of its credential (`statusListCredential`).
    pub list: String,
    /// The place in it (`statusListIndex`).
    pub index: u64,
    /// What the bit says (`statusPurpose`).
    pub purpose: Purpose,
}

impl StatusEntry {
    /// The `type` of an entry.
    pub const TYPE: &'static str = "BitstringStatusListEntry";

    /// An entry. Choose the index at random among the free ones, or it tells when the credential was
    /// issued.
    pub fn new(list: impl Into<String>, index: u64, purpose: Purpose) -> Self {
        Self { list: list.into(), index, purpose }
    }

    /// The JSON that a credential carries.
    pub fn to_object(&self) -> Object {
        json::object([
            ("id", format!("{}#{}", self.list, self.index)),
            ("type", Self::TYPE.into()),
            ("statusPurpose", self.purpose.to_string()),
            ("statusListIndex", self.index.to_string()),
            ("statusListCredential", self.list.clone()),
        ])
    }

    /// Reads an entry of a credential.
    ///
    /// # Errors
    /// [`StatusError::Kind`] for another type or purpose, [`StatusError::Size`] for entries of several
    /// bits, [`StatusError::Member`] for anything else that does not follow the format.
    pub fn read(entry: &Object) -> Result<Self, StatusError> {
        let text = |name| entry.text(name).ok_or(StatusError::Member(name));
        let kind = text("type")?;
        if kind != Self::TYPE {
            return Err(StatusError::Kind(clip(kind)));
        }
        let purpose = text("statusPurpose")?;
        let purpose = Purpose::parse(purpose).ok_or_else(|| StatusError::Kind(clip(purpose)))?;
        check_size(entry)?;
        let list = text("statusListCredential")?;
        if entry.text("id") == Some(list) {
            return Err(StatusError::Member("id"));
        }
        Ok(Self { list: list.into(), index: index(text("statusListIndex")?)?, purpose })
    }
}

/// Entries and lists are of one bit unless they say otherwise.
pub(super) fn check_size(object: &Object) -> Result<(), StatusError> {
    const NAME: &str = "statusSize";
    let Some(size) = object.get(NAME) else { return Ok(()) };
    match size.as_number().and_then(json::Number::as_u64) {
        Some(1) => Ok(()),
        Some(bits) if bits > 1 => Err(StatusError::Size(bits)),
        _ => Err(StatusError::Member(NAME)),
    }
}

/// A number in base 10, in its one spelling.
fn index(text: &str) -> Result<u64, StatusError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let index = text.parse().ok().filter(|index: &u64| plain && index.to_string() == text);
    index.ok_or(StatusError::Member("statusListIndex"))
}
