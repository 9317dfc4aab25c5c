//! Which money of payers is spoken for by requests that are being worked on.
//!
//! Money moves after the work, so requests that run at once would all see the same balance. Each claims its price
//! before it looks at the balance, and counts what is due and what was claimed before it. So what is worked for at
//! any moment is within what the payer has, in whatever order requests look, finish and fail. Nobody has more
//! worked for than he could pay at once; requests that find too little left are told to come again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use depin_core::{Address, Amount, B256, Result};

use super::Till;
use crate::x402::{book::Owed, pledge::Pledge, refusal::Refusal};

/// What is claimed of all payers, in memory: a request that was cut off claims nothing.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Claimed>);

#[derive(Debug, Default)]
struct Claimed {
    next: u64,
    count: usize,
    /// By the number of the claim.
    of: HashMap<Address, BTreeMap<u64, (B256, Owed)>>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Claimed> {
        // Sums are made when they are asked for, so the map is whole whatever its last user did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody else is served for this money until this is dropped.
#[derive(Debug)]
#[must_use = "others are served for the same money when it is dropped"]
pub(in crate::x402) struct Claim {
    till: Till,
    payer: Address,
    number: u64,
    asked: Owed,
    /// What was due or claimed before.
    ahead: BTreeMap<B256, Owed>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.till.0.claims.lock();
        let Some(of) = claimed.of.get_mut(&self.payer) else { return };
        let removed = of.remove(&self.number).is_some();
        if of.is_empty() {
            claimed.of.remove(&self.payer);
        }
        claimed.count = claimed.count.saturating_sub(usize::from(removed));
    }
}

impl Till {
    /// Claims `amount` for a payment, whose signature was checked: nobody claims what is another's.
    pub(super) fn claim(&self, amount: Amount, pledge: &Pledge, id: B256) -> Result<Claim> {
        let payer = pledge.payer();
        let asked = Owed { amount, by_permit2: pledge.is_by_permit2() };
        let mut claimed = self.0.claims.lock();
        let earlier = claimed.of.get(&payer);
        if claimed.count >= MOST || earlier.is_some_and(|earlier| earlier.len() >= MOST_OF_ONE) {
            return Err(pledge.refuse(Refusal::Busy));
        }
        let mut ahead = self.0.book.due_of(payer)?;
        for (id, owed) in earlier.into_iter().flat_map(BTreeMap::values) {
            let most = ahead.entry(*id).or_insert(*owed);
            most.amount = most.amount.max(owed.amount);
        }
        // Whatever is claimed for this payment moves once.
        ahead.remove(&id);
        let number = claimed.next;
        claimed.next = number.wrapping_add(1);
        claimed.count = claimed.count.saturating_add(1);
        claimed.of.entry(payer).or_default().insert(number, (id, asked));
        Ok(Claim { till: self.clone(), payer, number, asked, ahead })
    }
}

impl Claim {
    /// Why `funds`, which were read after the claim, do not reach for it and all that is ahead of it.
    pub(super) fn lacks(&self, funds: &Funds) -> Result<Option<Refusal>> {
        if funds.lack(&self.ahead, self.asked)?.is_none() {
            return Ok(None);
        }
        // What is worked for may come to less, and what was settled meanwhile is counted twice: neither is for good.
        let mut due = self.till.0.book.due_of(self.payer)?;
        due.retain(|id, _| self.ahead.contains_key(id));
        Ok(funds.lack(&due, self.asked)?.or(Some(Refusal::Busy)))
    }
}

/// What can be moved of a payer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Funds {
    pub(super) balance: Amount,
    /// What Permit2 may move, where that matters.
    pub(super) allowance: Option<Amount>,
}

impl Funds {
    /// What is missing for what is ahead and what is asked for. Only what Permit2 moves uses up what it may move.
    pub(super) fn lack(
        &self,
        ahead: &BTreeMap<B256, Owed>,
        asked: Owed,
    ) -> Result<Option<Refusal>> {
        let all = Amount::sum(ahead.values().map(|owed| owed.amount))?;
        if all.checked_add(asked.amount)? > self.balance {
            return Ok(Some(Refusal::Funds));
        }
        let Some(allowance) = self.allowance else { return Ok(None) };
        let by_permit2 = ahead.values().filter(|owed| owed.by_permit2).map(|owed| owed.amount);
        let sum = Amount::sum(by_permit2)?.checked_add(asked.amount)?;
        Ok((sum > allowance).then_some(Refusal::Allowance))
    }
}

/// Requests of one payer that are worked on at once.
const MOST_OF_ONE: usize = 1_024;
/// Requests of all payers that are worked on at once.
const MOST: usize = 65_536;
