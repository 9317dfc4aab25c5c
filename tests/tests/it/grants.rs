//! Emission that follows a measure: what was reported is what an epoch offers.

use std::{sync::Arc, time::Duration};

use depin::{
    Amount, Builder, EpochId, ErrorKind, ManualClock, Network, NetworkId, Quantity, Reading,
    Timestamp, audit_row,
    core::reward::Commitment,
    data::epoch::{Checks, Windows},
    dec,
    evm::{DeployOptions, Role, Roles, TokenSource, bindings::CreditMinter::BandRules},
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
    // An operator that grants more than was reported is refused before anything is sealed, and gets nothing issued.
    let greedy = grant.checked_add(1.into()).unwrap();
    let error = network.close_granted_epoch(SECOND, greedy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(network.epoch(SECOND).await.unwrap().is_none(), "nothing is sealed");
    let cumulative = more.checked_add(1.into()).unwrap();
    let forced = Commitment { epoch: SECOND, cumulative, ..*first.commitment() };
    let error = network.distributor().publish(&forced).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let second = network.close_granted_epoch(SECOND, grant).await.unwrap();
    assert_eq!(second.record().replaces(), None);
    assert!(network.grantable(more).await.unwrap().is_zero());
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

/// A fifth of every payout waits for two epochs. Handed out again meanwhile, it would be missing when it is due, and no
/// epoch could be published any more.
#[tokio::test]
async fn a_reserve_is_not_granted_again_before_it_is_paid() {
    let (start, cap) = (Timestamp::from_secs(1_700_000_000), tokens(500_000));
    let schedule = Schedule::new(start, DAY, cap, Curve::flat(tokens(100)).unwrap()).unwrap();
    let targeted = Targeted::new(tokens(1_000), 2_000, Direction::Rising, cap).unwrap();
    let contracts = DeployOptions::new(NetworkId::parse("story").unwrap())
        .emission(schedule.on_chain_targeted(&targeted).unwrap());
    let (clock, hour) = (Arc::new(ManualClock::at(NOW)), Duration::from_secs(3_600));
    let network = builder(presets::devnet().await.unwrap())
        .contracts(contracts)
        .clock(clock.clone())
        .windows(Windows::new(NOW, hour, hour / 6).unwrap().settling(2))
        .rewards(ProRata::as_granted().reserve(2_000))
        .build()
        .await
        .unwrap();
    let (chain, controller) = (network.chain().unwrap(), network.deployment().unwrap().source);
    Roles::of(chain.clone(), controller).grant(Role::REPORTER, chain.account()).await.unwrap();
    let controller = EvmController::new(chain.clone(), controller);
    let last = controller.completed().await.unwrap() - 1;
    let granted = controller.report(last, tokens(500)).await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();

    let minute = |minute: u64| NOW.plus(Duration::from_secs(60 * minute));
    let (mut emitted, mut grants) = (Vec::new(), Vec::new());
    for number in 0..5_u64 {
        let at = minute(60 * number + 10);
        clock.set(at);
        let reading = Reading::new(Quantity::new("temperature", "Cel"), dec(20), at);
        device.send(&[reading]).await.unwrap();
        clock.set(minute(60 * number + 71));
        let (id, grant) = (EpochId::new(number), network.grantable(granted).await.unwrap());
        let greedy = grant.checked_add(1.into()).unwrap();
        let error = network.close_granted_epoch(id, greedy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let closed = network.close_granted_epoch(id, grant).await.unwrap();
        assert!(network.audit(id).await.unwrap().is_complete());
        emitted.push(closed.emission());
        grants.push(grant);
    }
    // All goes to the first epoch; four fifths of it at once, and the rest when it settles.
    let [most, rest] =
        [8_u64, 2].map(|tenths| granted.mul_div_rem(tenths.into(), 10.into()).unwrap().0);
    assert_eq!(grants, [granted, Amount::ZERO, Amount::ZERO, Amount::ZERO, Amount::ZERO]);
    assert_eq!(emitted, [most, Amount::ZERO, rest, Amount::ZERO, Amount::ZERO]);
    assert_eq!(network.claim(device.did()).await.unwrap(), granted);
}

/// An epoch of a pool that nobody compares with what the controller has owes more, when it settles, than there is.
#[tokio::test]
async fn what_is_due_and_was_never_granted_is_told_before_anything_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hour) = (Arc::new(ManualClock::at(NOW)), Duration::from_secs(3_600));
    let fixed = ProRata::per_epoch(tokens(150)).reserve(5_000);
    let open = async |rules: &dyn Fn(Builder) -> Builder| {
        let contracts = DeployOptions::new(NetworkId::parse("story").unwrap()).cap(tokens(100));
        let builder = builder(presets::devnet_at(&folder).await.unwrap()).contracts(contracts);
        let windows = Windows::new(NOW, hour, hour / 6).unwrap().settling(1);
        rules(builder.clock(clock.clone()).windows(windows)).build().await.unwrap()
    };
    let at = |minutes: u64| NOW.plus(Duration::from_secs(60 * minutes));
    {
        let network = open(&|it| it.rewards(fixed.clone())).await;
        let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
        clock.set(at(10));
        let reading = Reading::new(Quantity::new("temperature", "Cel"), dec(20), at(10));
        device.send(&[reading]).await.unwrap();
        clock.set(at(71));
        assert_eq!(network.close_epoch(FIRST).await.unwrap().emission(), tokens(75));
    }
    let network = open(&|it| it.former_rewards(fixed.clone())).await;
    clock.set(at(131));
    assert!(network.grantable(tokens(100)).await.unwrap().is_zero());
    assert_eq!(network.grantable(tokens(151)).await.unwrap(), tokens(1));
    let error = network.close_granted_epoch(SECOND, Amount::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(error.to_string().contains("due"), "{error}");
    assert!(network.epoch(SECOND).await.unwrap().is_none(), "nothing is sealed");
}

/// What burns and mints has granted what its band leaves, which another period has again.
#[tokio::test]
async fn a_grant_of_more_than_the_band_leaves_is_not_sealed() {
    let rules = BandRules {
        creditsPerFiat: 100_000,
        maxAge: 3_600,
        period: DAY,
        smoothing: 7,
        allowance: 10_u128.pow(21),
    };
    let prices = depin::Address::repeat_byte(5);
    let contracts = DeployOptions::new(NetworkId::parse("story").unwrap())
        .source(TokenSource::BurnAndMint { prices, rules });
    let clock = Arc::new(ManualClock::at(NOW));
    let preset = presets::devnet().await.unwrap();
    let devnet = preset.embedded().unwrap().clone();
    let network = builder(preset).clock(clock).contracts(contracts).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let refused = async |id: EpochId, grant: Amount| {
        let error = network.close_granted_epoch(id, grant).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        assert!(network.epoch(id).await.unwrap().is_none(), "nothing is sealed");
    };
    refused(FIRST, tokens(1_001)).await;
    network.close_granted_epoch(FIRST, tokens(1_000)).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(1_000));
    device.send(&[later(21)]).await.unwrap();
    refused(SECOND, 1.into()).await;
    // Blocks run ahead of the clock while contracts are deployed.
    devnet.increase_time(DAY + 60).unwrap();
    devnet.mine(1);
    network.close_granted_epoch(SECOND, tokens(1_000)).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(1_000));
}

/// A refusal says nothing of what was granted, but for a token that mints without a source before it.
#[tokio::test]
async fn a_grant_that_nobody_vouches_for_is_not_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let open = async || {
        let builder = builder(presets::devnet_at(&folder).await.unwrap());
        builder.clock(clock.clone()).build().await.unwrap()
    };
    let file = folder.path().join("deployment.json");
    let [source, token, registry] = {
        let network = open().await;
        let deployment = network.deployment().unwrap();
        [deployment.source, deployment.token, deployment.registry]
            .map(|it| it.to_string().to_lowercase())
    };
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains(&source), "{written}");
    {
        // A registry reverts whatever else it is asked.
        std::fs::write(&file, written.replace(&source, &registry)).unwrap();
        let network = open().await;
        let error = network.close_granted_epoch(FIRST, tokens(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains("granted()"), "{error}");
        assert!(network.epoch(FIRST).await.unwrap().is_none(), "nothing is sealed");
        // Nothing is always granted, whoever vouches for it.
        network.close_granted_epoch(FIRST, Amount::ZERO).await.unwrap();
    }
    std::fs::write(&file, written.replace(&source, &token)).unwrap();
    open().await.close_granted_epoch(SECOND, tokens(1)).await.unwrap();
}
