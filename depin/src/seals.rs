//! Where in the log each epoch is sealed.
//!
//! A log has a row of places, each of which is written once. Epochs take them in order. A
//! [withdrawal](depin_data::epoch::Withdrawal) takes the next place too, and the epochs from the withdrawn one on begin
//! anew in the place after it. So the row is made of runs of epochs, and an epoch counts as the last run has it that
//! reaches back to it.

use depin_core::EpochId;

/// Places of epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seals(Vec<Run>);

/// Epochs one after the other, from a place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    place: u64,
    epoch: u64,
}

/// What every log begins with.
const FIRST: Run = Run { place: 0, epoch: 0 };

impl Run {
    /// The place of an epoch that is not before the run.
    const fn place_of(self, epoch: EpochId) -> EpochId {
        EpochId::new(self.place.saturating_add(epoch.value().saturating_sub(self.epoch)))
    }
}

impl Seals {
    /// The place of an epoch, or where it will be sealed.
    pub(crate) fn place(&self, epoch: EpochId) -> EpochId {
        let run = self.0.iter().rev().find(|run| run.epoch <= epoch.value());
        run.unwrap_or(&FIRST).place_of(epoch)
    }

    /// Takes note that in this place epochs from `epoch` on are withdrawn.
    pub(crate) fn withdraw(&mut self, epoch: EpochId, place: EpochId) {
        self.0.push(Run { place: place.value().saturating_add(1), epoch: epoch.value() });
    }

    /// The places where an epoch was sealed and is withdrawn, the latest first.
    pub(crate) fn withdrawn(&self, epoch: EpochId) -> Vec<EpochId> {
        let runs: Vec<Run> = std::iter::once(FIRST).chain(self.0.iter().copied()).collect();
        let places = runs.windows(2).rev().filter_map(|pair| {
            let [run, next] = pair else { return None };
            let place = run.place_of(epoch);
            // The withdrawal is right before the next run.
            let held = run.epoch <= epoch.value() && place.value().saturating_add(1) < next.place;
            (held && place != self.place(epoch)).then_some(place)
        });
        places.collect()
    }

    /// Place and first epoch of each run that a withdrawal began.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = [u64; 2]> {
        self.0.iter().map(|run| [run.place, run.epoch])
    }

    /// From what [`runs`](Self::runs) gave.
    pub(crate) fn from_runs(runs: impl Iterator<Item = [u64; 2]>) -> Self {
        Self(runs.map(|[place, epoch]| Run { place, epoch }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a row of seals, written down as what each place holds.
    #[test]
    fn places_are_those_of_a_row_that_is_read_from_its_beginning() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let mut seals = Seals::default();
            // What counts now, by epoch; and all that ever was, by place.
            let (mut counts, mut ever) = (Vec::<u64>::new(), Vec::<Option<u64>>::new());
            for _ in 0..40 {
                let place = ever.len() as u64;
                if counts.is_empty() || random(4) > 0 {
                    let next = EpochId::new(counts.len() as u64);
                    assert_eq!(seals.place(next).value(), place);
                    ever.push(Some(next.value()));
                    counts.push(place);
                } else {
                    let epoch = random(counts.len() as u64);
                    seals.withdraw(EpochId::new(epoch), EpochId::new(place));
                    ever.push(None);
                    counts.truncate(usize::try_from(epoch).unwrap());
                }
                for (epoch, place) in (0..).zip(&counts) {
                    assert_eq!(seals.place(EpochId::new(epoch)).value(), *place);
                }
                for epoch in 0..=counts.len() as u64 {
                    let current = seals.place(EpochId::new(epoch)).value();
                    let held = (0..).zip(&ever).filter(|(_, it)| **it == Some(epoch));
                    let mut gone: Vec<u64> =
                        held.map(|(place, _)| place).filter(|place| *place != current).collect();
                    gone.reverse();
                    let found: Vec<u64> =
                        seals.withdrawn(EpochId::new(epoch)).iter().map(|it| it.value()).collect();
                    assert_eq!(found, gone);
                }
            }
            assert_eq!(Seals::from_runs(seals.runs()), seals);
        }
    }
}
