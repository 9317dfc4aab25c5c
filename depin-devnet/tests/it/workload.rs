//! The same random transactions on the devnet and on a real anvil, side by side.
//!
//! Shared by the parity test and the benchmark.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    eips::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256, Bytes, Log, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{client::RpcClient, types::TransactionRequest},
    signers::local::PrivateKeySigner,
    sol,
    sol_types::{SolCall, SolConstructor},
};
use depin_devnet::Devnet;
use rand::{Rng, SeedableRng, rngs::StdRng};

sol!(Contract, "tests/contracts/Counter.json");

/// A running anvil on the devnet's fork; it ends when this is dropped.
pub(crate) struct Anvil {
    child: Child,
    url: String,
}

impl Anvil {
    /// Starts the binary that `DEPIN_ANVIL` names; `None`, with a word about it, when there is none.
    pub(crate) fn start() -> Option<Self> {
        let Some(binary) = env::var_os("DEPIN_ANVIL") else {
            let required = env::var_os("DEPIN_REQUIRE_ALL").is_some_and(|value| value != "0");
            assert!(!required, "DEPIN_ANVIL names no anvil binary, and nothing may be skipped");
            eprintln!("skipped: DEPIN_ANVIL names no anvil binary");
            return None;
        };
        let mut child = Command::new(binary)
            .args(["--port", "0", "--hardfork", "cancun"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("DEPIN_ANVIL can be run");
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut lines = out.lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        // Keeps the pipe empty, so that anvil never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url: format!("http://{address}") })
    }

    /// The client alloy makes for a URL.
    #[allow(dead_code, reason = "only the benchmark is that patient")]
    pub(crate) fn patient_provider(&self, signer: PrivateKeySigner) -> DynProvider {
        let url = self.url.parse().expect("anvil's URL");
        ProviderBuilder::new().wallet(signer).connect_http(url).erased()
    }

    /// A client that asks for receipts every millisecond, much more often than alloy's own choice.
    pub(crate) fn eager_provider(&self, signer: PrivateKeySigner) -> DynProvider {
        let client = RpcClient::new_http(self.url.parse().expect("anvil's URL"));
        let client = client.with_poll_interval(Duration::from_millis(1));
        ProviderBuilder::new().wallet(signer).connect_client(client).erased()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What must be the same on both chains.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: bool,
    gas_used: u64,
    contract: Option<Address>,
    logs: Vec<Log>,
}

/// Runs 200 random transactions on both and answers the differences.
pub(crate) async fn differences(anvil: &Anvil, seed: u64) -> Vec<String> {
    let devnet = Devnet::start();
    let signer = devnet.account(0);
    let (ours, theirs) = (devnet.provider(), anvil.eager_provider(signer.clone()));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut contracts: Vec<Address> = Vec::new();
    let mut differences = Vec::new();
    for nonce in 0..200 {
        let (kind, tx) = random(&mut rng, &contracts);
        let tx = tx
            .nonce(nonce)
            .max_fee_per_gas(50_000_000_000)
            .max_priority_fee_per_gas(1_000_000_000)
            .with_chain_id(31_337);
        let wallet = EthereumWallet::from(signer.clone());
        let raw = tx.build(&wallet).await.expect("complete").encoded_2718();
        let (a, b) = (outcome(&ours, &raw).await, outcome(&theirs, &raw).await);
        contracts.extend(a.contract.filter(|_| a.status));
        if a != b {
            differences.push(format!("{nonce} {kind}: devnet {a:?}, anvil {b:?}"));
        }
    }
    differences
}

async fn outcome(provider: &DynProvider, raw: &[u8]) -> Outcome {
    let sent = provider.send_raw_transaction(raw).await.expect("accepted");
    let receipt = sent.get_receipt().await.expect("mined");
    Outcome {
        status: receipt.status(),
        gas_used: receipt.gas_used,
        contract: receipt.contract_address,
        logs: receipt.inner.logs().iter().map(|log| log.inner.clone()).collect(),
    }
}

/// One of five kinds: transfer, deployment, call, revert, and code that creates or runs out of gas.
fn random(rng: &mut StdRng, contracts: &[Address]) -> (&'static str, TransactionRequest) {
    let request = TransactionRequest::default();
    let kind = if contracts.is_empty() { 1 } else { rng.gen_range(0..5) };
    if kind == 0 {
        let to = Address::with_last_byte(rng.gen_range(0x20..0x40));
        let data: Vec<u8> = (0..rng.gen_range(0..40)).map(|_| rng.gen_range(0..3)).collect();
        let tx = request.to(to).value(U256::from(rng.gen_range(0..9_u64))).input(data.into());
        return ("transfer", tx.gas_limit(30_000));
    }
    if kind == 1 {
        let start = Contract::constructorCall { start: U256::from(rng.gen_range(0..3_u64)) };
        let code = [Contract::BYTECODE.as_ref(), &start.abi_encode()].concat();
        let tx = request.with_deploy_code(code).value(U256::from(rng.gen_range(0..3_u64)));
        return ("deployment", tx.gas_limit(1_500_000));
    }
    let to = contracts[rng.gen_range(0..contracts.len())];
    let amount = |amount: u64| Contract::increaseCall { amount: U256::from(amount) }.abi_encode();
    let (name, data, gas) = match (kind, rng.gen_range(0..3_u8)) {
        (2, 0) => ("clear", Contract::clearCall {}.abi_encode(), 100_000),
        (2, 1) => (
            "nested",
            Contract::nestedCall { depth: U256::from(rng.gen_range(0..9_u64)) }.abi_encode(),
            300_000,
        ),
        (2, _) => ("increase", amount(rng.gen_range(1..1_000)), 100_000),
        (3, 0) => ("revert with text", amount(0), 100_000),
        (3, _) => ("revert with error", amount(rng.gen_range(1_001..9_999)), 100_000),
        (_, 0) => {
            ("out of gas", Contract::burnCall {}.abi_encode(), rng.gen_range(30_000..200_000))
        }
        // Few salts, so that some addresses are taken already.
        (_, _) => (
            "create2",
            Contract::spawnCall { salt: B256::with_last_byte(rng.gen_range(0..4)) }.abi_encode(),
            200_000,
        ),
    };
    (name, request.to(to).input(Bytes::from(data).into()).gas_limit(gas))
}
