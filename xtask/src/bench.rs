//! `cargo xtask bench`: runs the benchmarks and gathers their figures.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    stage::{cargo, stage, target_dir},
    tools,
};

/// A benchmark with the figures by which it can be asked for.
struct Bench {
    package: &'static str,
    name: &'static str,
    features: &'static str,
    rows: &'static [&'static str],
}

impl Bench {
    const fn new(package: &'static str, name: &'static str, rows: &'static [&'static str]) -> Self {
        Self { package, name, features: "", rows }
    }

    const fn features(self, features: &'static str) -> Self {
        Self { features, ..self }
    }

    fn has(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.rows.iter().any(|row| row.contains(filter))
    }

    fn command(&self) -> String {
        let features = if self.features.is_empty() { "" } else { " --features " };
        let Self { package, name, .. } = self;
        format!("bench -p {package} --bench {name}{features}{}", self.features)
    }
}

/// In the order they run.
const BENCHES: [Bench; 14] = [
    Bench::new(
        "depin-core",
        "verify",
        &["verify_es256k", "verify_es256", "verify_eddsa", "verify_all_64"],
    ),
    Bench::new("depin-core", "verify", &["fast_es256k", "fast_es256"]).features("fast"),
    Bench::new("depin-devnet", "devnet_transfers", &[]),
    Bench::new("depin-identity", "status_lookup", &[]).features("credentials"),
    Bench::new("depin-payment", "rewards_1m", &[]),
    Bench::new("depin-payment", "voucher_verify", &[]),
    Bench::new("depin-payment", "voucher_accept", &["voucher_accept_64"]).features("evm"),
    Bench::new("depin-payment", "claims_100k", &[]).features("evm"),
    Bench::new(
        "depin-data",
        "ingest",
        &["ingest_256", "ingest_256_2core", "ingest_1", "decode", "decode_checked"],
    ),
    Bench::new("depin-data", "ingest", &["fast_ingest_256", "fast_ingest_1"]).features("fast"),
    Bench::new("depin-data", "append", &[]),
    Bench::new("depin-data", "quality", &[]).features("geo"),
    Bench::new(
        "depin",
        "epoch",
        &[
            "epoch_1m",
            "epoch_1m_audit",
            "epoch_1m_memory",
            "epoch_1m_climate",
            "epoch_1m_climate_audit",
            "epoch_1m_climate_memory",
        ],
    )
    .features("geo"),
    Bench::new("depin-identity", "resolve_warm", &[]),
];

/// Runs the benchmarks whose name, or the name of a figure of theirs, contains `filter`; prints a table and writes `bench.json`.
pub(crate) fn run(filter: &str) -> Result<()> {
    let target = target_dir();
    fs::create_dir_all(&target)?;
    let lines = fs::canonicalize(&target)?.join("bench.jsonl");
    let _ = fs::remove_file(&lines);
    let anvil = tools::anvil().map_err(|why| println!("without anvil: {why}")).ok();
    let chosen: Vec<_> = BENCHES.iter().filter(|bench| bench.has(filter)).collect();
    if chosen.is_empty() {
        bail!(
            "no benchmark has {filter:?} in its name; there are {:?}",
            BENCHES.map(|bench| bench.name)
        );
    }
    for bench in chosen {
        let mut command = cargo(&bench.command());
        command.env("DEPIN_BENCH_OUT", &lines);
        command.envs(anvil.iter().map(|path| ("DEPIN_ANVIL", path)));
        stage(bench.name, &mut command)?;
    }
    let rows = read(&lines)?;
    print_table(&rows);
    let json = target.join("bench.json");
    fs::write(&json, serde_json::to_string_pretty(&rows)?)?;
    println!("\nwritten to {}", json.display());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).context("the benchmarks reported no figures")?;
    text.lines().map(|line| serde_json::from_str(line).context("a figure is not JSON")).collect()
}

fn print_table(rows: &[Value]) {
    println!("\n{:<24} {:>14} {:<14} {:>8}  against", "name", "value", "unit", "ratio");
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let number = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        println!(
            "{:<24} {:>14.2} {:<14} {:>8.2}  {}",
            text("name"),
            number("value"),
            text("unit"),
            number("ratio"),
            text("against")
        );
    }
}
