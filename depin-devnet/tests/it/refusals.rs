//! Bad input gets an error with a code and a reason, never a panic.

use alloy::{
    consensus::{SignableTransaction, TxLegacy},
    eips::Encodable2718,
    primitives::{Address, Signature, TxKind, U256, hex},
    signers::SignerSync,
};
use depin_devnet::Devnet;
use serde_json::json;

use crate::common::{FRIEND, ask, filled, sign};

#[tokio::test]
async fn unknown_methods_do_not_exist() {
    let devnet = Devnet::start();
    for method in
        ["eth_sendTransaction", "eth_sign", "debug_traceTransaction", "", "eth_GetLogs", "💥"]
    {
        let (code, text) = ask(&devnet, method, json!([])).await.unwrap_err();
        assert_eq!(code, -32601);
        assert!(text.contains("does not exist"), "{text}");
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let devnet = Devnet::start();
    let call = json!({"to": FRIEND});
    for (method, params) in [
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!(["0x12", "latest"])),
        ("eth_getBalance", json!([FRIEND, "newest"])),
        ("eth_getBalance", json!([FRIEND, "latest", 1])),
        ("eth_getBalance", json!({"address": FRIEND})),
        ("eth_chainId", json!([1])),
        ("eth_call", json!([call, "latest", {FRIEND.to_string(): {"balance": "0x1"}}])),
        ("eth_call", json!([{"to": FRIEND, "data": "0x01", "input": "0x02"}])),
        ("eth_call", json!([{"to": FRIEND, "gasPrice": "0x1", "maxFeePerGas": "0x1"}])),
        ("eth_call", json!([{"to": FRIEND, "authorizationList": []}])),
        ("eth_getBlockByNumber", json!(["0xzz", false])),
        ("eth_getBlockByHash", json!(["0x00", false])),
        ("eth_feeHistory", json!(["0x1", "latest", [50.0, 10.0]])),
        ("eth_feeHistory", json!(["0x1", "latest", [101.0]])),
        ("eth_sendRawTransaction", json!(["0x"])),
        ("eth_sendRawTransaction", json!(["0xc0"])),
        ("eth_sendRawTransaction", json!(["no hex"])),
        ("eth_getProof", json!([FRIEND, "latest"])),
        ("evm_mine", json!([{"blocks": 1_000_000_000}])),
        ("evm_increaseTime", json!([u64::MAX])),
        ("evm_setNextBlockTimestamp", json!([1])),
        ("evm_revert", json!(["one"])),
        ("anvil_reorg", json!([5, []])),
        ("anvil_reorg", json!([0, [["0x", 1]]])),
    ] {
        let (code, text) = ask(&devnet, method, params.clone()).await.unwrap_err();
        assert_eq!(code, -32602, "{method} {params}: {text}");
    }
}

#[tokio::test]
async fn unknown_blocks_are_missing() {
    let devnet = Devnet::start();
    for (method, params) in [
        ("eth_getBalance", json!([FRIEND, "0x9"])),
        ("eth_call", json!([{"to": FRIEND}, "0x9"])),
        ("eth_feeHistory", json!(["0x1", "0x9", []])),
        ("eth_getProof", json!([FRIEND, [], "0x9"])),
    ] {
        assert_eq!(ask(&devnet, method, params).await.unwrap_err().0, -32001, "{method}");
    }
}

#[tokio::test]
async fn transactions_are_refused_with_the_texts_nodes_use() {
    let devnet = Devnet::start();
    let poor = devnet.account(50);
    let refused = async |signer, tx| {
        let raw = sign(signer, tx).await;
        let error = ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap_err();
        assert_eq!(error.0, -32000, "{error:?}");
        error.1
    };
    let rich = || devnet.account(0);
    let mut wrong_chain = filled(0);
    wrong_chain.chain_id = Some(1);
    let dear_tip = filled(0).max_priority_fee_per_gas(6_000_000_000);
    let cheap = filled(0).max_fee_per_gas(800_000_000).max_priority_fee_per_gas(0);
    for (tx, text) in [
        (wrong_chain, "invalid chain id for signer: have 1 want 31337"),
        (filled(0).gas_limit(30_000_001), "exceeds block gas limit"),
        (filled(0).gas_limit(20_999), "intrinsic gas too low: gas 20999, minimum needed 21000"),
        (dear_tip, "max priority fee per gas higher than max fee per gas"),
        (cheap, "transaction underpriced: max fee per gas less than block base fee"),
        (filled(u64::MAX), "nonce has max value"),
        (filled(0).value(U256::MAX), "insufficient funds for gas * price + value"),
        (filled(0).input(vec![1; 131_072].into()).gas_limit(3_000_000), "oversized data"),
    ] {
        let refusal = refused(rich(), tx).await;
        assert!(refusal.contains(text), "{refusal}");
    }
    assert!(refused(poor, filled(0)).await.contains("insufficient funds"));
    let raw = sign(rich(), filled(0)).await;
    ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap();
    assert!(
        refused(rich(), filled(0).value(U256::from(8)))
            .await
            .contains("nonce too low: next nonce 1, tx nonce 0")
    );
    assert_eq!(refused(rich(), filled(0)).await, "already known");
    assert_eq!(devnet.block_number(), 1);
}

#[tokio::test]
async fn a_signature_with_a_high_s_is_refused() {
    let devnet = Devnet::start();
    let tx = TxLegacy {
        chain_id: Some(31_337),
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(Address::ZERO),
        ..TxLegacy::default()
    };
    let good = devnet.account(0).sign_hash_sync(&tx.signature_hash()).unwrap();
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    );
    let twin = Signature::new(good.r(), order.unwrap() - good.s(), !good.v());
    let raw = hex::encode_prefixed(tx.into_signed(twin).encoded_2718());
    let refused = ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap_err();
    assert!(refused.1.contains("invalid sender"), "{refused:?}");
}

#[tokio::test]
async fn blob_and_delegation_transactions_are_not_part_of_the_chain() {
    let devnet = Devnet::start();
    for first in ["0x03", "0x04", "0x05"] {
        let refused = ask(&devnet, "eth_sendRawTransaction", json!([format!("{first}c0")])).await;
        assert_eq!(refused.unwrap_err().0, -32602);
    }
}

#[tokio::test]
async fn a_signed_transaction_cut_anywhere_is_refused() {
    let devnet = Devnet::start();
    let raw = sign(devnet.account(0), filled(0)).await;
    for length in 0..raw.len() {
        let cut = hex::encode_prefixed(&raw[..length]);
        assert!(ask(&devnet, "eth_sendRawTransaction", json!([cut])).await.is_err());
    }
    let longer = hex::encode_prefixed([raw.as_ref(), &[0]].concat());
    assert!(ask(&devnet, "eth_sendRawTransaction", json!([longer])).await.is_err());
    assert_eq!(devnet.block_number(), 0);
}

#[tokio::test]
async fn calls_need_the_value_they_send_but_no_fees() {
    let devnet = Devnet::start();
    let poor = devnet.account(50).address();
    let call = |value: &str| json!([{"from": poor, "to": FRIEND, "value": value}]);
    ask(&devnet, "eth_call", call("0x0")).await.unwrap();
    assert!(
        ask(&devnet, "eth_call", call("0x1")).await.unwrap_err().1.contains("insufficient funds")
    );
    assert!(ask(&devnet, "eth_estimateGas", call("0x1")).await.is_err());
}

#[tokio::test]
async fn snapshots_are_limited() {
    let devnet = Devnet::start();
    for _ in 0..1_024 {
        devnet.snapshot().unwrap();
    }
    assert!(devnet.snapshot().unwrap_err().is_retryable());
}
