//! Blocks, transactions and receipts.

use std::sync::Arc;

use alloy::{
    consensus::{
        Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, transaction::TransactionInfo,
    },
    eips::{BlockId, BlockNumberOrTag, eip4895::Withdrawals},
    primitives::{B256, U64, U256},
    rpc::types::{Block as RpcBlock, BlockTransactions, Header, Transaction, TransactionReceipt},
};

use super::{Answer, json, params::Params, unknown_method};
use crate::{
    Devnet,
    block::{Block, Tx},
    devnet::unix_now,
    error::Error,
    logs::receipt_logs,
};

pub(super) fn answer(devnet: &Devnet, method: &str, mut params: Params<'_>) -> Answer {
    match method {
        "eth_blockNumber" => {
            params.end()?;
            json(U64::from(devnet.block_number()))
        }
        "eth_getBlockReceipts" => {
            let id: BlockId = params.need("block")?;
            params.end()?;
            let block = devnet.chain().find(id, unix_now());
            json(block.map(|block| {
                (0..block.txs.len()).filter_map(|i| receipt(&block, i)).collect::<Vec<_>>()
            }))
        }
        "eth_getTransactionReceipt" => {
            let mined = mined(devnet, &mut params)?;
            params.end()?;
            json(mined.and_then(|(block, index)| receipt(&block, index)))
        }
        "eth_getTransactionByHash" => transaction(devnet, params),
        _ => about_block(devnet, method, params),
    }
}

/// Methods whose first parameter is a block's hash or number.
fn about_block(devnet: &Devnet, method: &str, mut params: Params<'_>) -> Answer {
    match method {
        "eth_getBlockByHash" | "eth_getBlockByNumber" => {
            let block = block(devnet, &mut params, method)?;
            let full: bool = params.may("full")?.unwrap_or_default();
            params.end()?;
            json(block.map(|block| rpc_block(&block, full)))
        }
        "eth_getBlockTransactionCountByHash" | "eth_getBlockTransactionCountByNumber" => {
            let block = block(devnet, &mut params, method)?;
            params.end()?;
            json(block.map(|block| U64::from(block.txs.len())))
        }
        "eth_getUncleCountByBlockHash" | "eth_getUncleCountByBlockNumber" => {
            let block = block(devnet, &mut params, method)?;
            params.end()?;
            json(block.map(|_| U64::ZERO))
        }
        "eth_getTransactionByBlockHashAndIndex" | "eth_getTransactionByBlockNumberAndIndex" => {
            let block = block(devnet, &mut params, method)?;
            let index: U64 = params.need("index")?;
            params.end()?;
            let index = usize::try_from(index.to::<u64>()).unwrap_or(usize::MAX);
            json(block.and_then(|block| Some(rpc_tx(&block, index, block.txs.get(index)?))))
        }
        _ => Err(unknown_method(method)),
    }
}

fn transaction(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let hash: B256 = params.need("hash")?;
    params.end()?;
    let chain = devnet.chain();
    if let Some((block, index)) = chain.mined(&hash) {
        return json(block.txs.get(index).map(|tx| rpc_tx(block, index, tx)));
    }
    json(
        chain.pool.by_hash(&hash).map(|tx| {
            Transaction::from_transaction(tx.as_ref().clone(), TransactionInfo::default())
        }),
    )
}

/// The JSON receipt of a mined transaction.
pub(super) fn receipt_answer(block: &Block, index: usize) -> Answer {
    json(receipt(block, index))
}

/// The block a `...ByHash` or `...ByNumber` method names first.
fn block(
    devnet: &Devnet,
    params: &mut Params<'_>,
    method: &str,
) -> Result<Option<Arc<Block>>, Error> {
    let id = if method.contains("Hash") {
        BlockId::from(params.need::<B256>("blockHash")?)
    } else {
        BlockId::from(params.need::<BlockNumberOrTag>("block")?)
    };
    Ok(devnet.chain().find(id, unix_now()))
}

fn mined(devnet: &Devnet, params: &mut Params<'_>) -> Result<Option<(Arc<Block>, usize)>, Error> {
    let hash: B256 = params.need("hash")?;
    Ok(devnet.chain().mined(&hash).map(|(block, index)| (Arc::clone(block), index)))
}

fn rpc_block(block: &Block, full: bool) -> RpcBlock {
    let transactions = if full {
        let txs = block.txs.iter().enumerate();
        BlockTransactions::Full(txs.map(|(index, tx)| rpc_tx(block, index, tx)).collect())
    } else {
        BlockTransactions::Hashes(block.txs.iter().map(|tx| *tx.tx_hash()).collect())
    };
    let header = Header {
        hash: block.hash(),
        inner: block.header.inner().clone(),
        total_difficulty: Some(U256::ZERO),
        size: Some(U256::from(block.size())),
    };
    RpcBlock { header, uncles: Vec::new(), transactions, withdrawals: Some(Withdrawals::default()) }
}

fn rpc_tx(block: &Block, index: usize, tx: &Tx) -> Transaction {
    let place = TransactionInfo {
        hash: Some(*tx.tx_hash()),
        index: Some(index as u64),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        base_fee: Some(block.base_fee()),
        block_timestamp: Some(block.header.timestamp),
    };
    Transaction::from_transaction(tx.as_ref().clone(), place)
}

fn receipt(block: &Block, index: usize) -> Option<TransactionReceipt> {
    let (tx, receipt) = (block.txs.get(index)?, block.receipts.get(index)?);
    let inner = ReceiptWithBloom {
        receipt: Receipt {
            status: receipt.status().into(),
            cumulative_gas_used: receipt.cumulative_gas_used(),
            logs: receipt_logs(block, index, false).collect(),
        },
        logs_bloom: *receipt.logs_bloom(),
    };
    Some(TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(receipt.tx_type(), inner),
        transaction_hash: *tx.tx_hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        gas_used: block.gas_used(index),
        effective_gas_price: tx.effective_gas_price(Some(block.base_fee())),
        blob_gas_used: None,
        blob_gas_price: None,
        from: tx.signer(),
        to: tx.to(),
        contract_address: tx.is_create().then(|| tx.signer().create(tx.nonce())),
    })
}
