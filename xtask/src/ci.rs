//! `cargo xtask ci`: what must be green before a change lands, cheapest first.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{
    conformance, contracts,
    stage::{FEATURES, answers, cargo, root, stage},
    test,
};

/// Crates that work without their default features, in the order they depend on each other.
const WITHOUT_DEFAULTS: [&str; 6] =
    ["depin-core", "depin-hw", "depin-identity", "depin-data", "depin-payment", "depin"];
/// Packages that are not published.
const PRIVATE: [&str; 8] = [
    "climate",
    "device-identity",
    "drive",
    "metered-api",
    "quickstart",
    "treasury",
    "depin-stories",
    "xtask",
];

/// Runs every stage.
pub(crate) fn run() -> Result<()> {
    stage("format", &mut cargo("fmt --all --check"))?;
    stage(
        "lints",
        &mut cargo("clippy --workspace --all-targets --all-features --quiet -- -D warnings"),
    )?;
    for package in WITHOUT_DEFAULTS {
        let mut check = cargo(&format!("check --quiet -p {package} --no-default-features"));
        stage(&format!("{package} without default features"), check.env("RUSTFLAGS", rustflags()))?;
    }
    microcontroller()?;
    test::run(true)?;
    conformance::check()?;
    // Batches are hashed side by side in optimised builds only.
    stage(
        "hashing in an optimised build",
        &mut cargo("test --quiet --release -p depin-data --lib --tests merkle"),
    )?;
    // It compiles C, so the other stages leave it out.
    stage(
        "signatures in C and assembly",
        &mut cargo("test --quiet -p depin-core --features fast --lib --tests"),
    )?;
    stage(
        "did:web over https",
        &mut cargo("test --quiet -p depin-identity --features http,tls --test it web_tls"),
    )?;
    documentation()?;
    if answers("npm", "--version") {
        contracts::run(true)?;
    } else {
        bail!("the contracts were not rebuilt: install Node.js 20 with npm");
    }
    examples()?;
    packages()
}

/// What a device with an allocator and no operating system compiles.
fn microcontroller() -> Result<()> {
    const TARGET: &str = "thumbv7em-none-eabihf";
    if !answers("rustup", "--version") {
        println!("not run: the device's side on {TARGET}: no rustup to add the target with");
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if !added.is_ok_and(|status| status.success()) {
        println!("not run: the device's side on {TARGET}: rustup cannot add the target");
        return Ok(());
    }
    let packages = "-p depin-core -p depin-hw -p depin-identity -p depin-data";
    let words = format!("check --quiet --no-default-features --target {TARGET} {packages}");
    stage("the device's side on a microcontroller", &mut cargo(&words))
}

/// The flags of the caller, so that this stage shares its builds with the others.
fn rustflags() -> String {
    std::env::var("RUSTFLAGS").unwrap_or_default()
}

/// Documentation without warnings, on stable and as docs.rs builds it.
fn documentation() -> Result<()> {
    let words = format!("doc --workspace --no-deps --quiet {FEATURES}");
    stage("documentation", cargo(&words).env("RUSTDOCFLAGS", "-D warnings"))?;
    if !answers("rustup", "--version") || !nightly() {
        println!("not run: documentation as docs.rs builds it: no nightly toolchain");
        return Ok(());
    }
    let mut command = Command::new("cargo");
    command.arg("+nightly").args(words.split_whitespace()).current_dir(root());
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command.env("RUSTDOCFLAGS", "-D warnings --cfg docsrs");
    command.env("CARGO_TARGET_DIR", crate::stage::target_dir().join("docsrs"));
    stage("documentation as docs.rs builds it", &mut command)
}

fn nightly() -> bool {
    let output = Command::new("rustup").args(["toolchain", "list"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("nightly"))
}

/// Runs what the README tells a newcomer to run, and reads the answer.
fn examples() -> Result<()> {
    stage("quickstart", &mut cargo("run --quiet --release -p quickstart"))?;
    stage("device-identity", &mut cargo("run --quiet --release -p device-identity"))?;
    stage("drive", &mut cargo("run --quiet --release -p drive"))?;
    stage("metered-api", &mut cargo("run --quiet --release -p metered-api"))?;
    stage("treasury", &mut cargo("run --quiet --release -p treasury"))?;
    stage("climate", &mut cargo("run --quiet --release -p climate"))?;
    println!("\n== climate --json");
    let output = cargo("run --quiet --release -p climate -- --json").output()?;
    if !output.status.success() {
        bail!("climate --json failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .context("climate --json printed something else than one JSON object")?;
    if report.get("audit_ok").and_then(serde_json::Value::as_bool) != Some(true) {
        bail!("climate's audit failed: {report}");
    }
    println!("== climate --json: fine");
    Ok(())
}

/// Every published crate can be packaged.
fn packages() -> Result<()> {
    let excluded: String = PRIVATE.iter().map(|name| format!(" --exclude {name}")).collect();
    let words = format!("package --workspace --no-verify --allow-dirty --quiet{excluded}");
    stage("packages", &mut cargo(&words))
}
