//! Runs whose process is killed at any moment: nobody is paid twice and nobody is missed.
//!
//! The test binary starts itself as the treasurer: `treasurer` does nothing unless [`URL`] is set.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use depin_core::{Address, Amount};
use depin_devnet::Devnet;
use depin_evm::{Chain, bindings::Disperse};
use depin_payment::evm::{PayList, Treasury};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Bank, list};

/// Node, token, `Disperse`, folder and name of the run.
const URL: &str = "DEPIN_TREASURER_URL";
const TOKEN: &str = "DEPIN_TREASURER_TOKEN";
const DISPERSE: &str = "DEPIN_TREASURER_DISPERSE";
const FOLDER: &str = "DEPIN_TREASURER_FOLDER";
const RUN: &str = "DEPIN_TREASURER_RUN";
/// How often the treasurer is killed, when more than 100 times.
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
    let treasury = Treasury::new(chain, address(TOKEN)).transfers(address(DISPERSE)).batch(BATCH);
    let list = list(&setting(RUN), RECIPIENTS);
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, folder.join(list.id())).await.unwrap();
    assert_eq!(report.paid, list.payments().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_treasurer_killed_a_hundred_times_pays_nobody_twice_and_misses_nobody() {
    let kills =
        std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(0).max(100);
    let devnet = Devnet::builder().block_time(Duration::from_millis(15)).build();
    let bank = Bank::on(devnet.clone()).await;
    let treasurer =
        Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await.unwrap();
    fund(&bank, &treasurer).await;
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();

    let mut rng = StdRng::seed_from_u64(9);
    let (mut killed, mut runs) = (0, 0_u64);
    // The last run is let through to its end.
    while killed < kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(ARGUMENTS)
            .env(URL, server.url())
            .env(TOKEN, bank.contracts.token.to_string())
            .env(DISPERSE, bank.disperse.to_string())
            .env(FOLDER, bank.folder.path())
            .env(RUN, format!("run-{runs}"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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
    finish(&bank, &server.url(), runs);
    check(&bank, treasurer.account(), runs + 1).await;
}

async fn fund(bank: &Bank, treasurer: &Chain) {
    let much = Amount::tokens(1);
    bank.issue(much).await;
    let token = depin_evm::bindings::NetworkToken::new(bank.contracts.token, bank.chain.provider());
    let gift = token.transfer(treasurer.account(), much.to_units()).into_transaction_request();
    bank.chain.send(gift).await.unwrap();
    let treasury = Treasury::new(treasurer.clone(), bank.contracts.token).transfers(bank.disperse);
    treasury.allow(much).await.unwrap();
}

fn finish(bank: &Bank, url: &str, run: u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(ARGUMENTS)
        .env(URL, url)
        .env(TOKEN, bank.contracts.token.to_string())
        .env(DISPERSE, bank.disperse.to_string())
        .env(FOLDER, bank.folder.path())
        .env(RUN, format!("run-{run}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Each recipient has what all runs give, and each batch was paid once.
async fn check(bank: &Bank, treasurer: Address, runs: u64) {
    let list: PayList = list("any", RECIPIENTS);
    for (account, amount) in list.payments() {
        let sum = amount.to_units() * depin_evm::alloy::primitives::U256::from(runs);
        assert_eq!(bank.held(*account).await, Amount::units(sum), "{account}");
    }
    let contract = Disperse::new(bank.disperse, bank.chain.provider());
    let events = contract.Dispersed_filter().topic1(treasurer).from_block(0).query().await.unwrap();
    assert_eq!(events.len() as u64, runs * RECIPIENTS.div_ceil(BATCH as u64));
}
