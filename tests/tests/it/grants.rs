//! Emission that follows a measure: what was reported is what an epoch offers.

use std::{sync::Arc, time::Duration};

use depin::{
    Amount, Builder, EpochId, ErrorKind, ManualClock, Network, NetworkId, Quantity, Reading,
    Timestamp, audit_row,
    data::epoch::{Checks, Windows},
    dec,
    evm::{DeployOptions, Role, Roles},
    hw::SimulatedPebble,
    payment::{
        ProRata,
        emission::{Curve, Direction, Schedule, Targeted},
        evm::EvmController,
    },
    presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

const DAY: u64 = 86_400;
const FIRST: EpochId = EpochId::new(0);
const SECOND: EpochId = EpochId::new(1);

fn builder(preset: presets::Preset) -> Builder {
    Network::builder(preset).name("story").rewards(ProRata::as_granted())
}

#[tokio::test]
async fn an_epoch_offers_what_was_granted_and_audits_recompute_it() {
    // A hundred a day, of which a fifth is certain and the rest depends on revenue.
    let (start, cap) = (Timestamp::from_secs(1_700_000_000), tokens(500_000));
    let schedule = Schedule::new(start, DAY, cap, Curve::flat(tokens(100)).unwrap()).unwrap();
    let targeted = Targeted::new(tokens(1_000), 2_000, Direction::Rising, cap).unwrap();
    let contracts = DeployOptions::new(NetworkId::parse("story").unwrap())
        .emission(schedule.on_chain_targeted(&targeted).unwrap());
    let preset = presets::devnet().await.unwrap();
    let devnet = preset.embedded().unwrap().clone();
    let clock = Arc::new(ManualClock::at(NOW));
    let network = builder(preset).clock(clock).contracts(contracts).build().await.unwrap();
    let (chain, controller) = (network.chain().unwrap(), network.deployment().unwrap().source);
    let roles = Roles::of(chain.clone(), controller);
    roles.grant(Role::REPORTER, chain.account()).await.unwrap();
    let controller = EvmController::new(chain.clone(), controller);

    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let error = network.close_epoch(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(network.log().sealed(FIRST).await.unwrap(), None, "nothing is decided yet");
    let last = controller.completed().await.unwrap() - 1;
    let granted = controller.report(last, tokens(500)).await.unwrap();
    let first = network.close_granted_epoch(FIRST, granted).await.unwrap();
    assert_eq!(first.emission(), granted);
    assert!(first.record().policy().contains(&format!("pool=granted {granted},")));
    // An epoch that is closed keeps its grant.
    let same = network.close_granted_epoch(FIRST, tokens(1)).await.unwrap();
    assert_eq!(same.emission(), granted);
    assert_eq!(network.claim(device.did()).await.unwrap(), granted);

    devnet.increase_time(DAY).unwrap();
    devnet.mine(1);
    device.send(&[later(21)]).await.unwrap();
    let more = controller.report(last + 1, tokens(9_999)).await.unwrap();
    let grant = more.checked_sub(granted).unwrap();
    assert_eq!(grant, tokens(100), "all of the curve");
    // An operator that grants more than was reported gets nothing issued.
    let greedy = grant.checked_add(1.into()).unwrap();
    let error = network.close_granted_epoch(SECOND, greedy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    network.withdraw_epoch(SECOND).await.unwrap();
    let second = network.close_granted_epoch(SECOND, grant).await.unwrap();
    assert!(second.record().replaces().is_some());
    assert_eq!(network.claim(device.did()).await.unwrap(), grant);

    let folder = tempfile::tempdir().unwrap();
    let files = [FIRST, SECOND].map(|id| folder.path().join(id.to_string()));
    for (id, file) in [FIRST, SECOND].iter().zip(&files) {
        assert!(network.audit(*id).await.unwrap().is_complete());
        network.export_epoch(*id, file).await.unwrap();
    }
    let (registry, ledger) = (&**network.registry(), &**network.distributor());
    let audited = async |policy: ProRata| {
        audit_row(&files, &Checks::new(), &[&policy], registry, ledger).await
    };
    let audits = audited(ProRata::as_granted()).await.unwrap();
    assert!(audits.iter().all(depin::Audit::is_complete));
    // A policy with other parameters is not the one, whatever it was granted.
    let other = ProRata::as_granted().within(Amount::ZERO, tokens(1));
    assert_eq!(audited(other).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_pool_that_is_known_beforehand_takes_no_grants() {
    let preset = presets::devnet().await.unwrap();
    let network = builder(preset).rewards(ProRata::per_epoch(tokens(1))).build().await.unwrap();
    let error = network.close_granted_epoch(FIRST, tokens(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(network.epoch(FIRST).await.unwrap().is_none());
}

#[tokio::test]
async fn late_work_is_paid_out_of_the_grant_of_its_own_epoch() {
    let clock = Arc::new(ManualClock::at(NOW));
    let hour = Duration::from_secs(3_600);
    let network = builder(presets::devnet().await.unwrap())
        .clock(clock.clone())
        .windows(Windows::new(NOW, hour, hour / 6).unwrap().settling(1))
        .rewards(ProRata::as_granted().reserve(2_000))
        .build()
        .await
        .unwrap();
    let minute = |minute: u64| NOW.plus(Duration::from_secs(60 * minute));
    let reading =
        |at: u64| [Reading::new(Quantity::new("temperature", "Cel"), dec(20), minute(at))];
    let a = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let b = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    clock.set(minute(10));
    a.send(&reading(10)).await.unwrap();
    clock.set(minute(71));
    let first = network.close_granted_epoch(FIRST, tokens(100)).await.unwrap();
    assert_eq!(first.payout(a.did()), tokens(80));
    b.send(&reading(30)).await.unwrap();
    clock.set(minute(131));
    // Half of the hundred is due, and a fifth is left.
    let second = network.close_granted_epoch(SECOND, tokens(7)).await.unwrap();
    assert_eq!((second.payout(b.did()), second.emission()), (tokens(20), tokens(20)));
    assert!(network.audit(SECOND).await.unwrap().is_complete());
}
