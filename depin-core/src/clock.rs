//! Time as an argument.
//!
//! Nothing in the SDK reads the wall clock on its own: whoever composes a network passes a [`Clock`], so
//! that replays, audits and tests see the time they mean.

#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicU64, Ordering};
use core::{fmt, time::Duration};

/// Milliseconds since the Unix epoch, UTC, leap seconds ignored as POSIX does.
///
/// ```
/// use depin_core::Timestamp;
///
/// let t = Timestamp::from_millis(1_640_995_500_000);
/// assert_eq!(t.to_string(), "2022-01-01T00:05:00.000Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch, saturating.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Parses a moment as RFC 3339 and XML Schema write it, from 1970 to 9999, with an offset from UTC.
    ///
    /// What is finer than a millisecond is cut off.
    ///
    /// ```
    /// use depin_core::Timestamp;
    ///
    /// let noon = Timestamp::parse("2024-02-29T12:00:00Z")?;
    /// assert_eq!(Timestamp::parse("2024-02-29T14:00:00.000+02:00")?, noon);
    /// assert!(Timestamp::parse("2023-02-29T12:00:00Z").is_err());
    /// # Ok::<(), depin_core::clock::NoTimestamp>(())
    /// ```
    ///
    /// # Errors
    /// [`NoTimestamp`] for other texts, days that no calendar has, and times without an offset.
    pub fn parse(text: &str) -> Result<Self, NoTimestamp> {
        parse_rfc3339(text).map(Self).ok_or(NoTimestamp)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Later by `duration`, saturating at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(duration)))
    }

    /// Earlier by `duration`, saturating at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(duration)))
    }

    /// Time passed since `earlier`, zero when that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_date(days);
        let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

/// Gregorian date of a day number, by counting in 400-year cycles that start on 1 March.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

/// The text is no moment of RFC 3339 between 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a moment is written like 2022-01-01T00:05:00Z, from 1970 to 9999, with its offset from utc"
)]
pub struct NoTimestamp;

impl From<NoTimestamp> for crate::Error {
    fn from(error: NoTimestamp) -> Self {
        Self::new(crate::ErrorKind::Malformed, alloc::format!("{error}")).source(error)
    }
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let (clock, offset) = time.split_at_checked(time.len().checked_sub(6)?)?;
            let minutes = i64::try_from(minutes_of(offset.get(1..)?)?).ok()?;
            match offset.as_bytes().first()? {
                b'+' => (clock, minutes),
                b'-' => (clock, -minutes),
                _ => return None,
            }
        }
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, digits)) => (clock, millis_of_fraction(digits)?),
        None => (clock, 0),
    };
    let (hours, seconds) = clock.split_at_checked(5)?;
    // A leap second is the first of the next minute, as POSIX counts.
    let second = digits(seconds.strip_prefix(':')?, 2).filter(|second| *second <= 60)?;
    let minutes = i64::try_from(day_number(date)? * 1_440 + minutes_of(hours)?).ok()?;
    let minutes = u64::try_from(minutes - offset).ok()?;
    Some((minutes * 60 + second) * 1_000 + fraction)
}

/// Minutes of `hh:mm`.
fn minutes_of(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn millis_of_fraction(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let three = text.bytes().chain(*b"000").take(3);
    all.then(|| three.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The day since 1970-01-01 of `yyyy-mm-dd`: the inverse of [`civil_date`].
fn day_number(text: &str) -> Option<u64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that start on 1 March, as there.
    let (year_of_march, shifted) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (cycle, year_of_cycle) = (year_of_march / 400, year_of_march % 400);
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    let number = (cycle * 146_097 + day_of_cycle).checked_sub(719_468)?;
    // Days that a month does not have would be days of the next.
    (civil_date(number) == (year, month, day)).then_some(number)
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let all = text.len() == count && text.bytes().all(|digit| digit.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

/// Tells the time.
///
/// # Contract
/// 1. `now` MUST NOT go backwards between two calls that see each other, unless the clock is documented
///    to follow a wall clock that can be set.
/// 2. `now` MUST NOT block.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The wall clock of the machine.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "std")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(millis_of(since.unwrap_or_default()))
    }
}

/// A clock that stands still until it is set: for replays of recorded data and for tests.
///
/// ```
/// use core::time::Duration;
/// use depin_core::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_secs(10));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), Timestamp::from_secs(15));
/// ```
///
/// Not on targets that have no 64-bit atomics.
#[cfg(target_has_atomic = "64")]
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

#[cfg(target_has_atomic = "64")]
impl ManualClock {
    /// A clock that shows `start`.
    pub const fn at(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.0))
    }

    /// Moves forward to `time`; a time in the past is ignored.
    pub fn set(&self, time: Timestamp) {
        self.0.fetch_max(time.0, Ordering::SeqCst);
    }

    /// Moves forward.
    pub fn advance(&self, duration: Duration) {
        let step = millis_of(duration);
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |t| Some(t.saturating_add(step)));
    }
}

#[cfg(target_has_atomic = "64")]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_across_leap_years_are_right() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_secs(secs).to_string(), text);
        }
    }

    #[test]
    fn moments_are_read_with_offset_and_fraction_and_nothing_else() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2000-02-29T00:00:00.5Z", 951_782_400_500),
            ("2000-02-29T00:00:00.123999+00:00", 951_782_400_123),
            ("2000-02-28T23:59:60Z", 951_782_400_000),
            ("2000-02-29T05:30:00+05:30", 951_782_400_000),
            ("2000-02-28T19:00:00-05:00", 951_782_400_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(Timestamp::parse(text), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "T",
            "TZ",
            "2000-02-30T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "2000-13-01T00:00:00Z",
            "2000-00-01T00:00:00Z",
            "2000-01-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "10000-01-01T00:00:00Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:60:00Z",
            "2000-01-01T00:00:61Z",
            "2000-01-01T00:00:00",
            "2000-01-01 00:00:00Z",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T00:00:00.1xZ",
            "2000-01-01T00:00:00+0100",
            "2000-01-01T00:00:00+24:00",
            "2000-1-01T00:00:00Z",
            "+200-01-01T00:00:00Z",
            "2000-01-01T00:00:00é00:00",
            "2000-01-01T00:00:00ZZ",
        ] {
            assert_eq!(Timestamp::parse(bad), Err(NoTimestamp), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn written_moments_are_read_as_they_were(millis in 0..253_402_300_800_000_u64) {
            let moment = Timestamp::from_millis(millis);
            proptest::prop_assert_eq!(Timestamp::parse(&moment.to_string()), Ok(moment));
        }

        #[test]
        fn parsing_a_moment_never_panics(text in "[0-9TZ:.+-]{0,32}|\\PC{0,32}") {
            let _ = Timestamp::parse(&text);
        }
    }

    #[test]
    fn a_manual_clock_never_goes_back() {
        let clock = ManualClock::at(Timestamp::from_secs(10));
        clock.set(Timestamp::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(10));
    }
}
