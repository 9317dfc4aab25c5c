//! How fast a signed transfer with its receipt is, beside anvil in the same run.
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
    providers::{DynProvider, Provider},
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
    let anvil = Anvil::start();
    let theirs = match &anvil {
        Some(anvil) => Some(transfers(&anvil.provider(devnet.account(0))).await),
        None => None,
    };
    report_rate(&ours, theirs.as_deref());
    let (first, last) = (sum(&ours[..QUARTER]), sum(&ours[TRANSFERS - QUARTER..]));
    let flat = last.as_secs_f64() / first.as_secs_f64();
    println!("devnet_flat: the last {QUARTER} transfers took {flat:.3} times the first {QUARTER}");
    record("devnet_flat", json!(last.as_secs_f64()), "s", json!("first 500"), json!(flat));
    if let Some(anvil) = Anvil::start() {
        let differences = differences(&anvil, 11).await;
        println!("devnet_gas_parity: {} of 200 transactions differ from anvil", differences.len());
        let count = json!(differences.len());
        record("devnet_gas_parity", count, "differences of 200", json!("anvil"), Value::Null);
    }
}

fn report_rate(ours: &[Duration], theirs: Option<&[Duration]>) {
    let rate = |times: &[Duration]| times.len() as f64 / sum(times).as_secs_f64();
    let value = rate(ours);
    match theirs.map(rate) {
        Some(anvil) => {
            let ratio = value / anvil;
            println!("devnet_transfers: {value:.0} tx/s, anvil {anvil:.0} tx/s, {ratio:.1} times");
            record("devnet_transfers", json!(value), "tx/s", json!("anvil"), json!(ratio));
        }
        None => {
            println!("devnet_transfers: {value:.0} tx/s, anvil was not there to compare");
            record("devnet_transfers", json!(value), "tx/s", Value::Null, Value::Null);
        }
    }
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

fn sum(times: &[Duration]) -> Duration {
    times.iter().sum()
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
