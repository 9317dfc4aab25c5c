//! Running code: calls, gas estimates and transactions.

use std::sync::Arc;

use alloy::{
    eips::BlockId,
    primitives::{B256, Bytes, TxKind, U64, U256},
    rpc::types::TransactionRequest,
};
use revm::context::{TxEnv, result::ExecutionResult};

use super::{Answer, accounts::at, history::receipt_answer, json, params::Params};
use crate::{
    Devnet, admission,
    block::Block,
    devnet::unix_now,
    error::{Error, ErrorKind},
    execute::{Executor, failure},
};

pub(super) fn call(devnet: &Devnet, params: Params<'_>) -> Answer {
    let (mut executor, tx) = prepare(devnet, read(devnet, params)?);
    let result = executor.try_out(tx)?;
    match failure(&result) {
        Some(error) => Err(error),
        None => json(result.into_output().unwrap_or_default()),
    }
}

/// The least gas with which the transaction succeeds.
pub(super) fn estimate_gas(devnet: &Devnet, params: Params<'_>) -> Answer {
    let call = read(devnet, params)?;
    let plain = call.is_plain_transfer();
    if plain && call.surely_succeeds(devnet.chain_id()) {
        return json(U64::from(PLAIN_TRANSFER));
    }
    let most = if plain { PLAIN_TRANSFER.min(call.tx.gas_limit) } else { call.tx.gas_limit };
    let (mut executor, tx) = prepare(devnet, call);
    let mut run = |gas_limit: u64| executor.try_out(TxEnv { gas_limit, ..tx.clone() });
    let first = run(most)?;
    if let Some(error) = failure(&first) {
        return Err(match error.kind() {
            ErrorKind::Rejected => {
                Error::rejected(format!("{error}, gas required exceeds allowance ({most})"))
            }
            _ => error,
        });
    }
    if plain {
        return json(U64::from(most));
    }
    // Code that passes on all but a 64th of its gas, or asks how much is left, can need more than it
    // spends; for all other code what was spent before refunds is the answer.
    let spent = first.gas().total_gas_spent();
    let enough = |outcome: Result<ExecutionResult, Error>| outcome.is_ok_and(|r| r.is_success());
    if enough(run(spent)) {
        return json(U64::from(spent));
    }
    let (mut low, mut high) = (spent, most);
    while low.saturating_add(1) < high {
        let middle = low.midpoint(high);
        if enough(run(middle)) { high = middle } else { low = middle }
    }
    json(U64::from(high))
}

pub(super) fn send_raw(devnet: &Devnet, params: Params<'_>) -> Answer {
    json(submit(devnet, params)?)
}

/// EIP-7966: answers with the receipt.
pub(super) fn send_raw_sync(devnet: &Devnet, params: Params<'_>) -> Answer {
    let hash = submit(devnet, params)?;
    let chain = devnet.chain();
    let Some((block, index)) = chain.mined(&hash) else {
        let text = format!("the transaction {hash} was added but is not mined yet");
        return Err(Error::rejected(text));
    };
    let block = Arc::clone(block);
    drop(chain);
    receipt_answer(&block, index)
}

fn submit(devnet: &Devnet, mut params: Params<'_>) -> Result<B256, Error> {
    let bytes: Bytes = params.need("transaction")?;
    params.end()?;
    // Finding the sender is the slow part and needs no lock.
    let tx = admission::decode(&bytes, devnet.signed())?;
    devnet.chain().submit(tx, unix_now())
}

/// A call as the EVM takes it, and the block it runs on.
struct Call {
    tx: TxEnv,
    block: Arc<Block>,
}

impl Call {
    /// Whether it only moves value to an account without code.
    fn is_plain_transfer(&self) -> bool {
        matches!(self.tx.kind, TxKind::Call(to)
            if self.tx.data.is_empty() && self.tx.access_list.0.is_empty()
                && self.block.state.account(&to).is_none_or(|account| account.code.is_none())
                && !is_precompile(&to))
    }

    /// Whether a plain transfer needs no run to know how it ends: nothing to pay for gas, and enough
    /// of everything.
    fn surely_succeeds(&self, chain_id: u64) -> bool {
        self.is_free()
            && self.tx.gas_limit >= PLAIN_TRANSFER
            && self.tx.chain_id.is_none_or(|id| id == chain_id)
            && self.tx.value <= self.block.state.balance(&self.tx.caller)
    }

    /// Whether it names no price, which makes it free.
    fn is_free(&self) -> bool {
        self.tx.gas_price == 0 && self.tx.gas_priority_fee.is_none_or(|tip| tip == 0)
    }
}

fn read(devnet: &Devnet, mut params: Params<'_>) -> Result<Call, Error> {
    let request: TransactionRequest = params.need("transaction")?;
    let id: Option<BlockId> = params.may("block")?;
    params.end()?;
    let block = at(devnet, id)?;
    Ok(Call { tx: call_env(request, &block)?, block })
}

/// The EVM at the block a call names, and the call.
fn prepare(devnet: &Devnet, call: Call) -> (Executor, TxEnv) {
    let free = call.tx.gas_price == 0;
    let Call { tx, block } = call;
    let (view, chain_id) = {
        let chain = devnet.chain();
        (chain.view(block.state.clone(), block.number()), chain.config.chain_id)
    };
    (Executor::for_calls(view, chain_id, &block.header, free), tx)
}

fn call_env(request: TransactionRequest, block: &Block) -> Result<TxEnv, Error> {
    if request.authorization_list.is_some() || request.blob_versioned_hashes.is_some() {
        return Err(Error::invalid("blobs and authorization lists are not part of this chain"));
    }
    if request.gas_price.is_some() && request.max_fee_per_gas.is_some() {
        return Err(Error::invalid("both gasPrice and maxFeePerGas specified, use one"));
    }
    let caller = request.from.unwrap_or_default();
    let gas_price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
    let value = request.value.unwrap_or_default();
    let mut gas_limit = request.gas.unwrap_or(u64::MAX).min(block.header.gas_limit);
    if gas_price > 0 && request.gas.is_none() {
        // Nobody can spend more gas than they can pay for.
        let affordable = block.state.balance(&caller).saturating_sub(value) / U256::from(gas_price);
        gas_limit = gas_limit.min(affordable.saturating_to());
    }
    let data = request.input.try_into_unique_input();
    let data = data.map_err(|_| Error::invalid("input and data differ, use one of them"))?;
    let dynamic = request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
    Ok(TxEnv {
        tx_type: if dynamic { 2 } else { u8::from(request.access_list.is_some()) },
        caller,
        gas_limit,
        gas_price,
        kind: request.to.unwrap_or(TxKind::Create),
        value,
        data: data.unwrap_or_default(),
        nonce: request.nonce.unwrap_or_else(|| block.state.nonce(&caller)),
        chain_id: request.chain_id,
        access_list: request.access_list.unwrap_or_default(),
        gas_priority_fee: dynamic.then(|| request.max_priority_fee_per_gas.unwrap_or_default()),
        ..TxEnv::default()
    })
}

fn is_precompile(address: &alloy::primitives::Address) -> bool {
    U256::from_be_slice(address.as_slice()) <= U256::from(LAST_PRECOMPILE)
}

/// Gas of a transfer to an account without code.
const PLAIN_TRANSFER: u64 = 21_000;

/// Cancun's precompiles are the addresses 1 to 10.
const LAST_PRECOMPILE: u64 = 10;
