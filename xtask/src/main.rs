//! What people type in this workspace: `cargo xtask <command>`.
//!
//! `test` is the one test command of the README, `ci` is everything that must be green before a change
//! lands, `bench` prints figures as ratios, `conformance` counts
//! published known answers, `contracts` rebuilds the Solidity artifacts.

mod bench;
mod ci;
mod conformance;
mod contracts;
mod debian;
mod natspec;
mod stage;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>

  test               run every test; says what it could not run and why. Fetches peers with npm and pip into
                     target/tools, and installs brokers with apt where it is root
  kills              kill ingest, also behind brokers, the log's engines and a device 1,000 times each, which takes
                     longer than a test may
  ci                 what must be green before a change lands: format, lints, no_std, tests, known answers, docs,
                     contracts, examples, packages. Needs Node.js with npm
  bench [NAME]       run the benchmarks (or those whose name or figure contains NAME), print a table, write target/bench.json
  conformance [--write]  run the published known answers and print pass and total; with --write into the README
  contracts [--check]  rebuild the Solidity artifacts, or with --check fail when they differ from the sources";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::run(false),
        ["kills"] => test::kills(),
        ["ci"] => ci::run(),
        ["bench"] => bench::run(""),
        ["bench", name] => bench::run(name),
        ["conformance"] => conformance::run(false),
        ["conformance", "--write"] => conformance::run(true),
        ["contracts"] => contracts::run(false),
        ["contracts", "--check"] => contracts::run(true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
