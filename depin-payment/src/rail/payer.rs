//! The paying side: signs one voucher or spend per charge, and remembers it first.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, Signer,
    payment::{Charge, Payer, Payment},
};

use super::book::{Book, Signed};
use crate::{
    channel::{SignedVoucher, Terms, Voucher},
    spend::Spend,
    typed::{Domain, hash_words},
};

/// Pays charges with vouchers of one lane of a channel.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{Address, Algorithm, Amount, B256, ChainId, Signer, SoftwareKey, payment::{Charge, Payer}};
/// use depin_payment::{channel::{self, SignedVoucher, Terms}, rail::ChannelPayer};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let payer = key.public_key().to_address().expect("a secp256k1 key has an address");
/// let payee = Address::repeat_byte(2);
/// let token = Address::repeat_byte(3);
/// let terms = Terms { payer, payee, token, signer: payer, challenge: 3_600, salt: B256::ZERO };
/// let domain = channel::domain(ChainId::new(4690), Address::repeat_byte(4));
///
/// let deposit = Amount::from(100);
/// let wallet = ChannelPayer::in_memory(domain, terms, Arc::new(key), deposit)?;
/// let reading = |n, price| Charge { id: B256::with_last_byte(n), payee, amount: Amount::from(price) };
/// wallet.pay(&reading(1, 30)).await?;
/// let second = wallet.pay(&reading(2, 30)).await?;
/// assert_eq!(SignedVoucher::decode(&second.proof)?.cumulative, Amount::from(60));
/// assert_eq!(wallet.pay(&reading(2, 30)).await?, second, "asking again costs nothing");
/// assert!(wallet.pay(&reading(3, 41)).await.is_err(), "that would pass the deposit");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ChannelPayer {
    domain: Domain,
    terms: Terms,
    lane: u64,
    signer: Arc<dyn Signer>,
    /// What was signed before this payer began to remember.
    paid: Amount,
    limit: Amount,
    book: Book,
}

impl ChannelPayer {
    /// A payer of lane 0 that remembers in a file. `limit` is what the lane may cost altogether: what was
    /// deposited for it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the terms name another signer, or the file belongs to another lane.
    pub fn open(
        path: &Path,
        domain: Domain,
        terms: Terms,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        Self::open_lane(path, domain, terms, 0, signer, limit)
    }

    /// As [`open`](Self::open), for any lane: where several devices pay out of one channel, each has its own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_lane(
        path: &Path,
        domain: Domain,
        terms: Terms,
        lane: u64,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        let book = Book::open(path, hash_words([domain.separator(), terms.lane_id(lane)]))?;
        Self::with(book, domain, terms, lane, signer, limit)
    }

    /// A payer of lane 0 that forgets with the process: for tests, or where `already_paid` is asked of the payee.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the terms name another signer.
    pub fn in_memory(
        domain: Domain,
        terms: Terms,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        Self::with(Book::in_memory(terms.id())?, domain, terms, 0, signer, limit)
    }

    fn with(
        book: Book,
        domain: Domain,
        terms: Terms,
        lane: u64,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        if signer.public_key().to_address() != Some(terms.signer) {
            let text = "the key is not the signer that the channel's terms name";
            return Err(Error::new(ErrorKind::Config, text).with("signer", terms.signer));
        }
        Ok(Self { domain, terms, lane, signer, paid: Amount::ZERO, limit, book })
    }

    /// Signs for at least this much on top, for a lane that was used before its memory began: what the chain
    /// has settled, or the payee can show a voucher for.
    #[must_use]
    pub const fn already_paid(mut self, cumulative: Amount) -> Self {
        self.paid = cumulative;
        self
    }

    /// The terms of the channel.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }
}

#[async_trait]
impl Payer for ChannelPayer {
    async fn pay(&self, charge: &Charge) -> Result<Payment> {
        known(charge, self.terms.payee)?;
        let lane_id = self.terms.lane_id(self.lane);
        let before = Signed { sum: self.paid, count: 0 };
        let proof = self.book.pay(charge, before, self.limit, |signed| {
            let cumulative = signed.sum;
            let signature =
                Voucher { lane_id, cumulative }.sign(&self.domain, self.signer.as_ref())?;
            let (terms, lane) = (self.terms, self.lane);
            let signed = SignedVoucher { terms, lane, cumulative, signature: signature.into() };
            Ok(signed.encode())
        })?;
        Ok(Payment { payer: self.terms.payer, proof })
    }
}

/// Pays charges out of what a stream or an escrow rail pays anyway.
///
/// The limit bounds the sum of all charges, whatever has flowed: the payee decides whether that is enough.
#[derive(Debug)]
pub struct SpendPayer {
    domain: Domain,
    payee: Address,
    token: Address,
    /// The number of the escrow rail; a stream has none.
    rail: Option<u64>,
    payer: Address,
    signer: Arc<dyn Signer>,
    /// How many were signed before this payer began to remember.
    spent: u64,
    limit: Amount,
    book: Book,
}

impl SpendPayer {
    /// A payer out of its stream to `payee`, that remembers in a file.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a signer without an address, [`ErrorKind::Config`] when the file belongs to
    /// another stream.
    pub fn stream(
        path: &Path,
        domain: Domain,
        payee: Address,
        token: Address,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        Self::with(path, domain, payee, token, None, signer, limit)
    }

    /// A payer out of the escrow rail of this number, that remembers in a file.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn escrow(
        path: &Path,
        domain: Domain,
        rail: u64,
        payee: Address,
        token: Address,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        Self::with(path, domain, payee, token, Some(rail), signer, limit)
    }

    fn with(
        path: &Path,
        domain: Domain,
        payee: Address,
        token: Address,
        rail: Option<u64>,
        signer: Arc<dyn Signer>,
        limit: Amount,
    ) -> Result<Self> {
        let payer = signer.public_key().to_address().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "only secp256k1 keys sign for contracts")
        })?;
        let [a, b, c] = [payer, payee, token].map(|address| address.into_word());
        let source = rail.map_or(B256::ZERO, |rail| B256::right_padding_from(&rail.to_be_bytes()));
        let book = Book::open(path, hash_words([domain.separator(), a, b, c, source]))?;
        Ok(Self { domain, payee, token, rail, payer, signer, spent: 0, limit, book })
    }

    /// Numbers its spends after this one at least, for a stream or rail that was used before its memory began: a payee
    /// refuses numbers from a time that it has forgotten.
    #[must_use]
    pub const fn already_spent(mut self, number: u64) -> Self {
        self.spent = number;
        self
    }
}

#[async_trait]
impl Payer for SpendPayer {
    async fn pay(&self, charge: &Charge) -> Result<Payment> {
        known(charge, self.payee)?;
        let before = Signed { sum: Amount::ZERO, count: self.spent };
        let proof = self.book.pay(charge, before, self.limit, |signed| {
            let number = signed.count;
            let spend = Spend::of(charge, self.token, self.rail.unwrap_or_default(), number);
            let signature = spend.sign(&self.domain, self.signer.as_ref())?;
            let rail = self.rail.map(u64::to_be_bytes);
            let number = number.to_be_bytes();
            let parts = rail.iter().flatten().chain(&number).chain(&signature);
            Ok(parts.copied().collect::<Vec<u8>>().into())
        })?;
        Ok(Payment { payer: self.payer, proof })
    }
}

fn known(charge: &Charge, payee: Address) -> Result<()> {
    if charge.payee == payee {
        return Ok(());
    }
    let text = "the charge is for somebody whom this payer does not pay";
    Err(Error::new(ErrorKind::Rejected, text).with("payee", charge.payee))
}
