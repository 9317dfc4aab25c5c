//! Lists of checks for kinds of networks, with the sources of their limits.
//!
//! Limits are physical or the makers', not fitted to data. The names of the checks stand in each epoch's
//! manifest, so for the same arguments a preset never changes; what a network knows better (its sensors'
//! ranges, its devices' speed) it adds as further checks.
//!
//! Without the feature `geo` the fleet checks that need a place are missing, and the manifest shows it.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use depin_core::{
    Decimal,
    quality::{FleetCheck, QualityCheck},
};

use super::{
    Bounds, Clock, Copied, Duplicate, Gap, Jump, Only, Relation, Repeat, Spike, Stuck, Travel,
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

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const TEMPERATURE: Of = ("temperature", "Cel");
const DEW_POINT: Of = ("dew_point", "Cel");
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

/// Horizontal irradiance that is physically possible: the BSRN's limits (Long and Dutton, 2002), with the
/// sun at the zenith in January.
const SUNLIGHT: (i32, i32) = (-4, 2_221);

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

    /// What every regular series has: a cadence, silence tolerated for five intervals, two readings an
    /// interval at most, and no repetitions.
    fn regular(&mut self, every: Duration, main: &[Of], more: &[Of]) {
        self.check(Clock::every(every, every / 8));
        self.check(Duplicate::within(every / 2));
        for (name, unit) in main {
            self.check(Gap::new(name, unit, every, 5));
        }
        for quantity in main {
            self.unique(&[*quantity]);
        }
        self.unique(&[main, more].concat());
    }

    /// Together neither repeated nor copied.
    fn unique(&mut self, quantities: &[Of]) {
        self.check(Repeat::new(quantities.iter().copied()));
        self.fleet(Copied::new(quantities.iter().copied()));
    }
}

/// A weather station that measures once in every interval `every`.
///
/// | what | limit | source |
/// |---|---|---|
/// | ranges | temperature -80..60 Cel, humidity 0..100 %RH, pressure 50..108 kPa, wind 0..75 m/s | WMO-No. 8, annex 1.A |
/// | irradiance | -4..2221 W/m2 | BSRN, physically possible |
/// | jumps | 3 Cel, 10 %RH, 10 m/s, 80 Pa a minute; 15 Cel, 80 %RH, 15 m/s, 1500 Pa an hour | WeatherXM, table 9 |
/// | constancy | temperature 4 h, humidity and wind 6 h, pressure and daylight 2 h, temperature and wind 24 h in any weather | WeatherXM, table 6 |
/// | dew point | no higher than the temperature, by a degree of error | physics |
/// | neighbours | temperature within 4 Cel, humidity within 20 %RH | two stations' errors of siting class 4 and 5, WMO-No. 8, annex 1.D |
/// | density | 10 stations in a cell of resolution 7 | WeatherXM |
///
/// Constancy also takes twelve readings and, for less than a day, 32 bits of surprise in the station's own
/// stream; fog (95 %RH, for wind 85 %RH) excuses it.
///
/// ```
/// use std::time::Duration;
/// use depin_data::quality::presets;
///
/// let climate = presets::climate(Duration::from_secs(300));
/// let names: Vec<String> = climate.checks.iter().map(|check| check.name()).collect();
/// assert!(names.contains(&"bounds(\"temperature\" \"Cel\", -80..=60)".into()));
/// ```
pub fn climate(every: Duration) -> Preset {
    let mut preset = Preset::default();
    let main = [TEMPERATURE, HUMIDITY, PRESSURE, WIND_SPEED];
    let more = [DEW_POINT, WIND_DIRECTION, IRRADIANCE, LATITUDE, LONGITUDE, CELL];
    preset.check(Only::new(main.into_iter().chain(more)));
    preset.bounds(TEMPERATURE, -80, 60);
    preset.bounds(DEW_POINT, -80, 60);
    preset.bounds(HUMIDITY, 0, 100);
    preset.bounds(PRESSURE, 50_000, 108_000);
    preset.bounds(WIND_SPEED, 0, 75);
    preset.bounds(WIND_DIRECTION, 0, 360);
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
    let measured = [DEW_POINT, WIND_DIRECTION, IRRADIANCE];
    preset.regular(every, &main, &measured);
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
    let from = |percent: i32| Decimal::from(percent)..=Decimal::from(100);
    let stuck = |of: Of, duration: Duration| {
        Stuck::new(of.0, of.1, 12, duration).whole_run().surprising(Repeat::BITS / 2)
    };
    let fog = |check: Stuck, percent| check.excused_when(HUMIDITY.0, HUMIDITY.1, from(percent));
    preset.check(fog(stuck(TEMPERATURE, 4 * HOUR), 95));
    preset.check(fog(stuck(HUMIDITY, 6 * HOUR), 95));
    preset.check(fog(stuck(WIND_SPEED, 6 * HOUR), 85));
    for of in [TEMPERATURE, WIND_SPEED] {
        preset.check(Stuck::new(of.0, of.1, 12, DAY).whole_run());
    }
    preset.check(stuck(PRESSURE, 2 * HOUR));
    let night = Decimal::from(SUNLIGHT.0)..=Decimal::from(1);
    preset.check(stuck(IRRADIANCE, 2 * HOUR).excused(night));
}

/// A photovoltaic system of `rated` watts that measures once in every interval `every`.
///
/// | what | limit | source |
/// |---|---|---|
/// | alternating power | -5 to 125 % of the rating | inverters clip; overload of IEC 61683's test points |
/// | direct power | -5 to 150 % of the rating | usual oversizing of panels |
/// | alternating against direct | at most all of it, at least 85 % of it, by 2 % of the rating | conservation of energy; inverters reach 85 % from a tenth of their rating on |
/// | against the sun | no more than 150 % of what the irradiance yields under test conditions, and 5 % | IEC 60904-3's 1000 W/m2; oversizing |
/// | irradiance | -4..2221 W/m2 | BSRN |
/// | module temperature | -50..110 Cel | IEC 61215's cycles, with a margin |
/// | lone values | 30 % of the rating away from both neighbours | clouds last longer than a reading |
/// | constancy | 2 h of power, except at night and where the inverter clips | as daylight of WeatherXM, table 6 |
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
    let more = [IRRADIANCE, TEMPERATURE, MODULE_TEMPERATURE, LATITUDE, LONGITUDE, CELL];
    preset.check(Only::new([AC_POWER, DC_POWER].into_iter().chain(more)));
    preset.check(Bounds::new(AC_POWER.0, AC_POWER.1, percent(-5)..=percent(125)));
    preset.check(Bounds::new(DC_POWER.0, DC_POWER.1, percent(-5)..=percent(150)));
    preset.bounds(IRRADIANCE, SUNLIGHT.0, SUNLIGHT.1);
    preset.bounds(TEMPERATURE, -80, 60);
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
    preset.regular(every, &[AC_POWER, DC_POWER], &[IRRADIANCE, MODULE_TEMPERATURE]);
    #[cfg(feature = "geo")]
    {
        let slot = every.max(15 * MINUTE);
        preset.fleet(Skew::new(IRRADIANCE.0, IRRADIANCE.1, slot, 12, 7, 1));
    }
    preset
}

/// A receiver that moves by at most `speed` metres a second: 70 for cars on any road.
///
/// | what | limit | source |
/// |---|---|---|
/// | travel | `speed`, and 50 m that receivers err; nothing of a track of which half is impossible | multipath in streets |
/// | reported speed | 0 to `speed` | |
/// | altitude | -500..9000 m | the Dead Sea and Everest |
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
    preset.check(Only::new([LATITUDE, LONGITUDE, ALTITUDE, SPEED, CELL]));
    preset.check(Travel::new(speed, Decimal::from(50)).all_or_nothing(50));
    preset.check(Bounds::new(SPEED.0, SPEED.1, Decimal::default()..=speed));
    preset.bounds(ALTITUDE, -500, 9_000);
    preset.check(Clock::forward());
    preset.check(Duplicate::same_moment());
    preset.unique(&[LATITUDE, LONGITUDE]);
    preset
}

/// A percentage of a value, cut to what a decimal holds.
fn share(value: Decimal, percent: i64) -> Decimal {
    let product = i128::from(value.mantissa()) * i128::from(percent);
    let mantissa = product.clamp(i64::MIN.into(), i64::MAX.into());
    let exponent = value.exponent().saturating_sub(2);
    Decimal::new(i64::try_from(mantissa).unwrap_or(i64::MAX), exponent).unwrap_or_default()
}
