//! `cargo xtask conformance`: runs the published known answers and prints pass and total per suite.
//!
//! Tests report through `depin_testkit::conformance`; this gathers their lines. The table stands in the README of
//! depin-identity, and `ci` compares it with what the tests of that run reported.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::stage::{FEATURES, cargo, root, stage, target_dir};

/// Packages whose tests run suites.
const PACKAGES: [&str; 4] = ["depin-core", "depin-data", "depin-identity", "depin-payment"];
const README: &str = "depin-identity/README.md";
const BEGIN: &str = "<!-- conformance: cargo xtask conformance --write -->\n";
const END: &str = "<!-- /conformance -->\n";

/// Runs the suites and prints the table; with `write` puts it into the README.
pub(crate) fn run(write: bool) -> Result<()> {
    ensure!(
        has_known_answers(),
        "no known answers to compare with: set DEPIN_VECTORS to their folder"
    );
    let packages = PACKAGES.map(|package| format!(" -p {package}")).concat();
    let ours = |feature: &&str| PACKAGES.iter().any(|package| feature.starts_with(package));
    let features: Vec<_> = FEATURES.split([' ', ',']).filter(ours).collect();
    let words = format!("test --quiet{packages} --test it --features {}", features.join(","));
    stage("known answers", cargo(&words).env("DEPIN_CONFORMANCE", fresh_lines()?))?;
    let table = table()?;
    println!("\n{table}");
    if write {
        let readme = root().join(README);
        let text = with_table(&fs::read_to_string(&readme)?, &table)?;
        fs::write(&readme, text).with_context(|| format!("cannot write {README}"))?;
        println!("written to {README}");
    }
    Ok(())
}

/// Compares the README with what the tests reported since [`fresh_lines`].
pub(crate) fn check() -> Result<()> {
    if !has_known_answers() {
        println!("\nnot run: comparison of {README} with known answers, which are not there");
        return Ok(());
    }
    let text = fs::read_to_string(root().join(README))?;
    ensure!(
        with_table(&text, &table()?)? == text,
        "{README} does not tell what the tests found: run `cargo xtask conformance --write` and commit the result"
    );
    println!("\n== {README} tells what the tests found");
    Ok(())
}

/// An empty file for `DEPIN_CONFORMANCE`.
pub(crate) fn fresh_lines() -> Result<PathBuf> {
    fs::create_dir_all(target_dir())?;
    let lines = fs::canonicalize(target_dir())?.join("conformance.jsonl");
    fs::write(&lines, "").with_context(|| format!("cannot write {}", lines.display()))?;
    Ok(lines)
}

/// Whether the folder of known answers is there.
pub(crate) fn has_known_answers() -> bool {
    std::env::var_os("DEPIN_VECTORS").is_some() || root().join("../shared/vectors").exists()
}

/// The table in Markdown, by name of the suite.
fn table() -> Result<String> {
    let lines = fs::read_to_string(target_dir().join("conformance.jsonl"))
        .context("no test reported a suite")?;
    let mut suites = BTreeMap::new();
    for line in lines.lines() {
        let suite: Value = serde_json::from_str(line).context("a suite is no JSON")?;
        let name = suite["suite"].as_str().context("a suite without a name")?.to_owned();
        ensure!(suites.insert(name.clone(), suite).is_none(), "two tests report the suite {name}");
    }
    let mut table = String::from("| suite | pass | of | not applicable |\n|---|---:|---:|---|\n");
    let (mut passed, mut total) = (0, 0);
    for (name, suite) in &suites {
        let count = |key: &str| suite[key].as_u64().context("a suite without counts");
        let (pass, of) = (count("passed")?, count("total")?);
        table += &format!("| {name} | {pass} | {of} | {} |\n", left_out(suite));
        (passed, total) = (passed + pass, total + of);
    }
    ensure!(passed == total, "{} of {total} answers are wrong:\n{table}", total - passed);
    table += &format!("| **all** | **{passed}** | **{total}** | |\n");
    Ok(table)
}

fn left_out(suite: &Value) -> String {
    let entries = suite["not_applicable"].as_array().into_iter().flatten();
    let text = |entry: &Value| {
        format!("{}: {}", entry["cases"], entry["why"].as_str().unwrap_or_default())
    };
    entries.map(text).collect::<Vec<_>>().join("; ")
}

/// The text with the table between its two marks.
fn with_table(text: &str, table: &str) -> Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        bail!("{README} lacks the lines {BEGIN}and {END}");
    };
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}
