//! The time blocks carry.

use crate::error::Error;

/// Where block timestamps come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The system's clock plus what `increase_time` added; at least one second after the parent.
    #[default]
    System,
    /// One second after the parent plus what `increase_time` added since. The same transactions
    /// then give the same block hashes, on every machine.
    Manual,
}

/// State of the chain's clock. Times are seconds since the Unix epoch; `now` is the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    pub(crate) clock: Clock,
    /// System clock: distance of the chain's time from the system's.
    pub(crate) offset: i64,
    /// Manual clock: seconds to add to the next block.
    pub(crate) leap: u64,
    /// Exact time of the next block.
    pub(crate) exact: Option<u64>,
}

impl Timeline {
    pub(crate) fn starting_at(clock: Clock, genesis: u64, now: u64) -> Self {
        Self { clock, offset: distance(genesis, now), leap: 0, exact: None }
    }

    /// The time of the block that would be mined now.
    pub(crate) fn next(&self, parent: u64, now: u64) -> u64 {
        let earliest = parent.saturating_add(1);
        match (self.exact, self.clock) {
            (Some(exact), _) => exact.max(earliest),
            (None, Clock::Manual) => earliest.saturating_add(self.leap),
            (None, Clock::System) => now.saturating_add_signed(self.offset).max(earliest),
        }
    }

    /// Notes that a block with this time was mined.
    pub(crate) fn mined(&mut self, timestamp: u64, now: u64) {
        if self.exact.take().is_some() {
            self.offset = distance(timestamp, now);
        }
        self.leap = 0;
    }

    /// Moves time forward and answers by how much it has been moved in total.
    pub(crate) fn increase(&mut self, seconds: u64) -> Result<u64, Error> {
        let too_far = || Error::invalid("time cannot move that far, use fewer seconds");
        if seconds > FARTHEST {
            return Err(too_far());
        }
        match self.clock {
            Clock::Manual => {
                self.leap = self
                    .leap
                    .checked_add(seconds)
                    .filter(|leap| *leap <= FARTHEST)
                    .ok_or_else(too_far)?;
                Ok(self.leap)
            }
            Clock::System => {
                let offset = self.offset.checked_add_unsigned(seconds);
                self.offset =
                    offset.filter(|o| o.unsigned_abs() <= FARTHEST).ok_or_else(too_far)?;
                Ok(u64::try_from(self.offset).unwrap_or_default())
            }
        }
    }

    /// Fixes the time of the next block.
    pub(crate) fn set_next(&mut self, timestamp: u64, parent: u64) -> Result<(), Error> {
        if timestamp <= parent || timestamp > FARTHEST {
            return Err(Error::invalid(format!(
                "timestamp {timestamp} must be after the latest block's {parent}"
            )));
        }
        self.exact = Some(timestamp);
        Ok(())
    }
}

fn distance(to: u64, from: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or_default()
}

/// Thirty thousand years: beyond every use and far from overflow.
const FARTHEST: u64 = 1 << 40;
