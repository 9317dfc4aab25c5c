//! What issues a network's tokens, and how much of them there is to grant.

use depin_core::{Amount, Error, ErrorKind, Result};
use depin_evm::{Chain, Deployment};
use depin_payment::evm::{EvmController, EvmMinter, EvmRoots};

/// The contract that mints what is emitted: one of ours, the token itself, or somebody else's.
pub(crate) struct Source {
    controller: EvmController,
    minter: EvmMinter,
    roots: EvmRoots,
    /// Whether the token mints for the distributor itself: nothing is compared with its cap.
    is_the_token: bool,
}

impl Source {
    pub(crate) fn of(chain: &Chain, deployment: &Deployment) -> Self {
        Self {
            controller: EvmController::new(chain.clone(), deployment.source),
            minter: EvmMinter::new(chain.clone(), deployment.source),
            roots: EvmRoots::new(chain.clone(), deployment.distributor),
            is_the_token: deployment.source == deployment.token,
        }
    }

    /// All that may have been emitted until now: what a controller granted, or what was issued to the distributor with
    /// what a minter's band leaves; `None` where the token mints.
    pub(crate) async fn granted(&self) -> Result<Option<Amount>> {
        if self.is_the_token {
            return Ok(None);
        }
        match self.controller.granted().await {
            // A node may refuse for reasons of its own, so whoever is no controller has to answer as something else.
            Err(refused) if refused.kind() == ErrorKind::Rejected => match self.banded().await {
                Ok(granted) => Ok(Some(granted)),
                Err(error) if error.is_retryable() => Err(error),
                Err(_) => Err(unknown(&refused)),
            },
            granted => granted.map(Some),
        }
    }

    async fn banded(&self) -> Result<Amount> {
        // In this order, by one node, what is issued in between is not counted twice.
        let issued = self.roots.issued().await?;
        issued.checked_add(self.minter.mintable().await?)
    }
}

fn unknown(refused: &Error) -> Error {
    let message = "the network's token source tells neither what it has granted nor what may be minted; let it answer \
                   granted() as an emission controller does, or close epochs by a policy that takes no grants";
    Error::new(ErrorKind::Rejected, message).with("cause", refused)
}
