//! A network's contracts on an EVM chain: token, distributor and emission, rails, stakes and credits, and on top of
//! them treasury runs and reconciliation.
//!
//! The clients are thin: the contracts hold the rules, this module asks and sends. What it adds is that nothing
//! is sent which the chain would refuse or, where the call says so, has done already.

mod approval;
mod bitmap;
mod calls;
mod channel;
mod controller;
mod device;
mod distributor;
mod emission;
mod escrow;
mod flow;
mod minter;
mod reconcile;
mod roots;
mod stake;
mod stream;
mod token;
mod treasury;

pub use bitmap::EvmBitmap;
pub use channel::{ChannelFunds, ChannelRail, ChannelRules, EvmChannel, Examined, Uncovered};
pub use controller::EvmController;
pub use device::EvmDeviceAccount;
pub use distributor::EvmDistributor;
pub use escrow::{EscrowAccount, EscrowRail, EvmEscrow, OpenRail, OperatorAllowance, RailTerms};
pub use minter::{BandRules, EvmMinter, EvmPrices};
pub use reconcile::{Ledger, Reconciled};
pub use roots::{EvmRoots, PendingEpoch, Verdict};
pub use stake::{EvmStake, Slash, Stake, StakeRules};
pub use stream::{EvmStream, Purse, StreamRail};
pub use token::EvmToken;
pub use treasury::{Estimate, PayList, Plan, Refusal, RunReport, Treasury, Unpaid, Way};
