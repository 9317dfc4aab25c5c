//! Blocks: made from a parent and transactions, sealed with real roots and hashes.

use std::{collections::HashSet, sync::Arc};

use alloy::{
    consensus::{
        Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealable, Sealed,
        Transaction, TxEnvelope,
        constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS},
        proofs::{calculate_receipt_root, calculate_transaction_root},
        transaction::Recovered,
    },
    eips::{eip1559::BaseFeeParams, eip2718::Encodable2718},
    primitives::{Address, B256, Bloom, Bytes, U256, keccak256},
    rlp::Encodable,
};
use revm::context::result::ExecutionResult;

use crate::{
    error::Error,
    execute::Executor,
    state::{State, View},
};

/// A transaction with its sender, shared between pool, blocks and answers.
pub(crate) type Tx = Arc<Recovered<TxEnvelope>>;

/// A sealed block and the state after it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Sealed<Header>,
    pub(crate) txs: Vec<Tx>,
    pub(crate) receipts: Vec<ReceiptEnvelope>,
    pub(crate) state: State,
}

/// A block just made, with the pooled transactions that can never run.
pub(crate) struct Built {
    pub(crate) block: Block,
    pub(crate) dropped: Vec<(B256, Error)>,
}

impl Block {
    /// Block zero over a prepared state.
    pub(crate) fn genesis(state: State, timestamp: u64, gas_limit: u64) -> Self {
        let header =
            Header { timestamp, gas_limit, base_fee_per_gas: Some(INITIAL_BASE_FEE), ..template() };
        Self::seal(header, Vec::new(), Vec::new(), state)
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn hash(&self) -> B256 {
        self.header.hash()
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    /// Header of a child, not yet sealed.
    pub(crate) fn next_header(&self, timestamp: u64, fork: u64) -> Header {
        let number = self.number().saturating_add(1);
        Header {
            parent_hash: self.hash(),
            number,
            timestamp,
            gas_limit: self.header.gas_limit,
            base_fee_per_gas: Some(self.next_base_fee()),
            // Not random, so that the same history has the same hashes.
            mix_hash: keccak256(number.to_be_bytes()),
            // Tells blocks apart that a reorg put at the same height with the same content.
            extra_data: if fork == 0 { Bytes::new() } else { fork.to_be_bytes().into() },
            ..template()
        }
    }

    /// Gas that transaction `index` used alone.
    pub(crate) fn gas_used(&self, index: usize) -> u64 {
        let total = |i: usize| self.receipts.get(i).map_or(0, |r| r.cumulative_gas_used());
        total(index).saturating_sub(index.checked_sub(1).map_or(0, total))
    }

    /// Number of logs in the block before transaction `index`.
    pub(crate) fn logs_before(&self, index: usize) -> usize {
        self.receipts.iter().take(index).map(|receipt| receipt.logs().len()).sum()
    }

    /// Length of the block's RLP in bytes.
    pub(crate) fn size(&self) -> usize {
        let list =
            |payload| alloy::rlp::Header { list: true, payload_length: payload }.length() + payload;
        let txs = self.txs.iter().map(|tx| tx.network_len()).sum();
        // Two more bytes: the empty lists of ommers and of withdrawals.
        list(self.header.length() + list(txs) + 2)
    }

    /// An empty block that nobody will see: its roots and its hash stay zero.
    pub(crate) fn unsealed(header: Header, state: State) -> Self {
        let header = Sealed::new_unchecked(header, B256::ZERO);
        Self { header, txs: Vec::new(), receipts: Vec::new(), state }
    }

    /// Base fee of a child.
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default()
    }

    /// Fills in what a header says about its content.
    pub(crate) fn seal(
        mut header: Header,
        txs: Vec<Tx>,
        receipts: Vec<ReceiptEnvelope>,
        state: State,
    ) -> Self {
        let plain: Vec<&TxEnvelope> = txs.iter().map(|tx| tx.inner()).collect();
        header.state_root = state.0.root();
        header.transactions_root = calculate_transaction_root(&plain);
        header.receipts_root = calculate_receipt_root(&receipts);
        header.logs_bloom = receipts.iter().fold(Bloom::ZERO, |all, one| all | *one.logs_bloom());
        header.gas_used = receipts.last().map_or(0, ReceiptEnvelope::cumulative_gas_used);
        Self { header: header.seal_slow(), txs, receipts, state }
    }
}

/// Runs the candidates in order on top of `view` and seals what fits.
pub(crate) fn build(view: View, chain_id: u64, header: Header, candidates: Vec<Tx>) -> Built {
    let mut executor = Executor::new(view, chain_id, &header);
    let (mut txs, mut receipts, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    let mut gas_used = 0_u64;
    let mut stopped: HashSet<Address> = HashSet::new();
    for tx in candidates {
        if stopped.contains(&tx.signer()) {
            continue;
        }
        if gas_used.saturating_add(tx.gas_limit()) > header.gas_limit {
            stopped.insert(tx.signer());
            continue;
        }
        match executor.apply(&tx) {
            Ok(result) => {
                gas_used = gas_used.saturating_add(result.tx_gas_used());
                receipts.push(receipt(&tx, result, gas_used));
                txs.push(tx);
            }
            Err(reason) => {
                stopped.insert(tx.signer());
                dropped.push((*tx.tx_hash(), reason));
            }
        }
    }
    let state = executor.into_view().state;
    Built { block: Block::seal(header, txs, receipts, state), dropped }
}

fn receipt(tx: &Recovered<TxEnvelope>, result: ExecutionResult, gas: u64) -> ReceiptEnvelope {
    let status = Eip658Value::Eip658(result.is_success());
    let logs = if result.is_success() { result.into_logs() } else { Vec::new() };
    let receipt = Receipt { status, cumulative_gas_used: gas, logs };
    ReceiptEnvelope::from_typed(tx.tx_type(), ReceiptWithBloom::from(receipt))
}

/// What every header here has in common: a Cancun block of a chain without a beacon chain.
fn template() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        difficulty: U256::ZERO,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        ..Header::default()
    }
}

/// Base fee of block zero: 1 gwei.
const INITIAL_BASE_FEE: u64 = 1_000_000_000;
