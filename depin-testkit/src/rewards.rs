//! Conformance of [`RewardPolicy`].

use depin_core::{
    Address, Amount, Did, EpochId, Error, Unverified, Verified, Verifier,
    quality::{Contribution, Contributions},
    reward::{Allocation, RewardPolicy},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Runs every clause of the contract, over a few hundred epochs of made-up work.
///
/// # Panics
/// When a clause does not hold.
pub fn conforms(policy: &dyn RewardPolicy) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut epochs = vec![Vec::new(), vec![0], vec![0, 0, 0], vec![1], vec![u64::MAX; 3]];
    epochs.extend((0..200).map(|_| {
        let (count, bits) = (rng.gen_range(1..40), rng.gen_range(1..=64));
        (0..count).map(|_| rng.r#gen::<u64>() >> (64 - bits)).collect()
    }));
    for (number, scores) in (0..).zip(epochs) {
        one_epoch(policy, EpochId::new(number), &scores);
    }
}

fn one_epoch(policy: &dyn RewardPolicy, epoch: EpochId, scores: &[u64]) {
    let work = work(epoch, scores);
    let allocation = policy.allocate(&work).expect("clause 3: ordinary work fits");
    adds_up(&allocation, &work);
    let pool = policy.pool(epoch).expect("clause 6: the pool of an epoch is known");
    let within = pool.is_none_or(|pool| allocation.emission <= pool);
    assert!(within, "clause 6: no more is emitted than the pool");
    let again = policy.allocate(&work).expect("clause 2: the same work is decided again");
    assert_eq!(allocation, again, "clause 2: the same work gives the same payouts");
}

fn adds_up(allocation: &Allocation, work: &Contributions) {
    let paid = Amount::sum(allocation.payouts.iter().map(|payout| payout.amount));
    assert_eq!(paid.ok(), Some(allocation.emission), "clause 1: payouts sum to the emission");
    assert_eq!(allocation.epoch, work.epoch, "clause 2: the epoch is that of the work");
    let ordered = allocation.payouts.windows(2).all(|pair| pair[0].device < pair[1].device);
    assert!(ordered, "clause 4: payouts are ordered by did, one for each");
    for payout in &allocation.payouts {
        assert!(!payout.amount.is_zero(), "clause 4: no payout is zero");
        let entry = work.entries.iter().find(|entry| entry.device == payout.device);
        let entry = entry.expect("clause 2: only devices that worked are paid");
        assert_eq!(
            entry.beneficiary, payout.beneficiary,
            "clause 2: the beneficiary is the device's"
        );
    }
}

fn work(epoch: EpochId, scores: &[u64]) -> Verified<Contributions> {
    let entry = |(number, score): (u64, &u64)| Contribution {
        device: Did::parse(&format!("did:example:{number:06}")).expect("a valid did"),
        beneficiary: Address::left_padding_from(&(number / 2 + 1).to_be_bytes()),
        readings: *score,
        score: *score,
    };
    let entries = (0..).zip(scores).map(entry).collect();
    let believed = Unverified::new(Contributions { epoch, entries }).verify(&Believe);
    believed.expect("everything is believed here")
}

/// Believes made-up work, as only a suite may.
struct Believe;

impl Verifier<Contributions> for Believe {
    type Output = Contributions;
    type Error = Error;

    fn check(&self, candidate: &Contributions) -> Result<Contributions, Error> {
        Ok(candidate.clone())
    }
}

#[cfg(test)]
mod tests {
    use depin_core::reward::Payout;

    use super::*;

    /// Pays every point one unit, or breaks a clause.
    #[derive(Debug)]
    struct PerPoint {
        dust: u64,
        pool: Option<Amount>,
    }

    impl RewardPolicy for PerPoint {
        fn name(&self) -> String {
            format!("per-point({})", self.dust)
        }

        fn allocate(&self, work: &Verified<Contributions>) -> Result<Allocation, Error> {
            let payouts = work.entries.iter().filter(|entry| entry.score > 0).map(|entry| Payout {
                device: entry.device.clone(),
                beneficiary: entry.beneficiary,
                amount: entry.score.into(),
            });
            let payouts: Vec<Payout> = payouts.collect();
            let paid = Amount::sum(payouts.iter().map(|payout| payout.amount))?;
            Ok(Allocation {
                epoch: work.epoch,
                emission: paid.checked_add(self.dust.into())?,
                unallocated: Amount::ZERO,
                payouts,
            })
        }

        fn pool(&self, _: EpochId) -> Result<Option<Amount>, Error> {
            Ok(self.pool)
        }
    }

    #[test]
    fn a_policy_that_adds_up_conforms() {
        conforms(&PerPoint { dust: 0, pool: None });
    }

    #[test]
    #[should_panic(expected = "clause 1")]
    fn a_policy_that_loses_dust_does_not() {
        conforms(&PerPoint { dust: 1, pool: None });
    }

    #[test]
    #[should_panic(expected = "clause 6")]
    fn a_policy_that_gives_more_than_its_pool_does_not() {
        conforms(&PerPoint { dust: 0, pool: Some(Amount::ZERO) });
    }
}
