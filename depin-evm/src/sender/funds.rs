//! Whether it is for lack of money that a node refuses a transaction.

use alloy::{eips::BlockId, primitives::U256, providers::Provider, rpc::types::TransactionRequest};
use depin_core::{Error, ErrorKind, Result};

use super::{TxSender, fees::Fees};
use crate::{Revert, Unfunded, chain::ask};

impl TxSender {
    /// Why a transaction was not sent: what the account lacks, where it lacks something, and else what was said.
    pub(super) async fn reason(&self, error: Error, tx: &TransactionRequest) -> Error {
        if error.kind() != ErrorKind::Rejected || Revert::of(&error).is_some() {
            return error;
        }
        match self.lacking(tx).await {
            Ok(Some(unfunded)) => unfunded.into_error(),
            _ => error,
        }
    }

    /// What the account lacks for a transaction at the fees that it offers.
    async fn lacking(&self, tx: &TransactionRequest) -> Result<Option<Unfunded>> {
        let has = ask(self.provider.get_balance(self.account())).await?;
        let price = Fees::of(tx).map_or(0, Fees::max);
        let gas = U256::from(self.gas_of(tx).await);
        let value = tx.value.unwrap_or_default();
        let needs = gas.saturating_mul(U256::from(price)).saturating_add(value);
        Ok((has < needs).then(|| Unfunded::new(self.account(), has, needs)))
    }

    /// The gas that a transaction has, or would have if it cost nothing; none where nobody tells.
    async fn gas_of(&self, tx: &TransactionRequest) -> u64 {
        if let Some(gas) = tx.gas {
            return gas;
        }
        let (mut free, latest) = (tx.clone(), BlockId::latest());
        (free.gas_price, free.max_fee_per_gas, free.max_priority_fee_per_gas) = (None, None, None);
        ask(self.provider.estimate_gas(free).block(latest)).await.unwrap_or_default()
    }
}
