//! Epochs that are windows of time, from a device that was offline to what it is paid.

use std::{sync::Arc, time::Duration};

use depin::{
    Amount, Builder, Clock, Device, EpochId, ErrorKind, ManualClock, Network, Quantity, Reading,
    Timestamp, audit_bundle,
    core::reward::RewardPolicy as _,
    data::{
        epoch::{Checks, EpochDraft, Readiness, Sealed, Statement, Windows},
        log::{MemoryLog, RedbLog},
    },
    dec,
    hw::SimulatedPebble,
    payment::ProRata,
    presets, tokens,
};

use crate::support::{NOW, owner};

const HOUR: Duration = Duration::from_secs(3600);

fn policy() -> ProRata {
    ProRata::per_epoch(tokens(100)).reserve(2_000)
}

fn windows() -> Windows {
    Windows::new(NOW, HOUR, HOUR / 6).unwrap().settling(1)
}

async fn builder(clock: &Arc<ManualClock>) -> Builder {
    over(presets::devnet().await.unwrap(), clock)
}

fn over(preset: presets::Preset, clock: &Arc<ManualClock>) -> Builder {
    Network::builder(preset)
        .name("windows")
        .clock(clock.clone())
        .windows(windows())
        .rewards(policy())
}

fn minute(minute: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(60 * minute))
}

/// One reading in each of these minutes, sent at the last of them or later.
async fn send(clock: &ManualClock, device: &Device, minutes: &[u64]) {
    let last = minutes.iter().copied().max().map_or(NOW, minute);
    clock.set(clock.now().max(last));
    let reading = |at| Reading::new(Quantity::new("temperature", "Cel"), dec(20), minute(at));
    device.send(&minutes.iter().copied().map(reading).collect::<Vec<_>>()).await.unwrap();
}

/// Two epochs: in the first `b` was offline and sent its one reading when it was closed.
async fn played(clock: &Arc<ManualClock>, network: &Network, of_a: &[u64]) -> [Device; 2] {
    let a = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let b = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    send(clock, &a, of_a).await;
    send(clock, &a, &[60]).await;
    network.close_epoch(EpochId::new(0)).await.unwrap();
    send(clock, &b, &[30, 70]).await;
    clock.set(minute(130));
    network.close_epoch(EpochId::new(1)).await.unwrap();
    [a, b]
}

#[tokio::test]
async fn late_work_is_paid_from_the_reserve_when_its_epoch_settles() {
    let clock = Arc::new(ManualClock::at(NOW));
    let network = builder(&clock).await.build().await.unwrap();
    let [a, b] = played(&clock, &network, &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;

    let first = network.epoch(EpochId::new(0)).await.unwrap().unwrap();
    assert_eq!((first.payout(a.did()), first.payout(b.did())), (tokens(80), Amount::ZERO));
    let second = network.epoch(EpochId::new(1)).await.unwrap().unwrap();
    let [late] = second.corrections() else { panic!("{:?}", second.corrections()) };
    assert_eq!((&late.device, late.epoch, late.score), (b.did(), EpochId::new(0), 1));
    // Nine to one in the first epoch, ten tokens to both; one to one in the second, 80 of 100 for now.
    assert_eq!(second.payout(a.did()), tokens(10 + 40));
    assert_eq!(second.payout(b.did()), tokens(10 + 40));
    assert_eq!(second.emission(), tokens(100));
    assert_eq!(second.late(), [a.did().clone(), b.did().clone()]);

    for id in [0, 1].map(EpochId::new) {
        network.audit(id).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        network.export_epoch(id, &path).await.unwrap();
        let (registry, distributor) = (&**network.registry(), &**network.distributor());
        let checks = Checks::new();
        let audited = audit_bundle(&path, &checks, &policy(), registry, distributor).await.unwrap();
        // One device had worked in the first epoch, which was not settled when the second began.
        assert_eq!(
            audited.believed_work,
            [0, 1][usize::try_from(id.value()).unwrap()],
            "{audited}"
        );
        assert!(network.audit(id).await.unwrap().is_complete());
    }
    network.claim(b.did()).await.unwrap();
    assert_eq!(network.token().balance(owner(2)).await.unwrap(), tokens(50));
}

#[tokio::test]
async fn a_reserve_that_is_too_small_is_all_that_late_work_gets() {
    let clock = Arc::new(ManualClock::at(NOW));
    let network = builder(&clock).await.build().await.unwrap();
    let [a, b] = played(&clock, &network, &[1, 2, 3]).await;
    let second = network.epoch(EpochId::new(1)).await.unwrap().unwrap();
    // Three to one: due 25, left 20. Nobody is paid less than at closing.
    assert_eq!((second.payout(a.did()), second.payout(b.did())), (tokens(40), tokens(20 + 40)));
}

#[tokio::test]
async fn an_epoch_waits_for_its_window_and_its_sources_and_says_how_long() {
    let clock = Arc::new(ManualClock::at(NOW));
    let network = builder(&clock).await.build().await.unwrap();
    let (first, second) = (EpochId::new(0), EpochId::new(1));
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    send(&clock, &device, &[50]).await;
    let error = network.close_epoch(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(10 * HOUR / 60));
    clock.set(minute(60));
    let missing = vec![device.did().clone()];
    assert_eq!(network.readiness().await.unwrap(), (first, Readiness::Waiting(missing.clone())));
    assert!(network.close_epoch(first).await.unwrap_err().is_retryable());
    clock.set(minute(70));
    assert_eq!(network.readiness().await.unwrap(), (first, Readiness::Late(missing)));
    network.close_epoch(first).await.unwrap();
    send(&clock, &device, &[120]).await;
    assert_eq!(network.readiness().await.unwrap(), (second, Readiness::Complete));
    network.close_epoch(second).await.unwrap();
}

#[tokio::test]
async fn a_network_starts_again_from_its_log_when_the_batches_are_forgotten() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let open = async || {
        let preset = presets::devnet_at(folder.path()).await.unwrap();
        over(preset, &clock).build().await.unwrap()
    };
    let before = {
        let network = open().await;
        played(&clock, &network, &[1, 2, 3]).await;
        let epoch = network.latest_epoch().await.unwrap().unwrap();
        network.log().forget(epoch.record().range().end).await.unwrap();
        epoch
    };
    let network = open().await;
    let after = network.latest_epoch().await.unwrap().unwrap();
    assert_eq!(after.root(), before.root());
    assert_eq!(after.contributions(), before.contributions());
    assert_eq!(after.payouts(), before.payouts());
    assert_eq!((after.corrections(), after.late()), (before.corrections(), before.late()));
    clock.set(minute(190));
    let third = network.close_epoch(EpochId::new(2)).await.unwrap();
    // Both did one reading of the second epoch and were paid 40 of 50 for it.
    assert_eq!(third.payouts().iter().map(|p| p.amount).collect::<Vec<_>>(), [tokens(10); 2]);
}

/// What a late reading earns is decided by the policy of its own epoch.
#[tokio::test]
async fn an_epoch_settles_by_the_policy_it_was_sealed_with() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let open = async |change: fn(Builder) -> Builder| {
        let preset = presets::devnet_at(folder.path()).await.unwrap();
        change(over(preset, &clock)).build().await.unwrap()
    };
    fn less() -> ProRata {
        ProRata::per_epoch(tokens(10)).reserve(5_000)
    }
    {
        let network = open(|it| it).await;
        let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
        send(&clock, &device, &[10, 65]).await;
        network.close_epoch(EpochId::new(0)).await.unwrap();
    }
    clock.set(minute(130));
    let second = EpochId::new(1);
    let error = open(|it| it.rewards(less())).await.close_epoch(second).await.unwrap_err();
    assert!(error.to_string().contains("former_rewards"), "{error}");
    let network = open(|it| it.rewards(less()).former_rewards(policy())).await;
    let epoch = network.close_epoch(second).await.unwrap();
    assert_eq!(epoch.emission(), tokens(20 + 5));
    network.audit(second).await.unwrap();
    let path = folder.path().join("bundle");
    network.export_epoch(second, &path).await.unwrap();
    let (registry, distributor) = (&**network.registry(), &**network.distributor());
    let error = audit_bundle(&path, &Checks::new(), &less(), registry, distributor).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn windows_stay_as_they_are() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(minute(70))));
    let open = async |windows: Windows| {
        let log = RedbLog::open(folder.path().join("log")).unwrap();
        builder(&clock).await.windows(windows).log(log).build().await.unwrap()
    };
    open(windows()).await.close_epoch(EpochId::new(0)).await.unwrap();
    clock.set(minute(130));
    let error = open(windows().settling(2)).await.close_epoch(EpochId::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    open(windows()).await.close_epoch(EpochId::new(1)).await.unwrap();
}

/// An operator that drops a silent device from the roster would keep the rest of its pay.
#[tokio::test]
async fn an_audit_finds_devices_left_out_before_their_work_settled() {
    let clock = Arc::new(ManualClock::at(NOW));
    let network = builder(&clock).await.log(MemoryLog::new()).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    send(&clock, &device, &[10]).await;
    clock.set(minute(70));
    network.close_epoch(EpochId::new(0)).await.unwrap();
    let (log, id) = (&**network.log(), EpochId::new(1));
    let draft = EpochDraft::read(log, network.id(), id, 1..1).await.unwrap();
    let draft = draft.windows(windows(), EpochId::new(0), Some(&policy().name()));
    let record = draft.close(Vec::new(), Vec::new(), policy().name()).unwrap();
    let scored = depin::data::epoch::score(log, &record, &Checks::new()).await.unwrap();
    let allocation = policy().allocate(&scored.contributions).unwrap();
    let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
    log.seal(id, sealed.to_bytes().unwrap().into()).await.unwrap();
    clock.set(minute(130));
    network.close_epoch(id).await.unwrap();
    let error = network.audit(id).await.unwrap_err();
    assert!(error.to_string().contains("whose work is not settled"), "{error}");
}
