//! Who is paid, by whom, in how many transactions.

use std::sync::Arc;

use depin::{
    Amount, B256, Builder, EpochId, ErrorKind, ManualClock, Network,
    core::reward::Commitment,
    data::ingest::{DeviceLimits, Rate},
    devnet::Devnet,
    evm::alloy::{primitives::U256, rpc::types::TransactionRequest},
    hw::SimulatedPebble,
    payment::ProRata,
    presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

const FIRST: EpochId = EpochId::new(0);

async fn builder() -> (Builder, Devnet) {
    let preset = presets::devnet().await.unwrap();
    let devnet = preset.embedded().unwrap().clone();
    let builder = Network::builder(preset)
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .rewards(ProRata::per_epoch(tokens(100)));
    (builder, devnet)
}

#[tokio::test]
async fn a_device_earns_for_its_own_account_where_the_network_says_so() {
    let (builder, _devnet) = builder().await;
    let network = builder.pay_device_accounts().build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let epoch = network.close_epoch(FIRST).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));

    let account = network.device(device.did()).await.unwrap().account.unwrap();
    assert_eq!(network.token().balance(account).await.unwrap(), tokens(100));
    assert_eq!(network.token().balance(owner(1)).await.unwrap(), Amount::ZERO);
    let audit = network.audit(epoch.id()).await.unwrap();
    assert!(audit.is_complete(), "{audit}");
}

#[tokio::test]
async fn the_claims_of_many_owners_share_a_transaction() {
    let (builder, devnet) = builder().await;
    let network = builder.build().await.unwrap();
    let mut devices = Vec::new();
    for number in 1..=5 {
        let device = network.enroll(SimulatedPebble::new(number), owner(number as u8)).await;
        devices.push(device.unwrap());
    }
    for device in &devices[..4] {
        device.send(&[celsius(20)]).await.unwrap();
    }
    network.close_epoch(FIRST).await.unwrap();
    let blocks = devnet.block_number();
    let paid = network.claim_all(devices.iter().map(|device| device.did())).await.unwrap();
    let amounts: Vec<Amount> = paid.iter().map(|(_, amount)| *amount).collect();
    assert_eq!(amounts, [tokens(25), tokens(25), tokens(25), tokens(25), Amount::ZERO]);
    assert_eq!(devnet.block_number(), blocks + 1);
    for number in 1..=4 {
        assert_eq!(network.token().balance(owner(number)).await.unwrap(), tokens(25));
    }
}

#[tokio::test]
async fn what_somebody_else_published_is_not_built_upon() {
    let (builder, _devnet) = builder().await;
    let network = builder.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let own = *network.close_epoch(FIRST).await.unwrap().commitment();

    let next = EpochId::new(1);
    let root = B256::repeat_byte(7);
    let foreign = Commitment { epoch: next, root, cumulative: tokens(150), ..own };
    network.distributor().publish(&foreign).await.unwrap();
    device.send(&[later(21)]).await.unwrap();
    for id in [next, next] {
        let error = network.close_epoch(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("distributor of its own"), "{error}");
    }
    assert_eq!(network.log().sealed(next).await.unwrap(), None, "nothing is decided yet");
}

#[tokio::test]
async fn a_network_decides_how_much_a_device_may_send() {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, 1);
    let (builder, _devnet) = builder().await;
    let network = builder.device_limits(limits).concurrency(8).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let error = device.send(&[later(21)]).await.unwrap_err();
    assert!(error.is_retryable() && error.retry_after().is_some(), "{error}");
}

#[tokio::test]
async fn whatever_else_the_networks_account_sends_keeps_its_nonces_in_order() {
    let (builder, _devnet) = builder().await;
    let network = builder.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let gift = TransactionRequest::default().to(owner(7)).value(U256::from(5));
    for number in 0..2 {
        network.chain().unwrap().send(gift.clone()).await.unwrap();
        device.send(&[if number == 0 { celsius(20) } else { later(21) }]).await.unwrap();
        network.close_epoch(EpochId::new(number)).await.unwrap();
        network.claim(device.did()).await.unwrap();
    }
    assert_eq!(network.token().balance(owner(1)).await.unwrap(), tokens(200));
}
