//! What payers are about to pay with: vouchers that were examined, for charges that are not accepted yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use depin_core::{Amount, B256};

use crate::{channel::SignedVoucher, rail::Paid};

/// A voucher that was examined, for a charge that is being worked for.
///
/// As long as this lives, what it grants is not promised to another charge. Keep it until the charge is accepted or
/// given up.
#[derive(Debug)]
#[must_use = "what it grants may be promised to others when it is dropped"]
pub struct Examined {
    promises: Promises,
    number: u64,
    #[cfg_attr(
        not(feature = "x402"),
        expect(dead_code, reason = "only a till asks what is served")
    )]
    pub(super) paid: Paid,
}

impl Drop for Examined {
    fn drop(&mut self) {
        self.promises.lock().open.retain(|promise| promise.number != self.number);
    }
}

/// A voucher and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    number: u64,
    pub(super) charge: B256,
    pub(super) price: Amount,
    pub(super) voucher: SignedVoucher,
}

/// All that is promised, of all channels: as much as there are charges being worked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
pub(super) struct Open {
    next: u64,
    open: Vec<Promise>,
}

impl Promises {
    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        // A list is whole whatever its last user did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a promise to those of `open`, which is locked.
    pub(super) fn add(
        &self,
        open: &mut Open,
        paid: Paid,
        price: Amount,
        voucher: SignedVoucher,
    ) -> Examined {
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.open.push(Promise { number, charge: paid.charge.id, price, voucher });
        Examined { promises: self.clone(), number, paid }
    }
}

impl Open {
    /// What is promised out of a channel to other charges than this one.
    pub(super) fn of(&self, channel: B256, except: B256) -> Vec<Promise> {
        let others = self.open.iter().filter(|promise| promise.charge != except);
        others.filter(|promise| promise.voucher.terms.id() == channel).cloned().collect()
    }
}
