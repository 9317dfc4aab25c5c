//! Vouchers that a rail accepts, durably, from 64 callers at the same time, beside one caller after the other.
//!
//! One caller waits for a write to the disk per voucher; callers at the same time share them. Both write to files of one
//! folder, in turns, so that a busy disk slows both. `DEPIN_BENCH_DIR` names a folder on the disk to measure.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use depin_core::{
    Address, Algorithm, Amount, B256, Signer, SoftwareKey, U256,
    payment::{Charge, Payment, PaymentRail},
};
use depin_devnet::Devnet;
use depin_evm::{Chain, bindings::NetworkToken};
use depin_payment::{
    channel::{SignedVoucher, Terms},
    evm::{ChannelRail, ChannelRules, EvmChannel},
    rail::RailStore,
};
use depin_testkit::bench::Row;

const VOUCHERS: u64 = 512;
const CALLERS: u64 = 64;
const ROUNDS: u64 = 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let shop = Shop::open().await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let alone = shop.serve(2 * round, 1).await.as_secs_f64();
        rounds.push((alone, shop.serve(2 * round + 1, CALLERS).await.as_secs_f64()));
    }
    // Each round is a pair from the same moments; the one in the middle stands for all.
    rounds.sort_by(|(a, b), (c, d)| (a / b).total_cmp(&(c / d)));
    let (alone, together) = rounds[rounds.len() / 2];
    let rate = |time: f64| VOUCHERS as f64 / time;
    let against =
        format!("one caller, {:.0}/s, whose every voucher waits for the disk", rate(alone));
    Row::new("voucher_accept_64", rate(together), "vouchers/s", against, alone / together).report();
}

/// A payee with a channel that holds enough, and a folder for its books.
struct Shop {
    channel: EvmChannel,
    terms: Terms,
    key: SoftwareKey,
    folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Self {
        let devnet = Devnet::start();
        let payer = devnet.account(0);
        let key = SoftwareKey::from_bytes(Algorithm::Es256k, &payer.to_bytes().0).unwrap();
        let signer = key.public_key().to_address().unwrap();
        let chain = Chain::from_provider(devnet.provider(), payer).connect().await.unwrap();
        let names = ("Credit".to_owned(), "CRE".to_owned());
        let create = NetworkToken::deploy_builder(
            chain.provider(),
            names.0,
            names.1,
            U256::MAX >> 1,
            chain.account(),
        );
        let created = chain.send(create.into_transaction_request()).await.unwrap();
        let token = NetworkToken::new(created.contract_address.unwrap(), chain.provider());
        let role = chain.read(&token.MINTER_ROLE()).await.unwrap();
        let grant = token.grantRole(role, signer).into_transaction_request();
        chain.send(grant).await.unwrap();
        let mint = token.mint(signer, U256::from(VOUCHERS)).into_transaction_request();
        chain.send(mint).await.unwrap();
        let (payee, token, salt) = (Address::repeat_byte(2), *token.address(), B256::ZERO);
        let terms = Terms { payer: signer, payee, token, signer, challenge: 3_600, salt };
        let channel = EvmChannel::deploy(chain).await.unwrap();
        channel.deposit("all", &terms, VOUCHERS.into()).await.unwrap();
        let folder = match std::env::var_os("DEPIN_BENCH_DIR").map(PathBuf::from) {
            Some(disk) => tempfile::tempdir_in(disk),
            None => tempfile::tempdir(),
        };
        Self { channel, terms, key, folder: folder.unwrap() }
    }

    /// How long a new book takes for all vouchers from so many callers.
    async fn serve(&self, round: u64, callers: u64) -> Duration {
        let store = RailStore::open(&self.folder.path().join(round.to_string())).unwrap();
        let Terms { payee, token, .. } = self.terms;
        let rules = ChannelRules::default();
        let rail = ChannelRail::new(self.channel.clone(), payee, token, rules, store).unwrap();
        let rail = Arc::new(rail);
        // Makes the funds known, which costs the chain's time.
        rail.accept(&charge(&self.terms, 1), &self.voucher(1)).await.unwrap();
        let numbers = |caller| (2..=VOUCHERS).filter(move |number| number % callers == caller);
        let work = (0..callers).map(|caller| {
            let of_caller = |number| (charge(&self.terms, number), self.voucher(number));
            numbers(caller).map(of_caller).collect::<Vec<_>>()
        });
        let work: Vec<_> = work.collect();
        let start = Instant::now();
        let callers = work.into_iter().map(|vouchers| {
            let rail = Arc::clone(&rail);
            tokio::spawn(async move {
                for (charge, payment) in vouchers {
                    rail.accept(&charge, &payment).await.unwrap();
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let time = start.elapsed();
        assert_eq!(rail.balance().await.unwrap().accepted, VOUCHERS.into());
        time
    }

    fn voucher(&self, cumulative: u64) -> Payment {
        let domain = self.channel.domain();
        let sum = Amount::from(cumulative);
        let signed = SignedVoucher::sign(&domain, self.terms, 0, sum, &self.key).unwrap();
        Payment { payer: self.terms.payer, proof: signed.encode() }
    }
}

fn charge(terms: &Terms, number: u64) -> Charge {
    let id = B256::left_padding_from(&number.to_be_bytes());
    Charge { id, payee: terms.payee, amount: 1.into() }
}
