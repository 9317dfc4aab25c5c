//! Runs one command after a heading, with its time, and stops at the first failure.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The root of the workspace: of the clone that runs this, which need not be the one that it was built in.
pub(crate) fn root() -> PathBuf {
    let built = || env!("CARGO_MANIFEST_DIR").into();
    let xtask = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built));
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// Where builds go, as cargo decides it.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Every feature but those that compile C: `tls` of most crates changes nothing that is tested without a network,
/// and `fast` has its own stage. `nats` compiles C too (ring, for TLS), but without it a way into the log and a
/// log would not be tested; then TLS of MQTT costs nothing more.
pub(crate) const FEATURES: &str = "--features climate/nats,depin-core/serde,depin-data/formats,depin-data/geo,depin-data/hpke,depin-data/http,depin-data/metrics,depin-data/parquet,depin-data/tls,depin-devnet/http,depin-identity/credentials,depin-identity/evm,depin-identity/http,depin-identity/ioconnect-legacy,depin-identity/keystore,depin-identity/pem,depin-payment/charts,depin-payment/evm,depin-payment/reqwest-middleware,depin/mqtt,depin/nats";

/// A `cargo` call in the workspace, `words` separated by spaces.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split_whitespace()).current_dir(root());
    command
}

/// Runs a stage and says how long it took.
pub(crate) fn stage(title: &str, command: &mut Command) -> Result<()> {
    println!("\n== {title}");
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{title}: cannot start {:?}", command.get_program()))?;
    let seconds = start.elapsed().as_secs();
    if !status.success() {
        bail!("{title} failed after {seconds} s ({status})");
    }
    println!("== {title}: fine ({seconds} s)");
    Ok(())
}

/// Whether a command answers.
pub(crate) fn answers(program: &str, argument: &str) -> bool {
    let output = Command::new(program).arg(argument).output();
    output.is_ok_and(|output| output.status.success())
}
