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
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use depin_devnet::Devnet;
use serde_json::{Value, json};
use workload::{Anvil, differences};

const TRANSFERS: usize = 2_000;
const QUARTER: usize = 500;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    // Alternating, and the median of each: a busy moment of the machine then decides nothing.
    let (mut ours, mut patient, mut eager) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(transfers(&Devnet::start().provider()).await);
        let Some(anvil) = Anvil::start() else { continue };
        patient.push(transfers(&anvil.patient_provider(signer())).await);
        drop(anvil);
        ours.push(transfers(&Devnet::start().provider()).await);
        let Some(anvil) = Anvil::start() else { continue };
        eager.push(transfers(&anvil.eager_provider(signer())).await);
    }
    println!("devnet_transfers: {:.0} tx/s", typical(&ours, rate));
    compare("devnet_transfers", &ours, "anvil with alloy's default client", &patient);
    compare("devnet_transfers_eager", &ours, "anvil asked every millisecond", &eager);
    let flat = typical(&ours, slowdown);
    println!("devnet_flat: the last {QUARTER} transfers took {flat:.3} times the first {QUARTER}");
    record("devnet_flat", json!(flat), "times", json!("the first 500"), json!(flat));
    if let Some(anvil) = Anvil::start() {
        let differences = differences(&anvil, 11).await.len();
        println!("devnet_gas_parity: {differences} of 200 transactions differ from anvil");
        let count = json!(differences);
        record("devnet_gas_parity", count, "differences of 200", json!("anvil"), Value::Null);
    }
}

fn signer() -> PrivateKeySigner {
    Devnet::start().account(0)
}

fn compare(name: &str, ours: &[Vec<Duration>], against: &str, theirs: &[Vec<Duration>]) {
    let ours = typical(ours, rate);
    if theirs.is_empty() {
        record(name, json!(ours), "tx/s", Value::Null, Value::Null);
        return;
    }
    let ratio = ours / typical(theirs, rate);
    let slowdown = typical(theirs, slowdown);
    println!(
        "{name}: {ratio:.1} times {against}, whose end took {slowdown:.2} times its beginning"
    );
    record(name, json!(ours), "tx/s", json!(against), json!(ratio));
}

fn typical(runs: &[Vec<Duration>], figure: impl Fn(&[Duration]) -> f64) -> f64 {
    median(runs.iter().map(|run| figure(run)))
}

/// How much longer the last transfers took than the first. By their medians, because a pause of the
/// machine says nothing about a chain, and a cost that grows with it shows in every transfer.
fn slowdown(times: &[Duration]) -> f64 {
    let one = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64));
    one(&times[TRANSFERS - QUARTER..]) / one(&times[..QUARTER])
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
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
