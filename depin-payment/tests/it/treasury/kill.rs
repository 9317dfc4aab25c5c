//! Runs whose process is killed at any moment: nobody is paid twice and nobody is missed, by either way.
//!
//! It is counted that some fell between journal and chain, and between transactions of a run.
//! The test binary starts itself as the treasurer: `treasurer` does nothing unless [`URL`] is set.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use depin_core::{Address, Amount, EpochId, reward::RewardDistributor as _};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{primitives::U256, providers::Provider as _},
    bindings::{Disperse, NetworkToken, RewardDistributor},
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, PayList, Treasury, Way},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Bank, list};

/// Node, token, way and contract, folder and name of the run.
const URL: &str = "DEPIN_TREASURER_URL";
const TOKEN: &str = "DEPIN_TREASURER_TOKEN";
const WAY: &str = "DEPIN_TREASURER_WAY";
const CONTRACT: &str = "DEPIN_TREASURER_CONTRACT";
const FOLDER: &str = "DEPIN_TREASURER_FOLDER";
const RUN: &str = "DEPIN_TREASURER_RUN";
/// How often the treasurer is killed, when more often than here.
const KILLS: &str = "DEPIN_KILLS";

const RECIPIENTS: u64 = 40;
const BATCH: usize = 2;
const ARGUMENTS: [&str; 4] =
    ["--exact", "treasury::kill::treasurer", "--nocapture", "--test-threads=1"];

#[tokio::test]
async fn treasurer() {
    let Ok(url) = std::env::var(URL) else { return };
    let setting = |name| std::env::var(name).unwrap();
    let address = |name| setting(name).parse::<Address>().unwrap();
    let folder = std::path::PathBuf::from(setting(FOLDER));
    let chain = Chain::builder()
        .url(&url)
        .unwrap()
        .signer(Devnet::start().account(1))
        .store(folder.join("transactions"))
        .poll_interval(Duration::from_millis(5))
        .connect()
        .await
        .unwrap();
    let treasury = Treasury::new(chain.clone(), address(TOKEN));
    let balances = folder.join("balances");
    let treasury = if setting(WAY) == Way::Transfers.to_string() {
        treasury.transfers(address(CONTRACT)).batch(BATCH)
    } else {
        let distributor = EvmDistributor::new(chain, address(CONTRACT));
        treasury.claims(distributor, Cumulative::load(&balances).unwrap().unwrap_or_default())
    };
    let list = list(&setting(RUN), RECIPIENTS);
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, folder.join(list.id())).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (list.payments().len(), 0));
    if let Some(earned) = report.balances {
        earned.save(&balances).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_treasurer_killed_a_hundred_times_pays_nobody_twice_and_misses_nobody() {
    let (bank, treasurer) = bank().await;
    fund(&bank, &treasurer).await;
    let runs = killed(&bank, Way::Transfers, bank.disperse, 100).await;
    check(&bank, runs).await;
    let contract = Disperse::new(bank.disperse, bank.chain.provider());
    let events = contract.Dispersed_filter().topic1(treasurer.account()).from_block(0);
    let events = events.query().await.unwrap();
    assert_eq!(events.len() as u64, runs * RECIPIENTS.div_ceil(BATCH as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_treasurer_killed_while_he_publishes_and_claims_pays_nobody_twice_and_misses_nobody() {
    let (bank, treasurer) = bank().await;
    let contract = RewardDistributor::new(bank.contracts.distributor, bank.chain.provider());
    let role = bank.chain.read(&contract.PUBLISHER_ROLE()).await.unwrap();
    let grant = contract.grantRole(role, treasurer.account()).into_transaction_request();
    bank.chain.send(grant).await.unwrap();
    let runs = killed(&bank, Way::Claims, bank.contracts.distributor, 50).await;
    check(&bank, runs).await;
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let latest = distributor.latest().await.unwrap();
    assert_eq!(latest, Some(EpochId::new(runs - 1)), "each run is one epoch");
    let issued = list("any", RECIPIENTS).total().to_units() * U256::from(runs);
    let token = NetworkToken::new(bank.contracts.token, bank.chain.provider());
    assert_eq!(bank.chain.read(&token.totalSupply()).await.unwrap(), issued);
}

async fn bank() -> (Bank, Chain) {
    let devnet = Devnet::builder().block_time(Duration::from_millis(15)).build();
    let bank = Bank::on(devnet.clone()).await;
    let treasurer = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await;
    (bank, treasurer.unwrap())
}

/// Kills treasurers until it is enough, and lets the last one finish; answers how many runs there were. Some are killed at
/// any moment, the others when they have made a journal, or sent a transaction.
async fn killed(bank: &Bank, way: Way, contract: Address, kills: u32) -> u64 {
    let asked = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok());
    let kills = asked.unwrap_or(0).max(kills);
    let server = bank.devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let treasurer = |run: u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let (token, folder): (_, &Path) = (bank.contracts.token.to_string(), bank.folder.path());
        command.args(ARGUMENTS).env(URL, server.url()).env(TOKEN, token).env(FOLDER, folder);
        command.env(WAY, way.to_string()).env(CONTRACT, contract.to_string());
        command.env(RUN, format!("run-{run}"));
        command
    };
    let transactions = match way {
        Way::Transfers => RECIPIENTS.div_ceil(BATCH as u64),
        // One publishes, one claims for all.
        _ => 2,
    };
    let mut rng = StdRng::seed_from_u64(9);
    let mut tally = Tally::default();
    let mut life = Life { bank, transactions, run: 0, since: sent(bank).await };
    while tally.kills < kills {
        let mut command = treasurer(life.run);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let end = match tally.kills % 4 {
            0 | 1 if !life.has_journal() => End::Begun,
            0 | 1 => End::Amid,
            _ => End::After(Duration::from_millis(rng.gen_range(10..400))),
        };
        match life.of(child, end).await {
            Some(stage) => tally.add(stage),
            None => life = Life { run: life.run + 1, since: sent(bank).await, ..life },
        }
    }
    println!("{way}: {tally:?} in {} runs", life.run + 1);
    assert!(tally.begun > 0 && tally.amid > 0, "{tally:?}");
    let output = treasurer(life.run).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    life.run + 1
}

/// When a treasurer is killed.
#[derive(Clone, Copy)]
enum End {
    After(Duration),
    /// When the journal of the run is there.
    Begun,
    /// When a transaction of the run was sent.
    Amid,
}

/// How far a treasurer brought a run before he was killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// He made the journal, and sent nothing.
    Begun,
    /// He sent some of the transactions, and not the last.
    Amid,
    Other,
}

/// How many were killed, and of those how many at which stage.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    begun: u32,
    amid: u32,
}

impl Tally {
    fn add(&mut self, stage: Stage) {
        self.kills += 1;
        self.begun += u32::from(stage == Stage::Begun);
        self.amid += u32::from(stage == Stage::Amid);
    }
}

/// Of treasurers who work on one run.
struct Life<'a> {
    bank: &'a Bank,
    /// How many the run takes.
    transactions: u64,
    run: u64,
    /// Transactions before the run.
    since: u64,
}

impl Life<'_> {
    /// Waits for the end of a treasurer, or brings it about; answers how far he came, unless he finished the run.
    async fn of(&self, mut child: Child, end: End) -> Option<Stage> {
        let (born, journal, sent) = (Instant::now(), self.has_journal(), self.sent().await);
        let stage = |now| match now {
            0 if !journal && self.has_journal() => Stage::Begun,
            now if sent < now && now < self.transactions => Stage::Amid,
            _ => Stage::Other,
        };
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                assert!(status.success(), "the treasurer failed: {said}");
                return None;
            }
            let now = stage(self.sent().await);
            let is_due = match end {
                End::After(life) => born.elapsed() >= life,
                // Unless the journal was made and something sent since it was looked at.
                End::Begun => now != Stage::Other,
                End::Amid => now == Stage::Amid,
            };
            if is_due {
                child.kill().unwrap();
                child.wait().unwrap();
                return Some(stage(self.sent().await));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn has_journal(&self) -> bool {
        self.bank.journal(&format!("run-{}", self.run)).exists()
    }

    /// Transactions of the run, mined or not.
    async fn sent(&self) -> u64 {
        sent(self.bank).await - self.since
    }
}

/// Transactions of the treasurer, mined or not.
async fn sent(bank: &Bank) -> u64 {
    let account = bank.devnet.account(1).address();
    bank.devnet.provider().get_transaction_count(account).pending().await.unwrap()
}

async fn fund(bank: &Bank, treasurer: &Chain) {
    let much = Amount::tokens(1);
    bank.issue(much).await;
    let token = NetworkToken::new(bank.contracts.token, bank.chain.provider());
    let gift = token.transfer(treasurer.account(), much.to_units()).into_transaction_request();
    bank.chain.send(gift).await.unwrap();
    let treasury = Treasury::new(treasurer.clone(), bank.contracts.token).transfers(bank.disperse);
    treasury.allow(much).await.unwrap();
}

/// Each recipient has what all runs give.
async fn check(bank: &Bank, runs: u64) {
    let list: PayList = list("any", RECIPIENTS);
    for (account, amount) in list.payments() {
        let sum = amount.to_units() * U256::from(runs);
        assert_eq!(bank.held(*account).await, Amount::units(sum), "{account}");
    }
}
