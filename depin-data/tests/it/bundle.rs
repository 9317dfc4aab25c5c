//! Bundles: whoever has one comes to the same score, and whoever changes one is found out.

use std::io::Cursor;

use depin_core::{
    Address, Algorithm, Amount, B256, Did, EpochId, ErrorKind, Signer,
    log::BatchLog,
    quality::{Finding, FleetCheck, Notes, Sent},
};
use depin_data::{
    audit::{AuditError, Fault},
    bundle::{Bundle, BundleError, MAGIC, claimed_epoch, write},
    epoch::{Checks, EpochDraft, EpochRecord, Member, Scored, score},
    log::MemoryLog,
};
use proptest::prelude::*;

use super::epoch::{append, checks, close, filled, member, stations};
use crate::support::{Device, NOW, network, reading};

pub(crate) fn balances() -> Vec<(Address, Amount)> {
    (1..=3u8).map(|i| (Address::repeat_byte(i), Amount::from(u64::from(i)))).collect()
}

async fn bundle_of(log: &MemoryLog, record: &EpochRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(log, record, &balances(), &mut bytes).await.unwrap();
    bytes
}

/// The bundle of an epoch in the middle of a log, and what it is scored as.
async fn middle() -> (Vec<u8>, EpochRecord, Scored) {
    let log = filled(4).await;
    let record = close(&log, 0, 2..11).await;
    let scored = score(&log, &record, &checks()).await.unwrap();
    (bundle_of(&log, &record).await, record, scored)
}

/// Opened as if its record, whatever it is, were the one on chain.
fn open(bytes: Vec<u8>) -> Result<Bundle<Cursor<Vec<u8>>>, BundleError> {
    match Bundle::open(Cursor::new(&bytes), &B256::ZERO).map(drop) {
        Err(BundleError::Manifest { found, .. }) => Bundle::open(Cursor::new(bytes), &found),
        other => Err(other.unwrap_err()),
    }
}

fn audit(bytes: Vec<u8>) -> Result<Scored, AuditError> {
    open(bytes)?.audit(&checks())
}

/// The content of each frame with its kind.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut rest, mut frames) = (&bytes[MAGIC.len()..], Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push((rest[4], rest[5..5 + length].to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

/// A bundle of these frames, with checksums that hold.
fn joined(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (kind, content) in frames {
        let checked = [&[*kind], &content[..]].concat();
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(&checked);
        bytes.extend(crc32fast::hash(&checked).to_be_bytes());
    }
    bytes
}

/// Audits the middle bundle with its frames changed.
async fn doctored(doctor: impl FnOnce(&mut Vec<(u8, Vec<u8>)>)) -> AuditError {
    let (bytes, ..) = middle().await;
    let mut all = frames(&bytes);
    doctor(&mut all);
    audit(joined(&all)).unwrap_err()
}

#[tokio::test]
async fn a_bundle_scores_as_the_log_does() {
    let (bytes, record, scored) = middle().await;
    assert_eq!(joined(&frames(&bytes)), bytes);
    let mut bundle = open(bytes).unwrap();
    assert_eq!((bundle.record(), bundle.balances()), (&record, &balances()[..]));
    assert_eq!(bundle.audit(&checks()).unwrap(), scored);
    assert_eq!(bundle.audit(&checks()).unwrap(), scored, "and once more");
}

#[tokio::test]
async fn an_empty_epoch_has_a_bundle() {
    let log = filled(1).await;
    let record = close(&log, 0, 0..0).await;
    let mut bytes = Vec::new();
    write(&log, &record, &[], &mut bytes).await.unwrap();
    assert!(audit(bytes).unwrap().contributions.entries.is_empty());
}

#[tokio::test]
async fn the_bundle_may_stand_anywhere_in_its_input() {
    let (bytes, record, scored) = middle().await;
    let mut input = Cursor::new([&[7; 100][..], &bytes].concat());
    input.set_position(100);
    let mut bundle = Bundle::open(input, &record.manifest()).unwrap();
    assert_eq!(bundle.audit(&checks()).unwrap(), scored);
}

/// Suspects everybody, so that everything is read again.
#[derive(Debug)]
struct Suspicious;

impl FleetCheck for Suspicious {
    fn name(&self) -> String {
        "suspicious".into()
    }
    fn note(&self, _: &Sent<'_>) -> Vec<u8> {
        Vec::new()
    }
    fn compare(&self, notes: &dyn Notes) -> depin_core::Result<Vec<(Did, Vec<u8>)>> {
        notes.iter().map(|note| note.map(|(did, note)| (did.clone(), note.into_owned()))).collect()
    }
    fn inspect(&self, _: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let last = sent.batches().last().unwrap();
        let (code, detail) = ("last".into(), "the last one".into());
        vec![Finding { batch: last.hash, reading: 0, code, detail }]
    }
}

#[tokio::test]
async fn suspects_are_looked_at_again_in_a_bundle_too() {
    let log = filled(4).await;
    let checks = checks().fleet(Suspicious);
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..12).await.unwrap();
    let roster = stations().iter().map(member).collect();
    let record = draft.close(roster, checks.names(), "policy").unwrap();
    let scored = score(&log, &record, &checks).await.unwrap();
    assert_eq!(scored.contributions.entries.iter().map(|entry| entry.score).sum::<u64>(), 20 - 3);
    let bytes = bundle_of(&log, &record).await;
    assert_eq!(open(bytes).unwrap().audit(&checks).unwrap(), scored);
}

#[tokio::test]
async fn a_bundle_outlives_the_bytes_in_the_log() {
    let (log, record) = (filled(4).await, close(&filled(4).await, 0, 0..12).await);
    let (bytes, scored) =
        (bundle_of(&log, &record).await, score(&log, &record, &checks()).await.unwrap());
    log.forget(12).await.unwrap();
    assert_eq!(audit(bytes).unwrap(), scored);
    let error = write(&log, &record, &[], &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // The next epoch begins where forgotten batches end.
    for end in [12, 13] {
        let next = EpochDraft::read(&log, &network(), EpochId::new(1), 12..end).await.unwrap();
        assert_eq!(next.batches() as u64, end - 12);
        if end == 12 {
            append(&log, &mut Device::new("d", Algorithm::EdDsa), &["1"]).await;
        }
    }
}

#[tokio::test]
async fn a_dropped_batch_is_missed_by_its_index() {
    for (at, index) in [(2, 3), (5, 4), (10, 8)] {
        let error = doctored(|frames| drop(frames.remove(at)));
        let AuditError::Batch { index: missed, fault, .. } = error.await else { panic!() };
        assert_eq!((missed, fault), (index, Fault::Missing), "frame {at}");
    }
    let error = doctored(|frames| frames[11].1 = 8u64.to_be_bytes().to_vec()).await;
    assert!(error.to_string().contains("counts other batches"), "{error}");
}

#[tokio::test]
async fn reordered_and_repeated_batches_are_named() {
    for error in [
        doctored(|frames| frames.swap(2, 3)).await,
        doctored(|frames| frames.swap(3, 8)).await,
        doctored(|frames| frames.insert(3, frames[2].clone())).await,
        doctored(|frames| frames.insert(9, frames[2].clone())).await,
    ] {
        assert!(matches!(error, AuditError::Bundle(BundleError::Frame { .. })), "{error}");
        assert!(error.to_string().contains("repeats"), "{error}");
    }
}

#[tokio::test]
async fn a_batch_under_another_index_is_not_what_was_recorded() {
    let error = doctored(|frames| frames[3].1[..8].copy_from_slice(&7u64.to_be_bytes())).await;
    assert!(matches!(error, AuditError::Batch { index: 7, fault: Fault::Replaced, .. }));
    let error = doctored(|frames| frames[3].1[..8].copy_from_slice(&70u64.to_be_bytes())).await;
    assert!(matches!(error, AuditError::Batch { index: 70, .. }), "{error}");
}

#[tokio::test]
async fn a_forged_signature_and_a_batch_signed_instead_are_named() {
    let error = doctored(|frames| *frames[3].1.last_mut().unwrap() ^= 1).await;
    assert!(matches!(error, AuditError::Batch { fault: Fault::Broken(_), .. }), "{error}");
    let [mut a, ..] = stations();
    for _ in 0..3 {
        a.seal(&[reading("1", NOW)]);
    }
    let forged = a.seal_at(2, B256::repeat_byte(1), &[reading("59", NOW)]);
    let error = doctored(|frames| {
        frames[3].1.truncate(8);
        frames[3].1.extend(forged.as_bytes());
    });
    let AuditError::Batch { batch, fault, .. } = error.await else { panic!() };
    assert_eq!((batch, fault), (Some(forged.hash()), Fault::Replaced));
}

#[tokio::test]
async fn a_record_that_is_not_the_one_on_chain_is_not_even_parsed() {
    let (bytes, record, _) = middle().await;
    assert_eq!(claimed_epoch(&bytes[..]).unwrap(), record.epoch());
    // What no parser would take is refused for what it is not, before any parser has seen it.
    let mut all = frames(&bytes);
    all[0].1 = vec![0x9f; 1 << 20];
    let forged = joined(&all);
    let error = Bundle::open(Cursor::new(&forged), &record.manifest()).unwrap_err();
    let BundleError::Manifest { expected, found } = error else { panic!("{error}") };
    assert!(expected == record.manifest() && found != expected);
    assert!(matches!(claimed_epoch(&forged[..]), Err(BundleError::Record(_))));
    let error = Bundle::open(Cursor::new(&bytes), &B256::ZERO).unwrap_err();
    assert!(matches!(error, BundleError::Manifest { .. }), "{error}");
    assert!(Bundle::open(Cursor::new(&bytes), &record.manifest()).is_ok());
    for length in 0..200 {
        // The name of the epoch stands in the first bytes; without them there is none.
        let _ = claimed_epoch(&bytes[..length]);
    }
    assert!(claimed_epoch(&bytes[..20]).is_err());
}

#[tokio::test]
async fn a_swapped_roster_key_gives_another_manifest_and_no_points() {
    let log = filled(4).await;
    let record = close(&log, 0, 0..12).await;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..12).await.unwrap();
    let [a, b, c] = stations();
    let swapped = Member { keys: vec![b.key.public_key().clone()], ..member(&a) };
    let roster = vec![swapped, member(&b), member(&c)];
    let forged = draft.close(roster, checks().names(), "policy").unwrap();
    let mut all = frames(&bundle_of(&log, &record).await);
    all[0].1 = forged.to_bytes();
    let mut bundle = open(joined(&all)).unwrap();
    assert_ne!(bundle.record().manifest(), record.manifest());
    let scored = bundle.audit(&checks()).unwrap();
    assert_eq!((scored.contributions.entries[0].score, scored.unverified.len()), (0, 4));
}

#[tokio::test]
async fn other_checks_are_refused() {
    let (bytes, ..) = middle().await;
    let error = open(bytes).unwrap().audit(&Checks::new()).unwrap_err();
    assert!(matches!(error, AuditError::Checks { .. }), "{error}");
}

#[tokio::test]
async fn balances_have_one_form() {
    let log = filled(1).await;
    let record = close(&log, 0, 0..3).await;
    let mut wrong = [balances(), balances(), vec![(Address::ZERO, Amount::ZERO)]];
    wrong[0].reverse();
    wrong[1].insert(0, balances()[0]);
    for wrong in &wrong {
        let error = write(&log, &record, wrong, &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
    for change in [52, 51, 0] {
        let error = doctored(|frames| match change {
            0 => frames[1].1.clear(),
            at => frames[1].1[at] = 0,
        });
        assert!(matches!(error.await, AuditError::Bundle(_)), "byte {change}");
    }
}

#[tokio::test]
async fn frames_out_of_place_are_refused() {
    for error in [
        doctored(|frames| frames.swap(0, 1)).await,
        doctored(|frames| frames.swap(1, 2)).await,
        doctored(|frames| frames.insert(1, frames[0].clone())).await,
        doctored(|frames| frames.push((4, 9u64.to_be_bytes().to_vec()))).await,
        doctored(|frames| drop(frames.pop())).await,
        doctored(|frames| frames[4].0 = 9).await,
        doctored(|frames| frames[4].1.truncate(3)).await,
    ] {
        assert!(matches!(error, AuditError::Bundle(BundleError::Frame { .. })), "{error}");
    }
}

#[tokio::test]
async fn every_truncation_is_refused() {
    let (bytes, ..) = middle().await;
    for length in 0..bytes.len() {
        let error = audit(bytes[..length].to_vec()).unwrap_err();
        assert!(matches!(error, AuditError::Bundle(_)), "{length} bytes: {error}");
    }
    assert!(audit([&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn announced_lengths_cost_nothing() {
    for kind in 0..=255u8 {
        let bytes = [&MAGIC[..], &u32::MAX.to_be_bytes(), &[kind]].concat();
        assert!(open(bytes).is_err());
        let bytes = [&MAGIC[..], &(1u32 << 29).to_be_bytes(), &[kind], &[0; 9]].concat();
        assert!(open(bytes).is_err());
    }
}

#[test]
fn a_changed_byte_anywhere_is_found_even_with_checksums_that_hold() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (bytes, record, scored) = runtime.block_on(middle());
    let honest = frames(&bytes);
    proptest!(ProptestConfig::with_cases(400), |(at in 0..bytes.len(), flip in 1u8..)| {
        let mut changed = bytes.clone();
        changed[at] ^= flip;
        prop_assert!(audit(changed).is_err(), "byte {at}");
    });
    proptest!(ProptestConfig::with_cases(400), |(frame in 0..honest.len(), at: usize, flip in 1u8..)| {
        let mut changed = honest.clone();
        let content = &mut changed[frame].1;
        let at = at % content.len();
        content[at] ^= flip;
        let Ok(mut bundle) = open(joined(&changed)) else { return Ok(()) };
        // The caller compares the manifest and the balances with the chain.
        let same = bundle.record() == &record && bundle.balances() == balances();
        if same {
            prop_assert!(bundle.audit(&checks()).is_err(), "frame {frame}, byte {at}");
        } else if bundle.record() == &record {
            prop_assert_eq!(bundle.audit(&checks()).unwrap(), scored.clone());
        } else {
            prop_assert_ne!(bundle.record().manifest(), record.manifest());
            let _ = bundle.audit(&checks());
        }
    });
}

proptest! {
    #[test]
    fn random_bytes_are_no_bundle(bytes: Vec<u8>) {
        prop_assert!(open(bytes.clone()).is_err());
        let bytes = [&MAGIC[..], &bytes].concat();
        prop_assert!(open(bytes).is_err());
    }
}

#[tokio::test]
async fn the_same_epoch_makes_the_same_bytes() {
    let (first, second) = (middle().await.0, middle().await.0);
    assert_eq!(first, second);
    let batches = frames(&first).iter().filter(|(kind, _)| *kind == 3).count();
    assert_eq!(batches, 9);
}
