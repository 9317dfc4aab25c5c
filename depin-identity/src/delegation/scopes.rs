//! What may be done in a device's name: a set of rights.

use alloc::string::String;
use core::{fmt, ops::BitOr, str::FromStr};

use depin_core::{Error, ErrorKind};

/// A set of rights, one bit each, with the same meaning in offline chains and in the registry contract.
///
/// Bits 0 to 31 belong to the SDK, which names the first five; bits 32 to 63 to the application, by
/// [`custom`](Self::custom). As text it is a list of names, where unnamed bits are `bit-N`.
///
/// ```
/// use depin_identity::delegation::Scopes;
///
/// let cleaning = Scopes::custom(0).expect("there are 32 of them");
/// let scopes = Scopes::CONFIGURE | Scopes::OPERATE | cleaning;
/// assert_eq!(scopes.to_string(), "configure, operate, bit-32");
/// assert_eq!("operate, bit-32, configure".parse::<Scopes>()?, scopes);
/// assert!(scopes.contains(cleaning) && !scopes.contains(Scopes::CLAIM));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scopes(u64);

/// The named bits, in their order.
const NAMES: [&str; 5] = ["submit", "configure", "claim", "operate", "delegate"];

impl Scopes {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// To send the device's data.
    pub const SUBMIT: Self = Self(1);
    /// To change its settings, document and firmware.
    pub const CONFIGURE: Self = Self(1 << 1);
    /// To claim what it earned. Where to is the contract's business.
    pub const CLAIM: Self = Self(1 << 2);
    /// To run and maintain it.
    pub const OPERATE: Self = Self(1 << 3);
    /// To pass on rights that one has.
    pub const DELEGATE: Self = Self(1 << 4);

    /// A right that the application defines: number 0 to 31.
    pub const fn custom(number: u8) -> Option<Self> {
        if number < 32 { Some(Self(1 << (32 + number))) } else { None }
    }

    /// From the bits that the contract stores.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether every right in `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The rights that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Scopes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (0..64_usize).filter(|bit| self.0 >> bit & 1 == 1);
        for (at, bit) in bits.enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            match NAMES.get(bit) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "bit-{bit}")?,
            }
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl FromStr for Scopes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        text.split(',').map(str::trim).try_fold(Self::NONE, |scopes, name| Ok(scopes | bit(name)?))
    }
}

fn bit(name: &str) -> Result<Scopes, Error> {
    let unnamed = || name.strip_prefix("bit-")?.parse().ok().filter(|bit| *bit >= NAMES.len());
    let bit = NAMES.iter().position(|known| *known == name).or_else(unnamed);
    bit.and_then(|bit| 1_u64.checked_shl(u32::try_from(bit).ok()?)).map(Scopes).ok_or_else(|| {
        let message =
            "not a scope; use submit, configure, claim, operate, delegate or bit-5 to bit-63";
        Error::new(ErrorKind::Malformed, message)
            .with("scope", name.chars().take(32).collect::<String>())
    })
}
