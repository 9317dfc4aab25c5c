//! The bitmap distributor pays the rows of a numbered tree, each once.

use std::time::Duration;

use depin_core::{Address, Amount, B256, EpochId, ErrorKind, NetworkId, reward::TokenLedger};
use depin_devnet::Devnet;
use depin_evm::{Chain, DeployOptions, Role, Roles, RootRules, deploy};
use depin_payment::{
    evm::{EvmBitmap, EvmRoots, EvmToken, Verdict},
    tree::indexed::{Encoding, IndexedClaim, IndexedTree},
};

use super::{account, evm::chain};

const MANIFEST: B256 = B256::repeat_byte(9);

async fn network(devnet: &Devnet, rules: RootRules) -> (EvmBitmap, EvmToken) {
    network_of(chain(devnet, 0).await, devnet, rules).await
}

async fn network_of(chain: Chain, devnet: &Devnet, rules: RootRules) -> (EvmBitmap, EvmToken) {
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let contracts = deploy(&chain, &options).await.unwrap();
    let arbiter = devnet.account(3).address();
    let bitmap = EvmBitmap::deploy(&chain, "grants", &contracts, &rules, arbiter).await.unwrap();
    (bitmap, EvmToken::new(chain, contracts.token))
}

/// Row `i` pays `i + 1` units to the account of its half.
fn tree(count: u64) -> IndexedTree {
    let rows = (0..count).map(|i| (account(i / 2), Amount::from(i + 1))).collect();
    IndexedTree::build(rows, Encoding::Standard).unwrap()
}

fn claims(tree: &IndexedTree) -> Vec<IndexedClaim> {
    (0..tree.rows().len() as u64).map(|index| tree.claim(index).unwrap()).collect()
}

#[tokio::test]
async fn every_row_of_every_epoch_is_paid_once() {
    let devnet = Devnet::start();
    let (bitmap, token) = network(&devnet, RootRules::default()).await;
    let tree = tree(5);
    let claims = claims(&tree);
    for (epoch, before) in [(0, 0), (7, 15)] {
        let epoch = EpochId::new(epoch);
        let published = bitmap.publish(epoch, &tree, MANIFEST).await.unwrap();
        assert_eq!(published.cumulative, Amount::from(before + 15), "it emits the sum of its rows");
        assert_eq!(bitmap.publish(epoch, &tree, MANIFEST).await.unwrap(), published);
        assert_eq!(bitmap.claim(epoch, &claims[2]).await.unwrap(), Amount::from(3));
        assert!(bitmap.is_claimed(epoch, 2).await.unwrap());
        assert!(!bitmap.is_claimed(epoch, 3).await.unwrap());

        let paid = bitmap.claim_many(epoch, &claims).await.unwrap();
        assert_eq!(paid, [1, 2, 0, 4, 5].map(Amount::from));
        let blocks = devnet.block_number();
        assert_eq!(bitmap.claim_many(epoch, &claims).await.unwrap(), [Amount::ZERO; 5]);
        assert_eq!(devnet.block_number(), blocks, "what was paid costs no transaction");
    }
    assert_eq!(token.balance(account(0)).await.unwrap(), Amount::from(2 * 3));
    assert_eq!(token.balance(bitmap.roots().address()).await.unwrap(), Amount::ZERO, "no dust");
    assert_eq!(token.supply().await.unwrap(), Amount::from(30));
}

#[tokio::test]
async fn a_row_of_another_epoch_amount_or_account_pays_nobody() {
    let devnet = Devnet::start();
    let (bitmap, token) = network(&devnet, RootRules::default()).await;
    let (tree, epoch) = (tree(4), EpochId::new(0));
    bitmap.publish(epoch, &tree, MANIFEST).await.unwrap();
    let claim = tree.claim(1).unwrap();
    let blocks = devnet.block_number();
    for changed in [
        IndexedClaim { index: 2, ..claim.clone() },
        IndexedClaim { account: Address::repeat_byte(7), ..claim.clone() },
        IndexedClaim { amount: Amount::from(9), ..claim.clone() },
        IndexedClaim { proof: Vec::new(), ..claim.clone() },
    ] {
        // Among good ones too.
        let batch = [tree.claim(0).unwrap(), changed];
        let error = bitmap.claim_many(epoch, &batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains("root of the epoch"), "{error}");
    }
    let error = bitmap.claim(EpochId::new(1), &claim).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(devnet.block_number(), blocks);
    assert!(token.balance(account(0)).await.unwrap().is_zero());
}

#[tokio::test]
async fn what_the_contract_could_not_pay_is_not_published() {
    let devnet = Devnet::start();
    let (bitmap, _) = network(&devnet, RootRules::default()).await;
    let rows = vec![(account(0), Amount::from(1))];
    let packed = IndexedTree::build(rows, Encoding::Packed).unwrap();
    let error = bitmap.publish(EpochId::new(0), &packed, MANIFEST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    bitmap.publish(EpochId::new(0), &tree(2), MANIFEST).await.unwrap();
    let error = bitmap.publish(EpochId::new(0), &tree(3), MANIFEST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let ruled = RootRules::default().disputable(Duration::from_secs(60), Amount::from(1));
    let admin = chain(&devnet, 0).await;
    let options = DeployOptions::new(NetworkId::parse("climate-2").unwrap());
    let contracts = deploy(&admin, &options).await.unwrap();
    let judge = admin.account();
    let error =
        EvmBitmap::deploy(&admin, "own-judge", &contracts, &ruled, judge).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let stranger = EvmBitmap::new(chain(&devnet, 1).await, bitmap.roots().address());
    let error = stranger.publish(EpochId::new(1), &tree(3), MANIFEST).await.unwrap_err();
    assert!(error.to_string().contains("publisher role"), "{error}");
}

#[tokio::test]
async fn rows_wait_for_the_window_and_a_rejected_epoch_issues_nothing() {
    let devnet = Devnet::start();
    let rules = RootRules::default().disputable(Duration::from_secs(3_600), Amount::tokens(1));
    let (bitmap, token) = network(&devnet, rules).await;
    let (bad, good) = (tree(9), tree(2));
    bitmap.publish(EpochId::new(0), &bad, MANIFEST).await.unwrap();
    assert!(bitmap.claim(EpochId::new(0), &bad.claim(0).unwrap()).await.is_err(), "in its window");
    let error = bitmap.publish(EpochId::new(1), &good, MANIFEST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let pending = bitmap.roots().pending().await.unwrap().unwrap();
    let arbiter = EvmRoots::new(chain(&devnet, 3).await, bitmap.roots().address());
    arbiter.resolve(&pending, Verdict::Reject).await.unwrap();

    bitmap.publish(EpochId::new(0), &good, MANIFEST).await.unwrap();
    devnet.increase_time(7_200).unwrap();
    devnet.mine(1);
    let paid = bitmap.claim_many(EpochId::new(0), &claims(&good)).await.unwrap();
    assert_eq!(paid, [1, 2].map(Amount::from));
    assert_eq!(token.supply().await.unwrap(), Amount::from(3));
}

#[tokio::test]
async fn two_publishers_who_do_not_see_each_other_emit_the_rows_of_both() {
    let devnet = Devnet::start();
    let (first, second) = (chain(&devnet, 0).await, chain(&devnet, 1).await);
    let (bitmap, token) = network_of(first.clone(), &devnet, RootRules::default()).await;
    let roles = Roles::of(first, bitmap.roots().address());
    roles.grant(Role::PUBLISHER, second.account()).await.unwrap();
    let other = EvmBitmap::new(second, bitmap.roots().address());
    let trees = [tree(2), tree(5)];

    devnet.set_automine(false);
    let publish = |bitmap: &EvmBitmap, epoch, tree: &IndexedTree| {
        let (bitmap, tree) = (bitmap.clone(), tree.clone());
        tokio::spawn(async move { bitmap.publish(EpochId::new(epoch), &tree, MANIFEST).await })
    };
    let one = publish(&bitmap, 0, &trees[0]);
    waiting(&devnet, 1).await;
    let two = publish(&other, 1, &trees[1]);
    waiting(&devnet, 2).await;
    devnet.mine(1);
    devnet.set_automine(true);
    let totals = [one, two].map(|published| async { published.await.unwrap().unwrap().cumulative });
    let [one, two] = totals;
    assert_eq!([one.await, two.await], [3, 3 + 15].map(Amount::from));

    for (epoch, tree) in trees.iter().enumerate() {
        bitmap.claim_many(EpochId::new(epoch as u64), &claims(tree)).await.unwrap();
    }
    assert_eq!(token.supply().await.unwrap(), Amount::from(3 + 15));
    assert!(token.balance(bitmap.roots().address()).await.unwrap().is_zero());
}

/// Until so many transactions are in the pool.
async fn waiting(devnet: &Devnet, count: usize) {
    while devnet.waiting().len() < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
