//! Devices that change their keys, for good and bad reasons.

use std::sync::Arc;

use depin::{
    Algorithm, Device, EpochId, ErrorKind, Hardware, ManualClock, Network, Signer, SoftwareKey,
    hw::SimulatedPebble, payment::ProRata, presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

const FIRST: EpochId = EpochId::new(0);

async fn network() -> Network {
    Network::builder(presets::devnet().await.unwrap())
        .clock(Arc::new(ManualClock::at(NOW)))
        .rewards(ProRata::per_epoch(tokens(100)))
        .build()
        .await
        .unwrap()
}

fn key(seed: u8) -> Arc<SoftwareKey> {
    Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]))
}

/// A device that may change to `key(next)`.
async fn enroll(network: &Network, chip: u64, next: u8) -> Device {
    let chip = SimulatedPebble::new(chip);
    let hardware = Hardware::new(chip.signer(), chip.attester());
    network.enroll(hardware.with_next_key(key(next).public_key()), owner(1)).await.unwrap()
}

#[tokio::test]
async fn work_of_all_keys_is_paid_and_audited_also_long_after() {
    let network = network().await;
    let device = enroll(&network, 1, 1).await;
    device.send(&[celsius(20)]).await.unwrap();
    let device = network.rotate(&device, key(1), Some(key(2).public_key())).await.unwrap();
    device.send(&[celsius(21)]).await.unwrap();
    let first = network.close_epoch(FIRST).await.unwrap();
    assert_eq!(first.payout(device.did()), tokens(100));
    let device = network.rotate(&device, key(2), None).await.unwrap();
    device.send(&[later(22)]).await.unwrap();
    network.close_epoch(EpochId::new(1)).await.unwrap();
    for epoch in [FIRST, EpochId::new(1)] {
        network.audit(epoch).await.unwrap();
    }
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(200));
    let restarted =
        network.resume_as(device.did(), Hardware::new(key(2), SimulatedPebble::new(1).attester()));
    restarted.await.unwrap().send(&[later(23)]).await.unwrap();
    let old = Hardware::new(key(1), SimulatedPebble::new(1).attester());
    let error = network.resume_as(device.did(), old).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_device_that_changes_keys_too_often_loses_its_points_and_stops_nobody() {
    let network = network().await;
    let other = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    other.send(&[celsius(20)]).await.unwrap();
    let mut device = enroll(&network, 1, 1).await;
    device.send(&[celsius(20)]).await.unwrap();
    for next in 1..=9 {
        let following = key(next + 1);
        device = network.rotate(&device, key(next), Some(following.public_key())).await.unwrap();
    }
    device.send(&[celsius(21)]).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();
    network.audit(FIRST).await.unwrap();
    assert_eq!(network.claim(other.did()).await.unwrap(), tokens(50));
}

#[tokio::test]
async fn one_chip_has_one_identity_also_after_it_was_revoked() {
    let network = network().await;
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    network.set_status(device.did(), depin::DeviceStatus::Revoked).await.unwrap();
    let other_key = SimulatedPebble::with_algorithm(1, Algorithm::Es256);
    let error = network.enroll(other_key, owner(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
