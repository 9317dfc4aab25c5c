//! Choosing a chain, an account and how patient to be.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::B256,
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
    transports::http::reqwest::Url,
};
use depin_core::{ChainId, Error, ErrorKind, Result};

use crate::{
    chain::{Chain, ask},
    sender::{Patience, Store, TxSender},
};

/// Settings of a [`Chain`] to be.
///
/// ```
/// use depin_evm::{Chain, ErrorKind};
///
/// assert!(Chain::builder().url("http://127.0.0.1:8545").is_ok());
/// assert_eq!(Chain::builder().url("127.0.0.1").unwrap_err().kind(), ErrorKind::Config);
/// ```
#[derive(Debug, Default)]
#[must_use = "call connect() to reach the chain"]
pub struct ChainBuilder {
    provider: Option<DynProvider>,
    https: bool,
    signer: Option<PrivateKeySigner>,
    id: Option<ChainId>,
    store: Option<PathBuf>,
    patience: Patience,
}

impl ChainBuilder {
    /// IoTeX makes a block every 2.5 seconds.
    pub(crate) fn iotex(url: &'static str, id: ChainId) -> Self {
        let url = Url::parse(url).expect("invariant: the presets are URLs");
        Self::default().at(url).expect_id(id).poll_interval(Duration::from_secs(1))
    }

    /// The JSON-RPC endpoint of a node. `https://` needs the feature `tls`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is no http or https URL.
    pub fn url(self, url: &str) -> Result<Self> {
        match Url::parse(url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(self.at(url)),
            // The text stays out of the error: it may hold an access key.
            _ => Err(Error::new(ErrorKind::Config, "node URL is no http:// or https:// URL")),
        }
    }

    /// An alloy provider instead of a URL.
    pub fn provider(mut self, provider: DynProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The key of the account that sends. No other program may send for the same account meanwhile.
    pub fn signer(mut self, signer: PrivateKeySigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// The chain id that must answer.
    pub const fn expect_id(mut self, id: ChainId) -> Self {
        self.id = Some(id);
        self
    }

    /// The file that keeps what was signed. It belongs to one account on one chain, and to one process
    /// at a time. Without it transactions are kept in memory, which a crash loses: fine for tests and
    /// for programs that only read.
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().into());
        self
    }

    /// How often to look for news while waiting. Unless told it is the provider's own interval.
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.patience.poll = Some(interval);
        self
    }

    /// How many blocks must contain or follow a transaction before it counts; one unless told.
    pub const fn confirmations(mut self, blocks: u64) -> Self {
        self.patience.confirmations = blocks;
        self
    }

    /// How many of the newest blocks a reorganisation may replace; 64 unless told, two epochs of Ethereum. The key of a
    /// transaction that had no effect is free again when so many blocks follow it; see
    /// [`send_once`](Chain::send_once). Zero is for chains whose blocks are final at once.
    pub const fn reorg_depth(mut self, blocks: u64) -> Self {
        self.patience.reorg_depth = blocks;
        self
    }

    /// How long one call waits for its transaction before it answers
    /// [`Unavailable`](ErrorKind::Unavailable); two minutes unless told.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.patience.timeout = timeout;
        self
    }

    /// After how long a waiting transaction is replaced by the same at a higher fee; 45 seconds unless
    /// told. As long it waits for an earlier nonce that was passed over as another's, when neither the chain nor the
    /// node's pool has a transaction for that any more; then that nonce is filled with an empty one.
    pub const fn replace_after(mut self, age: Duration) -> Self {
        self.patience.replace_after = age;
        self
    }

    /// Highest fee per gas, in wei, that replacements may reach. Unless told it is eight times the fee
    /// of the first attempt.
    pub const fn max_fee(mut self, wei_per_gas: u128) -> Self {
        self.patience.max_fee = Some(wei_per_gas);
        self
    }

    /// Reaches the chain, opens the store and sends again what an earlier run left unfinished.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when something is missing, the chain has another id, or the store belongs
    /// to another account or chain; [`ErrorKind::Conflict`] when another process has the store open;
    /// [`ErrorKind::Corrupt`] when it is damaged; [`ErrorKind::Unavailable`] when the node does not
    /// answer.
    pub async fn connect(self) -> Result<Chain> {
        let provider = self.provider.ok_or_else(|| missing("a URL or a provider"))?;
        let signer = self.signer.ok_or_else(|| missing("a signer"))?;
        let id = ask(provider.get_chain_id()).await.map(ChainId::new);
        let id = id.map_err(|error| if self.https { explain_tls(error) } else { error })?;
        if let Some(expected) = self.id.filter(|expected| *expected != id) {
            return Err(Error::new(
                ErrorKind::Config,
                "the node serves another chain; check its URL",
            )
            .with("expected", expected)
            .with("found", id));
        }
        let owner = format!("{id}/{}/{}", signer.address(), genesis(&provider).await?);
        let store = Store::open(self.store.as_deref(), &owner)?;
        let sender = TxSender::start(provider.clone(), signer, id, store, self.patience).await?;
        Ok(Chain::new(provider, id, sender))
    }

    fn at(mut self, url: Url) -> Self {
        self.https = url.scheme() == "https";
        self.provider(ProviderBuilder::default().connect_http(url).erased())
    }
}

/// Tells a fresh chain from an earlier one with the same id, as local chains are after a restart.
async fn genesis(provider: &DynProvider) -> Result<B256> {
    let block = ask(provider.get_block_by_number(BlockNumberOrTag::Number(0))).await?;
    Ok(block.map_or(B256::ZERO, |block| block.header.hash))
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Config, "the chain builder lacks something").with("missing", what)
}

fn explain_tls(error: Error) -> Error {
    if cfg!(feature = "tls") {
        return error;
    }
    Error::new(ErrorKind::Unsupported, "https:// needs the feature `tls` of depin-evm")
        .source(error)
}
