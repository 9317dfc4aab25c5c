//! Every method answers, in the form clients expect.

use alloy::{
    consensus::Transaction,
    eips::BlockNumberOrTag,
    primitives::{B256, U256},
    providers::Provider,
};
use depin_devnet::Devnet;
use serde_json::json;

use crate::common::{FRIEND, ask, filled, repeatable, send, sign, transfer};

#[tokio::test]
async fn simple_questions_have_simple_answers() {
    let devnet = repeatable();
    send(&devnet.provider(), transfer(3)).await;
    let sender = devnet.account(0).address();
    for (method, params, expected) in [
        (
            "web3_clientVersion",
            json!([]),
            json!(concat!("depin-devnet/v", env!("CARGO_PKG_VERSION"), "/cancun")),
        ),
        (
            "web3_sha3",
            json!(["0x"]),
            json!("0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        ),
        ("net_version", json!([]), json!("31337")),
        ("net_listening", json!([]), json!(true)),
        ("eth_chainId", json!([]), json!("0x7a69")),
        ("eth_blockNumber", json!([]), json!("0x1")),
        ("eth_syncing", json!([]), json!(false)),
        ("eth_gasPrice", json!([]), json!("0x693fa2cd")),
        ("eth_maxPriorityFeePerGas", json!([]), json!("0x3b9aca00")),
        ("eth_blobBaseFee", json!([]), json!("0x1")),
        ("eth_getBalance", json!([FRIEND, "latest"]), json!("0x3")),
        ("eth_getBalance", json!([FRIEND, "0x0"]), json!("0x0")),
        ("eth_getBalance", json!([FRIEND]), json!("0x3")),
        ("eth_getCode", json!([FRIEND, "latest"]), json!("0x")),
        ("eth_getStorageAt", json!([FRIEND, "0x0", "latest"]), json!(B256::ZERO)),
        ("eth_getTransactionCount", json!([sender, "latest"]), json!("0x1")),
        ("eth_getTransactionCount", json!([sender, "earliest"]), json!("0x0")),
        ("eth_call", json!([{"to": FRIEND}, "latest"]), json!("0x")),
        (
            "eth_estimateGas",
            json!([{"to": FRIEND, "value": "0x1", "from": sender}]),
            json!("0x5208"),
        ),
        ("eth_getBlockTransactionCountByNumber", json!(["latest"]), json!("0x1")),
        ("eth_getBlockTransactionCountByNumber", json!(["0x9"]), json!(null)),
        ("eth_getUncleCountByBlockNumber", json!(["latest"]), json!("0x0")),
        ("eth_getTransactionReceipt", json!([B256::ZERO]), json!(null)),
        ("eth_getBlockReceipts", json!(["0x7"]), json!(null)),
    ] {
        assert_eq!(ask(&devnet, method, params.clone()).await, Ok(expected), "{method} {params}");
    }
}

#[tokio::test]
async fn a_mined_transaction_is_found_in_every_way() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    let receipt = send(&provider, transfer(3)).await;
    let hash = receipt.transaction_hash;
    let block_hash = receipt.block_hash.unwrap();
    let by_hash = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!(by_hash.inner.signer(), devnet.account(0).address());
    assert_eq!((by_hash.block_number, by_hash.transaction_index), (Some(1), Some(0)));
    let same = provider.get_transaction_by_block_hash_and_index(block_hash, 0).await.unwrap();
    assert_eq!(same.as_ref(), Some(&by_hash));
    let number = BlockNumberOrTag::Latest;
    let same = provider.get_transaction_by_block_number_and_index(number, 0).await.unwrap();
    assert_eq!(same.as_ref(), Some(&by_hash));
    assert!(provider.get_transaction_by_block_number_and_index(number, 1).await.unwrap().is_none());
    let receipts = provider.get_block_receipts(block_hash.into()).await.unwrap().unwrap();
    assert_eq!(receipts, vec![receipt.clone()]);
    assert_eq!(receipt.effective_gas_price, by_hash.effective_gas_price.unwrap());
    let counted = ask(&devnet, "eth_getBlockTransactionCountByHash", json!([block_hash])).await;
    assert_eq!(counted.unwrap(), "0x1");
    let uncles = ask(&devnet, "eth_getUncleCountByBlockHash", json!([block_hash])).await;
    assert_eq!(uncles.unwrap(), "0x0");
}

#[tokio::test]
async fn blocks_come_with_hashes_or_whole_transactions() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    let receipt = send(&provider, transfer(3)).await;
    let brief = provider.get_block_by_hash(receipt.block_hash.unwrap()).await.unwrap().unwrap();
    assert_eq!(brief.transactions.as_hashes().unwrap(), [receipt.transaction_hash]);
    let full = provider.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    let tx = &full.transactions.as_transactions().unwrap()[0];
    assert_eq!((tx.value(), tx.inner.tx_hash()), (U256::from(3), &receipt.transaction_hash));
    // Decoding the block again from its parts gives the size it claims.
    let size = alloy::rlp::encode(
        full.clone()
            .map_header(|header| header.inner)
            .into_consensus_block()
            .map_transactions(|tx| tx.into_inner()),
    )
    .len();
    assert_eq!(full.header.size, Some(U256::from(size)));
}

#[tokio::test]
async fn tags_name_blocks_by_depth() {
    let devnet = Devnet::start();
    devnet.mine(100);
    for (tag, number) in [
        (BlockNumberOrTag::Latest, 100),
        (BlockNumberOrTag::Earliest, 0),
        (BlockNumberOrTag::Safe, 68),
        (BlockNumberOrTag::Finalized, 36),
        (BlockNumberOrTag::Pending, 101),
    ] {
        let block = devnet.provider().get_block_by_number(tag).await.unwrap().unwrap();
        assert_eq!(block.header.number, number, "{tag}");
    }
    assert!(devnet.provider().get_block_by_number(101.into()).await.unwrap().is_none());
}

#[tokio::test]
async fn every_supported_transaction_type_is_mined() {
    let devnet = Devnet::start();
    let legacy = transfer(1).gas_limit(21_000).gas_price(3_000_000_000).nonce(0);
    let access: alloy::rpc::types::TransactionRequest =
        legacy.clone().nonce(1).gas_limit(30_000).access_list(Default::default());
    for (tx, ty) in [(legacy, 0), (access, 1), (filled(2), 2)] {
        let receipt = send(&devnet.provider(), tx).await;
        assert_eq!((receipt.status(), u8::from(receipt.transaction_type())), (true, ty));
    }
}

#[tokio::test]
async fn a_transaction_can_be_sent_and_answered_in_one_call() {
    let devnet = Devnet::start();
    let raw = sign(devnet.account(0), filled(0)).await;
    let receipt = ask(&devnet, "eth_sendRawTransactionSync", json!([raw])).await.unwrap();
    assert_eq!(receipt["status"], "0x1");
    devnet.set_automine(false);
    let raw = sign(devnet.account(0), filled(1)).await;
    let waiting = ask(&devnet, "eth_sendRawTransactionSync", json!([raw])).await.unwrap_err();
    assert!(waiting.1.contains("not mined yet"), "{waiting:?}");
}

#[tokio::test]
async fn fee_history_tells_base_fees_and_tips() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    for _ in 0..3 {
        send(&provider, transfer(1).max_fee_per_gas(9_000_000_000).max_priority_fee_per_gas(7))
            .await;
    }
    let history =
        provider.get_fee_history(2, BlockNumberOrTag::Latest, &[0.0, 50.0]).await.unwrap();
    assert_eq!((history.oldest_block, history.base_fee_per_gas.len()), (2, 3));
    assert_eq!(history.gas_used_ratio, [0.0007, 0.0007]);
    assert_eq!(history.reward, Some(vec![vec![7, 7]; 2]));
    let all = provider.get_fee_history(500, BlockNumberOrTag::Pending, &[]).await.unwrap();
    assert_eq!((all.oldest_block, all.base_fee_per_gas[0]), (0, 1_000_000_000));
}

#[tokio::test]
async fn the_chain_is_steered_over_json_rpc() {
    let devnet = Devnet::start();
    let snapshot = ask(&devnet, "evm_snapshot", json!([])).await.unwrap();
    for (method, params, answer) in [
        ("evm_setAutomine", json!([false]), json!(null)),
        ("evm_mine", json!([]), json!("0x0")),
        ("anvil_setBalance", json!([FRIEND, "0x5"]), json!(null)),
        ("anvil_setCode", json!([FRIEND, "0x60016000f3"]), json!(null)),
        ("eth_getCode", json!([FRIEND, "latest"]), json!("0x60016000f3")),
        ("anvil_setCode", json!([FRIEND, "0x"]), json!(null)),
        ("eth_getCode", json!([FRIEND, "latest"]), json!("0x")),
        ("anvil_mine", json!([]), json!(null)),
        ("anvil_reorg", json!([1, []]), json!(null)),
        ("anvil_dropTransaction", json!([B256::ZERO]), json!(null)),
        ("eth_getBalance", json!([FRIEND, "latest"]), json!("0x5")),
        ("evm_revert", json!([snapshot]), json!(true)),
        ("evm_revert", json!([snapshot]), json!(false)),
        ("eth_blockNumber", json!([]), json!("0x0")),
    ] {
        assert_eq!(ask(&devnet, method, params).await, Ok(answer), "{method}");
    }
    let accounts = ask(&devnet, "eth_accounts", json!([])).await.unwrap();
    assert_eq!(accounts[0], "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    assert_eq!(accounts[9], "0xa0ee7a142d267c1f36714e4a8f75612f20a79720");
}

#[tokio::test]
async fn accounts_beyond_the_well_known_are_funded_too() {
    let devnet = Devnet::builder().accounts(12).build();
    let provider = devnet.provider_with(devnet.account(11));
    assert!(send(&provider, transfer(1)).await.status());
    assert_eq!(devnet.addresses().len(), 12);
}
