//! Real peers for the tests, from package registries, never mocks.

use std::{path::PathBuf, process::Command};

use crate::stage::{answers, target_dir};

const ANVIL: &str = "@foundry-rs/anvil-linux-amd64";
const ANVIL_VERSION: &str = "1.7.1";

/// Where anvil is: `DEPIN_ANVIL`, an earlier install, or a fresh one from npm. `Err` says why not.
pub(crate) fn anvil() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("DEPIN_ANVIL") {
        return Ok(path.into());
    }
    let folder = target_dir().join("tools");
    let binary = folder.join("node_modules").join(ANVIL).join("bin/anvil");
    if binary.exists() {
        return Ok(binary);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("anvil is packaged for x86-64 Linux only; set DEPIN_ANVIL to your own".into());
    }
    if !answers("npm", "--version") {
        return Err(
            "npm is not installed; install Node.js 20 or set DEPIN_ANVIL to an anvil 1.7".into()
        );
    }
    println!("installing {ANVIL}@{ANVIL_VERSION} from npm into {}", folder.display());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let package = format!("{ANVIL}@{ANVIL_VERSION}");
    let arguments = ["install", "--no-save", "--no-audit", "--no-fund", "--silent", "--prefix"];
    let status = Command::new("npm").args(arguments).arg(&folder).arg(package).status();
    match status {
        Ok(status) if status.success() && binary.exists() => Ok(binary),
        Ok(status) => Err(format!("npm could not install anvil ({status})")),
        Err(error) => Err(format!("npm could not be started: {error}")),
    }
}
