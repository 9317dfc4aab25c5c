//! Epochs that anybody can dispute before they pay.

use std::{sync::Arc, time::Duration};

use depin::{
    Algorithm, Amount, EpochId, ErrorKind, ManualClock, Network, NetworkId, SoftwareKey,
    devnet::Devnet,
    evm::{Chain, DeployOptions, RootRules},
    hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble},
    payment::ProRata,
    presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

const DAY: Duration = Duration::from_secs(86_400);

fn contracts() -> DeployOptions {
    let rules = RootRules::default().disputable(DAY, tokens(1));
    DeployOptions::new(NetworkId::parse("story").unwrap())
        .cap(tokens(1_000))
        .rules(rules)
        .arbiter(owner(9))
}

async fn network(devnet: &Devnet, folder: &tempfile::TempDir) -> Network {
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
    let operator = SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]);
    let preset = presets::chain(chain, folder, verifier, operator).unwrap();
    Network::builder(preset)
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .contracts(contracts())
        .rewards(ProRata::per_epoch(tokens(100)))
        .build()
        .await
        .unwrap()
}

fn two_days_pass(devnet: &Devnet) {
    devnet.increase_time(2 * DAY.as_secs()).unwrap();
    devnet.mine(1);
}

#[tokio::test]
async fn rewards_wait_for_the_end_of_the_dispute_window() {
    let (devnet, folder) = (Devnet::start(), tempfile::tempdir().unwrap());
    let network = network(&devnet, &folder).await;
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    network.close_epoch(EpochId::new(0)).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), Amount::ZERO, "disputable");

    // The next epoch is sealed meanwhile, and published when there is room for it.
    device.send(&[later(21)]).await.unwrap();
    let waits = network.close_epoch(EpochId::new(1)).await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Conflict, "{waits}");
    assert!(network.epoch(EpochId::new(1)).await.unwrap().is_some());

    two_days_pass(&devnet);
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
    network.close_epoch(EpochId::new(1)).await.unwrap();
    two_days_pass(&devnet);
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
    network.audit(EpochId::new(1)).await.unwrap();
}

#[tokio::test]
async fn contracts_of_another_name_are_refused() {
    let preset = presets::devnet().await.unwrap();
    let network = Network::builder(preset).name("other").contracts(contracts());
    let error = network.rewards(ProRata::per_epoch(tokens(1))).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
