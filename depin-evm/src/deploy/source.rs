//! What issues a network's token.

use alloy::{
    primitives::{Address, U256},
    rpc::types::TransactionRequest,
};
use depin_core::{Amount, Error, ErrorKind, Result};

use super::Emission;
use crate::{
    Chain,
    bindings::{
        CreditMinter::{self, BandRules},
        EmissionController,
    },
};

/// What mints a network's token when its distributor pays, and by which rules.
///
/// ```
/// use depin_core::{Address, NetworkId};
/// use depin_evm::{DeployOptions, TokenSource, bindings::CreditMinter::BandRules};
///
/// let rules = BandRules {
///     creditsPerFiat: 100_000,
///     maxAge: 3_600,
///     period: 86_400,
///     smoothing: 7,
///     allowance: 10_u128.pow(21), // a thousand tokens a day, beside what was burned
/// };
/// let prices = Address::repeat_byte(5);
/// let options = DeployOptions::new(NetworkId::parse("climate")?)
///     .source(TokenSource::BurnAndMint { prices, rules });
/// assert!(options.source.is_some());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// An `EmissionController`, which mints along a curve.
    Emission(Emission),
    /// A `CreditMinter`, which mints what was burned for credits, and an allowance. The account that deploys says
    /// [who uses credits up](crate::Role::SPENDER).
    BurnAndMint {
        /// The contract that says what a token costs; see [`PriceSource`](crate::bindings::PriceSource).
        prices: Address,
        /// The price of credits and the band. With an allowance of zero it mints no more than was burned, and of a new
        /// token nothing is there to be burned until the administrator issues some as a [minter](crate::Role::MINTER).
        /// Made from `depin_payment::evm::BandRules`.
        rules: BandRules,
    },
}

impl TokenSource {
    /// What the source of `token` is called among the steps of a deployment, and what creates it.
    pub(super) fn creation(
        self,
        chain: &Chain,
        token: Address,
    ) -> (&'static str, TransactionRequest) {
        let (provider, admin) = (chain.provider(), chain.account());
        match self {
            Self::Emission(Emission { schedule, decay, rows, target }) => {
                let controller = EmissionController::deploy_builder(
                    provider, token, schedule, decay, rows, target, admin,
                );
                ("controller", controller.into_transaction_request())
            }
            Self::BurnAndMint { prices, rules } => {
                let minter = CreditMinter::deploy_builder(provider, token, prices, rules, admin);
                ("credit-minter", minter.into_transaction_request())
            }
        }
    }

    /// That it can issue a token of which there is at most `cap`.
    pub(super) fn check(&self, cap: Amount) -> Result<()> {
        let config = |text| Err(Error::new(ErrorKind::Config, text));
        match self {
            Self::Emission(emission) => {
                let issued = Amount::units(U256::from(emission.schedule.cap));
                if issued <= cap {
                    return Ok(());
                }
                let text = "the emission's cap is above the token's; an epoch between them could \
                            never be paid";
                let error = Error::new(ErrorKind::Config, text);
                Err(error.with("emission", issued).with("token", cap))
            }
            Self::BurnAndMint { prices, .. } if prices.is_zero() => {
                config("credits are sold at the prices of a contract, fixed for ever; name it")
            }
            Self::BurnAndMint { rules, .. }
                if rules.period == 0 || rules.smoothing == 0 || rules.creditsPerFiat == 0 =>
            {
                config(
                    "credits need a price, and the band a period and a smoothing that are not zero",
                )
            }
            Self::BurnAndMint { .. } => Ok(()),
        }
    }
}
