//! `cargo xtask contracts`: rebuilds the Solidity contracts and their checked-in artifacts, and tests them.
//!
//! Everything comes from npm at the versions and hashes of `package-lock.json`: OpenZeppelin, forge, and solc, which
//! is JavaScript and needs no download of a compiler (`solc-shim.cjs` lets forge call it). Once `node_modules` is
//! there, no network is used. Only people who change a contract need this: the artifacts are part of the repository.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::natspec;

/// Contracts that the Rust side deploys or calls.
const CONTRACTS: [&str; 13] = [
    "BitmapDistributor",
    "CreditMinter",
    "DeviceAccount",
    "DeviceRegistry",
    "Disperse",
    "ERC6551Registry",
    "EmissionController",
    "NetworkToken",
    "PaymentChannel",
    "PaymentStream",
    "RewardDistributor",
    "ServiceEscrow",
    "StakeManager",
];

/// Contracts that only tests deploy, in a folder that the published crate leaves out.
const STAND_INS: [&str; 6] = [
    "CautiousToken",
    "DeviceNftStandIn",
    "FeeToken",
    "IoIdStandIn",
    "UptoProxyStandIn",
    "VerifyingProxyStandIn",
];

/// Builds the contracts, writes their artifacts (or, with `check`, compares them) and runs their tests.
pub(crate) fn run(check: bool) -> Result<()> {
    let home = crate::stage::root().join("depin-evm");
    let project = Project { contracts: home.join("contracts"), artifacts: home.join("artifacts") };
    natspec::check(&project.contracts.join("src"))?;
    project.install()?;
    project.forge(&["build"])?;
    if check {
        project.compare()?
    } else {
        project.write()?
    }
    // Gas figures are part of the repository too: a change of them has to be seen.
    let snapshot = if check { "--gas-snapshot-check=true" } else { "--gas-snapshot-emit=true" };
    project.forge(&["test", snapshot])?;
    project.figures()
}

struct Project {
    contracts: PathBuf,
    artifacts: PathBuf,
}

impl Project {
    /// Installs the npm packages when they are missing or not those of the lock file.
    fn install(&self) -> Result<()> {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "the contracts are rebuilt on x86-64 Linux only, for which package-lock.json pins forge"
        );
        require_tool("node")?;
        require_tool("npm")?;
        let lock = fs::read(self.contracts.join("package-lock.json"))
            .context("cannot read depin-evm/contracts/package-lock.json")?;
        let installed = self.contracts.join("node_modules/.installed-lock.json");
        if fs::read(&installed).is_ok_and(|bytes| bytes == lock) {
            return Ok(());
        }
        println!("installing the npm packages of depin-evm/contracts");
        // No package has to run code at installation.
        self.command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .context("npm ci failed: it needs the npm registry once, to fill node_modules")?;
        fs::write(&installed, &lock)
            .with_context(|| format!("cannot write {}", installed.display()))
    }

    fn forge(&self, arguments: &[&str]) -> Result<()> {
        let forge = self.contracts.join("node_modules/@foundry-rs/forge-linux-amd64/bin/forge");
        self.command(&forge, arguments)
            .with_context(|| format!("forge {} failed", arguments.join(" ")))
    }

    fn command(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<()> {
        let program = program.as_ref();
        let status = Command::new(program)
            .args(arguments)
            .current_dir(&self.contracts)
            .env("FOUNDRY_OFFLINE", "true")
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(status.success(), "{} ended with {status}", program.display());
        Ok(())
    }

    /// Every figure in the README's table is one of the snapshots.
    fn figures(&self) -> Result<()> {
        let mut measured = Vec::new();
        for file in ["snapshots/Gas.json", "snapshots/PaymentGas.json"] {
            let text = fs::read_to_string(self.contracts.join(file)).context(file)?;
            let gas: BTreeMap<String, String> = serde_json::from_str(&text).context(file)?;
            measured.extend(gas.into_values());
        }
        let readme = fs::read_to_string(self.contracts.join("README.md"))?;
        let table =
            readme.split_once("| gas |\n").map(|(_, rest)| rest).context("README's table")?;
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
        for figure in cells.flat_map(|cell| cell.split('/')) {
            let figure = figure.trim();
            ensure!(
                measured.contains(&figure.replace(',', "")),
                "depin-evm/contracts/README.md says {figure} gas, which no snapshot does; correct it"
            );
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        fs::create_dir_all(self.artifacts.join("test"))?;
        for (name, path) in self.all() {
            fs::write(&path, self.compiled(name)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        let mut different = Vec::new();
        for (name, path) in self.all() {
            let compiled = self.compiled(name)?;
            if !fs::read_to_string(path).is_ok_and(|checked_in| checked_in == compiled) {
                different.push(name);
            }
        }
        if !different.is_empty() {
            bail!(
                "artifacts that are not what the sources compile to: {}; run `cargo xtask contracts` and commit the result",
                different.join(", ")
            );
        }
        Ok(())
    }

    /// Every contract with where its artifact is.
    fn all(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let shipped = CONTRACTS.map(|name| (name, self.artifacts.join(format!("{name}.json"))));
        let test = STAND_INS.map(|name| (name, self.artifacts.join(format!("test/{name}.json"))));
        shipped.into_iter().chain(test)
    }

    /// The artifact as text: what bindings need of forge's output, in an order that does not change.
    fn compiled(&self, name: &str) -> Result<String> {
        let path = self.contracts.join(format!("out/{name}.sol/{name}.json"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("forge left no artifact of {name} at {}", path.display()))?;
        let built: Value = serde_json::from_str(&text)?;
        let code = |kind: &str| -> Result<Value> {
            let object = built[kind]["object"].as_str().unwrap_or_default();
            ensure!(
                object.len() > 2 && !object.contains("__"),
                "{kind} of {name} is empty or needs a library linked in"
            );
            Ok(json!({ "object": object }))
        };
        let artifact = json!({
            "contractName": name,
            "abi": built["abi"],
            "bytecode": code("bytecode")?,
            "deployedBytecode": code("deployedBytecode")?,
        });
        Ok(serde_json::to_string_pretty(&sorted(artifact))? + "\n")
    }
}

/// The value with the keys of all objects in order, whether or not some crate turned on serde_json's `preserve_order`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn require_tool(program: &str) -> Result<()> {
    let works =
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    ensure!(
        works,
        "`{program}` is not there: install Node.js 20 or later with npm (Debian: apt-get install nodejs npm); only \
         rebuilding the contracts needs it"
    );
    Ok(())
}
