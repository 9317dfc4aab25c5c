//! Treasury runs on the embedded chain.

mod blame;
mod claims;
mod gone;
mod held;
mod hooks;
mod kill;
mod lagging;
mod left_out;
mod lost;
mod overtaken;
mod pruned;
mod rebuilt;
mod resized;
mod returned;
mod reverted;
mod stateless;
mod tokens;

use std::{path::PathBuf, sync::Arc, time::Duration};

use depin_core::{Address, Amount, ErrorKind, NetworkId, reward::TokenLedger};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment, RootRules,
    alloy::{
        primitives::{TxKind, U256, hex, keccak256},
        providers::Provider,
        rpc::types::TransactionRequest,
    },
    bindings::{Disperse, NetworkToken},
    deploy,
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, EvmRoots, EvmToken, Ledger, PayList, Treasury, Verdict, Way},
};

/// A network, and a treasury with tokens that can pay by transfers.
struct Bank {
    devnet: Devnet,
    chain: Chain,
    contracts: Deployment,
    disperse: Address,
    token: EvmToken,
    folder: tempfile::TempDir,
}

impl Bank {
    async fn open() -> Self {
        Self::on(Devnet::start()).await
    }

    async fn on(devnet: Devnet) -> Self {
        Self::with(devnet, DeployOptions::new(NetworkId::parse("bank").unwrap())).await
    }

    /// With a day to dispute epochs, about which the second account decides.
    async fn disputable() -> Self {
        let devnet = Devnet::start();
        let options = DeployOptions::new(NetworkId::parse("bank").unwrap())
            .rules(RootRules::default().disputable(DAY, Amount::tokens(1)))
            .arbiter(devnet.account(1).address());
        Self::with(devnet, options).await
    }

    async fn with(devnet: Devnet, options: DeployOptions) -> Self {
        let signer = devnet.account(0);
        let chain = Chain::from_provider(devnet.provider(), signer).connect().await.unwrap();
        let contracts = deploy(&chain, &options).await.unwrap();
        let disperse = Treasury::deploy_disperse(&chain).await.unwrap();
        let token = EvmToken::new(chain.clone(), contracts.token);
        let folder = tempfile::tempdir().unwrap();
        Self { devnet, chain, contracts, disperse, token, folder }
    }

    fn treasury(&self) -> Treasury {
        Treasury::new(self.chain.clone(), self.contracts.token).transfers(self.disperse)
    }

    /// Issues tokens to the treasury.
    async fn issue(&self, amount: Amount) {
        let token = NetworkToken::new(self.contracts.token, self.chain.provider());
        let minter = self.chain.read(&token.MINTER_ROLE()).await.unwrap();
        let me = self.chain.account();
        for tx in [
            token.grantRole(minter, me).into_transaction_request(),
            token.mint(me, amount.to_units()).into_transaction_request(),
        ] {
            self.chain.send(tx).await.unwrap();
        }
    }

    /// A treasury that has and allows so much.
    async fn funded(&self, amount: Amount) -> Treasury {
        self.issue(amount).await;
        let treasury = self.treasury();
        treasury.allow(amount).await.unwrap();
        treasury
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The arbiter rejects the epoch that waits.
    async fn reject(&self) {
        let judge = self.devnet.account(1);
        let judge = Chain::from_provider(self.devnet.provider(), judge).connect().await.unwrap();
        let judge = EvmRoots::new(judge, self.contracts.distributor);
        let pending = judge.pending().await.unwrap().expect("an epoch waits");
        judge.resolve(&pending, Verdict::Reject).await.unwrap();
    }

    /// Lets dispute windows end.
    fn pass(&self) {
        self.devnet.increase_time(2 * DAY.as_secs()).unwrap();
        self.devnet.mine(1);
    }

    async fn held(&self, account: Address) -> Amount {
        self.token.balance(account).await.unwrap()
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn someone(i: u64) -> Address {
    Address::from_word(U256::from(i + 0x1_0000_0000).into())
}

/// `count` recipients; the first gets one unit, the second two.
fn list(id: &str, count: u64) -> PayList {
    PayList::new(id, (0..count).map(|i| (someone(i), Amount::from(i + 1)))).unwrap()
}

#[test]
fn lists_that_cannot_be_meant_are_refused() {
    let (ann, one) = (Address::repeat_byte(1), Amount::from(1));
    let bob = Address::repeat_byte(2);
    for (id, payments, kind) in [
        ("a", vec![], ErrorKind::Rejected),
        ("a", vec![(ann, Amount::ZERO)], ErrorKind::Rejected),
        ("a", vec![(Address::ZERO, one)], ErrorKind::Rejected),
        ("a", vec![(ann, one), (bob, one), (ann, one)], ErrorKind::Conflict),
        ("a", vec![(ann, Amount::MAX)], ErrorKind::Limit),
        ("a", vec![(ann, Amount::units(U256::ONE << 192))], ErrorKind::Limit),
        ("", vec![(ann, one)], ErrorKind::Malformed),
        ("a b", vec![(ann, one)], ErrorKind::Malformed),
        ("a/0", vec![(ann, one)], ErrorKind::Malformed),
    ] {
        let error = PayList::new(id, payments.clone()).unwrap_err();
        assert_eq!(error.kind(), kind, "{id:?} {payments:?}: {error}");
    }
    let (there, back) = ([(ann, one), (bob, one)], [(bob, one), (ann, one)]);
    let digest = |id, payments| PayList::new(id, payments).unwrap().digest();
    assert_eq!(digest("a", there), digest("a", back));
    assert_ne!(digest("a", there), digest("b", there));
}

#[tokio::test]
async fn a_list_longer_than_a_transaction_is_paid_once_however_often_it_is_run() {
    let bank = Bank::open().await;
    let list = list("november", 1_000);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    assert_eq!((plan.way(), plan.new_recipients()), (Way::Transfers, 1_000));
    assert_eq!(plan.estimate(Way::Transfers).unwrap().transactions, 3);
    let blocks = bank.devnet.block_number();
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.amount), (1_000, list.total()));
    assert_eq!(bank.devnet.block_number(), blocks + 3);
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
    assert_eq!(bank.held(bank.chain.account()).await, Amount::ZERO);

    let again = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((again.paid, again.gas), (1_000, 0));
    assert_eq!(bank.devnet.block_number(), blocks + 3, "nothing was sent");
    // Even without the journal: the chain knows the batches.
    let lost = treasury.run(&plan, bank.journal("copy")).await.unwrap();
    assert_eq!((lost.paid, lost.gas), (1_000, 0));
}

#[tokio::test]
async fn every_batch_fits_the_gas_that_a_transaction_may_have() {
    let bank = Bank::open().await;
    let list = list("fits", 2 * Treasury::MAX_BATCH as u64);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    let first = bank.devnet.block_number() + 1;
    treasury.run(&plan, bank.journal("fits")).await.unwrap();
    for block in first..=bank.devnet.block_number() {
        let block = bank.chain.provider().get_block_by_number(block.into()).full().await.unwrap();
        for tx in block.unwrap().transactions.txns() {
            let gas = depin_evm::alloy::consensus::Transaction::gas_limit(tx);
            assert!(gas <= 16_777_216, "{gas}");
        }
    }
}

#[tokio::test]
async fn estimates_are_near_what_is_spent() {
    let bank = Bank::open().await;
    let list = list("november", 300);
    let treasury = bank.funded(list.total().checked_add(list.total()).unwrap()).await;
    for (id, new) in [("november", 300), ("december", 0)] {
        let list = PayList::new(id, list.payments().to_vec()).unwrap();
        let plan = treasury.plan(&list).await.unwrap();
        println!("{plan}");
        assert_eq!(plan.new_recipients(), new);
        let report = treasury.run(&plan, bank.journal(id)).await.unwrap();
        near(plan.estimate(Way::Transfers).unwrap().treasury_gas, report.gas, id);
    }
}

#[tokio::test]
async fn estimates_of_claims_are_near_what_is_spent_and_a_later_run_goes_on() {
    let bank = Bank::open().await;
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let mut balances = Cumulative::default();
    for (id, runs) in [("november", 1), ("december", 2)] {
        let list = PayList::new(id, list("x", 200).payments().to_vec()).unwrap();
        let treasury = Treasury::new(bank.chain.clone(), bank.contracts.token)
            .claims(distributor.clone(), balances.clone());
        let plan = treasury.plan(&list).await.unwrap();
        println!("{plan}");
        let first = bank.devnet.block_number() + 1;
        let report = treasury.run(&plan, bank.journal(id)).await.unwrap();
        let mut spent = 0;
        for block in first..=bank.devnet.block_number() {
            let receipts = bank.chain.provider().get_block_receipts(block.into()).await.unwrap();
            spent += receipts.unwrap().iter().map(|receipt| receipt.gas_used).sum::<u64>();
        }
        near(plan.estimate(Way::Claims).unwrap().treasury_gas, spent, id);
        assert_eq!((report.gas, report.transactions.len()), (spent, 3), "one publishes, two claim");
        assert_eq!((report.paid, report.to_claim), (200, 0));
        for (account, amount) in list.payments() {
            let sum = Amount::units(amount.to_units() * U256::from(runs));
            assert_eq!(bank.held(*account).await, sum);
        }
        // Run again, from the same balances: nobody is paid again.
        let again = treasury.run(&plan, bank.journal(id)).await.unwrap();
        assert_eq!(again.balances, report.balances);
        balances = report.balances.unwrap();
    }
    assert_eq!(bank.token.supply().await.unwrap(), balances.total());
}

#[tokio::test]
async fn claims_wait_for_the_end_of_a_dispute_window() {
    let bank = Bank::disputable().await;
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let treasury = Treasury::new(bank.chain.clone(), bank.contracts.token)
        .claims(distributor, Cumulative::default());
    let list = list("november", 20);
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 20));
    bank.pass();
    for _ in 0..2 {
        let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
        assert_eq!((report.paid, report.to_claim), (20, 0));
        assert_eq!(bank.token.supply().await.unwrap(), list.total());
    }
}

fn near(estimate: u64, spent: u64, what: &str) {
    println!("{what}: estimated {estimate}, spent {spent}");
    assert!(estimate.abs_diff(spent) * 10 <= spent, "{what}: estimated {estimate}, spent {spent}");
}

#[tokio::test]
async fn claims_are_cheaper_when_one_serves_many_runs() {
    let bank = Bank::open().await;
    let list = list("november", 100);
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let both = bank.funded(list.total()).await.claims(distributor, Cumulative::default());
    assert_eq!(both.plan(&list).await.unwrap().way(), Way::Transfers);
    let seldom = both.claim_every(12);
    let plan = seldom.plan(&list).await.unwrap();
    assert_eq!(plan.way(), Way::Claims);
    let shown = plan.to_string();
    assert!(shown.contains("batched transfers") && shown.ends_with("chosen: claims"), "{shown}");
    let report = seldom.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 100), "claims are left to the recipients");
    let twice = list.total().checked_add(list.total()).unwrap();
    assert_eq!(bank.token.supply().await.unwrap(), twice, "what the treasury has, and the epoch");
}

#[tokio::test]
async fn what_cannot_be_paid_to_the_end_is_not_begun() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    let treasury = bank.treasury();
    let plan = treasury.plan(&list).await.unwrap();
    let (journal, blocks) = (bank.journal("november"), bank.devnet.block_number());
    let poor = treasury.run(&plan, &journal).await.unwrap_err();
    assert_eq!(poor.kind(), ErrorKind::Rejected);
    assert!(poor.to_string().contains("holds less"), "{poor}");
    assert_eq!(bank.devnet.block_number(), blocks);
    bank.issue(list.total()).await;
    let blocks = bank.devnet.block_number();
    let silent = treasury.run(&plan, &journal).await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::Rejected);
    assert!(silent.to_string().contains("allow more"), "{silent}");
    assert_eq!(bank.devnet.block_number(), blocks);
    let nowhere = Treasury::new(bank.chain.clone(), bank.contracts.token).plan(&list).await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_name_pays_one_list_with_or_without_its_journal() {
    let bank = Bank::open().await;
    let (paid, other) = (list("november", 5), list("november", 6));
    let treasury = bank.funded(Amount::from(1_000)).await;
    let plan = treasury.plan(&paid).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let plan = treasury.plan(&other).await.unwrap();
    for journal in ["november", "lost"] {
        let error = treasury.run(&plan, bank.journal(journal)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert_eq!(bank.held(someone(5)).await, Amount::ZERO);
}

/// Also when the first list was an epoch, which no key of a batch tells; and whichever way the other one would go.
#[tokio::test]
async fn a_name_that_was_published_pays_no_other_list() {
    let bank = Bank::open().await;
    let (paid, other) = (list("november", 5), list("november", 6));
    bank.funded(Amount::from(1_000)).await;
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&paid).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let treasury = bank.both(&bank.chain, report.balances.unwrap());
    for way in [Way::Claims, Way::Transfers] {
        let plan = treasury.plan(&other).await.unwrap().by(way);
        for journal in ["november", "lost"] {
            let error = treasury.run(&plan, bank.journal(journal)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{way} {journal}: {error}");
        }
        assert!(!bank.journal("lost").exists(), "{way}");
    }
    assert_eq!(bank.held(someone(4)).await, Amount::from(5));
    // It is about the name: another one is another run.
    let plan = treasury.plan(&list("december", 6)).await.unwrap().by(Way::Claims);
    assert_eq!(treasury.run(&plan, bank.journal("december")).await.unwrap().paid, 6);
}

#[tokio::test]
async fn a_journal_keeps_its_batches_and_is_open_once_and_tells_damage() {
    let bank = Bank::open().await;
    let list = list("november", 6);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    let path = bank.journal("november");
    treasury.clone().batch(4).run(&plan, &path).await.unwrap();
    let blocks = bank.devnet.block_number();
    // Other batches would have other contents under the keys of the first.
    treasury.run(&plan, &path).await.unwrap();
    assert_eq!(bank.devnet.block_number(), blocks);

    let text = std::fs::read_to_string(&path).unwrap();
    let notes = text.find("\nbegin ").unwrap();
    for cut in 0..=notes {
        std::fs::write(&path, &text[..cut]).unwrap();
        let error = treasury.run(&plan, &path).await.unwrap_err();
        let kinds = [ErrorKind::Corrupt, ErrorKind::Conflict];
        assert!(kinds.contains(&error.kind()), "cut at {cut}: {error}");
    }
    for cut in notes + 1..text.len() {
        std::fs::write(&path, &text[..cut]).unwrap();
        let report = treasury.run(&plan, &path).await.unwrap();
        assert_eq!((report.paid, report.gas), (6, 0), "notes that are lost pay nobody");
    }
    let torn_letter = format!("skip {} r\u{e9}serv\u{e9}", someone(1)).into_bytes();
    let torn_letter = &torn_letter[..torn_letter.len() - 1];
    for torn in [&b"skip 0x12"[..], torn_letter] {
        std::fs::write(&path, [text.as_bytes(), torn].concat()).unwrap();
        let report = treasury.run(&plan, &path).await.unwrap();
        assert_eq!(report.paid, 6, "a torn note is as if it were not written");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    std::fs::write(&path, [text.as_bytes(), torn_letter, b"\n"].concat()).unwrap();
    let error = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "no note is written like that: {error}");
    std::fs::write(&path, text.replacen("run 2", "run 1", 1)).unwrap();
    let error = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "lists were digested otherwise: {error}");
    std::fs::write(&path, &text).unwrap();
    // Two that begin together meet at the lock before either of them makes a journal.
    for name in ["november", "december"] {
        let beside = std::fs::File::create(bank.journal(&format!("{name}.lock"))).unwrap();
        beside.lock().unwrap();
        let error = treasury.run(&plan, bank.journal(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert!(!bank.journal("december").exists());
}

/// A token of which everybody has more than enough, that everybody allows to take, and that refuses to be sent to
/// two accounts. Written in bytes: `transfer` reverts for them and logs for others, `transferFrom` does nothing,
/// everything else answers the largest number.
fn picky_token(refused: [Address; 2]) -> Vec<u8> {
    let transfer = &keccak256("transfer(address,uint256)")[..4];
    let transfer_from = &keccak256("transferFrom(address,address,uint256)")[..4];
    let event = keccak256("Transfer(address,address,uint256)");
    let mut code = hex!("5f3560e01c").to_vec(); // the selector
    code.extend([&hex!("8063")[..], transfer, &hex!("14602b57")].concat());
    code.extend([&hex!("8063")[..], transfer_from, &hex!("14609957")].concat());
    code.extend(hex!("5f195f5260205ff3"));
    while code.len() < 0x2b {
        code.push(0);
    }
    code.extend(hex!("5b"));
    for account in refused {
        code.extend([&hex!("60043573")[..], account.as_slice(), &hex!("1460a257")].concat());
    }
    code.extend(hex!("6024355f5260043533"));
    code.extend([&hex!("7f")[..], event.as_slice(), &hex!("60205fa3")].concat());
    while code.len() < 0x99 {
        code.push(0x5b);
    }
    code.extend(hex!("5b60015f5260205ff3"));
    assert_eq!(code.len(), 0xa2);
    code.extend(hex!("5b5f5ffd"));
    // The constructor copies what follows it.
    let size = u8::try_from(code.len()).unwrap();
    [&[0x60, size, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3], &code[..]].concat()
}

#[tokio::test]
async fn those_who_cannot_receive_are_named_and_the_others_of_their_batch_are_paid() {
    let bank = Bank::open().await;
    let refused = [someone(3), someone(17)];
    let deploy = TransactionRequest { to: Some(TxKind::Create), ..TransactionRequest::default() }
        .input(picky_token(refused).into());
    let token = bank.chain.send(deploy).await.unwrap().contract_address.unwrap();
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse).batch(10);
    let list = list("picky", 25);
    let plan = treasury.plan(&list).await.unwrap();
    let path = bank.journal("picky");
    let first = bank.devnet.block_number() + 1;
    for _ in 0..2 {
        let report = treasury.run(&plan, &path).await.unwrap();
        assert_eq!(report.paid, 23);
        let named: Vec<_> = report.unpaid.iter().map(|unpaid| unpaid.account).collect();
        assert_eq!(named, refused);
        assert_eq!(report.unpaid[0].amount, Amount::from(4));
        assert!(!report.unpaid[0].reason.is_empty());
    }
    assert_eq!(bank.devnet.block_number(), first + 2, "three batches, and none that reverted");
    let filter = depin_evm::alloy::rpc::types::Filter::new().address(token).from_block(first);
    let logs = bank.chain.provider().get_logs(&filter).await.unwrap();
    let mut paid: Vec<_> = logs.iter().map(|log| Address::from_word(log.topics()[2])).collect();
    paid.sort_unstable();
    let payable = list.payments().iter().filter(|(account, _)| !refused.contains(account));
    assert_eq!(paid, payable.map(|(account, _)| *account).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_is_left_out_because_of_a_token_that_moves_nothing() {
    let bank = Bank::open().await;
    // Where not even the treasury can be sent to, no other refusal says anything.
    let refused = [someone(3), bank.chain.account()];
    let deploy = TransactionRequest { to: Some(TxKind::Create), ..TransactionRequest::default() }
        .input(picky_token(refused).into());
    let token = bank.chain.send(deploy).await.unwrap().contract_address.unwrap();
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse).batch(10);
    let plan = treasury.plan(&list("paused", 25)).await.unwrap();
    let path = bank.journal("paused");
    for _ in 0..2 {
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("skip"));
    }
}

#[tokio::test]
async fn a_run_of_which_nothing_was_paid_takes_smaller_batches() {
    let bank = Bank::open().await;
    let list = list("november", 6);
    let (treasury, path) = (bank.treasury(), bank.journal("november"));
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, &path).await.unwrap_err();
    assert!(path.exists(), "the journal was made before the funds were missing");
    let treasury = bank.funded(list.total()).await;
    let blocks = bank.devnet.block_number();
    let report = treasury.batch(2).run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, bank.devnet.block_number()), (6, blocks + 3));
    // By now something was paid, and the batches stay.
    let again = bank.treasury().batch(3).run(&plan, &path).await.unwrap();
    assert_eq!((again.paid, again.transactions), (6, report.transactions));
}

#[tokio::test]
async fn lists_that_pay_a_contract_of_the_run_are_refused_by_name() {
    let bank = Bank::open().await;
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let treasury = bank.treasury().claims(distributor, Cumulative::default());
    let fine = treasury.plan(&list("november", 3)).await.unwrap();
    for (name, contract) in [
        ("the token", bank.contracts.token),
        ("Disperse", bank.disperse),
        ("the distributor", bank.contracts.distributor),
    ] {
        let list = PayList::new("november", [(contract, Amount::from(1))]).unwrap();
        let error = treasury.plan(&list).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains(name), "{error}");
    }
    // A plan of another treasury is looked at again.
    let stranger = Treasury::new(bank.chain.clone(), someone(1)).transfers(bank.disperse);
    let error = stranger.run(&fine, bank.journal("november")).await.unwrap_err();
    assert!(error.to_string().contains("the token"), "{error}");
}

#[tokio::test]
async fn a_plan_survives_answers_that_are_lost() {
    let bank = Bank::open().await;
    let provider = crate::claims::faults::provider(&bank.devnet, &Arc::default(), 7);
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let chain = loop {
        let signer = bank.devnet.account(0);
        if let Ok(chain) = Chain::from_provider(provider.clone(), signer).connect().await {
            break chain;
        }
    };
    // One of a hundred answers is lost, so hardly any eight hundred arrive.
    let treasury = Treasury::new(chain, bank.contracts.token)
        .transfers(bank.disperse)
        .claims(distributor, Cumulative::default());
    assert_eq!(treasury.plan(&list("lossy", 800)).await.unwrap().new_recipients(), 800);
}

#[tokio::test]
async fn the_books_name_the_run_that_a_transaction_belongs_to() {
    let bank = Bank::open().await;
    let list = list("november", 6);
    let treasury = bank.funded(list.total()).await.batch(4);
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!(report.transactions.len(), 2);
    let ledger = Ledger::new(bank.chain.clone(), bank.contracts.token, "BANK")
        .unwrap()
        .run("november", &report.transactions)
        .unwrap();
    let error = ledger.clone().run("december", &report.transactions).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(ledger.clone().run("no/vember", &[]).unwrap_err().kind(), ErrorKind::Malformed);
    let books = ledger.reconcile().await.unwrap().books;
    assert_eq!(books.hledger().matches("Payments of november").count(), 2);
}

#[tokio::test]
async fn a_batch_that_a_reorganisation_took_back_is_paid_again_once() {
    let bank = Bank::open().await;
    let list = list("reorganised", 9);
    let treasury = bank.funded(list.total()).await.batch(3);
    let plan = treasury.plan(&list).await.unwrap();
    let path = bank.journal("reorganised");
    treasury.run(&plan, &path).await.unwrap();
    bank.devnet.reorg(2).unwrap();
    assert_eq!(bank.held(someone(8)).await, Amount::ZERO);
    treasury.run(&plan, &path).await.unwrap();
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
    let contract = Disperse::new(bank.disperse, bank.chain.provider());
    let events = contract.Dispersed_filter().from_block(0).query().await.unwrap();
    assert_eq!(events.len(), 3);
}
