//! `cargo xtask test`: every test, with what could not run named at the end.

use std::process::Command;

use anyhow::Result;

use crate::{
    conformance, debian,
    stage::{FEATURES, answers, cargo, stage},
    tools,
};

/// Under which tests that cannot run fail; `0` allows them to be skipped.
const REQUIRE_ALL: &str = "DEPIN_REQUIRE_ALL";

/// Runs the tests and the doctests of the whole workspace.
///
/// Where `all` is required, a test that cannot run for want of a program fails.
pub(crate) fn run(all: bool) -> Result<()> {
    let mut missing = Vec::new();
    let anvil =
        tools::anvil().map_err(|why| missing.push(format!("comparison with anvil: {why}"))).ok();
    let registries = tools::ethr_registries()
        .map_err(|why| missing.push(format!("did:ethr against its contract: {why}")))
        .unwrap_or_default();
    let python = tools::python()
        .map_err(|why| {
            missing
                .push(format!("parquet read by duckdb and pyarrow, books read by beancount: {why}"))
        })
        .ok();
    let x402 = tools::x402_peers()
        .map_err(|why| missing.push(format!("x402 with the reference implementation: {why}")))
        .ok();
    if std::env::var_os("DEPIN_UPTO_PROXY").is_none() {
        let why =
            "no package has its code; set DEPIN_UPTO_PROXY to it, or a stand-in of ours is taken";
        missing.push(format!("x402 `upto` through the foundation's own proxy contract: {why}"));
    }
    if let Err(why) = debian::installed() {
        missing.push(format!("what goes through brokers, or to hledger: {why}"));
    }
    if !may_mount() {
        let why = "the system lets nobody mount one (unshare -Urm)";
        missing.push(format!("a small disk that is full for batches and index alike: {why}"));
    }
    if !conformance::has_known_answers() {
        missing
            .push("known answers outside the repository: set DEPIN_VECTORS to their folder".into());
    }
    let with_peers = |words: &str| {
        let mut command = cargo(words);
        command.envs(anvil.iter().map(|path| ("DEPIN_ANVIL", path)));
        command.envs(x402.iter().map(|path| ("DEPIN_X402", path)));
        command.envs(python.iter().map(|path| ("DEPIN_PYTHON", path)));
        command.envs(registries.iter().map(|(name, path)| (*name, path)));
        if all && std::env::var_os(REQUIRE_ALL).is_none() {
            command.env(REQUIRE_ALL, "1");
        }
        command
    };
    let mut tests = with_peers(&format!("{} --workspace --no-fail-fast {FEATURES}", runner()));
    stage("tests", tests.env("DEPIN_CONFORMANCE", conformance::fresh_lines()?))?;
    stage("doctests", &mut with_peers(&format!("test --workspace --doc --quiet {FEATURES}")))?;
    if missing.is_empty() {
        println!("\neverything ran");
    }
    for reason in missing {
        println!("\nnot run: {reason}");
    }
    Ok(())
}

/// Runs what kills processes at random as often as a release wants it; `test` does so tens of times.
pub(crate) fn kills() -> Result<()> {
    if let Err(why) = debian::installed() {
        println!("the log on NATS JetStream is left out: {why}");
    }
    let filter = if has_nextest() { "kill storm" } else { "-- kill storm" };
    let mut tests = cargo(&format!("{} -p depin-data --all-features {filter}", runner()));
    tests.envs([("DEPIN_KILLS", "1000"), ("DEPIN_DEVICE_KILLS", "1000")]);
    stage("1,000 kills each", &mut tests)
}

/// What no package brings and a container may forbid, so that the test is not required.
fn may_mount() -> bool {
    let words = ["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"];
    let tried = Command::new("unshare").args(words).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// Without nextest the plain runner gives the same verdicts, only slower and with longer output.
fn runner() -> &'static str {
    if has_nextest() { "nextest run" } else { "test --lib --bins --tests" }
}

fn has_nextest() -> bool {
    answers("cargo-nextest", "--version")
}
