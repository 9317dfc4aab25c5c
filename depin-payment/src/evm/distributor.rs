//! The `RewardDistributor` contract.

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, EpochId, Error, ErrorKind, Result,
    reward::{Commitment, RewardDistributor},
};
use depin_evm::{
    Chain, Revert,
    alloy::{
        primitives::keccak256,
        providers::{DynProvider, Provider},
        rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest},
        sol_types::SolEvent,
    },
    bindings::RewardDistributor as Contract,
};

use super::explain;
use crate::Claim;

/// A reward distributor contract, through the account that publishes epochs and pays for transactions.
///
/// Publishing needs the contract's `PUBLISHER_ROLE`; claiming for anybody and reading need nothing. The
/// contract issues the emission of an epoch when it becomes active, in a token that lets it mint: at once, or
/// after the window in which it can be disputed, as soon as somebody claims or the next one is published.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, B256, EpochId, NetworkId, reward::{Commitment, RewardDistributor}};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::{RewardTree, evm::EvmDistributor};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let distributor = EvmDistributor::new(chain, contracts.distributor);
///
/// let (ann, total) = (Address::repeat_byte(1), Amount::tokens(7));
/// let tree = RewardTree::build(vec![(ann, total)])?;
/// let (epoch, root, manifest) = (EpochId::new(0), tree.root(), B256::repeat_byte(2));
/// distributor.publish(&Commitment { epoch, root, cumulative: total, manifest }).await?;
///
/// let claims: Vec<_> = tree.claims().collect();
/// assert_eq!(distributor.claim_many(&claims).await?, [total]);
/// assert_eq!(distributor.claim_many(&claims).await?, [Amount::ZERO]);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmDistributor {
    chain: Chain,
    address: Address,
    deployed: u64,
}

impl EvmDistributor {
    /// The distributor at `address`.
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

    /// Pays many accounts, in as few transactions as fit into blocks, and returns what each was paid.
    ///
    /// An account that was paid before is paid nothing again, so after an error the same call continues
    /// where it stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when a proof does not hold (the accounts of earlier transactions are paid
    /// by then), [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn claim_many(&self, claims: &[Claim]) -> Result<Vec<Amount>> {
        let mut paid = Vec::with_capacity(claims.len());
        for chunk in claims.chunks(CLAIMS_PER_TRANSACTION) {
            paid.extend(self.claim_chunk(chunk).await?);
        }
        Ok(paid)
    }

    async fn claim_chunk(&self, claims: &[Claim]) -> Result<Vec<Amount>> {
        let contract = self.contract();
        let call = contract.claimMany(claims.iter().map(payment).collect());
        // Asked first: proofs that fail cost no gas, and neither does paying again what was paid.
        let granted = match self.chain.read(&call).await {
            Err(error) if Revert::of(&error).is_some() && self.activate_due().await? => {
                self.chain.read(&call).await
            }
            other => other,
        };
        if granted.map_err(explain)?.is_zero() {
            return Ok(vec![Amount::ZERO; claims.len()]);
        }
        let receipt = self.send_once("claim", call.into_transaction_request()).await?;
        let mut payments = self.payments(&receipt).peekable();
        // Events come in the order of the claims, without those that were paid before.
        let paid = claims.iter().map(|claim| {
            let event = payments.next_if(|event| {
                event.account == claim.account && event.cumulative == claim.cumulative.to_units()
            });
            event.map_or(Amount::ZERO, |event| Amount::units(event.amount))
        });
        Ok(paid.collect())
    }

    /// What a mined transaction paid, by this contract's own events.
    fn payments<'a>(
        &self,
        receipt: &'a TransactionReceipt,
    ) -> impl Iterator<Item = Contract::Claimed> + use<'a> {
        let address = self.address;
        let own = receipt.logs().iter().filter(move |log| log.address() == address);
        own.filter_map(|log| Some(log.log_decode::<Contract::Claimed>().ok()?.inner.data))
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

    /// How many disputes have lapsed in a row: nobody decided them in time, and their roots are gone. Removes the
    /// one whose time is over, or an epoch would pass for published that the next one removes.
    async fn lapsed(&self) -> Result<u8> {
        let contract = self.contract();
        let pending = self.chain.read(&contract.pendingEpoch()).await.map_err(explain)?;
        if !pending.disputed {
            return Ok(pending.lapsed);
        }
        let lapse = contract.lapse();
        match self.chain.read(&lapse).await {
            Ok(_) => self.chain.send(lapse.into_transaction_request()).await?,
            // The arbiter still has time.
            Err(error) if Revert::of(&error).is_some() => return Ok(pending.lapsed),
            Err(error) => return Err(error),
        };
        Ok(self.chain.read(&contract.pendingEpoch()).await?.lapsed)
    }

    /// Activates the epoch that is due; answers whether there was one.
    async fn activate_due(&self) -> Result<bool> {
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

    /// The root that was published for an epoch and not rejected.
    async fn root(&self, epoch: EpochId) -> Result<Option<B256>> {
        match self.chain.read(&self.contract().epochRoot(epoch.value())).await.map_err(explain) {
            Ok(root) => Ok(Some(root)),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The event that published an epoch.
    async fn event(&self, epoch: EpochId, root: B256) -> Result<Contract::EpochPublished> {
        let provider = self.chain.provider();
        let mut end = self.chain.ask(provider.get_block_number()).await?;
        loop {
            // Newest first, in windows that public nodes answer.
            let start = end.saturating_sub(LOG_WINDOW - 1).max(self.deployed);
            let filter = self.published_in(epoch).from_block(start).to_block(end);
            let logs = self.chain.ask(provider.get_logs(&filter)).await?;
            // Whoever serves the log may be mistaken; the contract's own root decides.
            let found = logs.iter().filter_map(published_event).find(|event| event.root == root);
            if let Some(event) = found {
                return Ok(event);
            }
            if start <= self.deployed {
                let text = "the node's log lacks the epoch that the contract has; \
                            try again, or use an archive node";
                return Err(Error::unavailable(text).with("epoch", epoch));
            }
            end = start - 1;
        }
    }

    fn published_in(&self, epoch: EpochId) -> Filter {
        Filter::new()
            .address(self.address)
            .event_signature(Contract::EpochPublished::SIGNATURE_HASH)
            .topic1(B256::left_padding_from(&epoch.value().to_be_bytes()))
    }

    /// Sends what must not be sent twice: the same bytes again wait for the first.
    async fn send_once(&self, what: &str, tx: TransactionRequest) -> Result<TransactionReceipt> {
        let input = tx.input.input().map(keccak256).unwrap_or_default();
        let key = format!("{what}/{}/{input}", self.address);
        self.chain.send_once(&key, tx).await.map_err(explain)
    }

    fn contract(&self) -> Contract::RewardDistributorInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

#[async_trait]
impl RewardDistributor for EvmDistributor {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        let Commitment { epoch, root, cumulative, manifest } = *commitment;
        let lapsed = self.lapsed().await?;
        match self.published(epoch).await? {
            Some(there) if there == *commitment => return Ok(()),
            Some(_) => {
                let text = "the epoch was published with other content";
                return Err(Error::new(ErrorKind::Conflict, text).with("epoch", epoch));
            }
            None => {}
        }
        let contract = self.contract();
        let call = contract.publish(epoch.value(), root, cumulative.to_units(), manifest);
        // After a dispute that lapsed the same content goes out anew, not by its old transaction.
        let intent = if lapsed == 0 { "publish".into() } else { format!("publish-{lapsed}") };
        self.send_once(&intent, call.into_transaction_request()).await?;
        // The receipt may be that of an earlier try, which the arbiter rejected since.
        if self.root(epoch).await? == Some(root) {
            return Ok(());
        }
        let text = "the arbiter rejected the epoch with this content; publish it corrected";
        Err(Error::new(ErrorKind::Rejected, text).with("epoch", epoch).with("root", root))
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        let Some(root) = self.root(epoch).await? else { return Ok(None) };
        let event = self.event(epoch, root).await?;
        let cumulative = Amount::units(event.cumulativeTotal);
        Ok(Some(Commitment { epoch, root, cumulative, manifest: event.logRoot }))
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
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

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        let claim = Claim { account, cumulative, proof: proof.to_vec() };
        let paid = self.claim_chunk(&[claim]).await?;
        Ok(paid.first().copied().unwrap_or_default())
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        self.chain.read(&self.contract().claimed(account)).await.map(Amount::units)
    }
}

/// Whether the contract said that it has no such epoch. A wrong address says something else.
fn is_unknown(error: &Error) -> bool {
    let revert = Revert::of(error);
    revert.is_some_and(|revert| revert.decode::<Contract::UnknownEpoch>().is_some())
}

fn published_event(log: &Log) -> Option<Contract::EpochPublished> {
    Some(log.log_decode().ok()?.inner.data)
}

/// A claim as the contract takes it.
fn payment(claim: &Claim) -> Contract::Claim {
    Contract::Claim {
        account: claim.account,
        cumulative: claim.cumulative.to_units(),
        proof: claim.proof.clone(),
    }
}

/// A first claim costs about 97,000 gas at a million accounts: well inside a block of 15 million.
pub(super) const CLAIMS_PER_TRANSACTION: usize = 100;
/// Blocks per request for logs, which public nodes limit.
const LOG_WINDOW: u64 = 10_000;
