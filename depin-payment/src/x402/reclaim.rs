//! What a purse signed for with the scheme `upto` and nobody can take any more.
//!
//! A server that says that it used less may still take the rest while the signature is valid and its nonce unused.
//! So its word gives nothing back; the chain does.

use depin_core::{Address, Amount, B256, ChainId, Result, U256};
use depin_evm::{
    Chain,
    alloy::{consensus::Transaction, eips::BlockNumberOrTag, providers::Provider},
};

use super::{
    message::{PaymentPayload, SettleResponse},
    purse::Purse,
    upto::{UPTO_PROXY, UptoPayment, UptoTerms, permit2},
};

/// A signature of which not all may be taken.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// Which allowance it counts against.
    place: usize,
    chain: ChainId,
    nonce: U256,
    most: Amount,
    deadline: U256,
    /// The transaction in which the server says that it took its part.
    told: Option<B256>,
}

impl Open {
    pub(super) const fn new(place: usize, chain: ChainId, payment: &UptoPayment) -> Self {
        let (nonce, most, deadline) = (payment.nonce(), payment.most(), payment.deadline());
        Self { place, chain, nonce, most, deadline, told: None }
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
        let mut book = self.book();
        let open = book.open.iter_mut().find(|open| open.nonce == payment.nonce());
        if let Some(open) = open {
            open.told = Some(transaction);
        }
    }

    /// Stops counting as spent what was signed for with the scheme `upto` and, as `chain` shows, cannot be taken any
    /// more: the rest of a payment that was settled, and payments that ended unused. Answers how much that is. A
    /// [`PayingClient`](super::PayingClient) [with a chain](super::PayingClient::with_chain) does this itself.
    ///
    /// It believes the latest block: where a block is taken back after that, or nodes behind one address lag, what was
    /// freed may be taken after all, and more than the policy's limit be spent by it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer.
    pub async fn reclaim(&self, chain: &Chain) -> Result<Amount> {
        let on_chain = |open: &&Open| open.chain == chain.id();
        let open: Vec<_> = self.book().open.iter().filter(on_chain).cloned().collect();
        let mut freed = Amount::ZERO;
        if open.is_empty() {
            return Ok(freed);
        }
        let latest = chain.provider().get_block_by_number(BlockNumberOrTag::Latest);
        let latest = chain.ask(latest.into_future()).await?;
        let now = U256::from(latest.map_or(0, |block| block.header.timestamp));
        for open in open {
            if let Fate::Over(rest) = fate(chain, self.account(), &open, now).await? {
                freed = freed.checked_add(self.close(&open, rest))?;
            }
        }
        Ok(freed)
    }

    /// Takes what cannot be taken any more off what is spent, once.
    fn close(&self, open: &Open, rest: Amount) -> Amount {
        let mut book = self.book();
        let Some(found) = book.open.iter().position(|other| other.nonce == open.nonce) else {
            return Amount::ZERO;
        };
        book.open.swap_remove(found);
        if let Some(sum) = book.spent.get_mut(open.place) {
            *sum = sum.checked_sub(rest).unwrap_or_default();
        }
        rest
    }
}

async fn fate(chain: &Chain, payer: Address, open: &Open, now: U256) -> Result<Fate> {
    if let Some(told) = open.told
        && let Some(used) = taken_in(chain, payer, open, told).await?
    {
        return Ok(Fate::Over(open.most.checked_sub(used).unwrap_or_default()));
    }
    if now <= open.deadline {
        return Ok(Fate::Open);
    }
    // Used, and nobody said where: it may have been all.
    let used = permit2::is_used(chain, payer, open.nonce).await?;
    Ok(Fate::Over(if used { Amount::ZERO } else { open.most }))
}

/// How much a transaction took of a signature, which cannot be used a second time.
async fn taken_in(
    chain: &Chain,
    payer: Address,
    open: &Open,
    transaction: B256,
) -> Result<Option<Amount>> {
    let provider = chain.provider();
    let (sent, receipt) = tokio::try_join!(
        chain.ask(provider.get_transaction_by_hash(transaction)),
        chain.ask(provider.get_transaction_receipt(transaction)),
    )?;
    let (Some(sent), Some(receipt)) = (sent, receipt) else { return Ok(None) };
    let sent = sent.into_inner();
    if !receipt.status() || sent.to() != Some(UPTO_PROXY) {
        return Ok(None);
    }
    let taken = UptoPayment::taken_by(sent.input());
    let ours = taken.filter(|(owner, nonce, _)| (*owner, *nonce) == (payer, open.nonce));
    Ok(ours.map(|(_, _, used)| used))
}
