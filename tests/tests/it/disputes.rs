//! Epochs that anybody can dispute before they pay.

use std::{sync::Arc, time::Duration};

use depin::{
    Algorithm, Amount, EpochId, ErrorKind, ManualClock, Network, NetworkId, SoftwareKey,
    devnet::Devnet,
    evm::{Chain, DeployOptions, RootRules},
    hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble},
    payment::{
        ProRata,
        evm::{EvmRoots, Verdict},
    },
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
    ruled(devnet, folder, contracts()).await
}

async fn ruled(devnet: &Devnet, folder: &tempfile::TempDir, contracts: DeployOptions) -> Network {
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    on(chain, folder, contracts).await
}

async fn on(chain: Chain, folder: &tempfile::TempDir, contracts: DeployOptions) -> Network {
    let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
    let operator = SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]);
    let preset = presets::chain(chain, folder, verifier, operator).unwrap();
    Network::builder(preset)
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .contracts(contracts)
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

/// What cannot be paid any more is not the end of a network: it closes the epoch again.
#[tokio::test]
async fn an_epoch_that_the_arbiter_rejects_is_withdrawn_and_closed_again() {
    let (devnet, folder) = (Devnet::start(), tempfile::tempdir().unwrap());
    let (first, second) = (EpochId::new(0), EpochId::new(1));
    let arbiter = Chain::from_provider(devnet.provider(), devnet.account(2)).connect().await;
    let arbiter = arbiter.unwrap();
    let network = ruled(&devnet, &folder, contracts().arbiter(arbiter.account())).await;
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let rejected = network.close_epoch(first).await.unwrap();
    device.send(&[later(21)]).await.unwrap();
    network.close_epoch(second).await.unwrap_err();

    let waits = network.withdraw_epoch(first).await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Conflict, "{waits}");
    let roots = EvmRoots::new(arbiter, network.deployment().unwrap().distributor);
    roots.resolve(&roots.pending().await.unwrap().unwrap(), Verdict::Reject).await.unwrap();
    let stuck = network.close_epoch(second).await.unwrap_err();
    assert_eq!(stuck.kind(), ErrorKind::Rejected, "{stuck}");

    network.withdraw_epoch(first).await.unwrap();
    // Started again, too.
    drop(device);
    drop(network);
    let network = ruled(&devnet, &folder, contracts()).await;
    let again = network.close_epoch(first).await.unwrap();
    assert_eq!(again.record().replaces(), Some(rejected.commitment().manifest));
    assert_eq!(again.record().range(), 0..2);
    two_days_pass(&devnet);
    assert_eq!(network.withdraw_epoch(first).await.unwrap_err().kind(), ErrorKind::Conflict);
    network.close_epoch(second).await.unwrap();
    two_days_pass(&devnet);
    let worker = again.payouts()[0].device.clone();
    assert_eq!(network.claim(&worker).await.unwrap(), tokens(100));
    for id in [first, second] {
        assert!(network.audit(id).await.unwrap().is_complete());
    }
}

/// Nobody decided the dispute, and nobody removed what it was about: the contract does with the next publication.
#[tokio::test]
async fn an_epoch_whose_dispute_lapsed_is_withdrawn_like_a_rejected_one() {
    let (devnet, folder) = (Devnet::start(), tempfile::tempdir().unwrap());
    let first = EpochId::new(0);
    let network = network(&devnet, &folder).await;
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let wrong = network.close_epoch(first).await.unwrap();
    let watcher = devnet.account(3);
    let watcher = Chain::from_provider(devnet.provider(), watcher).connect().await.unwrap();
    let chain = network.chain().unwrap();
    let roots = EvmRoots::new(watcher.clone(), network.deployment().unwrap().distributor);
    let token = depin::evm::bindings::NetworkToken::new(
        network.deployment().unwrap().token,
        chain.provider(),
    );
    let minter = chain.read(&token.MINTER_ROLE()).await.unwrap();
    for tx in [
        token.grantRole(minter, chain.account()).into_transaction_request(),
        token.mint(watcher.account(), tokens(1).to_units()).into_transaction_request(),
    ] {
        chain.send(tx).await.unwrap();
    }
    roots.dispute(&roots.pending().await.unwrap().unwrap()).await.unwrap();
    let waits = network.withdraw_epoch(first).await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Conflict, "{waits}");

    devnet.increase_time(5 * DAY.as_secs()).unwrap();
    devnet.mine(1);
    network.withdraw_epoch(first).await.unwrap();
    let again = network.close_epoch(first).await.unwrap();
    assert_eq!(again.record().replaces(), Some(wrong.commitment().manifest));
    two_days_pass(&devnet);
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
    assert!(network.audit(first).await.unwrap().is_complete());
}

/// A publication whose time was over is still on its way: what it carries cannot be withdrawn behind its back.
#[tokio::test]
async fn an_epoch_whose_publication_is_on_its_way_is_not_withdrawn() {
    let (devnet, folder) = (Devnet::start(), tempfile::tempdir().unwrap());
    let patient = Chain::from_provider(devnet.provider(), devnet.account(0));
    let first = EpochId::new(0);
    drop(on(patient.connect().await.unwrap(), &folder, contracts()).await);
    let hasty = Chain::from_provider(devnet.provider(), devnet.account(0));
    let hasty = hasty.poll_interval(Duration::from_millis(5)).timeout(Duration::from_millis(200));
    let network = on(hasty.connect().await.unwrap(), &folder, contracts()).await;

    devnet.set_automine(false);
    let waits = network.close_epoch(first).await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Unavailable, "{waits}");
    assert!(network.epoch(first).await.unwrap().is_some(), "it is sealed, and on its way");
    let error = network.withdraw_epoch(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    devnet.mine(1);
    devnet.set_automine(true);
    let error = network.withdraw_epoch(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    network.close_epoch(first).await.unwrap();
}

#[tokio::test]
async fn contracts_of_another_name_are_refused() {
    let preset = presets::devnet().await.unwrap();
    let network = Network::builder(preset).name("other").contracts(contracts());
    let error = network.rewards(ProRata::per_epoch(tokens(1))).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
