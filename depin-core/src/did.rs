//! Decentralized identifiers as the W3C DID Core 1.0 grammar writes them.
//!
//! [`Did`] names a subject, [`DidUrl`] points at a part of its document. Both are parsed once at the edge
//! and stay valid. What a method means is the business of a resolver.

use alloc::{format, string::String, sync::Arc};
use core::{fmt, str::FromStr};

/// Why a text is not a DID or DID URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidError {
    /// It does not start with `did:`.
    #[error("a did starts with \"did:\"")]
    Scheme,
    /// The method name is empty or not lower-case letters and digits.
    #[error("the method of a did is lower-case letters and digits")]
    Method,
    /// The method-specific id is empty, ends in `:` or has a forbidden character.
    #[error(
        "the id of a did is letters, digits, '.', '-', '_', ':' and percent escapes, and ends in no ':'"
    )]
    Id,
    /// Path, query or fragment has a forbidden character.
    #[error("a did url part has a character that RFC 3986 forbids")]
    Url,
    /// Longer than [`Did::MAX_LEN`] or [`DidUrl::MAX_LEN`].
    #[error("the did or did url is too long")]
    Length,
}

impl From<DidError> for crate::Error {
    fn from(error: DidError) -> Self {
        Self::new(crate::ErrorKind::Malformed, format!("{error}")).source(error)
    }
}

/// A DID: `did:method:id`.
///
/// Compared byte by byte. Methods whose ids have several spellings are brought to one spelling by the
/// crate that implements the method. Cloning is cheap.
///
/// ```
/// use depin_core::Did;
///
/// let did: Did = "did:io:0x46a61b4c8d65e8fa1feb2f24a9a4c37b35ab4d8e".parse()?;
/// assert_eq!(did.method(), "io");
/// assert!("did:IO:1".parse::<Did>().is_err());
/// # Ok::<(), depin_core::did::DidError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Did(Arc<str>);

impl Did {
    /// Longest DID in bytes.
    pub const MAX_LEN: usize = 512;

    /// Parses a DID.
    ///
    /// # Errors
    /// Says which part breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, DidError> {
        if text.len() > Self::MAX_LEN {
            return Err(DidError::Length);
        }
        let rest = text.strip_prefix("did:").ok_or(DidError::Scheme)?;
        let (method, id) = rest.split_once(':').ok_or(DidError::Id)?;
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if method.is_empty() || !method.bytes().all(lower) {
            return Err(DidError::Method);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if id.is_empty() || id.ends_with(':') || !percent_encoded(id, allowed) {
            return Err(DidError::Id);
        }
        Ok(Self(text.into()))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The method name, for example `key`.
    pub fn method(&self) -> &str {
        self.parts().0
    }

    /// What follows the method name.
    pub fn id(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.strip_prefix("did:").and_then(|rest| rest.split_once(':')).unwrap_or(("", ""))
    }
}

/// Whether every byte is allowed or part of a `%XX` escape.
fn percent_encoded(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => {
                let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
                hex(bytes.next()) && hex(bytes.next())
            }
            other => allowed(other),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// A DID with optional path, query and fragment: `did:key:z6Mk…#z6Mk…`.
///
/// ```
/// use depin_core::DidUrl;
///
/// let url: DidUrl = "did:web:example.org/path?service=files#key-1".parse()?;
/// assert_eq!(url.did().as_str(), "did:web:example.org");
/// assert_eq!((url.path(), url.query(), url.fragment()), ("/path", Some("service=files"), Some("key-1")));
/// # Ok::<(), depin_core::did::DidError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct DidUrl {
    did: Did,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

impl DidUrl {
    /// Longest DID URL in bytes.
    pub const MAX_LEN: usize = 2048;

    /// Parses a DID URL.
    ///
    /// # Errors
    /// Says which part breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, DidError> {
        if text.len() > Self::MAX_LEN {
            return Err(DidError::Length);
        }
        let (rest, fragment) = split_tail(text, '#');
        let (rest, query) = split_tail(rest, '?');
        let at = rest.find('/').unwrap_or(rest.len());
        let (did, path) = rest.split_at(at);
        let part = |text: &str| percent_encoded(text, is_url_character);
        if !part(path) || !query.is_none_or(part) || !fragment.is_none_or(part) {
            return Err(DidError::Url);
        }
        Ok(Self {
            did: Did::parse(did)?,
            path: path.into(),
            query: query.map(Into::into),
            fragment: fragment.map(Into::into),
        })
    }

    /// The subject.
    pub const fn did(&self) -> &Did {
        &self.did
    }

    /// The path with its leading slash, or nothing.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What follows `#`.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }
}

fn split_tail(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

/// `pchar`, `/` and `?` of RFC 3986; a second `#` is none of them.
const fn is_url_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-'..=b'/' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b':' | b';' | b'=' | b'@' | b'?')
}

impl fmt::Display for DidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.did, self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))?;
        self.fragment.iter().try_for_each(|fragment| write!(f, "#{fragment}"))
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = DidError;

            fn from_str(text: &str) -> Result<Self, DidError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = DidError;

            fn try_from(text: String) -> Result<Self, DidError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                format!("{value}")
            }
        }
    };
}

text_conversions!(Did);
text_conversions!(DidUrl);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_of_did_core_is_enforced() {
        for good in ["did:a:b", "did:web:h%C3%A9.org:user", "did:example:a:b:c", "did:x1:A._-"] {
            assert!(Did::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "did",
            "did:",
            "did:a",
            "did:a:",
            "did::b",
            "DID:a:b",
            "did:A:b",
            "did:a:b:",
            "did:a:b c",
            "did:a:%4",
            "did:a:%zz",
            "did:a:b/c",
            "did:a:b#c",
            "did:a:é",
        ] {
            assert!(Did::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Did::parse(&format!("did:a:{}", "b".repeat(512))), Err(DidError::Length));
    }

    #[test]
    fn url_parts_are_split_and_checked() {
        for bad in ["did:a:b#c#d", "did:a:b?q q", "did:a:b/%", "did:a:#x"] {
            assert!(DidUrl::parse(bad).is_err(), "{bad}");
        }
        let url = DidUrl::parse("did:a:b?q#f?g/h").unwrap();
        assert_eq!((url.path(), url.query(), url.fragment()), ("", Some("q"), Some("f?g/h")));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in "(did:[a-z]{0,3}:)?[ -~]{0,40}") {
            if let Ok(url) = DidUrl::parse(&text) {
                prop_assert_eq!(url.to_string(), text);
            }
        }
    }
}
