//! Real peers for the tests, from package registries, never mocks.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::stage::{answers, root, target_dir};

/// Something from npm that tests look for.
struct Tool {
    /// Where its package is put.
    name: &'static str,
    /// What npm is asked for.
    package: &'static str,
    /// What is wanted of it.
    file: &'static str,
    /// What names another one.
    variable: &'static str,
}

const ANVIL: Tool = Tool {
    name: "@foundry-rs/anvil-linux-amd64",
    package: "@foundry-rs/anvil-linux-amd64@1.7.1",
    file: "bin/anvil",
    variable: "DEPIN_ANVIL",
};

/// The ERC-1056 registry of did:ethr, and the one that is deployed where it came first.
const ETHR_REGISTRIES: [Tool; 2] = [
    Tool {
        name: "ethr-did-registry",
        package: "ethr-did-registry@1.3.0",
        file: "artifacts/contracts/EthereumDIDRegistry.sol/EthereumDIDRegistry.json",
        variable: "DEPIN_ETHR_REGISTRY",
    },
    Tool {
        name: "ethr-did-registry-legacy",
        package: "ethr-did-registry-legacy@npm:ethr-did-registry@0.0.3",
        file: "build/contracts/EthereumDIDRegistry.json",
        variable: "DEPIN_ETHR_REGISTRY_LEGACY",
    },
];

/// Where anvil is: `DEPIN_ANVIL`, an earlier install, or a fresh one from npm. `Err` says why not.
pub(crate) fn anvil() -> Result<PathBuf, String> {
    if std::env::var_os(ANVIL.variable).is_none() && !anvil_runs_here() {
        return Err("anvil is packaged for x86-64 Linux only; set DEPIN_ANVIL to your own".into());
    }
    find(&ANVIL)
}

/// The compiled registries of did:ethr, each with the variable that tells the tests where it is.
pub(crate) fn ethr_registries() -> Result<Vec<(&'static str, PathBuf)>, String> {
    ETHR_REGISTRIES.iter().map(|tool| Ok((tool.variable, find(tool)?))).collect()
}

/// The folder with the reference implementation of x402: `DEPIN_X402`, an earlier install, or a fresh one of
/// what `depin-payment/tests/x402/package.json` names.
pub(crate) fn x402_peers() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("DEPIN_X402") {
        return Ok(folder.into());
    }
    let wanted = std::fs::read_to_string(root().join("depin-payment/tests/x402/package.json"));
    let wanted = wanted.map_err(|error| format!("package.json of the x402 peers: {error}"))?;
    let folder = target_dir().join("tools/x402");
    let list = folder.join("package.json");
    let installed = folder.join("node_modules").exists()
        && std::fs::read_to_string(&list).is_ok_and(|list| list == wanted);
    if installed {
        return Ok(folder);
    }
    if !answers("npm", "--version") {
        return Err("npm is not installed; install Node.js 20 or set DEPIN_X402".into());
    }
    println!("installing the x402 peers from npm into {}", folder.display());
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&list, wanted));
    written.map_err(|error| format!("{}: {error}", folder.display()))?;
    npm_install(&folder, &[]).map(|()| folder)
}

/// What reads our Parquet files and our books, from PyPI.
const READERS: [&str; 3] = ["duckdb==2.0.0", "pyarrow==26.0.1", "beancount==3.2.0"];
const IMPORTS: &str = "import duckdb, pyarrow, beancount.scripts.check";

/// A Python that reads Parquet and books: `DEPIN_PYTHON`, the one on the path, an earlier environment of ours, or a
/// fresh one from PyPI.
pub(crate) fn python() -> Result<PathBuf, String> {
    let reads = |python: &Path| {
        let answer = Command::new(python).args(["-c", IMPORTS]).output();
        answer.is_ok_and(|answer| answer.status.success())
    };
    let folder = target_dir().join("tools/python");
    let named = std::env::var_os("DEPIN_PYTHON").map(PathBuf::from);
    let ours = folder.join("bin/python");
    let mut known = named.into_iter().chain(["python3".into(), ours.clone()]);
    if let Some(python) = known.find(|python| reads(python)) {
        return Ok(python);
    }
    println!("installing {} from PyPI into {}", READERS.join(" "), folder.display());
    let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
    let made = made.is_ok_and(|status| status.success());
    let mut pip = Command::new(&ours);
    pip.args(["-m", "pip", "install", "--quiet"]).args(READERS);
    if made && pip.status().is_ok_and(|status| status.success()) && reads(&ours) {
        return Ok(ours);
    }
    Err("python3 with venv and pip could not install duckdb, pyarrow and beancount; set DEPIN_PYTHON to one that has them".into())
}

fn anvil_runs_here() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

fn find(tool: &Tool) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(tool.variable) {
        return Ok(path.into());
    }
    let path = target_dir().join("tools/node_modules").join(tool.name).join(tool.file);
    if !path.exists() {
        install()?;
    }
    if path.exists() { Ok(path) } else { Err(format!("{} has no {}", tool.package, tool.file)) }
}

/// Installs everything at once: npm removes what it is not told of.
fn install() -> Result<(), String> {
    if !answers("npm", "--version") {
        let all = [&ANVIL, &ETHR_REGISTRIES[0], &ETHR_REGISTRIES[1]];
        let variables: Vec<_> = all.iter().map(|tool| tool.variable).collect();
        return Err(format!(
            "npm is not installed; install Node.js 20 or set {}",
            variables.join(", ")
        ));
    }
    let folder = target_dir().join("tools");
    let anvil = anvil_runs_here().then_some(&ANVIL);
    let packages: Vec<_> = anvil.into_iter().chain(&ETHR_REGISTRIES).map(|t| t.package).collect();
    println!("installing {} from npm into {}", packages.join(" "), folder.display());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    npm_install(&folder, &packages)
}

fn npm_install(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let arguments = ["install", "--no-save", "--no-audit", "--no-fund", "--silent"];
    let mut command = Command::new("npm");
    command.args(arguments).args(["--ignore-scripts", "--prefix"]).arg(folder).args(packages);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("npm could not install them ({status})")),
        Err(error) => Err(format!("npm could not be started: {error}")),
    }
}
