//! The `BitmapDistributor` contract: one tree and one payment per epoch.

use depin_core::{Address, Amount, B256, EpochId, Error, ErrorKind, Result, reward::Commitment};
use depin_evm::{
    Chain, Deployment, RootRules,
    alloy::{primitives::U256, providers::DynProvider, rpc::types::TransactionRequest},
    bindings::{
        BitmapDistributor as Contract, EmissionController,
        RewardDistributor::RootRules as DistributorRules,
    },
};

use super::{
    calls::{create, event, events},
    distributor::CLAIMS_PER_TRANSACTION,
    roots::{EvmRoots, published_otherwise},
};
use crate::tree::indexed::{Encoding, IndexedClaim, IndexedTree};

/// A distributor that pays every numbered row of an epoch's tree once, and marks it in a bitmap.
///
/// For one-time payments, and for networks whose trees hold what was earned in one epoch. All active epochs stay
/// claimable; who claims every epoch pays more gas than with the cumulative
/// [`EvmDistributor`](super::EvmDistributor). Disputes, decisions and pauses are those of its [`roots`](Self::roots).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, B256, EpochId, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, RootRules, deploy};
/// use depin_payment::{evm::EvmBitmap, tree::indexed::{Encoding, IndexedTree}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let bitmap = EvmBitmap::deploy(&chain, "grants", &contracts, &RootRules::default(), chain.account()).await?;
///
/// let rows = vec![(Address::repeat_byte(1), Amount::tokens(3)), (Address::repeat_byte(2), Amount::tokens(4))];
/// let (epoch, tree) = (EpochId::new(0), IndexedTree::build(rows, Encoding::Standard)?);
/// bitmap.publish(epoch, &tree, B256::repeat_byte(9)).await?;
///
/// let claim = tree.claim(1).expect("the second row");
/// assert_eq!(bitmap.claim(epoch, &claim).await?, Amount::tokens(4));
/// assert_eq!(bitmap.claim(epoch, &claim).await?, Amount::ZERO);
/// assert!(bitmap.is_claimed(epoch, 1).await? && !bitmap.is_claimed(epoch, 0).await?);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmBitmap {
    roots: EvmRoots,
}

impl EvmBitmap {
    /// The distributor at `address`. One that was deployed long ago is found sooner
    /// [from](Self::from) its [`EvmRoots::since`].
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { roots: EvmRoots::new(chain, address) }
    }

    /// Deploys a distributor beside a network's contracts, once per `key`. The account of the chain handle, which has
    /// to administer the network's token source, becomes administrator, publisher and guardian.
    ///
    /// # Errors
    /// As [`Chain::send_once`]; [`ErrorKind::Config`] and [`ErrorKind::Limit`] for rules that the contract cannot hold,
    /// and for disputes that the publisher would judge himself.
    pub async fn deploy(
        chain: &Chain,
        key: &str,
        contracts: &Deployment,
        rules: &RootRules,
        arbiter: Address,
    ) -> Result<Self> {
        let (token, source, admin) = (contracts.token, contracts.source, chain.account());
        if !rules.window.is_zero() && arbiter == admin {
            let text = "a dispute window needs an arbiter that is not the publisher, who would \
                        judge himself; name another account";
            return Err(Error::new(ErrorKind::Config, text).with("publisher", admin));
        }
        let rules = same(rules.encode()?);
        let call = Contract::deploy_builder(chain.provider(), token, source, rules, admin);
        let key = format!("bitmap/{token}/{key}");
        let address = create(chain, &key, call.into_transaction_request()).await?;
        let bitmap = Self::new(chain.clone(), address);
        bitmap.give_roles(&key, source, arbiter).await?;
        Ok(bitmap)
    }

    /// Its address and epochs: what was published, what waits, disputes and their decision, pause.
    pub const fn roots(&self) -> &EvmRoots {
        &self.roots
    }

    /// Publishes an epoch that emits exactly what the rows of its tree sum up to. Needs `PUBLISHER_ROLE`. The same
    /// again changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a tree of another encoding than [`Encoding::Standard`], which the contract could not
    /// pay; [`ErrorKind::Conflict`] when an earlier epoch waits or this one has other content; otherwise as
    /// [`EvmRoots::publish`].
    pub async fn publish(
        &self,
        epoch: EpochId,
        tree: &IndexedTree,
        manifest: B256,
    ) -> Result<Commitment> {
        if tree.encoding() != Encoding::Standard {
            let text = "the contract hashes leaves twice; build the tree with Encoding::Standard";
            return Err(Error::new(ErrorKind::Config, text).with("epoch", epoch));
        }
        let root = tree.root();
        let sum = Amount::sum(tree.rows().iter().map(|(_, amount)| *amount))?;
        let lapsed = self.roots.lapsed().await?;
        match self.roots.published(epoch).await? {
            Some(there) if (there.root, there.manifest) == (root, manifest) => return Ok(there),
            Some(_) => return Err(published_otherwise(epoch)),
            None => {}
        }
        // The contract adds the sum to what was emitted by then, whoever published in the meantime.
        let rows = Commitment { epoch, root, cumulative: sum, manifest };
        let receipt = self.roots.send_publication(lapsed, &rows).await?;
        let published = event::<Contract::EpochPublished>(&receipt, self.roots.address())?;
        Ok(Commitment { cumulative: Amount::units(published.cumulativeTotal), ..rows })
    }

    /// Pays a row and returns how much; zero, at no cost, when it was paid before. Anybody may call; only the account
    /// of the row is paid.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the proof does not hold, [`ErrorKind::NotFound`] when the epoch is not active,
    /// otherwise as [`Chain::send`].
    pub async fn claim(&self, epoch: EpochId, claim: &IndexedClaim) -> Result<Amount> {
        let paid = self.claim_many(epoch, std::slice::from_ref(claim)).await?;
        Ok(paid.first().copied().unwrap_or_default())
    }

    /// Pays many rows of an epoch, in as few transactions as fit into blocks, and returns what was paid for each now:
    /// after an error the same call continues where it stopped.
    ///
    /// # Errors
    /// As [`claim`](Self::claim); the rows of earlier transactions are paid by then.
    pub async fn claim_many(&self, epoch: EpochId, claims: &[IndexedClaim]) -> Result<Vec<Amount>> {
        let mut paid = Vec::with_capacity(claims.len());
        for chunk in claims.chunks(CLAIMS_PER_TRANSACTION) {
            paid.extend(self.claim_chunk(epoch, chunk).await?);
        }
        Ok(paid)
    }

    /// Whether a row of an epoch was paid.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn is_claimed(&self, epoch: EpochId, index: u64) -> Result<bool> {
        let call = self.contract();
        self.roots.chain.read(&call.isClaimed(epoch.value(), U256::from(index))).await
    }

    async fn give_roles(&self, key: &str, source: Address, arbiter: Address) -> Result<()> {
        let (chain, own) = (&self.roots.chain, self.contract());
        // Whatever it is: every source has this role.
        let source = EmissionController::new(source, chain.provider());
        let emitter: B256 = chain.read(&source.EMITTER_ROLE()).await?;
        let publisher: B256 = chain.read(&own.PUBLISHER_ROLE()).await?;
        let judge: B256 = chain.read(&own.ARBITER_ROLE()).await?;
        let guardian: B256 = chain.read(&own.GUARDIAN_ROLE()).await?;
        let grants: [(&str, TransactionRequest); 4] = [
            ("emitter", source.grantRole(emitter, self.roots.address()).into_transaction_request()),
            ("publisher", own.grantRole(publisher, chain.account()).into_transaction_request()),
            ("arbiter", own.grantRole(judge, arbiter).into_transaction_request()),
            ("guardian", own.grantRole(guardian, chain.account()).into_transaction_request()),
        ];
        for (role, grant) in grants {
            chain.send_once(&format!("{key}/{role}"), grant).await?;
        }
        Ok(())
    }

    async fn claim_chunk(&self, epoch: EpochId, claims: &[IndexedClaim]) -> Result<Vec<Amount>> {
        let contract = self.contract();
        let call = contract.claimMany(claims.iter().map(|claim| payment(epoch, claim)).collect());
        // Asked first: proofs that fail cost no gas, and neither does paying again what was paid.
        if self.roots.ask(&call).await?.is_zero() {
            return Ok(vec![Amount::ZERO; claims.len()]);
        }
        let receipt =
            self.roots.send_deduplicated("claim", call.into_transaction_request()).await?;
        let mut payments = events::<Contract::Claimed>(&receipt, self.roots.address()).peekable();
        // Events come in the order of the claims, without those that were paid before.
        let paid = claims.iter().map(|claim| {
            let event = payments.next_if(|event| event.index == U256::from(claim.index));
            event.map_or(Amount::ZERO, |event| Amount::units(event.amount))
        });
        Ok(paid.collect())
    }

    fn contract(&self) -> Contract::BitmapDistributorInstance<&DynProvider> {
        Contract::new(self.roots.address(), self.roots.chain.provider())
    }
}

impl From<EvmRoots> for EvmBitmap {
    /// The distributor that has these epochs.
    fn from(roots: EvmRoots) -> Self {
        Self { roots }
    }
}

/// The rules, which both distributors have in common.
fn same(rules: DistributorRules) -> Contract::RootRules {
    let DistributorRules { window, bond, limit, limitPeriod } = rules;
    Contract::RootRules { window, bond, limit, limitPeriod }
}

/// A claim as the contract takes it.
fn payment(epoch: EpochId, claim: &IndexedClaim) -> Contract::Claim {
    Contract::Claim {
        epoch: epoch.value(),
        index: U256::from(claim.index),
        account: claim.account,
        amount: claim.amount.to_units(),
        proof: claim.proof.clone(),
    }
}
