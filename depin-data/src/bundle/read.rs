//! From a bundle to the score.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Read, Seek, SeekFrom},
};

use depin_core::{Address, Amount, B256, EpochId, SignedBatch, U256};
use sha2::{Digest, Sha256};

use super::{
    BundleError, MAGIC, MAX_ACCOUNTS,
    frame::{Frames, Kind, ROW, ROWS},
};
use crate::{
    audit::{AuditError, missing, recorded},
    epoch::{Checks, Each, EpochRecord, Round, Scored, Scorer, Submission, WAVE},
};

/// A bundle whose record is the expected one and was read; the batches are still to come.
#[derive(Debug)]
pub struct Bundle<R> {
    frames: Frames<BufReader<R>>,
    /// Where the bundle begins in the input.
    start: u64,
    record: EpochRecord,
    balances: Vec<(Address, Amount)>,
    /// The frame after those that were taken.
    next: (Kind, Vec<u8>),
    /// Where that frame begins, and its number.
    at: (u64, u64),
}

impl<R: Read + Seek> Bundle<R> {
    /// Reads up to the first batch. `manifest` is that of the epoch's
    /// [commitment](depin_core::reward::Commitment) on chain: a record with another is hashed as it goes by, and
    /// neither kept nor parsed.
    ///
    /// # Errors
    /// [`BundleError::Manifest`] for the record of another epoch or a forged one, or says where the file breaks
    /// the format.
    pub fn open(mut input: R, manifest: &B256) -> Result<Self, BundleError> {
        let start = input.stream_position()?;
        let mut input = BufReader::new(input);
        let mut hash = Sha256::new();
        let mut frames = begin(&mut input)?;
        frames.pour(&[Kind::Record], &mut |piece| hash.update(piece))?;
        let found = B256::new(hash.finalize().into());
        if found != *manifest {
            return Err(BundleError::Manifest { expected: *manifest, found });
        }
        input.seek(SeekFrom::Start(start))?;
        let mut frames = begin(input)?;
        let (_, record) = frames.next(&[Kind::Record])?;
        let record = EpochRecord::parse(&record)?;
        let mut balances = Vec::new();
        let mut kinds = &[Kind::Balances, Kind::Batch, Kind::End][..];
        loop {
            let at = (frames.offset, frames.number);
            let next = frames.next(kinds)?;
            if next.0 != Kind::Balances {
                return Ok(Self { frames, start, record, balances, next, at });
            }
            if !rows(&next.1, &mut balances) {
                let (offset, frame) = at;
                let fault = "balances are not by rising account, or one is zero";
                return Err(BundleError::Frame { frame, offset, fault });
            }
            if next.1.len() < ROW * ROWS || balances.len() >= MAX_ACCOUNTS {
                kinds = &[Kind::Batch, Kind::End];
            }
        }
    }

    /// The record of the epoch.
    pub const fn record(&self) -> &EpochRecord {
        &self.record
    }

    /// What each account had earned before the epoch, as the writer says: it must lead to the root that was on
    /// chain before.
    pub fn balances(&self) -> &[(Address, Amount)] {
        &self.balances
    }

    /// Scores the epoch from the batches in the bundle.
    ///
    /// # Errors
    /// Names the first batch that is not what was recorded, the first frame that is damaged, or says why the
    /// audit could not be made.
    pub fn audit(&mut self, checks: &Checks) -> Result<Scored, AuditError> {
        self.audit_each(checks, &mut |_, _| {})
    }

    /// As [`audit`](Self::audit), and gives every finding to `each`, in the order of
    /// [`score_each`](crate::epoch::score_each).
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub fn audit_each(&mut self, checks: &Checks, each: Each<'_>) -> Result<Scored, AuditError> {
        let record = self.record.clone();
        let mut scorer = Scorer::new(&record, checks)?;
        let first = (self.at, self.next.clone());
        let mut read = Reading::default();
        while let Some(wave) = self.wave(&mut read, None)? {
            if let Err(error) = scorer.take(&wave, Round::First, each) {
                // A chain may break because a batch is missing, which says more.
                while self.wave(&mut read, None)?.is_some() {}
                self.finish(&read)?;
                return Err(error);
            }
        }
        self.finish(&read)?;
        for round in Round::AGAIN {
            for member in scorer.suspects(round)? {
                let Some(at) = read.places.get(&member) else { continue };
                self.go_to(*at)?;
                let mut again = Reading::default();
                if let Some(wave) = self.wave(&mut again, Some(member))? {
                    scorer.take(&wave, round, each)?;
                }
            }
        }
        let ((offset, number), next) = first;
        self.go_to((offset, number))?;
        self.next = next;
        scorer.finish()
    }

    /// Gives the batches at these places in the log, for a second look after an [`audit`](Self::audit).
    ///
    /// # Errors
    /// Names the first frame that is damaged.
    pub fn look_at(
        &mut self,
        indices: &BTreeSet<u64>,
        each: &mut dyn FnMut(&SignedBatch),
    ) -> Result<(), BundleError> {
        let first = (self.at, self.next.clone());
        while self.next.0 == Kind::Batch && !indices.is_empty() {
            let (index, batch) = self.batch()?;
            if indices.contains(&index) {
                each(&batch);
            }
            self.advance()?;
        }
        let ((offset, number), next) = first;
        self.go_to((offset, number))?;
        self.next = next;
        Ok(())
    }

    /// What the next members sent, as much as is judged together; with `only`, what this one sent.
    fn wave(
        &mut self,
        read: &mut Reading,
        only: Option<usize>,
    ) -> Result<Option<Vec<Submission>>, AuditError> {
        let (mut wave, mut bytes) = (Vec::<Submission>::new(), 0usize);
        while self.next.0 == Kind::Batch {
            let (index, batch) = self.batch()?;
            let member = recorded(&self.record, index, &batch)?;
            let fresh = wave.last().is_none_or(|last| last.member != member);
            if fresh && (bytes >= WAVE || only.is_some_and(|only| only != member)) {
                break;
            }
            let place = (member, index);
            if read.last.is_some_and(|last| last >= place) {
                let (offset, frame) = self.at;
                let fault = "it repeats, or is not in the order of devices and indices";
                return Err(BundleError::Frame { frame, offset, fault }.into());
            }
            if fresh {
                read.places.insert(member, self.at);
                wave.push(Submission::new(member));
            }
            read.last = Some(place);
            read.seen.push(index);
            if let Some(last) = wave.last_mut() {
                let before = last.bytes;
                last.take(&self.record, index, batch)?;
                bytes += last.bytes - before;
            }
            self.advance()?;
        }
        Ok(Some(wave).filter(|wave| !wave.is_empty()))
    }

    fn advance(&mut self) -> Result<(), BundleError> {
        self.at = (self.frames.offset, self.frames.number);
        self.next = self.frames.next(&[Kind::Batch, Kind::End])?;
        Ok(())
    }

    /// The batch in the next frame.
    fn batch(&self) -> Result<(u64, SignedBatch), BundleError> {
        let Some((index, batch)) = self.next.1.split_first_chunk() else {
            let (offset, frame) = self.at;
            return Err(BundleError::Frame { frame, offset, fault: "it has no index" });
        };
        Ok((u64::from_be_bytes(*index), SignedBatch::new(batch.to_vec())))
    }

    /// That all batches were there, and nothing else is.
    fn finish(&mut self, read: &Reading) -> Result<(), AuditError> {
        let mut seen = read.seen.clone();
        seen.sort_unstable();
        let seen = seen.iter().map(Some).chain(std::iter::repeat(None));
        let mut pairs = self.record.indices().zip(seen);
        if let Some((index, _)) = pairs.find(|(index, seen)| Some(index) != *seen) {
            return Err(missing(index));
        }
        if self.next.1 != (read.seen.len() as u64).to_be_bytes() {
            let (offset, frame) = self.at;
            let fault = "it counts other batches than there are";
            return Err(BundleError::Frame { frame, offset, fault }.into());
        }
        Ok(self.frames.end()?)
    }

    fn go_to(&mut self, (offset, number): (u64, u64)) -> Result<(), BundleError> {
        self.frames.input.seek(SeekFrom::Start(self.start.saturating_add(offset)))?;
        (self.frames.offset, self.frames.number) = (offset, number);
        self.advance()
    }
}

/// Which epoch a bundle says it is of, so that its manifest can be asked for; nothing of this is proven. Reads
/// the beginning only.
///
/// # Errors
/// Says where the file breaks the format.
pub fn claimed_epoch(mut input: impl Read) -> Result<EpochId, BundleError> {
    let mut frames = begin(&mut input)?;
    let [.., kind] = frames.bytes::<5>()?;
    if kind != Kind::Record as u8 {
        return Err(frames.wrong("no frame of this kind belongs here"));
    }
    let mut record = Vec::new();
    frames.input.take(EpochRecord::HEAD as u64).read_to_end(&mut record)?;
    Ok(EpochRecord::claimed(&record)?)
}

/// Past the magic.
fn begin<R: Read>(mut input: R) -> Result<Frames<R>, BundleError> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(|_| BundleError::Magic)?;
    if magic != *MAGIC {
        return Err(BundleError::Magic);
    }
    Ok(Frames { input, number: 0, offset: MAGIC.len() as u64 })
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// Member and index of the last batch.
    last: Option<(usize, u64)>,
    seen: Vec<u64>,
    /// Where the batches of each member begin.
    places: BTreeMap<usize, (u64, u64)>,
}

/// Takes the rows of a frame; false when they break the format.
fn rows(bytes: &[u8], balances: &mut Vec<(Address, Amount)>) -> bool {
    let (rows, rest) = bytes.as_chunks::<ROW>();
    for row in rows {
        let (account, amount) = row.split_at(20);
        let (account, amount) = (Address::from_slice(account), U256::from_be_slice(amount));
        let after = balances.last().is_none_or(|(before, _)| *before < account);
        if !after || amount.is_zero() {
            return false;
        }
        balances.push((account, Amount::units(amount)));
    }
    rest.is_empty() && !rows.is_empty()
}
