//! IoTeX's text form of addresses: `io1…`.
//!
//! The same 20 bytes as `0x…`, written in bech32 (BIP-173, not bech32m) with the prefix `io`, without a
//! version byte: always 41 characters. Wallets and explorers of IoTeX show it; contracts and this SDK
//! use `0x`, so conversion happens at the edge. A few tools write the prefix `it` on the test network;
//! that is accepted only when asked for.

use alloy::primitives::Address;
use bech32::{Bech32, ByteIterExt, Fe32IterExt, Hrp, primitives::decode::CheckedHrpstring};
use depin_core::{Error, ErrorKind};

/// Why a text is no `io1` address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Io1Error {
    /// Not 41 characters.
    #[error("io1 address has {0} characters, expected 41")]
    Length(usize),
    /// The prefix is another one.
    #[error("io1 address starts with another prefix, expected `{0}1`")]
    Prefix(&'static str),
    /// Mixed case, a foreign character or a wrong checksum.
    #[error("io1 address is damaged, copy it again")]
    Damaged,
    /// Neither `0x` and 40 hex digits nor `io1`.
    #[error("address is neither 0x and 40 hex digits nor io1, or its checksum is wrong")]
    Unknown,
}

impl From<Io1Error> for Error {
    fn from(error: Io1Error) -> Self {
        Self::new(ErrorKind::Malformed, "address cannot be read")
            .with("reason", &error)
            .source(error)
    }
}

/// Reads `io1…`, strictly.
///
/// ```
/// use depin_evm::io1;
///
/// let address = io1::parse("io1djlzhwxdqqahhwhdxtn9hkhppvnnrptqtwf2h5")?;
/// assert_eq!(address.to_string().to_lowercase(), "0x6cbe2bb8cd003b7bbaed32e65bdae10b27318560");
/// assert_eq!(io1::format(address), "io1djlzhwxdqqahhwhdxtn9hkhppvnnrptqtwf2h5");
/// # Ok::<(), io1::Io1Error>(())
/// ```
///
/// # Errors
/// [`Io1Error`] for another length, prefix or checksum, and for mixed case.
pub fn parse(text: &str) -> Result<Address, Io1Error> {
    read(text, "io")
}

/// Reads the `it1…` that some tools write for the test network.
///
/// # Errors
/// As [`parse`].
pub fn parse_testnet(text: &str) -> Result<Address, Io1Error> {
    read(text, "it")
}

/// Reads `io1…`, or `0x…` whose EIP-55 checksum holds when it has mixed case.
///
/// ```
/// use depin_evm::io1;
///
/// let hex = io1::parse_any("0x6cbe2bb8cd003b7bbaed32e65bdae10b27318560")?;
/// assert_eq!(hex, io1::parse_any("io1djlzhwxdqqahhwhdxtn9hkhppvnnrptqtwf2h5")?);
/// # Ok::<(), io1::Io1Error>(())
/// ```
///
/// # Errors
/// [`Io1Error::Unknown`] for other text that does not start with `0x`'s or `io1`'s form.
pub fn parse_any(text: &str) -> Result<Address, Io1Error> {
    let Some(digits) = text.strip_prefix("0x") else { return parse(text) };
    let one_case = digits.bytes().all(|b| !b.is_ascii_uppercase())
        || digits.bytes().all(|b| !b.is_ascii_lowercase());
    let read =
        if one_case { text.parse().ok() } else { Address::parse_checksummed(text, None).ok() };
    read.ok_or(Io1Error::Unknown)
}

/// Writes `io1…`.
pub fn format(address: Address) -> String {
    let hrp = Hrp::parse_unchecked("io");
    address.iter().copied().bytes_to_fes().with_checksum::<Bech32>(&hrp).chars().collect()
}

fn read(text: &str, prefix: &'static str) -> Result<Address, Io1Error> {
    // The length first: it bounds all that follows.
    if text.len() != LENGTH {
        return Err(Io1Error::Length(text.chars().take(MAX_SHOWN).count()));
    }
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| Io1Error::Damaged)?;
    if checked.hrp().to_lowercase() != prefix {
        return Err(Io1Error::Prefix(prefix));
    }
    // 32 characters of 5 bits are exactly 20 bytes: there is no padding to check.
    let bytes: Vec<u8> = checked.byte_iter().collect();
    Address::try_from(bytes.as_slice()).map_err(|_| Io1Error::Damaged)
}

/// `io1`, 32 characters for 160 bits, 6 for the checksum.
const LENGTH: usize = 41;

const MAX_SHOWN: usize = 1_000;
