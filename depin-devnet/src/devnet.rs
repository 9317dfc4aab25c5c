//! The handle users hold.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::client::RpcClient,
    signers::local::PrivateKeySigner,
};

use crate::{
    builder::DevnetBuilder,
    chain::Chain,
    error::Error,
    transport::DevnetTransport,
    wallet::{Signed, Wallet},
};

/// An Ethereum chain inside the process.
///
/// Cloning gives another handle to the same chain; the last one dropped ends it.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use alloy::{primitives::{Address, U256}, providers::Provider, rpc::types::TransactionRequest};
/// use depin_devnet::Devnet;
///
/// let devnet = Devnet::start();
/// let provider = devnet.provider();
/// let gift = TransactionRequest::default().to(Address::repeat_byte(7)).value(U256::from(5));
/// let receipt = provider.send_transaction(gift).await?.get_receipt().await?;
/// assert!(receipt.status());
/// assert_eq!(provider.get_balance(Address::repeat_byte(7)).await?, U256::from(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Devnet(Arc<Shared>);

struct Shared {
    chain: Mutex<Chain>,
    signers: Vec<PrivateKeySigner>,
    signed: Signed,
}

/// Names a moment to come back to with [`Devnet::revert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotId(u64);

impl Devnet {
    /// Starts a chain with the usual settings: chain id 31337, ten funded accounts, a block per
    /// transaction, the system's clock.
    pub fn start() -> Self {
        Self::builder().build()
    }

    /// Chooses other settings.
    pub fn builder() -> DevnetBuilder {
        DevnetBuilder::default()
    }

    pub(crate) fn over(chain: Chain, signers: Vec<PrivateKeySigner>) -> Self {
        let block_time = chain.config.block_time;
        let devnet =
            Self(Arc::new(Shared { chain: Mutex::new(chain), signers, signed: Signed::default() }));
        if let Some(block_time) = block_time {
            devnet.mine_every(block_time.max(Duration::from_millis(1)));
        }
        devnet
    }

    /// An alloy provider that signs for every development account; account 0 is the default sender.
    ///
    /// It asks for the nonce before each transaction, so it stays right after reverts and reorgs.
    /// Tasks that send from one account at the same time must set nonces themselves.
    pub fn provider(&self) -> DynProvider {
        let mut signers = self.0.signers.iter().cloned();
        let mut wallet = signers.next().map(EthereumWallet::from).unwrap_or_default();
        signers.for_each(|signer| wallet.register_signer(signer));
        self.connect(wallet)
    }

    /// An alloy provider that signs with one key of yours.
    pub fn provider_with(&self, signer: PrivateKeySigner) -> DynProvider {
        self.connect(EthereumWallet::from(signer))
    }

    fn connect(&self, wallet: EthereumWallet) -> DynProvider {
        let client = RpcClient::new(self.transport(), true).with_poll_interval(POLL_INTERVAL);
        // Not the recommended fillers: those remember nonces, which reverts and reorgs take back.
        ProviderBuilder::default()
            .with_gas_estimation()
            .with_simple_nonce_management()
            .with_chain_id(self.chain_id())
            .wallet(Wallet::new(wallet, self.clone()))
            .connect_client(client)
            .erased()
    }

    /// The chain as a tower service, to build alloy clients with layers of your own.
    pub fn transport(&self) -> DevnetTransport {
        DevnetTransport::new(self.clone())
    }

    /// The key of a funded development account. Indices beyond the funded ones give keys with no
    /// balance.
    pub fn account(&self, index: u16) -> PrivateKeySigner {
        let known = self.0.signers.get(usize::from(index)).cloned();
        known.unwrap_or_else(|| crate::accounts::signer(index))
    }

    /// Addresses of the funded development accounts.
    pub fn addresses(&self) -> Vec<Address> {
        self.0.signers.iter().map(PrivateKeySigner::address).collect()
    }

    /// The chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain().config.chain_id
    }

    /// Number of the latest block.
    pub fn block_number(&self) -> u64 {
        self.chain().height()
    }

    /// Time of the latest block in seconds since the Unix epoch.
    pub fn timestamp(&self) -> u64 {
        self.chain().latest().header.timestamp
    }

    /// Mines blocks; waiting transactions go into the first that has room.
    pub fn mine(&self, blocks: u64) {
        let mut chain = self.chain();
        (0..blocks).for_each(|_| chain.mine(unix_now()));
    }

    /// Whether every transaction is mined when it arrives. Waiting ones stay until the next block.
    pub fn set_automine(&self, automine: bool) {
        self.chain().automine = automine;
    }

    /// Moves the chain's time forward by seconds; the next block shows it.
    ///
    /// # Errors
    /// When time would leave a range of thousands of years.
    pub fn increase_time(&self, seconds: u64) -> Result<(), Error> {
        self.chain().time.increase(seconds).map(drop)
    }

    /// Fixes the time of the next block, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is not after the latest block's.
    pub fn set_next_block_timestamp(&self, timestamp: u64) -> Result<(), Error> {
        let mut chain = self.chain();
        let parent = chain.latest().header.timestamp;
        chain.time.set_next(timestamp, parent)
    }

    /// Gives an account a balance in wei. It happens in a block of its own, so that every state
    /// root and proof stays true.
    pub fn set_balance(&self, address: Address, balance: U256) {
        self.chain().set_balance(&address, balance, unix_now());
    }

    /// Puts the runtime code of a contract at an address, for example one that public chains have there. It
    /// happens in a block of its own; no constructor runs, and storage stays as it is.
    pub fn set_code(&self, address: Address, code: Bytes) {
        self.chain().set_code(&address, code, unix_now());
    }

    /// Remembers the present: blocks, waiting transactions and time.
    ///
    /// # Errors
    /// When 1,024 snapshots are kept already.
    pub fn snapshot(&self) -> Result<SnapshotId, Error> {
        self.chain().snapshot().map(SnapshotId)
    }

    /// Goes back to a snapshot, which is used up together with all later ones. Answers false when it
    /// was used before or a reorg went below it.
    pub fn revert(&self, snapshot: SnapshotId) -> bool {
        self.chain().revert(snapshot.0)
    }

    /// Replaces the newest `depth` blocks by as many empty ones, as a chain reorganisation that lost
    /// their transactions: receipts vanish, nonces go back, filters report removed logs.
    ///
    /// # Errors
    /// When there are fewer blocks above genesis.
    pub fn reorg(&self, depth: u64) -> Result<(), Error> {
        self.chain().reorg(depth, unix_now())
    }

    /// Refuses from now on to tell the logs of more blocks than these at once, as public nodes do: of 500 to 100,000.
    ///
    /// ```
    /// use alloy::{providers::Provider, rpc::types::Filter};
    /// use depin_devnet::Devnet;
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let devnet = Devnet::start();
    /// devnet.limit_logs(500);
    /// let blocks = |last| Filter::new().from_block(1).to_block(last);
    /// assert!(devnet.provider().get_logs(&blocks(500)).await.is_ok());
    /// assert!(devnet.provider().get_logs(&blocks(501)).await.is_err());
    /// # });
    /// ```
    pub fn limit_logs(&self, blocks: u64) {
        self.chain().log_range = blocks;
    }

    /// Hashes of the transactions that wait for a block, in the order in which they arrived.
    pub fn waiting(&self) -> Vec<B256> {
        self.chain().pool.iter().map(|tx| *tx.tx_hash()).collect()
    }

    /// Forgets a transaction that waits, as nodes do whose pool is full or which restart. Answers whether it
    /// was there.
    pub fn drop_transaction(&self, hash: B256) -> bool {
        self.chain().drop_waiting(&hash)
    }

    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain> {
        // No code leaves the chain half changed when it panics, so a poisoned lock is still good.
        self.0.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who signed what in this process.
    pub(crate) fn signed(&self) -> &Signed {
        &self.0.signed
    }

    fn mine_every(&self, block_time: Duration) {
        let weak = Arc::downgrade(&self.0);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(block_time);
                let Some(shared) = weak.upgrade() else { return };
                Self(shared).mine(1);
            }
        });
    }
}

impl fmt::Debug for Devnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.chain();
        f.debug_struct("Devnet")
            .field("chain_id", &chain.config.chain_id)
            .field("block_number", &chain.height())
            .finish_non_exhaustive()
    }
}

/// The system's clock in seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How often providers look for news: an in-process question costs microseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
