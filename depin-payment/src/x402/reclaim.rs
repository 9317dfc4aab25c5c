//! What a purse signed for with the scheme `upto` and nobody can take any more.
//!
//! A server that says that it used less may still take the rest while the signature is valid and its nonce unused.
//! So its word gives nothing back; the chain does, at a block that no other takes the place of: where the block that
//! took less was taken back, the rest could be taken after all.

use std::collections::BTreeMap;

use depin_core::{Address, Amount, B256, ChainId, Result, U256};
use depin_evm::{
    Chain,
    alloy::{consensus::Transaction, providers::Provider},
};

use super::{
    deep::Deep,
    message::{PaymentPayload, SettleResponse},
    purse::Purse,
    upto::{UPTO_PROXY, UptoPayment, UptoTerms, permit2},
};

/// A signature of which not all may be taken.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// Which allowance it counts against.
    place: usize,
    /// Whose server asked for it.
    server: B256,
    chain: ChainId,
    nonce: U256,
    most: Amount,
    deadline: U256,
    /// The transaction in which the server says that it took its part.
    told: Option<B256>,
}

impl Open {
    pub(super) const fn new(
        place: usize,
        server: B256,
        chain: ChainId,
        payment: &UptoPayment,
    ) -> Self {
        let (nonce, most, deadline) = (payment.nonce(), payment.most(), payment.deadline());
        Self { place, server, chain, nonce, most, deadline, told: None }
    }
}

/// Signatures of which less may be taken than was signed for, oldest first.
///
/// What is forgotten counts as spent. So a server that asks for many pushes out its own, the smallest first, and where
/// many servers do, those of the one that has the most.
#[derive(Debug, Default)]
pub(super) struct Opened(Vec<Open>);

impl Opened {
    pub(super) fn remember(&mut self, open: Open) {
        if self.0.iter().filter(|other| other.server == open.server).count() >= MOST_OF_ONE {
            self.forget_one_of(open.server);
        } else if self.0.len() >= MOST {
            let mut counts = BTreeMap::<B256, usize>::new();
            for other in &self.0 {
                let count = counts.entry(other.server).or_default();
                *count = count.saturating_add(1);
            }
            let most = counts.into_iter().max_by_key(|(_, count)| *count);
            self.forget_one_of(most.map_or(open.server, |(server, _)| server));
        }
        self.0.push(open);
    }

    fn forget_one_of(&mut self, server: B256) {
        let all = self.0.iter().enumerate().filter(|(_, open)| open.server == server);
        if let Some((place, _)) = all.min_by_key(|(_, open)| open.most) {
            self.0.remove(place);
        }
    }

    fn of(&mut self, nonce: U256) -> Option<&mut Open> {
        self.0.iter_mut().find(|open| open.nonce == nonce)
    }

    fn on(&self, chain: ChainId) -> Vec<Open> {
        self.0.iter().filter(|open| open.chain == chain).cloned().collect()
    }

    fn close(&mut self, nonce: U256) -> bool {
        let place = self.0.iter().position(|open| open.nonce == nonce);
        place.map(|place| self.0.remove(place)).is_some()
    }
}

/// What the chain shows of a signature.
enum Fate {
    /// It may still be used.
    Open,
    /// This much of it cannot be taken any more, and nothing will change.
    Over(Amount),
}

impl Purse {
    /// Notes what the server says of a payment, which is a hint where to look.
    pub(super) fn hear(&self, payload: &PaymentPayload, said: &SettleResponse) {
        if payload.accepted.scheme != UptoTerms::SCHEME {
            return;
        }
        let Ok(payment) = UptoPayment::parse(payload) else { return };
        let Ok(transaction) = said.transaction.parse::<B256>() else { return };
        if let Some(open) = self.book().open.of(payment.nonce()) {
            open.told = Some(transaction);
        }
    }

    /// Stops counting as spent what was signed for with the scheme `upto` and, as `chain` shows, cannot be taken any
    /// more: the rest of a payment that was settled, and payments that ended unused. Answers how much that is. A
    /// [`PayingClient`](super::PayingClient) with a [`Wallet`](super::Wallet) that has a chain does this itself.
    ///
    /// Time, nonces and settlements are read at one block, which as many others follow as the policy
    /// [says](super::Policy::confirmations). Nothing is given back before, and nothing on a chain that is shorter. It is
    /// wrong only where more blocks than that are taken back, or a node lies.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer, or lacks that
    /// block.
    pub async fn reclaim(&self, chain: &Chain) -> Result<Amount> {
        let open = self.book().open.on(chain.id());
        let mut freed = Amount::ZERO;
        if open.is_empty() {
            return Ok(freed);
        }
        let deep = Deep::newest(chain, self.confirmations()).await?;
        let Some(deep) = deep else { return Ok(freed) };
        for open in open {
            if let Fate::Over(rest) = fate(chain, self.account(), &open, &deep).await? {
                freed = freed.checked_add(self.close(&open, rest))?;
            }
        }
        Ok(freed)
    }

    /// Takes what cannot be taken any more off what is spent, once.
    fn close(&self, open: &Open, rest: Amount) -> Amount {
        let mut book = self.book();
        if !book.open.close(open.nonce) {
            return Amount::ZERO;
        }
        if let Some(sum) = book.spent.get_mut(open.place) {
            *sum = sum.checked_sub(rest).unwrap_or_default();
        }
        rest
    }
}

async fn fate(chain: &Chain, payer: Address, open: &Open, deep: &Deep) -> Result<Fate> {
    let ended = deep.time > open.deadline;
    if !ended && open.told.is_none() {
        return Ok(Fate::Open);
    }
    if !permit2::is_used(chain, payer, open.nonce, deep.id()).await? {
        return Ok(if ended { Fate::Over(open.most) } else { Fate::Open });
    }
    let taken = match open.told {
        Some(told) => taken_in(chain, payer, open, told, deep).await?,
        None => None,
    };
    Ok(match taken {
        Some(used) => Fate::Over(open.most.checked_sub(used).unwrap_or_default()),
        // Used, and nobody said where: it may have been all.
        None if ended => Fate::Over(Amount::ZERO),
        None => Fate::Open,
    })
}

/// How much a transaction took of a signature, which cannot be used a second time.
async fn taken_in(
    chain: &Chain,
    payer: Address,
    open: &Open,
    transaction: B256,
    deep: &Deep,
) -> Result<Option<Amount>> {
    let provider = chain.provider();
    let (sent, receipt) = tokio::try_join!(
        chain.ask(provider.get_transaction_by_hash(transaction)),
        chain.ask(provider.get_transaction_receipt(transaction)),
    )?;
    let (Some(sent), Some(receipt)) = (sent, receipt) else { return Ok(None) };
    let sent = sent.into_inner();
    if !receipt.status() || sent.to() != Some(UPTO_PROXY) || !deep.has(chain, &receipt).await? {
        return Ok(None);
    }
    let taken = UptoPayment::taken_by(sent.input());
    let ours = taken.filter(|(owner, nonce, _)| (*owner, *nonce) == (payer, open.nonce));
    Ok(ours.map(|(_, _, used)| used))
}

/// Signatures that are remembered of one server.
const MOST_OF_ONE: usize = 1_024;
/// Signatures that are remembered.
const MOST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(server: u8, nonce: u64, most: u64) -> Open {
        let (place, chain, deadline) = (0, ChainId::new(1), U256::ZERO);
        let (server, nonce, most) = (B256::repeat_byte(server), U256::from(nonce), most.into());
        Open { place, server, chain, nonce, most, deadline, told: None }
    }

    #[test]
    fn a_server_that_asks_for_much_pushes_out_only_its_own() {
        let (mut opened, ours) = (Opened::default(), U256::MAX);
        opened.remember(Open { nonce: ours, ..open(1, 0, 5) });
        for nonce in 0..1_200 {
            opened.remember(open(2, nonce, 1_000));
        }
        assert_eq!(opened.0.len(), 1 + MOST_OF_ONE);
        assert!(opened.of(ours).is_some());
        // What is worth little does not push out what is worth more.
        opened.remember(Open { nonce: U256::MAX - U256::from(1), ..open(2, 0, 2_000) });
        for nonce in 5_000..5_200 {
            opened.remember(open(2, nonce, 1));
        }
        assert!(opened.0.iter().any(|open| open.most == 2_000.into()));
    }

    #[test]
    fn many_servers_that_ask_for_much_push_out_those_with_the_most() {
        let mut opened = Opened::default();
        for nonce in 0..10 {
            opened.remember(open(1, nonce, 5));
        }
        for server in 2..=7 {
            for nonce in 0..700 {
                opened.remember(open(server, u64::from(server) * 1_000 + nonce, 1_000));
            }
        }
        assert_eq!(opened.0.len(), MOST);
        let ours = opened.0.iter().filter(|open| open.server == B256::repeat_byte(1));
        assert_eq!(ours.count(), 10);
    }
}
