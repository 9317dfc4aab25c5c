//! Transactions that wait for a block.
//!
//! One per sender and nonce. A second one replaces the first only when it pays at least a tenth more,
//! as on public nodes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use alloy::{
    consensus::Transaction,
    primitives::{Address, B256},
};

use crate::{
    block::Tx,
    error::{Error, ErrorKind},
    state::State,
};

/// Transactions by sender and nonce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    senders: HashMap<Address, BTreeMap<u64, Waiting>>,
    hashes: HashMap<B256, (Address, u64)>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    tx: Tx,
    arrival: u64,
}

impl Pool {
    /// Adds a transaction that was checked against the chain already.
    ///
    /// # Errors
    /// When it is known, does not pay enough to replace another, or the pool is full.
    pub(crate) fn add(&mut self, tx: Tx) -> Result<(), Error> {
        let (hash, sender, nonce) = (*tx.tx_hash(), tx.signer(), tx.nonce());
        if self.hashes.contains_key(&hash) {
            return Err(Error::rejected("already known"));
        }
        let slot = self.senders.get(&sender).and_then(|queue| queue.get(&nonce));
        match slot {
            Some(old) if !pays_a_tenth_more(&old.tx, &tx) => {
                return Err(Error::rejected("replacement transaction underpriced"));
            }
            Some(old) => {
                self.hashes.remove(old.tx.tx_hash());
            }
            None if self.hashes.len() >= CAPACITY => {
                return Err(Error::new(ErrorKind::Limit, "txpool is full, mine a block first"));
            }
            None => {}
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.hashes.insert(hash, (sender, nonce));
        let waiting = Waiting { tx, arrival: self.arrivals };
        self.senders.entry(sender).or_default().insert(nonce, waiting);
        Ok(())
    }

    pub(crate) fn by_hash(&self, hash: &B256) -> Option<&Tx> {
        let (sender, nonce) = self.hashes.get(hash)?;
        Some(&self.senders.get(sender)?.get(nonce)?.tx)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// All transactions in the order they arrived.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tx> {
        let mut all: Vec<_> = self.senders.values().flat_map(BTreeMap::values).collect();
        all.sort_by_key(|waiting| waiting.arrival);
        all.into_iter().map(|waiting| &waiting.tx)
    }

    /// The nonce after a sender's unbroken run of transactions that starts at `next`.
    pub(crate) fn next_nonce(&self, sender: &Address, next: u64) -> u64 {
        let Some(queue) = self.senders.get(sender) else { return next };
        queue.range(next..).zip(next..).take_while(|((have, _), want)| *have == want).count() as u64
            + next
    }

    /// What can run now, best tip first, each sender's in nonce order.
    pub(crate) fn ready(&self, state: &State, base_fee: u64) -> Vec<Tx> {
        let mut queues: HashMap<Address, Vec<&Waiting>> = HashMap::new();
        for (sender, queue) in &self.senders {
            let next = state.nonce(sender);
            let run = queue
                .range(next..)
                .zip(next..)
                .take_while(|((have, waiting), want)| {
                    *have == want && waiting.tx.max_fee_per_gas() >= u128::from(base_fee)
                })
                .map(|((_, waiting), _)| waiting);
            // Reversed, so that the next one is popped from the end.
            queues.insert(*sender, run.collect::<Vec<_>>().into_iter().rev().collect());
        }
        let rank = |waiting: &Waiting| {
            (
                waiting.tx.effective_tip_per_gas(base_fee),
                Reverse(waiting.arrival),
                waiting.tx.signer(),
            )
        };
        let mut heads: BinaryHeap<_> =
            queues.values().filter_map(|queue| queue.last().map(|head| rank(head))).collect();
        let mut ready = Vec::new();
        while let Some((_, _, sender)) = heads.pop() {
            let Some(queue) = queues.get_mut(&sender) else { continue };
            ready.extend(queue.pop().map(|waiting| Arc::clone(&waiting.tx)));
            heads.extend(queue.last().map(|head| rank(head)));
        }
        ready
    }

    pub(crate) fn remove(&mut self, hash: &B256) {
        let Some((sender, nonce)) = self.hashes.remove(hash) else { return };
        if let Some(queue) = self.senders.get_mut(&sender) {
            queue.remove(&nonce);
            if queue.is_empty() {
                self.senders.remove(&sender);
            }
        }
    }

    /// Removes what the chain has moved past for the senders of a new block.
    pub(crate) fn prune(&mut self, mined: &[Tx], state: &State) {
        for tx in mined {
            self.remove(tx.tx_hash());
            let (sender, next) = (tx.signer(), state.nonce(&tx.signer()));
            let stale: Vec<B256> = self.senders.get(&sender).map_or_else(Vec::new, |queue| {
                queue.range(..next).map(|(_, waiting)| *waiting.tx.tx_hash()).collect()
            });
            stale.iter().for_each(|hash| self.remove(hash));
        }
    }
}

fn pays_a_tenth_more(old: &Tx, new: &Tx) -> bool {
    let bumped = |old: u128, new: u128| new >= old.saturating_add(old.div_ceil(10));
    let tip = |tx: &Tx| tx.max_priority_fee_per_gas().unwrap_or_else(|| tx.max_fee_per_gas());
    bumped(old.max_fee_per_gas(), new.max_fee_per_gas()) && bumped(tip(old), tip(new))
}

/// How many transactions may wait.
const CAPACITY: usize = 8_192;

#[cfg(test)]
mod tests {
    use alloy::{
        consensus::{SignableTransaction, TxLegacy, transaction::Recovered},
        primitives::Signature,
    };

    use super::*;

    /// Nobody signed it: the pool leaves that to the door.
    fn waiting(nonce: u64, gas_price: u128) -> Tx {
        let tx = TxLegacy { nonce, gas_price, ..TxLegacy::default() };
        let signed = tx.into_signed(Signature::test_signature());
        Arc::new(Recovered::new_unchecked(signed.into(), Address::ZERO))
    }

    #[test]
    fn a_full_pool_takes_replacements_only() {
        let mut pool = Pool::default();
        for nonce in 0..CAPACITY as u64 {
            pool.add(waiting(nonce, 10)).unwrap();
        }
        let full = pool.add(waiting(CAPACITY as u64, 10)).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit);
        pool.add(waiting(5, 11)).unwrap();
        pool.remove(waiting(7, 10).tx_hash());
        pool.add(waiting(CAPACITY as u64, 10)).unwrap();
    }
}
