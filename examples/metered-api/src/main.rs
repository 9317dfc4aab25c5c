//! A weather station that sells its readings per request.
//!
//! Ann's station measures and sells what it measured; Bob earned tokens with a station of his own and buys. He
//! pays in two ways: with x402, where every request is one transfer on chain, and with vouchers of a channel,
//! where any number of requests end in one settlement. Either way he gets the bytes that the station signed, so
//! he need not believe the server.
//!
//! Copy this folder to sell what your devices know: `shop.rs` is what is sold and for how much, `buyer.rs` how
//! it is bought, `town.rs` where both live.

mod buyer;
mod report;
mod shop;
mod town;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, Result, ensure};
use depin::tokens;

use crate::{buyer::Buyer, report::Report, shop::Shop, town::Town};

const USAGE: &str = "usage: metered-api [--requests N] [--serve ADDRESS] [--json]

  --requests N     how many readings Bob buys with vouchers (default 100); a tenth of it with x402
  --serve ADDRESS  go on serving at ADDRESS, 127.0.0.1:8402 for example, until Ctrl-C: any x402 client can buy
  --json           print one JSON object instead of the story";

/// What the command line asks for.
struct Options {
    requests: u64,
    serve: Option<String>,
    json: bool,
}

/// `None` when help was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options { requests: 100, serve: None, json: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("requests") => {
                let value = parser.value()?;
                options.requests =
                    value.to_string_lossy().parse().context("--requests takes a number")?;
            }
            lexopt::Arg::Long("serve") => {
                options.serve = Some(parser.value()?.to_string_lossy().into_owned());
            }
            lexopt::Arg::Long("json") => options.json = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!((10..=10_000).contains(&options.requests), "give --requests 10 to 10000");
    Ok(Some(options))
}

#[tokio::main]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metered-api: {error:#}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<()> {
    let Some(options) = options()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let say = |line: String| {
        if !options.json {
            println!("{line}");
        }
    };
    let town = Town::found(options.requests).await?;
    say(format!(
        "Ann and Bob earned {} tokens each; Ann's station is for sale, per reading.",
        EARNED / 2
    ));

    let shop = Arc::new(Shop::open(&town, tokens(PRICE)).await?);
    let address = options.serve.as_deref().unwrap_or("127.0.0.1:0");
    let server = shop.serve(address).await?;
    say(format!("It serves at {}, {PRICE} token a reading.", server.url));

    let buyer = Buyer::new(&town, server.url.clone(), tokens(PRICE));
    let start = town.transactions().await?;
    let singly = buyer.with_x402(options.requests / 10).await?;
    let middle = town.transactions().await?;
    let metered = buyer.with_vouchers(options.requests).await?;
    shop.settle().await?;
    let end = town.transactions().await?;
    let report = Report::new(&town, [(singly, middle - start), (metered, end - middle)]).await?;
    say(report.table());
    if options.json {
        println!("{}", report.to_json());
    }
    report.check(tokens(PRICE))?;
    if options.serve.is_some() {
        say(format!("Serving on. Try: curl -i {}/readings/0", server.url));
        shop.settle_every(shop::SETTLE_EVERY, tokio::signal::ctrl_c()).await?;
        // First nothing more is sold; what was sold since the last settlement is money.
        drop(server);
        shop.settle().await?;
        say("Settled; the shop is closed.".to_owned());
    }
    Ok(())
}

/// What a reading costs, in tokens.
const PRICE: u64 = 1;
/// What the network pays for the first epoch, in tokens.
const EARNED: u64 = 1_000_000;
