//! Conformance of [`Clock`].

use depin_core::Clock;

/// Runs the clause that can be seen from outside. Not for clocks that follow a wall clock while somebody
/// sets it.
///
/// # Panics
/// When a clause does not hold.
pub fn conforms(clock: &dyn Clock) {
    let mut latest = clock.now();
    for _ in 0..10_000 {
        let now = clock.now();
        assert!(now >= latest, "clause 1: time went from {latest} back to {now}");
        latest = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use depin_core::{ManualClock, SystemClock, Timestamp};

    use super::*;

    #[test]
    fn the_system_and_the_manual_clock_conform() {
        conforms(&SystemClock);
        let clock = ManualClock::at(Timestamp::from_secs(5));
        conforms(&clock);
        clock.set(Timestamp::from_secs(4));
        conforms(&clock);
    }

    #[derive(Debug)]
    struct Backwards(AtomicU64);

    impl Clock for Backwards {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.fetch_sub(1, Ordering::Relaxed))
        }
    }

    #[test]
    #[should_panic(expected = "clause 1")]
    fn a_clock_that_goes_backwards_is_caught() {
        conforms(&Backwards(AtomicU64::new(1_000_000)));
    }
}
