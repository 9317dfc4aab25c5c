//! Small identifiers that would lie as bare numbers or strings.

use alloc::string::String;
use core::fmt;

use crate::error::{Error, ErrorKind};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The bare number.
            pub const fn value(self) -> u64 {
                self.0
            }

            /// The one after this, or `None` at the end of `u64`.
            pub fn next(self) -> Option<Self> {
                self.0.checked_add(1).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// Number of a reward epoch, counted from 0.
    EpochId
}
number_id! {
    /// EIP-155 chain id, for example 4689 for IoTeX.
    ChainId
}
number_id! {
    /// Position of a batch in the chain of one device, counted from 0.
    Sequence
}

/// Name of a network: 1 to 64 characters of `a-z`, `0-9` and `-`, neither first nor last a dash.
///
/// Every signature covers it, so that nothing signed for one network counts in another.
///
/// ```
/// use depin_core::NetworkId;
///
/// let climate = NetworkId::parse("climate")?;
/// assert_eq!(climate.as_str(), "climate");
/// assert!(NetworkId::parse("Climate!").is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct NetworkId(String);

impl NetworkId {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses a network name.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the text is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        if !fits || !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(Error::new(
                ErrorKind::Malformed,
                "network name is not 1 to 64 of a-z, 0-9 and inner dashes",
            )
            .with("name", text.chars().take(Self::MAX_LEN).collect::<String>()));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NetworkId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.0
    }
}
