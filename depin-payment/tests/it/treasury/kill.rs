//! Runs whose process is killed at any moment: nobody is paid twice and nobody is missed, by either way.
//!
//! The test binary starts itself as the treasurer: `treasurer` does nothing unless [`URL`] is set.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use depin_core::{Address, Amount, EpochId, reward::RewardDistributor as _};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::primitives::U256,
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
/// How often the treasurer is killed, when more often than unless told.
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

/// Kills treasurers until it is enough, and lets the last one finish; answers how many runs there were.
async fn killed(bank: &Bank, way: Way, contract: Address, kills: usize) -> u64 {
    let told = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok());
    let kills = told.unwrap_or(0).max(kills);
    let server = bank.devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let treasurer = |run: u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let (token, folder): (_, &Path) = (bank.contracts.token.to_string(), bank.folder.path());
        command.args(ARGUMENTS).env(URL, server.url()).env(TOKEN, token).env(FOLDER, folder);
        command.env(WAY, way.to_string()).env(CONTRACT, contract.to_string());
        command.env(RUN, format!("run-{run}"));
        command
    };
    let mut rng = StdRng::seed_from_u64(9);
    let (mut killed, mut runs) = (0, 0_u64);
    while killed < kills {
        let mut command = treasurer(runs);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let life = Duration::from_millis(rng.gen_range(10..400));
        let ended = tokio::task::spawn_blocking(move || {
            std::thread::sleep(life);
            let Some(status) = child.try_wait().unwrap() else {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            };
            let mut said = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
            Some((status.success(), said))
        });
        match ended.await.unwrap() {
            None => killed += 1,
            Some((true, _)) => runs += 1,
            Some((false, said)) => panic!("the treasurer failed: {said}"),
        }
    }
    println!("{killed} kills in {} runs", runs + 1);
    let output = treasurer(runs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    runs + 1
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
