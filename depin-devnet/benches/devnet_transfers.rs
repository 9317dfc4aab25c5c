//! How fast a signed transfer with its receipt is, beside anvil in the same run.
//!
//! The same requests go through alloy to both. Anvil is measured twice: with the client that alloy
//! makes for a local URL, and with one that asks for receipts every millisecond. The devnet's provider
//! signs like any other, but tells the chain who signed, so that no sender is recovered.
//!
//! `DEPIN_ANVIL` names the anvil binary; without it only the devnet is measured. One JSON object per
//! result is appended to the file that `DEPIN_BENCH_OUT` names.

#[path = "../tests/it/workload.rs"]
mod workload;

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use depin_devnet::Devnet;
use serde_json::{Value, json};
use workload::{Anvil, differences};

const TRANSFERS: usize = 2_000;
const QUARTER: usize = 500;

#[tokio::main]
async fn main() {
    let devnet = Devnet::start();
    let ours = transfers(&devnet.provider()).await;
    let rate = rate(&ours);
    println!("devnet_transfers: {rate:.0} tx/s");
    let flat = report_flatness(&ours);
    record("devnet_flat", json!(flat), "times", json!("the first 500"), json!(flat));
    if env::var_os("DEPIN_ANVIL").is_none() {
        println!("anvil is not there to compare: DEPIN_ANVIL names none");
        record("devnet_transfers", json!(rate), "tx/s", Value::Null, Value::Null);
        return;
    }
    let signer = devnet.account(0);
    compare("devnet_transfers", rate, "anvil with alloy's default client", |anvil| {
        let url = anvil.url.parse().expect("anvil's URL");
        ProviderBuilder::new().wallet(signer.clone()).connect_http(url).erased()
    })
    .await;
    compare("devnet_transfers_eager", rate, "anvil asked every millisecond", |anvil| {
        anvil.eager_provider(signer.clone())
    })
    .await;
    let anvil = Anvil::start().expect("named above");
    let differences = differences(&anvil, 11).await.len();
    println!("devnet_gas_parity: {differences} of 200 transactions differ from anvil");
    let count = json!(differences);
    record("devnet_gas_parity", count, "differences of 200", json!("anvil"), Value::Null);
}

async fn compare(name: &str, ours: f64, against: &str, client: impl Fn(&Anvil) -> DynProvider) {
    let anvil = Anvil::start().expect("DEPIN_ANVIL is set");
    let times = transfers(&client(&anvil)).await;
    let (theirs, first, last) =
        (rate(&times), rate(&times[..QUARTER]), rate(&times[TRANSFERS - QUARTER..]));
    let ratio = ours / theirs;
    println!(
        "{name}: {ratio:.1} times {against}, {theirs:.0} tx/s ({first:.0} at first, {last:.0} at last)"
    );
    record(name, json!(ours), "tx/s", json!(against), json!(ratio));
}

/// How much longer the median transfer takes at the end. The median, because a pause of the machine
/// says nothing about the chain, and a cost that grows with the chain shows in every transfer.
fn report_flatness(times: &[Duration]) -> f64 {
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2].as_secs_f64()
    };
    let flat = median(&times[TRANSFERS - QUARTER..]) / median(&times[..QUARTER]);
    println!("devnet_flat: the last {QUARTER} transfers took {flat:.3} times the first {QUARTER}");
    flat
}

/// Sends one transfer after another, each with its receipt.
async fn transfers(provider: &DynProvider) -> Vec<Duration> {
    let mut times = Vec::with_capacity(TRANSFERS);
    for _ in 0..TRANSFERS {
        let gift = TransactionRequest::default().to(Address::repeat_byte(7)).value(U256::from(1));
        let start = Instant::now();
        let sent = provider.send_transaction(gift).await.expect("accepted");
        let receipt = sent.get_receipt().await.expect("mined");
        times.push(start.elapsed());
        assert_eq!(receipt.gas_used, 21_000);
    }
    times
}

fn rate(times: &[Duration]) -> f64 {
    times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64()
}

fn record(name: &str, value: Value, unit: &str, against: Value, ratio: Value) {
    let Some(path) = env::var_os("DEPIN_BENCH_OUT") else { return };
    let line =
        json!({"name": name, "value": value, "unit": unit, "against": against, "ratio": ratio});
    let file = OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
        eprintln!("cannot write DEPIN_BENCH_OUT: {error}");
    }
}
