//! Claims whose block a reorganisation took back, made again the way that users claim.

use depin_core::{
    Address, Algorithm, Amount, B256, EpochId, ErrorKind, Signer, SoftwareKey, Timestamp,
    reward::RewardDistributor,
};
use depin_evm::RootRules;
use depin_payment::{
    Claim,
    evm::{EvmBitmap, EvmDistributor},
    order::ClaimOrder,
    tree::indexed::{Encoding, IndexedTree},
};

use super::world::{ACCOUNTS, World, rows};

impl World {
    async fn all_hold(&self, times: u64) {
        for (account, amount) in rows(times) {
            assert_eq!(self.held(account).await, amount);
        }
    }

    fn distributor(&self) -> EvmDistributor {
        EvmDistributor::new(self.relayers[0].clone(), self.contracts.distributor)
    }
}

/// Who claims again is told of a payment, or of none: the sender may have brought the claim back by itself.
fn at_most(told: &[Amount], earned: &[Amount]) {
    let mut pairs = told.iter().zip(earned);
    assert!(pairs.all(|(told, earned)| told.is_zero() || told == earned), "{told:?}");
}

#[tokio::test]
async fn claims_that_a_reorganisation_took_back_are_made_again_and_pay_once() {
    let world = World::new().await;
    let tree = world.publish(0, &rows(1)).await;
    let claims: Vec<Claim> = tree.claims().collect();
    let earned: Vec<_> = claims.iter().map(|claim| claim.cumulative).collect();
    let distributor = world.distributor();
    assert_eq!(distributor.claim_many(&claims).await.unwrap(), earned);
    for _ in 0..3 {
        world.devnet.reorg(1).unwrap();
        at_most(&distributor.claim_many(&claims).await.unwrap(), &earned);
        world.all_hold(1).await;
    }
    let tree = world.publish(1, &rows(2)).await;
    for Claim { account, cumulative, proof } in tree.claims() {
        let claim = async || distributor.claim(account, cumulative, &proof).await.unwrap();
        let more = claim().await;
        assert_eq!(cumulative, more.checked_add(more).unwrap());
        world.devnet.reorg(1).unwrap();
        at_most(&[claim().await], &[more]);
        assert_eq!(world.held(account).await, cumulative);
    }
    world.all_hold(2).await;
    assert!(world.held(world.contracts.distributor).await.is_zero(), "no dust");
}

#[tokio::test]
async fn rows_of_a_bitmap_that_a_reorganisation_took_back_are_paid_again_once() {
    let world = World::new().await;
    let (admin, rules) = (&world.admin, RootRules::default());
    let deployed = EvmBitmap::deploy(admin, "grants", &world.contracts, &rules, admin.account());
    let bitmap = deployed.await.unwrap();
    let tree = IndexedTree::build(rows(1), Encoding::Standard).unwrap();
    let epoch = EpochId::new(0);
    bitmap.publish(epoch, &tree, B256::ZERO).await.unwrap();
    let claims: Vec<_> = (0..u64::from(ACCOUNTS)).map(|n| tree.claim(n).unwrap()).collect();
    let amounts: Vec<_> = claims.iter().map(|claim| claim.amount).collect();
    let bitmap = EvmBitmap::new(world.relayers[0].clone(), bitmap.roots().address());
    assert_eq!(bitmap.claim_many(epoch, &claims).await.unwrap(), amounts);
    world.devnet.reorg(1).unwrap();
    at_most(&bitmap.claim_many(epoch, &claims).await.unwrap(), &amounts);
    assert_eq!(bitmap.claim_many(epoch, &claims).await.unwrap(), [Amount::ZERO; ACCOUNTS as usize]);
    world.all_hold(1).await;
    assert!(world.held(bitmap.roots().address()).await.is_zero(), "no dust");
}

#[tokio::test]
async fn an_order_that_a_reorganisation_took_back_is_paid_again_once() {
    let world = World::new().await;
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
    let account = key.public_key().to_address().unwrap();
    let (earned, to) = (Amount::tokens(7), Address::repeat_byte(0xb0));
    let tree = world.publish(0, &[(account, earned), (Address::repeat_byte(1), 1.into())]).await;
    let proof = tree.proof(account).unwrap();
    let distributor = world.distributor();
    let deadline = Timestamp::from_secs(world.devnet.timestamp() + 3_600);
    let order = ClaimOrder { account, cumulative: earned, to, deadline };
    let signed = order.sign(&distributor.domain(), &key).unwrap();
    assert_eq!(distributor.claim_by_signature(&signed, &proof).await.unwrap(), earned);
    for _ in 0..3 {
        world.devnet.reorg(1).unwrap();
        match distributor.claim_by_signature(&signed, &proof).await {
            Ok(told) => at_most(&[told], &[earned]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Rejected, "{error}"),
        }
        assert_eq!(world.held(to).await, earned);
    }
    assert!(world.held(account).await.is_zero());
}
