//! What a log keeps of a closed epoch: the record that decides it, and the statement of what came out.
//!
//! The record alone leads to the statement, as long as somebody has the batches. A network that starts again
//! takes its statements from the log instead: that costs no signatures, and still works when the log has
//! forgotten the batches. Nobody else has to believe a statement; an audit never reads it.
//!
//! ```text
//! sealed    = ["depin sealed epoch v2", bstr, the bytes of the record, statement]
//! statement = [
//!   [* [readings uint, score uint]]                  for each member of the roster, in its order
//!   uint                                             readings in the range
//!   [* [member, epoch uint, readings uint, score uint]]   corrections
//!   [* member]                                       who was late
//!   [*4096 [member, batch bstr .size 32, reading uint, code tstr, detail tstr]]   findings
//!   uint                                             findings that are not listed
//!   [* [member, past]]                               as in the record
//!   [* uint]                                         places in the log of unverified batches
//!   [* [member, uint]]                               batches beyond what counts of a device
//!   unallocated bstr .size 32                        amounts as u256 big-endian
//!   [* [member, amount bstr .size 32]]               payouts
//! ]
//! member = uint, place in the roster; lists of members and of corrections are in its order
//! ```

use std::{borrow::Cow, collections::BTreeMap};

use depin_core::{
    Amount, B256, Did, EpochId, Error, ErrorKind, NetworkId, Result, U256,
    cbor::{self, Decoder, Encoder},
    quality::{Contribution, Finding},
    reward::{Allocation, Payout},
};

use super::{
    Correction, EpochError, EpochRecord, MAX_BYTES, MAX_DEVICES, MAX_OPEN, Member, Past, Scored,
    codec,
};

const TAG: &str = "depin sealed epoch v2";

/// What came out of an epoch, and who is paid what for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// What each member of the roster did.
    pub contributions: Vec<Contribution>,
    /// As [`Scored::readings`].
    pub readings: u64,
    /// As [`Scored::corrections`].
    pub corrections: Vec<Correction>,
    /// As [`Scored::late`].
    pub late: Vec<Did>,
    /// As [`Scored::findings`], the first [`MAX_STATED`].
    pub findings: Vec<(Did, Finding)>,
    /// How many findings there are beyond those listed.
    pub unlisted: u64,
    /// As [`Scored::pasts`].
    pub pasts: BTreeMap<Did, Past>,
    /// As [`Scored::unverified`].
    pub unverified: Vec<u64>,
    /// As [`Scored::beyond`].
    pub beyond: Vec<(Did, u64)>,
    /// Who is paid what.
    pub allocation: Allocation,
}

/// Most findings that a statement lists.
pub const MAX_STATED: usize = 4096;

impl Statement {
    /// States what was scored and how it is paid.
    pub fn new(mut scored: Scored, allocation: Allocation) -> Self {
        let dropped = scored.findings.len().saturating_sub(MAX_STATED) as u64;
        scored.findings.truncate(MAX_STATED);
        scored.unlisted = scored.unlisted.saturating_add(dropped);
        Self {
            contributions: scored.contributions.into_inner().entries,
            readings: scored.readings,
            corrections: scored.corrections,
            late: scored.late,
            findings: scored.findings,
            unlisted: scored.unlisted,
            pasts: scored.pasts,
            unverified: scored.unverified,
            beyond: scored.beyond,
            allocation,
        }
    }
}

/// A closed epoch as a log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a record and what it leads to")]
pub struct Sealed {
    /// What decides the epoch.
    pub record: EpochRecord,
    /// What came out.
    pub statement: Statement,
}

impl Sealed {
    /// Parses what a log keeps.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, EpochError> {
        let (record, mut d) = open(bytes)?;
        let record = EpochRecord::parse(record)?;
        let statement = Reader { record: &record, d: &mut d }.read()?;
        Ok(Self { record, statement })
    }

    /// The statement alone, and of which network and epoch it is: for who passes over the epoch to a later one.
    /// What is only for verifying, the keys and hashes of the record, is not looked at; that would be most of
    /// the time.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn statement(bytes: &[u8]) -> Result<(NetworkId, EpochId, Statement), EpochError> {
        let (record, statement) = Self::passed(bytes)?;
        Ok((record.network, record.epoch, statement))
    }

    /// As [`statement`](Self::statement), with the record, which lacks the keys.
    pub(super) fn passed(bytes: &[u8]) -> Result<(EpochRecord, Statement), EpochError> {
        let (record, mut d) = open(bytes)?;
        let record = codec::decode_without_keys(record)?;
        let statement = Reader { record: &record, d: &mut d }.read()?;
        Ok((record, statement))
    }

    /// Parses the record in what a log keeps.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn record(bytes: &[u8]) -> Result<EpochRecord, EpochError> {
        EpochRecord::parse(open(bytes)?.0)
    }

    /// The bytes to keep.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the statement is not about the members of the roster,
    /// [`ErrorKind::Limit`] when it is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let length = codec::length(&self.record);
        let mut bytes = Vec::with_capacity(4096 + length);
        let mut e = Encoder::new(&mut bytes);
        let mut writer = Writer { record: &self.record, strangers: false };
        let begun = e.array(3).and_then(|e| e.str(TAG)?.bytes_len(length as u64)).is_ok();
        codec::each_part(&self.record, &mut |part| e.writer_mut().extend_from_slice(part));
        let written = begun && writer.statement(&mut e, &self.statement).is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        if writer.strangers {
            let message = "the statement is about devices that are not in the roster; a reward policy pays only those it is given";
            return Err(Error::new(ErrorKind::Rejected, message).with("epoch", self.record.epoch()));
        }
        if bytes.len() > 2 * MAX_BYTES {
            return Err(EpochError::Limit("bytes").into());
        }
        Ok(bytes)
    }
}

fn open(bytes: &[u8]) -> Result<(&[u8], Decoder<'_>), EpochError> {
    if bytes.len() > 2 * MAX_BYTES {
        return Err(EpochError::Limit("bytes"));
    }
    cbor::check(bytes)?;
    let shape = EpochError::Format("it is not tagged as a sealed epoch of version 2");
    let mut d = Decoder::new(bytes);
    let tagged = d.array().ok().flatten() == Some(3) && d.str().ok() == Some(TAG);
    match d.bytes() {
        Ok(record) if tagged => Ok((record, d)),
        _ => Err(shape),
    }
}

struct Writer<'a> {
    record: &'a EpochRecord,
    /// Whether something was about a device that is not in the roster.
    strangers: bool,
}

type To<'a, 'b> = &'a mut Encoder<&'b mut Vec<u8>>;
type Written = Result<(), cbor::encode::Error<core::convert::Infallible>>;

impl Writer<'_> {
    fn statement(&mut self, e: To<'_, '_>, it: &Statement) -> Written {
        let members = self.record.roster().iter().map(|member| &member.device);
        self.strangers |= !members.eq(it.contributions.iter().map(|entry| &entry.device));
        e.array(11)?.array(it.contributions.len() as u64)?;
        for entry in &it.contributions {
            e.array(2)?.u64(entry.readings)?.u64(entry.score)?;
        }
        e.u64(it.readings)?.array(it.corrections.len() as u64)?;
        for late in &it.corrections {
            self.member(e.array(4)?, &late.device)?;
            e.u64(late.epoch.value())?.u64(late.readings)?.u64(late.score)?;
        }
        e.array(it.late.len() as u64)?;
        for device in &it.late {
            self.member(e, device)?;
        }
        e.array(it.findings.len() as u64)?;
        for (device, finding) in &it.findings {
            self.member(e.array(5)?, device)?;
            e.bytes(finding.batch.as_slice())?.u64(finding.reading as u64)?;
            e.str(&finding.code)?.str(&finding.detail)?;
        }
        e.u64(it.unlisted)?.array(it.pasts.len() as u64)?;
        for (device, past) in &it.pasts {
            self.member(e.array(2)?, device)?;
            codec::write_past(e, Some(past))?;
        }
        e.array(it.unverified.len() as u64)?;
        for index in &it.unverified {
            e.u64(*index)?;
        }
        e.array(it.beyond.len() as u64)?;
        for (device, batches) in &it.beyond {
            self.member(e.array(2)?, device)?;
            e.u64(*batches)?;
        }
        self.allocation(e, &it.allocation)
    }

    fn allocation(&mut self, e: To<'_, '_>, it: &Allocation) -> Written {
        e.bytes(&it.unallocated.to_units().to_be_bytes::<32>())?.array(it.payouts.len() as u64)?;
        for payout in &it.payouts {
            self.member(e.array(2)?, &payout.device)?;
            e.bytes(&payout.amount.to_units().to_be_bytes::<32>())?;
            let member = self.record.member(&payout.device);
            self.strangers |= member.is_none_or(|it| it.beneficiary != payout.beneficiary);
        }
        Ok(())
    }

    fn member(&mut self, e: To<'_, '_>, device: &Did) -> Written {
        let place = self.record.place(device);
        self.strangers |= place.is_none();
        e.u64(place.unwrap_or_default() as u64)?;
        Ok(())
    }
}

struct Reader<'a, 'b> {
    record: &'a EpochRecord,
    d: &'a mut Decoder<'b>,
}

impl<'a> Reader<'a, '_> {
    fn read(&mut self) -> Result<Statement, EpochError> {
        let shape = EpochError::Format("a statement is about members of the roster, in its order");
        self.statement().ok_or(shape)
    }

    fn statement(&mut self) -> Option<Statement> {
        self.tuple(11)?;
        let mut members = self.record.roster().iter();
        let contributions = self.list(MAX_DEVICES, |it| {
            it.tuple(2)?;
            let Member { device, beneficiary, .. } = members.next()?;
            let (readings, score) = (it.number()?, it.number()?);
            Some(Contribution {
                device: device.clone(),
                beneficiary: *beneficiary,
                readings,
                score,
            })
        })?;
        let readings = self.number()?;
        let corrections = self.list(MAX_DEVICES * MAX_OPEN, Reader::correction)?;
        let late = self.list(MAX_DEVICES, |it| Some(it.member()?.device.clone()))?;
        let findings = self.list(MAX_STATED, Reader::finding)?;
        let unlisted = self.number()?;
        let pasts = self.list(MAX_DEVICES, |it| {
            it.tuple(2)?;
            Some((it.member()?.device.clone(), codec::past(it.d)??))
        })?;
        let unverified = self.list(usize::MAX, Reader::number)?;
        let beyond = self.list(MAX_DEVICES, |it| {
            it.tuple(2)?;
            Some((it.member()?.device.clone(), it.number()?))
        })?;
        let unallocated = self.amount()?;
        let payouts = self.list(MAX_DEVICES, Reader::payout)?;
        let emission = Amount::sum(payouts.iter().map(|payout| payout.amount)).ok()?;
        let epoch = self.record.epoch();
        Some(Statement {
            contributions,
            readings,
            corrections,
            late,
            findings,
            unlisted,
            pasts: pasts.into_iter().collect(),
            unverified,
            beyond,
            allocation: Allocation { epoch, emission, unallocated, payouts },
        })
    }

    fn correction(&mut self) -> Option<Correction> {
        self.tuple(4)?;
        let device = self.member()?.device.clone();
        let (epoch, readings, score) =
            (EpochId::new(self.number()?), self.number()?, self.number()?);
        Some(Correction { device, epoch, readings, score })
    }

    fn finding(&mut self) -> Option<(Did, Finding)> {
        self.tuple(5)?;
        let device = self.member()?.device.clone();
        let batch = B256::try_from(self.d.bytes().ok()?).ok()?;
        let reading = usize::try_from(self.number()?).ok()?;
        let code = Cow::Owned(self.d.str().ok()?.to_owned());
        let detail = self.d.str().ok()?.to_owned();
        Some((device, Finding { batch, reading, code, detail }))
    }

    fn payout(&mut self) -> Option<Payout> {
        self.tuple(2)?;
        let Member { device, beneficiary, .. } = self.member()?;
        Some(Payout { device: device.clone(), beneficiary: *beneficiary, amount: self.amount()? })
    }

    fn member(&mut self) -> Option<&'a Member> {
        let place = usize::try_from(self.number()?).ok()?;
        self.record.roster().get(place)
    }

    fn amount(&mut self) -> Option<Amount> {
        let bytes = self.d.bytes().ok().filter(|bytes| bytes.len() == 32)?;
        Some(Amount::units(U256::from_be_slice(bytes)))
    }

    fn number(&mut self) -> Option<u64> {
        self.d.u64().ok()
    }

    fn tuple(&mut self, length: u64) -> Option<()> {
        (self.d.array().ok().flatten() == Some(length)).then_some(())
    }

    fn list<T>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.d.array().ok().flatten()?).ok()?;
        if count > most {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }
}
