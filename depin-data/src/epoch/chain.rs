//! What one device sent in an epoch: is it what was recorded, who signed it, does it continue the chain?

use depin_core::{
    B256, Batch, NetworkId, PublicKey, Sequence, SignedBatch, Verified,
    key::{Check, verify_all},
    log::ChainTip,
};

use super::{EpochRecord, MAX_BYTES_OF_DEVICE, MAX_READINGS_OF_DEVICE, Member, Past, thumbprint};
use crate::{
    audit::{AuditError, Fault},
    batch::{self, BatchError, Claim, Link, Parsed, tip_after},
    merkle::batch_leaf,
};

/// No reading has fewer bytes.
const LEAST_READING: usize = 3;

/// Signatures verified together.
const TOGETHER: usize = 256;

/// All batches of one member of the roster, in the order of the log.
pub(crate) struct Submission {
    /// Place in the roster.
    pub(crate) member: usize,
    /// Index in the log and bytes.
    pub(crate) batches: Vec<(u64, SignedBatch)>,
    /// Signed bytes in them.
    pub(crate) bytes: usize,
    /// Readings in them; counted when the bytes could hold too many.
    readings: Option<usize>,
    /// What came beyond [`MAX_BYTES_OF_DEVICE`]: it moves the chain and earns nothing.
    beyond: Vec<Beyond>,
}

/// A batch of which no more is kept than its place in the chain.
struct Beyond {
    index: u64,
    sequence: Sequence,
    previous: B256,
    covers: Option<ChainTip>,
    hash: B256,
    /// Which of the member's [`keys`] signed it, if that is later than those that signed the ones before.
    key: Option<usize>,
}

impl Submission {
    pub(crate) const fn new(member: usize) -> Self {
        Self { member, batches: Vec::new(), bytes: 0, readings: None, beyond: Vec::new() }
    }

    /// The key of a batch that is beyond, when the device has changed to it; else nothing is verified.
    fn later_key(&self, record: &EpochRecord, batch: &SignedBatch) -> Option<usize> {
        let keys = record.roster().get(self.member).map_or(&[][..], keys);
        let before = self.beyond.iter().rev().find_map(|beyond| beyond.key).unwrap_or_default();
        let mut later = keys.iter().enumerate().skip(before.saturating_add(1));
        later.find(|(_, key)| holds(batch, record.network(), key)).map(|(place, _)| place)
    }

    /// Takes the next batch, which must be what the record says.
    pub(crate) fn take(
        &mut self,
        record: &EpochRecord,
        index: u64,
        batch: SignedBatch,
    ) -> Result<(), AuditError> {
        self.take_within((MAX_BYTES_OF_DEVICE, MAX_READINGS_OF_DEVICE), record, index, batch)
    }

    fn take_within(
        &mut self,
        (most_bytes, most_readings): (usize, usize),
        record: &EpochRecord,
        index: u64,
        batch: SignedBatch,
    ) -> Result<(), AuditError> {
        let bytes = self.bytes.saturating_add(batch.as_bytes().len());
        let fits = self.beyond.is_empty()
            && bytes <= most_bytes
            && self.count(record, &batch, bytes, most_readings) <= most_readings;
        if fits {
            self.bytes = bytes;
            self.batches.push((index, batch));
            return Ok(());
        }
        let wrong = |fault| AuditError::Batch { index, batch: Some(batch.hash()), fault };
        if record.leaf(index) != Some(batch_leaf(&batch)) {
            return Err(wrong(difference(record, &batch)));
        }
        let claim = batch::claim(batch.as_bytes(), record.network());
        let Claim { sequence, previous, covers, .. } =
            claim.map_err(|error| wrong(error.into()))?;
        let (hash, key) = (batch.hash(), self.later_key(record, &batch));
        self.beyond.push(Beyond { index, sequence, previous, covers, hash, key });
        Ok(())
    }

    /// Readings with this batch, or as many as all bytes can hold while that is not more than enough.
    fn count(
        &mut self,
        record: &EpochRecord,
        batch: &SignedBatch,
        bytes: usize,
        enough: usize,
    ) -> usize {
        let most = bytes / LEAST_READING;
        if most <= enough {
            return most;
        }
        let of = |batch: &SignedBatch| {
            batch::claim(batch.as_bytes(), record.network()).map_or(0, |claim| claim.readings.len())
        };
        let before = match self.readings {
            Some(before) => before,
            None => self.batches.iter().map(|(_, batch)| of(batch)).sum(),
        };
        let readings = before.saturating_add(of(batch));
        self.readings = Some(readings);
        readings
    }
}

/// A submission that is what the record says.
pub(super) struct Chain {
    pub(super) batches: Vec<Verified<Batch>>,
    /// Where each of them stands in the log.
    pub(super) indices: Vec<u64>,
    pub(super) tip: Option<ChainTip>,
    /// Thumbprint of the key that signed last.
    pub(super) key: Option<B256>,
    /// Where batches stand that no key verifies which the device may still use.
    pub(super) unverified: Vec<u64>,
    /// How many batches came beyond [`MAX_BYTES_OF_DEVICE`].
    pub(super) beyond: u64,
}

/// The keys that a member may sign with: not those before the one that it signed with last.
pub(super) fn keys(member: &Member) -> &[PublicKey] {
    let last = member.past.as_ref().and_then(|past| past.key);
    // A last key that the roster has no room for any more is older than all in it.
    let first = member.keys.iter().position(|key| Some(thumbprint(key)) == last);
    member.keys.get(first.unwrap_or_default()..).unwrap_or_default()
}

/// For each batch of these submissions, in order, whether the first key of its device signed it.
///
/// Many at once are cheaper than one by one.
pub(super) fn signed_by_first(record: &EpochRecord, submissions: &[Submission]) -> Vec<bool> {
    let batches: Vec<_> = submissions
        .iter()
        .flat_map(|submission| {
            let member = record.roster().get(submission.member);
            let key = member.and_then(|member| keys(member).first());
            submission.batches.iter().map(move |(_, batch)| (batch, key))
        })
        .collect();
    let mut verdicts = Vec::with_capacity(batches.len());
    for some in batches.chunks(TOGETHER) {
        let signed: Vec<_> = some
            .iter()
            .map(|(batch, key)| {
                let key = (*key)?;
                let parsed = Parsed::new(batch.as_bytes(), record.network());
                let signed = parsed.and_then(|parsed| parsed.signed(key)).ok()?;
                Some((key, signed))
            })
            .collect();
        let check = |(key, (message, signature))| Check { key, message, signature };
        let checks: Vec<_> =
            signed.iter().flatten().map(|(key, (m, s))| check((*key, (m, s)))).collect();
        let mut held = verify_all(&checks).into_iter();
        let verdict =
            |signed: &Option<_>| signed.is_some() && held.next().is_some_and(|v| v.is_ok());
        verdicts.extend(signed.iter().map(verdict));
    }
    verdicts
}

/// Follows the chain of a member, given what [`signed_by_first`] says of each batch.
pub(super) fn follow(
    record: &EpochRecord,
    submission: &Submission,
    by_first: &[bool],
) -> Result<Chain, AuditError> {
    let member = record.roster().get(submission.member);
    let (keys, past) =
        member.map_or((&[][..], None), |member| (keys(member), member.past.as_ref()));
    let mut follow = Follow { record, keys, current: 0, tip: past.map(|past| past.tip) };
    let mut batches = Vec::with_capacity(submission.batches.len());
    let mut indices = Vec::with_capacity(submission.batches.len());
    let (mut unverified, mut key) = (Vec::new(), past.and_then(|past: &Past| past.key));
    for ((index, batch), by_first) in submission.batches.iter().zip(by_first) {
        let next = follow.next(*index, batch, *by_first).map_err(|fault| AuditError::Batch {
            index: *index,
            batch: Some(batch.hash()),
            fault,
        })?;
        match next {
            // A gap moves the tip and earns nothing.
            Some(link) => {
                key = keys.get(follow.current).map(thumbprint);
                if let Link::Batch(batch) = link {
                    batches.push(batch);
                    indices.push(*index);
                }
            }
            None => unverified.push(*index),
        }
    }
    for beyond in &submission.beyond {
        follow.pass(record, submission.member, beyond)?;
        if beyond.key == Some(follow.current) {
            key = keys.get(follow.current).map(thumbprint);
        }
    }
    let beyond = submission.beyond.len() as u64;
    Ok(Chain { batches, indices, tip: follow.tip, key, unverified, beyond })
}

struct Follow<'a> {
    record: &'a EpochRecord,
    keys: &'a [PublicKey],
    /// The key that signed last.
    current: usize,
    tip: Option<ChainTip>,
}

impl Follow<'_> {
    /// The link, or nothing when it is what was recorded and no key of its device verifies it.
    fn next(
        &mut self,
        index: u64,
        batch: &SignedBatch,
        by_first: bool,
    ) -> Result<Option<Link>, Fault> {
        let (bytes, network) = (batch.as_bytes(), self.record.network());
        if self.record.leaf(index) != Some(batch_leaf(batch)) {
            return Err(difference(self.record, batch));
        }
        let (link, sequence, reached) = if self.find_key(batch, by_first) {
            let link = Parsed::new(bytes, network)?.judged(Ok(()), batch.hash())?;
            let (sequence, reached) = (link.sequence(), link.tip_after(self.tip));
            (Some(link), sequence, reached)
        } else {
            let Claim { sequence, previous, covers, .. } = batch::claim(bytes, network)?;
            let reached = tip_after(self.tip, sequence, previous, batch.hash(), covers);
            (None, sequence, reached)
        };
        if reached.is_none() {
            let device = batch::claimed_signer(bytes, network)?;
            return Err(Fault::Chain { device, sequence });
        }
        self.tip = reached;
        Ok(link)
    }

    /// Moves the chain over a batch that earns nothing, and on to the key that signed it.
    fn pass(&mut self, record: &EpochRecord, member: usize, it: &Beyond) -> Result<(), AuditError> {
        self.current = self.current.max(it.key.unwrap_or_default());
        self.tip = tip_after(self.tip, it.sequence, it.previous, it.hash, it.covers);
        if self.tip.is_some() {
            return Ok(());
        }
        let device = record.roster().get(member).map(|member| member.device.clone());
        let fault =
            device.map_or(Fault::Missing, |device| Fault::Chain { device, sequence: it.sequence });
        Err(AuditError::Batch { index: it.index, batch: Some(it.hash), fault })
    }

    /// Looks for the key that signed it: the current one or a later one.
    fn find_key(&mut self, batch: &SignedBatch, by_first: bool) -> bool {
        if by_first && self.current == 0 {
            return true;
        }
        let network = self.record.network();
        let holds = |key| holds(batch, network, key);
        let skip = if self.current == 0 { 1 } else { self.current };
        let found = (0..).zip(self.keys).skip(skip).find(|(_, key)| holds(key));
        if let Some((position, _)) = found {
            self.current = position;
        }
        found.is_some()
    }
}

/// What is wrong with bytes that are not those recorded. The signature tells more about what happened than
/// that it is another batch.
pub(crate) fn difference(record: &EpochRecord, batch: &SignedBatch) -> Fault {
    let (bytes, network) = (batch.as_bytes(), record.network());
    let device = match batch::claimed_signer(bytes, network) {
        Ok(device) => device,
        Err(error) => return error.into(),
    };
    let Some(member) = record.member(&device) else { return Fault::Stranger(device) };
    if !member.keys.iter().any(|key| holds(batch, network, key)) {
        return Fault::Broken(BatchError::unsigned());
    }
    let link = Parsed::new(bytes, network).and_then(|it| it.judged(Ok(()), batch.hash()));
    link.map_or_else(Fault::from, |_| Fault::Replaced)
}

/// Whether the key signed it, whatever it says.
fn holds(batch: &SignedBatch, network: &NetworkId, key: &PublicKey) -> bool {
    let parsed = Parsed::new(batch.as_bytes(), network);
    let signed = parsed.and_then(|parsed| parsed.signed(key));
    signed.is_ok_and(|(message, signature)| key.verify(&message, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use depin_core::{
        Address, Algorithm, Decimal, Did, EpochId, Reading, Signer, SoftwareKey, Timestamp,
        log::{BatchLog, NewBatch},
        reading::Quantity,
    };

    use super::*;
    use crate::{batch::seal, epoch::EpochDraft, log::MemoryLog};

    /// Ten batches of one device in a record, with their indices. It has two keys, and changes to the second.
    async fn ten(change: u64) -> (EpochRecord, Vec<(u64, SignedBatch)>) {
        let (log, network) = (MemoryLog::new(), NetworkId::parse("climate").unwrap());
        let both = [1, 2].map(|seed| SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
        let device: Did = "did:example:a".parse().unwrap();
        let (mut previous, mut batches) = (B256::ZERO, Vec::new());
        for number in 0..10 {
            let at = Timestamp::from_secs(number);
            let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(5), at);
            let sequence = Sequence::new(number);
            let key = &both[usize::from(number >= change)];
            let batch = seal(key, &device, &network, sequence, previous, &[reading]).unwrap();
            let (device, covers, received) = (device.clone(), None, at);
            let bytes = batch.clone();
            let new = NewBatch { device, sequence, previous, covers, received, batch: bytes };
            log.append(new).await.unwrap();
            previous = batch.hash();
            batches.push((number, batch));
        }
        let draft = EpochDraft::read(&log, &network, EpochId::new(0), 0..10).await.unwrap();
        let keys = both.iter().map(|key| key.public_key().clone()).collect();
        let beneficiary = Address::repeat_byte(1);
        let member = Member { device, keys, beneficiary, past: None };
        (draft.close(vec![member], Vec::new(), "policy").unwrap(), batches)
    }

    fn submitted(
        record: &EpochRecord,
        batches: &[(u64, SignedBatch)],
        limit: (usize, usize),
    ) -> Result<Chain, AuditError> {
        let mut submission = Submission::new(0);
        for (index, batch) in batches {
            submission.take_within(limit, record, *index, batch.clone())?;
        }
        let verdicts = signed_by_first(record, std::slice::from_ref(&submission));
        follow(record, &submission, &verdicts)
    }

    #[tokio::test]
    async fn what_a_device_sends_beyond_its_share_moves_the_chain_and_earns_nothing() {
        for change in [99, 7, 4, 2, 0] {
            beyond_is_passed_over(change).await;
        }
    }

    async fn beyond_is_passed_over(change: u64) {
        let (record, batches) = ten(change).await;
        const ALL: usize = usize::MAX;
        let all = submitted(&record, &batches, (ALL, ALL)).unwrap();
        assert_eq!((all.batches.len(), all.beyond), (10, 0));
        let four = batches.iter().take(4).map(|(_, batch)| batch.as_bytes().len()).sum();
        for limit in [(four, ALL), (ALL, 4)] {
            let cut = submitted(&record, &batches, limit).unwrap();
            assert_eq!((cut.batches.len(), cut.beyond), (4, 6));
            assert_eq!((cut.tip, cut.key), (all.tip, all.key));
            assert!(cut.unverified.is_empty());
        }
        let nothing = submitted(&record, &batches, (0, 0)).unwrap();
        assert_eq!((nothing.batches.len(), nothing.beyond, nothing.tip), (0, 10, all.tip));
        let changed = all.key.filter(|_| change < 10);
        assert_eq!(nothing.key, changed, "an older key counts no more");
    }

    #[tokio::test]
    async fn what_is_beyond_must_still_be_what_was_recorded() {
        let (record, mut batches) = ten(99).await;
        let mut bytes = batches[7].1.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        batches[7].1 = SignedBatch::new(bytes);
        let error = submitted(&record, &batches, (0, 0)).err().unwrap();
        assert!(matches!(error, AuditError::Batch { index: 7, .. }), "{error}");
        let (record, mut batches) = ten(99).await;
        batches.remove(7);
        let error = submitted(&record, &batches, (0, 0)).err().unwrap();
        let AuditError::Batch { index: 8, fault: Fault::Chain { .. }, .. } = error else {
            panic!("{error}")
        };
    }
}
