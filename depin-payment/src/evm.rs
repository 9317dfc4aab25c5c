//! A network's contracts on an EVM chain: token, distributor and emission, rails, stakes and credits, and on top of
//! them treasury runs and reconciliation.
//!
//! The clients are thin: the contracts hold the rules, this module asks and sends. What it adds is that nothing
//! is sent which the chain would refuse or, where the call says so, has done already.

mod approval;
mod calls;
mod channel;
mod controller;
mod distributor;
mod emission;
mod escrow;
mod flow;
mod minter;
mod reconcile;
mod stake;
mod stream;
mod token;
mod treasury;

use depin_core::{Error, ErrorKind};
use depin_evm::{
    Revert,
    alloy::sol_types::SolInterface,
    bindings::{
        EmissionController::EmissionAboveCurve, NetworkToken::ERC20ExceededCap,
        RewardDistributor::RewardDistributorErrors as Refusal,
    },
};

pub use channel::{ChannelFunds, ChannelRail, ChannelRules, EvmChannel, Examined, Uncovered};
pub use controller::EvmController;
pub use distributor::EvmDistributor;
pub use escrow::{EscrowAccount, EscrowRail, EvmEscrow, RailTerms};
pub use minter::{BandRules, EvmMinter, EvmPrices};
pub use reconcile::{Ledger, Reconciled};
pub use stake::{EvmStake, Slash, Stake, StakeRules};
pub use stream::{EvmStream, Purse, StreamRail};
pub use token::EvmToken;
pub use treasury::{Estimate, PayList, Plan, RunReport, Treasury, Unpaid, Way};

/// Gives a revert of the distributor its kind and remedy; leaves other errors alone.
fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, NotFound, Rejected};
    let Some(revert) = Revert::of(&error) else { return error };
    if revert.decode::<ERC20ExceededCap>().is_some() {
        let text =
            "the emission passes the token's cap; nothing more can be published than it leaves";
        let reason = revert.to_string();
        return Error::new(Limit, text).with("reason", reason).source(error);
    }
    if revert.decode::<EmissionAboveCurve>().is_some() {
        let text = "the emission passes what the curve and its cap allow by now; wait, or have \
                    the arbiter reject the epoch and publish less";
        let reason = revert.to_string();
        return Error::new(Limit, text).with("reason", reason).source(error);
    }
    let Ok(refusal) = Refusal::abi_decode(revert.data()) else { return error };
    let (kind, text) = match refusal {
        Refusal::EpochNotAfterLatest(_) => {
            (Conflict, "the epoch, or a later one, was published with other content")
        }
        Refusal::EpochTooFar(_) => (
            Rejected,
            "the number of the epoch is more than 2^40 beyond the latest; choose a nearer one",
        ),
        Refusal::ZeroRoot(_) => {
            (Rejected, "zero is not the root of any tree; take it from a reward tree")
        }
        Refusal::CumulativeTotalFell(_) => (Rejected, "the sum of all rewards cannot fall"),
        Refusal::SafeCastOverflowedUintDowncast(_) => {
            (Limit, "the distributor counts rewards in 128 bits; the sum is larger")
        }
        Refusal::InvalidProof(_) => {
            (Rejected, "the proof does not lead to the latest root; take it from the latest tree")
        }
        Refusal::NoRootServes(_) => {
            (Rejected, "no epoch serves claims: none is active yet, or the guardian paused them")
        }
        Refusal::IsPaused(_) => (
            Rejected,
            "the guardian paused activations; the arbiter corrects, the admin lets go on",
        ),
        Refusal::EpochStillPending(_) => {
            (Conflict, "an earlier epoch waits for the end of its dispute window; publish after it")
        }
        Refusal::RateLimitExceeded(_) | Refusal::EmissionAboveLimit(_) => {
            (Limit, "the distributor limits the emission per period; publish less, or later")
        }
        Refusal::UnknownEpoch(_) => (NotFound, "the epoch was not published"),
        Refusal::AccessControlUnauthorizedAccount(_) => {
            (Rejected, "this account may not publish; grant it the publisher role")
        }
        _ => return error,
    };
    let reason = Revert::of(&error).map(ToString::to_string).unwrap_or_default();
    Error::new(kind, text).with("reason", reason).source(error)
}
