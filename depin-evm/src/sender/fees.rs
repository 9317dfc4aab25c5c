//! What a transaction offers to pay.

use alloy::{
    eips::BlockNumberOrTag,
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use depin_core::{Error, ErrorKind, Result};

use crate::chain::ask;

/// Fees per gas in wei: EIP-1559's two where the chain has a base fee, one price where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    max: u128,
    tip: Option<u128>,
}

/// What the chain asks for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    pub(crate) fees: Fees,
    /// Gas a block can hold.
    pub(crate) block_gas: u64,
}

impl Quote {
    /// Asks the node. Twice the base fee leaves room for six full blocks in a row.
    pub(crate) async fn ask(provider: &DynProvider) -> Result<Self> {
        let block = ask(provider.get_block_by_number(BlockNumberOrTag::Latest)).await?;
        let header =
            block.ok_or_else(|| Error::unavailable("the node has no latest block"))?.header;
        let fees = match header.base_fee_per_gas {
            Some(base) => {
                let tip = tip(provider, base.into()).await?;
                Fees { max: u128::from(base).saturating_mul(2).saturating_add(tip), tip: Some(tip) }
            }
            None => Fees { max: ask(provider.get_gas_price()).await?, tip: None },
        };
        Ok(Self { fees, block_gas: header.gas_limit })
    }
}

impl Fees {
    /// The fees a request carries, if any.
    pub(crate) fn of(tx: &TransactionRequest) -> Option<Self> {
        let dynamic = tx
            .max_fee_per_gas
            .map(|max| Self { max, tip: tx.max_priority_fee_per_gas.or(Some(max)) });
        dynamic.or_else(|| tx.gas_price.map(|max| Self { max, tip: None }))
    }

    pub(crate) const fn max(self) -> u128 {
        self.max
    }

    pub(crate) const fn apply(self, tx: &mut TransactionRequest) {
        match self.tip {
            Some(tip) => {
                tx.gas_price = None;
                tx.max_fee_per_gas = Some(self.max);
                tx.max_priority_fee_per_gas = Some(tip);
            }
            None => tx.gas_price = Some(self.max),
        }
    }

    /// At least an eighth more of everything (pools ask for a tenth) and at least `now`, or `None` when
    /// that is above `cap`.
    pub(crate) fn raised(self, now: Self, cap: u128) -> Option<Self> {
        let max = raise(self.max);
        if max > cap {
            return None;
        }
        let max = max.max(now.max).min(cap);
        let tip = self.tip.map(|tip| raise(tip).max(now.tip.unwrap_or(0)).min(max));
        Some(Self { max, tip })
    }
}

/// Nodes without EIP-1559's own method add the tip to the gas price.
async fn tip(provider: &DynProvider, base: u128) -> Result<u128> {
    let suggested = match ask(provider.get_max_priority_fee_per_gas()).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            ask(provider.get_gas_price()).await?.saturating_sub(base)
        }
        suggested => suggested?,
    };
    Ok(suggested.max(1))
}

const fn raise(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn fees(max: u128, tip: u128) -> Fees {
        Fees { max, tip: Some(tip) }
    }

    #[test]
    fn a_raise_is_an_eighth_of_both_fees() {
        let raised = fees(800, 81).raised(fees(100, 1), u128::MAX);
        assert_eq!(raised, Some(fees(900, 92)));
    }

    #[test]
    fn a_raise_follows_the_chain_up() {
        assert_eq!(fees(800, 80).raised(fees(5_000, 100), 6_000), Some(fees(5_000, 100)));
        assert_eq!(fees(800, 80).raised(fees(5_000, 100), 4_000), Some(fees(4_000, 100)));
    }

    #[test]
    fn a_raise_stops_at_the_cap() {
        assert_eq!(fees(800, 80).raised(fees(1, 1), 899), None);
        assert_eq!(fees(800, 80).raised(fees(1, 1), 900), Some(fees(900, 90)));
    }

    #[test]
    fn chains_without_base_fee_have_one_price() {
        let price = Fees { max: 1_000, tip: None };
        let raised = price.raised(price, u128::MAX).unwrap();
        let mut tx = TransactionRequest::default();
        raised.apply(&mut tx);
        assert_eq!((tx.gas_price, tx.max_fee_per_gas), (Some(1_125), None));
    }
}
