//! The payee's side of a lane: what was signed against what was charged.

use depin_core::{Amount, Error, ErrorKind, Result};

/// What a lane has granted and what of it is used for charges.
///
/// Vouchers of charges that were asked for at the same time may arrive in any order: one that is less than the
/// best still pays for its charge, as long as the best covers all charges together. Whoever keeps lanes keeps also
/// which vouchers were used, for one voucher pays one charge.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::channel::Lane;
///
/// let mut lane = Lane::default();
/// lane.admit(Amount::from(20), Amount::from(10))?; // the second of two vouchers came first
/// lane.admit(Amount::from(10), Amount::from(10))?;
/// assert!(lane.admit(Amount::from(15), Amount::from(5)).is_err(), "everything granted is used");
/// assert_eq!(lane.granted, Amount::from(20));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The amount of the best voucher.
    pub granted: Amount,
    /// The sum of the charges that were paid.
    pub charged: Amount,
}

impl Lane {
    /// Pays a charge of `price` with a voucher for `cumulative`. Answers whether the voucher is the best now.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the lane would have cost more than is granted then; [`ErrorKind::Overflow`].
    /// Nothing is changed then.
    pub fn admit(&mut self, cumulative: Amount, price: Amount) -> Result<bool> {
        let charged = self.charged.checked_add(price)?;
        let granted = self.granted.max(cumulative);
        if charged > granted {
            let text =
                "the voucher is worth less than the charge; sign for all that the lane has cost";
            let error = Error::new(ErrorKind::Rejected, text);
            return Err(error.with("cumulative", cumulative).with("needed", charged));
        }
        let best = cumulative > self.granted;
        *self = Self { granted, charged };
        Ok(best)
    }
}
