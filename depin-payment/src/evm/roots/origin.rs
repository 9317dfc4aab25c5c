//! Whether the log that a node tells of a distributor goes back to its creation.
//!
//! The contract counts no publications, so what a node has pruned is not missed where it was rejected. But the first
//! thing that the contract ever logged is who administers it: a log that has that has all that came after.

use depin_core::{Error, Result};
use depin_evm::{
    alloy::{eips::BlockId, providers::Provider, rpc::types::Log},
    bindings::RewardDistributor::RoleGranted,
};

use super::EvmRoots;
use crate::evm::calls::patiently;

/// The first of these logs, which begin with the newest, that names an administrator.
pub(super) fn first_administrator(logs: &[Log]) -> Option<Log> {
    logs.iter().rev().find(|log| grant(log).is_some_and(|grant| grant.role.is_zero())).cloned()
}

impl EvmRoots {
    /// Refuses a log in which this is the first that names an administrator, unless the creation of the contract did.
    pub(super) async fn check_origin(&self, first: Option<Log>) -> Result<()> {
        if let Some(log) = first
            && self.is_creation(&log).await?
        {
            return Ok(());
        }
        let text = "the node's log does not begin with the distributor, and may lack epochs that were rejected; use an \
                    archive node, and look from the contract's own block on";
        Err(Error::unavailable(text).with("distributor", self.address))
    }

    /// Whether it was the creation that named this administrator, and not an earlier one.
    async fn is_creation(&self, log: &Log) -> Result<bool> {
        // Administrators name others: of one who has the role already, the contract logs nothing.
        if grant(log).is_some_and(|grant| grant.account == grant.sender) {
            return Ok(true);
        }
        let (Some(hash), Some(block)) = (log.transaction_hash, log.block_number) else {
            return Ok(false);
        };
        let provider = self.chain.provider();
        let receipt = || self.chain.ask(provider.get_transaction_receipt(hash));
        let created = patiently(receipt).await?.and_then(|receipt| receipt.contract_address);
        if created == Some(self.address) {
            return Ok(true);
        }
        // Another contract created it. Nodes that keep old states tell that there was nothing before.
        let Some(before) = block.checked_sub(1).map(BlockId::number) else { return Ok(false) };
        let code = self.chain.ask(provider.get_code_at(self.address).block_id(before)).await;
        Ok(code.is_ok_and(|code| code.is_empty()))
    }
}

fn grant(log: &Log) -> Option<RoleGranted> {
    Some(log.log_decode().ok()?.inner.data)
}
