//! Against the reference implementation, on anvil: our client buys from its server, its client buys from ours.
//!
//! Needs `DEPIN_ANVIL`, an anvil program, and `DEPIN_X402`, a folder with the packages of `tests/x402/package.json`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use depin_core::SystemClock;
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{
        primitives::hex,
        providers::{Provider, ProviderBuilder},
    },
};
use depin_payment::x402::{PayingClient, Till, TillOptions};
use rand::thread_rng;

use super::{PAYEE, Town, http::Shop, payer, payers, purse, settle, units};

/// A program that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    /// The URL that a server prints when it is ready; whoever reads goes on, or the server stops.
    fn url(&mut self) -> String {
        let mut lines = BufReader::new(self.stdout()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| {
            let address = line.strip_prefix("Listening on ")?;
            let address = address.strip_prefix("http://").unwrap_or(address);
            Some(format!("http://{address}"))
        });
        std::thread::spawn(move || lines.count());
        url.expect("the server starts")
    }

    fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: {variable} names nothing");
    }
    path
}

/// Starts a script of `tests/x402` where the packages are.
fn node(folder: &PathBuf, script: &str, environment: &[(&str, String)]) -> Peer {
    let mut command = Command::new("node");
    command.args(["--input-type=module", "-"]).current_dir(folder);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    Peer(process)
}

/// Anvil with a token, and the packages.
async fn town() -> Option<(Peer, String, Chain, depin_core::Address, PathBuf)> {
    let (program, folder) = (named("DEPIN_ANVIL")?, named("DEPIN_X402")?);
    let anvil = Command::new(program).args(["--port", "0"]).stdout(Stdio::piped()).spawn();
    let mut anvil = Peer(anvil.unwrap());
    let url = anvil.url();
    let provider = ProviderBuilder::default().connect_http(url.parse().unwrap()).erased();
    let (chain, token) = settle(provider, Devnet::start().account(0), &payers()).await;
    Some((anvil, url, chain, token, folder))
}

async fn balance(chain: &Chain, token: depin_core::Address) -> u64 {
    Town::balance_on(chain, token, PAYEE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_buys_from_the_reference_server() {
    let Some((_anvil, rpc, chain, token, folder)) = town().await else { return };
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), TillOptions::default());
    let domain = till.await.unwrap().terms(units(10)).domain;
    let gas = Devnet::start().account(2);
    let mut server = node(
        &folder,
        include_str!("../../x402/server.mjs"),
        &[
            ("RPC", rpc),
            ("TOKEN", token.to_string()),
            ("TOKEN_NAME", domain.name),
            ("PAY_TO", PAYEE.to_string()),
            ("KEY", format!("0x{}", hex::encode(gas.to_bytes()))),
            ("AMOUNT", "10".into()),
        ],
    );
    let url = format!("{}/reading", server.url());
    let client = PayingClient::new(purse(&chain, token)).unwrap();
    let request = ::http::Request::get(&url).body(Vec::new()).unwrap();
    let paid = client.send(request, &mut thread_rng()).await.unwrap();
    assert_eq!(paid.response.body(), br#"{"celsius":21.5}"#);
    let settlement = paid.settlement.unwrap();
    assert!(settlement.success, "{settlement:?}");
    assert_eq!(settlement.network, format!("eip155:{}", chain.id().value()));
    assert_eq!(balance(&chain, token).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_client_buys_from_our_server() {
    let Some((_anvil, _, chain, token, folder)) = town().await else { return };
    let options = TillOptions::default().pay_to(PAYEE);
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await.unwrap();
    let shop = Shop::open(&till).await;
    let run = move |path: &str| {
        let environment =
            [("URL", format!("{}{path}", shop.url)), ("KEY", format!("0x{}", "01".repeat(32)))];
        let mut client = node(&folder, include_str!("../../x402/client.mjs"), &environment);
        let mut said = String::new();
        client.stdout().read_to_string(&mut said).unwrap();
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let run = tokio::task::spawn_blocking(move || (run("/reading"), run("/free"), run("/broken")));
    let (paid, free, broken) = run.await.unwrap();
    assert_eq!((&paid["status"], &paid["body"]), (&200.into(), &"0".into()), "{paid}");
    assert_eq!(paid["settlement"]["success"], true);
    assert_eq!(paid["settlement"]["payer"], super::account_of(&payer()).to_string());
    assert_eq!((&free["status"], &free["settlement"]), (&200.into(), &serde_json::Value::Null));
    assert_eq!(broken["status"], 500);
    assert_eq!(balance(&chain, token).await, 10);
}
