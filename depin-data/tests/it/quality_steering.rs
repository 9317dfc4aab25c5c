//! Attacks on the checks of a fleet, through whole epochs: what somebody sends, and when, to take points from
//! others, or to keep more than his share. Each epoch is scored from its log and from its bundle.

use std::{borrow::Cow, io::Cursor};

use depin_core::{
    Decimal, Did, EpochId, Reading, Sequence, Timestamp,
    log::{BatchLog, NewBatch},
    quality::{Finding, FleetCheck, LEAST_NOTE, MAX_NOTE, Notes, Sent},
    reading::Quantity,
};
use depin_data::{
    audit::replay,
    bundle::{Bundle, write},
    epoch::{Checks, EpochDraft, MAX_NOTES, Member, Scored},
    geo::{CELL, Cell, Position},
    log::MemoryLog,
    quality::{Bounds, Copied, Density, Only},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::epoch::member;
use crate::support::{Device, NOW, network, reading};

/// Readings in a batch.
const BATCH: usize = 100;

/// The epoch in which these devices sent what they measured, those named in `turns` their next batch in turn.
async fn scored(
    streams: &[Vec<Reading>],
    turns: impl IntoIterator<Item = usize>,
    checks: &Checks,
) -> Scored {
    let log = MemoryLog::new();
    let device = |number: usize| Device::new(&format!("{number:03}"), depin_core::Algorithm::EdDsa);
    let mut devices: Vec<_> =
        streams.iter().enumerate().map(|(at, it)| (device(at), it.chunks(BATCH))).collect();
    for turn in turns {
        let (device, rest) = &mut devices[turn];
        let (sequence, previous) = (Sequence::new(device.next), device.previous);
        let batch = device.seal(rest.next().expect("a batch for each turn"));
        let (device, covers, received) = (device.did.clone(), None, NOW);
        log.append(NewBatch { device, sequence, previous, covers, received, batch }).await.unwrap();
    }
    assert!(devices.iter_mut().all(|(_, rest)| rest.next().is_none()), "all was sent");
    let end = log.head().await.unwrap().size;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..end).await.unwrap();
    let roster = devices.iter().map(|(device, _)| member(device)).collect();
    let record = draft.close(roster, checks.names(), "policy").unwrap();
    let scored = replay(&log, &record, checks).await.unwrap();
    let mut bundle = Vec::new();
    write(&log, &record, &[], &mut bundle).await.unwrap();
    let mut bundle = Bundle::open(Cursor::new(bundle), &record.manifest()).unwrap();
    assert_eq!(bundle.audit(checks).unwrap(), scored, "a stranger comes to the same");
    scored
}

fn scores(scored: &Scored) -> Vec<u64> {
    scored.contributions.entries.iter().map(|entry| entry.score).collect()
}

/// Every device's batches in turn, `count` times.
fn rounds(devices: usize, count: usize) -> Vec<usize> {
    (0..devices).collect::<Vec<_>>().repeat(count)
}

/// Weather that wanders by up to half a degree a minute.
fn weather(seed: u64, minutes: u64) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut level = 2_000i64;
    let mut step = |minute| {
        level += rng.gen_range(-50..=50);
        let value = Decimal::new(level, -2).unwrap();
        reading(&value.to_string(), minute_of(minute))
    };
    (0..minutes).map(&mut step).collect()
}

fn minute_of(minute: u64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + 60_000 * minute)
}

/// The readings, some minutes earlier.
fn earlier(readings: &[Reading], minutes: u64) -> Vec<Reading> {
    let earlier = |it: &Reading| {
        let at = Timestamp::from_millis(it.at().millis() - 60_000 * minutes);
        Reading::new(it.quantity().clone(), it.value(), at)
    };
    readings.iter().map(earlier).collect()
}

/// The readings, with a place before the first.
fn located(readings: Vec<Reading>) -> Vec<Reading> {
    let cell = Cell::at(Position::try_new(470_000_000, 110_000_000).unwrap(), 7).unwrap();
    let at = readings[0].at();
    let place = Reading::new(Quantity::new("cell", "h3"), cell.value(), at);
    [vec![place], readings].concat()
}

#[tokio::test]
async fn who_reads_the_live_stream_and_backdates_it_takes_nothing_from_the_original() {
    let honest = weather(3, 400);
    let copy = earlier(&honest, 90);
    let checks = Checks::new().fleet(Copied::new([("temperature", "Cel")]));
    // Each batch is copied as soon as it is in the log; the copier's name comes first.
    let streams = [copy, honest, weather(4, 400)];
    let live = [[1, 2, 0]; 4].concat();
    let found = scored(&streams, live, &checks).await;
    assert_eq!(scores(&found), [0, 400, 400]);
    assert!(found.findings.iter().all(|(_, it)| it.detail.contains("of the log first")));
    // In whatever order the others send, and however late the copy comes.
    let late = [2, 1, 1, 2, 1, 2, 2, 1, 0, 0, 0, 0];
    assert_eq!(scores(&scored(&streams, late, &checks).await), [0, 400, 400]);
    // The original comes days late, when nobody can have had it.
    let offline = [2, 2, 2, 2, 1, 0, 1, 0, 1, 0, 1, 0];
    assert_eq!(scores(&scored(&streams, offline, &checks).await), [0, 400, 400]);
}

fn crowded(capacity: u32) -> Checks {
    let range = Decimal::from(-60)..=Decimal::from(60);
    Checks::new()
        .check(Bounds::new("temperature", "Cel", range))
        // What is left is judged last, wherever the check stands.
        .fleet(Density::new(7, capacity))
        .fleet(Copied::new([("temperature", "Cel")]).whole_moments())
}

#[tokio::test]
async fn neither_copies_nor_nonsense_crowd_a_cell() {
    let honest = [located(weather(3, 399)), located(weather(4, 399))];
    let nonsense = located((0..399).map(|at| reading("1000", minute_of(at))).collect());
    let mut streams = vec![nonsense; 6];
    streams.extend((0..6).map(|it| earlier(&honest[it % 2], 600 + it as u64)));
    streams.extend(honest);
    // The honest ones come first in each round, their names last.
    let round: Vec<usize> = (12..14).chain(0..12).collect();
    let found = scores(&scored(&streams, round.repeat(4), &crowded(2)).await);
    assert!(found[12..].iter().all(|score| *score >= 390), "{found:?}");
    assert!(found[..6].iter().all(|score| *score <= 1), "{found:?}");
    assert!(found[6..12].iter().all(|score| *score <= 8), "{found:?}");
}

#[tokio::test]
async fn ten_devices_that_work_share_a_cell_and_padding_gains_nothing() {
    let mut streams: Vec<Vec<Reading>> = (0..10).map(|seed| located(weather(seed, 199))).collect();
    let found = scores(&scored(&streams, rounds(10, 2), &crowded(1)).await);
    assert!(found.iter().all(|score| (18..=22).contains(score)), "{found:?}");
    // One of them puts nonsense wherever a share of a tenth would take the point.
    let kept = |at: u32| u64::from(at.wrapping_mul(0x9e37_79b9)) < (1 << 32) / 10;
    let mut good = streams[0].clone().into_iter();
    let mut padded = Vec::new();
    for at in 0.. {
        let nonsense = reading("1000", minute_of(u64::from(at)));
        let Some(next) = (if kept(at) { good.next() } else { Some(nonsense) }) else { break };
        padded.push(next);
    }
    let more = padded.len().div_ceil(BATCH) - 2;
    streams[0] = padded;
    let turns = rounds(10, 2).into_iter().chain(vec![0; more]);
    let found = scores(&scored(&streams, turns, &crowded(1)).await);
    assert!(found[0] <= 22, "{found:?}");
}

/// The same cell, once a minute, and nothing else.
fn idle(minutes: u64) -> Vec<Reading> {
    let place = |minute| located(vec![reading("1", minute_of(minute))]).swap_remove(0);
    (0..minutes).map(place).collect()
}

#[tokio::test]
async fn a_crowd_that_tells_nothing_but_places_earns_no_more_than_any_other() {
    let mut streams = vec![located(weather(3, 199))];
    streams.extend((0..20).map(|_| idle(100)));
    let turns: Vec<usize> = (0..21).chain([0]).collect();
    let checks = Checks::new().fleet(Density::new(7, 1));
    let found = scores(&scored(&streams, turns.clone(), &checks).await);
    assert_eq!(found.iter().sum::<u64>(), 200, "{found:?}");
    // Where places are no work, they take nothing from who works.
    let only = Only::new([("temperature", "Cel")]).beside([CELL]);
    let checks = Checks::new().check(only).fleet(Density::new(7, 1));
    let found = scores(&scored(&streams, turns, &checks).await);
    assert_eq!((found[0], &found[1..]), (199, &[0; 20][..]));
}

#[tokio::test]
async fn a_swarm_of_devices_with_a_point_each_earns_as_many_as_the_cell_has_use_for() {
    let streams: Vec<_> = (0..60).map(|seed| located(weather(seed, 1))).collect();
    let found = scores(&scored(&streams, 0..60, &crowded(3)).await);
    assert_eq!((found.len(), found.iter().sum::<u64>()), (60, 6), "{found:?}");
    assert!(found.iter().all(|score| *score <= 1), "{found:?}");
    // Beside one that works, they take next to nothing from it.
    let working = [streams.clone(), vec![located(weather(99, 199))]].concat();
    let turns = (0..61).chain([60]);
    let found = scores(&scored(&working, turns, &crowded(1)).await);
    assert_eq!(found.iter().sum::<u64>(), 200, "{found:?}");
    assert!(found[60] >= 200 * 200 / 320, "{found:?}");
}

#[tokio::test]
async fn whoever_sends_first_a_crowded_cell_pays_the_same() {
    let streams: Vec<_> =
        (0..7).map(|seed| located(weather(seed, 120 + 40 * (seed % 3)))).collect();
    let turns: Vec<usize> =
        (0..7).flat_map(|at: usize| vec![at; streams[at].len().div_ceil(BATCH)]).collect();
    let first = scores(&scored(&streams, turns.clone(), &crowded(3)).await);
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..4 {
        let mut turns = turns.clone();
        turns.shuffle(&mut rng);
        assert_eq!(scores(&scored(&streams, turns, &crowded(3)).await), first);
    }
}

/// Notes as much as there is room for, and says how much that was.
#[derive(Debug)]
struct Room(usize);

impl FleetCheck for Room {
    fn name(&self) -> String {
        format!("room {}", self.0)
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        vec![0; sent.room()]
    }

    fn compare(&self, notes: &dyn Notes) -> depin_core::Result<Vec<(Did, Vec<u8>)>> {
        let length =
            |(did, note): (&Did, Cow<'_, [u8]>)| (did.clone(), note.len().to_be_bytes().to_vec());
        notes.iter().map(|note| note.map(length)).collect()
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let (batch, detail) = (sent.batches()[0].hash, format!("{suspicion:?}"));
        vec![Finding { batch, reading: 0, code: "room".into(), detail }]
    }
}

#[tokio::test]
async fn the_more_devices_and_checks_there_are_the_less_room_has_each_note() {
    let log = MemoryLog::new();
    let mut device = Device::new("a", depin_core::Algorithm::EdDsa);
    let batch = device.seal(&[reading("1", NOW)]);
    let (sequence, previous) = (Sequence::new(0), depin_core::B256::ZERO);
    let (did, covers, received) = (device.did.clone(), None, NOW);
    log.append(NewBatch { device: did, sequence, previous, covers, received, batch })
        .await
        .unwrap();
    for (devices, count) in [(1, 1), (3_000, 16), (3_000, 200)] {
        let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..1).await.unwrap();
        let other = |number: usize| Member {
            device: Did::parse(&format!("did:example:b{number:06}")).unwrap(),
            keys: Vec::new(),
            ..member(&device)
        };
        let roster = std::iter::once(member(&device)).chain((1..devices).map(other)).collect();
        let checks = (0..count).map(Room).fold(Checks::new(), Checks::fleet);
        let record = draft.close(roster, checks.names(), "policy").unwrap();
        let scored = replay(&log, &record, &checks).await.unwrap();
        let room = (MAX_NOTES / (devices * count)).clamp(LEAST_NOTE, MAX_NOTE);
        let detail = format!("{:?}", room.to_be_bytes());
        assert_eq!(scored.findings.len(), count);
        assert!(scored.findings.iter().all(|(_, it)| it.detail == detail), "{devices}, {count}");
    }
}
