//! How epochs are scored: device by device, with keys that only go forward, and devices that are compared.

use std::sync::Arc;

use depin_core::{
    B256, Batch, Did, EpochId, PublicKey, Signer, Verified,
    quality::{Finding, FleetCheck, MAX_NOTE, Notes, QualityCheck, Sent},
};
use depin_data::{
    audit::{AuditError, replay},
    epoch::{
        Checks, EpochDraft, EpochRecord, MAX_FINDINGS_OF_DEVICE, Member, Past, Scored, score,
        score_each, thumbprint,
    },
    log::MemoryLog,
};

use super::epoch::{append, checks, close, filled, member, stations};
use crate::support::{Device, NOW, network};

/// A record of the whole log, whose roster is made by `member`.
async fn record(
    log: &MemoryLog,
    epoch: u64,
    range: std::ops::Range<u64>,
    checks: &Checks,
    member: impl Fn(&Did) -> Member,
) -> EpochRecord {
    let draft = EpochDraft::read(log, &network(), EpochId::new(epoch), range).await.unwrap();
    let roster = draft.devices().map(member).collect();
    draft.close(roster, checks.names(), "policy").unwrap()
}

/// A device that rotated its key in epoch 0, whose old key then signs in epoch 1; scored with a roster that
/// names both keys, as the registry does.
async fn stolen_key_in_the_next_epoch(past: impl Fn(Past) -> Past) -> Scored {
    let (log, [mut a, b, _]) = (MemoryLog::new(), stations());
    let (old, new) = (Arc::clone(&a.key), Arc::clone(&b.key));
    let keys = vec![old.public_key().clone(), new.public_key().clone()];
    append(&log, &mut a, &["1"]).await;
    a.key = new;
    append(&log, &mut a, &["2"]).await;
    let roster = |past: Option<Past>| {
        let (keys, member) = (keys.clone(), member(&a));
        move |_: &Did| Member { keys: keys.clone(), past: past.clone(), ..member.clone() }
    };
    let nothing = Checks::new();
    let first = record(&log, 0, 0..2, &nothing, roster(None)).await;
    let scored = score(&log, &first, &nothing).await.unwrap();
    let before = scored.pasts[&a.did].clone();
    assert_eq!(before.key, Some(thumbprint(&keys[1])));
    let roster = roster(Some(past(before)));
    a.key = old;
    append(&log, &mut a, &["3", "4"]).await;
    let second = record(&log, 1, 2..3, &nothing, roster).await;
    assert_eq!(EpochRecord::parse(&second.to_bytes()).unwrap(), second);
    replay(&log, &second, &nothing).await.unwrap()
}

#[tokio::test]
async fn a_key_given_up_in_one_epoch_signs_nothing_in_the_next() {
    let scored = stolen_key_in_the_next_epoch(|past| past).await;
    assert_eq!((scored.contributions.entries[0].score, scored.unverified), (0, vec![2]));
    let past = scored.pasts.into_values().next().unwrap();
    assert_eq!(past.key, Some(thumbprint(stations()[1].key.public_key())), "nor the one after it");
}

#[tokio::test]
async fn without_the_last_key_of_the_epoch_before_the_old_one_would_count() {
    let scored = stolen_key_in_the_next_epoch(|past| Past { key: None, ..past }).await;
    assert_eq!(scored.contributions.entries[0].score, 2);
}

#[tokio::test]
async fn a_last_key_that_fell_out_of_the_roster_forbids_none_in_it() {
    let gone = Some(thumbprint(stations()[2].key.public_key()));
    let scored = stolen_key_in_the_next_epoch(|past| Past { key: gone, ..past }).await;
    assert_eq!(scored.contributions.entries[0].score, 2);
}

#[test]
fn thumbprints_tell_keys_apart() {
    let prints: std::collections::HashSet<B256> =
        stations().iter().map(|station| thumbprint(station.key.public_key())).collect();
    assert_eq!(prints.len(), 3);
}

/// Takes the point of every first reading of devices that are not alone with their number of readings.
#[derive(Debug, Default)]
struct SameCount {
    note: usize,
    stranger: bool,
    unordered: bool,
    beyond: usize,
    unread: bool,
}

impl FleetCheck for SameCount {
    fn name(&self) -> String {
        "same-count".into()
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let count: u64 = sent.batches().iter().map(|batch| batch.readings.len() as u64).sum();
        [&count.to_be_bytes()[..], &vec![0; self.note]].concat()
    }

    fn compare(&self, notes: &dyn Notes) -> depin_core::Result<Vec<(Did, Vec<u8>)>> {
        let notes =
            notes.iter().map(|note| note.map(|(did, note)| (did.clone(), note.into_owned())));
        let notes: Vec<_> = notes.collect::<depin_core::Result<_>>()?;
        assert!(notes.is_sorted_by(|a, b| a.0 < b.0), "notes come by did");
        if self.unread {
            return Err(depin_core::Error::unavailable("the disk is broken"));
        }
        let same = |note: &&(Did, Vec<u8>)| notes.iter().filter(|n| n.1 == note.1).count() > 1;
        let mut suspects: Vec<_> = notes.iter().filter(same).cloned().collect();
        if self.stranger {
            suspects.push((Did::parse("did:example:zebra").unwrap(), Vec::new()));
        }
        if self.unordered {
            suspects.reverse();
        }
        Ok(suspects)
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let finding = |batch: &&Verified<Batch>| Finding {
            batch: batch.hash,
            reading: self.beyond,
            code: "same-count".into(),
            detail: format!("{} readings, as others", suspicion[7]),
        };
        sent.batches().iter().map(finding).collect()
    }
}

/// Two devices that send two readings each round and one that sends one; one reading of each is too hot.
async fn twins() -> (MemoryLog, [Device; 3]) {
    let (log, [mut a, mut b, mut c]) = (MemoryLog::new(), stations());
    for _ in 0..3 {
        append(&log, &mut a, &["80", "1"]).await;
        append(&log, &mut b, &["1", "80"]).await;
        append(&log, &mut c, &["80"]).await;
    }
    (log, [a, b, c])
}

async fn compared(check: SameCount) -> Result<Scored, AuditError> {
    let (log, devices) = twins().await;
    let checks = checks().fleet(check);
    let of = |did: &Did| member(devices.iter().find(|device| device.did == *did).unwrap());
    let record = record(&log, 0, 0..9, &checks, of).await;
    replay(&log, &record, &checks).await
}

#[tokio::test]
async fn devices_are_compared_and_suspects_looked_at_again() {
    let scored = compared(SameCount::default()).await.unwrap();
    let scores: Vec<_> = scored.contributions.entries.iter().map(|entry| entry.score).collect();
    // The first reading of `a` was too hot already, that of `b` was fine; `c` is no suspect.
    assert_eq!(scores, [3, 0, 0]);
    let codes: Vec<_> = scored.findings.iter().map(|(_, f)| f.code.as_ref()).collect();
    let a = ["out-of-bounds", "same-count"].repeat(3);
    let b = ["same-count", "out-of-bounds"].repeat(3);
    assert_eq!(codes, [a, b, ["out-of-bounds"].repeat(3)].concat());
    assert_eq!(scored.findings[1].1.detail, "6 readings, as others");
}

#[tokio::test]
async fn every_finding_is_given_once_also_of_suspects() {
    let (log, devices) = twins().await;
    let checks = checks().fleet(SameCount::default());
    let of = |did: &Did| member(devices.iter().find(|device| device.did == *did).unwrap());
    let record = record(&log, 0, 0..9, &checks, of).await;
    let mut given = Vec::new();
    let mut each = |did: &Did, finding: &Finding| given.push((did.clone(), finding.clone()));
    let scored = score_each(&log, &record, &checks, &mut each).await.unwrap();
    let mut listed = scored.findings;
    listed.sort();
    given.sort();
    assert_eq!(given, listed);
    assert_eq!(scored.unlisted, 0);
}

#[tokio::test]
async fn a_fleet_check_that_breaks_its_contract_is_named() {
    for (clause, check) in [
        (2, SameCount { note: MAX_NOTE, ..Default::default() }),
        (3, SameCount { stranger: true, ..Default::default() }),
        (3, SameCount { unordered: true, ..Default::default() }),
        (4, SameCount { beyond: 2, ..Default::default() }),
    ] {
        let error = compared(check).await.unwrap_err();
        assert!(matches!(&error, AuditError::Check { name } if name == "same-count"), "{clause}");
    }
}

#[tokio::test]
async fn notes_that_cannot_be_read_score_nothing() {
    let error = compared(SameCount { unread: true, ..Default::default() }).await.unwrap_err();
    assert!(matches!(&error, AuditError::Compare { name, .. } if name == "same-count"), "{error}");
    let error = depin_core::Error::from(error);
    assert!(error.is_retryable() && error.to_string().contains("the disk is broken"), "{error}");
}

#[tokio::test]
async fn fleet_checks_are_part_of_the_record() {
    let log = filled(1).await;
    let with = checks().fleet(SameCount::default());
    let error = score(&log, &close(&log, 0, 0..3).await, &with).await.unwrap_err();
    assert!(error.to_string().contains("same-count"), "{error}");
}

/// Finds fault with everything.
#[derive(Debug)]
struct Grumbler;

impl QualityCheck for Grumbler {
    fn name(&self) -> String {
        "grumbler".into()
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let of = |batch: &&Verified<Batch>| {
            let hash = batch.hash;
            (0..batch.readings.len()).map(move |reading| Finding {
                batch: hash,
                reading,
                code: "bad".into(),
                detail: "all of it".into(),
            })
        };
        batches.iter().flat_map(of).collect()
    }
}

#[tokio::test]
async fn the_list_of_findings_ends_and_the_score_stays_exact() {
    let (log, [mut a, mut b, _]) = (MemoryLog::new(), stations());
    for _ in 0..3 {
        append(&log, &mut a, &["1"; 100]).await;
    }
    append(&log, &mut b, &["1"; 100]).await;
    let checks = Checks::new().check(Grumbler).check(Grumbler);
    let of = |did: &Did| member(if *did == a.did { &a } else { &b });
    let record = record(&log, 0, 0..4, &checks, of).await;
    let mut given = 0;
    let scored = score_each(&log, &record, &checks, &mut |_, _| given += 1).await.unwrap();
    assert_eq!(scored.contributions.entries.iter().map(|entry| entry.score).sum::<u64>(), 0);
    let of_a = scored.findings.iter().filter(|(did, _)| *did == a.did).count();
    assert_eq!(
        (of_a, scored.findings.len()),
        (MAX_FINDINGS_OF_DEVICE, MAX_FINDINGS_OF_DEVICE + 200)
    );
    assert_eq!((given, scored.unlisted), (800, 800 - 456));
}

#[tokio::test]
async fn many_devices_with_many_batches_score_as_each_alone() {
    let log = MemoryLog::new();
    let mut devices: Vec<Device> = (0..40u8)
        .map(|i| Device::new(&format!("{i:02}"), depin_core::Algorithm::ALL[usize::from(i) % 3]))
        .collect();
    for round in 0..5 {
        for device in devices.iter_mut().skip(round) {
            append(&log, device, &["1", "80", "2"]).await;
        }
    }
    let end = log_len(&log).await;
    let keys = |did: &Did| -> Vec<PublicKey> {
        let device = devices.iter().find(|device| device.did == *did).unwrap();
        vec![device.key.public_key().clone()]
    };
    let of = |did: &Did| Member {
        keys: keys(did),
        ..member(devices.iter().find(|device| device.did == *did).unwrap())
    };
    let record = record(&log, 0, 0..end, &checks(), of).await;
    let scored = score(&log, &record, &checks()).await.unwrap();
    for (i, entry) in scored.contributions.entries.iter().enumerate() {
        let batches = 5.min(i as u64 + 1);
        assert_eq!((entry.readings, entry.score), (3 * batches, 2 * batches), "device {i}");
    }
    assert_eq!(scored.findings.len() as u64, end);
    assert_eq!(scored.pasts.len(), 40);
}

async fn log_len(log: &MemoryLog) -> u64 {
    depin_core::log::BatchLog::head(log).await.unwrap().size
}

/// What every device sends: its batches, in chain order.
fn sent(cuts: &[usize]) -> Vec<(Device, Vec<depin_core::SignedBatch>)> {
    let names = ["a", "b", "c", "d"];
    let of = |(i, name): (usize, &&str)| {
        let mut device = Device::new(name, depin_core::Algorithm::EdDsa);
        let values = ["1", "80", "2", "-70", "3", "4"];
        let readings: Vec<_> = (0..)
            .zip(values)
            .map(|(at, value)| {
                let at = NOW.plus(std::time::Duration::from_secs(60 * at + i as u64));
                crate::support::reading(value, at)
            })
            .collect();
        let (mut rest, mut batches) = (&readings[..], Vec::new());
        for cut in cuts {
            let (batch, more) = rest.split_at(*cut);
            batches.push(device.seal(batch));
            rest = more;
        }
        (device, batches)
    };
    names.iter().enumerate().map(of).collect()
}

/// Closes an epoch over the devices' batches in the order of `turns`.
async fn in_order(
    sent: &[(Device, Vec<depin_core::SignedBatch>)],
    turns: &[usize],
    checks: &Checks,
) -> Scored {
    let log = MemoryLog::new();
    let mut tips = vec![(0usize, B256::ZERO); sent.len()];
    for turn in turns {
        let ((device, batches), (next, previous)) = (&sent[*turn], &mut tips[*turn]);
        let batch = batches[*next].clone();
        let new = depin_core::log::NewBatch {
            device: device.did.clone(),
            sequence: depin_core::Sequence::new(*next as u64),
            previous: *previous,
            covers: None,
            received: NOW,
            batch: batch.clone(),
        };
        depin_core::log::BatchLog::append(&log, new).await.unwrap();
        (*next, *previous) = (*next + 1, batch.hash());
    }
    let of = |did: &Did| member(&sent.iter().find(|(device, _)| device.did == *did).unwrap().0);
    let record = record(&log, 0, 0..turns.len() as u64, checks, of).await;
    score(&log, &record, checks).await.unwrap()
}

async fn shuffled(rounds: u32, cuts: &[usize], checks: &Checks) {
    let first = the_same_in_any_order(rounds, &sent(cuts), checks).await;
    assert!(!first.findings.is_empty());
}

/// What the batches score in an order of their devices, and in so many others.
async fn the_same_in_any_order(
    rounds: u32,
    sent: &[(Device, Vec<depin_core::SignedBatch>)],
    checks: &Checks,
) -> Scored {
    use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
    let batches = sent.iter().enumerate().flat_map(|(n, (_, of))| std::iter::repeat_n(n, of.len()));
    let mut turns: Vec<usize> = batches.collect();
    let first = in_order(sent, &turns, checks).await;
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..rounds {
        turns.shuffle(&mut rng);
        let scored = in_order(sent, &turns, checks).await;
        assert_eq!(scored, first, "round {round}: {turns:?}");
    }
    first
}

/// Five hours of stations a kilometre apart: a day that warms up, and the noise of each sensor.
#[cfg(feature = "geo")]
fn weather(stations: u64) -> Vec<(Device, Vec<depin_core::SignedBatch>)> {
    use depin_core::{Decimal, Reading, reading::Quantity};
    let noise = |station: u64, step: u64, of: u64| {
        let seed = [station.to_be_bytes(), step.to_be_bytes(), of.to_be_bytes()].concat();
        i64::from(depin_data::merkle::leaf_hash(&seed).0[0]) - 128
    };
    let station = |n: u64| {
        let mut device = Device::new(&format!("station-{n}"), depin_core::Algorithm::EdDsa);
        let batches = (0..4).map(|hour| {
            let steps = 15 * hour..15 * (hour + 1);
            let readings = steps.flat_map(|step| {
                let at = NOW.plus(std::time::Duration::from_secs(300 * step));
                let rise = i64::try_from(step).unwrap();
                let of = |name, unit, value, exponent| {
                    Reading::new(
                        Quantity::new(name, unit),
                        Decimal::new(value, exponent).unwrap(),
                        at,
                    )
                };
                let place = 4_000_000 + i64::try_from(n).unwrap() * 1_000;
                [
                    of("latitude", "lat", place, -5),
                    of("longitude", "lon", place, -5),
                    of("temperature", "Cel", 1_500 + 5 * rise + noise(n, step, 1) / 2, -2),
                    of("humidity", "%RH", 6_000 - 20 * rise + noise(n, step, 2), -2),
                ]
            });
            device.seal(&readings.collect::<Vec<_>>())
        });
        let batches = batches.collect();
        (device, batches)
    };
    (0..stations).map(station).collect()
}

#[cfg(feature = "geo")]
#[tokio::test]
async fn the_order_changes_nothing_among_honest_stations_under_a_shipped_preset() {
    let preset = depin_data::quality::presets::climate(std::time::Duration::from_secs(300));
    let checks = Checks::of(preset.checks, preset.fleet);
    let scored = the_same_in_any_order(100, &weather(4), &checks).await;
    for entry in &scored.contributions.entries {
        assert_eq!((entry.readings, entry.score), (240, 120), "{:?}", scored.findings);
    }
}

#[tokio::test]
async fn the_order_in_which_devices_send_changes_nothing_in_a_thousand_shuffles() {
    shuffled(1_000, &[2, 4], &checks()).await;
}

#[tokio::test]
async fn nor_does_it_when_devices_are_compared() {
    shuffled(20, &[2, 1, 3], &checks().fleet(SameCount::default())).await;
}

#[tokio::test]
async fn where_batches_are_cut_changes_no_score() {
    let whole = in_order(&sent(&[6]), &[0, 1, 2, 3], &checks()).await;
    for cuts in [vec![1; 6], vec![5, 1], vec![2, 2, 2]] {
        let turns = [0, 1, 2, 3].repeat(cuts.len());
        let cut = in_order(&sent(&cuts), &turns, &checks()).await;
        assert_eq!(cut.contributions, whole.contributions, "{cuts:?}");
        let codes = |scored: &Scored| -> Vec<_> {
            scored.findings.iter().map(|(did, f)| (did.clone(), f.code.clone())).collect()
        };
        assert_eq!(codes(&cut), codes(&whole));
    }
}
