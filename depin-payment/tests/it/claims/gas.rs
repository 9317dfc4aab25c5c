//! What a claim costs whoever sends it through the client.

use depin_core::{
    Address, Amount, B256, EpochId, NetworkId, Timestamp, keccak256,
    reward::{Commitment, RewardDistributor},
};
use depin_devnet::Devnet;
use depin_evm::{DeployOptions, alloy::providers::Provider, deploy};
use depin_payment::{
    RewardTree,
    emission::{Curve, Schedule},
    evm::EvmDistributor,
};

use crate::evm::chain;

const ALICE: Address = Address::repeat_byte(0xa1);
/// As in a tree of a million accounts.
const DEPTH: u64 = 20;

/// The root of a tree in which Alice has so much, and her proof.
fn path(cumulative: Amount) -> (B256, Vec<B256>) {
    let leaf = RewardTree::build(vec![(ALICE, cumulative)]).unwrap().root();
    let mut proof = Vec::new();
    let root = (0..DEPTH).fold(leaf, |node, level| {
        let sibling = keccak256([node.as_slice(), &level.to_be_bytes()].concat());
        proof.push(sibling);
        let (low, high) = if node < sibling { (node, sibling) } else { (sibling, node) };
        keccak256([low.as_slice(), high.as_slice()].concat())
    });
    (root, proof)
}

#[tokio::test]
async fn one_claim_costs_what_the_contracts_own_bounds_say() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    // As a network is deployed: a controller issues along a decay.
    let started = Timestamp::from_secs(devnet.timestamp() - 10 * 86_400);
    let decay = Curve::geometric(Amount::tokens(100), 30, 9, 10).unwrap();
    let schedule = Schedule::new(started, 86_400, Amount::tokens(1_000_000_000), decay).unwrap();
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let contracts = deploy(&chain, &options.emission(schedule.on_chain().unwrap())).await.unwrap();
    let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);
    for (epoch, most) in [(0, 97_000), (1, 62_000), (2, 62_000)] {
        let cumulative = Amount::tokens(2 * epoch + 1);
        let (root, proof) = path(cumulative);
        let manifest = B256::repeat_byte(9);
        let epoch = EpochId::new(epoch);
        let commitment = Commitment {
            epoch,
            root,
            cumulative: cumulative.checked_add(cumulative).unwrap(),
            manifest,
        };
        distributor.publish(&commitment).await.unwrap();
        let paid = distributor.claim(ALICE, cumulative, &proof).await.unwrap();
        assert!(!paid.is_zero());
        let receipts = chain.provider().get_block_receipts(devnet.block_number().into());
        let receipts = receipts.await.unwrap().unwrap();
        assert!(receipts[0].gas_used <= most, "{epoch}: {} gas", receipts[0].gas_used);
        // Nothing is left, and asking costs nothing.
        let blocks = devnet.block_number();
        assert!(distributor.claim(ALICE, cumulative, &proof).await.unwrap().is_zero());
        assert_eq!(devnet.block_number(), blocks);
    }
}
