//! Two relayers who send the same claims at the same time: everybody is paid once.

use std::{future::Future, time::Duration};

use depin_core::{
    Address, Algorithm, Amount, B256, EpochId, Result, Signer, SoftwareKey, Timestamp,
    reward::RewardDistributor,
};
use depin_evm::{Chain, RootRules};
use depin_payment::{
    Claim,
    evm::{EvmBitmap, EvmDistributor},
    order::ClaimOrder,
    tree::indexed::{Encoding, IndexedTree},
};

use super::world::{ACCOUNTS, World, rows};

impl World {
    /// Runs both, and makes one block when the transactions of both wait for it.
    async fn race<T: Send + 'static>(
        &self,
        one: impl Future<Output = Result<T>> + Send + 'static,
        other: impl Future<Output = Result<T>> + Send + 'static,
    ) -> [Result<T>; 2] {
        self.devnet.set_automine(false);
        let (one, other) = (tokio::spawn(one), tokio::spawn(other));
        while self.devnet.waiting().len() < 2 {
            assert!(!one.is_finished() && !other.is_finished(), "nobody is told before the block");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.devnet.mine(1);
        self.devnet.set_automine(true);
        [one.await.unwrap(), other.await.unwrap()]
    }
}

/// Each row was paid by one of the two, in full.
fn each_once(paid: [Result<Vec<Amount>>; 2], expected: &[Amount]) {
    let [one, other] = paid.map(|paid| paid.expect("who comes second is not refused"));
    for ((one, other), amount) in one.iter().zip(&other).zip(expected) {
        assert!(one.is_zero() || other.is_zero(), "one of them paid it");
        assert_eq!(one.checked_add(*other).unwrap(), *amount);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relayers_with_the_same_claims_in_one_block_pay_everybody_once() {
    let world = World::new().await;
    for epoch in 0..3 {
        let tree = world.publish(epoch, &rows(epoch + 1)).await;
        let claims: Vec<Claim> = tree.claims().collect();
        let now: Vec<_> =
            claims.iter().map(|c| Amount::from(u64::from(c.account.as_slice()[0]))).collect();
        let claim = |relayer: &Chain, claims: Vec<Claim>| {
            let distributor = EvmDistributor::new(relayer.clone(), world.contracts.distributor);
            async move { distributor.claim_many(&claims).await }
        };
        let [one, other] = world.relayers.each_ref();
        let paid = world.race(claim(one, claims.clone()), claim(other, claims)).await;
        each_once(paid, &now);
        for (account, amount) in rows(epoch + 1) {
            assert_eq!(world.held(account).await, amount);
        }
    }
    assert!(world.held(world.contracts.distributor).await.is_zero(), "no dust");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relayers_with_the_same_rows_of_a_bitmap_in_one_block_pay_each_once() {
    let world = World::new().await;
    let (admin, rules) = (&world.admin, RootRules::default());
    let deployed = EvmBitmap::deploy(admin, "grants", &world.contracts, &rules, admin.account());
    let bitmap = deployed.await.unwrap();
    let tree = IndexedTree::build(rows(1), Encoding::Standard).unwrap();
    let epoch = EpochId::new(0);
    bitmap.publish(epoch, &tree, B256::ZERO).await.unwrap();
    let claims: Vec<_> = (0..u64::from(ACCOUNTS)).map(|n| tree.claim(n).unwrap()).collect();
    let amounts: Vec<_> = claims.iter().map(|claim| claim.amount).collect();
    let claim = |relayer: &Chain| {
        let (bitmap, claims) =
            (EvmBitmap::new(relayer.clone(), bitmap.roots().address()), claims.clone());
        async move { bitmap.claim_many(epoch, &claims).await }
    };
    let [one, other] = world.relayers.each_ref();
    each_once(world.race(claim(one), claim(other)).await, &amounts);
    for (account, amount) in rows(1) {
        assert_eq!(world.held(account).await, amount);
    }
    assert!(world.held(bitmap.roots().address()).await.is_zero(), "no dust");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_two_relayers_send_in_one_block_is_paid_once() {
    let world = World::new().await;
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
    let account = key.public_key().to_address().unwrap();
    let (earned, to) = (Amount::tokens(7), Address::repeat_byte(0xb0));
    let other_row = (Address::repeat_byte(1), Amount::from(1));
    let tree = world.publish(0, &[(account, earned), other_row]).await;
    let proof = tree.proof(account).unwrap();
    let at = |relayer: &Chain| EvmDistributor::new(relayer.clone(), world.contracts.distributor);
    let [one, other] = world.relayers.each_ref().map(at);
    let deadline = Timestamp::from_secs(world.devnet.timestamp() + 3_600);
    let order = ClaimOrder { account, cumulative: earned, to, deadline };
    let signed = order.sign(&one.domain(), &key).unwrap();
    let send = |distributor: EvmDistributor| {
        let (signed, proof) = (signed.clone(), proof.clone());
        async move { distributor.claim_by_signature(&signed, &proof).await }
    };
    let paid = world.race(send(one), send(other)).await;
    let told: Vec<Amount> = paid.into_iter().filter_map(Result::ok).collect();
    assert_eq!(Amount::sum(told).unwrap(), earned, "one of them is told that it paid");
    assert_eq!(world.held(to).await, earned);
    assert!(world.held(account).await.is_zero());
}
