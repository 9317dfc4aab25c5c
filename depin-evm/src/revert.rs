//! What a contract said when it refused.
//!
//! A revert is a selector and ABI-encoded arguments: Solidity's `Error(string)` and `Panic(uint256)`, or
//! an error of a contract. The text names errors of our own contracts with their arguments and shows
//! others as hex; code that has to tell errors apart decodes the data.

use std::fmt;

use alloy::{
    primitives::Bytes,
    sol_types::{Panic, Revert as RevertString, SolError, SolInterface},
};
use depin_core::{Error, ErrorKind};

use crate::bindings::{
    BitmapDistributor, CreditMinter, DeviceAccount, DeviceRegistry, Disperse, ERC6551Registry,
    EmissionController, NetworkToken, PaymentChannel, PaymentStream, RewardDistributor,
    ServiceEscrow, StakeManager,
};

/// The data of a revert.
///
/// ```
/// use depin_evm::{Revert, alloy::{primitives::Address, sol_types::SolError}, bindings::DeviceRegistry};
///
/// let data = DeviceRegistry::UnknownDevice { device: Address::repeat_byte(7) }.abi_encode();
/// let revert = Revert::new(data);
/// assert!(revert.to_string().starts_with("UnknownDevice { device: 0x0707"));
///
/// let error = revert.into_error();
/// let found = Revert::of(&error).and_then(|r| r.decode::<DeviceRegistry::UnknownDevice>());
/// assert_eq!(found.unwrap().device, Address::repeat_byte(7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Revert {
    data: Bytes,
}

impl Revert {
    /// Wraps what the contract returned.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into() }
    }

    /// The revert behind an error of this crate, if there is one.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(this) = cause {
            if let Some(revert) = this.downcast_ref() {
                return Some(revert);
            }
            cause = this.source();
        }
        None
    }

    /// The bytes as the contract returned them.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The data as one error of a contract, if it is that one.
    pub fn decode<E: SolError>(&self) -> Option<E> {
        E::abi_decode(&self.data).ok()
    }

    /// The [`Rejected`](ErrorKind::Rejected) error that shows the reason and keeps the data.
    pub fn into_error(self) -> Error {
        Error::new(ErrorKind::Rejected, "the contract reverted").with("reason", &self).source(self)
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(RevertString { reason }) = self.decode() {
            return f.write_str(&reason);
        }
        if let Some(panic) = self.decode::<Panic>() {
            return panic.fmt(f);
        }
        let known = [
            named::<DeviceRegistry::DeviceRegistryErrors>,
            named::<RewardDistributor::RewardDistributorErrors>,
            named::<BitmapDistributor::BitmapDistributorErrors>,
            named::<NetworkToken::NetworkTokenErrors>,
            named::<DeviceAccount::DeviceAccountErrors>,
            named::<ERC6551Registry::ERC6551RegistryErrors>,
            named::<EmissionController::EmissionControllerErrors>,
            named::<StakeManager::StakeManagerErrors>,
            named::<CreditMinter::CreditMinterErrors>,
            named::<PaymentChannel::PaymentChannelErrors>,
            named::<PaymentStream::PaymentStreamErrors>,
            named::<ServiceEscrow::ServiceEscrowErrors>,
            named::<Disperse::DisperseErrors>,
        ];
        match known.iter().find_map(|name| name(&self.data)) {
            Some(text) => f.write_str(&text),
            None if self.data.is_empty() => f.write_str("no reason given"),
            None => self.data.fmt(f),
        }
    }
}

/// `Name { argument: value }`, from the `Name(Name { .. })` of the generated enums.
fn named<E: SolInterface + fmt::Debug>(data: &[u8]) -> Option<String> {
    let text = format!("{:?}", E::abi_decode(data).ok()?);
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    Some(inner.unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U256, bytes};

    use super::*;

    #[test]
    fn each_kind_of_reason_is_readable() {
        let text = RevertString { reason: "too late".into() }.abi_encode();
        assert_eq!(Revert::new(text).to_string(), "too late");
        let panic = Panic { code: U256::from(0x11) }.abi_encode();
        assert!(Revert::new(panic).to_string().contains("overflow"));
        let capped =
            NetworkToken::ERC20ExceededCap { increasedSupply: U256::from(6), cap: U256::from(5) };
        let text = Revert::new(capped.abi_encode()).to_string();
        assert_eq!(text, "ERC20ExceededCap { increasedSupply: 6, cap: 5 }");
        assert_eq!(
            Revert::new(RewardDistributor::ZeroRoot {}.abi_encode()).to_string(),
            "ZeroRoot"
        );
        let paid = ServiceEscrow::UnknownRail { railId: U256::from(7) }.abi_encode();
        assert_eq!(Revert::new(paid).to_string(), "UnknownRail { railId: 7 }");
        assert_eq!(Revert::new(bytes!("deadbeef")).to_string(), "0xdeadbeef");
        assert_eq!(Revert::new(bytes!("")).to_string(), "no reason given");
    }

    #[test]
    fn damaged_reasons_are_shown_as_they_are() {
        let whole = RevertString { reason: "too late".into() }.abi_encode();
        for end in 4..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..end]);
            let text = Revert::new(cut.clone()).to_string();
            assert!(text == cut.to_string() || text == "too late", "{text}");
        }
    }
}
