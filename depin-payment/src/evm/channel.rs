//! The `PaymentChannel` contract.

mod cover;
mod promise;
mod rail;
mod reach;

use std::sync::Arc;

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain, Revert,
    alloy::{
        eips::BlockId,
        providers::{DynProvider, Provider},
        rpc::types::{TransactionReceipt, TransactionRequest},
        sol_types::SolInterface,
    },
    bindings::{
        DeviceAccount,
        PaymentChannel::{self as Contract, PaymentChannelErrors as Refusal},
    },
};

pub use cover::Uncovered;
pub use promise::Examined;
pub use rail::{ChannelRail, ChannelRules};

use super::{
    approval::{Deposits, Sent, key_of, send},
    calls::create as create_once,
};
use crate::{
    channel::{SignedVoucher, Terms, domain},
    typed::{Domain, hash_words},
};

/// What a channel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelFunds {
    /// What can still be paid.
    pub available: Amount,
    /// What lane 0 was paid.
    pub settled: Amount,
    /// From when on the payer can take back what is left, in seconds since 1970; `None` while nobody asked.
    pub closes_at: Option<u64>,
    /// Whether it is closed for ever.
    pub closed: bool,
}

impl ChannelFunds {
    /// Whether nobody closes it, or has.
    const fn is_open(&self) -> bool {
        !self.closed && self.closes_at.is_none()
    }
}

/// A `PaymentChannel` contract, through the account that deposits, settles or closes.
///
/// Every call can be made again: what was sent is not sent twice. See [`ChannelRail`] for the payee's side.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Algorithm, Amount, B256, NetworkId, Signer, SoftwareKey};
/// use depin_devnet::Devnet;
/// use depin_evm::Chain;
/// use depin_payment::{channel::{SignedVoucher, Terms}, evm::EvmChannel};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let channels = EvmChannel::deploy(chain).await?;
///
/// // What Rust signs is what the contract verifies.
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let signer = key.public_key().to_address().expect("a secp256k1 key has an address");
/// let payee = Address::repeat_byte(2);
/// let terms = Terms { payer: signer, payee, token: payee, signer, challenge: 3_600, salt: B256::ZERO };
/// let voucher = SignedVoucher::sign(&channels.domain(), terms, 9, Amount::from(5), &key)?;
/// assert_eq!(channels.digest_of(&voucher).await?, voucher.digest(&channels.domain()));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmChannel {
    chain: Chain,
    address: Address,
    deposits: Arc<Deposits>,
}

impl EvmChannel {
    /// The contract at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deposits: Arc::default() }
    }

    /// Puts a contract for everybody's channels on the chain, once per chain handle's store: no network needs
    /// another one than its neighbours on the chain.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deploy(chain: Chain) -> Result<Self> {
        let create = Contract::deploy_builder(chain.provider()).into_transaction_request();
        let address = create_once(&chain, "deploy/channels", create).await?;
        Ok(Self::new(chain, address))
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What vouchers of this contract are signed for.
    pub fn domain(&self) -> Domain {
        domain(self.chain.id(), self.address)
    }

    /// Opens a channel or tops it up, with an approval before where the contract is not allowed as much.
    /// `intent` names this deposit: the same one again is not paid again, another one is.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the channel is closing, the challenge too short or the balance too small;
    /// else as [`Chain::send_once`].
    pub async fn deposit(&self, intent: &str, terms: &Terms, amount: Amount) -> Result<B256> {
        let contract = self.contract();
        let call = contract.deposit(on_chain(terms), amount.to_units());
        let key = format!("deposit/channel/{}/{}/{intent}", self.address, terms.id());
        let tx = call.into_transaction_request();
        let deposited =
            self.deposits.make(&self.chain, &key, terms.token, self.address, amount, tx);
        deposited.await.map(|made| made.transaction_hash).map_err(explain)
    }

    /// Pays the payee what one voucher grants beyond what its lane was paid. Anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when there is nothing to pay or the signature does not hold.
    pub async fn settle(&self, voucher: &SignedVoucher) -> Result<Amount> {
        let paid = self.settle_many(std::slice::from_ref(voucher)).await?;
        let first = paid.first().copied().unwrap_or_default();
        if first.is_zero() {
            let text =
                "the voucher pays nothing: its lane was paid, or the channel is closed or used up";
            return Err(Error::new(ErrorKind::Rejected, text));
        }
        Ok(first)
    }

    /// Pays what many vouchers grant, of any channels, and says how much each brought: nothing where there was
    /// nothing to pay.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn settle_many(&self, vouchers: &[SignedVoucher]) -> Result<Vec<Amount>> {
        let mut paid = Vec::with_capacity(vouchers.len());
        for payout in self.settle_all(vouchers).await {
            match payout? {
                Payout::Paid { amounts, .. } => paid.extend(amounts),
                Payout::Pending { .. } => {
                    let text = "the settlement is not mined yet; it stays tracked, settle again";
                    return Err(Error::unavailable(text));
                }
            }
        }
        Ok(paid)
    }

    /// Settles in as many transactions as blocks have room for, in order. What fails for some vouchers is tried with
    /// fewer of them, so that one that cannot be settled does not stop the others.
    async fn settle_all(&self, vouchers: &[SignedVoucher]) -> Vec<Result<Payout>> {
        let mut waiting = self.batches(vouchers);
        waiting.reverse();
        let mut payouts = Vec::with_capacity(waiting.len());
        while let Some(batch) = waiting.pop() {
            match self.settle_chunk(batch).await {
                Err(error) if batch.len() > 1 && !error.is_retryable() => {
                    let (front, back) = batch.split_at(batch.len() / 2);
                    waiting.extend([back, front]);
                }
                payout => payouts.push(payout),
            }
        }
        payouts
    }

    /// The vouchers in order, in batches that fit a block whatever contracts burn to check signatures.
    fn batches<'a>(&self, vouchers: &'a [SignedVoucher]) -> Vec<&'a [SignedVoucher]> {
        let domain = self.domain();
        let (mut batches, mut rest, mut end, mut gas) = (Vec::new(), vouchers, 0_usize, 0_u64);
        for voucher in vouchers {
            let by_key = voucher.verify(&domain).is_ok();
            let cost = if by_key { SETTLING_GAS } else { SETTLING_GAS + ASKING_GAS };
            if end > 0 && gas.saturating_add(cost) > BATCH_GAS {
                let (batch, others) = rest.split_at(end);
                batches.push(batch);
                (rest, end, gas) = (others, 0, 0);
            }
            (end, gas) = (end.saturating_add(1), gas.saturating_add(cost));
        }
        batches.push(rest);
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    async fn settle_chunk(&self, vouchers: &[SignedVoucher]) -> Result<Payout> {
        // The same vouchers pay again after a top-up, so what was paid before is part of the key.
        let mut before = B256::ZERO;
        for voucher in vouchers {
            let settled = self.settled(&voucher.terms, voucher.lane).await?;
            before = hash_words([before, settled.to_units().into()]);
        }
        let contract = self.contract();
        let many = contract.settleMany(vouchers.iter().map(settlement).collect());
        // Asked first: what pays nothing costs no transaction.
        let granted = self.chain.read(&many).await.map_err(explain)?;
        let granted = Amount::sum(granted.into_iter().map(Amount::units))?;
        if granted.is_zero() {
            let amounts = vec![Amount::ZERO; vouchers.len()];
            return Ok(Payout::Paid { amounts, transaction: None });
        }
        let tx = match vouchers {
            [one] => self.settle_one(one),
            _ => many.into_transaction_request(),
        };
        let key = key_of("settle", self.address, &tx, before);
        match send(&self.chain, &key, tx).await.map_err(explain)? {
            Sent::Pending => Ok(Payout::Pending { amount: granted }),
            Sent::Mined(receipt) => {
                let amounts = self.amounts(vouchers, &receipt);
                Ok(Payout::Paid { amounts, transaction: Some(receipt.transaction_hash) })
            }
        }
    }

    fn settle_one(&self, voucher: &SignedVoucher) -> TransactionRequest {
        let Contract::Settlement { terms, lane, cumulativeAmount, signature } = settlement(voucher);
        let contract = self.contract();
        contract.settle(terms, lane, cumulativeAmount, signature).into_transaction_request()
    }

    /// What a mined settlement paid for each voucher, by the contract's own events.
    fn amounts(&self, vouchers: &[SignedVoucher], receipt: &TransactionReceipt) -> Vec<Amount> {
        let own = receipt.logs().iter().filter(|log| log.address() == self.address);
        let events =
            own.filter_map(|log| Some(log.log_decode::<Contract::Settled>().ok()?.inner.data));
        let mut events = events.peekable();
        // Events come in the order of the vouchers, without those that paid nothing.
        let amounts = vouchers.iter().map(|voucher| {
            let (id, lane) = (voucher.terms.id(), U256::from(voucher.lane));
            let event = events.next_if(|event| event.channelId == id && event.lane == lane);
            event.map_or(Amount::ZERO, |event| Amount::units(event.amount))
        });
        amounts.collect()
    }

    /// Starts the challenge, as the payer.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for others than the payer and when it is closing already.
    pub async fn request_close(&self, terms: &Terms) -> Result<B256> {
        let contract = self.contract();
        let call = contract.requestClose(on_chain(terms));
        self.once("request-close", terms, call.into_transaction_request()).await
    }

    /// Closes a channel and gives the payer what is left: as the payee at any time, as anybody after the
    /// challenge. Settle first; a payee with a rail calls [`ChannelRail::close`], for its rail would go on to take
    /// vouchers for as long as it believes the funds it saw.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when it is too early or the channel is not open.
    pub async fn close(&self, terms: &Terms) -> Result<B256> {
        let contract = self.contract();
        let call = contract.close(on_chain(terms));
        self.once("close", terms, call.into_transaction_request()).await
    }

    /// What a channel holds.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn funds(&self, terms: &Terms) -> Result<ChannelFunds> {
        self.funds_at(terms, BlockId::latest()).await
    }

    async fn funds_at(&self, terms: &Terms, at: BlockId) -> Result<ChannelFunds> {
        let funds = self.chain.read(&self.contract().fundsOf(terms.id()).block(at)).await?;
        let closed = funds.closesAt == U256::from(CLOSED);
        let closes_at = u64::try_from(funds.closesAt).ok().filter(|at| *at != 0 && !closed);
        let [available, settled] = [funds.available, funds.settled].map(Amount::units);
        Ok(ChannelFunds { available, settled, closes_at, closed })
    }

    /// What a lane was paid.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn settled(&self, terms: &Terms, lane: u64) -> Result<Amount> {
        self.settled_at(terms, lane, BlockId::latest()).await
    }

    async fn settled_at(&self, terms: &Terms, lane: u64, at: BlockId) -> Result<Amount> {
        let contract = self.contract();
        let call = contract.settledOf(terms.id(), U256::from(lane)).block(at);
        self.chain.read(&call).await.map(Amount::units)
    }

    async fn latest(&self) -> Result<u64> {
        self.chain.ask(self.chain.provider().get_block_number()).await
    }

    /// What the contract wants signed for a voucher; the same as [`SignedVoucher::digest`].
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn digest_of(&self, voucher: &SignedVoucher) -> Result<B256> {
        let (id, lane) = (voucher.terms.id(), U256::from(voucher.lane));
        let contract = self.contract();
        self.chain.read(&contract.digestOf(id, lane, voucher.cumulative.to_units())).await
    }

    /// Whether the contract that is a channel's signer takes the signature (ERC-1271).
    async fn signed_by_contract(&self, voucher: &SignedVoucher) -> Result<bool> {
        let account = DeviceAccount::new(voucher.terms.signer, self.chain.provider());
        let question =
            account.isValidSignature(voucher.digest(&self.domain()), voucher.signature.clone());
        match self.chain.read(&question.gas(ASKING_GAS)).await {
            Ok(answer) => Ok(answer.0 == ERC1271_MAGIC),
            Err(error) if error.is_retryable() => Err(error),
            // No contract, no ERC-1271, or it reverts.
            Err(_) => Ok(false),
        }
    }

    async fn once(&self, what: &str, terms: &Terms, tx: TransactionRequest) -> Result<B256> {
        let key = format!("{what}/{}/{}", self.address, terms.id());
        self.chain.send_once(&key, tx).await.map(|r| r.transaction_hash).map_err(explain)
    }

    fn contract(&self) -> Contract::PaymentChannelInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

/// What one transaction with settlements did.
enum Payout {
    Paid { amounts: Vec<Amount>, transaction: Option<B256> },
    Pending { amount: Amount },
}

fn on_chain(terms: &Terms) -> Contract::Terms {
    let Terms { payer, payee, token, signer, challenge, salt } = *terms;
    Contract::Terms { payer, payee, token, signer, challenge, salt }
}

fn settlement(voucher: &SignedVoucher) -> Contract::Settlement {
    Contract::Settlement {
        terms: on_chain(&voucher.terms),
        lane: U256::from(voucher.lane),
        cumulativeAmount: voucher.cumulative.to_units(),
        signature: voucher.signature.clone(),
    }
}

/// Gives a revert of the contract its remedy; leaves other errors alone.
fn explain(error: Error) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    let Ok(refusal) = Refusal::abi_decode(revert.data()) else { return error };
    let text = match refusal {
        Refusal::ChallengeTooShort(_) => "the payee needs a challenge of an hour at least",
        Refusal::ChannelClosing(_) => {
            "the channel is closing or closed; open one with another salt"
        }
        Refusal::ChannelNotOpen(_) => "nothing was deposited under these terms, or it is closed",
        Refusal::NotPayer(_) => "only the payer asks to close",
        Refusal::CloseTooEarly(_) => "before the challenge is over only the payee closes",
        Refusal::NothingToSettle(_) => "the lane was paid, or the deposit is used up",
        Refusal::InvalidVoucher(_) => "the voucher is not signed by the channel's signer",
        _ => return error,
    };
    let reason = revert.to_string();
    Error::new(ErrorKind::Rejected, text).with("reason", reason).source(error)
}

/// What a settlement with a key's signature costs.
const SETTLING_GAS: u64 = 60_000;
/// What a transaction with settlements may cost: 50 of keys or 4 of contracts, well inside a block of 15 million.
const BATCH_GAS: u64 = 3_040_000;
/// `closesAt` of a closed channel: the largest number of 40 bits.
const CLOSED: u64 = (1 << 40) - 1;
/// `isValidSignature(bytes32,bytes)` answers its own selector.
const ERC1271_MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];
/// What a contract may burn to say whether it signed: no more than it may when many vouchers are settled.
const ASKING_GAS: u64 = 700_000;
