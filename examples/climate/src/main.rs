//! A weather network, from enrollment to audited payout, on real measurements.
//!
//! One process holds the chain, the network and its stations; the stations talk to the network over
//! HTTP. Copy this folder to start a network of your own: `network.rs` composes it, `stations.rs` is
//! where the measurements come from, `role.rs` is what it has to withstand.

mod audit;
mod enroll;
mod journey;
mod narrator;
mod network;
mod report;
mod role;
mod settle;
mod stations;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{journey::Journey, narrator::Narrator};

const USAGE: &str = "usage: climate [--stations N] [--data DIR] [--nats URL] [--json]

  --stations N  how many stations take part (default 26, at least 20)
  --data DIR    keep log and chain in DIR; run again after a crash and it continues there
  --nats URL    keep the log in the stream of a NATS server, nats://127.0.0.1:4222 for example
                (build with --features nats); a stream goes with one chain, so give --data too
  --json        print one JSON object instead of the story";

/// What the command line asks for.
struct Options {
    stations: usize,
    data: Option<PathBuf>,
    nats: Option<String>,
    json: bool,
}

/// `None` when help was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options { stations: 26, data: None, nats: None, json: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("stations") => {
                options.stations = parser
                    .value()?
                    .to_string_lossy()
                    .parse()
                    .context("--stations takes a number")?;
            }
            lexopt::Arg::Long("data") => options.data = Some(parser.value()?.into()),
            lexopt::Arg::Long("nats") => {
                options.nats = Some(parser.value()?.to_string_lossy().into_owned());
            }
            lexopt::Arg::Long("json") => options.json = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        options.stations >= 20,
        "a network of fewer than 20 stations tells no story; give --stations 20 or more"
    );
    Ok(Some(options))
}

#[tokio::main]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("climate: {error:#}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<()> {
    let Some(options) = options()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let narrator = Narrator::new(options.json);
    let (data, nats) = (options.data.as_deref(), options.nats.as_deref());
    let report = Journey::start(options.stations, data, nats, narrator).await?.run().await?;
    if options.json {
        println!("{}", report.to_json());
    }
    ensure!(report.audit_ok, "an audit failed");
    Ok(())
}
