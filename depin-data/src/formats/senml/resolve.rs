//! Base fields applied, times made absolute (RFC 8428 sections 4.5 and 4.6).

use depin_core::{Decimal, Timestamp};

use super::{Fault, Field, Fit, Label, MAX_NAME, Number, Pack, Raw, Record, SenmlError, Value};
use crate::formats::{Leftover, Reason, number};

/// The version of RFC 8428, and its bit for secondary units (RFC 9100).
const VERSION: i128 = 10;
const SECONDARY_UNITS: i128 = 16;
/// A millisecond in units of 10^-12 seconds.
const MILLISECOND: i128 = 1_000_000_000;
/// Times below 2^28 seconds are relative.
const RELATIVE: i128 = 1000 << 28;

pub(super) fn pack(
    records: impl Iterator<Item = Result<Vec<Field>, SenmlError>>,
    now: Timestamp,
) -> Result<Pack, SenmlError> {
    let (mut pack, mut bases) = (Pack::default(), Bases::default());
    for (index, fields) in records.enumerate() {
        let outcome = Draft::of(index as u64, fields?, &mut pack.leftovers)
            .and_then(|draft| draft.resolve(&mut bases, now, &mut pack.leftovers));
        let record = outcome.map_err(|fault| SenmlError::Record { record: index, fault })?;
        pack.records.extend(record);
    }
    Ok(pack)
}

/// The base fields in effect.
#[derive(Default)]
struct Bases {
    version: Option<i128>,
    name: String,
    unit: String,
    time: Option<Number>,
    value: Option<Number>,
    sum: Option<Number>,
}

/// One record, its fields sorted out.
#[derive(Default)]
struct Draft {
    index: u64,
    measures: bool,
    base_version: Option<Number>,
    base_name: Option<String>,
    base_time: Option<Number>,
    base_unit: Option<String>,
    base_value: Option<Number>,
    base_sum: Option<Number>,
    name: Option<String>,
    unit: Option<String>,
    value: Option<Number>,
    text: Option<String>,
    boolean: Option<bool>,
    bytes: Option<Vec<u8>>,
    sum: Option<Number>,
    time: Option<Number>,
    update: Option<Number>,
}

impl Draft {
    fn of(index: u64, fields: Vec<Field>, leftovers: &mut Vec<Leftover>) -> Result<Self, Fault> {
        let mut draft = Self { index, ..Self::default() };
        for field in fields {
            match field.label {
                Ok(label) => {
                    draft.measures |= !label.is_base();
                    draft.set(label, field.value)?;
                }
                Err(label) if label.ends_with('_') => return Err(Fault::MustUnderstand),
                Err(label) => {
                    leftovers.push(Leftover::new(index, &label, "", Reason::UnknownField));
                }
            }
        }
        Ok(draft)
    }

    fn set(&mut self, label: Label, value: Raw) -> Result<(), Fault> {
        let twice = match (label, value) {
            (Label::BaseVersion, Raw::Number(value)) => self.base_version.replace(value).is_some(),
            (Label::BaseName, Raw::Text(value)) => self.base_name.replace(value).is_some(),
            (Label::BaseTime, Raw::Number(value)) => self.base_time.replace(value).is_some(),
            (Label::BaseUnit, Raw::Text(value)) => self.base_unit.replace(value).is_some(),
            (Label::BaseValue, Raw::Number(value)) => self.base_value.replace(value).is_some(),
            (Label::BaseSum, Raw::Number(value)) => self.base_sum.replace(value).is_some(),
            (Label::Name, Raw::Text(value)) => self.name.replace(value).is_some(),
            (Label::Unit, Raw::Text(value)) => self.unit.replace(value).is_some(),
            (Label::Value, Raw::Number(value)) => self.value.replace(value).is_some(),
            (Label::Text, Raw::Text(value)) => self.text.replace(value).is_some(),
            (Label::Boolean, Raw::Boolean(value)) => self.boolean.replace(value).is_some(),
            (Label::Bytes, Raw::Bytes(value)) => self.bytes.replace(value).is_some(),
            (Label::Sum, Raw::Number(value)) => self.sum.replace(value).is_some(),
            (Label::Time, Raw::Number(value)) => self.time.replace(value).is_some(),
            (Label::Update, Raw::Number(value)) => self.update.replace(value).is_some(),
            _ => return Err(Fault::Type(label.text())),
        };
        if twice { Err(Fault::Twice) } else { Ok(()) }
    }

    fn resolve(
        mut self,
        bases: &mut Bases,
        now: Timestamp,
        leftovers: &mut Vec<Leftover>,
    ) -> Result<Option<Record>, Fault> {
        bases.take(&mut self)?;
        if !self.measures {
            return Ok(None);
        }
        let name = format!("{}{}", bases.name, self.name.as_deref().unwrap_or_default());
        check_name(&name)?;
        let unit = self.unit.take().unwrap_or_else(|| bases.unit.clone());
        if unit.len() > MAX_NAME {
            return Err(Fault::Unit);
        }
        let at = moment(bases.time.clone(), self.time.take(), now);
        let sum = add(bases.sum.clone(), self.sum.take());
        let value = self.take_value(bases.value.clone())?;
        if value.is_none() && sum.is_none() {
            return Err(Fault::NoValue);
        }
        let (index, update) = (self.index, self.update.take());
        let mut report = Report { index, name: &name, leftovers };
        let sum = sum.and_then(|sum| report.settle(sum));
        let update = update.and_then(|update| report.settle(update));
        let value = report.settle(value.unwrap_or(Ok(Value::Nothing)));
        let Some((value, at)) = value.zip(report.settle(at)) else { return Ok(None) };
        Ok(Some(Record { index, name, unit, at, value, sum, update }))
    }

    /// The one value; a base value is added to numbers and makes no number of a text.
    fn take_value(&mut self, base: Option<Number>) -> Result<Option<Fit<Value>>, Fault> {
        let others = [
            self.text.take().map(Value::Text),
            self.boolean.take().map(Value::Boolean),
            self.bytes.take().map(Value::Bytes),
        ];
        let mut others = others.into_iter().flatten();
        let (other, number) = (others.next(), self.value.take());
        if others.next().is_some() || other.is_some() && number.is_some() {
            return Err(Fault::Values);
        }
        Ok(other.map(Ok).or_else(|| Some(add(base, number)?.map(Value::Number))))
    }
}

impl Bases {
    /// Takes over the base fields of a record; they hold until the next record that has them.
    fn take(&mut self, draft: &mut Draft) -> Result<(), Fault> {
        let version = draft.base_version.take().map(version).transpose()?;
        let expected = *self.version.get_or_insert_with(|| version.unwrap_or(VERSION));
        if version.is_some_and(|version| version != expected) {
            return Err(Fault::Version);
        }
        if let Some(name) = draft.base_name.take() {
            self.name = if name.len() > MAX_NAME { return Err(Fault::Name) } else { name };
        }
        if let Some(unit) = draft.base_unit.take() {
            self.unit = if unit.len() > MAX_NAME { return Err(Fault::Unit) } else { unit };
        }
        self.time = draft.base_time.take().or_else(|| self.time.take());
        self.value = draft.base_value.take().or_else(|| self.value.take());
        self.sum = draft.base_sum.take().or_else(|| self.sum.take());
        Ok(())
    }
}

/// Versions up to that of RFC 8428, and the one that allows secondary units.
fn version(number: Number) -> Result<i128, Fault> {
    let number = number.map_err(|_| Fault::Version)?;
    let version = number.scaled() / 10i128.pow(12);
    let known = (1..=VERSION).contains(&version) || version == VERSION + SECONDARY_UNITS;
    if known && number.exponent() >= 0 { Ok(version) } else { Err(Fault::Version) }
}

/// RFC 8428 section 4.5.1.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let starts = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'.' | b'/' | b'_');
    let good = starts && name.len() <= MAX_NAME && name.bytes().all(inside);
    if good { Ok(()) } else { Err(Fault::Name) }
}

/// The sum of a base and a regular number; one that is missing counts as zero.
fn add(base: Option<Number>, own: Option<Number>) -> Option<Number> {
    match (base, own) {
        (Some(Ok(base)), Some(Ok(own))) => {
            let sum = number::of(base.scaled() + own.scaled(), Decimal::MIN_EXPONENT.into());
            Some(sum.map_err(|reason| (reason, format!("{base} + {own}"))))
        }
        (Some(Err(why)), _) | (_, Some(Err(why))) => Some(Err(why)),
        (base, own) => base.or(own),
    }
}

/// RFC 8428 section 4.5.3: small times are relative to now.
fn moment(base: Option<Number>, own: Option<Number>, now: Timestamp) -> Fit<Timestamp> {
    let or_zero = |number: Option<Number>| number.unwrap_or_else(|| Ok(Decimal::default()));
    let (base, own) = (or_zero(base)?, or_zero(own)?);
    let millis = (base.scaled() + own.scaled()).div_euclid(MILLISECOND);
    let millis = if millis < RELATIVE { millis + i128::from(now.millis()) } else { millis };
    let within = u64::try_from(millis).ok().filter(|millis| i64::try_from(*millis).is_ok());
    within.map(Timestamp::from_millis).ok_or_else(|| (Reason::Time, format!("{base} + {own}")))
}

/// Where to tell of what does not fit.
struct Report<'a> {
    index: u64,
    name: &'a str,
    leftovers: &'a mut Vec<Leftover>,
}

impl Report<'_> {
    fn settle<T>(&mut self, outcome: Fit<T>) -> Option<T> {
        let told = outcome.map_err(|(reason, text)| {
            self.leftovers.push(Leftover::new(self.index, self.name, &text, reason));
        });
        told.ok()
    }
}
