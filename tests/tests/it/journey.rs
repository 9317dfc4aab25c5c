//! One network, through the facade, from enrollment to audit.

use std::{borrow::Cow, sync::Arc};

use depin::{
    Amount, Builder, DeviceStatus, EpochId, ErrorKind, ManualClock, Network, NetworkEvent,
    Quantity, Reading, Timestamp, Verified,
    core::{
        Batch,
        quality::{Contributions, Finding, QualityCheck},
        reward::{Allocation, Payout, RewardPolicy},
    },
    data::{http::HttpTransport, log::MemoryLog, quality::Bounds, receipt::ReceiptVerifier},
    dec,
    hw::{Policy, PsaVerifier, SimulatedPebble},
    payment::ProRata,
    presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

async fn builder() -> Builder {
    Network::builder(presets::devnet().await.unwrap())
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .check(Bounds::new("temperature", "Cel", dec(-60)..=dec(60)))
        .rewards(ProRata::per_epoch(tokens(100)))
}

#[tokio::test]
async fn work_is_paid_once_however_often_it_is_claimed() {
    let network = builder().await.build().await.unwrap();
    let mut events = network.events();
    let good = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let hot = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    good.send(&[celsius(20), celsius(21), celsius(22)]).await.unwrap();
    hot.send(&[celsius(20), celsius(80)]).await.unwrap();

    let epoch = network.close_epoch(EpochId::new(0)).await.unwrap();
    assert_eq!(epoch.payout(good.did()), tokens(75));
    assert_eq!(epoch.payout(hot.did()), tokens(25));
    assert_eq!(
        epoch.findings_of(hot.did()).map(|finding| finding.code.clone()).collect::<Vec<_>>(),
        ["out-of-bounds"]
    );

    assert_eq!(network.claim(good.did()).await.unwrap(), tokens(75));
    assert_eq!(network.claim(good.did()).await.unwrap(), Amount::ZERO);
    assert_eq!(network.token().balance(owner(1)).await.unwrap(), tokens(75));
    network.audit(epoch.id()).await.unwrap();

    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        told.push(event);
    }
    assert!(matches!(told[0], NetworkEvent::DeviceEnrolled { .. }), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, NetworkEvent::EpochClosed { .. })));
    assert!(matches!(told.last(), Some(NetworkEvent::Claimed { .. })), "{told:?}");
}

#[tokio::test]
async fn an_epoch_without_work_emits_nothing_and_the_next_one_goes_on() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let empty = network.close_epoch(EpochId::new(0)).await.unwrap();
    assert!(empty.emission().is_zero());
    device.send(&[celsius(20)]).await.unwrap();
    let full = network.close_epoch(EpochId::new(1)).await.unwrap();
    assert_eq!(full.emission(), tokens(100));
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
    for epoch in [empty, full] {
        network.audit(epoch.id()).await.unwrap();
    }
}

#[tokio::test]
async fn the_same_time_is_never_paid_in_two_epochs() {
    let network = builder().await.build().await.unwrap();
    let honest = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let greedy = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    let at = |second| {
        Reading::new(
            Quantity::new("temperature", "Cel"),
            dec(20),
            Timestamp::from_secs(NOW.secs() - 10 + second),
        )
    };
    let stretch: Vec<Reading> = (0..10).map(at).collect();
    greedy.send(&stretch).await.unwrap();
    network.close_epoch(EpochId::new(0)).await.unwrap();
    // The very same moments again, newly signed, beside one honest reading.
    greedy.send(&stretch).await.unwrap();
    honest.send(&[at(10)]).await.unwrap();
    let epoch = network.close_epoch(EpochId::new(1)).await.unwrap();
    assert_eq!(epoch.payout(greedy.did()), Amount::ZERO);
    assert_eq!(epoch.payout(honest.did()), tokens(100));
    let codes: Vec<_> =
        epoch.findings_of(greedy.did()).map(|finding| finding.code.clone()).collect();
    assert_eq!(codes, ["counted-before"; 10]);
    network.audit(epoch.id()).await.unwrap();
}

#[tokio::test]
async fn epochs_close_in_order_and_closing_again_changes_nothing() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let early = network.close_epoch(EpochId::new(1)).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict);
    let first = network.close_epoch(EpochId::new(0)).await.unwrap();
    device.send(&[later(21)]).await.unwrap();
    let again = network.close_epoch(EpochId::new(0)).await.unwrap();
    assert_eq!(first.commitment(), again.commitment());
}

#[tokio::test]
async fn devices_send_over_http_as_in_process() {
    let network = builder().await.build().await.unwrap();
    let server = network.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let near = device.send(&[celsius(20)]).await.unwrap();
    let receipts = ReceiptVerifier::new(network.id(), network.log_key());
    let line = HttpTransport::new(&server.url(), receipts, &mut rand::thread_rng()).unwrap();
    let far = device.over(line).send(&[celsius(21)]).await.unwrap();
    assert_eq!((near.index, far.index), (0, 1));
}

#[tokio::test]
async fn simulated_hardware_is_refused_unless_allowed_by_name() {
    let strict =
        builder().await.evidence(PsaVerifier::new(Policy::default())).build().await.unwrap();
    let error = strict.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let did = depin::identity::methods::io::did_io(SimulatedPebble::new(1).signer().public_key())
        .unwrap();
    assert_eq!(strict.device(&did).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_suspended_device_is_refused_until_it_is_resumed_and_keeps_what_it_earned() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    network.set_status(device.did(), DeviceStatus::Suspended).await.unwrap();
    let refused = device.send(&[later(21)]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected);
    assert!(refused.to_string().contains("not-active"), "{refused}");

    let epoch = network.close_epoch(EpochId::new(0)).await.unwrap();
    assert_eq!(epoch.payout(device.did()), tokens(100), "work done before counts");
    network.set_status(device.did(), DeviceStatus::Active).await.unwrap();
    assert!(device.flush().await.unwrap().is_some(), "the batch was kept until it was taken");
}

#[tokio::test]
async fn a_device_enrolls_once() {
    let network = builder().await.build().await.unwrap();
    network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let error = network.enroll(SimulatedPebble::new(1), owner(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_network_in_a_folder_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        Network::builder(presets::devnet_at(folder.path()).await.unwrap())
            .name("story")
            .clock(Arc::new(ManualClock::at(NOW)))
            .rewards(ProRata::per_epoch(tokens(100)))
            .build()
            .await
            .unwrap()
    };
    let paid = {
        let network = open().await;
        let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
        device.send(&[celsius(20)]).await.unwrap();
        network.close_epoch(EpochId::new(0)).await.unwrap();
        network.claim(device.did()).await.unwrap()
    };
    let network = open().await;
    let device = network.resume(SimulatedPebble::new(1)).await.unwrap();
    assert_eq!(
        network.claim(device.did()).await.unwrap(),
        Amount::ZERO,
        "it was paid before the restart"
    );
    device.send(&[later(21)]).await.unwrap();
    network.close_epoch(EpochId::new(1)).await.unwrap();
    assert_eq!(
        network.claim(device.did()).await.unwrap(),
        paid,
        "the second epoch pays the same pool"
    );
    for epoch in [0, 1] {
        network.audit(EpochId::new(epoch)).await.unwrap();
    }
}

#[tokio::test]
async fn rules_may_change_and_earlier_epochs_stay_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |builder: fn(Builder) -> Builder| {
        let preset = presets::devnet_at(folder.path()).await.unwrap();
        let base = Network::builder(preset).name("story").clock(Arc::new(ManualClock::at(NOW)));
        builder(base).build().await.unwrap()
    };
    fn bounds() -> Bounds {
        Bounds::new("temperature", "Cel", dec(-60)..=dec(60))
    }
    {
        let network = open(|it| it.check(bounds()).rewards(ProRata::per_epoch(tokens(100)))).await;
        let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
        device.send(&[celsius(20)]).await.unwrap();
        network.close_epoch(EpochId::new(0)).await.unwrap();
    }
    {
        let forgetful = open(|it| it.rewards(ProRata::per_epoch(tokens(50)))).await;
        let error = forgetful.audit(EpochId::new(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("former_check"), "{error}");
    }
    let network = open(|it| {
        it.former_check(bounds())
            .former_rewards(ProRata::per_epoch(tokens(100)))
            .rewards(ProRata::per_epoch(tokens(50)))
    })
    .await;
    let device = network.resume(SimulatedPebble::new(1)).await.unwrap();
    device.send(&[later(80)]).await.unwrap();
    let epoch = network.close_epoch(EpochId::new(1)).await.unwrap();
    assert_eq!(epoch.payout(device.did()), tokens(50), "80 degrees are fine by the rules of now");
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(150));
    network.audit(epoch.id()).await.unwrap();
}

/// A team's own check: nobody measures on the stroke of the hour.
#[derive(Debug)]
struct NotOnTheHour;

impl QualityCheck for NotOnTheHour {
    fn name(&self) -> String {
        "not-on-the-hour".into()
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let on_the_hour = |(_, reading): &(usize, &Reading)| reading.at().secs() % 3600 == 0;
        let found = batches.iter().flat_map(|batch| {
            let readings = batch.readings.iter().enumerate().filter(on_the_hour);
            readings.map(|(reading, _)| Finding {
                batch: batch.hash,
                reading,
                code: Cow::Borrowed("on-the-hour"),
                detail: "measured on the stroke of the hour".into(),
            })
        });
        found.collect()
    }
}

/// A team's own policy: a token per good reading.
#[derive(Debug)]
struct Piecework;

impl RewardPolicy for Piecework {
    fn name(&self) -> String {
        "piecework(1)".into()
    }

    fn allocate(&self, work: &Verified<Contributions>) -> depin::Result<Allocation> {
        let paid = work.entries.iter().filter(|entry| entry.score > 0);
        let payouts: Vec<_> = paid
            .map(|entry| Payout {
                device: entry.device.clone(),
                beneficiary: entry.beneficiary,
                amount: tokens(entry.score),
            })
            .collect();
        let emission = Amount::sum(payouts.iter().map(|payout| payout.amount))?;
        Ok(Allocation { epoch: work.epoch, emission, unallocated: Amount::ZERO, payouts })
    }
}

#[tokio::test]
async fn a_teams_own_parts_fit_the_slots() {
    let network = builder()
        .await
        .check(NotOnTheHour)
        .rewards(Piecework)
        .log(MemoryLog::new())
        .build()
        .await
        .unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let later = Reading::new(
        Quantity::new("temperature", "Cel"),
        dec(21),
        Timestamp::from_secs(NOW.secs() + 60),
    );
    device.send(&[celsius(20), later]).await.unwrap();
    let epoch = network.close_epoch(EpochId::new(0)).await.unwrap();
    assert_eq!(epoch.emission(), tokens(1));
    network.audit(EpochId::new(0)).await.unwrap();
}
