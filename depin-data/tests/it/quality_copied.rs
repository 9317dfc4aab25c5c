//! Rooms in which honest coarse sensors show nearly the same, and copies among them.

use std::time::Duration;

use depin_core::{Decimal, Reading, reading::Quantity};
use depin_data::quality::Copied;
use depin_testkit::quality::{fleet_findings, fleet_findings_late};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

#[derive(Clone, Copy, Debug)]
struct Room {
    /// Hundredths of a degree.
    step: i64,
    minutes: u32,
    seed: u64,
    /// Hundredths.
    noise: f64,
}

impl Room {
    /// Hundredths of a degree from moment to moment: days, and weather that comes in through the windows.
    fn air(self, moments: u32) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let hours = f64::from(self.minutes) / 60.0;
        let keep = (-hours / 6.0).exp();
        let (mut drift, spread) = (0.0, 250.0 * (1.0 - keep * keep).sqrt());
        let mut at = |moment: u32| {
            drift = keep * drift + spread * rng.gen_range(-1.0..1.0);
            let day = f64::from(moment) * hours * std::f64::consts::TAU / 24.0;
            2_100.0 + 200.0 * day.sin() + drift
        };
        (0..moments).map(&mut at).collect()
    }

    /// What so many sensors show.
    fn sensors(self, count: u64, moments: u32) -> Vec<Vec<Reading>> {
        let air = self.air(moments);
        let sensor = |seed: u64| {
            let mut rng = StdRng::seed_from_u64(1_000 * self.seed + seed);
            let mut read = |(moment, air): (u32, &f64)| {
                let noise: f64 = (0..4).map(|_| rng.gen_range(-0.866..0.866)).sum();
                let steps = ((air + self.noise * noise) / self.step as f64).round() as i64;
                let value = Decimal::new(steps * self.step, -2).unwrap();
                let at = NOW.plus(moment * self.minutes * Duration::from_secs(60));
                Reading::new(Quantity::new("temperature", "Cel"), value, at)
            };
            (0..).zip(&air).map(&mut read).collect()
        };
        (1..=count).map(sensor).collect()
    }
}

fn check() -> Copied {
    Copied::new([("temperature", "Cel")])
}

/// The part of all readings that each device loses, in hundredths.
fn lost(fleet: &[Vec<Reading>]) -> Vec<usize> {
    let found = fleet_findings(&check(), fleet);
    found.iter().zip(fleet).map(|(found, sent)| 100 * found.len() / sent.len()).collect()
}

/// Positions that the last one loses, which comes when all others are in the log.
fn lost_by_last(fleet: &[Vec<Reading>]) -> Vec<usize> {
    let mut sent: Vec<(Duration, &[Reading])> =
        fleet.iter().map(|readings| (Duration::ZERO, readings.as_slice())).collect();
    sent.last_mut().unwrap().0 = Duration::from_secs(86_400 * 365);
    let mut found = fleet_findings_late(&check(), &sent);
    let last = found.pop().unwrap();
    assert!(found.iter().all(Vec::is_empty), "who was first keeps all");
    last.into_iter().map(|(at, ..)| at).collect()
}

fn rooms() -> impl Iterator<Item = Room> {
    let rooms = [1, 10, 60].into_iter().flat_map(|minutes| {
        [10, 25, 50].map(|step| Room { step, minutes, seed: u64::from(minutes), noise: 2.0 })
    });
    rooms.flat_map(|room| [room, Room { noise: 4.0, ..room }])
}

#[test]
fn coarse_sensors_of_one_room_copy_nothing() {
    for room in rooms() {
        for count in [2, 16] {
            let lost = lost(&room.sensors(count, 1_440));
            assert!(lost.iter().sum::<usize>() <= lost.len(), "{room:?}, {count}: {lost:?} %");
        }
    }
}

#[test]
fn a_copy_of_a_coarse_sensor_is_found_among_its_neighbours() {
    for room in rooms() {
        let neighbours = room.sensors(3, 1_440);
        let mut copy = neighbours[1].clone();
        let found =
            |copy: &[Reading]| lost_by_last(&[neighbours.clone(), vec![copy.to_vec()]].concat());
        assert_eq!(found(&copy).len(), 1_440, "{room:?}");
        // With holes of a twelfth.
        let kept = (0..).zip(&copy).filter(|(at, _)| at % 480 >= 40).map(|(_, it)| it.clone());
        let holed: Vec<Reading> = kept.collect();
        // Of what comes every minute coarse steps say little in parts of a day.
        let least = if room.minutes == 1 && room.step > 10 { 70 } else { 95 };
        let lost = found(&holed).len();
        assert!(lost * 100 >= least * holed.len(), "{room:?}: {lost} of {}", holed.len());
        // With nonsense in between, which no other check took.
        let junk: Vec<usize> = (240..1_440).step_by(480).collect();
        for at in &junk {
            copy[*at] =
                Reading::new(copy[*at].quantity().clone(), Decimal::from(99), copy[*at].at());
        }
        let lost = found(&copy).into_iter().filter(|at| !junk.contains(at)).count();
        assert!(lost * 100 >= least * (1_440 - junk.len()), "{room:?}: {lost}, with junk");
    }
}

#[test]
fn one_copied_quantity_is_found_beside_one_that_was_measured() {
    let room = Room { step: 10, minutes: 10, seed: 5, noise: 2.0 };
    let humidity = |seed| Room { seed, ..room }.sensors(1, 1_000).remove(0);
    let both = |temperature: &[Reading], humidity: Vec<Reading>| -> Vec<Reading> {
        let humid =
            |it: Reading| Reading::new(Quantity::new("humidity", "%RH"), it.value(), it.at());
        let pairs = temperature.iter().cloned().zip(humidity.into_iter().map(humid));
        pairs.flat_map(|(temperature, humidity)| [temperature, humidity]).collect()
    };
    let temperature = room.sensors(1, 1_000).remove(0);
    let fleet = [both(&temperature, humidity(6)), both(&temperature, humidity(7))];
    let lost = lost_by_last(&fleet);
    assert_eq!(lost, (0..2_000).step_by(2).collect::<Vec<_>>());
    let together = Copied::new([("temperature", "Cel"), ("humidity", "%RH")]);
    assert!(fleet_findings(&together, &fleet).iter().all(Vec::is_empty));
}
