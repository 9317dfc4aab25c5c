//! Lists of checks for kinds of networks, with the sources of their limits.
//!
//! Limits are physical, or somebody's who publishes them, or our choice, and each table says which; none is
//! fitted to data. The names of the checks stand in each epoch's
//! manifest, so for the same arguments a preset never changes; what a network knows better (its sensors'
//! ranges, its devices' speed) it adds as further checks.
//!
//! Without the feature `geo` the fleet checks that need a place are missing, and the manifest shows it.

use std::{convert::identity, ops::RangeInclusive, sync::Arc, time::Duration};

use depin_core::{
    Decimal,
    quality::{FleetCheck, QualityCheck},
};

use super::{
    Alike, Bounds, Clock, Copied, Duplicate, Gap, Jump, Only, Relation, Repeat, Spike, Stuck,
    Travel,
};
#[cfg(feature = "geo")]
use super::{Density, Neighbours, Skew};
use crate::geo::{CELL, LATITUDE, LONGITUDE};

/// Checks that belong together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Preset {
    /// Checks of each device by itself.
    pub checks: Vec<Arc<dyn QualityCheck>>,
    /// Checks of devices against each other.
    pub fleet: Vec<Arc<dyn FleetCheck>>,
}

/// Name and unit of a quantity.
type Of = (&'static str, &'static str);

/// Where a device is: other checks go by it, and where places are not the work it earns nothing.
const PLACE: [Of; 3] = [LATITUDE, LONGITUDE, CELL];

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const TEMPERATURE: Of = ("temperature", "Cel");
const DEW_POINT: Of = ("dew_point", "Cel");
const WATER_TEMPERATURE: Of = ("water_temperature", "Cel");
const HUMIDITY: Of = ("humidity", "%RH");
const PRESSURE: Of = ("pressure", "Pa");
const WIND_SPEED: Of = ("wind_speed", "m/s");
const WIND_DIRECTION: Of = ("wind_direction", "deg");
const IRRADIANCE: Of = ("irradiance", "W/m2");
const AC_POWER: Of = ("ac_power", "W");
const DC_POWER: Of = ("dc_power", "W");
const MODULE_TEMPERATURE: Of = ("module_temperature", "Cel");
const ALTITUDE: Of = ("altitude", "m");
const SPEED: Of = ("speed", "m/s");

/// Horizontal irradiance: above, what the BSRN calls physically possible (`1.5 Sa cos(z)^1.2 + 100` W/m2 as in
/// `QCRAD_LIMITS` of pvanalytics) with the sun at the zenith in January, `Sa` 1414 W/m2; below, more than its -4
/// W/m2: thermopiles that cool to a clear sky show less than nothing and err honestly. The -30 are our choice.
const SUNLIGHT: (i32, i32) = (-30, 2_221);

impl Preset {
    fn check(&mut self, check: impl QualityCheck + 'static) {
        self.checks.push(Arc::new(check));
    }

    fn fleet(&mut self, check: impl FleetCheck + 'static) {
        self.fleet.push(Arc::new(check));
    }

    fn bounds(&mut self, of: Of, low: i32, high: i32) {
        self.check(Bounds::new(of.0, of.1, Decimal::from(low)..=Decimal::from(high)));
    }

    fn jump(&mut self, of: Of, step: Decimal, per: Duration) {
        self.check(Jump::new(of.0, of.1, step, per));
    }

    /// What every regular series has: a cadence of `every` or a slower one of its own, silence tolerated for
    /// five intervals, two readings an interval at most, and no repetitions; `copied` says how honest devices differ.
    fn regular(
        &mut self,
        every: Duration,
        main: &[(&str, &str)],
        more: &[Of],
        copied: impl Fn(Copied) -> Copied,
    ) {
        self.check(Clock::every(every, every / 8).or_slower());
        self.check(Duplicate::within(every / 2));
        for (name, unit) in main {
            self.check(Gap::new(name, unit, every, 5).or_slower());
        }
        let together = [main, more].concat();
        for quantity in main.iter().filter(|_| together.len() > 1) {
            self.check(Repeat::new([*quantity]));
            self.fleet(copied(Copied::new([*quantity])));
        }
        self.unique_moments(&together, copied);
    }

    /// All that is measured together is neither repeated nor copied.
    fn unique_moments(&mut self, quantities: &[(&str, &str)], copied: impl Fn(Copied) -> Copied) {
        self.check(Repeat::new(quantities.iter().copied()));
        self.fleet(copied(Copied::new(quantities.iter().copied())).whole_moments());
    }
}

/// A weather station that measures once in every interval `every`, or more seldom at an interval of its own.
///
/// | what | limit | source |
/// |---|---|---|
/// | air | temperature -90..60 Cel, pressure 50..109 kPa, wind -1..115 m/s | the records of the Earth, rounded outwards; pressure for stations up to 5,500 m; a calm anemometer errs around zero |
/// | humidity, wind direction | -5..105 %RH, -5..365 deg | their scales, and 5 that sensors err: our choice |
/// | water | temperature -5..45 Cel | freezing brine and shallow tropical water: our choice |
/// | irradiance | -30..2221 W/m2 | BSRN, physically possible; below our choice |
/// | jumps | 3 Cel, 10 %RH, 10 m/s, 80 Pa a minute; 15 Cel, 80 %RH, 15 m/s, 1500 Pa an hour | thresholds of table 9 of WeatherXM's OBC/SQC; that its upper limits are those of an hour is our choice |
/// | constancy | temperature 4 h, humidity and wind 6 h, pressure and daylight 2 h, temperature and wind 24 h in any weather | table 6 of the same |
/// | dew point | no higher than the temperature, by a degree of error | physics; the degree is our choice |
/// | copies | what is alike within 0.04 Cel, 0.15 %RH and 0.04 m/s, window after window | our choice: less than three sensors side by side differed |
/// | neighbours | temperature within 4 Cel, humidity within 20 %RH | our choice: two badly sited stations |
/// | density | 10 stations in a cell of resolution 7 | WeatherXM |
/// | points | for every measurement, none for places | a place is needed to judge the others |
///
/// Constancy also takes twelve readings and, for less than a day, 32 bits of surprise in the station's own
/// stream, for a day that it is no habit; fog (95 %RH, for wind 85 %RH) excuses it.
///
/// ```
/// use std::time::Duration;
/// use depin_data::quality::presets;
///
/// let climate = presets::climate(Duration::from_secs(300));
/// let names: Vec<String> = climate.checks.iter().map(|check| check.name()).collect();
/// assert!(names.contains(&"bounds(\"temperature\" \"Cel\", -90..=60)".into()));
/// ```
pub fn climate(every: Duration) -> Preset {
    let mut preset = Preset::default();
    let main = [TEMPERATURE, WATER_TEMPERATURE, HUMIDITY, PRESSURE, WIND_SPEED];
    let measured = [DEW_POINT, WIND_DIRECTION, IRRADIANCE];
    preset.check(Only::new(main.into_iter().chain(measured)).beside(PLACE));
    preset.bounds(TEMPERATURE, -90, 60);
    preset.bounds(DEW_POINT, -90, 60);
    preset.bounds(WATER_TEMPERATURE, -5, 45);
    preset.bounds(HUMIDITY, -5, 105);
    preset.bounds(PRESSURE, 50_000, 109_000);
    preset.bounds(WIND_SPEED, -1, 115);
    preset.bounds(WIND_DIRECTION, -5, 365);
    preset.bounds(IRRADIANCE, SUNLIGHT.0, SUNLIGHT.1);
    let steps =
        [(TEMPERATURE, 3, 15), (HUMIDITY, 10, 80), (WIND_SPEED, 10, 15), (PRESSURE, 80, 1_500)];
    for (of, minute, hour) in steps {
        preset.jump(of, Decimal::from(minute), MINUTE);
        preset.jump(of, Decimal::from(hour), HOUR);
    }
    constancy(&mut preset);
    preset.check(
        Relation::new(DEW_POINT, TEMPERATURE, every).at_most(Decimal::from(1), Decimal::from(1)),
    );
    preset.regular(every, &main, &measured, identity);
    // Air pressure and daylight are the same for all around, and so is water of one depth.
    let local = [(TEMPERATURE, 4), (HUMIDITY, 15), (WIND_SPEED, 4)]
        .map(|(of, hundredths)| (of.0, of.1, share(Decimal::from(hundredths), 1)));
    preset.fleet(Alike::new(local, every).whole_moments());
    for of in local {
        preset.fleet(Alike::new([of], every));
    }
    #[cfg(feature = "geo")]
    {
        let slot = every.max(15 * MINUTE);
        preset.fleet(Density::new(7, 10));
        for (of, tolerance) in [(TEMPERATURE, 4), (HUMIDITY, 20)] {
            preset.fleet(Neighbours::new(of.0, of.1, Decimal::from(tolerance), slot, 7, 1));
        }
        for of in [TEMPERATURE, IRRADIANCE] {
            preset.fleet(Skew::new(of.0, of.1, slot, 12, 7, 1));
        }
    }
    preset
}

/// Constancy of weather, after WeatherXM.
fn constancy(preset: &mut Preset) {
    let from = |percent: i32| Decimal::from(percent)..=Decimal::from(105);
    let stuck = |of: Of, duration: Duration| {
        Stuck::new(of.0, of.1, 12, duration).whole_run().surprising(Repeat::BITS / 2)
    };
    let fog = |check: Stuck, percent| check.excused_when(HUMIDITY.0, HUMIDITY.1, from(percent));
    preset.check(fog(stuck(TEMPERATURE, 4 * HOUR), 95));
    preset.check(stuck(HUMIDITY, 6 * HOUR).excused(from(95)));
    preset.check(fog(stuck(WIND_SPEED, 6 * HOUR), 85));
    for of in [TEMPERATURE, WIND_SPEED] {
        preset.check(Stuck::new(of.0, of.1, 12, DAY).whole_run().unless_habitual());
    }
    preset.check(stuck(PRESSURE, 2 * HOUR));
    let night = Decimal::from(SUNLIGHT.0)..=Decimal::from(1);
    preset.check(stuck(IRRADIANCE, 2 * HOUR).excused(night));
}

/// A photovoltaic system of `rated` watts that measures once in every interval `every`.
///
/// | what | limit | source |
/// |---|---|---|
/// | alternating power | -5 to 125 % of the rating | our choice: inverters clip at their rating, and draw a little at night |
/// | direct power | -5 to 150 % of the rating | our choice: more panels than the inverter can take |
/// | alternating against direct | at most all of it, by 2 % of the rating | conservation of energy; the error is our choice |
/// | | at least 85 % of it, less 2 % of the rating | our choice; inverters exceed 95 % under most conditions (Sandia on the CEC's tests) |
/// | against the sun | no more than 150 % of what the irradiance yields under test conditions (1000 W/m2), and 5 % | our choice: oversizing and cold panels |
/// | irradiance | -30..2221 W/m2 | as of [`climate`] |
/// | module temperature | -50..110 Cel | our choice |
/// | lone values | 30 % of the rating away from both neighbours | our choice: clouds come in crowds |
/// | constancy | 2 h of power, except at night and where the inverter clips | as daylight of WeatherXM, table 6 |
/// | copies | two systems differ by 0.4 % of what they show | our choice: less than meters of class 0.5 err |
/// | points | for every measurement, none for places | a place is needed to judge the others |
///
/// ```
/// use std::time::Duration;
/// use depin_core::Decimal;
/// use depin_data::quality::presets;
///
/// let energy = presets::energy(Duration::from_secs(900), Decimal::from(6_000));
/// let names: Vec<String> = energy.checks.iter().map(|check| check.name()).collect();
/// assert!(names.contains(&"bounds(\"ac_power\" \"W\", -300..=7500)".into()));
/// ```
pub fn energy(every: Duration, rated: Decimal) -> Preset {
    let mut preset = Preset::default();
    let percent = |percent: i64| share(rated, percent);
    let measured = [AC_POWER, DC_POWER, IRRADIANCE, TEMPERATURE, MODULE_TEMPERATURE];
    preset.check(Only::new(measured).beside(PLACE));
    preset.check(Bounds::new(AC_POWER.0, AC_POWER.1, percent(-5)..=percent(125)));
    preset.check(Bounds::new(DC_POWER.0, DC_POWER.1, percent(-5)..=percent(150)));
    preset.bounds(IRRADIANCE, SUNLIGHT.0, SUNLIGHT.1);
    preset.bounds(TEMPERATURE, -90, 60);
    preset.bounds(MODULE_TEMPERATURE, -50, 110);
    let one = Decimal::from(1);
    preset.check(
        Relation::new(AC_POWER, DC_POWER, every / 4)
            .at_most(one, percent(2))
            .at_least(share(one, 85), percent(-2)),
    );
    // A thousandth of 150 % of the rating for each W/m2.
    let sun = Decimal::new(rated.mantissa(), rated.exponent().saturating_sub(5)).unwrap_or(rated);
    let sun = share(sun, 15_000);
    for power in [AC_POWER, DC_POWER] {
        preset.check(Relation::new(power, IRRADIANCE, every / 4).at_most(sun, percent(5)));
    }
    let (night, clipping): (RangeInclusive<Decimal>, _) =
        (percent(-5)..=percent(1), percent(95)..=percent(125));
    for (name, unit) in [AC_POWER, DC_POWER] {
        preset.check(Spike::new(name, unit, percent(30), every * 2));
        let stuck = Stuck::new(name, unit, 8, 2 * HOUR).whole_run().surprising(Repeat::BITS / 2);
        preset.check(stuck.excused(night.clone()).excused(clipping.clone()));
    }
    let measured = [IRRADIANCE, MODULE_TEMPERATURE];
    preset.regular(every, &[AC_POWER, DC_POWER], &measured, Copied::metered);
    #[cfg(feature = "geo")]
    {
        let slot = every.max(15 * MINUTE);
        preset.fleet(Skew::new(IRRADIANCE.0, IRRADIANCE.1, slot, 12, 7, 1));
    }
    preset
}

/// Any sensor, for the given quantities of which nothing is known, that measures once in every interval
/// `every` or more seldom at an interval of its own: carbon dioxide, dust, water level, soil, counters.
///
/// | what | limit | source |
/// |---|---|---|
/// | constancy | 6 h and 32 bits of surprise in the sensor's own stream; zero may last, and so may what never falls | our choice |
/// | cadence, copies, repetitions | as in the other presets | |
/// | points | for every measurement, none for places | a place is needed to judge the others |
///
/// What values are possible and how fast they change only the network knows: add [`Bounds`], [`Jump`], [`Spike`]
/// and [`Relation`].
///
/// ```
/// use std::time::Duration;
/// use depin_data::quality::presets;
///
/// let sensor = presets::sensor(Duration::from_secs(60), &[("co2", "ppm")]);
/// let names: Vec<String> = sensor.checks.iter().map(|check| check.name()).collect();
/// assert!(names.contains(&"clock(every 60000ms or slower within 7500ms)".into()));
/// ```
pub fn sensor(every: Duration, quantities: &[(&str, &str)]) -> Preset {
    let mut preset = Preset::default();
    preset.check(Only::new(quantities.iter().copied()).beside(PLACE));
    let zero = Decimal::default()..=Decimal::default();
    for (name, unit) in quantities {
        let stuck = Stuck::new(name, unit, 12, 6 * HOUR).whole_run().surprising(Repeat::BITS / 2);
        preset.check(stuck.excused(zero.clone()).unless_counting());
    }
    preset.regular(every, quantities, &[], identity);
    preset
}

/// A receiver that moves by at most `speed` metres a second: 70 for cars on any road.
///
/// | what | limit | source |
/// |---|---|---|
/// | travel | `speed`, and 50 m that receivers err; nothing of a track of which half is impossible | multipath in streets |
/// | reported speed | 0 to `speed` | |
/// | altitude | -500..9000 m | the Dead Sea and Everest |
/// | points | for fixes, none for speed, altitude and cells | what no other check can hold against the track |
///
/// ```
/// use depin_core::Decimal;
/// use depin_data::quality::presets;
///
/// let drive = presets::drive(Decimal::from(70));
/// let names: Vec<String> = drive.checks.iter().map(|check| check.name()).collect();
/// assert!(names.contains(&"travel(70m/s, slack 50m, all lost above 50%)".into()));
/// ```
pub fn drive(speed: Decimal) -> Preset {
    let mut preset = Preset::default();
    preset.check(Only::new([LATITUDE, LONGITUDE]).beside([ALTITUDE, SPEED, CELL]));
    preset.check(Travel::new(speed, Decimal::from(50)).all_or_nothing(50));
    preset.check(Bounds::new(SPEED.0, SPEED.1, Decimal::default()..=speed));
    preset.bounds(ALTITUDE, -500, 9_000);
    preset.check(Clock::forward());
    preset.check(Duplicate::same_moment());
    preset.unique_moments(&[LATITUDE, LONGITUDE], identity);
    preset
}

/// A percentage of a value, cut to what a decimal holds.
fn share(value: Decimal, percent: i64) -> Decimal {
    let product = i128::from(value.mantissa()) * i128::from(percent);
    let mantissa = product.clamp(i64::MIN.into(), i64::MAX.into());
    let exponent = value.exponent().saturating_sub(2);
    Decimal::new(i64::try_from(mantissa).unwrap_or(i64::MAX), exponent).unwrap_or_default()
}
