//! Conformance of [`QualityCheck`].

use std::collections::BTreeMap;

use depin_core::{
    B256, Batch, Decimal, Did, Error, Reading, Sequence, Timestamp, Unverified, Verified, Verifier,
    keccak256,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Runs every clause of the contract over made-up streams of `quantity`: calm, wild, frozen, silent for
/// years, repeated, backwards.
///
/// # Panics
/// When a clause does not hold, or when the check finds nothing wrong with any of it.
pub fn conforms(check: &dyn QualityCheck, quantity: &Quantity) {
    assert!(!check.name().is_empty(), "a check has a name");
    assert_eq!(check.name(), check.name(), "clause 1: the name stays the same");
    assert!(check.inspect(&[]).is_empty(), "clause 3: no readings, no findings");
    let mut rng = StdRng::seed_from_u64(1);
    let mut codes = BTreeMap::new();
    for round in 0..60 {
        let readings = stream(&mut rng, quantity, round);
        let whole = batches(std::slice::from_ref(&readings));
        let found = inspect(check, &whole);
        assert_eq!(found, inspect(check, &whole), "clause 1: the same batches, the same findings");
        for finding in &found {
            *codes.entry(finding.code.clone()).or_insert(0) += 1;
            names_what_was_given(finding, &whole);
        }
        cut_elsewhere(check, &readings, &found, &mut rng);
    }
    assert!(!codes.is_empty(), "clause 4: the check finds something in the worst of streams");
    for code in codes.keys() {
        let kebab = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(
            kebab && !code.is_empty(),
            "clause 4: {code:?} is not lower-case words with dashes"
        );
    }
}

/// Clause 2: where one batch ends and the next begins makes no difference.
fn cut_elsewhere(
    check: &dyn QualityCheck,
    readings: &[Reading],
    found: &[Finding],
    rng: &mut StdRng,
) {
    let mut rest = readings;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, more) = rest.split_at(rng.gen_range(1..=rest.len()));
        parts.push(part.to_vec());
        rest = more;
    }
    let cut = batches(&parts);
    let start_of = |hash: B256| {
        let before = cut.iter().take_while(|batch| batch.hash != hash);
        before.map(|batch| batch.readings.len()).sum::<usize>()
    };
    let flat =
        |finding: &Finding| (start_of(finding.batch) + finding.reading, finding.code.clone());
    let mut in_parts: Vec<_> = inspect(check, &cut).iter().map(flat).collect();
    let mut in_whole: Vec<_> =
        found.iter().map(|finding| (finding.reading, finding.code.clone())).collect();
    in_parts.sort();
    in_whole.sort();
    assert_eq!(in_parts, in_whole, "clause 2: all batches are one stream");
}

fn names_what_was_given(finding: &Finding, given: &[Verified<Batch>]) {
    let batch = given.iter().find(|batch| batch.hash == finding.batch);
    let batch = batch.expect("clause 3: findings name batches that were given");
    assert!(finding.reading < batch.readings.len(), "clause 3: and readings that are in them");
    assert!(!finding.detail.is_empty(), "a finding says why");
}

fn inspect(check: &dyn QualityCheck, batches: &[Verified<Batch>]) -> Vec<Finding> {
    check.inspect(&batches.iter().collect::<Vec<_>>())
}

/// A stream that behaves badly in one way or another, sometimes with other quantities in between.
fn stream(rng: &mut StdRng, quantity: &Quantity, round: u32) -> Vec<Reading> {
    let stranger = Quantity::new("suite-stranger", "1");
    let other_unit = Quantity::new(quantity.name(), "suite-unit");
    let mut at = 1_700_000_000_000u64;
    let mut mantissa = rng.gen_range(-1_000..1_000i64);
    let mut readings = Vec::new();
    for _ in 0..rng.gen_range(1..200) {
        match round % 6 {
            0 => mantissa += rng.gen_range(-1..=1),
            1 => mantissa = rng.r#gen(),
            _ if rng.gen_bool(0.05) => {
                mantissa = *[i64::MIN, i64::MAX, 0].choose(rng).unwrap_or(&0)
            }
            _ => {}
        }
        at = match round % 5 {
            0 => at,
            1 if rng.gen_bool(0.1) => at + 100_000_000_000,
            2 if rng.gen_bool(0.1) => at - 86_400_000,
            _ => at + rng.gen_range(1..7_200_000),
        };
        let of = [quantity, quantity, quantity, &stranger, &other_unit];
        let of = if round % 4 == 3 { of.choose(rng).copied() } else { None };
        let exponent = if round.is_multiple_of(3) { Decimal::MAX_EXPONENT } else { -2 };
        let value = Decimal::new(mantissa, exponent).unwrap_or_default();
        readings.push(Reading::new(
            of.unwrap_or(quantity).clone(),
            value,
            Timestamp::from_millis(at),
        ));
    }
    readings
}

/// A chain of batches with these readings.
fn batches(parts: &[Vec<Reading>]) -> Vec<Verified<Batch>> {
    let device = Did::parse("did:example:suite").expect("a valid did");
    let mut previous = B256::ZERO;
    let mut chain = Vec::new();
    for (sequence, readings) in (0..).zip(parts) {
        let hash = keccak256([previous.as_slice(), &[1]].concat());
        let batch = Batch {
            hash,
            device: device.clone(),
            sequence: Sequence::new(sequence),
            previous,
            root: B256::ZERO,
            readings: readings.clone(),
            salt_seed: None,
        };
        chain.push(Unverified::new(batch).verify(&Believe).expect("everything is believed here"));
        previous = hash;
    }
    chain
}

/// Believes made-up batches, as only a suite may.
struct Believe;

impl Verifier<Batch> for Believe {
    type Output = Batch;
    type Error = Error;

    fn check(&self, candidate: &Batch) -> Result<Batch, Error> {
        Ok(candidate.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds fault with the first reading, of the stream or of each batch.
    #[derive(Debug)]
    struct First {
        of_each: bool,
    }

    impl QualityCheck for First {
        fn name(&self) -> String {
            "first".into()
        }

        fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
            let most = if self.of_each { usize::MAX } else { 1 };
            let finding = |batch: &&Verified<Batch>| Finding {
                batch: batch.hash,
                reading: 0,
                code: "first".into(),
                detail: "it is the first".into(),
            };
            batches.iter().take(most).map(finding).collect()
        }
    }

    #[test]
    fn a_check_that_sees_one_stream_conforms() {
        conforms(&First { of_each: false }, &Quantity::new("temperature", "Cel"));
    }

    #[test]
    #[should_panic(expected = "clause 2")]
    fn a_check_that_sees_batches_does_not() {
        conforms(&First { of_each: true }, &Quantity::new("temperature", "Cel"));
    }
}
