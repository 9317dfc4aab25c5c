//! The seam for paying per piece of service.
//!
//! A [`Charge`] is one piece of service with its price, a [`Payment`] is what a payer hands over for it, and a
//! [`PaymentRail`] is how the payee makes sure of it before serving and gets the money later. Voucher channels,
//! x402, streams and escrow all fit: they differ in what a payment's proof is and in what stands behind it.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use alloy_primitives::{Address, B256, Bytes};
use async_trait::async_trait;

use crate::{Amount, Error, ErrorKind, Result};

/// One piece of service with its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Charge {
    /// Chosen by the payee, another one for every piece of service: what makes asking twice harmless.
    pub id: B256,
    /// Who is paid.
    pub payee: Address,
    /// The price in base units of the rail's token.
    pub amount: Amount,
}

/// What a payer hands over for a charge. Only its rail can read the proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payment {
    /// Who says to pay. Nothing is taken from an account because it is named here: the proof decides.
    pub payer: Address,
    /// What proves it, in the format of the rail.
    pub proof: Bytes,
}

impl Payment {
    /// Longest proof in bytes that any rail reads.
    pub const MAX_PROOF: usize = 64 * 1024;

    /// Refuses a proof that is too long to be read.
    ///
    /// ```
    /// use depin_core::{Address, payment::Payment};
    ///
    /// let payment = |len| Payment { payer: Address::ZERO, proof: vec![0; len].into() };
    /// assert!(payment(Payment::MAX_PROOF).bounded().is_ok());
    /// assert!(payment(Payment::MAX_PROOF + 1).bounded().is_err());
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`MAX_PROOF`](Self::MAX_PROOF).
    pub fn bounded(&self) -> Result<&Self> {
        if self.proof.len() <= Self::MAX_PROOF {
            return Ok(self);
        }
        let text = "the proof of the payment is longer than 64 KiB; send what the rail asks for";
        Err(Error::new(ErrorKind::Limit, text).with("bytes", self.proof.len()))
    }
}

/// The answer to a payment that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    /// The charge that is paid now.
    pub charge: B256,
    /// Whose money it is.
    pub payer: Address,
    /// What was paid for the charge: its price.
    pub amount: Amount,
}

/// What became of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "money has moved, is under way, or none is due")]
pub enum Settlement {
    /// All that was accepted has reached the payee before, but for what the rail leaves by its rules.
    NothingDue,
    /// Transactions are sent and nobody knows yet whether they will count: settle again to learn it. That pays
    /// nothing twice.
    Pending {
        /// What is under way.
        amount: Amount,
    },
    /// It has reached the payee.
    Settled {
        /// How much of what was accepted.
        amount: Amount,
        /// The transactions that moved it; empty when somebody else's did.
        transactions: Vec<B256>,
    },
}

/// The books of a rail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RailBalance {
    /// All that was ever accepted.
    pub accepted: Amount,
    /// How much of it has reached the payee.
    pub settled: Amount,
}

impl RailBalance {
    /// What was accepted and has not reached the payee.
    ///
    /// ```
    /// use depin_core::payment::RailBalance;
    ///
    /// let balance = RailBalance { accepted: 10.into(), settled: 7.into() };
    /// assert_eq!(balance.due()?, 3.into());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when more is settled than was accepted, which no rail answers.
    pub fn due(&self) -> Result<Amount> {
        self.accepted.checked_sub(self.settled)
    }
}

/// The paying side of a rail: turns charges into payments.
///
/// # Contract
/// 1. The same charge again MUST give a payment that counts once, also after a restart: a lost answer is asked
///    for again and costs nothing.
/// 2. Another charge under an id that was paid for MUST be [`ErrorKind::Conflict`].
/// 3. What would pass the payer's funds or the limit it was built with MUST be refused, and nothing signed.
/// 4. A charge for a payee that the payer was not built for MUST be refused.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a payer",
    note = "implement `depin_core::payment::Payer`"
)]
pub trait Payer: Send + Sync + fmt::Debug {
    /// Pays.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Rejected`] for what the payer does not pay, [`ErrorKind::Unavailable`]
    /// when it cannot say now.
    async fn pay(&self, charge: &Charge) -> Result<Payment>;
}

/// The payee's side: makes sure of payments before serving, and gets the money.
///
/// # Contract
/// 1. A payment accepted for one charge MUST NOT be accepted for another.
/// 2. The same charge and payment again MUST give the same answer, also concurrently, and count once. Another
///    payment for a charge that is paid, or another charge under its id, MUST be refused. A rail may forget charges
///    that are settled, after a time that it states; from then on it MUST refuse their payments.
/// 3. A payment worth less than the charge MUST be refused.
/// 4. A charge for another payee, and a payment for another payee, contract, chain or token, MUST be refused.
/// 5. What was accepted MUST survive a restart: it is durable before `accept` answers.
/// 6. `settle` MUST bring the payee all that was accepted, once: after it `balance` says that all is settled, and
///    settling again is [`Settlement::NothingDue`]. Rails that pay by the charge move exactly that; rails that
///    pay by time move what has run up, which is at least that. A rail may be told to leave what is not worth its
///    gas until there is more or the source closes; `balance` goes on counting it.
/// 7. What is accepted MUST be covered: at that time the funds on chain, less all that was accepted before and
///    not settled, reach it.
/// 8. What is refused MUST change nothing: the next valid payment is accepted as if it had never come.
/// 9. A signature that was altered, also into another one that is as valid for the curve (high s), MUST be
///    refused.
/// 10. Amounts that do not fit MUST be refused, never wrapped or cut.
///
/// The suite in `depin_testkit::rails` checks every clause by its number.
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
/// use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, payment::*};
///
/// /// A jar with coins: whoever knows the number of a coin has put it in.
/// #[derive(Debug)]
/// struct Jar(Mutex<BTreeMap<Vec<u8>, Charge>>);
///
/// #[async_trait::async_trait]
/// impl PaymentRail for Jar {
///     fn scheme(&self) -> &'static str {
///         "jar"
///     }
///
///     async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
///         let coin = payment.bounded()?.proof.to_vec();
///         let mut jar = self.0.lock().expect("nobody panics with the jar");
///         if *jar.entry(coin).or_insert(*charge) != *charge {
///             return Err(Error::new(ErrorKind::Rejected, "this coin is spent; put in another"));
///         }
///         Ok(Accepted { charge: charge.id, payer: payment.payer, amount: charge.amount })
///     }
///
///     async fn settle(&self) -> Result<Settlement> {
///         Ok(Settlement::NothingDue)
///     }
///
///     async fn balance(&self) -> Result<RailBalance> {
///         let jar = self.0.lock().expect("nobody panics with the jar");
///         let accepted = Amount::sum(jar.values().map(|charge| charge.amount))?;
///         Ok(RailBalance { accepted, settled: accepted })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let jar = Jar(Mutex::default());
/// let tea = Charge { id: B256::with_last_byte(1), payee: Address::ZERO, amount: 2.into() };
/// let cake = Charge { id: B256::with_last_byte(2), amount: 3.into(), ..tea };
/// let coin = Payment { payer: Address::repeat_byte(7), proof: vec![42].into() };
/// assert_eq!(jar.accept(&tea, &coin).await?, jar.accept(&tea, &coin).await?);
/// assert!(jar.accept(&cake, &coin).await.is_err());
/// assert_eq!(jar.balance().await?.accepted, 2.into());
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a payment rail",
    note = "implement `depin_core::payment::PaymentRail`"
)]
pub trait PaymentRail: Send + Sync + fmt::Debug {
    /// The name of the rail's kind: `channel`, `stream`, `escrow`, `x402-exact`.
    fn scheme(&self) -> &'static str;

    /// Makes sure of a payment. The service may be rendered when this answers.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Malformed`] for proofs that cannot be read, [`ErrorKind::Rejected`] for
    /// those that do not hold or are not covered, [`ErrorKind::Unavailable`] when the chain or the store does
    /// not answer now.
    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted>;

    /// Moves what was accepted to the payee.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when nothing could be sent now; [`ErrorKind::Rejected`] when the chain refuses.
    async fn settle(&self) -> Result<Settlement>;

    /// What was accepted, and what of it was settled.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain or the store does not answer now.
    async fn balance(&self) -> Result<RailBalance>;
}
