//! Conformance of [`QualityCheck`] and [`FleetCheck`], and what checks find in a fleet.

use std::{borrow::Cow, cell::Cell, collections::BTreeMap, time::Duration};

use depin_core::{
    B256, Batch, Decimal, Did, Error, Reading, Result, Sequence, Timestamp, Unverified, Verified,
    Verifier, keccak256,
    quality::{Finding, FleetCheck, LEAST_NOTE, MAX_NOTE, Notes, QualityCheck, Sent},
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

/// Runs every clause of the contract over made-up fleets: strangers, copies, devices that send nothing or
/// the worst of streams.
///
/// `fleet` makes a fleet in which the check has to find something: the readings of each device.
///
/// # Panics
/// When a clause does not hold, or when the check finds nothing wrong with `fleet`.
pub fn fleet_conforms(check: &dyn FleetCheck, quantity: &Quantity, fleet: &[Vec<Reading>]) {
    assert_eq!(check.name(), check.name(), "clause 1: the name stays the same");
    let nobody = check.compare(&Vec::new()).expect("clause 3: nothing to read");
    assert!(!check.name().is_empty() && nobody.is_empty(), "no devices, no suspicion");
    let mut rng = StdRng::seed_from_u64(2);
    let found = fleet_findings(check, fleet);
    assert!(
        found.iter().any(|found| !found.is_empty()),
        "the check finds something in the fleet given"
    );
    for round in 0..12 {
        let mut wild: Vec<Vec<Reading>> =
            (0..rng.gen_range(0..6)).map(|_| stream(&mut rng, quantity, round)).collect();
        wild.extend(fleet.iter().cloned());
        wild.extend([Vec::new(), stream(&mut rng, quantity, round + 1)]);
        let once = fleet_findings(check, &wild);
        assert_eq!(
            once,
            fleet_findings(check, &wild),
            "clause 1: the same fleet, the same findings"
        );
        let now: Vec<_> = wild.iter().map(|it| (Duration::ZERO, it.as_slice())).collect();
        in_room(check, &now, LEAST_NOTE);
    }
    // What an attacker could put where a suspicion stands is bytes of this check alone; it may not panic.
    let (device, batches) = (suite(), batches(&[stream(&mut rng, quantity, 0)]));
    let batches: Vec<&Verified<Batch>> = batches.iter().collect();
    for length in 0..40 {
        check.inspect(&vec![0xa5; length], &Sent::new(&device, &batches, &[0]));
        let device = Did::parse("did:example:a").expect("a valid did");
        let noted = check.compare(&vec![(device, vec![0xa5; length])]);
        noted.expect("clause 3: every note can be read");
    }
}

/// Positions of readings that a fleet check names, of each device; devices are given in any order, and their
/// DIDs rise with their position. Each sends what it measures at once.
///
/// # Panics
/// When the check breaks its contract.
pub fn fleet_findings(check: &dyn FleetCheck, fleet: &[Vec<Reading>]) -> Vec<Vec<Found>> {
    let fleet: Vec<(Duration, &[Reading])> =
        fleet.iter().map(|readings| (Duration::ZERO, readings.as_slice())).collect();
    fleet_findings_late(check, &fleet)
}

/// As [`fleet_findings`], of devices that send so long after the times that they sign.
///
/// # Panics
/// When the check breaks its contract.
pub fn fleet_findings_late(
    check: &dyn FleetCheck,
    fleet: &[(Duration, &[Reading])],
) -> Vec<Vec<Found>> {
    in_room(check, fleet, MAX_NOTE)
}

fn in_room(
    check: &dyn FleetCheck,
    fleet: &[(Duration, &[Reading])],
    room: usize,
) -> Vec<Vec<Found>> {
    let chains: Vec<(Did, Vec<Verified<Batch>>)> = (0..)
        .zip(fleet)
        .filter(|(_, (_, readings))| !readings.is_empty())
        .map(|(position, (_, readings)): (usize, _)| {
            let device =
                Did::parse(&format!("did:example:device-{position:06}")).expect("a valid did");
            let parts: Vec<Vec<Reading>> = readings.chunks(256).map(<[Reading]>::to_vec).collect();
            let chain = believed(&device, &parts);
            (device, chain)
        })
        .collect();
    let late = fleet.iter().filter(|(_, readings)| !readings.is_empty()).map(|(late, _)| *late);
    let logged = logged(&chains, late);
    let batches: Vec<Vec<&Verified<Batch>>> =
        chains.iter().map(|(_, chain)| chain.iter().collect()).collect();
    let sent: Vec<Sent<'_>> = (chains.iter().zip(&batches).zip(&logged))
        .map(|(((device, _), batches), indices)| Sent::new(device, batches, indices).room_for(room))
        .collect();
    let note = |sent: &Sent<'_>| {
        let note = check.note(sent);
        assert!(note.len() <= room, "clause 2: a note of {} bytes is too long", note.len());
        (sent.device().clone(), note)
    };
    let notes: Vec<(Did, Vec<u8>)> = sent.iter().map(note).collect();
    let suspicions = check.compare(&notes).expect("clause 3: every note can be read");
    unreadable(check, notes);
    assert!(
        suspicions.is_sorted_by(|a, b| a.0 < b.0),
        "clause 3: one for each device, by rising DID"
    );
    let mut found: BTreeMap<&Did, Vec<Found>> = BTreeMap::new();
    for (device, suspicion) in &suspicions {
        let place = chains.iter().position(|(other, _)| other == device);
        let place = place.expect("clause 3: suspicions are about devices that sent something");
        let (device, chain) = &chains[place];
        let findings = check.inspect(suspicion, &sent[place]);
        findings.iter().for_each(|finding| names_what_was_given(finding, chain));
        found.insert(device, positions(chain, &findings));
    }
    let mut chains = chains.iter();
    let of = |(_, readings): &(Duration, &[Reading])| {
        let device = (!readings.is_empty()).then(|| chains.next()).flatten();
        device.and_then(|(device, _)| found.remove(device)).unwrap_or_default()
    };
    fleet.iter().map(of).collect()
}

/// A check that reads notes says so where one cannot be read, or it would judge by what it does not know.
fn unreadable(check: &dyn FleetCheck, notes: Vec<(Did, Vec<u8>)>) {
    let failing = Failing { notes, left: Cell::new(usize::MAX) };
    let _ = check.compare(&failing);
    let reads = usize::MAX - failing.left.get();
    for left in [0, reads / 2, reads.saturating_sub(1)].into_iter().filter(|left| *left < reads) {
        failing.left.set(left);
        assert!(check.compare(&failing).is_err(), "clause 3: a note cannot be read");
    }
}

/// Notes on a disk that breaks after some of them were read.
struct Failing {
    notes: Vec<(Did, Vec<u8>)>,
    left: Cell<usize>,
}

impl Notes for Failing {
    fn len(&self) -> usize {
        self.notes.len()
    }

    fn device(&self, place: usize) -> Option<&Did> {
        Notes::device(&self.notes, place)
    }

    fn read(&self, place: usize) -> Result<Cow<'_, [u8]>> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| Error::unavailable("the disk is broken"))?);
        Notes::read(&self.notes, place)
    }
}

/// Where the batches of each chain stand in a log that takes them when they come, those of one moment by device.
fn logged(
    chains: &[(Did, Vec<Verified<Batch>>)],
    late: impl Iterator<Item = Duration>,
) -> Vec<Vec<u64>> {
    let mut arrivals: Vec<(Timestamp, usize, usize)> = Vec::new();
    for (device, ((_, chain), late)) in chains.iter().zip(late).enumerate() {
        let mut latest = Timestamp::EPOCH;
        for (nth, batch) in chain.iter().enumerate() {
            latest = batch.readings.iter().map(Reading::at).fold(latest, Timestamp::max);
            arrivals.push((latest.plus(late), device, nth));
        }
    }
    arrivals.sort_unstable();
    let mut indices: Vec<Vec<u64>> = chains.iter().map(|_| Vec::new()).collect();
    for (index, (_, device, _)) in (0..).zip(arrivals) {
        indices[device].push(index);
    }
    indices
}

/// Positions of readings that a check names.
pub fn findings(check: &dyn QualityCheck, readings: &[Reading]) -> Vec<Found> {
    let parts: Vec<Vec<Reading>> = readings.chunks(256).map(<[Reading]>::to_vec).collect();
    let chain = batches(&parts);
    positions(&chain, &inspect(check, &chain))
}

/// What was found: the position of a reading in the device's stream, the code and the reason.
pub type Found = (usize, String, String);

fn positions(chain: &[Verified<Batch>], findings: &[Finding]) -> Vec<Found> {
    let mut starts = BTreeMap::new();
    let mut start = 0;
    for batch in chain {
        starts.insert(batch.hash, start);
        start += batch.readings.len();
    }
    let position = |finding: &Finding| {
        let start =
            starts.get(&finding.batch).expect("clause 3: findings name batches that were given");
        (start + finding.reading, finding.code.to_string(), finding.detail.clone())
    };
    findings.iter().map(position).collect()
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

/// A chain of batches of the suite's device.
fn batches(parts: &[Vec<Reading>]) -> Vec<Verified<Batch>> {
    believed(&suite(), parts)
}

fn suite() -> Did {
    Did::parse("did:example:suite").expect("a valid did")
}

/// A device's chain of batches with these readings, which nobody signed: for tests and measurements only.
///
/// # Panics
/// Never: everything is believed here.
pub fn believed(device: &Did, parts: &[Vec<Reading>]) -> Vec<Verified<Batch>> {
    let mut previous = keccak256(device.as_str());
    let mut chain = Vec::new();
    for (sequence, readings) in (0..).zip(parts) {
        let hash = keccak256([previous.as_slice(), &[1]].concat());
        let batch = Batch {
            hash,
            device: device.clone(),
            sequence: Sequence::new(sequence),
            previous: if sequence == 0 { B256::ZERO } else { previous },
            root: B256::ZERO,
            readings: readings.clone(),
            salt_seed: None,
            sealed: None,
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
