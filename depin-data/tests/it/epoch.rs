//! Records of epochs: their bytes, their order, and what they are scored as.

use depin_core::{
    Address, Algorithm, B256, Bytes, Decimal, EpochId, ErrorKind, Signer, Timestamp,
    log::{Append, BatchLog, ChainTip, NewBatch},
};
use depin_data::{
    epoch::{COUNTED_BEFORE, Checks, EpochDraft, EpochError, EpochRecord, Member, Past, score},
    log::MemoryLog,
    quality::{Bounds, Only},
};
use proptest::prelude::*;

use crate::support::{Device, NOW, network, reading};

/// Appends what a device signed.
pub(crate) async fn append(log: &dyn BatchLog, device: &mut Device, values: &[&str]) {
    let at =
        |i: usize| Timestamp::from_millis(NOW.millis() + 60_000 * (100 * device.next + i as u64));
    let readings: Vec<_> =
        values.iter().enumerate().map(|(i, value)| reading(value, at(i))).collect();
    let (sequence, previous) = (depin_core::Sequence::new(device.next), device.previous);
    let batch = device.seal(&readings);
    let new = NewBatch {
        device: device.did.clone(),
        sequence,
        previous,
        covers: None,
        received: NOW,
        batch,
    };
    assert!(matches!(log.append(new).await.unwrap(), Append::Stored(_)));
}

pub(crate) fn stations() -> [Device; 3] {
    let of = [("a", Algorithm::EdDsa), ("b", Algorithm::Es256k), ("c", Algorithm::Es256)];
    of.map(|(name, algorithm)| Device::new(name, algorithm))
}

pub(crate) fn member(device: &Device) -> Member {
    Member {
        device: device.did.clone(),
        keys: vec![device.key.public_key().clone()],
        beneficiary: Address::from_word(depin_data::merkle::leaf_hash(
            device.did.as_str().as_bytes(),
        )),
        past: None,
    }
}

pub(crate) fn checks() -> Checks {
    let range = Decimal::from(-60)..=Decimal::from(60);
    Checks::new()
        .check(Bounds::new("temperature", "Cel", range))
        .check(Only::new([("temperature", "Cel")]))
}

pub(crate) async fn close(
    log: &dyn BatchLog,
    epoch: u64,
    range: std::ops::Range<u64>,
) -> EpochRecord {
    let pasts = match range.start {
        0 => Default::default(),
        first => {
            let earlier = Box::pin(close(log, 0, 0..first)).await;
            score(log, &earlier, &checks()).await.unwrap().pasts
        }
    };
    let draft = EpochDraft::read(log, &network(), EpochId::new(epoch), range).await.unwrap();
    let names = checks().names();
    let stations = stations();
    let taking_part =
        stations.iter().filter(|station| draft.devices().any(|did| *did == station.did));
    let since =
        |station: &Device| Member { past: pasts.get(&station.did).cloned(), ..member(station) };
    let roster = taking_part.map(since).collect();
    draft.close(roster, names, "policy").unwrap()
}

/// A log of `rounds` rounds in which every station sends; `b` measures 80 degrees each time.
pub(crate) async fn filled(rounds: u32) -> MemoryLog {
    let log = MemoryLog::new();
    let [mut a, mut b, mut c] = stations();
    for _ in 0..rounds {
        append(&log, &mut a, &["1", "2", "3"]).await;
        append(&log, &mut b, &["1", "80"]).await;
        append(&log, &mut c, &["5"]).await;
    }
    log
}

#[tokio::test]
async fn readings_are_worth_a_point_each_unless_a_finding_names_them() {
    let log = filled(4).await;
    let record = close(&log, 0, 0..12).await;
    let scored = score(&log, &record, &checks()).await.unwrap();
    let counts: Vec<_> =
        scored.contributions.entries.iter().map(|entry| (entry.readings, entry.score)).collect();
    assert_eq!(counts, [(12, 12), (8, 4), (4, 4)]);
    assert_eq!(scored.findings.len(), 4);
    for (device, finding) in &scored.findings {
        assert_eq!((device, finding.reading), (&stations()[1].did, 1));
        assert_eq!(finding.code, "out-of-bounds");
    }
    let paid: Vec<_> = scored.contributions.entries.iter().map(|entry| entry.beneficiary).collect();
    assert_eq!(
        paid,
        stations().iter().map(|station| member(station).beneficiary).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_reading_that_two_checks_name_loses_one_point() {
    let log = filled(1).await;
    let twice = Checks::of([checks().of_each(), checks().of_each()].concat(), Vec::new());
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..3).await.unwrap();
    let roster = stations().iter().map(member).collect();
    let record = draft.close(roster, twice.names(), "policy").unwrap();
    let scored = score(&log, &record, &twice).await.unwrap();
    assert_eq!(scored.findings.len(), 2);
    assert_eq!(scored.contributions.entries[1].score, 1);
}

#[tokio::test]
async fn what_an_earlier_epoch_counted_is_not_counted_again() {
    let log = MemoryLog::new();
    let [mut a, ..] = stations();
    append(&log, &mut a, &["1", "2", "3"]).await;
    let first = score(&log, &close(&log, 0, 0..1).await, &checks()).await.unwrap();
    let past = first.pasts[&a.did].clone();
    // The same times, signed once more, and one later reading.
    let again = a.next;
    let (sequence, previous) = (depin_core::Sequence::new(again), a.previous);
    let old = Timestamp::from_millis(NOW.millis() + 60_000);
    let new = Timestamp::from_millis(past.latest.millis() + 1);
    let batch = a.seal(&[reading("1", old), reading("2", past.latest), reading("3", new)]);
    let device = a.did.clone();
    log.append(NewBatch { device, sequence, previous, covers: None, received: NOW, batch })
        .await
        .unwrap();
    let second = score(&log, &close(&log, 1, 1..2).await, &checks()).await.unwrap();
    assert_eq!(second.contributions.entries[0].score, 1);
    let codes: Vec<_> = second.findings.iter().map(|(_, finding)| finding.code.as_ref()).collect();
    assert_eq!(codes, [COUNTED_BEFORE; 2]);
    assert_eq!(second.pasts[&a.did].latest, new);
}

#[tokio::test]
async fn a_past_that_is_not_where_the_device_stood_breaks_its_chain() {
    let log = filled(2).await;
    let mut record = EpochDraft::read(&log, &network(), EpochId::new(1), 3..6).await.unwrap();
    for past in [
        None,
        Some(Past {
            tip: ChainTip { sequence: depin_core::Sequence::new(0), hash: B256::ZERO },
            latest: NOW,
            key: None,
            open: Vec::new(),
        }),
    ] {
        let roster = stations();
        let roster = roster.iter().map(|it| Member { past: past.clone(), ..member(it) }).collect();
        let closed = record.clone().close(roster, Vec::new(), "policy").unwrap();
        assert!(score(&log, &closed, &Checks::new()).await.is_err(), "{past:?}");
    }
    record = EpochDraft::read(&log, &network(), EpochId::new(1), 0..6).await.unwrap();
    let roster = stations().iter().map(member).collect();
    assert!(
        score(&log, &record.close(roster, Vec::new(), "policy").unwrap(), &Checks::new())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn epochs_of_any_length_at_any_place_score_and_parse() {
    let log = filled(12).await;
    for (first, end) in
        [(0, 0), (0, 1), (0, 36), (1, 2), (3, 8), (7, 7), (8, 21), (31, 36), (36, 36)]
    {
        let record = close(&log, 0, first..end).await;
        assert_eq!(record.range(), first..end);
        assert_eq!(record.root(), log.root(end).await.unwrap());
        assert_eq!(record.root_before(), log.root(first).await.unwrap());
        assert_eq!(EpochRecord::parse(&record.to_bytes()).unwrap(), record, "{first}..{end}");
        let scored = score(&log, &record, &checks()).await.unwrap();
        let batches = record.leaves().len() as u64;
        assert_eq!(batches, end - first);
        assert_eq!(scored.contributions.entries.is_empty(), batches == 0);
    }
}

#[tokio::test]
async fn epochs_chain_without_a_batch_between_them() {
    let log = filled(4).await;
    let [first, second, later] =
        [close(&log, 0, 0..5).await, close(&log, 1, 5..11).await, close(&log, 2, 6..12).await];
    second.follows(&first).unwrap();
    for (epoch, previous) in [(&later, &first), (&first, &second), (&first, &first)] {
        assert_eq!(epoch.follows(previous).unwrap_err().kind(), ErrorKind::Rejected);
    }
    let forked = MemoryLog::new();
    append(&forked, &mut Device::new("a", Algorithm::EdDsa), &["9"]).await;
    assert!(close(&log, 1, 1..2).await.follows(&close(&forked, 0, 0..1).await).is_err());
}

#[tokio::test]
async fn a_roster_names_every_device_once() {
    let log = filled(1).await;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..3).await.unwrap();
    let mut roster: Vec<Member> = stations().iter().map(member).collect();
    let doubled = [roster.clone(), roster.clone()].concat();
    let error = draft.clone().close(doubled, Vec::new(), "policy").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let ordered = draft.clone().close(roster.clone(), Vec::new(), "policy").unwrap();
    roster.reverse();
    assert_eq!(draft.clone().close(roster.clone(), Vec::new(), "policy").unwrap(), ordered);
    let missing = roster.pop().unwrap();
    let error = draft.close(roster, Vec::new(), "policy").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(missing.device.as_str()), "{error}");
}

#[tokio::test]
async fn a_range_past_the_log_or_too_long_is_refused() {
    let log = filled(1).await;
    for (range, kind) in [
        (0..4, ErrorKind::NotFound),
        (std::ops::Range { start: 2, end: 1 }, ErrorKind::Limit),
        (0..(1 << 22) + 1, ErrorKind::Limit),
    ] {
        let error = EpochDraft::read(&log, &network(), EpochId::new(0), range).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn other_checks_than_the_records_are_refused() {
    let log = filled(1).await;
    let record = close(&log, 0, 0..3).await;
    let reordered = checks().of_each().iter().rev().cloned().collect::<Vec<_>>().into();
    for given in [Checks::new(), reordered] {
        let error = score(&log, &record, &given).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn the_record_is_small_beside_the_batches() {
    let log = filled(100).await;
    let record = close(&log, 0, 0..300).await;
    let bytes: usize =
        log.read(0, 300).await.unwrap().iter().map(|e| e.batch.as_bytes().len()).sum();
    assert!(record.to_bytes().len() * 5 < bytes, "{} of {bytes}", record.to_bytes().len());
    log.seal(record.epoch(), Bytes::from(record.to_bytes())).await.unwrap();
}

#[tokio::test]
async fn every_truncation_and_trailing_byte_is_refused() {
    let bytes = close(&filled(3).await, 7, 2..9).await.to_bytes();
    for length in 0..bytes.len() {
        assert!(EpochRecord::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(EpochRecord::parse(&longer).is_err());
}

#[tokio::test]
async fn a_record_names_the_withdrawn_one_that_it_replaces_and_has_no_room_for_it_otherwise() {
    let log = filled(2).await;
    let plain = close(&log, 7, 1..6).await;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(7), 1..6).await.unwrap();
    let (roster, checks) = (plain.roster().to_vec(), plain.checks().to_vec());
    let withdrawn = Some(plain.manifest());
    let record = draft.replacing(withdrawn).close(roster, checks, plain.policy()).unwrap();
    let bytes = record.to_bytes();
    assert_eq!(EpochRecord::parse(&bytes).unwrap().replaces(), withdrawn);
    assert_eq!(bytes.len(), plain.to_bytes().len() + 1 + 2 + 32);
    assert_eq!((plain.to_bytes()[0], bytes[0]), (0xa0 + 13, 0xa0 + 14));
    // Neither record passes for the other.
    for (mut changed, entries) in [(bytes.clone(), 13), (plain.to_bytes(), 14)] {
        changed[0] = 0xa0 + entries;
        assert!(EpochRecord::parse(&changed).is_err());
    }
    any_changed_byte_tells(&record);
    assert!((0..bytes.len()).all(|length| EpochRecord::parse(&bytes[..length]).is_err()));
}

#[tokio::test]
async fn any_changed_byte_gives_another_manifest_or_no_record() {
    any_changed_byte_tells(&close(&filled(2).await, 7, 1..6).await);
}

fn any_changed_byte_tells(record: &EpochRecord) {
    let bytes = record.to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(other) = EpochRecord::parse(&changed) {
            assert_ne!(other.manifest(), record.manifest(), "byte {at}");
            assert_eq!(other.to_bytes(), changed, "byte {at}");
        }
    }
}

#[tokio::test]
async fn hashes_that_do_not_lead_to_the_root_are_refused() {
    let record = close(&filled(2).await, 0, 3..6).await;
    let bytes = record.to_bytes();
    for hash in record.leaves().iter().chain([&record.root()]) {
        let at = bytes.windows(32).position(|window| window == hash.as_slice()).unwrap();
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(EpochRecord::parse(&changed), Err(EpochError::Root));
    }
}

#[tokio::test]
async fn an_uncompressed_key_is_a_second_encoding_and_refused() {
    let record = close(&filled(1).await, 0, 0..3).await;
    let key = stations()[1].key.public_key().clone();
    let mut wide = vec![0x58, 65, 4];
    wide.extend(key.to_uncompressed().unwrap());
    let narrow = [&[0x58, 33], &key.to_bytes()[..]].concat();
    let bytes = record.to_bytes();
    let at = bytes.windows(narrow.len()).position(|window| window == narrow).unwrap();
    let changed = [&bytes[..at], &wide, &bytes[at + narrow.len()..]].concat();
    assert_eq!(EpochRecord::parse(&changed), Err(EpochError::Format("a key is not compressed")));
}

#[test]
fn claims_of_absurd_lengths_are_refused_at_once() {
    for hex in ["ba7fffffff", "aa006e646570696e2065706f6368207631", "9b00ffffffffffffff"] {
        let bytes = hex.as_bytes().chunks(2);
        let bytes: Vec<u8> = bytes
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert!(EpochRecord::parse(&bytes).is_err());
    }
}

#[tokio::test]
async fn a_log_that_does_not_lead_to_its_root_is_corrupt() {
    let log = filled(2).await;
    let honest = log.read(0, 6).await.unwrap();
    let lying = super::audit::Copy::of(&log, honest.into_iter().skip(1).collect());
    let draft = EpochDraft::read(&lying, &network(), EpochId::new(0), 0..6).await;
    assert_eq!(draft.unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn random_bytes_are_no_record(bytes: Vec<u8>) {
        prop_assert!(EpochRecord::parse(&bytes).is_err());
    }
}
