//! Names of a root of trust: of the one chip, and of its kind.

use core::fmt;

use depin_core::PublicKey;
use sha2::{Digest, Sha256};

/// Names one chip's attestation key: 0x01 and 32 bytes (RFC 9783 section 4.2.1).
///
/// ```
/// use depin_hw::psa::InstanceId;
///
/// assert!(InstanceId::parse(&[1; 33]).is_some());
/// assert!(InstanceId::parse(&[2; 33]).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId([u8; 33]);

impl InstanceId {
    /// From the 33 bytes of the claim; `None` for other lengths and a first byte other than 0x01.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().filter(|id: &[u8; 33]| id[0] == 1).map(Self)
    }

    /// The id that Trusted Firmware-M derives: SHA-256 of the uncompressed point.
    ///
    /// For a key that is no curve point of that form (Ed25519) it is SHA-256 of its bytes.
    pub fn of_key(key: &PublicKey) -> Self {
        let mut hash = Sha256::new();
        match key.to_uncompressed() {
            Some(point) => {
                hash.update([0x04]);
                hash.update(point);
            }
            None => hash.update(key.to_bytes()),
        }
        let mut id = [1; 33];
        id[1..].copy_from_slice(&hash.finalize());
        Self(id)
    }

    /// The bytes, 0x01 first.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

/// Names the make of a root of trust: 32 bytes that its manufacturer chose (RFC 9783 section 4.2.2).
///
/// Shown as text when the bytes are printable ASCII with zeros behind, else in hexadecimal.
///
/// ```
/// use depin_hw::{SIMULATED_INSECURE, psa::ImplementationId};
///
/// assert_eq!(ImplementationId::simulated().to_string(), SIMULATED_INSECURE);
/// assert_eq!(ImplementationId::new([0xaa; 32]).to_string(), "aa".repeat(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImplementationId([u8; 32]);

impl ImplementationId {
    /// Wraps the bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The make of every software root: [`SIMULATED_INSECURE`](crate::SIMULATED_INSECURE) and zeros.
    pub const fn simulated() -> Self {
        Self(*b"SIMULATED-INSECURE\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    }

    /// Whether this is the make of software roots.
    pub fn is_simulated(&self) -> bool {
        *self == Self::simulated()
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn text(&self) -> Option<&str> {
        let text = core::str::from_utf8(&self.0).ok()?.trim_end_matches('\0');
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        (printable && !text.is_empty()).then_some(text)
    }
}

impl fmt::Display for ImplementationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for ImplementationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImplementationId({self})")
    }
}
