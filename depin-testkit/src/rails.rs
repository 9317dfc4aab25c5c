//! Conformance of [`PaymentRail`] and [`Payer`].
//!
//! The suite needs a payer, a rail and what lies between them, usually contracts on a chain in the process: a
//! [`RailSetup`] makes them. Every assertion names its clause.

use std::{future::Future, sync::Arc};

use depin_core::{
    Address, Amount, B256, Bytes, ErrorKind, Result, keccak256,
    payment::{Accepted, Charge, Payer, Payment, PaymentRail, RailBalance, Settlement},
};

/// A payee that somebody pays, made afresh for every run of the suite.
///
/// The payer's limit and funds MUST be [`FUNDS`](Self::FUNDS) exactly, and available at the beginning.
pub trait RailSetup: Sync {
    /// What the payer can spend altogether.
    const FUNDS: u64 = 1_000;

    /// Who is paid.
    fn payee(&self) -> Address;

    /// The paying side; the same one for the life of the setup.
    fn payer(&self) -> &dyn Payer;

    /// A payer who signs for the same payee, but for something that the rail MUST NOT take: another contract,
    /// chain or token. One for each.
    fn strangers(&self) -> Vec<Arc<dyn Payer>>;

    /// A payer without the limit, who signs for more than there is.
    fn spendthrift(&self) -> Arc<dyn Payer>;

    /// The rail as a restart finds it. The suite has dropped the one before.
    fn rail(&self) -> Arc<dyn PaymentRail>;

    /// The paying side after a restart.
    fn restart_payer(&mut self);

    /// Other forms of a valid payment's signature that MUST NOT be taken: at least the one with high `s`.
    fn malleated(&self, payment: &Payment) -> Vec<Payment>;

    /// What the payee holds.
    fn held(&self) -> impl Future<Output = Amount> + Send;

    /// Whether money flows by time, so that more can arrive than was accepted.
    fn by_time(&self) -> bool {
        false
    }
}

/// Runs every clause.
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms(mut setup: impl RailSetup) {
    payer_conforms(&mut setup).await;
    let rail = setup.rail();
    let begins = rail.balance().await.expect("the rail answers");
    assert_eq!(begins, RailBalance::default(), "the suite needs a fresh rail");
    let none = rail.settle().await.expect("clause 6: settling nothing is fine");
    assert_eq!(none, Settlement::NothingDue, "clause 6: nothing is due at first");

    let suite = Suite { setup: &setup };
    suite.refusals_change_nothing(rail.as_ref()).await;
    suite.counts_once(rail.clone()).await;
    drop(rail);
    let rail = suite.survives_a_restart().await;
    suite.settles_once(rail.as_ref()).await;
    suite.is_covered(rail.as_ref()).await;
}

/// A charge with this number.
pub fn charge(payee: Address, number: u64, amount: u64) -> Charge {
    Charge { id: keccak256(number.to_be_bytes()), payee, amount: amount.into() }
}

async fn payer_conforms(setup: &mut impl RailSetup) {
    let payee = setup.payee();
    let first = charge(payee, 1, 10);
    let paid = setup.payer().pay(&first).await.expect("payer clause 1: a charge is paid");
    let again = setup.payer().pay(&first).await.expect("payer clause 1: again is fine");
    assert_eq!(paid, again, "payer clause 1: the same charge, the same payment");
    setup.restart_payer();
    let again = setup.payer().pay(&first).await.expect("payer clause 1: also after a restart");
    assert_eq!(paid, again, "payer clause 1: a restart forgets nothing");
    for other in [Charge { amount: 11.into(), ..first }, Charge { amount: 9.into(), ..first }] {
        let answer = kind(setup.payer().pay(&other).await);
        assert_eq!(answer, Some(ErrorKind::Conflict), "payer clause 2: one charge per id");
    }
    for amount in [Amount::from(1_000_000), Amount::MAX] {
        let greedy = Charge { amount, ..charge(payee, 2, 0) };
        let answer = setup.payer().pay(&greedy).await;
        assert!(answer.is_err(), "payer clause 3: what passes the limit is not signed");
    }
    let other = Charge { payee: Address::repeat_byte(0x66), ..charge(payee, 2, 1) };
    assert!(setup.payer().pay(&other).await.is_err(), "payer clause 4: another payee");
}

struct Suite<'a, S> {
    setup: &'a S,
}

impl<S: RailSetup> Suite<'_, S> {
    fn charge(&self, number: u64, amount: u64) -> Charge {
        charge(self.setup.payee(), number, amount)
    }

    async fn pay(&self, charge: &Charge) -> Payment {
        self.setup.payer().pay(charge).await.expect("the payer pays what it can")
    }

    /// Clauses 3, 4, 8, 9 and 10, on charge 1.
    async fn refusals_change_nothing(&self, rail: &dyn PaymentRail) {
        let asked = self.charge(1, 10);
        let good = self.pay(&asked).await;
        let refused = |charge: Charge, payment: Payment, clause: &'static str| async move {
            let answer = rail.accept(&charge, &payment).await;
            assert!(answer.is_err(), "{clause}, not {answer:?}");
            let balance = rail.balance().await.expect("the rail answers");
            assert_eq!(balance, RailBalance::default(), "clause 8: a refusal changes nothing");
        };
        let dearer = Charge { amount: 11.into(), ..asked };
        refused(dearer, good.clone(), "clause 3: a payment worth less is refused").await;
        let priceless = Charge { amount: Amount::MAX, ..asked };
        refused(priceless, good.clone(), "clause 10: amounts are not wrapped").await;
        let other = Charge { payee: Address::repeat_byte(0x66), ..asked };
        refused(other, good.clone(), "clause 4: a charge for another payee").await;
        let thief = Payment { payer: Address::repeat_byte(0x66), ..good.clone() };
        refused(asked, thief, "clause 9: the proof is that of its payer").await;
        for stranger in self.setup.strangers() {
            let payment = stranger.pay(&asked).await.expect("the stranger pays");
            refused(asked, payment, "clause 4: another contract, chain or token").await;
        }
        for payment in self.setup.malleated(&good) {
            refused(asked, payment, "clause 9: an altered signature").await;
        }
        for altered in altered(&good.proof) {
            let payment = Payment { payer: good.payer, proof: altered };
            refused(asked, payment, "clause 9: altered bytes").await;
        }
        let long = Payment { proof: vec![0; Payment::MAX_PROOF + 1].into(), ..good };
        refused(asked, long, "a proof that nobody wants to read").await;
    }

    /// Clauses 1 and 2, on charges 1 to 3.
    async fn counts_once(&self, rail: Arc<dyn PaymentRail>) {
        let first = self.charge(1, 10);
        let payment = self.pay(&first).await;
        let racers = (0..8).map(|_| {
            let (rail, payment) = (rail.clone(), payment.clone());
            tokio::spawn(async move { rail.accept(&first, &payment).await })
        });
        let racers: Vec<_> = racers.collect();
        let expected = Accepted { charge: first.id, payer: payment.payer, amount: first.amount };
        for racer in racers {
            let answer = racer.await.expect("no panic").expect("clause 2: the same answer");
            assert_eq!(answer, expected, "clause 2: the same answer for all");
        }
        self.accepted(rail.as_ref(), 10, "clause 2: it counts once").await;

        for (number, amount) in [(2, 10), (3, 5), (3, 0)] {
            let answer = rail.accept(&self.charge(number, amount), &payment).await;
            assert!(answer.is_err(), "clause 1: one payment, one charge; not {answer:?}");
        }
        let answer = rail.accept(&Charge { amount: 9.into(), ..first }, &payment).await;
        assert!(answer.is_err(), "clause 2: another charge under the same id");

        // Two payers of one lane, or one payer's two requests, in the wrong order.
        let (second, third) = (self.charge(2, 20), self.charge(3, 30));
        let (early, late) = (self.pay(&second).await, self.pay(&third).await);
        let answer = rail.accept(&first, &early).await;
        assert!(answer.is_err(), "clause 2: a charge is paid once");
        rail.accept(&third, &late).await.expect("a payment that came early is fine");
        rail.accept(&second, &early).await.expect("and so is the one before");
        self.accepted(rail.as_ref(), 60, "clause 2: each counts once").await;
    }

    /// Clause 5.
    async fn survives_a_restart(&self) -> Arc<dyn PaymentRail> {
        let rail = self.setup.rail();
        self.accepted(rail.as_ref(), 60, "clause 5: a restart forgets nothing").await;
        let first = self.charge(1, 10);
        let payment = self.pay(&first).await;
        rail.accept(&first, &payment).await.expect("clause 5: nor what was answered");
        let answer = rail.accept(&self.charge(4, 10), &payment).await;
        assert!(answer.is_err(), "clause 1: also after a restart");
        self.accepted(rail.as_ref(), 60, "clause 5: it counts once").await;
        rail
    }

    /// Clause 6.
    async fn settles_once(&self, rail: &dyn PaymentRail) {
        let before = self.setup.held().await;
        let settled = rail.settle().await.expect("clause 6: it settles");
        assert!(
            matches!(settled, Settlement::Settled { amount, .. } if amount == 60.into()),
            "clause 6: all that was accepted is settled, not {settled:?}"
        );
        let gained = self.setup.held().await.checked_sub(before).expect("nothing is lost");
        if self.setup.by_time() {
            assert!(gained >= 60.into(), "clause 6: at least what was accepted arrives");
        } else {
            assert_eq!(gained, 60.into(), "clause 6: exactly what was accepted arrives");
        }
        let balance = rail.balance().await.expect("the rail answers");
        assert_eq!(balance.due().expect("clause 6"), Amount::ZERO, "clause 6: nothing is left");
        assert_eq!(balance.settled, 60.into(), "clause 6: the books say so");
        let held = self.setup.held().await;
        let again = rail.settle().await.expect("clause 6: again is fine");
        assert_eq!(again, Settlement::NothingDue, "clause 6: nothing is paid twice");
        assert_eq!(self.setup.held().await, held, "clause 6: nothing is paid twice");
    }

    /// Clause 7: what is left is 940.
    async fn is_covered(&self, rail: &dyn PaymentRail) {
        let spendthrift = self.setup.spendthrift();
        let all = self.charge(5, S::FUNDS * 1_000_000);
        let payment = spendthrift.pay(&all).await.expect("the spendthrift signs anything");
        let answer = rail.accept(&all, &payment).await;
        assert_eq!(kind(answer), Some(ErrorKind::Rejected), "clause 7: funds do not reach");
        self.accepted(rail, 60, "clause 8: a refusal changes nothing").await;
        let rest = self.charge(6, S::FUNDS - 60);
        let payment = self.pay(&rest).await;
        rail.accept(&rest, &payment).await.expect("clause 7: funds reach exactly");
        self.accepted(rail, S::FUNDS, "clause 7: all funds are used").await;
        let settled = rail.settle().await.expect("clause 6: it settles again");
        // What flows by time may be there already.
        let moved = matches!(settled, Settlement::Settled { amount, .. } if amount == (S::FUNDS - 60).into());
        assert!(moved || self.setup.by_time(), "clause 6: what came since is settled");
        let balance = rail.balance().await.expect("the rail answers");
        assert_eq!(balance.settled, S::FUNDS.into(), "clause 6: all is settled");
    }

    async fn accepted(&self, rail: &dyn PaymentRail, expected: u64, clause: &str) {
        let balance = rail.balance().await.expect("the rail answers");
        assert_eq!(balance.accepted, expected.into(), "{clause}");
    }
}

/// The proof with each of some bytes flipped, cut, and grown.
fn altered(proof: &Bytes) -> Vec<Bytes> {
    let flipped = (0..proof.len()).step_by(7).chain(proof.len().checked_sub(1)).map(|at| {
        let mut bytes = proof.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    });
    let cut = [0, 1, proof.len() / 2, proof.len() - 1].map(|len| proof.slice(..len));
    let grown = Bytes::from([proof.as_ref(), &[0]].concat());
    flipped.chain(cut).chain([grown]).collect()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The other form of a signature `r || s || v` that the curve takes as well: `s` replaced by the order less `s`.
pub fn with_high_s(signature: &[u8; 65]) -> [u8; 65] {
    let mut high = *signature;
    let s = depin_core::U256::from_be_slice(&signature[32..64]);
    let order = depin_core::U256::from_be_slice(&SECP256K1_ORDER.0);
    high[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    high[64] = 55 - high[64];
    high
}

/// Order of secp256k1's group (SEC 2).
const SECP256K1_ORDER: B256 =
    depin_core::b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
