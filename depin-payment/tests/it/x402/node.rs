//! A node between a chain handle and the embedded chain, which at times is silent or does not tell all.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::post};
use depin_devnet::{Devnet, HttpServer};
use depin_evm::{
    Chain,
    alloy::providers::{Provider, ProviderBuilder},
};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Honest,
    /// Answers nothing.
    Silent,
    /// Knows of no logs, as a node that lags behind the others.
    Forgetful,
    /// Has forgotten all receipts and transactions, and what states were before.
    Pruned,
}

pub(super) struct Node {
    url: String,
    mood: Arc<Mutex<Mood>>,
    server: tokio::task::JoinHandle<()>,
    _chain: HttpServer,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Node {
    pub(super) async fn start(devnet: &Devnet) -> Self {
        let chain = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (url, mood) = (chain.url(), Arc::new(Mutex::new(Mood::Honest)));
        let (client, feels) = (reqwest::Client::new(), Arc::clone(&mood));
        let answer = move |Json(request): Json<Value>| {
            let mood = *feels.lock().unwrap();
            let passed = client.post(&url).json(&request).send();
            async move {
                match mood {
                    Mood::Silent => std::future::pending().await,
                    Mood::Forgetful if request["method"] == "eth_getLogs" => {
                        Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": [] }))
                    }
                    Mood::Pruned if PRUNED.iter().any(|method| request["method"] == *method) => {
                        Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": null }))
                    }
                    Mood::Pruned if is_of_old(&request) => {
                        let error = json!({ "code": -32000, "message": "missing trie node" });
                        Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }))
                    }
                    _ => Json(passed.await.unwrap().json().await.unwrap()),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/", post(answer));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, mood, server, _chain: chain }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// A handle that knows the chain by this node.
    pub(super) async fn chain(&self, devnet: &Devnet, account: u16) -> Chain {
        let provider = ProviderBuilder::default().connect_http(self.url.parse().unwrap()).erased();
        let chain = Chain::from_provider(provider, devnet.account(account));
        chain.poll_interval(std::time::Duration::from_millis(5)).connect().await.unwrap()
    }

    /// The same, which does not wait for long.
    pub(super) async fn hasty(&self, devnet: &Devnet, account: u16) -> Chain {
        let provider = ProviderBuilder::default().connect_http(self.url.parse().unwrap()).erased();
        let chain = Chain::from_provider(provider, devnet.account(account));
        let chain = chain.poll_interval(std::time::Duration::from_millis(1));
        chain.timeout(std::time::Duration::from_secs(2)).connect().await.unwrap()
    }
}

/// Whether it is asked for a count at a block.
fn is_of_old(request: &Value) -> bool {
    let at = request["params"][1].as_str().unwrap_or_default();
    request["method"] == "eth_getTransactionCount" && at.starts_with("0x")
}

const PRUNED: [&str; 2] = ["eth_getTransactionReceipt", "eth_getTransactionByHash"];
