//! Epochs of rewards on chain: publication, activation, and what watches over them.
//!
//! `RewardDistributor` and `BitmapDistributor` are the same contract up to how they pay, so one client serves both
//! here: it publishes, finds what was published, and (`watch`) disputes, decides, pauses.

mod log;
mod origin;
mod refusal;
mod watch;

use depin_core::{Address, Amount, B256, EpochId, Error, ErrorKind, Result, reward::Commitment};
use depin_evm::{
    Chain, Revert,
    alloy::{
        contract::SolCallBuilder,
        primitives::keccak256,
        providers::{DynProvider, Provider},
        rpc::types::{TransactionReceipt, TransactionRequest},
        sol_types::SolCall,
    },
    bindings::{
        NetworkToken,
        RewardDistributor::{self as Contract, PendingRoot},
    },
};

use super::calls::patiently;
pub(super) use log::{Fate, Gone, Manifested};
pub(super) use refusal::explain;
pub use watch::{PendingEpoch, Verdict};

/// The epochs of a distributor, through one account: a publisher, a watcher, the arbiter or the guardian.
///
/// Both distributors, [`EvmDistributor`](super::EvmDistributor) and [`EvmBitmap`](super::EvmBitmap), are made of one.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::time::Duration;
/// use depin_core::{Amount, B256, EpochId, NetworkId, reward::Commitment};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, RootRules, deploy};
/// use depin_payment::evm::{EvmRoots, Verdict};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let rules = RootRules::default().disputable(Duration::from_secs(3_600), Amount::tokens(9));
/// let arbiter = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await?;
/// let options = DeployOptions::new(NetworkId::parse("climate")?).rules(rules).arbiter(arbiter.account());
/// let roots = EvmRoots::new(chain.clone(), deploy(&chain, &options).await?.distributor);
///
/// let (epoch, root, manifest) = (EpochId::new(0), B256::repeat_byte(1), B256::repeat_byte(2));
/// roots.publish(&Commitment { epoch, root, cumulative: Amount::tokens(7), manifest }).await?;
/// let pending = roots.pending().await?.expect("it waits for its window");
/// assert_eq!((pending.root, pending.disputed), (root, false));
///
/// // The arbiter recomputed the root and found another one.
/// let judge = EvmRoots::new(arbiter, roots.address());
/// judge.resolve(&pending, Verdict::Reject).await?;
/// assert_eq!(roots.pending().await?, None);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmRoots {
    pub(super) chain: Chain,
    pub(super) address: Address,
    pub(super) deployed: u64,
}

impl EvmRoots {
    /// The epochs of the distributor at `address`.
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, deployed: 0 }
    }

    /// Looks for published epochs from this block on, the contract's own, and not from the first one:
    /// spares requests on a long chain.
    #[must_use]
    pub const fn since(mut self, block: u64) -> Self {
        self.deployed = block;
        self
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Publishes an epoch. Needs `PUBLISHER_ROLE`.
    ///
    /// # Errors
    /// As [`RewardDistributor::publish`](depin_core::reward::RewardDistributor::publish).
    pub async fn publish(&self, commitment: &Commitment) -> Result<()> {
        self.publish_once(commitment).await.map(drop)
    }

    /// Publishes an epoch; answers the receipt unless it was published before.
    pub(super) async fn publish_once(
        &self,
        commitment: &Commitment,
    ) -> Result<Option<TransactionReceipt>> {
        let lapsed = self.lapsed().await?;
        match self.published(commitment.epoch).await? {
            Some(there) if there == *commitment => Ok(None),
            Some(_) => Err(published_otherwise(commitment.epoch)),
            None => self.send_publication(lapsed, commitment).await.map(Some),
        }
    }

    /// Sends what is not there yet, after so many disputes that lapsed in a row. The sum in the commitment is what the
    /// leaves of its tree sum up to.
    pub(super) async fn send_publication(
        &self,
        lapsed: u8,
        commitment: &Commitment,
    ) -> Result<TransactionReceipt> {
        let Commitment { epoch, root, cumulative, manifest } = *commitment;
        let contract = self.contract();
        let call = contract.publish(epoch.value(), root, cumulative.to_units(), manifest);
        // After a dispute that lapsed the same content goes out anew, not by its old transaction.
        let intent = if lapsed == 0 { "publish".into() } else { format!("publish-{lapsed}") };
        let tx = call.into_transaction_request();
        let key = self.key(&intent, &tx);
        let earlier = self.chain.knows(&key).await?;
        // The contract takes it once while it stands; what was rejected it would take again.
        let receipt = self.chain.send_once(&key, tx).await.map_err(explain)?;
        // The receipt may be that of an earlier try, which the arbiter rejected since. A fresh one is not judged by a
        // node that may lag behind it.
        if !earlier || self.root(epoch).await? == Some(root) {
            return Ok(receipt);
        }
        let text = "the arbiter rejected the epoch with this content; publish it corrected (a network withdraws it \
                    and closes it again)";
        Err(Error::new(ErrorKind::Rejected, text).with("epoch", epoch).with("root", root))
    }

    /// What was issued to the distributor until now: all rewards of epochs that are active.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn issued(&self) -> Result<Amount> {
        self.chain.read(&self.contract().cumulativeTotal()).await.map(Amount::units)
    }

    /// The last epoch whose rewards can be claimed. Asking changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn latest(&self) -> Result<Option<EpochId>> {
        // Whoever claims from it activates it, so it counts, and asking needs no transaction.
        if let Some(due) = self.due().await? {
            return Ok(Some(due));
        }
        let contract = self.contract();
        if self.chain.read(&contract.epochCount()).await? == 0 {
            return Ok(None);
        }
        self.chain.read(&contract.latestEpoch()).await.map(|epoch| Some(EpochId::new(epoch)))
    }

    /// The last epoch that was published and not [rejected](Self::root), whether its rewards can be claimed or not.
    pub(super) async fn last(&self) -> Result<Option<EpochId>> {
        let pending = self.chain.read(&self.contract().pendingEpoch()).await.map_err(explain)?;
        if pending.activatesAt.is_zero() || self.has_lapsed(&pending).await? {
            return self.latest().await;
        }
        Ok(Some(EpochId::new(pending.epoch)))
    }

    /// Asks what a call would answer; activates the epoch that is due and asks again where it would revert.
    pub(super) async fn ask<P: Provider, C: SolCall>(
        &self,
        call: &SolCallBuilder<P, C>,
    ) -> Result<C::Return> {
        let answer = match self.chain.read(call).await {
            Err(error) if Revert::of(&error).is_some() && self.activate_due().await? => {
                self.chain.read(call).await
            }
            other => other,
        };
        answer.map_err(explain)
    }

    /// The epoch whose window is over and which nobody activated. What the contract holds back (disputed,
    /// paused, above a limit) is not due. Sends nothing.
    async fn due(&self) -> Result<Option<EpochId>> {
        let contract = self.contract();
        let pending = self.chain.read(&contract.pendingEpoch()).await?;
        if pending.activatesAt.is_zero() {
            return Ok(None);
        }
        match self.chain.read(&contract.activate()).await {
            Ok(_) => Ok(Some(EpochId::new(pending.epoch))),
            Err(error) if Revert::of(&error).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Why an epoch that waits does not become active although its window is over: paused, or its emission cannot be
    /// issued. Nothing where it has time, or does not wait. Sends nothing.
    pub(super) async fn held_back(&self, epoch: EpochId) -> Result<Option<Error>> {
        let contract = self.contract();
        let pending = self.chain.read(&contract.pendingEpoch()).await?;
        if pending.activatesAt.is_zero() || pending.epoch != epoch.value() {
            return Ok(None);
        }
        match self.chain.read(&contract.activate()).await {
            Ok(_) => Ok(None),
            Err(error) if is_waiting(&error) => Ok(None),
            Err(error) if Revert::of(&error).is_some() => {
                Ok(Some(explain(error).with("epoch", epoch)))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the source of the token whether it would issue so much to the distributor now. Sends nothing. Where nobody says
    /// so, that is no reason to stop: some nodes let no contract ask (EIP-3607), and others may minters only.
    pub(super) async fn check_issue(&self, emission: Amount) -> Result<()> {
        if emission == Amount::ZERO {
            return Ok(());
        }
        let asked = self.contract();
        let source = self.chain.read(&asked.source()).await?;
        // Every source mints by the call of the token, and nobody but the distributor may.
        let source = NetworkToken::new(source, self.chain.provider());
        let mint = source.mint(self.address, emission.to_units()).from(self.address);
        match self.chain.read(&mint).await {
            Err(error) if error.is_retryable() || Revert::of(&error).is_some() => {
                Err(explain(error))
            }
            _ => Ok(()),
        }
    }

    /// How many disputes have lapsed in a row: nobody decided them in time, and their roots are gone. Removes the
    /// one whose time is over, or an epoch would pass for published that the next one removes.
    pub(super) async fn lapsed(&self) -> Result<u8> {
        let contract = self.contract();
        let waits = contract.pendingEpoch();
        let pending = patiently(|| self.chain.read(&waits)).await.map_err(explain)?;
        if !patiently(|| self.has_lapsed(&pending)).await? {
            return Ok(pending.lapsed);
        }
        match self.chain.send(contract.lapse().into_transaction_request()).await {
            // The node that is asked next may not know of it yet.
            Ok(_) => Ok(pending.lapsed.saturating_add(1)),
            // Somebody else was faster.
            Err(error) if Revert::of(&error).is_some() => Ok(self.chain.read(&waits).await?.lapsed),
            Err(error) => Err(error),
        }
    }

    /// Whether what waits is disputed, and the time of the arbiter over.
    pub(super) async fn has_lapsed(&self, pending: &PendingRoot) -> Result<bool> {
        if !pending.disputed {
            return Ok(false);
        }
        match self.chain.read(&self.contract().lapse()).await {
            Ok(_) => Ok(true),
            // The arbiter still has time.
            Err(error) if Revert::of(&error).is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Activates the epoch that is due; answers whether there was one.
    pub(super) async fn activate_due(&self) -> Result<bool> {
        if self.due().await?.is_none() {
            return Ok(false);
        }
        let activate = self.contract().activate().into_transaction_request();
        match self.chain.send(activate).await {
            Ok(_) => Ok(true),
            // Somebody else was faster.
            Err(error) if Revert::of(&error).is_some() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The root that was published for an epoch and not rejected. That of a dispute which lapsed counts as rejected, as it
    /// does for the contract: the next publication removes it, whoever sends that.
    pub(super) async fn root(&self, epoch: EpochId) -> Result<Option<B256>> {
        let Some(root) = self.kept_root(epoch).await? else { return Ok(None) };
        let pending = self.chain.read(&self.contract().pendingEpoch()).await.map_err(explain)?;
        let waits = pending.epoch == epoch.value();
        Ok(if waits && self.has_lapsed(&pending).await? { None } else { Some(root) })
    }

    /// The root that the contract has for an epoch, also while one whose dispute lapsed was not removed.
    pub(super) async fn kept_root(&self, epoch: EpochId) -> Result<Option<B256>> {
        match self.chain.read(&self.contract().epochRoot(epoch.value())).await.map_err(explain) {
            Ok(root) => Ok(Some(root)),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends what the contract takes once: the same bytes again wait for the first.
    pub(super) async fn send_deduplicated(
        &self,
        what: &str,
        tx: TransactionRequest,
    ) -> Result<TransactionReceipt> {
        self.chain.send_deduplicated(&self.key(what, &tx), tx).await.map_err(explain)
    }

    fn key(&self, what: &str, tx: &TransactionRequest) -> String {
        let input = tx.input.input().map(keccak256).unwrap_or_default();
        format!("{what}/{}/{input}", self.address)
    }

    pub(super) fn contract(&self) -> Contract::RewardDistributorInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

pub(super) fn published_otherwise(epoch: EpochId) -> Error {
    let text = "the epoch was published with other content, which stays unless the arbiter rejects it while it waits; \
                publish what is missing as a later one";
    Error::new(ErrorKind::Conflict, text).with("epoch", epoch)
}

/// Whether the contract said that the epoch has time, or that none waits any more.
fn is_waiting(error: &Error) -> bool {
    Revert::of(error).is_some_and(|revert| {
        revert.decode::<Contract::EpochStillPending>().is_some()
            || revert.decode::<Contract::NothingPending>().is_some()
    })
}

/// Whether the contract said that it has no such epoch. A wrong address says something else.
fn is_unknown(error: &Error) -> bool {
    let revert = Revert::of(error);
    revert.is_some_and(|revert| revert.decode::<Contract::UnknownEpoch>().is_some())
}
