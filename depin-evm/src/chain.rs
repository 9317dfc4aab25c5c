//! The handle through which everything else reaches a chain.
//!
//! One account of one chain: reads go to the node at once, writes go through the crash-safe
//! [sender](crate::sender). Handles are cheap to clone and share one sender, which is what keeps the
//! account's nonces in order.

use std::{fmt, future::IntoFuture, ops::RangeInclusive, sync::Arc, time::Duration};

use alloy::{
    contract::SolCallBuilder,
    eips::BlockNumHash,
    primitives::{Address, TxKind},
    providers::{DynProvider, Provider},
    rpc::types::{Filter, TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
    transports::TransportResult,
};
use depin_core::{ChainId, Error, Result};

use crate::{
    builder::ChainBuilder,
    error::{contract_error, transport_error},
    logs::{LogWidth, Logs},
    sender::{Intent, TxSender},
};

/// One account on one EVM chain.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, alloy::{primitives::{Address, U256}, providers::Provider, rpc::types::TransactionRequest}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let friend = Address::repeat_byte(7);
///
/// let gift = TransactionRequest::default().to(friend).value(U256::from(5));
/// let receipt = chain.send(gift).await?;
/// assert_eq!(receipt.from, chain.account());
/// assert_eq!(chain.ask(chain.provider().get_balance(friend)).await?, U256::from(5));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Chain(Arc<Inner>);

struct Inner {
    provider: DynProvider,
    id: ChainId,
    sender: TxSender,
    log_width: LogWidth,
}

impl Chain {
    /// Starts from nothing; a URL or provider and a signer have to follow.
    pub fn builder() -> ChainBuilder {
        ChainBuilder::default()
    }

    /// A chain behind an alloy provider, such as the embedded devnet's, acting as `signer`.
    ///
    /// The provider needs no wallet: the sender signs itself, so that it can store what it signed.
    pub fn from_provider(provider: DynProvider, signer: PrivateKeySigner) -> ChainBuilder {
        Self::builder().provider(provider).signer(signer)
    }

    /// IoTeX's main network (chain id 4689) through its public endpoint. Needs the feature `tls`.
    pub fn iotex(signer: PrivateKeySigner) -> ChainBuilder {
        ChainBuilder::iotex("https://babel-api.mainnet.iotex.io", ChainId::new(4689)).signer(signer)
    }

    /// IoTeX's test network (chain id 4690) through its public endpoint. Needs the feature `tls`.
    pub fn iotex_testnet(signer: PrivateKeySigner) -> ChainBuilder {
        ChainBuilder::iotex("https://babel-api.testnet.iotex.io", ChainId::new(4690)).signer(signer)
    }

    pub(crate) fn new(provider: DynProvider, id: ChainId, sender: TxSender) -> Self {
        Self(Arc::new(Inner { provider, id, sender, log_width: LogWidth::default() }))
    }

    /// The alloy provider, for reads and contract bindings. Do not send this account's transactions
    /// with it: the sender would not know of their nonces.
    pub fn provider(&self) -> &DynProvider {
        &self.0.provider
    }

    /// The EIP-155 chain id.
    pub fn id(&self) -> ChainId {
        self.0.id
    }

    /// How many blocks a reorganisation replaces at most, as the [builder](ChainBuilder::reorg_depth) was told. What is
    /// below so many others stays.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::Chain;
    /// # let devnet = Devnet::start();
    /// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// assert_eq!(chain.reorg_depth(), 64);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn reorg_depth(&self) -> u64 {
        self.0.sender.reorg_depth()
    }

    /// The address that signs.
    pub fn account(&self) -> Address {
        self.0.sender.account()
    }

    /// Sends a transaction and waits until it is mined as deep as the builder said.
    ///
    /// Leave nonce, gas, fees and sender out: a simulation finds the gas and refuses what would revert,
    /// before a nonce is used. It runs on the state of now: what needs another transaction first has to
    /// wait for that one. Contract bindings give the request with `into_transaction_request()`.
    ///
    /// # Errors
    /// [`Rejected`](depin_core::ErrorKind::Rejected) when the simulation or the transaction itself
    /// reverts, with the [reason](crate::Revert::of), when the account cannot pay for it, with [what it
    /// lacks](crate::Unfunded::of), or when the node refuses it for good.
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer or the time is
    /// over. A transaction that got as far as a nonce stays tracked and will be mined once; only
    /// [`send_once`](Self::send_once) can come back for it, so use that wherever a second transaction
    /// would do harm. One that was reported to have no effect is not offered again.
    pub async fn send(&self, tx: TransactionRequest) -> Result<TransactionReceipt> {
        self.0.sender.send(Intent::Nameless, tx).await
    }

    /// Sends a transaction for an intent with a name of its own, once.
    ///
    /// The same key again, after a timeout or a crash, waits for the earlier transaction and returns its
    /// receipt.
    ///
    /// A transaction that had no effect frees its key for another one, but only when as many blocks follow it as
    /// [`reorg_depth`](ChainBuilder::reorg_depth) says. Until then a reorganisation could have it executed after all,
    /// since its bytes are public, and beside its retry. The first call says why it had no effect, later ones say that
    /// it is too early, or return the receipt when a reorganisation did let it succeed. A key is free at once when the
    /// simulation refused its transaction, or the node did when it was sent first. That a retry is not executed beside
    /// what it repeats holds as long as no reorganisation is deeper than that depth, and for the same key: do not repeat
    /// a payment under another key sooner.
    ///
    /// A receipt that the node does not have proves nothing. A success or a revert is remembered, and stands while the
    /// node shows no other block in its place; another program used the nonce when the node shows that program's
    /// transaction in its block, which does something else: the same is taken for one of ours that a restored store
    /// forgot. Else there is no answer until a node has one: nodes that keep no old states show blocks of the last
    /// minutes only.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, alloy::{primitives::{Address, U256}, rpc::types::TransactionRequest}};
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let rent = TransactionRequest::default().to(Address::repeat_byte(7)).value(U256::from(5));
    /// let first = chain.send_once("rent/2026-11", rent.clone()).await?;
    /// let again = chain.send_once("rent/2026-11", rent).await?;
    /// assert_eq!(first.transaction_hash, again.transaction_hash);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Conflict`](depin_core::ErrorKind::Conflict) when the key was used
    /// for another recipient, value or input; [`Unavailable`](depin_core::ErrorKind::Unavailable), with the number of
    /// `blocks` to wait for, while the key is not free again, and with the `transaction` to look for when only another
    /// node can tell of it.
    pub async fn send_once(&self, key: &str, tx: TransactionRequest) -> Result<TransactionReceipt> {
        self.0.sender.send(Intent::Once(key), tx).await
    }

    /// Sends a transaction for an intent that its contract executes once, however many transactions bring it: by a
    /// nonce of its own, by amounts that are cumulative, by a mark that it leaves.
    ///
    /// As [`send_once`](Self::send_once), but the key of a transaction that had no effect is free at once, and so is that
    /// of one of which no node tells what became of it. When it is executed after all, or was, the contract refuses the
    /// second: what came of the intent is
    /// then to be read from the contract.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, alloy::{primitives::Address, rpc::types::TransactionRequest}};
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// // A stand-in for a contract's `settle(nonce)`.
    /// let settle = TransactionRequest::default().to(Address::repeat_byte(7)).input(vec![1].into());
    /// let first = chain.send_deduplicated("settle/1", settle.clone()).await?;
    /// let again = chain.send_deduplicated("settle/1", settle).await?;
    /// assert_eq!(first.transaction_hash, again.transaction_hash);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`send_once`](Self::send_once), but never for blocks to wait for, nor more than once for a transaction that only
    /// another node can tell of, unless it succeeded: then the error [says so](crate::Succeeded::of).
    pub async fn send_deduplicated(
        &self,
        key: &str,
        tx: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        self.0.sender.send(Intent::Deduplicated(key), tx).await
    }

    /// Whether [`send_once`](Self::send_once) has a transaction for this key, mined or not: what comes again with
    /// the key only waits for that one, and need not be possible any more. One that had no effect does not count, unless
    /// a reorganisation gave it another chance.
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the store cannot be read or the node does not answer.
    pub async fn knows(&self, key: &str) -> Result<bool> {
        self.0.sender.knows(key).await
    }

    /// Waits until every transaction this account ever stored is mined, for example after a restart.
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer or the time is
    /// over; call it again.
    pub async fn settle(&self) -> Result<()> {
        self.0.sender.settle_all().await
    }

    /// How many transactions of this account wait to be mined, whoever sent them.
    ///
    /// Nodes of IoTeX count what waits among what is mined. Where they keep no old states, they show none of it: what
    /// this handle sent is known all the same to [`settle`](Self::settle).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::Chain;
    /// # let devnet = Devnet::start();
    /// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// assert_eq!(chain.waiting().await?, 0);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer.
    pub async fn waiting(&self) -> Result<u64> {
        self.0.sender.waiting().await
    }

    /// Whether a transaction, of any account, counts: as many blocks contain or follow it as
    /// [`confirmations`](ChainBuilder::confirmations) says. Those that [`send`](Self::send) answers with do.
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer.
    pub async fn counts(&self, receipt: &TransactionReceipt) -> Result<bool> {
        self.0.sender.counts(receipt).await
    }

    /// Whether a block is in the chain below as many others as a [reorganisation](Self::reorg_depth) may replace, by the
    /// headers of all of them: that also a node tells which keeps no old states.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, alloy::{eips::BlockNumHash, primitives::B256, rpc::types::TransactionRequest}};
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let receipt = chain.send(TransactionRequest::default().to(chain.account())).await?;
    /// let (number, hash) = (receipt.block_number.unwrap(), receipt.block_hash.unwrap());
    /// assert!(!chain.is_buried(BlockNumHash { number, hash }).await?);
    /// devnet.mine(chain.reorg_depth());
    /// assert!(chain.is_buried(BlockNumHash { number, hash }).await?);
    /// assert!(!chain.is_buried(BlockNumHash { number, hash: B256::ZERO }).await?, "another block");
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer.
    pub async fn is_buried(&self, block: BlockNumHash) -> Result<bool> {
        self.0.sender.is_buried(block).await
    }

    /// Whether no [reorganisation](Self::reorg_depth) can replace a transaction of this account which `is_meant`, by its
    /// recipient and input, and nothing of the account waits to be mined. What another program sent with the same key, or
    /// a store that was lost knew of, counts as well: the bodies of the last blocks tell it. Asks for each of those.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, alloy::{primitives::TxKind, rpc::types::TransactionRequest}};
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let me = TxKind::Call(chain.account());
    /// chain.send(TransactionRequest::default().to(chain.account())).await?;
    /// assert!(!chain.are_buried(|to, _| to == me).await?);
    /// assert!(chain.are_buried(|_, input| !input.is_empty()).await?);
    /// devnet.mine(chain.reorg_depth());
    /// assert!(chain.are_buried(|to, _| to == me).await?);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer or the store cannot be read.
    pub async fn are_buried(
        &self,
        is_meant: impl Fn(TxKind, &[u8]) -> bool + Send + Sync,
    ) -> Result<bool> {
        self.0.sender.are_buried(&is_meant).await
    }

    /// Calls a contract without a transaction.
    ///
    /// # Errors
    /// [`Rejected`](depin_core::ErrorKind::Rejected) with the reason when the contract reverts,
    /// [`NotFound`](depin_core::ErrorKind::NotFound) when no contract is there,
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) when the node does not answer.
    pub async fn read<P: Provider, C: SolCall>(
        &self,
        call: &SolCallBuilder<P, C>,
    ) -> Result<C::Return> {
        match tokio::time::timeout(RPC_TIME, call.call().into_future()).await {
            Ok(answer) => answer.map_err(contract_error),
            Err(_) => Err(silent(RPC_TIME)),
        }
    }

    /// Waits for a request to the node, not for ever, and maps its error.
    ///
    /// # Errors
    /// As [`transport_error`](crate::transport_error), and
    /// [`Unavailable`](depin_core::ErrorKind::Unavailable) after 30 seconds.
    pub async fn ask<T>(&self, request: impl IntoFuture<Output = TransportResult<T>>) -> Result<T> {
        ask(request).await
    }

    /// Reads the logs of these blocks that match, whatever blocks the filter names, in windows that the node answers:
    /// nodes refuse ranges of more than 500 to 100,000 blocks, and requests that come too often.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_devnet::Devnet;
    /// # use depin_core::NetworkId;
    /// # use depin_evm::{Chain, DeployOptions, alloy::rpc::types::Filter, deploy};
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
    /// let of_token = Filter::new().address(contracts.token);
    /// let logs = chain.logs(of_token, contracts.block..=devnet.block_number()).all().await?;
    /// assert!(!logs.is_empty());
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub const fn logs(&self, filter: Filter, blocks: RangeInclusive<u64>) -> Logs<'_> {
        Logs::new(self, filter, blocks)
    }

    pub(crate) fn log_width(&self) -> &LogWidth {
        &self.0.log_width
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("id", &self.id().value())
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}

/// A request to the node that cannot hang.
pub(crate) async fn ask<T>(request: impl IntoFuture<Output = TransportResult<T>>) -> Result<T> {
    within(RPC_TIME, request).await?.map_err(transport_error)
}

/// The answer of the node as it is, if there is one in time.
pub(crate) async fn within<T>(
    most: Duration,
    request: impl IntoFuture<Output = TransportResult<T>>,
) -> Result<TransportResult<T>> {
    tokio::time::timeout(most, request.into_future()).await.map_err(|_| silent(most))
}

fn silent(after: Duration) -> Error {
    Error::unavailable("the node does not answer; try again").with("seconds", after.as_secs())
}

/// How long one request may take.
pub(crate) const RPC_TIME: Duration = Duration::from_secs(30);
