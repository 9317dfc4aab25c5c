//! Roofs under one sky, whose coarse meters show nearly the same, and copies among them.

use std::{collections::BTreeSet, time::Duration};

use depin_core::{Decimal, Reading, reading::Quantity};
use depin_data::quality::presets;
use depin_testkit::quality::fleet_findings;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

const POWER: (&str, &str) = ("ac_power", "W");
const MINUTES: u32 = 960;

/// A sky over all roofs.
#[derive(Clone, Copy, Debug)]
struct Sky {
    seed: u64,
    /// At noon, in hundredths of the rating.
    bright: f64,
    /// Part of the light that clouds take.
    clouds: f64,
    /// Part of a cloud that is there a minute later.
    keep: f64,
}

impl Sky {
    /// Its light minute by minute, from the morning on.
    fn light(self) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let (mut cloud, spread) = (0.0, (1.0 - self.keep * self.keep).sqrt());
        let mut at = |minute: u32| {
            cloud = self.keep * cloud + self.clouds * spread * rng.gen_range(-1.0..1.0);
            let sun = (f64::from(minute) * std::f64::consts::PI / 720.0).sin().max(0.0);
            self.bright * sun * (1.0 - f64::abs(cloud)).max(0.1)
        };
        (0..MINUTES).map(&mut at).collect()
    }

    /// What meters of 6 kW show in steps of a hundredth of that, on roofs that yield up to 3 % more or less than others.
    /// They err by up to half a percent.
    fn roofs(self, count: u64) -> Vec<Vec<Reading>> {
        let light = self.light();
        let roof = |roof: u64| {
            let mut rng = StdRng::seed_from_u64(1_000 * self.seed + roof);
            let gain = rng.gen_range(0.97..1.03);
            let mut read = |(minute, light): (u32, &f64)| {
                let steps = (light * gain * rng.gen_range(0.995..1.005)).min(100.0).round() as i64;
                let at = NOW.plus(minute * Duration::from_secs(60));
                let value = Decimal::new(60 * steps, 0).unwrap();
                Reading::new(Quantity::new(POWER.0, POWER.1), value, at)
            };
            (0..).zip(&light).map(&mut read).collect()
        };
        (0..count).map(roof).collect()
    }
}

fn skies() -> impl Iterator<Item = Sky> {
    let bright = [90.0, 30.0, 10.0, 5.0, 2.0, 150.0, 60.0].into_iter().cycle();
    let clouds = [(0.0, 0.0), (0.1, 0.9), (0.7, 0.9), (0.7, 0.99), (0.7, 0.6)].into_iter().cycle();
    let of = |((seed, bright), (clouds, keep))| Sky { seed, bright, clouds, keep };
    (1..=21).zip(bright).zip(clouds).map(of)
}

/// Positions that each loses for having copied.
fn lost(fleet: &[Vec<Reading>]) -> Vec<usize> {
    let mut lost = vec![BTreeSet::new(); fleet.len()];
    let energy = presets::energy(Duration::from_secs(60), Decimal::from(6_000));
    for check in energy.fleet.iter().filter(|check| check.name().starts_with("copied")) {
        for (lost, found) in lost.iter_mut().zip(fleet_findings(&**check, fleet)) {
            lost.extend(found.into_iter().map(|(position, ..)| position));
        }
    }
    lost.iter().map(BTreeSet::len).collect()
}

#[test]
fn roofs_under_one_sky_copy_nothing() {
    for sky in skies() {
        assert_eq!(lost(&sky.roofs(12)), [0; 12], "{sky:?}");
    }
}

/// Modules that their roofs warm by up to 40 K, measured in steps of half a kelvin, and nothing else.
fn modules(sky: Sky, count: u64) -> Vec<Vec<Reading>> {
    let light = sky.light();
    let module = |module: u64| {
        let mut rng = StdRng::seed_from_u64(2_000 * sky.seed + module);
        let (gain, offset) = (rng.gen_range(0.97..1.03), rng.gen_range(-0.5..0.5));
        let mut read = |(minute, light): (u32, &f64)| {
            let degrees = 12.0 + offset + 0.4 * light * gain + rng.gen_range(-0.1..0.1);
            let value = Decimal::new(5 * (2.0 * degrees).round() as i64, -1).unwrap();
            Reading::new(
                Quantity::new("module_temperature", "Cel"),
                value,
                NOW.plus(minute * Duration::from_secs(60)),
            )
        };
        (0..).zip(&light).map(&mut read).collect()
    };
    (0..count).map(module).collect()
}

#[test]
fn modules_under_one_sky_copy_nothing() {
    for sky in skies() {
        assert_eq!(lost(&modules(sky, 12)), [0; 12], "{sky:?}");
    }
}

#[test]
fn a_copied_meter_is_found_on_any_bright_day() {
    for sky in skies().filter(|sky| sky.bright >= 60.0) {
        let mut roofs = sky.roofs(4);
        roofs.push(roofs[2].clone());
        let lost = lost(&roofs);
        assert_eq!(lost[..4], [0; 4], "{sky:?}");
        assert!(lost[4] >= 912, "{sky:?}: {} of {MINUTES}", lost[4]);
    }
}
