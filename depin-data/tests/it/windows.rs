//! When epochs may close.

use std::time::Duration;

use depin_core::{Algorithm, Did, EpochId, ErrorKind, Timestamp};
use depin_data::{
    epoch::{Readiness, Watermarks, Windows},
    log::MemoryLog,
};
use proptest::prelude::*;

use super::epoch::{append, filled, stations};
use crate::support::{Device, NOW, network};

const HOUR: u64 = 3_600_000;

fn hours() -> Windows {
    Windows::new(Timestamp::EPOCH, Duration::from_millis(HOUR), Duration::from_millis(HOUR / 2))
        .unwrap()
}

fn did(name: &str) -> Did {
    Did::parse(&format!("did:example:{name}")).unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn sources(of: &[(&str, u64)]) -> Watermarks {
    let mut sources = Watermarks::new();
    for (name, millis) in of {
        sources.observe(&did(name), at(*millis)).unwrap();
    }
    sources
}

#[test]
fn an_epoch_is_complete_when_every_source_has_passed_its_window() {
    let epoch = EpochId::new(1);
    let now = at(2 * HOUR + 1);
    let both = sources(&[("a", 2 * HOUR), ("b", 2 * HOUR + 1)]);
    assert_eq!(hours().readiness(epoch, &both, now), Readiness::Complete);
    let behind = sources(&[("a", 2 * HOUR), ("b", 2 * HOUR - 1)]);
    let waiting = Readiness::Waiting(vec![did("b")]);
    assert_eq!(hours().readiness(epoch, &behind, now), waiting);
    let last = at(2 * HOUR + HOUR / 2 - 1);
    assert_eq!(hours().readiness(epoch, &behind, last), waiting);
    let late = Readiness::Late(vec![did("b")]);
    assert_eq!(hours().readiness(epoch, &behind, at(2 * HOUR + HOUR / 2)), late);
}

#[test]
fn who_was_silent_for_a_whole_window_keeps_nobody_waiting() {
    let sources = sources(&[("a", 4 * HOUR), ("gone", 2 * HOUR - 1), ("quiet", 2 * HOUR)]);
    let ready = hours().readiness(EpochId::new(3), &sources, at(4 * HOUR));
    assert_eq!(ready, Readiness::Waiting(vec![did("quiet")]));
}

#[test]
fn a_clock_that_runs_ahead_closes_no_window_early() {
    let fast = sources(&[("a", 100 * HOUR)]);
    let early = hours().readiness(EpochId::new(0), &fast, at(HOUR - 1));
    assert_eq!(early, Readiness::Waiting(Vec::new()));
}

#[test]
fn an_epoch_without_sources_closes_with_its_window() {
    let ready = |now| hours().readiness(EpochId::new(0), &Watermarks::new(), at(now));
    assert_eq!(ready(HOUR - 1), Readiness::Waiting(Vec::new()));
    assert_eq!(ready(HOUR), Readiness::Complete);
}

#[test]
fn windows_at_the_end_of_time_never_close() {
    let end = EpochId::new(u64::MAX);
    assert_eq!(hours().window(end), None);
    let ready = hours().readiness(end, &Watermarks::new(), at(u64::MAX));
    assert_eq!(ready, Readiness::Waiting(Vec::new()));
    let zero = Windows::new(Timestamp::EPOCH, Duration::from_nanos(999), Duration::ZERO);
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_restart_reads_the_same_from_the_log() {
    let log = filled(2).await;
    let mut running = Watermarks::new();
    running.read(&log, &network()).await.unwrap();
    assert_eq!(running.len(), 3);
    append(&log, &mut Device::new("d", Algorithm::EdDsa), &["1", "2"]).await;
    running.read(&log, &network()).await.unwrap();
    let mut restarted = Watermarks::new();
    restarted.read(&log, &network()).await.unwrap();
    assert_eq!(running, restarted);
    let [a, ..] = stations();
    let latest = NOW.millis() + 60_000 * 102;
    assert_eq!(running.of(&a.did), Some(at(latest)));
}

#[tokio::test]
async fn an_empty_log_has_no_sources() {
    let mut sources = Watermarks::new();
    sources.read(&MemoryLog::new(), &network()).await.unwrap();
    assert!(sources.is_empty());
}

proptest! {
    #[test]
    fn every_moment_lies_in_the_window_of_its_epoch(
        start: u64, length in 1u64.., moment: u64,
    ) {
        let length = Duration::from_millis(length);
        let windows = Windows::new(at(start), length, Duration::ZERO).unwrap();
        match windows.epoch_of(at(moment)) {
            None => prop_assert!(moment < start),
            Some(epoch) => if let Some(window) = windows.window(epoch) {
                prop_assert!(window.contains(&at(moment)));
            },
        }
    }

    #[test]
    fn watermarks_only_rise_whatever_the_order(times in prop::collection::vec(any::<u64>(), 1..20)) {
        let mut sources = Watermarks::new();
        let mut highest = 0;
        for time in times {
            sources.observe(&did("a"), at(time)).unwrap();
            highest = highest.max(time);
            prop_assert_eq!(sources.of(&did("a")), Some(at(highest)));
        }
    }
}
