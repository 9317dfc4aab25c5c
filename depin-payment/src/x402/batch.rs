//! The scheme `depin-channel`: settlement in batches, by vouchers of a channel.
//!
//! It answers what the abstract scheme `batch-settlement` asks of a network, with the contract `PaymentChannel`. It has a
//! name of its own because that one is taken on EVM chains: the foundation's clients know it with another contract and
//! other vouchers, and fail at an offer that means ours. This one they pass over.
//!
//! 1. Commitment: `payload.voucher` is the hexadecimal form of [`SignedVoucher::encode`], and `extra.channel` names the
//!    contract.
//! 2. Verification: that of [`ChannelRail`]: signature, terms, and funds on chain that reach all that is due.
//! 3. Storage: charge, voucher and answer; the commitment identifier is the digest of the voucher.
//! 4. Double spending: the payment identifier, which is required, is the charge, and a voucher pays one charge.
//! 5. Expiry: none but the challenge period of the channel, within which the payee has to settle.
//! 6. Redemption: the payee settles any number of vouchers in one transaction, whenever it likes.
//! 7. Trust: the payer's own deposit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use depin_core::{
    Amount, B256, Error, ErrorKind, Result,
    payment::{Charge, Payer, Payment},
};
use http::Response;
use serde_json::{Map, Value};

use super::{
    answer::Answer,
    exact::{address, chain_of, decimal, network_of},
    identifier,
    layer::{How, Price, tell},
    message::{PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, VERSION},
    purse::Fresh,
    refusal::Refusal,
};
use crate::{
    channel::{SignedVoucher, Terms},
    evm::{ChannelRail, Examined, Uncovered},
    rail::{ChannelPayer, Forgotten},
    typed::Domain,
};

/// The scheme's name.
pub(super) const SCHEME: &str = "depin-channel";

impl Price {
    /// Takes vouchers as well: nothing is sent to the chain until the rail is settled.
    ///
    /// The till remembers the answers that vouchers bought, for the chain does not know them. So it needs a file, and
    /// a rail belongs to the prices of one till: another till does not have the answers that this one sold.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the till is [in memory](super::TillOptions::in_memory), the price is not known before,
    /// or the rail is for another payee, token or chain; [`ErrorKind::Conflict`] when another till has taken vouchers
    /// with the rail's store.
    pub fn or_vouchers(mut self, rail: Arc<ChannelRail>) -> Result<Self> {
        if !self.till().is_durable() {
            let text =
                "a till in memory serves used vouchers again; open it with TillOptions::kept_in";
            return Err(Error::new(ErrorKind::Config, text));
        }
        if self.how() != How::Exact {
            let text = "a voucher is for a price that is known before; price exactly to take them";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let terms = self.terms();
        let ours = (terms.pay_to, terms.asset, terms.chain);
        if (rail.payee(), rail.token(), rail.channel().domain().chain()) != ours {
            let text = "the rail takes vouchers for another payee, token or chain than the till's";
            let error = Error::new(ErrorKind::Config, text).with("payee", rail.payee());
            return Err(error.with("token", rail.token()));
        }
        rail.serve_for(self.till().id()?)?;
        self.vouchers = Some(rail);
        Ok(self)
    }

    /// The offer, if vouchers are taken.
    pub(super) fn voucher_offer(&self) -> Option<PaymentRequirements> {
        let rail = self.vouchers.as_ref()?;
        let (domain, terms) = (rail.channel().domain(), self.terms());
        let channel = Value::String(domain.contract().to_string());
        let extra = Map::from_iter([("channel".to_owned(), channel)]);
        Some(PaymentRequirements {
            scheme: SCHEME.to_owned(),
            network: network_of(domain.chain()),
            extra: Some(extra),
            ..terms.to_requirements()
        })
    }

    /// Examines a voucher for the charge that the payment identifier names. Nothing is taken yet.
    pub(super) async fn commitment(
        &self,
        payload: &PaymentPayload,
        name: Option<B256>,
    ) -> Result<Commitment> {
        let rail = self.vouchers.as_ref().ok_or(Refusal::Offer)?;
        let offer = self.voucher_offer().ok_or(Refusal::Offer)?;
        if !same(&offer, &payload.accepted) {
            return Err(Refusal::Offer.into());
        }
        let id = name.ok_or_else(|| {
            let text = "a voucher needs a payment identifier, which names what it pays for";
            Error::new(ErrorKind::Malformed, text)
        })?;
        let voucher = voucher_of(payload)?;
        let terms = self.terms();
        let charge = Charge { id, payee: terms.pay_to, amount: terms.amount };
        let payment = Payment { payer: voucher.terms.payer, proof: voucher.encode() };
        let examined = rail.examine(&charge, &payment).await.map_err(in_x402)?;
        Ok(Commitment {
            rail: Arc::clone(rail),
            examined,
            said: SettleResponse {
                success: true,
                transaction: voucher.digest(&rail.channel().domain()).to_string(),
                payer: Some(payment.payer.to_string()),
                network: offer.network,
                amount: Some(offer.amount),
                ..SettleResponse::default()
            },
            charge,
            payment,
        })
    }
}

/// A rail's refusal in the words of x402, where it has some.
fn in_x402(error: Error) -> Error {
    match Uncovered::of(&error) {
        Some(Uncovered::Funds) => Refusal::Funds.into(),
        _ if Forgotten::is_behind(&error) => Refusal::Spent.into(),
        _ => error,
    }
}

/// A voucher that is offered for a charge.
pub(super) struct Commitment {
    rail: Arc<ChannelRail>,
    pub(super) charge: Charge,
    payment: Payment,
    said: SettleResponse,
    /// Until the charge is served or given up.
    examined: Examined,
}

impl Commitment {
    /// Takes the voucher for what it is served for, durably; once, however often.
    pub(super) async fn accept(&self, purpose: B256) -> Result<()> {
        self.rail.accept_for(&self.charge, &self.payment, purpose).await.map(drop)
    }

    /// Whether the voucher was taken, for this purpose; refuses one that was taken for another.
    pub(super) fn is_taken(&self, purpose: B256) -> Result<bool> {
        match self.rail.purpose(&self.examined)? {
            None => Ok(false),
            Some(taken) if taken == purpose => Ok(true),
            Some(_) => Err(Refusal::Spent.into()),
        }
    }

    pub(super) fn hand_over(&self, answer: &Answer) -> Response<Bytes> {
        tell(answer.to_response(), &self.said)
    }
}

/// A running tab with one payee: pays requests with vouchers of a channel that was opened with it.
///
/// A charge that the server refused or did not answer is signed for, and every later voucher grants it too. So the
/// tab uses it for its next request of the same price. Where the server says that it has served such a charge before,
/// and only the answer was lost, the tab believes it, for nobody could prove either. So a server can keep what 256
/// charges cost without an answer, and not more: with as many that wait for one, brought none or were lost, the tab and
/// its clones make no new ones. Whatever the server says is served counts as an answer, even if nothing is in it: who
/// pays has to look at what it got, and to stop.
///
/// For [`Wallet::with_tab`](super::Wallet::with_tab).
#[derive(Clone, Debug)]
pub struct Tab {
    payer: Arc<ChannelPayer>,
    terms: Terms,
    domain: Domain,
    each: Amount,
    charges: Arc<Mutex<Charges>>,
}

/// Charges that brought no answer.
#[derive(Debug, Default)]
struct Charges {
    /// How many requests wait for one.
    asking: usize,
    /// Good for the next request of their price.
    open: Vec<Signed>,
    /// How many were served before, as the server says.
    lost: usize,
}

/// What a charge was made of.
#[derive(Clone, Copy, Debug)]
struct Signed {
    identifier: [u8; 16],
    amount: Amount,
}

/// A charge that a request is made with. It goes back to its tab unless it is closed.
#[derive(Debug)]
pub(super) struct Open {
    tab: Tab,
    signed: Option<Signed>,
    /// Whether an earlier request was made with it.
    pub(super) again: bool,
}

impl Open {
    /// The charge was served.
    pub(super) fn close(mut self) {
        self.signed = None;
    }

    /// The charge was served before, and the answer was lost.
    pub(super) fn lose(mut self) {
        self.signed = None;
        self.tab.charges().lost += 1;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut charges = self.tab.charges();
        charges.asking = charges.asking.saturating_sub(1);
        charges.open.extend(self.signed.take());
    }
}

impl Tab {
    /// Pays from `payer`, whose channel is in the contract of `domain`, at most `each` for one request.
    pub fn new(payer: ChannelPayer, domain: Domain, each: Amount) -> Self {
        let charges = Arc::default();
        Self { terms: *payer.terms(), payer: Arc::new(payer), domain, each, charges }
    }

    fn charges(&self) -> MutexGuard<'_, Charges> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pays, if the server takes vouchers of this channel.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the price is more than allowed for one request or too many charges were not served,
    /// else as the payer.
    pub(super) async fn pay(
        &self,
        required: &PaymentRequired,
        fresh: &Fresh,
    ) -> Result<Option<(PaymentPayload, Open)>> {
        let Some(offer) = required.accepts.iter().find(|offer| self.fits(offer)) else {
            return Ok(None);
        };
        let mut extensions = required.extensions.clone().unwrap_or_default();
        let amount = decimal("amount", &offer.amount).map(Amount::units)?;
        if amount > self.each {
            let text = "the server asks for more than the tab allows for one request; raise the \
                        limit or use another server";
            let error = Error::new(ErrorKind::Limit, text).with("asked", amount.to_units());
            return Err(error.with("limit", self.each.to_units()));
        }
        let (open, identifier) = self.open(amount, fresh)?;
        let Some(id) = identifier::add(&mut extensions, &identifier) else { return Ok(None) };
        let charge = Charge { id, payee: self.terms.payee, amount };
        let proof = self.payer.pay(&charge).await?.proof;
        let voucher = Value::String(alloy_primitives::hex::encode_prefixed(&proof));
        let payload = PaymentPayload {
            version: VERSION,
            resource: Some(required.resource.clone()),
            accepted: offer.clone(),
            payload: Map::from_iter([("voucher".to_owned(), voucher)]),
            extensions: Some(extensions),
        };
        Ok(Some((payload, open)))
    }

    /// A charge of this price that nobody served yet, or a fresh one.
    fn open(&self, amount: Amount, fresh: &Fresh) -> Result<(Open, [u8; 16])> {
        let mut charges = self.charges();
        let found = charges.open.iter().position(|signed| signed.amount == amount);
        let unanswered = charges.open.len() + charges.lost + charges.asking;
        let signed = match found {
            Some(place) => charges.open.swap_remove(place),
            None if unanswered >= MOST_UNANSWERED => {
                return Err(unserved(&charges));
            }
            None => Signed { identifier: fresh.identifier, amount },
        };
        charges.asking += 1;
        let open = Open { tab: self.clone(), signed: Some(signed), again: found.is_some() };
        Ok((open, signed.identifier))
    }

    fn fits(&self, offer: &PaymentRequirements) -> bool {
        let same = |text: &str, expected| address("", text).is_ok_and(|found| found == expected);
        offer.scheme == SCHEME
            && chain_of(&offer.network).is_ok_and(|chain| chain == self.domain.chain())
            && offer.extra("channel").is_some_and(|text| same(text, self.domain.contract()))
            && same(&offer.asset, self.terms.token)
            && same(&offer.pay_to, self.terms.payee)
    }
}

/// Why a tab makes no new charge.
fn unserved(charges: &Charges) -> Error {
    let text = if charges.asking > 0 {
        "as many requests wait for an answer as a tab allows, or brought none; wait for those, or \
         find out why and go on with a new tab"
    } else {
        "the server answered too little of what it was given vouchers for; find out why, then go on \
         with a new tab"
    };
    let error = Error::new(ErrorKind::Limit, text).with("asking", charges.asking);
    error.with("unanswered", charges.open.len()).with("lost", charges.lost)
}

/// Charges of a tab that brought no answer yet.
const MOST_UNANSWERED: usize = 256;

/// Whether a client accepted this offer; addresses may be written in lower case.
fn same(offer: &PaymentRequirements, accepted: &PaymentRequirements) -> bool {
    let alike = |ours: &str, theirs: &str| ours.eq_ignore_ascii_case(theirs);
    let extra = |name| match (offer.extra(name), accepted.extra(name)) {
        (Some(ours), Some(theirs)) => alike(ours, theirs),
        _ => false,
    };
    offer.scheme == accepted.scheme
        && offer.network == accepted.network
        && offer.amount == accepted.amount
        && alike(&offer.asset, &accepted.asset)
        && alike(&offer.pay_to, &accepted.pay_to)
        && extra("channel")
}

fn voucher_of(payload: &PaymentPayload) -> Result<SignedVoucher> {
    let text = payload.payload.get("voucher").and_then(Value::as_str);
    let bytes = text.and_then(|text| alloy_primitives::hex::decode(text.strip_prefix("0x")?).ok());
    let bytes = bytes.ok_or_else(|| {
        let text = "the payload has no voucher in hexadecimal digits after 0x";
        Error::new(ErrorKind::Malformed, text)
    })?;
    SignedVoucher::decode(&bytes)
}

#[cfg(test)]
mod tests {
    use depin_core::{Address, Algorithm, ChainId, Signer, SoftwareKey};

    use super::*;

    fn tab() -> Tab {
        let key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]));
        let payer = key.public_key().to_address().unwrap();
        let [payee, token, contract] = [2, 3, 4].map(Address::repeat_byte);
        let (challenge, salt) = (60, B256::ZERO);
        let terms = Terms { payer, payee, token, signer: payer, challenge, salt };
        let domain = crate::channel::domain(ChainId::new(1), contract);
        let payer = ChannelPayer::in_memory(domain, terms, key, Amount::MAX).unwrap();
        Tab::new(payer, domain, Amount::MAX)
    }

    #[test]
    fn a_server_that_serves_nothing_gets_no_more_vouchers_after_a_while() {
        let (tab, fresh) = (tab(), Fresh::draw(&mut rand::thread_rng()));
        for price in 0..256_u64 {
            drop(tab.open(price.into(), &fresh).unwrap());
        }
        assert_eq!(tab.open(256.into(), &fresh).unwrap_err().kind(), ErrorKind::Limit);
        // What was signed before is good for what it costs.
        tab.open(7.into(), &fresh).unwrap().0.close();
        drop(tab.open(256.into(), &fresh).unwrap());
    }

    #[test]
    fn nor_one_that_says_of_all_that_it_served_them_before() {
        let (tab, fresh) = (tab(), Fresh::draw(&mut rand::thread_rng()));
        for _ in 0..256 {
            drop(tab.open(1.into(), &fresh).unwrap());
            tab.open(1.into(), &fresh).unwrap().0.lose();
        }
        assert_eq!(tab.open(1.into(), &fresh).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn requests_that_wait_for_an_answer_are_among_those_that_brought_none() {
        let (tab, fresh) = (tab(), Fresh::draw(&mut rand::thread_rng()));
        let mut asking: Vec<_> = (0..256).map(|_| tab.open(1.into(), &fresh).unwrap().0).collect();
        assert_eq!(tab.open(1.into(), &fresh).unwrap_err().kind(), ErrorKind::Limit);
        asking.pop().unwrap().close();
        asking.push(tab.open(1.into(), &fresh).unwrap().0);
        drop(asking);
        assert_eq!(tab.open(2.into(), &fresh).unwrap_err().kind(), ErrorKind::Limit);
        tab.open(1.into(), &fresh).unwrap().0.close();
        drop(tab.open(2.into(), &fresh).unwrap());
    }
}
