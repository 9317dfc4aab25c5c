//! The same chain over HTTP.

use alloy::{
    network::EthereumWallet,
    primitives::U256,
    providers::{Provider, ProviderBuilder},
};
use depin_devnet::Devnet;
use serde_json::{Value, json};

use crate::common::{FRIEND, transfer};

async fn post(url: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let sent =
        reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
    let answer = sent.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn alloy_works_over_http_as_in_process() {
    let devnet = Devnet::start();
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(devnet.account(0)))
        .connect_http(server.url().parse().unwrap());
    let sent = provider.send_transaction(transfer(6)).await.unwrap();
    assert!(sent.get_receipt().await.unwrap().status());
    assert_eq!(devnet.provider().get_balance(FRIEND).await.unwrap(), U256::from(6));
    server.shutdown().await;
}

#[tokio::test]
async fn bodies_follow_json_rpc() {
    let server = Devnet::start().serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = server.url();
    let ask = async |body: &str| -> Value {
        let (status, text) = post(&url, body.to_owned()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let chain_id = r#"{"jsonrpc":"2.0","id":"a","method":"eth_chainId"}"#;
    assert_eq!(ask(chain_id).await, json!({"jsonrpc": "2.0", "id": "a", "result": "0x7a69"}));
    let batch = ask(&format!(r#"[{chain_id},{{"jsonrpc":"2.0","id":2,"method":"nope"}},7]"#)).await;
    assert_eq!(batch[0]["result"], "0x7a69");
    assert_eq!((&batch[1]["id"], &batch[1]["error"]["code"]), (&json!(2), &json!(-32601)));
    assert_eq!(batch[2]["error"]["code"], -32600);
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("[]", -32600),
        ("7", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":7}"#, -32602),
    ] {
        assert_eq!(ask(body).await["error"]["code"], code, "{body}");
    }
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(ask(&deep).await.to_string().contains("error"));
    let many = vec![chain_id; 1_001].join(",");
    assert_eq!(ask(&format!("[{many}]")).await["error"]["code"], -32600);
}

#[tokio::test]
async fn notifications_get_no_answer() {
    let server = Devnet::start().serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (status, text) = post(&server.url(), r#"{"jsonrpc":"2.0","method":"evm_mine"}"#).await;
    assert_eq!((status, text.as_str()), (204, ""));
}

#[tokio::test]
async fn large_bodies_and_other_verbs_are_refused() {
    let server = Devnet::start().serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = server.url();
    assert_eq!(reqwest::get(&url).await.unwrap().status().as_u16(), 405);
    let client = reqwest::Client::new();
    let options = client.request(reqwest::Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(options.headers()["access-control-allow-origin"], "*");
    assert_eq!(post(&url, vec![b' '; 2 * 1024 * 1024 + 1]).await.0, 413);
}

#[tokio::test]
async fn many_clients_are_served_at_once() {
    let devnet = Devnet::start();
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mine = r#"{"jsonrpc":"2.0","id":1,"method":"evm_mine"}"#;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let url = server.url();
            tokio::spawn(async move { post(&url, mine).await.0 })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(devnet.block_number(), 100);
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let devnet = Devnet::start();
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let taken = devnet.serve(address).await.unwrap_err();
    assert_eq!(taken.kind(), depin_devnet::ErrorKind::Io);
    server.shutdown().await;
    devnet.serve(address).await.unwrap().shutdown().await;
}
