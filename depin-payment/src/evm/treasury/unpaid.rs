//! Who was not paid, and why.

use std::fmt;

use depin_core::{Address, Amount, B256};

/// A recipient whom the token does not let receive.
///
/// Shown as the line that a treasurer acts on.
///
/// ```
/// use depin_core::{Address, Amount, B256};
/// use depin_payment::evm::{Refusal, Unpaid};
///
/// let shown = |unpaid: &Unpaid| match unpaid.refusal {
///     Refusal::Simulated => "put them on the next list".to_owned(),
///     Refusal::Reverted { transaction } => format!("wait until no reorganisation reaches {transaction}"),
///     _ => unpaid.to_string(),
/// };
/// # let _ = shown;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpaid {
    /// Who.
    pub account: Address,
    /// What they should have got.
    pub amount: Amount,
    /// What the token said.
    pub reason: String,
    /// Whether any transaction had them in it.
    pub refusal: Refusal,
}

/// Where it showed that a recipient cannot receive.
///
/// ```
/// use depin_core::B256;
/// use depin_payment::evm::Refusal;
///
/// assert!(Refusal::Simulated.to_string().contains("next list"));
/// let reverted = Refusal::Reverted { transaction: B256::ZERO };
/// assert!(reverted.to_string().contains("reorganisation"));
/// assert!(Refusal::Earlier.to_string().contains("unless another list has them"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// In the simulation before their batch was sent. No transaction has them in it, so the next list can. Keep the
    /// journal until no reorganisation reaches what was sent without them: where both are lost, they are in the batch again.
    Simulated,
    /// On chain: their batch was mined and reverted. When its block is replaced the whole batch may succeed, and they
    /// are paid; so the next list waits until no reorganisation reaches that block.
    Reverted {
        /// The transaction that reverted, or the first of them.
        transaction: B256,
    },
    /// In a simulation, when their batch may have been sent all the same: an earlier call that had begun to send it ended
    /// before it heard what became of it, killed for instance, or the account sent something meanwhile, perhaps a batch that
    /// was given up on. Nobody here knows whether one was mined and reverted, so the next list waits as long.
    Unheard,
    /// In an earlier run of the list, whose journal is not here: the chain has that their batch pays nobody. The report of
    /// that run may have put them on another list, so look for them there before you do.
    Earlier,
}

impl fmt::Display for Unpaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.amount.to_units();
        write!(f, "{} lacks {units} base units ({}): {}", self.account, self.reason, self.refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulated => {
                f.write_str("refused in a simulation, nothing was sent; put them on the next list")
            }
            Self::Reverted { transaction } => write!(
                f,
                "their batch reverted in {transaction}; run it again when no reorganisation reaches its block, and put \
                 them on the next list if they are unpaid still"
            ),
            Self::Unheard => f.write_str(
                "their batch may have been sent, and nobody heard what became of it; run it again when no reorganisation reaches what was mined \
                 by then, and put them on the next list if they are unpaid still",
            ),
            Self::Earlier => f.write_str(
                "an earlier run of the list left them out, whose journal is not here; put them on the next list unless another \
                 list has them since",
            ),
        }
    }
}
