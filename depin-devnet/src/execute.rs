//! Running transactions and calls in the EVM, on one fork: Cancun.

use alloy::{
    consensus::{Header, Transaction, TxEnvelope, transaction::Recovered},
    eips::Typed2718,
    primitives::{B256, U256},
    sol_types::decode_revert_reason,
};
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, ResultAndState},
    },
    context_interface::{block::BlobExcessGasAndPrice, cfg::gas::calculate_initial_tx_gas_for_tx},
    handler::MainnetContext,
    primitives::hardfork::SpecId,
};

use crate::{
    error::{Error, ErrorKind},
    state::View,
};

/// The one fork this chain runs.
const FORK: SpecId = SpecId::CANCUN;

/// The EVM ready to run transactions of one block.
pub(crate) struct Executor(MainnetEvm<MainnetContext<View>>);

impl Executor {
    /// For transactions that will be part of the block.
    pub(crate) fn new(view: View, chain_id: u64, header: &Header) -> Self {
        Self::with(view, config(chain_id), block_env(header))
    }

    /// For `eth_call` and `eth_estimateGas`: any sender, any nonce, and free when no price is named.
    pub(crate) fn for_calls(view: View, chain_id: u64, header: &Header, free: bool) -> Self {
        let mut config = config(chain_id);
        config.disable_nonce_check = true;
        config.disable_eip3607 = true;
        let mut block = block_env(header);
        if free {
            block.basefee = 0;
        }
        Self::with(view, config, block)
    }

    fn with(view: View, config: CfgEnv, block: BlockEnv) -> Self {
        let context = Context::mainnet().with_db(view).with_cfg(config).with_block(block);
        Self(context.build_mainnet())
    }

    /// Runs a transaction and keeps what it changed.
    pub(crate) fn apply(&mut self, tx: &Recovered<TxEnvelope>) -> Result<ExecutionResult, Error> {
        let ResultAndState { result, state } = self.0.transact(tx_env(tx)).map_err(refusal)?;
        self.view_mut().state.commit(state);
        Ok(result)
    }

    /// Runs a transaction and forgets what it changed.
    pub(crate) fn try_out(&mut self, tx: TxEnv) -> Result<ExecutionResult, Error> {
        self.0.transact(tx).map(|outcome| outcome.result).map_err(refusal)
    }

    pub(crate) fn view_mut(&mut self) -> &mut View {
        &mut self.0.ctx.journaled_state.database
    }

    pub(crate) fn into_view(self) -> View {
        self.0.ctx.journaled_state.database
    }
}

/// Gas a transaction needs before the first instruction runs.
pub(crate) fn intrinsic_gas(tx: &Recovered<TxEnvelope>) -> u64 {
    calculate_initial_tx_gas_for_tx(tx_env(tx), FORK, None).initial_regular_gas
}

/// The error a reverted or halted run is for its caller.
pub(crate) fn failure(result: &ExecutionResult) -> Option<Error> {
    match result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => {
            let message = match decode_revert_reason(output) {
                Some(reason) if !output.is_empty() => {
                    format!("execution reverted: {}", reason.trim_start_matches("revert: "))
                }
                _ => "execution reverted".to_owned(),
            };
            Some(Error::new(ErrorKind::Reverted, message).with_revert(output.clone()))
        }
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
            Some(Error::rejected("out of gas"))
        }
        ExecutionResult::Halt { reason, .. } => {
            Some(Error::rejected(format!("execution halted: {reason:?}")))
        }
    }
}

fn config(chain_id: u64) -> CfgEnv {
    CfgEnv::new_with_spec(FORK).with_chain_id(chain_id)
}

fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
            excess_blob_gas: 0,
            blob_gasprice: 1,
        }),
        ..BlockEnv::default()
    }
}

fn tx_env(tx: &Recovered<TxEnvelope>) -> TxEnv {
    TxEnv {
        tx_type: tx.ty(),
        caller: tx.signer(),
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        blob_hashes: Vec::<B256>::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}

fn refusal(error: EVMError<std::convert::Infallible>) -> Error {
    match error {
        EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            insufficient_funds(*balance, *fee)
        }
        EVMError::Transaction(reason) => Error::rejected(reason.to_string()),
        other => Error::rejected(format!("the EVM refused the transaction: {other}")),
    }
}

/// The text nodes use when a sender cannot pay.
pub(crate) fn insufficient_funds(have: U256, want: U256) -> Error {
    Error::rejected(format!(
        "insufficient funds for gas * price + value: balance {have}, transaction cost {want}"
    ))
}
