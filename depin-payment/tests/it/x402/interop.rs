//! Against the reference implementation, on anvil: our client buys from its server, its client buys from ours.
//!
//! Needs `DEPIN_ANVIL`, an anvil program, and `DEPIN_X402`, a folder with the packages of `tests/x402/package.json`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use depin_core::{B256, SystemClock, U256};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{
        primitives::hex,
        providers::{Provider, ProviderBuilder},
        signers::local::PrivateKeySigner,
    },
};
use depin_payment::x402::{PayingClient, Till, TillOptions, Wallet, approve_permit2};
use depin_testkit::skip::skipped;
use rand::thread_rng;

use super::{
    PAYEE, Town,
    http::shop,
    meter::{meter, metering_purse},
    payer, payers, purse, settle, units,
};

/// A program that ends with the test.
pub(super) struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    /// Starts a program of which the output is read.
    pub(super) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// The URL that a server prints when it is ready; whoever reads goes on, or the server stops.
    pub(super) fn url(&mut self) -> String {
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

pub(super) fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        skipped(format_args!("{variable} names nothing"));
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
    let mut anvil = Peer::start(Command::new(program).args(["--port", "0"]));
    let url = anvil.url();
    let provider = ProviderBuilder::default().connect_http(url.parse().unwrap()).erased();
    let (chain, token) = settle(provider, Devnet::start().account(0), &payers()).await;
    Some((anvil, url, chain, token, folder))
}

async fn balance(chain: &Chain, token: depin_core::Address) -> u64 {
    Town::balance_on(chain, token, PAYEE).await
}

/// The reference server, which uses `used` of the 10 units that it asks for where it meters.
async fn their_server(
    rpc: String,
    chain: &Chain,
    token: depin_core::Address,
    folder: &PathBuf,
    used: &str,
) -> (Peer, String) {
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), TillOptions::in_memory());
    let domain = till.await.unwrap().terms(units(10)).domain;
    let gas = Devnet::start().account(2);
    let environment = [
        ("RPC", rpc),
        ("TOKEN", token.to_string()),
        ("TOKEN_NAME", domain.name),
        ("PAY_TO", PAYEE.to_string()),
        ("KEY", format!("0x{}", hex::encode(gas.to_bytes()))),
        ("AMOUNT", "10".into()),
        ("USED", used.into()),
    ];
    let mut server = node(folder, include_str!("../../x402/server.mjs"), &environment);
    let url = server.url();
    (server, url)
}

/// Buys one answer with the reference client.
async fn their_client(folder: &PathBuf, url: String) -> serde_json::Value {
    let environment = [("URL", url), ("KEY", format!("0x{}", "01".repeat(32)))];
    let mut client = node(folder, include_str!("../../x402/client.mjs"), &environment);
    let said = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        client.stdout().read_to_string(&mut said).unwrap();
        said
    });
    serde_json::from_str(&said.await.unwrap()).unwrap()
}

/// Lets the payer's money be moved for up to so much, on an anvil with what that needs.
async fn permit(chain: &Chain, token: depin_core::Address) -> Option<Chain> {
    super::permit2::set_up(chain.provider()).await?;
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
    let gas = U256::from(10).pow(U256::from(18));
    let set: Result<(), _> =
        chain.provider().raw_request("anvil_setBalance".into(), (key.address(), gas)).await;
    set.unwrap();
    let payer = Chain::from_provider(chain.provider().clone(), key);
    let payer = payer.poll_interval(Duration::from_millis(20)).connect().await.unwrap();
    approve_permit2(&payer, token, depin_core::Amount::MAX).await.unwrap();
    Some(payer)
}

/// Mines what a purse of these tests waits for.
async fn bury(chain: &Chain) {
    let mined: Result<(), _> = chain.provider().raw_request("anvil_mine".into(), (3_u64,)).await;
    mined.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anvil_takes_back_was_not_given_back_to_the_purse() {
    let Some(program) = named("DEPIN_ANVIL") else { return };
    let mut anvil = Peer::start(Command::new(program).args(["--port", "0"]));
    let provider = ProviderBuilder::default().connect_http(anvil.url().parse().unwrap()).erased();
    let (chain, token) = settle(provider, Devnet::start().account(0), &payers()).await;
    permit(&chain, token).await.unwrap();
    bury(&chain).await;
    let options = TillOptions::in_memory().pay_to(PAYEE);
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await.unwrap();
    let (meter, purse) = (meter(&till).await, metering_purse(&chain, token));
    let client = PayingClient::new(purse.clone()).unwrap();
    client.send(meter.get("/use/7"), &mut thread_rng()).await.unwrap();
    let counted = async || {
        purse.reclaim(&chain).await.unwrap();
        purse.spent(chain.id(), token)
    };
    assert_eq!((balance(&chain, token).await, counted().await), (7, units(100)));
    let gone: Result<(), _> =
        chain.provider().raw_request("anvil_reorg".into(), (1_u64, [0_u8; 0])).await;
    gone.unwrap();
    assert_eq!((balance(&chain, token).await, counted().await), (0, units(100)));
    // The server takes it in a later block.
    chain.settle().await.unwrap();
    assert_eq!((balance(&chain, token).await, counted().await), (7, units(100)));
    bury(&chain).await;
    assert_eq!(counted().await, units(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_buys_from_the_reference_server() {
    let Some((_anvil, rpc, chain, token, folder)) = town().await else { return };
    let (_server, url) = their_server(rpc, &chain, token, &folder, "0").await;
    let client = PayingClient::new(purse(&chain, token)).unwrap();
    let request = ::http::Request::get(format!("{url}/reading")).body(Vec::new()).unwrap();
    let paid = client.send(request, &mut thread_rng()).await.unwrap();
    assert_eq!(paid.response.body(), br#"{"celsius":21.5}"#);
    let settlement = paid.settlement.unwrap();
    assert!(settlement.success, "{settlement:?}");
    assert_eq!(settlement.network, format!("eip155:{}", chain.id().value()));
    assert_eq!(balance(&chain, token).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_pays_the_reference_server_what_was_used() {
    for (used, moved) in [("4", 4), ("0", 0), ("10", 10)] {
        let Some((_anvil, rpc, chain, token, folder)) = town().await else { return };
        let Some(payer) = permit(&chain, token).await else { return };
        let (_server, url) = their_server(rpc, &chain, token, &folder, used).await;
        let purse = metering_purse(&chain, token);
        let client = PayingClient::new(Wallet::new(purse.clone()).with_chain(payer)).unwrap();
        let request = ::http::Request::get(format!("{url}/metered")).body(Vec::new()).unwrap();
        let paid = client.send(request, &mut thread_rng()).await.unwrap();
        let settlement = paid.settlement.unwrap();
        assert!(settlement.success, "{settlement:?}");
        assert_eq!(settlement.amount.as_deref(), Some(used));
        assert_eq!(balance(&chain, token).await, moved);
        // What was used is on the chain; what is unused could still be used until it ends.
        assert_eq!(purse.spent(chain.id(), token), units(10));
        bury(&chain).await;
        purse.reclaim(&chain).await.unwrap();
        let counted = if moved == 0 { 10 } else { moved };
        assert_eq!(purse.spent(chain.id(), token), units(counted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_client_buys_from_our_server() {
    let Some((_anvil, _, chain, token, folder)) = town().await else { return };
    let options = TillOptions::in_memory().pay_to(PAYEE);
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await.unwrap();
    let shop = shop(&till).await;
    let run = |path: &str| their_client(&folder, shop.url(path));
    let (paid, free, broken) = tokio::join!(run("/reading"), run("/free"), run("/broken"));
    assert_eq!((&paid["status"], &paid["body"]), (&200.into(), &"0".into()), "{paid}");
    assert_eq!(paid["settlement"]["success"], true);
    assert_eq!(paid["settlement"]["payer"], super::account_of(&payer()).to_string());
    assert_eq!((&free["status"], &free["settlement"]), (&200.into(), &serde_json::Value::Null));
    assert_eq!(broken["status"], 500);
    assert_eq!(balance(&chain, token).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_client_pays_our_server_what_was_used() {
    let Some((_anvil, _, chain, token, folder)) = town().await else { return };
    let options = TillOptions::in_memory().pay_to(PAYEE);
    let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await.unwrap();
    // The payer has not approved Permit2 yet.
    let Some(()) = super::permit2::set_up(chain.provider()).await else { return };
    let meter = meter(&till).await;
    let refused = their_client(&folder, meter.url("/use/7")).await;
    assert_eq!(refused["status"], 402, "{refused}");
    assert_eq!(refused["error"], "permit2_allowance_required");

    permit(&chain, token).await.unwrap();
    for (used, moved) in [(7, 7), (0, 7), (100, 107)] {
        let paid = their_client(&folder, meter.url(&format!("/use/{used}"))).await;
        assert_eq!((&paid["status"], &paid["body"]), (&200.into(), &"done".into()), "{paid}");
        let settlement = &paid["settlement"];
        assert_eq!(settlement["success"], true, "{paid}");
        assert_eq!(settlement["amount"], used.to_string());
        assert_eq!(settlement["transaction"] == "", used == 0);
        assert_eq!(balance(&chain, token).await, moved);
    }
    let over = their_client(&folder, meter.url("/use/101")).await;
    assert_eq!(over["status"], 500, "{over}");
    assert_eq!(balance(&chain, token).await, 107);
}

#[cfg(feature = "reqwest-middleware")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_application_buys_from_the_reference_server() {
    use super::middleware::{client, step};
    use depin_payment::x402::SettleResponse;

    let Some((_anvil, rpc, chain, token, folder)) = town().await else { return };
    let Some(payer) = permit(&chain, token).await else { return };
    let (_server, url) = their_server(rpc, &chain, token, &folder, "4").await;
    let purse = metering_purse(&chain, token);
    let client = client(step(Wallet::new(purse.clone()).with_chain(payer))).build();
    for (path, sum) in [("/reading", 10), ("/metered", 14)] {
        let response = client.get(format!("{url}{path}")).send().await.unwrap();
        let settlement = response.extensions().get::<SettleResponse>().unwrap();
        assert!(settlement.success, "{settlement:?}");
        assert_eq!(balance(&chain, token).await, sum);
        bury(&chain).await;
        purse.reclaim(&chain).await.unwrap();
        assert_eq!(purse.spent(chain.id(), token), units(sum));
    }
}
