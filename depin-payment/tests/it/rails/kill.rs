//! A payee whose process is killed at any moment: no charge that was accepted is lost, and none counts twice.
//!
//! The test binary starts itself as the payee: `till` does nothing unless [`URL`] is set.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use depin_core::{
    Address, Algorithm, Amount, B256, SoftwareKey,
    payment::{Payer, PaymentRail},
};
use depin_devnet::Devnet;
use depin_evm::Chain;
use depin_payment::{
    channel::Terms,
    evm::{ChannelRail, ChannelRules, EvmChannel},
    rail::{ChannelPayer, RailStore},
};
use depin_testkit::rails::charge;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::channel::Channel;

/// Node, contract, token and folder.
const URL: &str = "DEPIN_TILL_URL";
const CONTRACT: &str = "DEPIN_TILL_CONTRACT";
const TOKEN: &str = "DEPIN_TILL_TOKEN";
const FOLDER: &str = "DEPIN_TILL_FOLDER";
/// Where the numbers of charges begin in this process.
const FIRST: &str = "DEPIN_TILL_FIRST";
/// How often the payee is killed, when more than 100 times.
const KILLS: &str = "DEPIN_KILLS";

/// What the payee says when it begins.
const READY: &str = "the till is open";
/// Charges that are asked for at the same time.
const CALLERS: u64 = 4;
const DEPOSIT: u64 = 1_000_000;
const ARGUMENTS: [&str; 4] = ["--exact", "rails::kill::till", "--nocapture", "--test-threads=1"];

/// What a charge costs.
const fn price(number: u64) -> u64 {
    1 + number % 7
}

fn terms(token: Address) -> Terms {
    let devnet = Devnet::start();
    let [payer, payee] = [1, 2].map(|account| devnet.account(account).address());
    Terms { payer, payee, token, signer: payer, challenge: 3_600, salt: B256::ZERO }
}

struct Till {
    rail: Arc<ChannelRail>,
    wallet: Arc<ChannelPayer>,
    payee: Address,
    /// The charges that were accepted, as somebody outside hears of it.
    heard: Mutex<fs::File>,
}

impl Till {
    async fn open(folder: &Path, url: &str, contract: Address, token: Address) -> Self {
        let devnet = Devnet::start();
        let chain = Chain::builder()
            .url(url)
            .unwrap()
            .signer(devnet.account(2))
            .store(folder.join("transactions"))
            .poll_interval(Duration::from_millis(5))
            .connect()
            .await
            .unwrap();
        let terms = terms(token);
        let channel = EvmChannel::new(chain, contract);
        let key = SoftwareKey::from_bytes(Algorithm::Es256k, &devnet.account(1).to_bytes().0);
        let (domain, limit) = (channel.domain(), DEPOSIT.into());
        let path = folder.join("buyer.redb");
        let wallet =
            ChannelPayer::open(&path, domain, terms, Arc::new(key.unwrap()), limit).unwrap();
        let store = RailStore::open(&folder.join("rail.redb")).unwrap();
        let rules = ChannelRules::default();
        let rail = ChannelRail::new(channel, terms.payee, token, rules, store).unwrap();
        let heard =
            fs::OpenOptions::new().create(true).append(true).open(folder.join("heard")).unwrap();
        let heard = Mutex::new(heard);
        Self { rail: Arc::new(rail), wallet: Arc::new(wallet), payee: terms.payee, heard }
    }

    /// Has a charge paid and accepts it, as often as asked.
    async fn accept(&self, number: u64) {
        let charge = charge(self.payee, number, price(number));
        let payment = self.wallet.pay(&charge).await.unwrap();
        let accepted = self.rail.accept(&charge, &payment).await.unwrap();
        assert_eq!(accepted.amount, charge.amount);
        let line = format!("{number}\n");
        self.heard.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn till() {
    let Ok(url) = std::env::var(URL) else { return };
    let setting = |name| std::env::var(name).unwrap();
    let address = |name| setting(name).parse::<Address>().unwrap();
    let folder = PathBuf::from(setting(FOLDER));
    let till = Arc::new(Till::open(&folder, &url, address(CONTRACT), address(TOKEN)).await);
    let first: u64 = setting(FIRST).parse().unwrap();
    println!("{READY}");
    // Runs until it is killed.
    for round in first.. {
        let callers = (0..CALLERS).map(|caller| {
            let till = Arc::clone(&till);
            tokio::spawn(async move { till.accept(round * CALLERS + caller).await })
        });
        let settles = tokio::spawn({
            let rail = Arc::clone(&till.rail);
            async move { rail.settle().await.map(drop) }
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        settles.await.unwrap().unwrap();
    }
}

/// Kills the payee some time after its start, or after it began to work; answers what it said if it ended by itself.
fn kill_after(mut child: Child, life: Duration, works: bool) -> Option<String> {
    if works {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains(READY)) || child.wait().is_ok());
    }
    std::thread::sleep(life);
    let early = child.try_wait().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    early.map(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn heard(folder: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(folder.join("heard")).unwrap_or_default();
    // What was being written when the process died is no whole line.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_killed_a_hundred_times_loses_no_charge_and_counts_none_twice() {
    let kills =
        std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(0).max(100);
    let channel = Channel::open().await;
    let (devnet, token) = (&channel.world.devnet, channel.terms.token);
    channel.deposit("more", &channel.terms, DEPOSIT - 10_000).await;
    let before = channel.world.balance(channel.terms.payee).await;
    let server = devnet.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = channel.world.folder.path();

    let mut rng = StdRng::seed_from_u64(11);
    for kill in 0..kills {
        let first = heard(folder).last().map_or(0, |last| last / CALLERS);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(ARGUMENTS)
            .env(URL, server.url())
            .env(CONTRACT, channel.contract.to_string())
            .env(TOKEN, token.to_string())
            .env(FOLDER, folder)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let life = Duration::from_millis(rng.gen_range(0..250));
        // One in five dies while it opens its files.
        let killing = tokio::task::spawn_blocking(move || kill_after(child, life, kill % 5 != 0));
        if let Some(said) = killing.await.unwrap() {
            panic!("the payee failed: {said}");
        }
    }

    let heard = heard(folder);
    println!("{} charges heard of in {kills} kills", heard.len());
    let till = Till::open(folder, &server.url(), channel.contract, token).await;
    let accepted = till.rail.balance().await.unwrap().accepted;
    let sum = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.map(|number| Amount::from(price(number))).reduce(|a, b| a.checked_add(b).unwrap())
    };
    for number in &heard {
        till.accept(*number).await;
    }
    let balance = till.rail.balance().await.unwrap();
    assert_eq!(balance.accepted, accepted, "what was heard of was remembered, and counts once");
    // What was under way when a process died was accepted or not; now it is.
    let all = 0..=heard.last().copied().unwrap_or_default() + 2 * CALLERS;
    for number in all.clone() {
        till.accept(number).await;
    }
    let expected = sum(&mut all.into_iter()).unwrap();
    assert_eq!(till.rail.balance().await.unwrap().accepted, expected, "each counts once");
    till.rail.settle().await.unwrap();
    let gained = channel.world.balance(channel.terms.payee).await.checked_sub(before).unwrap();
    assert_eq!(gained, expected, "the chain paid what was accepted");
    assert!(!heard.is_empty(), "the payee never got to work");
}
