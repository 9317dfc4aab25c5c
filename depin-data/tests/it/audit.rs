//! Doctored copies of a log are caught at the first batch that differs.

use std::sync::Arc;

use async_trait::async_trait;
use depin_core::{
    Algorithm, B256, Batch, Bytes, Did, EpochId, Error, ErrorKind, PublicKey, Result, Sequence,
    SignedBatch, Signer, Verified,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
    quality::{Finding, QualityCheck},
};
use depin_data::{
    audit::{AuditError, Fault, replay},
    epoch::{Checks, EpochDraft, EpochRecord, MAX_KEYS, Member, Scored, score},
    log::MemoryLog,
};

use super::epoch::{append, checks, close, filled, member, stations};
use crate::support::{Device, NOW, network, reading};

/// A copy of a log in which the entries can be anything.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    original: &'a MemoryLog,
    entries: Vec<LogEntry>,
}

impl<'a> Copy<'a> {
    pub(crate) fn of(original: &'a MemoryLog, entries: Vec<LogEntry>) -> Self {
        let numbered =
            entries.into_iter().zip(0..).map(|(entry, index)| LogEntry { index, ..entry });
        Self { original, entries: numbered.collect() }
    }
}

#[async_trait]
impl BatchLog for Copy<'_> {
    async fn append(&self, _: NewBatch) -> Result<Append> {
        Err(Error::new(ErrorKind::Unsupported, "a copy"))
    }
    async fn head(&self) -> Result<TreeHead> {
        self.original.head().await
    }
    async fn grown(&self, size: u64) -> Result<u64> {
        self.original.grown(size).await
    }
    async fn root(&self, size: u64) -> Result<B256> {
        self.original.root(size).await
    }
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.original.inclusion(index, size).await
    }
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        Ok(self.entries.iter().skip(from as usize).take(limit).cloned().collect())
    }
    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.original.consistency(old, size).await
    }
    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        self.original.chain(device, from, limit).await
    }
    async fn forget(&self, _: u64) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a copy"))
    }
    async fn oldest(&self) -> Result<u64> {
        self.original.oldest().await
    }
    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.original.tip(device).await
    }
    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        self.original.find(device, sequence).await
    }
    async fn refuse(&self, _: RefusedBatch) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a copy"))
    }
    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        self.original.refusals(from, limit).await
    }
    async fn refusal_range(&self) -> Result<std::ops::Range<u64>> {
        self.original.refusal_range().await
    }
    async fn forget_refusals(&self, before: u64) -> Result<()> {
        self.original.forget_refusals(before).await
    }
    async fn seal(&self, _: EpochId, _: Bytes) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a copy"))
    }
    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.original.sealed(epoch).await
    }
}

/// Audits a copy of 12 batches, doctored, against the record of batches 2..11.
async fn audit(doctor: impl FnOnce(&mut Vec<LogEntry>)) -> Result<Scored, AuditError> {
    let log = filled(4).await;
    let record = close(&log, 0, 2..11).await;
    let mut entries = log.read(0, 12).await.unwrap();
    doctor(&mut entries);
    replay(&Copy::of(&log, entries), &record, &checks()).await
}

/// Index, hash and fault of the batch that an audit names.
fn named(result: Result<Scored, AuditError>) -> (u64, Option<B256>, Fault) {
    match result.unwrap_err() {
        AuditError::Batch { index, batch, fault } => (index, batch, fault),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_honest_copy_scores_the_same() {
    let log = filled(4).await;
    let record = close(&log, 0, 2..11).await;
    let own = score(&log, &record, &checks()).await.unwrap();
    assert_eq!(audit(|_| ()).await.unwrap(), own);
}

#[tokio::test]
async fn entries_outside_the_epoch_do_not_matter() {
    audit(|entries| entries.truncate(11)).await.unwrap();
    audit(|entries| entries[1].batch = SignedBatch::new(vec![0])).await.unwrap();
}

#[tokio::test]
async fn any_flipped_byte_names_the_batch() {
    let log = filled(4).await;
    let record = close(&log, 0, 2..11).await;
    let entries = log.read(0, 12).await.unwrap();
    let bytes = entries[7].batch.as_bytes().to_vec();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let mut entries = entries.clone();
        entries[7].batch = SignedBatch::new(flipped.clone());
        let result = replay(&Copy::of(&log, entries), &record, &checks()).await;
        let (index, batch, fault) = named(result);
        assert_eq!((index, batch), (7, Some(SignedBatch::new(flipped).hash())));
        assert!(matches!(fault, Fault::Broken(_) | Fault::Stranger(_)), "byte {at}: {fault}");
    }
}

#[tokio::test]
async fn a_dropped_batch_is_missed_where_it_was() {
    let (index, batch, fault) = named(audit(|entries| drop(entries.remove(5))).await);
    assert_eq!((index, fault), (5, Fault::Replaced));
    assert!(batch.is_some());
}

#[tokio::test]
async fn a_copy_that_ends_early_names_the_first_batch_missing() {
    let result = audit(|entries| entries.truncate(9)).await;
    assert_eq!(named(result), (9, None, Fault::Missing));
}

#[tokio::test]
async fn reordered_batches_are_named_at_the_first_of_them() {
    let (index, _, fault) = named(audit(|entries| entries.swap(4, 8)).await);
    assert_eq!((index, fault), (4, Fault::Replaced));
}

#[tokio::test]
async fn a_batch_that_the_same_device_signed_instead_is_named() {
    // The device helps: the forgery continues its chain and its signature holds.
    let [mut a, ..] = stations();
    for _ in 0..3 {
        a.seal(&[reading("1", NOW)]);
    }
    let forged = a.seal_at(2, B256::repeat_byte(1), &[reading("59", NOW)]);
    let hash = forged.hash();
    let result = audit(|entries| entries[6].batch = forged).await;
    assert_eq!(named(result), (6, Some(hash), Fault::Replaced));
}

#[tokio::test]
async fn a_batch_of_a_stranger_names_the_stranger() {
    let mut stranger = Device::new("stranger", Algorithm::EdDsa);
    let batch = stranger.measure();
    let result = audit(|entries| entries[3].batch = batch).await;
    assert_eq!(named(result).2, Fault::Stranger(stranger.did));
}

#[tokio::test]
async fn a_hole_in_the_indices_is_a_missing_batch() {
    let log = filled(4).await;
    let record = close(&log, 0, 2..11).await;
    let mut copy = Copy::of(&log, log.read(0, 12).await.unwrap());
    copy.entries[3].index = 4;
    assert_eq!(named(replay(&copy, &record, &checks()).await), (3, None, Fault::Missing));
}

/// A record over a log whose keeper took batches that break a chain.
async fn dishonest_record(batches: Vec<SignedBatch>) -> (MemoryLog, EpochRecord) {
    let log = MemoryLog::new();
    for (i, batch) in batches.into_iter().enumerate() {
        // Booked under made-up devices, so that the log does not object.
        let device = Did::parse(&format!("did:example:made-up-{i}")).unwrap();
        let sequence = Sequence::new(0);
        let new =
            NewBatch { device, sequence, previous: B256::ZERO, covers: None, received: NOW, batch };
        assert!(matches!(log.append(new).await.unwrap(), Append::Stored(_)));
    }
    let end = log.head().await.unwrap().size;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..end).await.unwrap();
    let roster = stations().iter().map(member).collect();
    let record = draft.close(roster, Vec::new(), "policy").unwrap();
    (log, record)
}

#[tokio::test]
async fn a_record_over_a_broken_chain_is_caught_though_all_hashes_agree() {
    let [mut a, ..] = stations();
    let [first, second, third] = [a.measure(), a.measure(), a.measure()];
    let bad_start = a.seal_at(0, B256::repeat_byte(1), &[reading("1", NOW)]);
    for (batches, index) in [
        (vec![first.clone(), third.clone()], 1),
        (vec![second.clone(), first.clone()], 0),
        (vec![first, second.clone(), second], 2),
        (vec![bad_start], 0),
    ] {
        let (log, record) = dishonest_record(batches).await;
        let (found, _, fault) = named(replay(&log, &record, &Checks::new()).await);
        assert_eq!(found, index);
        assert!(matches!(fault, Fault::Chain { .. }), "{fault}");
    }
}

#[tokio::test]
async fn a_batch_that_no_key_of_its_device_verifies_earns_nothing_and_stops_nobody() {
    let log = MemoryLog::new();
    let [mut a, mut b, _] = stations();
    append(&log, &mut a, &["1"]).await;
    append(&log, &mut b, &["2"]).await;
    append(&log, &mut a, &["3"]).await;
    for keys in [vec![], vec![b.key.public_key().clone()]] {
        let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..3).await.unwrap();
        let unknown = Member { keys, ..member(&a) };
        let record = draft.close(vec![unknown, member(&b)], Vec::new(), "policy").unwrap();
        let scored = replay(&log, &record, &Checks::new()).await.unwrap();
        let scores: Vec<_> = scored.contributions.entries.iter().map(|entry| entry.score).collect();
        assert_eq!((scores, scored.unverified), (vec![0, 1], vec![0, 2]));
        // The chain goes on where it is, so that the next epoch fits.
        assert_eq!(scored.pasts[&a.did].tip.sequence.value(), 1);
    }
}

/// Names a reading that nobody gave it.
#[derive(Debug)]
struct Liar;

impl QualityCheck for Liar {
    fn name(&self) -> String {
        "liar".into()
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let finding = |batch: &&Verified<Batch>| Finding {
            batch: batch.hash,
            reading: batch.readings.len(),
            code: "lie".into(),
            detail: String::new(),
        };
        batches.iter().map(finding).collect()
    }
}

#[tokio::test]
async fn a_check_that_breaks_its_contract_is_named() {
    let log = MemoryLog::new();
    let [mut a, ..] = stations();
    append(&log, &mut a, &["1"]).await;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..1).await.unwrap();
    let record = draft.close(vec![member(&a)], vec!["liar".into()], "policy").unwrap();
    let error = replay(&log, &record, &Checks::new().check(Liar)).await.unwrap_err();
    assert!(matches!(&error, AuditError::Check { name } if name == "liar"));
    assert_eq!(Error::from(error).kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn the_error_reads_well() {
    let result = audit(|entries| entries[3].batch = SignedBatch::new(vec![0])).await;
    let error = Error::from(result.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().starts_with("batch 3 of the log (0x"), "{error}");
    assert!(error.to_string().contains("): it is not what a device signed: "), "{error}");
}

/// A log in which a device changed its key after two batches, and the record that names both keys.
async fn rotated(keys: impl FnOnce(Vec<PublicKey>) -> Vec<PublicKey>) -> (MemoryLog, EpochRecord) {
    let log = MemoryLog::new();
    let [mut a, b, _] = stations();
    let old = a.key.public_key().clone();
    for value in ["1", "2", "3", "4"] {
        if value == "3" {
            a.key = Arc::clone(&b.key);
        }
        append(&log, &mut a, &[value]).await;
    }
    let draft = EpochDraft::read(&log, &network(), EpochId::new(0), 0..4).await.unwrap();
    let keys = keys(vec![old, a.key.public_key().clone()]);
    let record = draft.close(vec![Member { keys, ..member(&a) }], Vec::new(), "policy").unwrap();
    (log, record)
}

#[tokio::test]
async fn a_device_that_changed_its_key_is_scored_under_both() {
    let (log, record) = rotated(|keys| keys).await;
    assert_eq!(EpochRecord::parse(&record.to_bytes()).unwrap(), record);
    let scored = score(&log, &record, &Checks::new()).await.unwrap();
    assert_eq!(scored.contributions.entries[0].score, 4);
}

#[tokio::test]
async fn a_key_that_was_given_up_signs_nothing_more() {
    let (log, record) = rotated(|keys| keys.into_iter().rev().collect()).await;
    let scored = replay(&log, &record, &Checks::new()).await.unwrap();
    assert_eq!((scored.contributions.entries[0].score, scored.unverified), (2, vec![2, 3]));
}

#[tokio::test]
async fn batches_of_a_key_that_the_record_lacks_are_named() {
    let (log, record) = rotated(|keys| keys.into_iter().take(1).collect()).await;
    let scored = replay(&log, &record, &Checks::new()).await.unwrap();
    assert_eq!((scored.contributions.entries[0].score, scored.unverified), (2, vec![2, 3]));
}

#[test]
fn a_device_with_too_many_keys_is_no_member() {
    let [a, ..] = stations();
    for count in [0, MAX_KEYS, MAX_KEYS + 1] {
        let keys = vec![a.key.public_key().clone(); count];
        let record = empty_epoch(Member { keys, ..member(&a) });
        assert_eq!(record.is_ok(), count <= MAX_KEYS, "{count} keys");
    }
}

/// An epoch without batches and with one member.
fn empty_epoch(member: Member) -> Result<EpochRecord> {
    let log = MemoryLog::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let network = network();
    let draft = EpochDraft::read(&log, &network, EpochId::new(0), 0..0);
    runtime.block_on(draft).unwrap().close(vec![member], Vec::new(), "policy")
}
