//! Transactions that survive crashes.
//!
//! What is signed is stored first and sent second. So whatever happens in between (a killed process, a
//! lost answer, a node that forgot its pool, a reorganisation) the same bytes can be sent again, and a
//! nonce is never given to two intents. Nothing runs in the background: whoever waits for a transaction
//! also tends those before it, sending them again and raising fees that are too low.

mod body;
mod broadcast;
mod buried;
mod done;
mod fees;
mod funds;
mod gaps;
mod mined;
mod record;
mod store;
mod taken;
mod tend;
mod void;
mod waiting;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use alloy::{
    eips::BlockId,
    primitives::Address,
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use depin_core::{ChainId, Error, ErrorKind, Result};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{Revert, chain::ask};
use done::{Failure, pruned};
use fees::{Fees, Quote};
use mined::Mined;
use record::{Record, Variant};
use store::Allocation;
pub(crate) use store::Store;
use tend::{Sending, Tended};
use void::{Standing, Void};

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) poll: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) replace_after: Duration,
    pub(crate) confirmations: u64,
    pub(crate) reorg_depth: u64,
    pub(crate) max_fee: Option<u128>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            poll: None,
            timeout: Duration::from_secs(120),
            replace_after: Duration::from_secs(45),
            confirmations: 1,
            reorg_depth: 64,
            max_fee: None,
        }
    }
}

/// What a transaction is sent for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Intent<'a> {
    /// Nothing that anybody comes back for.
    Nameless,
    /// Something with a name, which this sender has executed once.
    Once(&'a str),
    /// Something with a name, which its contract executes once.
    Deduplicated(&'a str),
}

impl<'a> Intent<'a> {
    const fn key(self) -> Option<&'a str> {
        match self {
            Self::Nameless => None,
            Self::Once(key) | Self::Deduplicated(key) => Some(key),
        }
    }
}

/// The one allocator of an account's nonces.
pub(crate) struct TxSender {
    provider: DynProvider,
    signer: PrivateKeySigner,
    chain: ChainId,
    store: Store,
    patience: Patience,
    poll: Duration,
    /// How many nonces the chain has used, as last heard. Falls in a reorganisation.
    used: AtomicU64,
    /// The first nonce that was free when this sender started.
    floor: u64,
    tended: Mutex<Tended>,
}

impl TxSender {
    /// Learns the account's nonce and sends again what is stored and not mined.
    pub(crate) async fn start(
        provider: DynProvider,
        signer: PrivateKeySigner,
        chain: ChainId,
        store: Store,
        patience: Patience,
    ) -> Result<Self> {
        let account = signer.address();
        let used = ask(provider.get_transaction_count(account)).await?;
        let waiting = ask(provider.get_transaction_count(account).pending()).await?;
        let poll = patience.poll.unwrap_or_else(|| provider.client().poll_interval());
        let sender = Self {
            provider,
            signer,
            chain,
            store,
            patience,
            poll,
            used: used.into(),
            floor: used.max(waiting),
            tended: Mutex::default(),
        };
        for record in sender.store.since(used)? {
            tracing::info!(nonce = record.nonce, "sending a stored transaction again");
            if let Err(error) = sender.broadcast(record, Sending::Again).await {
                tracing::warn!(%error, "a stored transaction cannot be sent now");
            }
        }
        Ok(sender)
    }

    pub(crate) fn account(&self) -> Address {
        self.signer.address()
    }

    pub(crate) const fn reorg_depth(&self) -> u64 {
        self.patience.reorg_depth
    }

    /// See [`Chain::send`](crate::Chain::send), [`Chain::send_once`](crate::Chain::send_once) and
    /// [`Chain::send_deduplicated`](crate::Chain::send_deduplicated).
    #[tracing::instrument(skip_all, fields(account = %self.account(), key = intent.key()))]
    pub(crate) async fn send(
        &self,
        intent: Intent<'_>,
        tx: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        let key = intent.key();
        self.check(key, &tx)?;
        if let Some(key) = key
            && let Some(earlier) = self.store.by_key(key)?
            && let Some(receipt) = self.come_back(&earlier, intent, &tx).await?
        {
            return Ok(receipt);
        }
        let ready = self.prepare(tx.clone()).await?;
        let sign = |nonce| {
            let variant = Variant::sign(&self.signer, ready, nonce, false)?;
            Ok(Record::new(nonce, key.map(str::to_owned), variant))
        };
        // Another program may have sent something since anybody looked.
        let used = ask(self.provider.get_transaction_count(self.account())).await?;
        let floor = self.floor.max(used);
        match self.store.allocate(key, used, floor, sign)? {
            Allocation::Earlier(record) => Ok(self.resume(&record, &tx).await?),
            Allocation::New(record) => {
                let (nonce, signed) = (record.nonce, record.original()?);
                if let Err(error) = self.broadcast(record, Sending::First).await {
                    return Err(self.reason(error, &signed).await);
                }
                Ok(self.settle(nonce).await?)
            }
        }
    }

    /// Waits for the transaction that a key stands for. Frees the key when it stands for nothing any more: then another
    /// one is to be sent.
    async fn come_back(
        &self,
        earlier: &Record,
        intent: Intent<'_>,
        tx: &TransactionRequest,
    ) -> Result<Option<TransactionReceipt>> {
        let by_contract = matches!(intent, Intent::Deduplicated(_));
        match self.standing(earlier).await? {
            Standing::Intent if by_contract && self.is_given_up(earlier).await? => {}
            Standing::Intent => match self.resume(earlier, tx).await {
                // Whether it was executed is for the contract to say.
                Err(Failure::Untold(error)) if by_contract => tracing::info!(%error, "sent again"),
                ended => return Ok(Some(ended?)),
            },
            Standing::Held(blocks) if !by_contract => {
                // What would revert has a better reason to be refused.
                self.prepare(tx.clone()).await?;
                return Err(self.held(earlier, blocks));
            }
            Standing::Held(_) | Standing::Free => {}
        }
        self.store.free(earlier)?;
        Ok(None)
    }

    /// See [`Chain::knows`](crate::Chain::knows).
    pub(crate) async fn knows(&self, key: &str) -> Result<bool> {
        let Some(record) = self.store.by_key(key)? else { return Ok(false) };
        Ok(matches!(self.standing(&record).await?, Standing::Intent))
    }

    async fn resume(
        &self,
        earlier: &Record,
        tx: &TransactionRequest,
    ) -> Result<TransactionReceipt, Failure> {
        if !earlier.does(tx)? {
            let text = "the key was used for another transaction; choose a new one";
            let key = earlier.key.clone().unwrap_or_default();
            return Err(Error::new(ErrorKind::Conflict, text).with("key", key).into());
        }
        self.settle(earlier.nonce).await
    }

    /// Refuses what could not be stored or sent again.
    fn check(&self, key: Option<&str>, tx: &TransactionRequest) -> Result<()> {
        if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
            return Err(Error::new(ErrorKind::Limit, "a transaction's key is 1 to 256 bytes long"));
        }
        let config = |text| Err(Error::new(ErrorKind::Config, text));
        if tx.nonce.is_some() {
            return config("leave the nonce out: the sender chooses it");
        }
        if tx.from.is_some_and(|from| from != self.account()) {
            return config("the transaction's `from` is not the account of this chain handle");
        }
        if tx.chain_id.is_some_and(|id| id != self.chain.value()) {
            return config("the transaction is for another chain");
        }
        if tx.to.is_none() {
            return config("the transaction has no recipient; use TxKind::Create to deploy");
        }
        if tx.blob_versioned_hashes.is_some() || tx.authorization_list.is_some() {
            let text = "blobs and code delegations are not sent by this sender";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        Ok(())
    }

    /// Adds chain, fees and gas. Estimating the gas runs the transaction, so what would revert ends here.
    async fn prepare(&self, mut tx: TransactionRequest) -> Result<TransactionRequest> {
        tx.from = Some(self.account());
        tx.chain_id = Some(self.chain.value());
        let quote = Quote::ask(&self.provider).await?;
        if Fees::of(&tx).is_none() {
            quote.fees.apply(&mut tx);
        }
        if tx.gas.is_none() {
            // On what is mined: on top of what waits, a node would run all of that for each question.
            let estimate = self.provider.estimate_gas(tx.clone()).block(BlockId::latest());
            let needed = match ask(estimate).await {
                Ok(needed) => needed,
                Err(error) => return Err(self.reason(error, &tx).await),
            };
            // State may change before it is mined; unused gas is not paid.
            let roomy = needed.saturating_add(needed / 5);
            tx.gas = Some(roomy.min(quote.block_gas.max(needed)));
        }
        Ok(tx)
    }

    /// Waits until a variant of a record is mined, and says how it went.
    async fn settle(&self, nonce: u64) -> Result<TransactionReceipt, Failure> {
        let deadline = Instant::now() + self.patience.timeout;
        let mut absent = Absence::default();
        loop {
            let used = self.used.load(Ordering::Acquire) > nonce;
            let record = self.store.record(nonce)?;
            let cause = match self.find(&record).await {
                Ok(Found::Final(variant, receipt)) => {
                    return Ok(self.conclude(&record, &variant, *receipt).await?);
                }
                Ok(Found::Young) if Instant::now() >= deadline => {
                    return Err(young(&record).into());
                }
                Ok(Found::Young) => None,
                Ok(Found::Nothing) => {
                    absent.note(used);
                    None
                }
                Err(error) if error.is_retryable() => Some(error),
                Err(error) => return Err(error.into()),
            };
            if absent.is_certain(self.patience.timeout / 4) && !self.is_known(&record).await? {
                if let Some(failure) = self.lost(&record).await? {
                    return Err(failure);
                }
                absent = Absence::default();
            }
            if Instant::now() >= deadline {
                return Err(self.late(&record, used, cause).await.into());
            }
            self.tend().await;
            sleep(self.poll).await;
        }
    }

    /// Looks for the variant that is mined.
    async fn find(&self, record: &Record) -> Result<Found> {
        for variant in record.variants() {
            let receipt = ask(self.provider.get_transaction_receipt(variant.hash)).await?;
            let Some(receipt) = receipt else { continue };
            let counts = self.counts(&receipt).await?;
            let found = || Found::Final(variant.clone(), Box::new(receipt));
            return Ok(if counts { found() } else { Found::Young });
        }
        Ok(Found::Nothing)
    }

    /// Whether as many blocks contain or follow a mined transaction as it takes to count.
    pub(crate) async fn counts(&self, receipt: &TransactionReceipt) -> Result<bool> {
        let Some(block) = receipt.block_number else { return Ok(false) };
        if self.patience.confirmations <= 1 {
            return Ok(true);
        }
        let height = ask(self.provider.get_block_number()).await?;
        Ok(height.saturating_sub(block).saturating_add(1) >= self.patience.confirmations)
    }

    async fn conclude(
        &self,
        record: &Record,
        mined: &Variant,
        receipt: TransactionReceipt,
    ) -> Result<TransactionReceipt> {
        if !mined.filler && receipt.status() {
            self.done(record, &receipt)?;
            return Ok(receipt);
        }
        self.void(record, Mined::of(&receipt).map_or(Void::Ours, Void::OursIn))?;
        if mined.filler {
            return Err(refusal(record));
        }
        let revert = self.revert_of(mined, &receipt).await;
        let error = match revert {
            Some(revert) => revert.into_error(),
            None => {
                Error::new(ErrorKind::Rejected, "the transaction reverted, perhaps for lack of gas")
            }
        };
        Err(error.with("transaction", mined.hash))
    }

    /// Runs a reverted transaction again to hear its reason: on the state before its block, else (when
    /// another transaction of the block was the reason) after it.
    async fn revert_of(&self, mined: &Variant, receipt: &TransactionReceipt) -> Option<Revert> {
        let mut tx = mined.request().ok()?;
        tx.from = Some(self.account());
        tx.nonce = None;
        let block = receipt.block_number?;
        for number in [block.saturating_sub(1), block] {
            let replay = ask(self.provider.call(tx.clone()).block(BlockId::number(number))).await;
            if let Err(error) = replay {
                return Revert::of(&error).cloned();
            }
        }
        None
    }

    async fn late(&self, record: &Record, used: bool, cause: Option<Error>) -> Error {
        if used && let Ok(Some(done)) = self.succeeded(record).await {
            return pruned(done);
        }
        if record.refused.is_some() {
            return refusal(record);
        }
        let text = "the transaction is not mined yet; it stays tracked, wait for it with its key";
        let error = Error::unavailable(text)
            .with("transaction", record.newest().hash)
            .with("nonce", record.nonce);
        match cause {
            Some(cause) => error.source(cause),
            None => error,
        }
    }
}

impl fmt::Debug for TxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxSender").field("account", &self.account()).finish_non_exhaustive()
    }
}

/// What the chain has of a record.
enum Found {
    Nothing,
    /// Mined, but not deep enough.
    Young,
    Final(Variant, Box<TransactionReceipt>),
}

/// Since when a nonce is used on chain though no variant of ours is mined. Nodes behind one URL are not
/// equally fast, so one look proves nothing.
#[derive(Default)]
struct Absence(Option<(Instant, u32)>);

impl Absence {
    fn note(&mut self, used: bool) {
        let (since, looks) = self.0.unwrap_or_else(|| (Instant::now(), 0));
        self.0 = used.then_some((since, looks.saturating_add(1)));
    }

    fn is_certain(&self, patience: Duration) -> bool {
        self.0.is_some_and(|(since, looks)| looks > MIN_LOOKS && since.elapsed() >= patience)
    }
}

const MIN_LOOKS: u32 = 8;

fn young(record: &Record) -> Error {
    let text = "the transaction is mined, and too few blocks follow it yet; it stays tracked, wait for it with its key";
    let error = Error::unavailable(text).with("transaction", record.newest().hash);
    error.with("nonce", record.nonce)
}

fn refusal(record: &Record) -> Error {
    let reason = record.refused.clone().unwrap_or_default();
    Error::new(ErrorKind::Rejected, "the node refused the transaction").with("cause", reason)
}

const MAX_KEY: usize = 256;
