//! A treasurer's month: issue, emit, pay, reconcile, export, draw.

use std::{fs, path::Path, path::PathBuf};

use anyhow::{Context, Result};
use depin::{
    Address, Amount, Clock, NetworkId, SystemClock, Timestamp,
    devnet::Devnet,
    evm::{Chain, DeployOptions, Deployment, deploy},
    payment::{
        Cumulative,
        emission::{Curve, Schedule},
        evm::{EvmDistributor, EvmRoots, Ledger, PayList, Reconciled, RunReport, Treasury},
        tokenomics::{Policy, Scenario, Series, charts, of_revenue, simulate},
    },
    tokens,
};

const WEEK: u64 = 7 * 86_400;

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::read()?;
    fs::create_dir_all(&settings.out)?;
    let chain = settings.connect().await?;

    // Issue: 50,000 tokens a week, half of it after two years, and never more than ten million.
    let curve = Curve::halving(tokens(50_000), 104)?;
    let start = settings.start()?;
    let schedule = Schedule::new(start, WEEK, tokens(10_000_000), curve.clone())?;
    let options = DeployOptions::new(NetworkId::parse("treasury")?)
        .token("Harvest", "HARV")
        .cap(schedule.cap())
        .emission(schedule.on_chain()?);
    let contracts = deploy(&chain, &options).await?;
    println!("issued HARV at {} on chain {}", contracts.token, contracts.chain);

    let emitted = emit(&chain, &contracts, &schedule, &settings.out).await?;
    let paid = pay(&chain, &contracts, &settings.out).await?;
    let proved = reconcile(&chain, &contracts, &paid).await?;
    assert_eq!(proved.supply, emitted, "all that was emitted was claimed");
    export(&proved, &settings.out)?;
    draw(&curve, &settings.out)
}

/// Publishes four weeks of the curve: 80 % for 40 operators, 20 % for the treasury; and claims for all.
async fn emit(
    chain: &Chain,
    contracts: &Deployment,
    schedule: &Schedule,
    out: &Path,
) -> Result<Amount> {
    let four_weeks =
        schedule.allowed(schedule.start().plus(std::time::Duration::from_secs(4 * WEEK)))?;
    let each = Amount::units(four_weeks.to_units() / depin::core::U256::from(50));
    let share = Amount::units(each.to_units() * depin::core::U256::from(10));
    let operators = (0..40).map(|i| (account("operator", i), each));
    let list = PayList::new("emission-1", operators.chain([(chain.account(), share)]))?;

    // What was earned before, which the run before left; nothing at first.
    let balances = Cumulative::load(out.join("balances"))?.unwrap_or_default();
    let treasury = Treasury::new(chain.clone(), contracts.token)
        .claims(distributor(chain, contracts), balances);
    let plan = treasury.plan(&list).await?;
    println!("\n{plan}");
    let report = treasury.run(&plan, out.join("emission-1.run")).await?;
    println!("emitted {} to {} accounts for {} gas", report.amount, report.paid, report.gas);
    keep(&report, out)?;
    Ok(list.total())
}

/// Keeps what all accounts have earned: whatever is paid by claims next begins with it.
fn keep(report: &RunReport, out: &Path) -> Result<()> {
    if let Some(balances) = &report.balances {
        balances.save(out.join("balances"))?;
    }
    Ok(())
}

/// Pays 300 suppliers, most of whom never had the token: out of the treasury's share, or as an epoch of their own,
/// whichever is cheaper.
async fn pay(chain: &Chain, contracts: &Deployment, out: &Path) -> Result<RunReport> {
    let disperse = Treasury::deploy_disperse(chain).await?;
    let balances = Cumulative::load(out.join("balances"))?.unwrap_or_default();
    let treasury = Treasury::new(chain.clone(), contracts.token)
        .transfers(disperse)
        .claims(distributor(chain, contracts), balances);
    let suppliers = (0..290).map(|i| (account("supplier", i), "100"));
    let operators = (0..10).map(|i| (account("operator", i), "250"));
    // As it comes from a spreadsheet.
    let lines = suppliers.chain(operators).map(|(to, amount)| format!("{to},{amount}\n"));
    let list = PayList::from_csv("suppliers-1", &lines.collect::<String>(), 18)?;
    let journal = out.join("suppliers-1.run");
    let plan = treasury.plan(&list).await?;
    println!("\n{plan}");
    treasury.allow(list.total()).await?;
    let report = treasury.run(&plan, &journal).await?;
    keep(&report, out)?;
    println!("paid {} to {} accounts for {} gas", report.amount, report.paid, report.gas);
    let again = treasury.run(&plan, &journal).await?;
    println!("the same run again: {} paid, {} gas, nothing sent", again.paid, again.gas);
    let lost = treasury.run(&plan, out.join("suppliers-1.lost")).await?;
    println!("and without its journal: {} paid, {} gas, nothing sent", lost.paid, lost.gas);
    Ok(again)
}

fn distributor(chain: &Chain, contracts: &Deployment) -> EvmDistributor {
    EvmRoots::new(chain.clone(), contracts.distributor).since(contracts.block).into()
}

/// Makes the books from the chain, and proves them against it.
async fn reconcile(chain: &Chain, contracts: &Deployment, paid: &RunReport) -> Result<Reconciled> {
    let ledger = Ledger::new(chain.clone(), contracts.token, "HARV")?
        .since(contracts.block)
        .distributor(contracts.distributor)
        .name(chain.account(), "Treasury")?
        .run("suppliers-1", &paid.transactions)?;
    let proved = ledger.reconcile().await?;
    println!(
        "\nat block {} the books of {} movements equal the chain to the last unit: {} accounts, supply {}",
        proved.block, proved.movements, proved.accounts, proved.supply
    );
    Ok(proved)
}

fn export(proved: &Reconciled, out: &Path) -> Result<()> {
    let books = &proved.books;
    for (name, text) in [
        ("books.csv", books.csv()),
        ("books.journal", books.hledger()),
        ("books.beancount", books.beancount()),
    ] {
        fs::write(out.join(name), text)?;
    }
    let entries = books.transactions().len();
    println!("exported {entries} entries to books.csv, books.journal and books.beancount");
    Ok(())
}

/// Four years of the curve, for a fleet that grows by half a percent a week.
fn draw(curve: &Curve, out: &Path) -> Result<()> {
    let scenario = Scenario {
        devices: Series::growing(500, 5_000, 5_000),
        revenue: Series::constant(400_000_000),
        price: Series::constant(50_000),
        device_cost: 200_000_000,
        running_cost: 300_000,
    };
    let policy = Policy { supply: Amount::ZERO, devices: 8_000, backstop: None };
    let burning = of_revenue(10_000); // all of it buys tokens and burns them
    let table = simulate(&scenario, &policy, 4 * 52, |period, _| curve.at(period), burning)?;
    for (name, chart) in [
        ("supply.svg", charts::supply(&table)),
        ("flows.svg", charts::flows(&table)),
        ("income.svg", charts::income(&table)),
        ("payback.svg", charts::payback(&table)),
    ] {
        fs::write(out.join(name), chart)?;
    }
    let last = table.last().context("four years have weeks")?;
    println!(
        "drew supply, flows, income and payback as SVG: {} HARV after four years",
        last.supply
    );
    Ok(())
}

/// An account of the story; yours come from a file or a registry.
fn account(role: &str, number: u32) -> Address {
    let hash = depin::core::keccak256(format!("{role} {number}").as_bytes());
    Address::from_slice(&hash[12..])
}

struct Settings {
    url: Option<String>,
    out: PathBuf,
}

impl Settings {
    fn read() -> Result<Self> {
        use lexopt::prelude::{Long, ValueExt};
        let mut settings = Self { url: None, out: "treasury-out".into() };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("url") => settings.url = Some(arguments.value()?.string()?),
                Long("out") => settings.out = arguments.value()?.into(),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(settings)
    }

    async fn connect(&self) -> Result<Chain> {
        let Some(url) = &self.url else {
            // A chain inside the process is a new one each time, and knows nothing of earlier runs.
            for name in ["balances", "emission-1.run", "suppliers-1.run", "suppliers-1.lost"] {
                let _ = fs::remove_file(self.out.join(name));
            }
            let devnet = Devnet::start();
            return Ok(Chain::from_provider(devnet.provider(), devnet.account(0))
                .connect()
                .await?);
        };
        let key =
            std::env::var("DEPIN_KEY").context("put the key of the treasury into DEPIN_KEY")?;
        let store = self.out.join("transactions");
        Ok(Chain::builder().url(url)?.signer(key.parse()?).store(store).connect().await?)
    }

    /// Emission began four weeks ago. Kept, so that a run that goes on deploys the same contracts.
    fn start(&self) -> Result<Timestamp> {
        let path = self.out.join("start");
        if let Ok(seconds) = fs::read_to_string(&path) {
            return Ok(Timestamp::from_secs(seconds.trim().parse()?));
        }
        let start = SystemClock.now().secs() - 4 * WEEK - 60;
        fs::write(&path, start.to_string())?;
        Ok(Timestamp::from_secs(start))
    }
}
